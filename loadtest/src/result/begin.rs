//! What is known of a result before anything is measured?

use std::fs;

use super::{About, Result as Measured, VERSION};
use crate::cluster::Cluster;
use crate::scenario::Scenario;

impl Measured {
    /// Of `scenario`, begun now, on this machine.
    pub(crate) fn begin(scenario: &Scenario, cluster: &Cluster) -> Self {
        Self {
            version: VERSION,
            began: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            machine: machine(),
            scenario: About {
                name: scenario.name.clone(),
                about: scenario.about.clone(),
                seed: scenario.seed,
                nodes: scenario.world.nodes,
                pods: cluster.seats(),
                secrets: scenario.world.secrets.iter().map(|set| set.count).sum(),
            },
            ..Self::default()
        }
    }
}

/// Kernel, processor, and how many of its cores there are.
fn machine() -> String {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| {
        let (key, model) = line.split_once(':')?;
        (key.trim() == "model name").then(|| model.trim())
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{} {}, {}, {cores} {}",
        std::env::consts::OS,
        kernel.trim(),
        model.unwrap_or(std::env::consts::ARCH),
        if cores == 1 { "core" } else { "cores" },
    )
}
