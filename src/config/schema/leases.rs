//! What happens to answers with a lease: the keys below `cache.leases`.

use schemars::JsonSchema;

use super::Duration;

/// What happens to answers with a lease.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Leases {
    /// Who is given the same credential: all pods of a service account, whoever brings one token, or nobody.
    #[schemars(extend("default" = "identity", "enum" = ["identity", "token", "none"]))]
    pub scope: Option<String>,
    /// Share of a lease after which it is renewed, with 10 % jitter.
    #[schemars(extend("default" = 0.66), range(min = 0.1, max = 0.95))]
    pub renew_at: Option<f64>,
    /// Below this share of its longest life, a successor is fetched.
    #[schemars(extend("default" = 0.25), range(min = 0.05, max = 0.9))]
    pub min_remaining: Option<f64>,
    /// The longest a lease revoked elsewhere is still handed out, 1s to 1h.
    #[schemars(extend("default" = "30s"))]
    pub check_after: Option<Duration>,
    /// How long after it was last handed out a lease is kept alive; then it is left to end.
    #[schemars(extend("default" = "24h"))]
    pub idle: Option<Duration>,
    /// Renewals a second over all leases, successors included.
    #[schemars(extend("default" = 500), range(min = 1, max = 100_000))]
    pub renewals_per_second: Option<u32>,
    /// A caller's revoke of a lease that others hold too: refuse it, take the caller off the list of holders, or pass it on.
    #[schemars(extend("default" = "detach", "enum" = ["refuse", "detach", "pass"]))]
    pub on_revoke: Option<String>,
    /// What becomes of the leases when the process ends.
    #[schemars(extend("default" = "keep", "enum" = ["keep", "revoke"]))]
    pub on_shutdown: Option<String>,
    /// Where they outlive the process, encrypted; default: nowhere.
    pub store: Option<LeaseStore>,
}

/// Where leases outlive the process, encrypted.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LeaseStore {
    /// A directory of vaultlet's own, made if the one above it is there.
    pub dir: String,
    /// File with the 32 bytes they are encrypted with, raw or as base64; not in `dir`.
    pub key_file: Option<String>,
    /// Instead of `key_file`: a key that never leaves the upstream.
    pub transit: Option<Transit>,
    /// Keep KV entries there as well.
    #[schemars(extend("default" = false))]
    pub kv: Option<bool>,
}

/// A key that never leaves the upstream.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Transit {
    /// Path of the transit engine.
    #[schemars(extend("default" = "transit"))]
    pub mount: Option<String>,
    /// Name of the key.
    pub key: String,
    /// A Vault token that may use it; not in `dir`.
    pub token_file: String,
}
