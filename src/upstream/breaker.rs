//! Is something worth asking, by what has come of asking it?
//!
//! A state machine without I/O. Failures in a row open it: then nothing is asked. After a pause, a
//! few trials one after the other close it again, or the first bad one opens it for longer.

use std::time::Duration;

use crate::clock::Time;
use crate::tenant::Tenant;

/// How easily it opens, and how it closes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temper {
    /// Failures in a row that open it.
    pub(super) failures: u32,
    /// Trials in a row that close it.
    pub(super) trials: u32,
    /// How long it stays open the first time; twice as long each time after that.
    pub(super) first: Duration,
    /// How long at most. Somebody waits for it to work again, and is to see within ten seconds
    /// that it does.
    pub(super) longest: Duration,
    /// Whether it takes a good look at the health before the first trial.
    pub(super) looks: bool,
}

/// One of an address, or of what a tenant asks of a mount.
#[derive(Debug)]
pub(super) struct Breaker {
    temper: Temper,
    state: State,
    /// How long it stays open the next time.
    pause: Duration,
    /// Raised with each change of state: what was asked before one says nothing after it.
    round: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// All may ask.
    Closed { failures: u32, blame: Blame },
    /// Nobody may, until then.
    Open { until: Time },
    /// One at a time. `taken`: until when whoever is trying has the time to say how it went.
    HalfOpen { good: u32, taken: Option<Time>, blame: Blame },
}

/// Leave to ask, to be given back with what came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    round: u64,
}

/// To whom it failed so far.
#[derive(Clone, Copy, Debug)]
enum Blame {
    Nobody,
    /// This one only: it may be about them.
    One(Tenant),
    /// It is about nobody in particular.
    Any,
}

/// As metrics show it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Position {
    Closed,
    HalfOpen,
    Open,
}

/// A trial that has said nothing for so long gives way to the next.
const TRIAL: Duration = Duration::from_secs(3);

impl Breaker {
    pub(super) fn new(temper: Temper) -> Self {
        let state = State::Closed { failures: 0, blame: Blame::Nobody };
        Self { temper, state, pause: temper.first, round: 0 }
    }

    /// Whether [`enter`](Self::enter) would let somebody in.
    ///
    /// # Errors
    /// How long it will not, at least.
    pub(super) fn admits(&self, now: Time) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } | State::HalfOpen { taken: None, .. } => Ok(()),
            State::Open { until } if now >= until && !self.temper.looks => Ok(()),
            State::Open { until } => Err(until.since(now)),
            State::HalfOpen { taken: Some(end), .. } if now >= end => Ok(()),
            State::HalfOpen { .. } => Err(Duration::ZERO),
        }
    }

    /// Lets one in who is about to ask.
    ///
    /// # Errors
    /// Nobody may now; how long that lasts, at least.
    pub(super) fn enter(&mut self, now: Time) -> Result<Pass, Duration> {
        self.admits(now)?;
        if let State::Open { .. } = self.state {
            self.half_open();
        }
        if let State::HalfOpen { taken, .. } = &mut self.state {
            *taken = Some(now.plus(TRIAL));
        }
        Ok(Pass { round: self.round })
    }

    /// It went well.
    pub(super) fn good(&mut self, pass: Pass) {
        self.well(pass, true);
    }

    /// There was an answer, which says that somebody is there and little else.
    pub(super) fn answered(&mut self, pass: Pass) {
        self.well(pass, false);
    }

    fn well(&mut self, pass: Pass, excuses: bool) {
        if pass.round != self.round {
            return;
        }
        match &mut self.state {
            State::Closed { failures, blame } if excuses => {
                (*failures, *blame) = (0, Blame::Nobody);
            }
            State::HalfOpen { good, taken, .. } => {
                (*good, *taken) = (*good + 1, None);
                if *good >= self.temper.trials {
                    self.pause = self.temper.first;
                    self.change(State::Closed { failures: 0, blame: Blame::Nobody });
                }
            }
            State::Closed { .. } | State::Open { .. } => (),
        }
    }

    /// It failed. `whose`: to whom, where it may be about nobody else. `pause`: how long it asked
    /// to be left alone, if it did.
    pub(super) fn bad(
        &mut self,
        pass: Pass,
        whose: Option<Tenant>,
        pause: Option<Duration>,
        now: Time,
    ) {
        if pass.round != self.round {
            return;
        }
        let opens = match &mut self.state {
            State::Closed { failures, blame } => {
                (*failures, *blame) = (failures.saturating_add(1), blame.with(whose));
                *failures >= self.temper.failures && blame.general()
            }
            State::HalfOpen { taken, blame, .. } => {
                (*taken, *blame) = (None, blame.with(whose));
                blame.general()
            }
            State::Open { .. } => false,
        };
        if opens || pause.is_some() {
            self.open(pause, now);
        }
    }

    /// Nothing came of it that says anything.
    pub(super) fn void(&mut self, pass: Pass) {
        if let State::HalfOpen { taken, .. } = &mut self.state
            && pass.round == self.round
        {
            *taken = None;
        }
    }

    /// Somebody has looked at the health.
    pub(super) fn look(&mut self, well: bool, now: Time) {
        match self.state {
            State::Open { until } if well && now >= until => self.half_open(),
            State::HalfOpen { .. } if !well => self.open(None, now),
            _ => (),
        }
    }

    pub(super) fn position(&self) -> Position {
        match self.state {
            State::Closed { .. } => Position::Closed,
            State::HalfOpen { .. } => Position::HalfOpen,
            State::Open { .. } => Position::Open,
        }
    }

    /// Whether it is as if it were new.
    pub(super) fn clean(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0, .. })
    }

    fn half_open(&mut self) {
        self.change(State::HalfOpen { good: 0, taken: None, blame: Blame::Nobody });
    }

    fn open(&mut self, asked: Option<Duration>, now: Time) {
        let pause = asked.unwrap_or_default().max(self.pause);
        // The nodes of a cluster must not fall into step.
        let until = now.plus(pause.mul_f64(1.0 + 0.25 * fastrand::f64()));
        self.pause = (self.pause * 2).min(self.temper.longest);
        self.change(State::Open { until });
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.round += 1;
    }
}

impl Blame {
    fn with(self, whose: Option<Tenant>) -> Self {
        match (self, whose) {
            (Self::Nobody, Some(tenant)) => Self::One(tenant),
            (Self::One(first), Some(tenant)) if first == tenant => self,
            _ => Self::Any,
        }
    }

    fn general(self) -> bool {
        matches!(self, Self::Any)
    }
}

#[cfg(test)]
mod tests;
