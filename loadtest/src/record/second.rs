//! How did it go, second by second?

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::phase::Times;
use super::{Cached, Failed, Kind, failed};
use crate::result::Second;
use crate::stage::{Answer, Gauges};

/// The seconds of a round; an answer belongs to the second in which it came.
#[derive(Debug, Default)]
pub(crate) struct Seconds {
    pub(crate) done: Vec<Second>,
    began: Option<Instant>,
    now: Second,
    times: Times,
    /// For a log: what a second had of each kind.
    kinds: Kinds,
    upstream: Option<u64>,
    /// How many seconds were over when the servers were last asked.
    asked: usize,
}

/// Of one second, or of what there was of it, by the phase in which it was wanted and by kind.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    /// Which second it is.
    pub(crate) number: u64,
    pub(crate) times: BTreeMap<(usize, Kind), Times>,
}

impl Seconds {
    pub(crate) fn begin(&mut self, now: Instant, phase: usize, gauges: &Gauges) {
        self.began.get_or_insert(now);
        self.now.phase = phase;
        self.upstream = total(gauges);
    }

    /// Hands over each second that is over.
    pub(crate) fn roll(&mut self, now: Instant, mut each: impl FnMut(&Kinds)) {
        let Some(began) = self.began else { return };
        let number = now.saturating_duration_since(began).as_secs();
        while self.kinds.number < number {
            let latency = self.times.latency();
            (self.now.p50, self.now.p99) = (latency.p50, latency.p99);
            each(&self.kinds);
            let next = Second { phase: self.now.phase, ..Second::default() };
            self.done.push(std::mem::replace(&mut self.now, next));
            self.times.clear();
            self.kinds.times.values_mut().for_each(Times::clear);
            self.kinds.number += 1;
        }
    }

    /// What there is of a second that never will be over, and how long that is.
    pub(crate) fn rest(&self, now: Instant) -> Option<(&Kinds, Duration)> {
        let over = Duration::from_secs(self.kinds.number);
        let length = now.saturating_duration_since(self.began?).saturating_sub(over);
        (!length.is_zero()).then_some((&self.kinds, length))
    }

    pub(crate) fn ended(
        &mut self,
        phase: usize,
        kind: Kind,
        latency: Duration,
        outcome: &Result<Answer, Failed>,
        cached: Option<Cached>,
        logged: bool,
    ) {
        self.now.failed += u64::from(failed(kind, outcome));
        let Some(cached) = cached else { return };
        self.now.answered += 1;
        self.now.hits += u64::from(kind == Kind::Read && cached.is_from_memory());
        self.times.record(latency);
        if logged {
            self.kinds.times.entry((phase, kind)).or_default().record(latency);
        }
    }

    /// They are asked at the end of a second, so it is the one just over that they belong to; or at
    /// the end of a phase, in the midst of one.
    pub(crate) fn gauged(&mut self, gauges: &Gauges) {
        let now = total(gauges);
        let arrived = now.zip(self.upstream).map(|(now, before)| now.saturating_sub(before));
        self.upstream = now;
        let just_over = self.done.len() > self.asked;
        self.asked = self.done.len();
        let second = self.done.last_mut().filter(|_| just_over).unwrap_or(&mut self.now);
        if let Some(arrived) = arrived {
            *second.upstream.get_or_insert_default() += arrived;
        }
        second.resident = gauges.resident;
    }
}

fn total(gauges: &Gauges) -> Option<u64> {
    (!gauges.upstream.is_empty()).then(|| gauges.upstream.values().sum())
}
