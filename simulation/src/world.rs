//! Everything there is in a seed, in one place: what is so at the server, what goes wrong on the way
//! there, and what has happened.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use tokio::time::Instant;

use crate::history::{Content, Contents, Kind, Lease, Policy, SECRETS, Token, Trouble};
use crate::properties::Seen;
use crate::settings::Settings;
use crate::situations::{Met, Situation};
use crate::trace::Trace;

/// The credentials' place in a policy, after the secrets.
pub(crate) const CREDENTIALS: usize = SECRETS.len();

/// Where they are issued.
pub(crate) const CREDENTIALS_PATH: &str = "db/creds/app";

/// What the wall clock shows when a seed begins: January 2027.
pub(crate) const BEGINNING: Duration = Duration::from_hours(500_000);

/// The world of a seed.
#[derive(Clone)]
pub(crate) struct World {
    begun: Instant,
    state: Arc<Mutex<State>>,
}

/// What is wrong with the way to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Refuse,
    Hang,
    Tear,
    Garbage,
    Late,
    /// It answers with this status.
    Status(u16),
}

/// All of it.
pub(crate) struct State {
    pub(crate) settings: Settings,
    /// Of the server and the way to it.
    pub(crate) rng: Rng,
    pub(crate) contents: Vec<Contents>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) cluster: u32,
    /// When a health check first told of each cluster.
    pub(crate) noticed: Vec<Option<Duration>>,
    pub(crate) sealed_until: Duration,
    /// What is wrong, until when, and how many in a hundred requests meet it.
    pub(crate) fault: Option<(Fault, Duration, u8)>,
    pub(crate) troubles: Vec<Trouble>,
    /// When the process was paused, and went on.
    pub(crate) pauses: Vec<(Duration, Duration)>,
    /// Requests the server has had.
    pub(crate) requests: u64,
    /// When it last refused a token a secret.
    pub(crate) refused: BTreeMap<(usize, usize), Duration>,
    /// Writes by the number their caller gave them, with the secret and which content it made.
    pub(crate) writes: Vec<(u64, usize, usize)>,
    /// When the request for a credential of each token came that is under way.
    pub(crate) issuing: BTreeMap<usize, Duration>,
    /// How many callers wait for each secret.
    pub(crate) waiting: Vec<u32>,
    /// Secrets that were read and are on their way: where in the order, which, and in which cluster;
    /// none once it was written meanwhile.
    pub(crate) reads: Vec<(u64, usize, Option<u32>)>,
    pub(crate) seen: Seen,
    pub(crate) trace: Trace,
    pub(crate) met: Met,
    pub(crate) violations: Vec<String>,
}

impl World {
    pub(crate) fn new(settings: Settings, rng: Rng, kept: bool) -> Self {
        let nothing =
            Content { at: Duration::ZERO, cluster: 0, version: 0, deleted: false, dies: None };
        let content = |(path, _): &(&str, bool)| {
            let version = u32::from(*path != "kv/data/later");
            Contents(vec![Content { version, ..nothing }])
        };
        let state = State {
            settings,
            rng,
            contents: SECRETS.iter().map(content).collect(),
            policies: Vec::new(),
            tokens: Vec::new(),
            leases: Vec::new(),
            cluster: 0,
            noticed: vec![None],
            sealed_until: Duration::ZERO,
            fault: None,
            troubles: Vec::new(),
            pauses: Vec::new(),
            requests: 0,
            refused: BTreeMap::new(),
            writes: Vec::new(),
            issuing: BTreeMap::new(),
            waiting: vec![0; SECRETS.len()],
            reads: Vec::new(),
            seen: Seen::default(),
            trace: Trace::new(kept),
            met: Met::default(),
            violations: Vec::new(),
        };
        Self { begun: Instant::now(), state: Arc::new(Mutex::new(state)) }
    }

    /// Since the seed began.
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What the wall clock showed when it began.
    pub(crate) fn wall() -> SystemTime {
        SystemTime::UNIX_EPOCH + BEGINNING
    }

    /// Never held across an `await`.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All there was, once nobody else looks at it.
    pub(crate) fn into_state(self) -> Option<State> {
        let state = Arc::into_inner(self.state)?;
        Some(state.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what happened; returns its place in the order.
    pub(crate) fn note(&self, what: std::fmt::Arguments<'_>) -> u64 {
        let now = self.now();
        self.state().trace.note(now, what)
    }
}

impl State {
    pub(crate) fn met(&mut self, situation: Situation) {
        self.met.note(situation);
    }

    /// Whether the server is sealed.
    pub(crate) fn sealed(&self, now: Duration) -> bool {
        now < self.sealed_until
    }

    /// What goes wrong with a request that comes now.
    pub(crate) fn fault(&mut self, now: Duration) -> Option<Fault> {
        let (fault, until, share) = self.fault?;
        (now < until && self.rng.u8(..100) < share).then_some(fault)
    }

    /// The beginning of the time that `span` before `at` lies in: a pause is as long as nothing to
    /// what stood still.
    pub(crate) fn before(&self, at: Duration, span: Duration) -> Duration {
        let mut from = at.saturating_sub(span);
        for (paused, went_on) in self.pauses.iter().rev() {
            if *paused <= at && from < *went_on {
                from = from.min(paused.saturating_sub(span));
            }
        }
        from
    }

    /// Whether there was any of that trouble at any instant of these; of any kind: `None`.
    pub(crate) fn was_troubled(&self, kind: Option<Kind>, from: Duration, to: Duration) -> bool {
        let meets = |it: &Trouble| {
            kind.is_none_or(|kind| it.kind == kind) && it.from <= to && it.to >= from
        };
        self.troubles.iter().any(meets)
    }

    pub(crate) fn violated(&mut self, now: Duration, what: &str) {
        self.trace.note(now, format_args!("VIOLATION {what}"));
        self.violations.push(format!("at {:.6} s: {what}", now.as_secs_f64()));
    }

    /// Something is at a path from now on.
    pub(crate) fn put(&mut self, secret: usize, content: Content) {
        self.contents[secret].0.push(content);
    }

    /// Another server is there, with secrets of its own: nothing of the one before is true.
    pub(crate) fn other_cluster(&mut self, now: Duration) {
        self.cluster += 1;
        self.noticed.push(None);
        for contents in &mut self.contents {
            let version = u32::from(contents.last().version > 0);
            let cluster = self.cluster;
            contents.0.push(Content { at: now, cluster, version, deleted: false, dies: None });
        }
        for lease in &mut self.leases {
            lease.gone.get_or_insert(now);
        }
    }
}
