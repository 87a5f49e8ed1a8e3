//! Which address of the upstream to ask, and is it still the same cluster?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::http::uri::PathAndQuery;
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::Upstream;
use crate::error::Error;
use crate::metrics::Metrics;

/// Between two looks at an address that is well.
const CALM: Duration = Duration::from_secs(2);
/// Between two looks at one that is not.
const ALERT: Duration = Duration::from_millis(500);

/// The configured addresses, in order.
#[derive(Debug)]
pub(super) struct Nodes {
    all: Vec<Arc<Node>>,
    /// Whether any of them has ever answered.
    answered: watch::Sender<bool>,
    /// The last `cluster_id` any of them said.
    cluster: watch::Sender<Option<Arc<str>>>,
    /// Whether any of them has ever called itself Vault Enterprise.
    enterprise: AtomicBool,
    metrics: Arc<Metrics>,
}

/// One address.
#[derive(Debug)]
pub(super) struct Node {
    base: Uri,
    /// For people and metrics: `http://127.0.0.1:8200`.
    name: String,
    state: AtomicU8,
    /// Rung when a request could not connect, so that the next look is now.
    doubt: Notify,
}

/// What an address last said of itself; the order is the order of preference.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
enum State {
    /// The active node.
    Active,
    /// Nobody has asked yet.
    Unknown,
    /// Not the active node; forwards what it cannot answer.
    Standby,
    /// Answers, and will not give out secrets.
    Sealed,
    /// A request could not connect; the next look will tell.
    Suspect,
    /// Does not answer its health check.
    Down,
}

const STATES: [State; 6] =
    [State::Active, State::Unknown, State::Standby, State::Sealed, State::Suspect, State::Down];

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Unknown => "unknown",
            Self::Standby => "standby",
            Self::Sealed => "sealed",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }

    /// `sys/health`'s statuses (OpenBao `internal/http/sys_health.go`).
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200 => Self::Active,
            // 472 and 473: Vault Enterprise's secondaries and performance standbys.
            429 | 472 | 473 => Self::Standby,
            501 | 503 => Self::Sealed,
            _ => Self::Down,
        }
    }
}

impl Node {
    fn state(&self) -> State {
        STATES[usize::from(self.state.load(Ordering::Relaxed)).min(STATES.len() - 1)]
    }

    /// Sets the state, and says so where it is news.
    fn set(&self, state: State, metrics: &Metrics) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before != state as u8 {
            match state {
                State::Active | State::Standby => {
                    info!(address = self.name, state = state.name(), "upstream");
                }
                _ => warn!(address = self.name, state = state.name(), "upstream"),
            }
        }
        let up = matches!(state, State::Active | State::Standby | State::Sealed);
        metrics.upstream_health(&self.name, up, state == State::Sealed);
    }

    /// The whole address of `target` at this node.
    pub(super) fn uri(&self, target: Option<PathAndQuery>) -> Result<Uri, Error> {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(target.unwrap_or(PathAndQuery::from_static("/")));
        Uri::from_parts(parts).map_err(Error::garbage)
    }
}

impl Nodes {
    pub(super) fn new(addresses: &[Uri], metrics: Arc<Metrics>) -> Self {
        let node = |address: &Uri| {
            Arc::new(Node {
                base: address.clone(),
                name: address.to_string().trim_end_matches('/').to_owned(),
                state: AtomicU8::new(State::Unknown as u8),
                doubt: Notify::new(),
            })
        };
        let all = addresses.iter().map(node).collect();
        let (answered, cluster) = (watch::Sender::new(false), watch::Sender::new(None));
        Self { all, answered, cluster, enterprise: AtomicBool::new(false), metrics }
    }

    pub(super) fn cluster(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.cluster.subscribe()
    }

    /// Pins this cluster, if none has been said yet.
    pub(super) fn presume(&self, cluster: &str) {
        self.cluster.send_if_modified(|pinned| {
            let unknown = pinned.is_none();
            if unknown {
                *pinned = Some(cluster.into());
            }
            unknown
        });
    }

    /// Returns once any address has answered.
    pub(super) async fn answers(&self) {
        // The sender is ours, so this cannot end otherwise.
        self.answered.subscribe().wait_for(|answered| *answered).await.ok();
    }

    pub(super) fn enterprise(&self) -> bool {
        self.enterprise.load(Ordering::Relaxed)
    }

    pub(super) fn describe(&self) -> Vec<(String, &'static str)> {
        self.all.iter().map(|node| (node.name.clone(), node.state().name())).collect()
    }

    /// The best address; the first of several equals.
    ///
    /// When a look has found all of them down there is nothing to wait for: the next one is less
    /// than a second away, and callers are better served by a stale answer now.
    pub(super) fn choose(&self) -> Result<Arc<Node>, Error> {
        // Nobody is passed over for not having been asked yet.
        let rank = |node: &&Arc<Node>| match node.state() {
            State::Unknown => State::Active,
            state => state,
        };
        let best = self.all.iter().min_by_key(rank);
        match best {
            Some(node) if node.state() != State::Down => Ok(Arc::clone(node)),
            _ => Err(Error::silent("no address of the upstream answers its health check")),
        }
    }

    /// Notes that a request could not connect.
    pub(super) fn suspect(&self, node: &Node) {
        if node.state() != State::Down {
            node.set(State::Suspect, &self.metrics);
        }
        node.doubt.notify_one();
    }

    /// The one of the addresses that `location` lies at.
    pub(super) fn at(&self, location: &Uri) -> Option<Arc<Node>> {
        let same = |node: &&Arc<Node>| {
            node.base.scheme() == location.scheme() && node.base.authority() == location.authority()
        };
        self.all.iter().find(same).cloned()
    }

    /// Looks at every address, again and again.
    pub(super) async fn watch(&self, upstream: &Upstream) {
        let looks = self.all.iter().map(|node| self.look(node, upstream));
        futures_util::future::join_all(looks).await;
    }

    async fn look(&self, node: &Arc<Node>, upstream: &Upstream) {
        loop {
            let state = match upstream.probe(node).await {
                Ok((status, body)) => {
                    self.identify(&body);
                    self.answered.send_replace(true);
                    State::of(status)
                }
                Err(_) => State::Down,
            };
            node.set(state, &self.metrics);
            let calm = matches!(state, State::Active | State::Standby);
            // Neighbouring nodes of a cluster must not fall into step.
            let pause = if calm { CALM } else { ALERT }.mul_f64(0.8 + 0.4 * fastrand::f64());
            if state == State::Down {
                tokio::time::sleep(pause).await;
            } else {
                // Whether the bell rang or the time is over, the next thing is to look.
                timeout(pause, node.doubt.notified()).await.ok();
            }
        }
    }

    /// Compares the `cluster_id` of a health answer with the one pinned, before the address it
    /// came from is used again.
    fn identify(&self, body: &Bytes) {
        #[derive(Deserialize)]
        struct Health {
            cluster_id: Option<String>,
            #[serde(default)]
            version: String,
        }
        let Ok(Health { cluster_id, version }) = serde_json::from_slice(body) else { return };
        // `1.21.4+ent`, `1.21.4+ent.hsm`.
        if version.contains("+ent") {
            self.enterprise.store(true, Ordering::Relaxed);
        }
        let Some(id) = cluster_id else { return };
        if id.is_empty() {
            return;
        }
        let id: Arc<str> = id.into();
        self.cluster.send_if_modified(|pinned| {
            let changed = pinned.as_ref() != Some(&id);
            if changed && pinned.is_some() {
                warn!("the upstream is another cluster than before: forgetting all of it");
            }
            if changed {
                *pinned = Some(id);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Nodes {
        let addresses = ["http://127.0.0.1:1", "http://127.0.0.1:2"].map(Uri::from_static);
        Nodes::new(&addresses, Arc::new(Metrics::new().unwrap()))
    }

    #[test]
    fn the_first_of_the_healthiest_is_asked() {
        let nodes = nodes();
        let chosen = |states: [State; 2]| {
            nodes.all.iter().zip(states).for_each(|(node, state)| node.set(state, &nodes.metrics));
            nodes.choose().map(|node| node.name.clone()).ok()
        };

        for (states, expected) in [
            ([State::Active, State::Active], Some("http://127.0.0.1:1")),
            ([State::Standby, State::Active], Some("http://127.0.0.1:2")),
            ([State::Unknown, State::Active], Some("http://127.0.0.1:1")),
            ([State::Sealed, State::Standby], Some("http://127.0.0.1:2")),
            ([State::Down, State::Suspect], Some("http://127.0.0.1:2")),
            ([State::Down, State::Down], None),
        ] {
            assert_eq!(chosen(states).as_deref(), expected, "{states:?}");
        }
    }

    #[test]
    fn only_the_configured_addresses_are_known() {
        let nodes = nodes();

        assert!(nodes.at(&Uri::from_static("http://127.0.0.1:2/v1/x")).is_some());
        for other in ["https://127.0.0.1:2/v1/x", "http://127.0.0.1:3/", "/v1/x"] {
            assert!(nodes.at(&Uri::from_static(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn another_cluster_is_noticed_and_the_same_one_is_not() {
        let nodes = nodes();
        let mut cluster = nodes.cluster();

        for (body, changed) in [
            (r#"{"cluster_id":"a"}"#, true),
            (r#"{"cluster_id":"a"}"#, false),
            (r#"{"sealed":true}"#, false),
            (r#"{"cluster_id":"b"}"#, true),
        ] {
            nodes.identify(&Bytes::from_static(body.as_bytes()));
            assert_eq!(cluster.has_changed().unwrap(), changed, "{body}");
            cluster.mark_unchanged();
        }
    }

    #[test]
    fn enterprise_servers_are_told_by_their_version() {
        let nodes = nodes();
        for (version, enterprise) in [("2.7.2", false), ("1.21.4", false), ("1.21.4+ent.hsm", true)]
        {
            nodes.identify(&Bytes::from(format!(r#"{{"version":"{version}"}}"#)));
            assert_eq!(nodes.enterprise(), enterprise, "{version}");
        }
    }
}
