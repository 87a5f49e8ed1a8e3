//! What operators and their programs ask: metrics, liveness, readiness, status, clearing.
//!
//! * `GET /metrics`, `/agent/v1/metrics`, `/proxy/v1/metrics`: Prometheus.
//! * `GET /livez`: 200 while the process runs.
//! * `GET /readyz`: 200 once the upstream has answered, or as soon as there is something to answer
//!   with that the process before has left; 503 before and while draining.
//! * `GET /status`: JSON for people and `vaultlet status`; no secret values, paths only where
//!   `admin.show_paths` allows them.
//! * `GET /explain/ID`: why a request was refused, by the id that its log line carries.
//! * `POST /cache/clear`: `{"type":"all"}`, `{"type":"path","value":"secret/data/app"}`,
//!   `{"type":"token_accessor","value":"…"}`, `{"type":"lease","value":"…"}`.
//! * `POST` or `PUT /agent/v1/cache-clear`, `/proxy/v1/cache-clear`: the same as Vault Agent and
//!   Vault Proxy take it, where a path is a prefix.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use tokio::time::timeout;
use tracing::info;

use crate::audit::Audit;
use crate::body::{self, Response};
use crate::cache::Store;
use crate::identity::Logins;
use crate::lease::{Count, Leases};
use crate::metrics::Metrics;
use crate::refusals::Refusals;
use crate::snapshot::{Policies, Summary};
use crate::upstream::Upstream;

/// The operators' view of a running proxy.
#[derive(Debug)]
pub struct Admin {
    store: Arc<Store>,
    logins: Arc<Logins>,
    upstream: Arc<Upstream>,
    policies: Option<Arc<Policies>>,
    audit: Option<Arc<Audit>>,
    refusals: Arc<Refusals>,
    leases: Arc<Leases>,
    metrics: Arc<Metrics>,
    ready: Arc<Readiness>,
    show_paths: bool,
}

/// Whether requests should be sent here.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

const STARTING: u8 = 0;
const DEGRADED: u8 = 1;
const READY: u8 = 2;
const DRAINING: u8 = 3;

/// What `/readyz` says of that state.
const DEGRADED_MEANS: &str = "degraded: the upstream has not answered since the start; what was \
                              left by the process before is answered\n";

impl Readiness {
    /// The upstream has answered. Losing it later changes nothing: cached reads go on.
    pub fn ready(&self) {
        self.at_least(READY);
    }

    /// What the process before has left can be answered with, though the upstream has not answered
    /// yet.
    pub fn degraded(&self) {
        self.at_least(DEGRADED);
    }

    /// Once draining, nothing makes it ready again.
    fn at_least(&self, state: u8) {
        self.0.fetch_max(state, Ordering::AcqRel);
    }

    /// The process is about to end.
    pub fn drain(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }

    fn state(&self) -> &'static str {
        match self.0.load(Ordering::Acquire) {
            STARTING => "starting",
            DEGRADED => "degraded",
            READY => "ready",
            _ => "draining",
        }
    }
}

/// What is to be forgotten.
#[derive(Deserialize)]
struct Clear {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    namespace: String,
}

impl Admin {
    /// Over the given parts.
    pub fn new(
        parts: (Arc<Store>, Arc<Logins>, Arc<Upstream>, Arc<Refusals>),
        leases: Arc<Leases>,
        policies: Option<Arc<Policies>>,
        audit: Option<Arc<Audit>>,
        metrics: Arc<Metrics>,
        ready: Arc<Readiness>,
        show_paths: bool,
    ) -> Self {
        let (store, logins, upstream, refusals) = parts;
        Self {
            store,
            logins,
            upstream,
            policies,
            audit,
            refusals,
            leases,
            metrics,
            ready,
            show_paths,
        }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response {
        let read = request.method() == Method::GET || request.method() == Method::HEAD;
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/metrics" | "/agent/v1/metrics" | "/proxy/v1/metrics" if read => self.metrics(),
            "/livez" if read => text(StatusCode::OK, "ok\n"),
            "/readyz" if read => match self.ready.state() {
                "ready" => text(StatusCode::OK, "ready\n"),
                "degraded" => text(StatusCode::OK, DEGRADED_MEANS),
                state => text(StatusCode::SERVICE_UNAVAILABLE, state),
            },
            "/status" if read => self.status(),
            path if read && path.starts_with("/explain/") => self.explain(path),
            "/cache/clear" => self.clear(request, false).await,
            "/agent/v1/cache-clear" | "/proxy/v1/cache-clear" => self.clear(request, true).await,
            "/metrics" | "/agent/v1/metrics" | "/proxy/v1/metrics" | "/livez" | "/readyz"
            | "/status" => method_not_allowed("GET, HEAD"),
            _ => problem(StatusCode::NOT_FOUND, "no such page"),
        }
    }

    fn metrics(&self) -> Response {
        // The gauges are as of the last housekeeping.
        self.store.tidy();
        self.logins.tidy();
        self.leases.tidy();
        if let Some(policies) = &self.policies {
            policies.tidy();
        }
        match self.metrics.render() {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    fn status(&self) -> Response {
        self.store.tidy();
        let (entries, bytes) = self.store.size();
        let nodes = self.upstream.nodes().into_iter();
        let nodes =
            nodes.map(|(address, state)| serde_json::json!({ "address": address, "state": state }));
        let mut status = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": self.ready.state(),
            "upstream": {
                "addresses": nodes.collect::<Vec<_>>(),
                "cluster_id": self.upstream.cluster().borrow().as_deref(),
            },
            "cache": { "entries": entries, "bytes": bytes },
            "identities": self.logins.len(),
            "leases": self.leases(),
        });
        if let Some(policies) = &self.policies {
            let Summary { age, read, opaque } = policies.summary();
            let age = age.map(|age| age.as_secs());
            let policies = serde_json::json!({"age_seconds": age, "read": read, "opaque": opaque});
            status["policies"] = policies;
        }
        if let Some(audit) = &self.audit {
            status["audit"] = if audit.working() { "working" } else { "failing" }.into();
        }
        json(StatusCode::OK, &status)
    }

    fn leases(&self) -> serde_json::Value {
        /// A status is for people; the rest is counted by engine.
        const MOST_PATHS: usize = 1000;
        let summary = self.leases.summary();
        let row = |what: &str, name: &str, Count { live, retired }: Count| serde_json::json!({ what: name, "live": live, "retired": retired });
        let engines = summary.engines.iter().map(|(name, count)| row("engine", name, *count));
        let seconds = |span: Option<Duration>| span.map(|span| span.as_secs());
        let mut leases = serde_json::json!({
            "engines": engines.collect::<Vec<_>>(),
            "next_end_seconds": seconds(summary.next_end),
            "unconfirmed_seconds": seconds(summary.unconfirmed),
        });
        if self.show_paths {
            let paths = summary.paths.iter().take(MOST_PATHS);
            let paths = paths.map(|(path, count)| row("path", path, *count));
            leases["paths"] = paths.collect();
        }
        leases
    }

    fn explain(&self, path: &str) -> Response {
        let refusal = self.refusals.get(path.strip_prefix("/explain/").unwrap_or_default());
        match refusal.map(|refusal| serde_json::to_value(&refusal)) {
            Some(Ok(refusal)) => json(StatusCode::OK, &refusal),
            _ => problem(StatusCode::NOT_FOUND, "no such refusal among the last 1024"),
        }
    }

    async fn clear(&self, request: Request<Incoming>, prefix: bool) -> Response {
        const LIMIT: usize = 64 * 1024;
        const PATIENCE: Duration = Duration::from_secs(5);
        if !matches!(*request.method(), Method::POST | Method::PUT) {
            return method_not_allowed("POST, PUT");
        }
        let body = timeout(PATIENCE, Limited::new(request.into_body(), LIMIT).collect()).await;
        let Ok(Ok(body)) = body else {
            return problem(StatusCode::BAD_REQUEST, "the body cannot be read");
        };
        let Ok(clear) = serde_json::from_slice::<Clear>(&body.to_bytes()) else {
            return problem(StatusCode::BAD_REQUEST, "expected {\"type\": …, \"value\": …}");
        };
        let path = clear.value.trim_start_matches('/');
        let path = path.strip_prefix("v1/").unwrap_or(path);
        match clear.kind.as_str() {
            "all" => {
                self.store.forget_all();
                self.leases.forget_all();
            }
            _ if clear.value.is_empty() => {
                return problem(StatusCode::BAD_REQUEST, "`value` says what is to be forgotten");
            }
            "path" | "request_path" => {
                let many = prefix || clear.kind == "request_path" || path.ends_with(['/', '*']);
                self.clear_path(&clear.namespace, path, many);
            }
            "token" => {
                let fingerprint = self.logins.fingerprint(clear.value.as_bytes());
                let class = self.logins.get(fingerprint).and_then(|login| login.class);
                self.logins.forget(fingerprint);
                self.leases.forget_token(fingerprint);
                self.store.disprove(class.as_slice());
            }
            "token_accessor" => {
                let (tokens, classes) = self.logins.forget_accessor(&clear.value);
                for token in tokens {
                    self.leases.forget_token(token);
                }
                self.store.disprove(&classes);
            }
            "lease" => self.leases.forget_lease(&clear.value),
            _ => {
                return problem(
                    StatusCode::BAD_REQUEST,
                    "`type` is one of all, path, request_path, token, token_accessor, lease",
                );
            }
        }
        self.store.forgotten_everywhere().await;
        info!(kind = clear.kind, "cache cleared by an operator");
        json(StatusCode::OK, &serde_json::json!({ "cleared": clear.kind }))
    }

    /// Forgets what is at `path`; `many`: and what begins so.
    fn clear_path(&self, namespace: &str, path: &str, many: bool) {
        let path = match namespace.trim_matches('/') {
            "" | "root" => path.to_owned(),
            namespace => format!("{namespace}/{path}"),
        };
        if many {
            // The fence knows paths, not prefixes: more is forgotten than was asked.
            self.store.forget_all();
            self.leases.forget_path(&format!("{}*", path.trim_end_matches('*')));
        } else {
            self.store.forget(&path);
            self.leases.forget_path(&path);
        }
    }
}

fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    let mut response = text(status, value.to_string());
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn problem(status: StatusCode, what: &str) -> Response {
    json(status, &serde_json::json!({ "errors": [format!("vaultlet: {what}")] }))
}

fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "this page takes other methods");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
