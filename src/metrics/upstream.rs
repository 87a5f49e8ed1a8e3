//! What is counted of the upstream: what it is sent, and whether it can be.

use std::time::Duration;

use hyper::StatusCode;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::labels::Operation;
use super::{Metrics, Series};

/// Whether an address is asked, as its breaker says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Guard {
    /// It is.
    Closed = 0,
    /// One request at a time.
    HalfOpen = 1,
    /// It is left alone.
    Open = 2,
}

/// The series.
#[derive(Debug)]
pub(super) struct Upstream {
    requests: IntCounterVec,
    durations: HistogramVec,
    up: IntGaugeVec,
    sealed: IntGaugeVec,
    breaker: IntGaugeVec,
    cluster_changes: IntCounter,
}

impl Upstream {
    pub(super) fn new(series: &Series) -> prometheus::Result<Self> {
        Ok(Self {
            requests: series.counters(
                "vaultlet_upstream_requests_total",
                "Requests sent to the upstream, by operation and by its answer.",
                &["operation", "code"],
            )?,
            durations: series.histograms(
                "vaultlet_upstream_request_duration_seconds",
                "Time the upstream took to begin its answer.",
                &["operation", "code"],
            )?,
            up: series.gauges(
                "vaultlet_upstream_up",
                "Whether the upstream's address answers its health check.",
                &["address"],
            )?,
            sealed: series.gauges(
                "vaultlet_upstream_sealed",
                "Whether the upstream's address says that it is sealed.",
                &["address"],
            )?,
            breaker: series.gauges(
                "vaultlet_upstream_breaker",
                "Whether the upstream's address is in use (0), tried again (1) or left alone (2).",
                &["address"],
            )?,
            cluster_changes: series.counter(
                "vaultlet_upstream_cluster_changes_total",
                "Times that the upstream was another cluster than before, and all was forgotten.",
            )?,
        })
    }
}

impl Metrics {
    /// Counts a request to the upstream; `None`: it gave no answer.
    pub fn upstream(&self, operation: Operation, code: Option<StatusCode>, took: Duration) {
        let code = code.as_ref().map_or("error", StatusCode::as_str);
        let labels = &[operation.label(), code];
        self.upstream.requests.with_label_values(labels).inc();
        self.upstream.durations.with_label_values(labels).observe(took.as_secs_f64());
    }

    /// Records what an address of the upstream last said of itself.
    pub fn upstream_health(&self, address: &str, up: bool, sealed: bool) {
        self.upstream.up.with_label_values(&[address]).set(i64::from(up));
        self.upstream.sealed.with_label_values(&[address]).set(i64::from(sealed));
    }

    /// Records whether an address of the upstream is asked.
    pub fn upstream_breaker(&self, address: &str, guard: Guard) {
        self.upstream.breaker.with_label_values(&[address]).set(guard as i64);
    }

    /// Counts that the upstream was another cluster than before.
    pub fn cluster_changed(&self) {
        self.upstream.cluster_changes.inc();
    }
}
