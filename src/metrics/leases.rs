//! What is counted of leased credentials, and of the store where they outlive the process.
//!
//! `engine` is the kind of mount a lease is from: a word of the closed list in `kv::mounts`.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::labels::Cause;
use super::{Metrics, Series};

/// What came of asking the upstream for more time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Renewal {
    /// It gave less than was asked for: the longest life is in sight.
    Capped,
    /// It could not be asked, or failed.
    Failed,
    /// It does not know the lease.
    Gone,
    /// It gave what was asked for.
    Ok,
    /// It does not renew the lease.
    Refused,
}

impl Renewal {
    const fn label(self) -> &'static str {
        match self {
            Self::Capped => "capped",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Ok => "ok",
            Self::Refused => "refused",
        }
    }
}

/// How a lease came to be revoked, or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revocation {
    /// A caller revoked what others hold too: it is no holder any more, and nothing is revoked yet.
    Detached,
    /// Our own revocation did not succeed.
    Failed,
    /// Nobody told us; a check found it gone.
    Noticed,
    /// We revoked it: nobody had use for it any more.
    Own,
    /// A caller may not revoke what others hold too.
    Refused,
    /// It passed through here.
    Seen,
}

impl Revocation {
    const fn label(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Failed => "failed",
            Self::Noticed => "noticed",
            Self::Own => "own",
            Self::Refused => "refused",
            Self::Seen => "seen",
        }
    }
}

/// The series.
#[derive(Debug)]
pub(super) struct Leases {
    held: IntGaugeVec,
    issues: IntCounterVec,
    renewals: IntCounterVec,
    rotations: IntCounterVec,
    revocations: IntCounterVec,
    orphaned: IntCounter,
    store_writes: IntCounterVec,
    store_bytes: IntGauge,
}

impl Leases {
    pub(super) fn new(series: &Series) -> prometheus::Result<Self> {
        let by_engine = |name, help| series.counters(name, help, &["engine", "result"]);
        let metrics = Self {
            held: series.gauges(
                "vaultlet_leases",
                "Leases that vaultlet looks after, by engine.",
                &["engine"],
            )?,
            issues: by_engine(
                "vaultlet_lease_issues_total",
                "Credentials asked for, by engine and result.",
            )?,
            renewals: by_engine(
                "vaultlet_lease_renewals_total",
                "Renewals of leases, by engine and result.",
            )?,
            rotations: by_engine(
                "vaultlet_lease_rotations_total",
                "Successors fetched before a lease ended, by engine and result.",
            )?,
            revocations: by_engine(
                "vaultlet_lease_revocations_total",
                "Revocations of leases, by engine and by how they came about.",
            )?,
            orphaned: series.counter(
                "vaultlet_leases_orphaned_total",
                "Credentials that the upstream may have made although its answer was lost.",
            )?,
            store_writes: series.counters(
                "vaultlet_store_writes_total",
                "Writes to the store of leases, by result.",
                &["result"],
            )?,
            store_bytes: series.gauge("vaultlet_store_bytes", "Size of the store of leases.")?,
        };
        for result in ["failed", "ok"] {
            metrics.store_writes.with_label_values(&[result]);
        }
        Ok(metrics)
    }
}

impl Metrics {
    /// Records how many leases of an engine are looked after.
    pub fn leases_held(&self, engine: &'static str, held: usize) {
        let held = held.try_into().unwrap_or(i64::MAX);
        self.leases.held.with_label_values(&[engine]).set(held);
    }

    /// Counts a credential that was asked for.
    pub fn lease_issued(&self, engine: &'static str, ok: bool) {
        self.leases.issues.with_label_values(&[engine, succeeded(ok)]).inc();
    }

    /// Counts a renewal.
    pub fn lease_renewed(&self, engine: &'static str, result: Renewal) {
        self.leases.renewals.with_label_values(&[engine, result.label()]).inc();
    }

    /// Counts a successor fetched ahead.
    pub fn lease_rotated(&self, engine: &'static str, ok: bool) {
        self.leases.rotations.with_label_values(&[engine, succeeded(ok)]).inc();
    }

    /// Counts a revocation.
    pub fn lease_revoked(&self, engine: &'static str, result: Revocation) {
        self.leases.revocations.with_label_values(&[engine, result.label()]).inc();
    }

    /// Counts a credential whose answer was lost: it may live upstream, and nobody has it.
    pub fn lease_orphaned(&self) {
        self.leases.orphaned.inc();
    }

    /// Records how much the credentials held take.
    pub fn lease_cache_size(&self, entries: u64, bytes: u64) {
        self.size("lease", entries, bytes);
    }

    /// Counts a credential that was dropped.
    pub fn lease_evicted(&self, cause: Cause) {
        self.dropped("lease", cause);
    }

    /// Counts a write to the store.
    pub fn store_written(&self, ok: bool) {
        self.leases.store_writes.with_label_values(&[succeeded(ok)]).inc();
    }

    /// Records the size of the store.
    pub fn store_size(&self, bytes: u64) {
        self.leases.store_bytes.set(bytes.try_into().unwrap_or(i64::MAX));
    }
}

const fn succeeded(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_a_series_of_its_own() {
        let metrics = Metrics::new().unwrap();
        metrics.leases_held("database", 3);
        metrics.lease_issued("database", true);
        metrics.lease_issued("aws", false);
        metrics.lease_rotated("database", true);
        for result in
            [Renewal::Capped, Renewal::Failed, Renewal::Gone, Renewal::Ok, Renewal::Refused]
        {
            metrics.lease_renewed("database", result);
        }
        for result in [
            Revocation::Detached,
            Revocation::Failed,
            Revocation::Noticed,
            Revocation::Own,
            Revocation::Refused,
            Revocation::Seen,
        ] {
            metrics.lease_revoked("rabbitmq", result);
        }
        metrics.lease_orphaned();
        metrics.lease_cache_size(3, 900);
        metrics.lease_evicted(Cause::Size);
        metrics.store_written(true);
        metrics.store_size(4096);

        let text = metrics.render().unwrap();
        for series in [
            r#"vaultlet_leases{engine="database"} 3"#,
            r#"vaultlet_lease_issues_total{engine="database",result="ok"} 1"#,
            r#"vaultlet_lease_issues_total{engine="aws",result="failed"} 1"#,
            r#"vaultlet_lease_rotations_total{engine="database",result="ok"} 1"#,
            "vaultlet_leases_orphaned_total 1",
            r#"vaultlet_cache_entries{cache="lease"} 3"#,
            r#"vaultlet_cache_bytes{cache="lease"} 900"#,
            r#"vaultlet_cache_evictions_total{cache="lease",cause="size"} 1"#,
            r#"vaultlet_cache_evictions_total{cache="kv",cause="size"} 0"#,
            r#"vaultlet_store_writes_total{result="failed"} 0"#,
            r#"vaultlet_store_writes_total{result="ok"} 1"#,
            "vaultlet_store_bytes 4096",
        ] {
            assert!(text.contains(series), "{series} is missing from:\n{text}");
        }
        for result in ["capped", "failed", "gone", "ok", "refused"] {
            let series = format!(
                r#"vaultlet_lease_renewals_total{{engine="database",result="{result}"}} 1"#
            );
            assert!(text.contains(&series), "{series} is missing from:\n{text}");
        }
        for result in ["detached", "failed", "noticed", "own", "refused", "seen"] {
            let series = format!(
                r#"vaultlet_lease_revocations_total{{engine="rabbitmq",result="{result}"}} 1"#
            );
            assert!(text.contains(&series), "{series} is missing from:\n{text}");
        }
    }
}
