//! How vaultlet is configured in a seed.

use std::time::Duration;

use fastrand::Rng;
use vaultlet::config::{Config, Source};

/// What of it the properties depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) window: Duration,
    pub(crate) ttl: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) stale_if_sealed: Duration,
    pub(crate) check_after: Duration,
    pub(crate) timeout: Duration,
    /// Requests to the upstream at once.
    pub(crate) places: u32,
    refresh_ahead: bool,
}

impl Settings {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            window: pick(rng, &[2, 5, 10]),
            ttl: pick(rng, &[1, 4, 15]),
            negative_ttl: pick(rng, &[0, 2]),
            stale_if_error: pick(rng, &[0, 30, 120]),
            stale_if_sealed: pick(rng, &[0, 0, 20]),
            check_after: pick(rng, &[2, 6]),
            timeout: pick(rng, &[3, 8]),
            places: [2, 64, 64][rng.usize(..3)],
            refresh_ahead: rng.u8(..3) > 0,
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// vaultlet does not take it.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let sets = [
            ("upstream.address", "http://127.0.0.1:8200".to_owned()),
            ("upstream.timeout", seconds(self.timeout)),
            ("upstream.max_in_flight", self.places.to_string()),
            ("policy.refresh", seconds(self.window)),
            ("cache.kv.ttl", seconds(self.ttl)),
            ("cache.kv.refresh_ahead", if self.refresh_ahead { "0.7" } else { "1.0" }.to_owned()),
            ("cache.kv.stale_if_error", seconds(self.stale_if_error)),
            ("cache.kv.stale_if_sealed", seconds(self.stale_if_sealed)),
            ("cache.kv.negative_ttl", seconds(self.negative_ttl)),
            ("cache.leases.check_after", seconds(self.check_after)),
        ];
        let sets = sets.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let config = Source { sets, ..Source::default() }.load();
        let mut config = config.map_err(|problems| problems.to_string())?;
        // Its writer is a thread of its own, which knows no time but the real one.
        config.audit = None;
        Ok(config)
    }
}

fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

fn pick(rng: &mut Rng, choice: &[u64]) -> Duration {
    Duration::from_secs(choice[rng.usize(..choice.len())])
}
