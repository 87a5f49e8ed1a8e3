//! The configuration file for editors and people: its keys, forms, defaults and meaning.
//!
//! The types mirror the file and are never filled in; reading is done by `sections`, because a
//! derived reader stops at the first problem. Tests compare the two key by key and default by
//! default, and `docs/configuration.md` and `config/vaultlet.example.yaml` with both.

mod auth;
mod leases;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

pub use auth::{Auth, Jwks, Kubernetes, Login, RoleRule, TenantLimits, TokenReview};
pub use leases::{LeaseStore, Leases, Transit};

/// The JSON Schema of the configuration file.
pub fn schema() -> Schema {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<File>()
}

/// vaultlet's configuration file.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "vaultlet configuration")]
pub struct File {
    /// The Vault or OpenBao cluster behind this process.
    pub upstream: Option<Upstream>,
    /// Where callers connect.
    #[schemars(extend("default" = [{ "address": "127.0.0.1:8100" }]), length(min = 1))]
    pub listeners: Option<Vec<Listener>>,
    /// Where operators connect: metrics, probes, status.
    pub admin: Option<Admin>,
    /// Which credentials callers may bring.
    pub auth: Option<Auth>,
    /// How long rights are believed, and who else decides.
    pub policy: Option<Policy>,
    /// What is kept, and how long.
    pub cache: Option<Cache>,
    /// Where a record of each answer that involved a secret or a refusal goes; default: nowhere.
    pub audit: Option<AuditForm>,
    /// What is written to standard error.
    pub log: Option<Log>,
    /// How the process ends.
    pub shutdown: Option<Shutdown>,
    /// How another process takes over from it.
    pub upgrade: Option<Upgrade>,
}

/// A number and a unit: `250ms`, `30s`, `15m`, `24h`, `7d`.
#[derive(JsonSchema)]
#[schemars(inline)]
pub struct Duration(#[schemars(regex(pattern = "^[0-9]+(ms|s|m|h|d)$"))] pub String);

/// A number and a unit: `512B`, `64KiB`, `256MiB`, `2GiB`.
#[derive(JsonSchema)]
#[schemars(inline)]
pub struct Size(#[schemars(regex(pattern = "^[0-9]+(B|KiB|MiB|GiB)$"))] pub String);

/// A list, or the one entry that stands for it.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
pub enum OneOrMore<T> {
    /// The entry.
    One(T),
    /// The list.
    More(Vec<T>),
}

/// The Vault or OpenBao cluster behind this process.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Upstream {
    /// Scheme, host and port of Vault; default: `VAULT_ADDR`, or `https://127.0.0.1:8200`.
    #[schemars(extend("default" = "https://127.0.0.1:8200"))]
    pub address: Option<String>,
    /// Several instead of `address`: the first healthy one is used.
    #[schemars(length(min = 1))]
    pub addresses: Option<Vec<String>>,
    /// `X-Vault-Namespace` for callers that send none; default: `VAULT_NAMESPACE`.
    #[schemars(extend("default" = ""))]
    pub namespace: Option<String>,
    /// PEM bundle of the authorities to trust; default: `VAULT_CACERT`, or the system's.
    pub ca_file: Option<String>,
    /// Name in the upstream's certificate, where it is not the address's host; default: `VAULT_TLS_SERVER_NAME`.
    pub tls_server_name: Option<String>,
    /// Accept any certificate: for experiments; default: `VAULT_SKIP_VERIFY`.
    #[schemars(extend("default" = false))]
    pub tls_skip_verify: Option<bool>,
    /// Longest a request may take until its answer begins, an upload that goes on not counted.
    #[schemars(extend("default" = "60s"))]
    pub timeout: Option<Duration>,
    /// Longest a connection may take to be made, TLS included.
    #[schemars(extend("default" = "2s"))]
    pub connect_timeout: Option<Duration>,
    /// Longest the answer to a cached read, or to a question of vaultlet's own, may take to begin.
    #[schemars(extend("default" = "5s"))]
    pub first_byte_timeout: Option<Duration>,
    /// Further attempts at an idempotent request that got no answer.
    #[schemars(extend("default" = 2), range(min = 0, max = 10))]
    pub retries: Option<u32>,
    /// Requests under way at once, over all callers; more are queued.
    #[schemars(extend("default" = 256), range(min = 1, max = 100_000))]
    pub max_in_flight: Option<u32>,
    /// Requests that may be queued; more get 503 with `Retry-After`.
    #[schemars(extend("default" = 1024), range(min = 0, max = 1_000_000))]
    pub max_queue: Option<u32>,
    /// Requests of vaultlet's own a second to an upstream that has just come back, until that is enough.
    #[schemars(extend("default" = 200), range(min = 1, max = 100_000))]
    pub recovery_rate: Option<u32>,
}

/// One place where callers connect.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Listener {
    /// IP address and port.
    #[schemars(extend("default" = "127.0.0.1:8100"))]
    pub address: Option<String>,
    /// Path of a unix socket, instead of `address`.
    pub unix: Option<String>,
    /// Permission bits of the unix socket, octal, in quotes.
    #[schemars(extend("default" = "0660"), regex(pattern = "^0?[0-7]{3}$"))]
    pub mode: Option<String>,
    /// TLS, on TCP only.
    pub tls: Option<Tls>,
    /// Refuse requests without `X-Vault-Request: true`, a guard against SSRF.
    #[schemars(extend("default" = false))]
    pub require_request_header: Option<bool>,
    /// Allow an address off loopback without TLS.
    #[schemars(extend("default" = false))]
    pub plaintext: Option<bool>,
    /// Offer HTTP/2 in the TLS handshake.
    #[schemars(extend("default" = false))]
    pub http2: Option<bool>,
    /// Let other processes listen on the same TCP address.
    #[schemars(extend("default" = false))]
    pub reuse_port: Option<bool>,
    /// Bounds on what one peer may cost.
    pub limits: Option<Limits>,
}

/// TLS, on TCP only.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Tls {
    /// PEM chain, leaf first.
    pub cert_file: String,
    /// PEM private key.
    pub key_file: String,
    /// Authorities of client certificates; if given, a client certificate is required.
    pub client_ca_file: Option<String>,
}

/// Bounds on what one peer may cost.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// Open connections of this listener.
    #[schemars(extend("default" = 10_000), range(min = 1, max = 1_000_000))]
    pub max_connections: Option<u32>,
    /// Longest the wait for the next request may take.
    #[schemars(extend("default" = "60s"))]
    pub idle_timeout: Option<Duration>,
    /// Longest a TLS handshake may take, and a request head from its first byte.
    #[schemars(extend("default" = "10s"))]
    pub header_timeout: Option<Duration>,
    /// Size of a request head, 8KiB to 1MiB.
    #[schemars(extend("default" = "64KiB"))]
    pub max_header_bytes: Option<Size>,
    /// Size of a request body.
    #[schemars(extend("default" = "32MiB"))]
    pub max_body_bytes: Option<Size>,
    /// Longest a peer may go without reading or sending a byte of a body.
    #[schemars(extend("default" = "30s"))]
    pub stall_timeout: Option<Duration>,
}

/// Where operators connect: metrics, probes, status.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Admin {
    /// IP address and port.
    #[schemars(extend("default" = "127.0.0.1:8101"))]
    pub address: Option<String>,
    /// Let `/status` name secret paths.
    #[schemars(extend("default" = false))]
    pub show_paths: Option<bool>,
}

/// How long rights are believed, and who else decides.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Policy {
    /// Who decides. `upstream`: its own answers are the proof; `local`: its policies are evaluated here too.
    #[schemars(extend("default" = "upstream", "enum" = ["upstream", "local"]))]
    pub source: Option<String>,
    /// The longest a change of policy or token goes unseen, at least 1s.
    #[schemars(extend("default" = "60s"))]
    pub refresh: Option<Duration>,
    /// vaultlet's own upstream identity, which `source: local` needs.
    pub identity: Option<OwnIdentity>,
    /// Files with policies that every request must pass besides the upstream's: they only take away.
    #[schemars(extend("default" = []))]
    pub guardrails: Option<Vec<String>>,
}

/// vaultlet's own upstream identity.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OwnIdentity {
    /// A Vault token that may read policies and identities, and nothing else.
    pub token_file: String,
}

/// What is kept, and how long.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Cache {
    /// Ceiling on the bytes of answers held, at least 64KiB.
    #[schemars(extend("default" = "256MiB"))]
    pub max_bytes: Option<Size>,
    /// Lifetimes of KV secrets.
    pub kv: Option<Kv>,
    /// What happens to answers with a lease.
    pub leases: Option<Leases>,
    /// Exceptions by path; the first match wins.
    #[schemars(extend("default" = []))]
    pub rules: Option<Vec<Rule>>,
}

/// Lifetimes of KV secrets.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Kv {
    /// How long an answer is served without asking the upstream.
    #[schemars(extend("default" = "60s"))]
    pub ttl: Option<Duration>,
    /// Share of `ttl` after which a hot entry is refreshed in the background; 1: never.
    #[schemars(extend("default" = 0.8), range(min = 0, max = 1))]
    pub refresh_ahead: Option<f64>,
    /// How long past `ttl` it is served while the upstream is unreachable, failing or limiting.
    #[schemars(extend("default" = "1h"))]
    pub stale_if_error: Option<Duration>,
    /// The same while the upstream is sealed.
    #[schemars(extend("default" = "0s"))]
    pub stale_if_sealed: Option<Duration>,
    /// How long "not found" is kept.
    #[schemars(extend("default" = "2s"))]
    pub negative_ttl: Option<Duration>,
}

/// An exception for the paths that match.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Rule {
    /// Vault path glob without `/v1/`: `+` is one segment, a final `*` any rest.
    pub path: String,
    /// `false`: matching paths are never cached.
    #[schemars(extend("default" = true))]
    pub cache: Option<bool>,
    /// Instead of `cache.kv.ttl`.
    pub ttl: Option<Duration>,
    /// Instead of `cache.kv.stale_if_error`.
    pub stale_if_error: Option<Duration>,
    /// Instead of `cache.kv.stale_if_sealed`.
    pub stale_if_sealed: Option<Duration>,
    /// Instead of `cache.kv.negative_ttl`.
    pub negative_ttl: Option<Duration>,
    /// Keep answers without a lease until the end they name themselves, as of a certificate.
    #[schemars(extend("default" = false))]
    pub own_end: Option<bool>,
}

/// Where a record of each answer goes.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum AuditForm {
    /// Short for `stdout: true`.
    Word(Standard),
    /// Where a record of each answer goes.
    Section(Audit),
}

/// Standard output.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Standard {
    /// Standard output.
    Stdout,
}

/// Where a record of each answer goes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Audit {
    /// Path of a file, opened again on SIGHUP; its directory must be there.
    pub file: Option<String>,
    /// Standard output, instead of `file`.
    #[schemars(extend("default" = false))]
    pub stdout: Option<bool>,
    /// Path of a unix stream socket that somebody listens on, instead of `file`.
    pub unix: Option<String>,
    /// Permission bits of the file where it is made, octal, in quotes.
    #[schemars(extend("default" = "0600"), regex(pattern = "^0?[0-7]{3}$"))]
    pub mode: Option<String>,
    /// How records name what was asked for; `hmac`: by a digest.
    #[schemars(extend("default" = "plain", "enum" = ["plain", "hmac"]))]
    pub paths: Option<String>,
    /// Key of the digests that stand for tokens and paths; default: a new one at each start.
    pub key_file: Option<String>,
    /// Answer although records are not accepted; off: 503.
    #[schemars(extend("default" = false))]
    pub fail_open: Option<bool>,
}

/// What is written to standard error.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Log {
    /// How much.
    #[schemars(extend("default" = "info", "enum" = ["error", "warn", "info", "debug", "trace"]))]
    pub level: Option<String>,
    /// `json`: one object a line; `text`: for people.
    #[schemars(extend("default" = "json", "enum" = ["json", "text"]))]
    pub format: Option<String>,
}

/// How the process ends.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Shutdown {
    /// How long open requests may take after SIGTERM.
    #[schemars(extend("default" = "30s"))]
    pub drain: Option<Duration>,
}

/// How another process takes over from it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Upgrade {
    /// Path of a private socket where a process with the same configuration asks to take over.
    pub socket: Option<String>,
}

#[cfg(test)]
mod tests;
