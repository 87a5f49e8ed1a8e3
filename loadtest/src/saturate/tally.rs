//! What came back, how often, and how long did it take?

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};

/// The longest latency that is told apart from longer ones.
const LONGEST: Duration = Duration::from_mins(1);

/// What an answer's `X-Cache` said.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Cached {
    Hit,
    Miss,
    /// No such header: the cache had no part in the answer.
    No,
    /// A word that vaultlet does not use.
    Other,
}

impl Cached {
    pub(crate) fn of(headers: &HeaderMap<HeaderValue>) -> Self {
        match headers.get("x-cache").map(HeaderValue::as_bytes) {
            Some(b"HIT") => Self::Hit,
            Some(b"MISS") => Self::Miss,
            Some(_) => Self::Other,
            None => Self::No,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::No => "none",
            Self::Other => "other",
        }
    }
}

/// The counts of one run.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Nanoseconds, of requests that were answered in full.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) cached: BTreeMap<Cached, u64>,
    /// Bytes of answers' bodies.
    pub(crate) body_bytes: u64,
    /// Requests without a whole answer, by what went wrong.
    pub(crate) broken: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let highest = u64::try_from(LONGEST.as_nanos()).expect("a minute fits");
        let latencies =
            Histogram::new_with_bounds(1, highest, 3).expect("the bounds are constants in order");
        Self {
            latencies,
            statuses: BTreeMap::new(),
            cached: BTreeMap::new(),
            body_bytes: 0,
            broken: BTreeMap::new(),
        }
    }

    /// A request was answered in full after `took`.
    pub(crate) fn answered(
        &mut self,
        status: StatusCode,
        cached: Cached,
        body: u64,
        took: Duration,
    ) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(nanos);
        *self.statuses.entry(status.as_u16()).or_default() += 1;
        *self.cached.entry(cached).or_default() += 1;
        self.body_bytes += body;
    }

    /// A request had no whole answer.
    pub(crate) fn broke(&mut self, why: String) {
        *self.broken.entry(why).or_default() += 1;
    }

    /// Requests that were answered in full, whatever the answer.
    pub(crate) fn answers(&self) -> u64 {
        self.latencies.len()
    }

    /// Requests without a whole answer, or with one that is not 2xx.
    pub(crate) fn failed(&self) -> u64 {
        let refused = self.statuses.iter().filter(|(status, _)| !(200..300).contains(*status));
        refused.map(|(_, count)| count).sum::<u64>() + self.broken.values().sum::<u64>()
    }

    /// The latency that `share` of the answers did not exceed: 0.99 for the 99th percentile.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentiles_are_those_of_what_was_recorded() {
        let mut tally = Tally::new();
        for micros in 1..=1000 {
            tally.answered(StatusCode::OK, Cached::Hit, 10, Duration::from_micros(micros));
        }

        for (share, micros) in [(0.5, 500), (0.99, 990), (1.0, 1000)] {
            let measured = tally.quantile(share).as_nanos();

            let expected = micros * 1000;
            assert!(measured.abs_diff(expected) <= expected / 1000, "{share}: {measured}");
        }
        assert_eq!((tally.answers(), tally.body_bytes), (1000, 10_000));
    }

    #[test]
    fn only_a_whole_answer_with_2xx_is_a_success() {
        let mut tally = Tally::new();
        for status in [200, 204, 301, 404, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            tally.answered(status, Cached::No, 0, Duration::from_millis(1));
        }
        tally.broke("connection reset".into());

        assert_eq!(tally.failed(), 4);
        assert_eq!(tally.answers(), 5);
    }

    #[test]
    fn a_latency_past_the_bound_counts_as_the_bound() {
        let mut tally = Tally::new();

        tally.answered(StatusCode::OK, Cached::No, 0, Duration::from_hours(1));

        assert!(tally.quantile(1.0) >= LONGEST);
        assert_eq!(tally.answers(), 1);
    }

    #[test]
    fn the_cache_header_is_read_exactly() {
        for (value, cached) in [
            (Some("HIT"), Cached::Hit),
            (Some("MISS"), Cached::Miss),
            (Some("hit"), Cached::Other),
            (None, Cached::No),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert("x-cache", HeaderValue::from_static(value));
            }

            assert_eq!(Cached::of(&headers), cached, "{value:?}");
        }
    }
}
