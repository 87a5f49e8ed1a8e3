//! What is counted of one phase, all its rounds together?

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::generator::Cpu;
use super::{Cached, Failed, Kind, Standing, failed};
use crate::result;
use crate::scenario::{self, Arrivals};
use crate::stage::{Answer, Gauges};

/// What objectives are about: see [`result::Kind`].
const RETRIEVAL: Duration = Duration::from_millis(50);
const GENERATION: Duration = Duration::from_millis(200);

/// One phase of one target.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) name: String,
    /// Of each round; `None` while somebody lacks something.
    pub(crate) recovered: Vec<Option<Duration>>,
    /// By how much requests left after their intended time.
    pub(crate) late: Times,
    /// Of the generator's thread, and how long it had; `None` in paused time.
    pub(crate) own: Option<Duration>,
    /// Played so far.
    pub(crate) elapsed: Duration,
    pub(crate) standing: Standing,
    saturated: bool,
    kinds: BTreeMap<Kind, Counts>,
    begun: Option<(Instant, Gauges, Option<Cpu>)>,
    upstream: BTreeMap<&'static str, u64>,
    cpu: Option<Duration>,
    upstream_cpu: Option<Duration>,
    last: Gauges,
    /// All answers of this round.
    round: Times,
    rounds: Vec<result::Round>,
}

/// Requests of one kind.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) intended: u64,
    answered: u64,
    statuses: BTreeMap<u16, u64>,
    broken: BTreeMap<Failed, u64>,
    cached: BTreeMap<Cached, u64>,
    /// Of the good ones: answers in time, answers that did not come from memory, and both.
    quick: u64,
    fetched: u64,
    fetched_quick: u64,
    hits: Times,
    others: Times,
}

/// A histogram of times, in nanoseconds, which takes no room before the first one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Option<Histogram<u64>>);

impl Phase {
    pub(crate) fn new(phase: &scenario::Phase) -> Self {
        Self {
            name: phase.name.clone(),
            recovered: Vec::new(),
            late: Times::default(),
            own: None,
            elapsed: Duration::ZERO,
            standing: Standing::default(),
            saturated: matches!(phase.arrivals, Arrivals::Saturate { .. }),
            kinds: BTreeMap::new(),
            begun: None,
            upstream: BTreeMap::new(),
            cpu: None,
            upstream_cpu: None,
            last: Gauges::default(),
            round: Times::default(),
            rounds: Vec::new(),
        }
    }

    pub(crate) fn kind(&mut self, kind: Kind) -> &mut Counts {
        self.kinds.entry(kind).or_default()
    }

    /// A closed loop has ended with answers still on their way, and they are not its throughput.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.saturated && self.begun.is_none()
    }

    pub(crate) fn begin(&mut self, now: Instant, gauges: &Gauges, cpu: Option<Cpu>) {
        self.rounds = self.rounds_so_far();
        self.recovered.push(None);
        self.standing = Standing::default();
        self.round = Times::default();
        self.begun = Some((now, gauges.clone(), cpu));
    }

    pub(crate) fn end(&mut self, now: Instant, gauges: &Gauges, cpu: Option<Cpu>) {
        let Some((begun, before, own)) = self.begun.take() else { return };
        let elapsed = now.saturating_duration_since(begun);
        self.elapsed += elapsed;
        // Without a count at the begin, all that ever came would seem to be the phase's.
        let upstream = gauges.upstream.iter().filter(|_| !before.upstream.is_empty());
        for (kind, count) in upstream {
            let before = before.upstream.get(kind).copied().unwrap_or_default();
            *self.upstream.entry(kind).or_default() += count.saturating_sub(before);
        }
        let used = difference(gauges.cpu, before.cpu);
        let first = self.rounds.is_empty();
        add_known(&mut self.cpu, used, first);
        let upstream = difference(gauges.upstream_cpu, before.upstream_cpu);
        add_known(&mut self.upstream_cpu, upstream, first);
        add(&mut self.own, cpu.zip(own).map(|(after, before)| after.since(before)));
        self.last = gauges.clone();
        let (seconds, answered) = (elapsed.as_secs_f64(), self.standing.answered);
        self.rounds.push(result::Round {
            per_second: if seconds > 0.0 { count(answered) / seconds } else { 0.0 },
            p50: self.round.latency().p50,
            p99: self.round.latency().p99,
            cpu_per_answer: used.and_then(|used| per(used, answered)),
            busy: used.map(|used| used.as_secs_f64() / seconds),
        });
    }

    /// With the latencies of what has landed since the last of them ended.
    fn rounds_so_far(&self) -> Vec<result::Round> {
        let mut rounds = self.rounds.clone();
        if let Some(last) = rounds.last_mut().filter(|_| !self.saturated) {
            let latency = self.round.latency();
            (last.p50, last.p99) = (latency.p50, latency.p99);
        }
        rounds
    }

    pub(crate) fn ended(
        &mut self,
        kind: Kind,
        latency: Duration,
        outcome: &Result<Answer, Failed>,
        cached: Option<Cached>,
    ) {
        let (standing, counts) = (&mut self.standing, self.kinds.entry(kind).or_default());
        standing.failed += u64::from(failed(kind, outcome));
        let (answer, cached) = match (outcome, cached) {
            (Ok(answer), Some(cached)) => (answer, cached),
            (Err(reason), _) => return *counts.broken.entry(*reason).or_default() += 1,
            (Ok(_), None) => return,
        };
        standing.answered += 1;
        standing.reads += u64::from(kind == Kind::Read);
        standing.hits += u64::from(kind == Kind::Read && cached.is_from_memory());
        counts.answered += 1;
        *counts.statuses.entry(answer.status.as_u16()).or_default() += 1;
        *counts.cached.entry(cached).or_default() += 1;
        if !failed(kind, outcome) {
            let fetched = !cached.is_from_memory();
            counts.quick += u64::from(latency <= RETRIEVAL);
            counts.fetched += u64::from(fetched);
            counts.fetched_quick += u64::from(fetched && latency <= GENERATION);
        }
        let times = if cached.is_from_memory() { &mut counts.hits } else { &mut counts.others };
        times.record(latency);
        self.round.record(latency);
    }

    /// Answers per second, all rounds together.
    pub(crate) fn per_second(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0).then(|| count(self.answered()) / seconds)
    }

    /// Of all answers.
    pub(crate) fn latency(&self) -> result::Latency {
        let mut all = Times::default();
        for counts in self.kinds.values() {
            all.add(&counts.hits);
            all.add(&counts.others);
        }
        all.latency()
    }

    pub(crate) fn result(&self) -> result::Phase {
        let kinds = self.kinds.iter().map(|(kind, counts)| (kind.name().into(), counts.result()));
        let reads = self.kinds.get(&Kind::Read);
        let answered = self.answered();
        result::Phase {
            name: self.name.clone(),
            seconds: self.elapsed.as_secs_f64(),
            saturated: self.saturated,
            kinds: kinds.collect(),
            upstream: self.upstream.iter().map(|(kind, n)| ((*kind).to_owned(), *n)).collect(),
            hit_ratio: reads.and_then(Counts::hit_ratio),
            cpu_per_answer: self.cpu.and_then(|cpu| per(cpu, answered)),
            upstream_cpu_seconds: self.upstream_cpu.map(|cpu| cpu.as_secs_f64()),
            resident: self.last.resident,
            leases: self.last.leases,
            // The longest; none, if one of them never was over.
            recovery_seconds: self
                .recovered
                .iter()
                .copied()
                .collect::<Option<Vec<_>>>()
                .and_then(|each| each.into_iter().max())
                .map(|after| after.as_secs_f64()),
            rounds: self.rounds_so_far(),
        }
    }

    fn answered(&self) -> u64 {
        self.kinds.values().map(|counts| counts.answered).sum()
    }
}

impl Counts {
    fn result(&self) -> result::Kind {
        let mut all = self.hits.clone();
        all.add(&self.others);
        result::Kind {
            intended: self.intended,
            answered: self.answered,
            statuses: self.statuses.clone(),
            broken: self.broken.iter().map(|(why, n)| (why.reason().to_owned(), *n)).collect(),
            cached: self.cached.iter().map(|(how, n)| (how.name().to_owned(), *n)).collect(),
            within_50ms: self.quick,
            fetched: self.fetched,
            fetched_within_200ms: self.fetched_quick,
            latency: all.latency(),
            hit_latency: self.hits.latency(),
            other_latency: self.others.latency(),
        }
    }

    /// `None` where nothing says whether it came from memory.
    fn hit_ratio(&self) -> Option<f64> {
        let says = self.cached.keys().any(|how| *how != Cached::None);
        let hits = self.cached.iter().filter(|(how, _)| how.is_from_memory()).map(|(_, n)| n).sum();
        says.then(|| count(hits) / count(self.answered))
    }
}

impl Times {
    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // It grows to what it is given.
        let _ = self.made().record(nanos);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        if let Some(other) = &other.0 {
            let _ = self.made().add(other);
        }
    }

    pub(crate) fn histogram(&self) -> Option<&Histogram<u64>> {
        self.0.as_ref().filter(|histogram| !histogram.is_empty())
    }

    /// Forgets the times, and keeps the room for others.
    pub(crate) fn clear(&mut self) {
        if let Some(histogram) = &mut self.0 {
            histogram.reset();
        }
    }

    /// Microseconds.
    pub(crate) fn latency(&self) -> result::Latency {
        let Some(times) = self.histogram() else { return result::Latency::default() };
        let at = |quantile| micros(times.value_at_quantile(quantile).min(times.max()));
        result::Latency {
            count: times.len(),
            mean: times.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(times.max()),
        }
    }

    /// Three digits of whatever comes: it grows, by about 8 KiB for each doubling.
    fn made(&mut self) -> &mut Histogram<u64> {
        self.0.get_or_insert_with(|| {
            let mut histogram = Histogram::new(3).unwrap_or_else(|_| unreachable!("3 is allowed"));
            histogram.auto(true);
            histogram
        })
    }
}

fn difference(after: Option<Duration>, before: Option<Duration>) -> Option<Duration> {
    after.zip(before).map(|(after, before)| after.saturating_sub(before))
}

fn add(sum: &mut Option<Duration>, more: Option<Duration>) {
    if let Some(more) = more {
        *sum.get_or_insert_default() += more;
    }
}

/// The same of what is known only if it is of each round: the answers are those of all of them.
fn add_known(sum: &mut Option<Duration>, more: Option<Duration>, first: bool) {
    *sum = if first { more } else { sum.zip(more).map(|(sum, more)| sum + more) };
}

/// Microseconds for each.
fn per(time: Duration, answers: u64) -> Option<f64> {
    (answers > 0).then(|| time.as_secs_f64() * 1e6 / count(answers))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(count: u64) -> f64 {
    count as f64
}

fn micros(nanos: u64) -> f64 {
    count(nanos) / 1_000.0
}
