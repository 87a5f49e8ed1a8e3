//! What the program may rely on once the configuration has been read.
//!
//! The types here are what the rest of the program sees: no `Option` that means "default", no
//! number that can be out of range. [`Source::load`] is the only road to them, and it reports every
//! problem of a file at once, so a [`Config`] needs no further checking anywhere.
//!
//! ```text
//! file ─tree─┐
//! VAULT_*, VAULTLET_*, --set ─overlay─→ tree ─sections, with reader─→ Config, or Problems
//! ```
//!
//! [`document`] reads the file, and files like it. [`schema`] says the same of the file to editors,
//! as a JSON Schema; tests hold the two together.

mod address;
mod audit;
pub mod document;
mod glob;
mod kubernetes;
mod leases;
mod listen;
mod overlay;
mod problem;
mod reader;
pub mod schema;
mod sections;
mod source;
mod tree;
mod units;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

pub use audit::{Audit, AuditPaths, AuditSink};
pub use leases::{LeaseScope, LeaseStore, Leases, OnRevoke, OnShutdown, StoreKey};
pub use listen::Upgrade;
pub use problem::{Origin, Problem, Problems};
pub use source::Source;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where Vault is, and how hard it may be asked.
    pub upstream: Upstream,
    /// Where callers connect; never empty.
    pub listeners: Vec<Listener>,
    /// Where operators connect.
    pub admin: Admin,
    /// Which credentials callers may bring.
    pub auth: Auth,
    /// How long rights are believed.
    pub policy: Policy,
    /// What is kept, and how long.
    pub cache: Cache,
    /// Where a record of each answer goes; `None`: nowhere.
    pub audit: Option<Audit>,
    /// What is written to standard error.
    pub log: Log,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// How another process takes over from it.
    pub upgrade: Upgrade,
}

/// The Vault or OpenBao cluster behind this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Base addresses, scheme and authority only; the first healthy one is used. Never empty.
    pub addresses: Vec<Uri>,
    /// `X-Vault-Namespace` for callers that send none; empty: none.
    pub namespace: String,
    /// PEM bundle of the authorities to trust; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Name expected in the upstream's certificate instead of the address's host.
    pub tls_server_name: Option<String>,
    /// Accept any certificate. Loud at start, never a default.
    pub tls_skip_verify: bool,
    /// Longest a request may take until its answer begins, an upload that goes on not counted; for
    /// a cached read, until it ends.
    pub timeout: Duration,
    /// Longest a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// Longest the answer to a request of vaultlet's own may take to begin.
    pub first_byte_timeout: Duration,
    /// Further attempts at an idempotent request that got no answer.
    pub retries: u32,
    /// Requests under way at once, over all callers.
    pub max_in_flight: usize,
    /// Requests that may wait for one of those places; past this: 503 with `Retry-After`.
    pub max_queue: usize,
    /// Requests of vaultlet's own a second, to an upstream that has just come back.
    pub recovery_rate: u32,
}

/// One place where callers connect.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The socket.
    pub bind: Bind,
    /// TLS, where it is spoken; always `None` on a unix socket.
    pub tls: Option<Tls>,
    /// Refuse requests without `X-Vault-Request: true` (a guard against SSRF).
    pub require_request_header: bool,
    /// Offer HTTP/2 in the TLS handshake.
    pub http2: bool,
    /// Whether other processes may listen on the same TCP address.
    pub reuse_port: bool,
    /// Bounds on what one peer may cost.
    pub limits: Limits,
}

/// The socket of a [`Listener`].
#[derive(Clone, Debug, PartialEq)]
pub enum Bind {
    /// A TCP address. Port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket with its file mode.
    Unix {
        /// Path of the socket file.
        path: PathBuf,
        /// Permission bits, for example `0o660`.
        mode: u32,
    },
}

/// The serving certificate of a [`Listener`].
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// PEM chain, leaf first.
    pub cert_file: PathBuf,
    /// PEM private key.
    pub key_file: PathBuf,
    /// Authorities of client certificates; present: a client certificate is required.
    pub client_ca_file: Option<PathBuf>,
}

/// Bounds on what one peer may cost: how many, how slow, how large.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Open connections.
    pub max_connections: usize,
    /// Longest the wait for the next request may take.
    pub idle_timeout: Duration,
    /// Longest a TLS handshake may take, and a request head from its first byte.
    pub header_timeout: Duration,
    /// Bytes of a request head.
    pub max_header_bytes: usize,
    /// Bytes of a request body, as the upstream's own default (32 MiB).
    pub max_body_bytes: u64,
    /// Longest a peer may leave the connection without reading or sending a byte of a body.
    pub stall_timeout: Duration,
}

/// The operators' listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Its address; loopback unless the operator says otherwise.
    pub address: SocketAddr,
    /// Whether `/status` may name secret paths.
    pub show_paths: bool,
}

/// Which credentials callers may bring.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// Whether cached answers may be given to callers that bring Vault tokens. Off: forwarded.
    pub vault_tokens: bool,
    /// Whose service-account tokens are accepted; empty: nobody's.
    pub kubernetes: Vec<Kubernetes>,
    /// What one caller may use of this node.
    pub limits: TenantLimits,
}

/// One cluster's service accounts, and how they become Vault tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubernetes {
    /// The `iss` of its tokens, byte for byte.
    pub issuer: String,
    /// Of which a token must name one; never empty.
    pub audiences: Vec<String>,
    /// Where the keys are that its tokens are signed with.
    pub keys: Keys,
    /// PEM bundle of the authorities of the keys' address; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Bearer token for the keys' address: an API server tells them to service accounts only.
    pub token_file: Option<PathBuf>,
    /// The second check, which sees that a pod was deleted; `None`: tokens live until `exp`.
    pub review: Option<TokenReview>,
    /// The node whose pods may connect here, where a token names its node; `None`: any.
    pub node: Option<String>,
    /// Difference of clocks allowed for in `exp` and `nbf`; at most a minute.
    pub leeway: Duration,
    /// Whether logins on the mounts below are answered here, from the shared login.
    pub answer_logins: bool,
    /// How a verified service account becomes a Vault token.
    pub login: KubernetesLogin,
}

/// Where the keys of a [`Kubernetes`] issuer are.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// Named by `/.well-known/openid-configuration` below the issuer.
    Discovery,
    /// A JSON Web Key Set at this address.
    Url(Uri),
    /// The same in a file, read again when it changes.
    File(PathBuf),
}

/// Asking the API server about a token, when it is first seen and every [`Policy::refresh`].
#[derive(Clone, Debug, PartialEq)]
pub struct TokenReview {
    /// The API server: scheme and authority.
    pub address: Uri,
    /// PEM bundle of its authorities; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// vaultlet's own credential there, read again when it changes.
    pub token_file: Option<PathBuf>,
    /// Whether tokens never seen before are accepted while it cannot be asked.
    pub accept_when_down: bool,
}

/// How a verified service account becomes a Vault token.
#[derive(Clone, Debug, PartialEq)]
pub struct KubernetesLogin {
    /// Vault namespace of the mount; empty: the root namespace.
    pub namespace: String,
    /// Path of the upstream's auth method below `auth/`.
    pub mount: String,
    /// The role, with `{namespace}` and `{service_account}` to be filled in.
    pub role: String,
    /// Exceptions, first match wins.
    pub rules: Vec<RoleRule>,
}

/// An exception for the service accounts that match.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleRule {
    /// Glob over the Kubernetes namespace: `*` is any run of characters.
    pub namespace: String,
    /// Glob over the service account's name.
    pub service_account: String,
    /// Instead of [`KubernetesLogin::mount`].
    pub mount: Option<String>,
    /// Instead of [`KubernetesLogin::role`].
    pub role: Option<String>,
    /// Globs of the roles that `X-Vault-Role` may choose; empty: none.
    pub choose: Vec<String>,
}

/// What one caller may use of this node, so that it cannot starve another.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantLimits {
    /// Requests under way upstream at once.
    pub in_flight: usize,
    /// Requests a second that reach the upstream; as many may come at once after a quiet second.
    pub misses_per_second: u32,
    /// Entries of the cache that its requests have filled; 0: nothing it reads is kept.
    pub entries: u64,
}

/// How long rights are believed, and who else decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The window W: the longest a change of policy or token goes unseen.
    pub refresh: Duration,
    /// Who says that a caller may read what another one has read.
    pub source: PolicySource,
    /// vaultlet's own upstream identity, which reads policies and identities and nothing else.
    pub identity: Option<OwnIdentity>,
    /// Policies in files here, which can only take away.
    pub guardrails: Vec<PathBuf>,
}

/// See [`Policy::source`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PolicySource {
    /// The upstream's own answers are the proof.
    Upstream,
    /// Its policies are evaluated here as well; what that does not settle, its answers do.
    Local,
}

/// See [`Policy::identity`].
#[derive(Clone, Debug, PartialEq)]
pub struct OwnIdentity {
    /// Holds a Vault token; read again when it changes.
    pub token_file: PathBuf,
}

/// What is kept, and how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// Ceiling on the bytes of answers held, keys and bookkeeping included.
    pub max_bytes: u64,
    /// Defaults for KV secrets.
    pub kv: Kv,
    /// What happens to answers with a lease.
    pub leases: Leases,
    /// Exceptions by path, first match wins.
    pub rules: Vec<Rule>,
}

/// Lifetimes of KV answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Kv {
    /// How long an answer is served without asking the upstream.
    pub ttl: Duration,
    /// Share of `ttl` after which a hot entry is refreshed in the background; 0 < x <= 1, 1: never.
    pub refresh_ahead: f64,
    /// How long past `ttl` it is served while the upstream is unreachable, failing or limiting.
    pub stale_if_error: Duration,
    /// The same while the upstream is sealed.
    pub stale_if_sealed: Duration,
    /// How long "not found" is kept.
    pub negative_ttl: Duration,
}

/// An exception for the paths that match.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// A Vault path glob without `/v1/`: `+` is one segment, a final `*` any rest.
    pub path: String,
    /// `false`: matching paths are never cached.
    pub cache: bool,
    /// Instead of [`Kv::ttl`].
    pub ttl: Option<Duration>,
    /// Instead of [`Kv::stale_if_error`].
    pub stale_if_error: Option<Duration>,
    /// Instead of [`Kv::stale_if_sealed`].
    pub stale_if_sealed: Option<Duration>,
    /// Instead of [`Kv::negative_ttl`].
    pub negative_ttl: Option<Duration>,
    /// Keep answers without a lease until the end that they name themselves.
    pub own_end: bool,
}

/// What is written to standard error.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// One JSON object a line, or text for people.
    pub format: LogFormat,
}

/// See [`Log::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a terminal.
    Text,
}

/// How the process ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Shutdown {
    /// How long open requests may take after SIGTERM.
    pub drain: Duration,
}
