//! What comes of a scenario on models?

use std::rc::Rc;

use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::drive::{self, Options, Play, Time};
use crate::model::{Held, Model, Upstream};
use crate::progress::Progress;
use crate::record::Recorder;
use crate::result::Target;
use crate::scenario::Scenario;
use crate::signals::INTERRUPTED;

/// All that is known afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) target: Target,
    /// What a node held at the end of each phase, in the mean; empty without vaultlets.
    pub(crate) held: Vec<Held>,
}

/// Plays `scenario` in paused time, with a vaultlet on each node or with none.
///
/// # Errors
/// It cannot be played, or `stop` was cancelled.
pub(crate) fn play(
    scenario: &Scenario,
    vaultlet: bool,
    upstream: Upstream,
    stop: &CancellationToken,
) -> Result<Played, String> {
    // What vaultlet draws by lot it draws on this thread.
    fastrand::seed(scenario.seed);
    let runtime = drive::runtime(Time::Paused)?;
    runtime.block_on(async {
        let (scenario, cluster) = (Rc::new(scenario.clone()), Rc::new(Cluster::new(scenario)));
        let model = Rc::new(Model::start(&scenario, &cluster, vaultlet, upstream).await?);
        let recorder = Rc::new(Recorder::new(model.called(), &scenario, Time::Paused));
        let options = Options { time: Time::Paused, pods: true };
        let play = Play::new(&scenario, &cluster, &model, options, &recorder);
        recorder.round();
        let mut held = Vec::new();
        for phase in 0..scenario.phases.len() {
            play.phase(phase, &|_| None, &Progress::silent(), stop).await?;
            if stop.is_cancelled() {
                return Err(INTERRUPTED.to_owned());
            }
            held.extend(vaultlet.then(|| model.held().per_node(scenario.world.nodes)));
        }
        play.finish(stop).await;
        Ok(Played { target: recorder.target(), held })
    })
}
