//! What runs on a node that has a vaultlet?
//!
//! vaultlet itself, configured as on a live node, in the runtime's time and with the model of an
//! OpenBao in the place of one.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use vaultlet::app::{Embedded, Surroundings};
use vaultlet::clock::Clock;
use vaultlet::config::{Config, Source};

use super::LOGIN;
use super::server::Server;
use crate::passes::{ISSUER, Passes};
use crate::scenario::Scenario;

/// The configuration of every node. `home`: where its files go.
///
/// # Errors
/// The scenario's settings are none.
pub(super) fn config(scenario: &Scenario, passes: &Passes, home: &Path) -> Result<Config, String> {
    let written = |name: &str, text: String| {
        let file = home.join(name);
        let done = std::fs::write(&file, text);
        done.map_err(|e| format!("{}: {e}", file.display())).map(|()| file)
    };
    let keys = written("jwks.json", passes.jwks().to_string())?;
    let config = json!({
        "upstream": { "address": "http://127.0.0.1:8200" },
        "auth": { "kubernetes": {
            "issuer": ISSUER,
            "audiences": [vaultlet::dev::AUDIENCE],
            "jwks": { "file": keys },
            "login": {
                "mount": LOGIN.trim_end_matches("/login"),
                "role": "{service_account}",
            },
        } },
    });
    let sets = scenario.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    // Every JSON text is YAML.
    let file = Some(written("vaultlet.yaml", config.to_string())?);
    let config = Source { file, sets, ..Source::default() }.load();
    let mut config = config.map_err(|problems| problems.to_string())?;
    // Its writer is a thread of its own, which knows no time but the real one.
    config.audit = None;
    Ok(config)
}

/// Starts one, and waits until it is ready.
///
/// # Errors
/// The configuration names a file that cannot be used.
pub(super) async fn start(config: &Config, server: &Arc<Server>) -> Result<Embedded, String> {
    let clock = Clock::of_the_runtime();
    let surroundings = Surroundings { clock, carrier: Some(server.carrier()) };
    let started = Embedded::start(config, surroundings).map_err(|error| error.to_string())?;
    started.ready().await;
    Ok(started)
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Held {
    /// Bytes of cached secrets and leases, keys and bookkeeping included.
    pub(crate) bytes: f64,
    /// Tokens known.
    pub(crate) identities: f64,
}

impl Held {
    /// A node's share of it.
    pub(crate) fn per_node(self, nodes: u32) -> Self {
        let share = 1.0 / f64::from(nodes);
        Self { bytes: self.bytes * share, identities: self.identities * share }
    }

    /// From what it shows a scraper.
    pub(super) fn of(metrics: &str) -> Self {
        let mut held = Self::default();
        for line in metrics.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let value: f64 = value.parse().unwrap_or_default();
            let name = series.split('{').next().unwrap_or_default();
            match name {
                "vaultlet_cache_bytes" => held.bytes += value,
                "vaultlet_identities" if series.contains("\"known\"") => held.identities += value,
                _ => (),
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_says_what_is_held() {
        let held = Held::of(
            "# HELP vaultlet_cache_bytes Bytes\nvaultlet_cache_bytes{cache=\"kv\"} 1000\n\
             vaultlet_cache_bytes{cache=\"lease\"} 24\nvaultlet_identities{result=\"known\"} 7\n\
             vaultlet_identities{result=\"shared\"} 3\n",
        );

        assert_eq!(held, Held { bytes: 1024.0, identities: 7.0 });
    }
}
