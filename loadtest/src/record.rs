//! What came of every request, and when?
//!
//! A [`Recorder`] belongs to one target and lives as long as all of its rounds. What it holds does
//! not grow with the number of requests: histograms (HDR, three digits, nanoseconds) for each phase
//! and kind, and a line for each second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::drive::Time;
use crate::result;
use crate::scenario::Scenario;
use crate::stage::{Answer, Failure, Gauges};

pub(crate) use kind::{Cached, Kind};
pub(crate) use log::Log;

mod generator;
mod kind;
mod log;
mod phase;
mod second;
#[cfg(test)]
mod tests;

/// All that is known of one target.
#[derive(Debug)]
pub(crate) struct Recorder {
    name: String,
    time: Time,
    /// The phase that is being played; between phases and before the first one nothing counts.
    current: Cell<Option<usize>>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    phases: Vec<phase::Phase>,
    seconds: second::Seconds,
    log: Option<Rc<Log>>,
    /// What the generator ran out of, in words.
    exhausted: Option<String>,
}

/// A request on its way: what its answer is counted as, whenever that comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    phase: Option<usize>,
    pub(crate) kind: Kind,
    /// When it should be sent.
    pub(crate) intended: Instant,
}

/// Why a request has no whole answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Failed {
    /// Its pod had nothing yet to show for itself, or was not running.
    NotStarted,
    /// It was sent, or should have been.
    Sent(Failure),
}

/// How it goes: of the phase that is being played, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) hits: u64,
    /// Answers to reads.
    pub(crate) reads: u64,
}

impl Recorder {
    /// Of a target that a report calls `name`.
    pub(crate) fn new(name: &str, scenario: &Scenario, time: Time) -> Self {
        let phases = scenario.phases.iter().map(phase::Phase::new).collect();
        let state =
            State { phases, seconds: second::Seconds::default(), log: None, exhausted: None };
        Self { name: name.to_owned(), time, current: Cell::new(None), state: RefCell::new(state) }
    }

    /// Writes each second's latencies into `log` as well, tagged `TARGET/PHASE/KIND`.
    pub(crate) fn log_to(&self, log: Rc<Log>) {
        self.state.borrow_mut().log = Some(log);
    }

    /// A round is over: what came in a second that was not whole yet is in the log too.
    pub(crate) fn close(&self) {
        let (now, mut state) = (Instant::now(), self.state.borrow_mut());
        state.roll(&self.name, now);
        let State { phases, seconds, log, .. } = &*state;
        if let (Some(log), Some((kinds, length))) = (log, seconds.rest(now)) {
            log.second(kinds, length, tag(&self.name, phases));
        }
    }

    /// Another round begins: the seconds are those of the last one.
    pub(crate) fn round(&self) {
        let mut state = self.state.borrow_mut();
        state.seconds = second::Seconds::default();
    }

    /// `phase` begins now.
    pub(crate) fn begin(&self, phase: usize, gauges: &Gauges) {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        state.phases[phase].begin(now, gauges, generator::Cpu::now(self.time));
        state.seconds.begin(now, phase, gauges);
        self.current.set(Some(phase));
    }

    /// It ended `now`; answers that are still on their way will count as its own.
    pub(crate) fn end(&self, now: Instant, gauges: &Gauges) {
        let Some(phase) = self.current.take() else { return };
        let mut state = self.state.borrow_mut();
        state.phases[phase].end(now, gauges, generator::Cpu::now(self.time));
        state.roll(&self.name, now);
        state.seconds.gauged(gauges);
    }

    /// A request of the phase that is being played should be sent at `intended`.
    pub(crate) fn intend(&self, kind: Kind, intended: Instant) -> Ticket {
        let phase = self.current.get();
        if let Some(phase) = phase {
            self.state.borrow_mut().phases[phase].kind(kind).intended += 1;
        }
        Ticket { phase, kind, intended }
    }

    /// It is sent now, on time or late.
    pub(crate) fn sent(&self, ticket: &Ticket) {
        let Some(phase) = ticket.phase else { return };
        self.state.borrow_mut().phases[phase].late.record(ticket.intended.elapsed());
    }

    /// It is over.
    pub(crate) fn ended(&self, ticket: &Ticket, outcome: &Result<Answer, Failed>) {
        let Some(phase) = ticket.phase else { return };
        let now = Instant::now();
        let latency = now.saturating_duration_since(ticket.intended);
        let mut state = self.state.borrow_mut();
        state.roll(&self.name, now);
        if state.phases[phase].is_cut_off() {
            drop(state);
            return self.withdrawn(ticket);
        }
        let cached = outcome.as_ref().ok().map(|answer| Cached::of(&answer.headers));
        state.phases[phase].ended(ticket.kind, latency, outcome, cached);
        let State { seconds, log, .. } = &mut *state;
        seconds.ended(phase, ticket.kind, latency, outcome, cached, log.is_some());
    }

    /// Nobody waits for its answer any more, and it counts for nothing.
    pub(crate) fn withdrawn(&self, ticket: &Ticket) {
        if let Some(phase) = ticket.phase {
            self.state.borrow_mut().phases[phase].kind(ticket.kind).intended -= 1;
        }
    }

    /// Once a second: what the servers say of themselves now.
    pub(crate) fn gauged(&self, gauges: &Gauges) {
        let mut state = self.state.borrow_mut();
        state.roll(&self.name, Instant::now());
        state.seconds.gauged(gauges);
    }

    /// How long it took from what happened in `phase` until all was well; `None`: it is not.
    pub(crate) fn recovered(&self, phase: usize, after: Option<Duration>) {
        if let Some(round) = self.state.borrow_mut().phases[phase].recovered.last_mut() {
            *round = after;
        }
    }

    /// The generator ran out of something.
    pub(crate) fn exhausted(&self, of: Option<String>) {
        let mut state = self.state.borrow_mut();
        state.exhausted = state.exhausted.take().or(of);
    }

    /// Answers per second of a phase, all rounds together; `None` before it has ended.
    pub(crate) fn per_second(&self, phase: &str) -> Option<f64> {
        let state = self.state.borrow();
        state.phases.iter().find(|one| one.name == phase)?.per_second()
    }

    /// How it goes.
    pub(crate) fn standing(&self) -> Standing {
        let state = self.state.borrow();
        self.current.get().map(|phase| state.phases[phase].standing).unwrap_or_default()
    }

    /// All of it, for a report.
    pub(crate) fn target(&self) -> result::Target {
        let state = self.state.borrow();
        result::Target {
            name: self.name.clone(),
            phases: state.phases.iter().map(phase::Phase::result).collect(),
            seconds: state.seconds.done.clone(),
            generator: generator::judge(&state.phases, state.exhausted.as_deref(), self.time),
        }
    }
}

impl Standing {
    /// What has been added since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(before.answered),
            failed: self.failed.saturating_sub(before.failed),
            hits: self.hits.saturating_sub(before.hits),
            reads: self.reads.saturating_sub(before.reads),
        }
    }
}

impl State {
    /// Ends the second that was, if it is over.
    fn roll(&mut self, target: &str, now: Instant) {
        let Self { phases, seconds, log, .. } = self;
        seconds.roll(now, |kinds| {
            if let Some(log) = log {
                log.second(kinds, Duration::from_secs(1), tag(target, phases));
            }
        });
    }
}

/// What a log calls a phase.
fn tag(target: &str, phases: &[phase::Phase]) -> impl Fn(usize) -> String {
    move |phase| format!("{target}/{}", phases[phase].name)
}

impl Failed {
    /// As results call it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NotStarted => "not started",
            Self::Sent(Failure::Connect) => "connect",
            Self::Sent(Failure::Broken) => "broken",
            Self::Sent(Failure::TimedOut) => "timed out",
        }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Sent(failure)
    }
}

/// Whether it does the caller no good.
pub(crate) fn failed(kind: Kind, outcome: &Result<Answer, Failed>) -> bool {
    let good = |answer: &Answer| result::is_good(kind.name(), answer.status.as_u16());
    !outcome.as_ref().is_ok_and(good)
}
