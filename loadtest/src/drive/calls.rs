//! How is a request made, sent, and its answer kept count of?

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, Uri};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::wave::Waves;
use crate::cluster::Cluster;
use crate::record::{Failed, Kind, Recorder, Ticket, failed};
use crate::scenario::{Engine, Scenario};
use crate::schedule::Secret;
use crate::stage::{Answer, Stage};

/// How many paths are kept ready: those that are asked for again and again are among the first.
const PATHS: usize = 1 << 16;

/// Everything a request passes through on its way to the stage.
pub(crate) struct Calls<S> {
    pub(crate) stage: Rc<S>,
    pub(crate) scenario: Rc<Scenario>,
    pub(crate) cluster: Rc<Cluster>,
    pub(crate) recorder: Rc<Recorder>,
    pub(crate) waves: Waves,
    paths: RefCell<HashMap<Secret, Uri>>,
    /// Values that were written.
    versions: Cell<u64>,
    in_flight: Cell<u64>,
    landed: Notify,
}

impl<S: Stage> Calls<S> {
    pub(crate) fn new(
        scenario: &Rc<Scenario>,
        cluster: &Rc<Cluster>,
        stage: &Rc<S>,
        recorder: &Rc<Recorder>,
    ) -> Self {
        Self {
            stage: stage.clone(),
            scenario: scenario.clone(),
            cluster: cluster.clone(),
            recorder: recorder.clone(),
            waves: Waves::default(),
            paths: RefCell::default(),
            versions: Cell::new(0),
            in_flight: Cell::new(0),
            landed: Notify::new(),
        }
    }

    /// Reads a secret.
    pub(crate) fn read(&self, secret: Secret, headers: &HeaderMap) -> Request<Bytes> {
        request(Method::GET, self.path(secret), headers, Bytes::new())
    }

    /// Writes it, with a value that nothing had before.
    pub(crate) fn write(&self, secret: Secret, headers: &HeaderMap) -> Request<Bytes> {
        let version = self.versions.get() + 1;
        self.versions.set(version);
        let value = self.cluster.value(secret, version);
        let body = match self.scenario.world.secrets[secret.set].engine {
            Engine::Kv1 => value,
            Engine::Kv2 => json!({ "data": value }),
        };
        request(Method::POST, self.path(secret), headers, body.to_string().into())
    }

    /// Sends it and waits for the whole answer, whatever it says.
    pub(crate) async fn send(
        &self,
        ticket: Ticket,
        node: u32,
        request: Request<Bytes>,
    ) -> Result<Answer, Failed> {
        self.in_flight.set(self.in_flight.get() + 1);
        let flight = Flight { calls: self, ticket, landed: false };
        let outcome = self.stage.send(node, request).await.map_err(Failed::from);
        flight.land(&outcome);
        outcome
    }

    /// The request has come to its end, perhaps without having been sent.
    pub(crate) fn over(&self, ticket: &Ticket, outcome: &Result<Answer, Failed>) {
        self.recorder.ended(ticket, outcome);
        if ticket.kind == Kind::Read {
            self.waves.read(failed(ticket.kind, outcome));
        }
    }

    /// A request that nobody planned: it is wanted now.
    pub(crate) async fn now(
        &self,
        kind: Kind,
        node: u32,
        request: Request<Bytes>,
    ) -> Result<Answer, Failed> {
        self.send(self.recorder.intend(kind, Instant::now()), node, request).await
    }

    /// No request is on its way.
    pub(crate) async fn landed(&self) {
        while self.in_flight.get() > 0 {
            self.landed.notified().await;
        }
    }

    fn path(&self, secret: Secret) -> Uri {
        let mut paths = self.paths.borrow_mut();
        if let Some(path) = paths.get(&secret) {
            return path.clone();
        }
        let path = below_v1(&self.cluster.secret_path(secret));
        if paths.len() < PATHS {
            paths.insert(secret, path.clone());
        }
        path
    }
}

/// A request on its way. Dropped before it landed, it is one of a pod that ended: nobody waits for
/// the answer, and it was never intended.
struct Flight<'a, S: Stage> {
    calls: &'a Calls<S>,
    ticket: Ticket,
    landed: bool,
}

impl<S: Stage> Flight<'_, S> {
    fn land(mut self, outcome: &Result<Answer, Failed>) {
        self.landed = true;
        self.calls.over(&self.ticket, outcome);
    }
}

impl<S: Stage> Drop for Flight<'_, S> {
    fn drop(&mut self) {
        if !self.landed {
            self.calls.recorder.withdrawn(&self.ticket);
        }
        let in_flight = self.calls.in_flight.get() - 1;
        self.calls.in_flight.set(in_flight);
        if in_flight == 0 {
            self.calls.landed.notify_waiters();
        }
    }
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, headers: &HeaderMap, body: &str) -> Request<Bytes> {
    request(Method::POST, below_v1(path), headers, Bytes::copy_from_slice(body.as_bytes()))
}

/// A request for what is at `path`.
pub(crate) fn get(path: &str, headers: &HeaderMap) -> Request<Bytes> {
    request(Method::GET, below_v1(path), headers, Bytes::new())
}

/// A request as it is sent: path and query only, the rest is the connection's.
pub(crate) fn request(
    method: Method,
    target: Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target;
    request.headers_mut().clone_from(headers);
    request
}

/// Names in a scenario are such that every path is one.
fn below_v1(path: &str) -> Uri {
    Uri::try_from(format!("/v1/{path}")).unwrap_or_else(|_| Uri::from_static("/v1/"))
}
