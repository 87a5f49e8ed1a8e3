//! Can a phase be, given the world and the phases before it?

use vaultlet::config::document::Field;

use super::{Arrivals, Happening, Phase, World};

/// A second, of everybody together.
const MOST: f64 = 5_000_000.0;

/// Reports what each part of `phase` cannot know by itself.
pub(super) fn check(field: &Field<'_>, phase: &Phase, before: &[Phase], world: &World) {
    let total = world.per_second();
    let peak = match phase.arrivals {
        Arrivals::World { factor: (from, to), .. } => total * from.max(to),
        Arrivals::Bursts { every, within, factor } => {
            total * factor * every.as_secs_f64() / within.as_secs_f64()
        }
        _ => 0.0,
    };
    if peak > MOST {
        let what = format!("{peak:.0} requests a second");
        field.complain(what, "5000000 at most: make the factor smaller, or `every` longer");
    }
    let drawn = !matches!(phase.arrivals, Arrivals::None | Arrivals::Replay { .. });
    if drawn && total == 0.0 && !world.deployments.is_empty() {
        let hint = "give a deployment's `reads` an `every`, or the phase no `arrivals`";
        field.complain("nobody reads after the start", hint);
    }
    let alone =
        matches!(phase.happening, Happening::Nothing | Happening::Outage | Happening::PolicyChange);
    if matches!(phase.arrivals, Arrivals::Saturate { .. }) && !alone {
        let hint = "a closed loop has no times of its own: put it into a phase of its own";
        field.complain("pods start or write beside `saturate`", hint);
    }
    if matches!(phase.happening, Happening::Drain { .. }) {
        if world.nodes < 2 {
            let hint = "give the world 2 nodes or more, or drain none";
            field.complain("a drained node's pods have nowhere to go", hint);
        }
        let drained = |phase: &Phase| matches!(phase.happening, Happening::Drain { .. });
        if before.iter().any(drained) {
            field.complain("the node is empty since an earlier phase", "drain it once");
        }
    }
}

impl World {
    /// Reads and writes a second while all pods run, as often as the deployments say.
    pub(crate) fn per_second(&self) -> f64 {
        let often = |reads: &super::Reads| reads.every.map_or(0.0, |it| it.as_secs_f64().recip());
        let one = |deployment: &super::Deployment| {
            f64::from(deployment.pods) * deployment.reads.iter().map(often).sum::<f64>()
        };
        f64::from(self.nodes) * self.deployments.iter().map(one).sum::<f64>()
    }
}
