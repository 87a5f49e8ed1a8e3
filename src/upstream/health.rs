//! Which address of the upstream to ask, and is it still the same cluster?

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use super::Upstream;
use super::node::{Node, State, Turn};
use super::recovery::Recovery;
use crate::clock::Clock;
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
    recovery: Mutex<Recovery>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Nodes {
    /// `rate`: requests a second that an upstream bears which has just come back.
    pub(super) fn new(addresses: &[Uri], rate: u32, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let node = |address| Arc::new(Node::new(address, clock.clone(), Arc::clone(&metrics)));
        let all = addresses.iter().map(node).collect();
        let (answered, cluster) = (watch::Sender::new(false), watch::Sender::new(None));
        let enterprise = AtomicBool::new(false);
        let recovery = Mutex::new(Recovery::new(rate));
        Self { all, answered, cluster, enterprise, recovery, clock, metrics }
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
        let state = |node: &Node| match node.state() {
            State::Down | State::Sealed => node.state().name(),
            _ if node.resting() => "left alone",
            state => state.name(),
        };
        self.all.iter().map(|node| (node.name.clone(), state(node))).collect()
    }

    /// Leave to ask the best address whose breaker lets a request pass, the first of several
    /// equals; another than `except`, if there is one.
    ///
    /// When a look has found all of them down there is nothing to wait for: the next one is less
    /// than a second away, and callers are better served by a stale answer now.
    pub(super) fn choose(&self, except: Option<&Node>) -> Result<Turn, Error> {
        self.weigh();
        let mut best: Vec<_> = self.candidates().collect();
        // One that is sealed has no answer, however often another has failed.
        let sealed = |node: &Node| node.state() == State::Sealed;
        let tried = |node: &Node| except.is_some_and(|except| same(node, except));
        best.sort_by_key(|node| (sealed(node), tried(node), rank(node)));
        first(best, Node::turn)
    }

    /// Whether [`choose`](Self::choose) would find one.
    pub(super) fn any(&self) -> Result<(), Error> {
        self.weigh();
        let mut best: Vec<_> = self.candidates().collect();
        best.sort_by_key(|node| rank(node));
        first(best, |node| node.admits())
    }

    /// Leave to ask another address than `first` that is as good: a standby may not know yet what
    /// the active node has taken in.
    pub(super) fn twin(&self, first: &Node) -> Option<Turn> {
        let twin = |node: &&Arc<Node>| !same(node, first) && rank(node) == rank(first);
        self.candidates().filter(twin).find_map(|node| node.turn().ok())
    }

    /// Whether there is another address than `node` to ask, which is not sealed.
    pub(super) fn others(&self, node: &Node) -> bool {
        let mut open = self.candidates().filter(|other| other.state() != State::Sealed);
        open.any(|other| !same(other, node) && other.admits().is_ok())
    }

    /// Whether whoever is asked says that the upstream is sealed.
    pub(super) fn sealed(&self) -> bool {
        let mut candidates = self.candidates().peekable();
        candidates.peek().is_some() && candidates.all(|node| node.state() == State::Sealed)
    }

    fn candidates(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.all.iter().filter(|node| node.state() != State::Down)
    }

    /// Notes whether the upstream can be asked for secrets now.
    fn weigh(&self) {
        let out = |node: &Arc<Node>| {
            matches!(node.state(), State::Down | State::Sealed) || node.resting()
        };
        let (out, now) = (self.all.iter().all(out), self.clock.now());
        let sealed = self.sealed();
        let mut recovery = self.recovery();
        if out { recovery.out(sealed) } else { recovery.back(now) }
    }

    /// How long a request of vaultlet's own has to wait, so that an upstream that has just come
    /// back is not asked for everything at once.
    ///
    /// # Errors
    /// Too many wait already.
    pub(super) fn pace(&self) -> Result<Duration, Error> {
        self.recovery().turn(self.clock.now()).ok_or(Error::Overloaded)
    }

    /// Whether it would have to, less than `window` after that.
    pub(super) fn crowded(&self, window: Duration) -> bool {
        self.recovery().crowded(window, self.clock.now())
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn recovery(&self) -> MutexGuard<'_, Recovery> {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner)
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
            if node.looked(state) {
                upstream.start_afresh();
            }
            self.weigh();
            let calm = state.well() && !node.resting();
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
                self.metrics.cluster_changed();
            }
            if changed {
                *pinned = Some(id);
            }
            changed
        });
    }
}

fn same(one: &Node, other: &Node) -> bool {
    std::ptr::eq(one, other)
}

/// Nobody is passed over for not having been asked yet.
fn rank(node: &Node) -> State {
    match node.state() {
        State::Unknown => State::Active,
        state => state,
    }
}

/// What the first of `nodes` gives that gives anything. While one is left alone, a sealed one is not
/// asked instead: that it is sealed does not mean that the cluster is.
fn first<T>(
    nodes: Vec<&Arc<Node>>,
    mut ask: impl FnMut(&Arc<Node>) -> Result<T, Duration>,
) -> Result<T, Error> {
    let mut shortest = None;
    for node in nodes {
        if node.state() == State::Sealed && shortest.is_some() {
            break;
        }
        match ask(node) {
            Ok(given) => return Ok(given),
            Err(pause) => {
                shortest = Some(shortest.map_or(pause, |other: Duration| other.min(pause)));
            }
        }
    }
    Err(Error::Resting(StatusCode::SERVICE_UNAVAILABLE, shortest.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Nodes {
        let addresses = ["http://127.0.0.1:1", "http://127.0.0.1:2"].map(Uri::from_static);
        Nodes::new(&addresses, 200, Clock::manual(), Arc::new(Metrics::new().unwrap()))
    }

    #[test]
    fn the_first_of_the_healthiest_is_asked() {
        let nodes = nodes();
        let chosen = |states: [State; 2]| {
            for (node, state) in nodes.all.iter().zip(states) {
                node.set(state);
            }
            nodes.choose(None).map(|turn| turn.node.name.clone()).ok()
        };

        for (states, expected) in [
            ([State::Active, State::Active], Some("http://127.0.0.1:1")),
            ([State::Standby, State::Active], Some("http://127.0.0.1:2")),
            ([State::Unknown, State::Active], Some("http://127.0.0.1:1")),
            ([State::Sealed, State::Standby], Some("http://127.0.0.1:2")),
            ([State::Down, State::Suspect], Some("http://127.0.0.1:2")),
            ([State::Sealed, State::Suspect], Some("http://127.0.0.1:2")),
            ([State::Down, State::Down], None),
        ] {
            assert_eq!(chosen(states).as_deref(), expected, "{states:?}");
        }
    }

    fn break_down(node: &Arc<Node>) {
        while let Ok(turn) = node.turn() {
            turn.bad(None);
        }
    }

    #[test]
    fn who_is_left_alone_is_passed_over_and_a_sealed_one_is_heard() {
        let nodes = nodes();
        let [one, two] = [&nodes.all[0], &nodes.all[1]];
        let chosen = || nodes.choose(None).map(|turn| turn.node.name.clone()).ok();
        for node in [one, two] {
            node.set(State::Active);
        }
        break_down(one);
        assert_eq!(chosen().as_ref(), Some(&two.name));
        assert_eq!(nodes.describe()[0].1, "left alone");

        // The other is sealed, of which the cluster as such may know nothing.
        two.set(State::Sealed);
        let error = nodes.choose(None).unwrap_err();
        assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(nodes.any().is_err());

        // It is sealed itself: nothing kept may stand in for that answer.
        one.set(State::Sealed);
        assert_eq!(chosen().as_ref(), Some(&one.name));
        assert!(nodes.any().is_ok());
    }

    #[test]
    fn a_standby_is_no_twin_of_the_active_node() {
        let nodes = nodes();
        let [one, two] = [&nodes.all[0], &nodes.all[1]];
        for (state, twin) in [(State::Standby, false), (State::Active, true)] {
            one.set(State::Active);
            two.set(state);
            assert_eq!(nodes.twin(one).is_some(), twin, "{state:?}");
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
