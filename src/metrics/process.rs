//! What is counted of the process itself.

use std::time::Duration;

use prometheus::{IntGauge, Opts};

use super::{Metrics, Series};

/// The series.
#[derive(Debug)]
pub(super) struct Process {
    clock_set_back: IntGauge,
    memory_locked: IntGauge,
}

impl Process {
    pub(super) fn new(series: &Series) -> prometheus::Result<Self> {
        #[cfg(target_os = "linux")]
        series.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let info = IntGauge::with_opts(
            Opts::new("vaultlet_build_info", "The program's version; always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        info.set(1);
        series.0.register(Box::new(info))?;
        Ok(Self {
            clock_set_back: series.gauge(
                "vaultlet_clock_set_back_seconds",
                "By how much the wall clock was set back since the process began.",
            )?,
            memory_locked: series.gauge(
                "vaultlet_memory_locked",
                "Whether all memory of the process is kept out of swap.",
            )?,
        })
    }
}

impl Metrics {
    /// Records by how much the wall clock is behind.
    pub fn clock_set_back(&self, span: Duration) {
        self.process.clock_set_back.set(span.as_secs().try_into().unwrap_or(i64::MAX));
    }

    /// Records whether memory is locked.
    pub fn memory_locked(&self, locked: bool) {
        self.process.memory_locked.set(i64::from(locked));
    }
}
