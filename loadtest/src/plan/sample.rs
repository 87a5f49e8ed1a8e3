//! Which part of a scenario is played, to stand for the rest?

use crate::scenario::{Arrivals, Happening, Scenario};

/// Nodes that are played at most.
const MOST: u32 = 4;

/// What can be played on models: all but the phases that look for a server's limit, which no model
/// has, and those whose rate depends on it.
///
/// # Errors
/// Nothing is left.
pub(crate) fn playable(scenario: &Scenario) -> Result<Scenario, String> {
    let mut playable = scenario.clone();
    playable.phases.retain(|phase| {
        !matches!(phase.arrivals, Arrivals::Saturate { .. } | Arrivals::Share { .. })
    });
    if playable.phases.is_empty() {
        return Err(format!(
            "every phase of {} looks for the limit of a server, which a model does not have; \
             give it a phase with a rate of its own",
            scenario.name
        ));
    }
    Ok(playable)
}

/// A part of a cluster of `nodes` that are like those of the scenario.
pub(super) fn of(scenario: &Scenario, nodes: u32) -> Scenario {
    let mut sample = scenario.clone();
    let logged =
        scenario.phases.iter().any(|phase| matches!(phase.arrivals, Arrivals::Replay { .. }));
    // What a log says happened on that many nodes.
    sample.world.nodes = if logged { scenario.world.nodes } else { nodes.clamp(1, MOST) };
    let share = f64::from(sample.world.nodes) / f64::from(scenario.world.nodes);
    for phase in &mut sample.phases {
        if let Arrivals::Rate { per_second, .. } = &mut phase.arrivals {
            *per_second *= share;
        }
        // The only node there is has nowhere to send its pods.
        if sample.world.nodes == 1 && matches!(phase.happening, Happening::Drain { .. }) {
            phase.happening = Happening::Nothing;
        }
    }
    sample
}
