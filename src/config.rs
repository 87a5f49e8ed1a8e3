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
//! [`schema`] says the same of the file to editors, as a JSON Schema; tests hold the two together.

mod address;
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
    /// What is written to standard error.
    pub log: Log,
    /// How the process ends.
    pub shutdown: Shutdown,
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
    /// Further attempts at an idempotent request that got no answer.
    pub retries: u32,
    /// Requests under way at once, over all callers.
    pub max_in_flight: usize,
    /// Requests that may wait for one of those places; past this: 503 with `Retry-After`.
    pub max_queue: usize,
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

/// Bounds on what one peer may cost. SECURITY rows M26 and M27 give the reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Open connections.
    pub max_connections: usize,
    /// Longest a TLS handshake, a request head or the wait for the next request may take.
    pub idle_timeout: Duration,
    /// Longest a request head may take to arrive once its connection is open.
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
}

/// How long rights are believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The window W: the longest a change of policy or token goes unseen.
    pub refresh: Duration,
}

/// What is kept, and how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// Ceiling on the bytes of answers held, keys and bookkeeping included.
    pub max_bytes: u64,
    /// Defaults for KV secrets.
    pub kv: Kv,
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
