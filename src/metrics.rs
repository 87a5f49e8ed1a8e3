//! Everything the process counts.
//!
//! One struct, built once in `app` and passed down; there is no global registry, so two proxies in
//! one test process do not share counters. Methods take enums, never strings: a path, a token or a
//! caller's name cannot become a label by accident. What a cached read touches is resolved to
//! handles beforehand; everything else looks its labels up.

use std::time::Duration;

use hyper::StatusCode;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

mod kubernetes;
mod labels;
mod leases;
mod policies;
mod process;
mod upstream;

pub use kubernetes::{Review, Token};
pub use labels::{Audited, Cause, Decision, Lookup, Operation, Outcome, Route};
pub use leases::{Renewal, Revocation};
pub use upstream::Guard;

/// Seconds: a hit takes microseconds, the upstream a millisecond to a minute; 0.05 and 0.2 are the
/// objectives for retrieval and for generation.
const BOUNDS: [f64; 14] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 10.0];

/// Handles to every series of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    hit: Hit,
    lease_hit: Hit,
    cache_entries: IntGaugeVec,
    cache_bytes: IntGaugeVec,
    cache_evictions: IntCounterVec,
    coalesced: IntCounter,
    logins: IntCounterVec,
    identities: IntGaugeVec,
    decisions: IntCounterVec,
    proof: IntCounter,
    stale: IntCounter,
    shed: IntCounter,
    reloads: IntCounterVec,
    audited: IntCounterVec,
    kubernetes: kubernetes::Kubernetes,
    leases: leases::Leases,
    policies: policies::Policies,
    process: process::Process,
    upstream: upstream::Upstream,
}

/// The answers from memory of one route.
type Hit = (IntCounter, Histogram);

fn hit(requests: &IntCounterVec, durations: &HistogramVec, route: Route) -> Hit {
    let (route, hit, code) = (route.label(), Outcome::Hit.label(), StatusCode::OK);
    let requests = requests.with_label_values(&[route, hit, code.as_str()]);
    (requests, durations.with_label_values(&[route, hit]))
}

impl Metrics {
    /// Registers every series, so that a scrape shows zeros before the first request.
    ///
    /// # Errors
    /// A name or label is not one Prometheus accepts: a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let series = Series(Registry::new());
        let requests = series.counters(
            "vaultlet_requests_total",
            "Requests answered, by route, by how the answer was come by and by its status.",
            &["route", "result", "code"],
        )?;
        let durations = series.histograms(
            "vaultlet_request_duration_seconds",
            "From the request's head to the answer's, by route and by how it was come by.",
            &["route", "result"],
        )?;
        let decisions = series.counters(
            "vaultlet_policy_decisions_total",
            "Decisions on reads of secrets, by decision and by what decided.",
            &["decision", "source"],
        )?;
        let hit = |route| hit(&requests, &durations, route);
        let metrics = Self {
            hit: hit(Route::KvRead),
            lease_hit: hit(Route::Lease),
            proof: decisions.with_label_values(&["allow", "proof"]),
            requests,
            durations,
            decisions,
            cache_entries: series.gauges(
                "vaultlet_cache_entries",
                "Entries held, by cache.",
                &["cache"],
            )?,
            cache_bytes: series.gauges(
                "vaultlet_cache_bytes",
                "Bytes of the entries held, by cache.",
                &["cache"],
            )?,
            cache_evictions: series.counters(
                "vaultlet_cache_evictions_total",
                "Entries dropped, by cache and cause.",
                &["cache", "cause"],
            )?,
            coalesced: series.counter(
                "vaultlet_coalesced_requests_total",
                "Requests that waited for another's answer.",
            )?,
            logins: series.counters(
                "vaultlet_logins_total",
                "Vault tokens looked up or seen being issued, by result.",
                &["result"],
            )?,
            identities: series.gauges(
                "vaultlet_identities",
                "Logins known, by result of their last check.",
                &["result"],
            )?,
            stale: series.counter(
                "vaultlet_stale_responses_total",
                "Answers given past their time because the upstream could not be asked.",
            )?,
            shed: series.counter(
                "vaultlet_shed_requests_total",
                "Requests refused because too many were waiting, or one caller asked too much.",
            )?,
            reloads: series.counters(
                "vaultlet_reloads_total",
                "Configuration and certificate files read again, by result.",
                &["result"],
            )?,
            audited: series.counters(
                "vaultlet_audit_events_total",
                "Audit records, by what became of them.",
                &["result"],
            )?,
            kubernetes: kubernetes::Kubernetes::new(&series)?,
            leases: leases::Leases::new(&series)?,
            policies: policies::Policies::new(&series)?,
            process: process::Process::new(&series)?,
            upstream: upstream::Upstream::new(&series)?,
            registry: series.0,
        };
        metrics.show_zeros();
        Ok(metrics)
    }

    fn show_zeros(&self) {
        for lookup in [Lookup::Dead, Lookup::Failed, Lookup::Learnt, Lookup::Limited] {
            self.logins.with_label_values(&[lookup.label()]);
        }
        for cause in [Cause::Expired, Cause::Invalidated, Cause::Size] {
            for cache in ["kv", "lease"] {
                self.cache_evictions.with_label_values(&[cache, cause.label()]);
            }
        }
        for (decision, source) in [("allow", "upstream"), ("deny", "upstream")] {
            self.decisions.with_label_values(&[decision, source]);
        }
        for result in ["ok", "failed"] {
            self.reloads.with_label_values(&[result]);
        }
        for result in [Audited::Dropped, Audited::Failed, Audited::Written] {
            self.audited.with_label_values(&[result.label()]);
        }
    }

    /// Counts an answered request.
    pub fn request(&self, route: Route, outcome: Outcome, code: StatusCode, took: Duration) {
        let hit = match (route, outcome, code) {
            (Route::KvRead, Outcome::Hit, StatusCode::OK) => Some(&self.hit),
            (Route::Lease, Outcome::Hit, StatusCode::OK) => Some(&self.lease_hit),
            _ => None,
        };
        if let Some((count, duration)) = hit {
            count.inc();
            return duration.observe(took.as_secs_f64());
        }
        let (route, result) = (route.label(), outcome.label());
        self.requests.with_label_values(&[route, result, code.as_str()]).inc();
        self.durations.with_label_values(&[route, result]).observe(took.as_secs_f64());
        match outcome {
            Outcome::Collapsed => self.coalesced.inc(),
            Outcome::Shed => self.shed.inc(),
            Outcome::Stale => self.stale.inc(),
            _ => (),
        }
    }

    /// Records how much the cache of secrets holds.
    pub fn cache_size(&self, entries: u64, bytes: u64) {
        self.size("kv", entries, bytes);
    }

    fn size(&self, cache: &'static str, entries: u64, bytes: u64) {
        for (gauge, size) in [(&self.cache_entries, entries), (&self.cache_bytes, bytes)] {
            gauge.with_label_values(&[cache]).set(size.try_into().unwrap_or(i64::MAX));
        }
    }

    /// Counts an entry that was dropped.
    pub fn evicted(&self, cause: Cause) {
        self.dropped("kv", cause);
    }

    fn dropped(&self, cache: &'static str, cause: Cause) {
        self.cache_evictions.with_label_values(&[cache, cause.label()]).inc();
    }

    /// Counts what was learnt of a token.
    pub fn login(&self, lookup: Lookup) {
        self.logins.with_label_values(&[lookup.label()]).inc();
    }

    /// Records how many logins are known.
    pub fn logins_known(&self, known: usize) {
        self.identities.with_label_values(&["known"]).set(known.try_into().unwrap_or(i64::MAX));
    }

    /// Records how many service accounts have a shared login.
    pub fn shared_logins(&self, shared: usize) {
        self.identities.with_label_values(&["shared"]).set(shared.try_into().unwrap_or(i64::MAX));
    }

    /// Counts a decision on a read.
    pub fn decided(&self, decision: Decision) {
        let labels = match decision {
            Decision::LocalAllowed => ["allow", "local"],
            Decision::LocalAsked => ["ask", "local"],
            Decision::LocalDenied => ["deny", "local"],
            Decision::Proven => return self.proof.inc(),
            Decision::UpstreamAllowed => ["allow", "upstream"],
            Decision::UpstreamDenied => ["deny", "upstream"],
        };
        self.decisions.with_label_values(&labels).inc();
    }

    /// Counts a file that was read again.
    pub fn reloaded(&self, ok: bool) {
        self.reloads.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
    }

    /// Counts an audit record.
    pub fn audited(&self, result: Audited) {
        self.audited.with_label_values(&[result.label()]).inc();
    }

    /// The text Prometheus scrapes.
    ///
    /// # Errors
    /// A collector gave something that cannot be encoded.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Registers as it makes, so that no series can be forgotten.
struct Series(Registry);

impl Series {
    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let made = IntCounter::new(name, help)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        let made = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let made = IntGauge::new(name, help)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        let made = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<HistogramVec> {
        let made =
            HistogramVec::new(HistogramOpts::new(name, help).buckets(BOUNDS.into()), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_the_series_before_the_first_request() {
        let text = Metrics::new().unwrap().render().unwrap();

        for series in [
            r#"vaultlet_requests_total{code="200",result="hit",route="kv_read"} 0"#,
            r#"vaultlet_cache_evictions_total{cache="kv",cause="size"} 0"#,
            r#"vaultlet_policy_decisions_total{decision="deny",source="upstream"} 0"#,
            "vaultlet_build_info{version=",
        ] {
            assert!(text.contains(series), "{series} is missing from:\n{text}");
        }
    }

    #[test]
    fn an_answer_is_counted_once_under_its_labels() {
        let metrics = Metrics::new().unwrap();

        for route in [Route::KvRead, Route::Lease] {
            metrics.request(route, Outcome::Hit, StatusCode::OK, Duration::from_micros(9));
        }
        metrics.request(
            Route::List,
            Outcome::Shed,
            StatusCode::SERVICE_UNAVAILABLE,
            Duration::ZERO,
        );

        let text = metrics.render().unwrap();
        for series in [
            r#"vaultlet_requests_total{code="200",result="hit",route="kv_read"} 1"#,
            r#"vaultlet_requests_total{code="200",result="hit",route="lease"} 1"#,
            r#"vaultlet_requests_total{code="503",result="shed",route="list"} 1"#,
            "vaultlet_shed_requests_total 1",
        ] {
            assert!(text.contains(series), "{series} is missing from:\n{text}");
        }
    }
}
