//! What is counted of the upstream's policies, where they are read and evaluated here.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Metrics, Series};

/// The series.
#[derive(Debug)]
pub(super) struct Policies {
    refreshes: IntCounterVec,
    age: IntGaugeVec,
    known: IntGaugeVec,
}

impl Policies {
    pub(super) fn new(series: &Series) -> prometheus::Result<Self> {
        Ok(Self {
            refreshes: series.counters(
                "vaultlet_policy_refreshes_total",
                "Readings of the upstream's policies with vaultlet's own token, by result.",
                &["result"],
            )?,
            age: series.gauges(
                "vaultlet_policy_snapshot_age_seconds",
                "Since the policies that are evaluated here were those of the upstream.",
                &["source"],
            )?,
            known: series.gauges(
                "vaultlet_policies",
                "Policies read, by whether they are understood.",
                &["state"],
            )?,
        })
    }
}

impl Metrics {
    /// Counts a reading of the upstream's policies.
    pub fn policies_refreshed(&self, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.policies.refreshes.with_label_values(&[result]).inc();
    }

    /// Records how long ago they were read.
    pub fn policy_age(&self, age: Duration) {
        let age = age.as_secs().try_into().unwrap_or(i64::MAX);
        self.policies.age.with_label_values(&["local"]).set(age);
    }

    /// Records how many there are.
    pub fn policies_known(&self, read: usize, opaque: usize) {
        for (state, count) in [("read", read), ("opaque", opaque)] {
            let count = count.try_into().unwrap_or(i64::MAX);
            self.policies.known.with_label_values(&[state]).set(count);
        }
    }
}
