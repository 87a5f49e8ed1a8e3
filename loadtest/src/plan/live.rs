//! What comes of a scenario on real servers?

use std::rc::Rc;

use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::drive::{self, Options, Time};
use crate::live::{Ground, Kind, Live, Places};
use crate::progress::Progress;
use crate::record::Recorder;
use crate::result::Target;
use crate::scenario::Scenario;

/// An OpenBao by itself, and one behind vaultlets.
const KINDS: [Kind; 2] = [Kind::Direct, Kind::Vaultlet];

/// Plays `scenario` on both, one after the other, in real time.
///
/// # Errors
/// A server does not start, or the scenario cannot be played.
pub(crate) fn measure(
    scenario: &Scenario,
    stop: &CancellationToken,
) -> Result<Vec<Target>, String> {
    // What is compared are counts: the servers may have whatever core is free.
    let places = Places::find(&KINDS, scenario)?.unpinned();
    let runtime = drive::runtime(Time::Real)?;
    runtime.block_on(async {
        let (scenario, cluster) = (Rc::new(scenario.clone()), Rc::new(Cluster::new(scenario)));
        let ground = Rc::new(Ground::lay(&scenario, &cluster, places).await?);
        let mut targets = Vec::new();
        for kind in KINDS {
            let live = Rc::new(Live::start(kind, &ground).await?);
            let recorder = Rc::new(Recorder::new(kind.name(), &scenario, Time::Real));
            let options = Options { time: Time::Real, pods: true };
            let progress = Progress::new();
            drive::play(&scenario, &cluster, &live, options, &recorder, &progress, stop).await?;
            targets.push(recorder.target());
            if stop.is_cancelled() {
                return Err("it was interrupted".to_owned());
            }
        }
        Ok(targets)
    })
}
