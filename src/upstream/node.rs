//! One address of the upstream: what it last said of itself, and what has come of asking it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use hyper::{StatusCode, Uri};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::breaker::{Breaker, Pass, Position, Temper};
use crate::clock::Clock;
use crate::error::Error;
use crate::metrics::{Guard, Metrics};
use crate::tenant::Tenant;

/// The longest pause, the look after it and the trials make less than ten seconds.
const TEMPER: Temper = Temper {
    failures: 5,
    trials: 3,
    first: Duration::from_secs(1),
    longest: Duration::from_secs(4),
    looks: true,
};

/// One address.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) base: Uri,
    /// For people and metrics: `http://127.0.0.1:8200`.
    pub(super) name: String,
    state: AtomicU8,
    breaker: Mutex<Breaker>,
    /// Rung when a request went wrong, so that the next look is now.
    pub(super) doubt: Notify,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What an address last said of itself; the order is the order of preference.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(super) enum State {
    /// The active node.
    Active,
    /// Nobody has asked yet.
    Unknown,
    /// Not the active node; forwards what it cannot answer.
    Standby,
    /// A request could not connect; the next look will tell.
    Suspect,
    /// Answers, and will not give out secrets.
    Sealed,
    /// Does not answer its health check.
    Down,
}

const STATES: [State; 6] =
    [State::Active, State::Unknown, State::Standby, State::Suspect, State::Sealed, State::Down];

impl State {
    pub(super) fn name(self) -> &'static str {
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
    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200 => Self::Active,
            // 472 and 473: Vault Enterprise's secondaries and performance standbys.
            429 | 472 | 473 => Self::Standby,
            501 | 503 => Self::Sealed,
            _ => Self::Down,
        }
    }

    /// Whether it answers, and gives out secrets.
    pub(super) fn well(self) -> bool {
        matches!(self, Self::Active | Self::Standby)
    }
}

impl Node {
    pub(super) fn new(base: &Uri, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let name = base.to_string().trim_end_matches('/').to_owned();
        metrics.upstream_breaker(&name, Guard::Closed);
        Self {
            base: base.clone(),
            name,
            state: AtomicU8::new(State::Unknown as u8),
            breaker: Mutex::new(Breaker::new(TEMPER)),
            doubt: Notify::new(),
            clock,
            metrics,
        }
    }

    pub(super) fn state(&self) -> State {
        STATES[usize::from(self.state.load(Ordering::Relaxed)).min(STATES.len() - 1)]
    }

    /// Sets the state, and says so where it is news.
    pub(super) fn set(&self, state: State) -> State {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before != state as u8 {
            match state {
                State::Active | State::Standby => {
                    info!(address = self.name, state = state.name(), "upstream");
                }
                _ => warn!(address = self.name, state = state.name(), "upstream"),
            }
        }
        let up = state.well() || state == State::Sealed;
        self.metrics.upstream_health(&self.name, up, state == State::Sealed);
        STATES[usize::from(before).min(STATES.len() - 1)]
    }

    /// The whole address of `target` at this node.
    pub(super) fn uri(&self, target: Option<PathAndQuery>) -> Result<Uri, Error> {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(target.unwrap_or(PathAndQuery::from_static("/")));
        Uri::from_parts(parts).map_err(Error::garbage)
    }

    /// Notes that a request could not connect.
    pub(super) fn suspect(&self) {
        if self.state() != State::Down {
            self.set(State::Suspect);
        }
        self.doubt.notify_one();
    }

    /// Whether its breaker lets a request pass. One that is sealed says so at once, and it must be
    /// heard: what is kept is not served then.
    ///
    /// # Errors
    /// How long it will not, at least.
    pub(super) fn admits(&self) -> Result<(), Duration> {
        if self.state() == State::Sealed {
            return Ok(());
        }
        self.breaker().admits(self.clock.now())
    }

    /// Leave to ask it.
    ///
    /// # Errors
    /// How long there will be none, at least.
    pub(super) fn turn(self: &Arc<Self>) -> Result<Turn, Duration> {
        let pass = match self.state() {
            State::Sealed => None,
            _ => Some(self.breaker().enter(self.clock.now())?),
        };
        Ok(Turn { node: Arc::clone(self), pass })
    }

    /// Whether it is left alone.
    pub(super) fn resting(&self) -> bool {
        self.breaker().position() == Position::Open
    }

    /// What a look at its health has found. Says whether that was the last that it took to leave
    /// the address alone.
    pub(super) fn looked(&self, state: State) -> bool {
        let before = self.set(state);
        let now = self.clock.now();
        let opened = self.change(|breaker| breaker.look(state != State::Down, now));
        opened || state == State::Down && before != State::Down
    }

    /// Changes the breaker, says so, and whether that is the end of an address in use.
    fn change(&self, change: impl FnOnce(&mut Breaker)) -> bool {
        let mut breaker = self.breaker();
        let before = breaker.position();
        change(&mut breaker);
        let after = breaker.position();
        if before == after {
            return false;
        }
        let guard = match after {
            Position::Closed => Guard::Closed,
            Position::HalfOpen => Guard::HalfOpen,
            Position::Open => Guard::Open,
        };
        self.metrics.upstream_breaker(&self.name, guard);
        drop(breaker);
        match after {
            Position::Open => warn!(address = self.name, "upstream left alone for a moment"),
            Position::HalfOpen => info!(address = self.name, "upstream tried again"),
            Position::Closed => info!(address = self.name, "upstream in use again"),
        }
        // A trial that failed says nothing new: all share their connections with other addresses.
        before == Position::Closed && after == Position::Open
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to ask an address once; given back with what came of it, or dropped without.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) node: Arc<Node>,
    pass: Option<Pass>,
}

impl Turn {
    /// It went well.
    pub(super) fn good(mut self) {
        if let Some(pass) = self.pass.take() {
            self.node.change(|breaker| breaker.good(pass));
        }
    }

    /// There was an answer, of which nobody here can say whether it is the right one.
    pub(super) fn answered(mut self) {
        if let Some(pass) = self.pass.take() {
            self.node.change(|breaker| breaker.answered(pass));
        }
    }

    /// It failed; `whose`: to whom, where it may be about nobody else. Whether the address is left
    /// alone from now on.
    pub(super) fn bad(mut self, whose: Option<Tenant>) -> bool {
        let now = self.node.clock.now();
        let pass = self.pass.take();
        pass.is_some_and(|pass| self.node.change(|breaker| breaker.bad(pass, whose, None, now)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(pass) = self.pass {
            self.node.breaker().void(pass);
        }
    }
}
