//! Which credentials callers may bring: the keys below `auth`.

use schemars::JsonSchema;

use super::{Duration, OneOrMore};

/// Which credentials callers may bring.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Auth {
    /// Answer callers that bring Vault tokens from the cache; off: forward them.
    #[schemars(extend("default" = true))]
    pub vault_tokens: Option<bool>,
    /// Accept service-account tokens of this cluster; a list of such sections: of several.
    pub kubernetes: Option<OneOrMore<Kubernetes>>,
    /// What one caller may use of this node, so that it cannot starve another.
    pub limits: Option<TenantLimits>,
}

/// One cluster's service accounts, and how they become Vault tokens.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Kubernetes {
    /// The `iss` of its tokens, byte for byte.
    pub issuer: String,
    /// Of which a token must name one; one word or a list. Not the API server's own.
    pub audiences: OneOrMore<String>,
    /// Where the keys are that its tokens are signed with; default: where the issuer says.
    pub jwks: Option<Jwks>,
    /// A second check that sees deleted pods and service accounts; without it a token lives until `exp`.
    pub token_review: Option<TokenReview>,
    /// Refuse tokens that name another node; default: take those of any.
    #[schemars(regex(pattern = "^[a-z0-9.-]+$"))]
    pub node: Option<String>,
    /// Difference of clocks allowed for in `exp` and `nbf`, at most 60s.
    #[schemars(extend("default" = "10s"))]
    pub leeway: Option<Duration>,
    /// Answer logins on the mounts below from the shared login; off: forward them.
    #[schemars(extend("default" = true))]
    pub answer_logins: Option<bool>,
    /// How a verified service account becomes a Vault token.
    pub login: Option<Login>,
}

/// Where the keys are that its tokens are signed with.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Jwks {
    /// Address of a JSON Web Key Set; `http://` on loopback only.
    pub url: Option<String>,
    /// The same in a file, instead of `url`.
    pub file: Option<String>,
    /// PEM bundle of the authorities of `url` or the issuer; default: the system's.
    pub ca_file: Option<String>,
    /// Bearer token for `url` or the issuer, where they want one.
    pub token_file: Option<String>,
}

/// A second check that sees deleted pods and service accounts.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TokenReview {
    /// Scheme, host and port of the API server; `http://` on loopback only.
    pub address: String,
    /// PEM bundle of its authorities; default: the system's.
    pub ca_file: Option<String>,
    /// vaultlet's own bearer token there, which may create `tokenreviews`.
    pub token_file: Option<String>,
    /// While it cannot be asked, accept tokens that it has not seen; off: refuse them.
    #[schemars(extend("default" = false))]
    pub accept_when_down: Option<bool>,
}

/// How a verified service account becomes a Vault token.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Login {
    /// Vault namespace of the auth method; default: `upstream.namespace`.
    pub namespace: Option<String>,
    /// Path of the upstream's auth method, with or without `auth/`.
    #[schemars(extend("default" = "auth/kubernetes"))]
    pub mount: Option<String>,
    /// Its role, with `{namespace}` and `{service_account}` to be filled in.
    #[schemars(extend("default" = "{namespace}-{service_account}"))]
    pub role: Option<String>,
    /// Exceptions by service account; the first match wins.
    #[schemars(extend("default" = []))]
    pub rules: Option<Vec<RoleRule>>,
}

/// An exception for the service accounts that match.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RoleRule {
    /// Kubernetes namespaces it is for: `*` is any run of characters.
    #[schemars(extend("default" = "*"), regex(pattern = "^[a-z0-9.*-]+$"))]
    pub namespace: Option<String>,
    /// Names of service accounts it is for: `*` is any run of characters.
    #[schemars(extend("default" = "*"), regex(pattern = "^[a-z0-9.*-]+$"))]
    pub service_account: Option<String>,
    /// Instead of `auth.kubernetes.login.mount`.
    pub mount: Option<String>,
    /// Instead of `auth.kubernetes.login.role`.
    pub role: Option<String>,
    /// Roles that `X-Vault-Role` may choose: `*` is any run of characters.
    #[schemars(extend("default" = []))]
    pub choose: Option<Vec<String>>,
}

/// What one caller may use of this node, so that it cannot starve another.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TenantLimits {
    /// Requests under way upstream at once; more get 429 with `Retry-After`.
    #[schemars(extend("default" = 128), range(min = 1, max = 100_000))]
    pub in_flight: Option<u32>,
    /// Requests a second that reach the upstream, and as many at once after a quiet second; more get 429.
    #[schemars(extend("default" = 1000), range(min = 1, max = 1_000_000))]
    pub misses_per_second: Option<u32>,
    /// Entries of the cache that its requests have filled; past this, what it reads is not kept.
    #[schemars(extend("default" = 20_000), range(min = 0, max = 1_000_000_000))]
    pub entries: Option<u32>,
}
