//! Which effects are on, and what has come of them?

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::http1::Head;

/// What is done to a connection or to an answer. The first eight are toxiproxy's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Effect {
    /// An answer waits before each piece.
    Latency { delay: Duration, jitter: Duration },
    /// Nobody listens, and connections that are open are closed.
    Down,
    /// So many bytes of an answer a second.
    Bandwidth { bytes_per_second: u32 },
    /// A connection is closed later than it should be.
    SlowClose { delay: Duration },
    /// Nothing gets through, and after a while the connection is closed.
    Timeout { after: Duration },
    /// The connection is reset, behind a byte of the answer drawn from the first `within`.
    ResetPeer { after: Duration, within: u32 },
    /// An answer comes in pieces of this size.
    Slicer { size: usize, delay: Duration },
    /// The connection is closed when so many bytes of answers have gone through it.
    LimitData { bytes: u64 },

    /// An answer in the server's own shape.
    Status(u16),
    /// What a sealed server answers, to health checks too.
    Sealed,
    /// Bytes that are no HTTP.
    Garbage,
    /// A page, with 200.
    Html,
    /// The head of an answer, half of its body, and the end of the connection.
    Truncated,
    /// The body of an answer, byte by byte.
    Drip { every: Duration },
    /// A body of so many bytes, with 200.
    Download { bytes: u64 },
    /// New connections are not taken in, and what comes over old ones vanishes.
    BlackHole,
}

/// An effect, and what it is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Toxic {
    pub(crate) effect: Effect,
    /// Of the requests that it is for.
    pub(crate) share: f64,
    /// Of their targets; all of them where it is empty.
    pub(crate) prefix: &'static str,
    /// Whether health checks are left alone.
    pub(crate) spares_health: bool,
}

/// What the injector is told with, and asked.
#[derive(Clone, Debug)]
pub(crate) struct Switch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    toxics: watch::Sender<Arc<[Toxic]>>,
    counts: Mutex<Counts>,
    began: Instant,
}

#[derive(Debug, Default)]
struct Counts {
    fired: BTreeMap<&'static str, u64>,
    /// Requests that were not health checks, by second.
    seconds: Vec<u32>,
    health: u64,
}

impl Toxic {
    /// For everything.
    pub(crate) fn new(effect: Effect) -> Self {
        Self { effect, share: 1.0, prefix: "", spares_health: false }
    }

    fn is_for(&self, request: &Head) -> bool {
        request.target().starts_with(self.prefix)
            && !(self.spares_health && is_health(request))
            && (self.share >= 1.0 || fastrand::f64() < self.share)
    }
}

impl Effect {
    /// Of its count.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Down => "down",
            Self::Bandwidth { .. } => "bandwidth",
            Self::SlowClose { .. } => "slow_close",
            Self::Timeout { .. } => "timeout",
            Self::ResetPeer { .. } => "reset_peer",
            Self::Slicer { .. } => "slicer",
            Self::LimitData { .. } => "limit_data",
            Self::Status(_) => "status",
            Self::Sealed => "sealed",
            Self::Garbage => "garbage",
            Self::Html => "html",
            Self::Truncated => "truncated",
            Self::Drip { .. } => "drip",
            Self::Download { .. } => "download",
            Self::BlackHole => "black_hole",
        }
    }
}

impl Switch {
    pub(super) fn new() -> Self {
        let (toxics, _) = watch::channel(Arc::from(vec![]));
        Self(Arc::new(Shared { toxics, counts: Mutex::default(), began: Instant::now() }))
    }

    /// From now on these, the first that is for a request; without any, all is well.
    pub(crate) fn set(&self, toxics: Vec<Toxic>) {
        self.0.toxics.send_replace(toxics.into());
    }

    pub(crate) fn clear(&self) {
        self.set(vec![]);
    }

    /// How often an effect was felt.
    pub(crate) fn fired(&self, effect: &str) -> u64 {
        self.counts().fired.get(effect).copied().unwrap_or(0)
    }

    /// All of those.
    pub(crate) fn all_fired(&self) -> BTreeMap<&'static str, u64> {
        self.counts().fired.clone()
    }

    /// Which of [`Self::seconds`] it is.
    pub(crate) fn second(&self) -> usize {
        usize::try_from(self.0.began.elapsed().as_secs()).unwrap_or(usize::MAX)
    }

    /// Requests in each second since the start, without health checks.
    pub(crate) fn seconds(&self) -> Vec<u32> {
        self.counts().seconds.clone()
    }

    /// All of those.
    pub(crate) fn requests(&self) -> u64 {
        self.counts().seconds.iter().map(|count| u64::from(*count)).sum()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<[Toxic]>> {
        self.0.toxics.subscribe()
    }

    /// What is done to whole connections, whatever they are used for.
    pub(super) fn on_connections(toxics: &[Toxic]) -> Option<Effect> {
        let effects = toxics.iter().map(|toxic| toxic.effect);
        effects.into_iter().find(|effect| matches!(effect, Effect::Down | Effect::BlackHole))
    }

    /// What is done to this request.
    pub(super) fn on(&self, request: &Head) -> Option<Effect> {
        let toxics = self.0.toxics.borrow();
        toxics.iter().find(|toxic| toxic.is_for(request)).map(|toxic| toxic.effect)
    }

    /// How connections are closed.
    pub(super) fn on_close(&self) -> Option<Duration> {
        self.0.toxics.borrow().iter().find_map(|toxic| match toxic.effect {
            Effect::SlowClose { delay } => Some(delay),
            _ => None,
        })
    }

    pub(super) fn fire(&self, effect: Effect) {
        *self.counts().fired.entry(effect.name()).or_default() += 1;
    }

    pub(super) fn count(&self, request: &Head) {
        let second = self.second();
        let mut counts = self.counts();
        if is_health(request) {
            counts.health += 1;
            return;
        }
        if counts.seconds.len() <= second {
            counts.seconds.resize(second + 1, 0);
        }
        counts.seconds[second] += 1;
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_health(request: &Head) -> bool {
    request.target().starts_with("/v1/sys/health")
}
