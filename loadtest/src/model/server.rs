//! How does an OpenBao answer whom it is asked by?
//!
//! One server, in this process and in the runtime's time. Callers either ask it themselves, or have
//! a vaultlet that does, over connections that are pipes in memory.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use vaultlet::upstream::Carrier;

use super::kind::{Costs, Kind};
use super::kv::{self, Kv};
use super::leases::Leases;
use super::queue::Queue;
use super::said::{self, Frame, Said};
use super::tokens::Tokens;
use crate::scenario::Role;

/// Bytes under way on a connection.
const PIPE: usize = 64 * 1024;

/// The server.
pub(super) struct Server {
    inside: Mutex<Inside>,
    queue: Mutex<Queue>,
    costs: Costs,
    counts: [AtomicU64; Kind::ALL.len()],
    /// Whether it is not there.
    away: watch::Sender<bool>,
}

/// What it knows.
pub(super) struct Inside {
    pub(super) tokens: Tokens,
    pub(super) leases: Leases,
    pub(super) kv: Kv,
    pub(super) roles: Vec<(String, Role)>,
    pub(super) requests: u64,
}

impl Server {
    pub(super) fn new(inside: Inside, queue: Queue, costs: Costs) -> Arc<Self> {
        Arc::new(Self {
            inside: Mutex::new(inside),
            queue: Mutex::new(queue),
            costs,
            counts: Default::default(),
            away: watch::Sender::new(false),
        })
    }

    /// Takes it away, with every connection, or brings it back.
    pub(super) fn away(&self, away: bool) {
        lock(&self.queue).forget(Instant::now());
        self.away.send_replace(away);
    }

    /// Returns once it is not there.
    pub(super) async fn gone(&self) {
        // The sender is ours, so this cannot end otherwise.
        self.away.subscribe().wait_for(|away| *away).await.ok();
    }

    /// Requests that reached it.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Kind, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Kind::ALL.into_iter().zip(counts)
    }

    /// Leases that live.
    pub(super) fn leases(&self) -> u64 {
        let Inside { tokens, leases, .. } = &mut *lock(&self.inside);
        tokens.tidy();
        leases.count(tokens)
    }

    /// What a vaultlet reaches it by.
    pub(super) fn carrier(self: &Arc<Self>) -> Carrier {
        let server = Arc::clone(self);
        Carrier::new(move || {
            let connected = server.connect();
            async move { connected }
        })
    }

    /// A connection, unless it is not there.
    fn connect(self: &Arc<Self>) -> io::Result<DuplexStream> {
        if !self.there() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let server = Arc::clone(self);
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| async {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok::<_, hyper::Error>(server.answer(Request::from_parts(head, body)).await)
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(ours), answer);
            tokio::select! {
                // A caller that goes away is its own affair.
                ended = serving => drop(ended),
                () = server.gone() => (),
            }
        });
        Ok(theirs)
    }

    /// Answers a request, when its turn has come and its work is done.
    pub(super) async fn answer(&self, request: Request<Bytes>) -> Said {
        let path = request.uri().path().strip_prefix("/v1/").unwrap_or_default().to_owned();
        let kind = Kind::of(request.method(), &path);
        if let Some(count) = Kind::ALL.iter().position(|it| *it == kind) {
            self.counts[count].fetch_add(1, Ordering::Relaxed);
        }
        let answered = lock(&self.queue).answered(Instant::now(), self.costs.of(kind));
        sleep_until(answered).await;
        lock(&self.inside).answer(kind, &path, &request)
    }

    /// Whether it is there.
    pub(super) fn there(&self) -> bool {
        !*self.away.borrow()
    }
}

impl Inside {
    fn answer(&mut self, kind: Kind, path: &str, request: &Request<Bytes>) -> Said {
        self.requests += 1;
        let id = self.requests;
        let Self { tokens, leases, kv, roles, .. } = self;
        let token = request.headers().get("x-vault-token");
        let token = token.and_then(|token| token.to_str().ok()).unwrap_or_default();
        let body = || serde_json::from_slice(request.body()).unwrap_or(Value::Null);
        match kind {
            Kind::Health => return said::ok(&health()),
            Kind::Login => return tokens.log_in(&body(), id),
            _ if !tokens.lives(token) => return said::denied(),
            _ => (),
        }
        match (kind, path) {
            (Kind::KvRead | Kind::KvWrite, _) => kv.answer(request.method(), path, &body(), id),
            (Kind::Mount, _) => kv::mount(&path["sys/internal/ui/mounts/".len()..], id),
            (Kind::Lease, _) => match roles.iter().find(|(its, _)| its == path) {
                Some((_, role)) => leases.issue(path, role, token, id),
                None => said::no(StatusCode::BAD_REQUEST, "unknown role"),
            },
            (_, "auth/token/lookup-self") => tokens.look_up(token, id),
            (_, "auth/token/renew-self") => tokens.renew(token, &body(), id),
            (_, "auth/token/revoke-self") => tokens.revoke(token),
            (_, "sys/leases/lookup") => leases.look_up(&body(), tokens, id),
            (_, "sys/leases/renew") => leases.renew(&body(), tokens, id),
            // The world's policies do not allow it, and neither does `default`.
            (_, "sys/leases/revoke") => said::forbidden(),
            (_, "sys/capabilities-self") => capabilities(&body(), id),
            _ => said::nothing(),
        }
    }
}

/// Everyone may read and write what the world's policies let their own read and write: nobody asks
/// for anything else.
fn capabilities(body: &Value, id: u64) -> Said {
    let paths = body["paths"].as_array().cloned().unwrap_or_default();
    let may = |path: &Value| {
        let path = path.as_str()?.to_owned();
        let may = if path.starts_with("database/") {
            json!(["read"])
        } else {
            json!(["create", "read", "update"])
        };
        Some((path, may))
    };
    let mut data: serde_json::Map<String, Value> = paths.iter().filter_map(may).collect();
    // Of one path it is said under that name too.
    if let (1, Some(only)) = (data.len(), data.values().next().cloned()) {
        data.insert("capabilities".to_owned(), only);
    }
    let mut body = Frame::of(Value::Object(data.clone())).body(id);
    // Each path is there twice.
    for (path, may) in data {
        body[path] = may;
    }
    said::ok(&body)
}

fn health() -> Value {
    json!({
        "initialized": true,
        "sealed": false,
        "standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": 0,
        "version": "2.7.2",
        "cluster_name": "vault-cluster-model",
        "cluster_id": said::uuid(1 << 42),
    })
}

/// Never held across an `await`, and nothing panics while it is held.
fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
