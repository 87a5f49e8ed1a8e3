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
use crate::signals::{Signals, unless_stopped};

/// An OpenBao by itself, and one behind vaultlets.
const KINDS: [Kind; 2] = [Kind::Direct, Kind::Vaultlet];

/// What was measured, up to where it ended.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Those that were played to their end.
    pub(crate) targets: Vec<Target>,
    /// Why there are no more of them.
    pub(crate) interrupted: Option<String>,
}

/// Plays `scenario` on both, one after the other, in real time.
///
/// # Errors
/// A program is missing.
pub(crate) fn measure(scenario: &Scenario, signals: &Signals) -> Result<Found, String> {
    // What is compared are counts: the servers may have whatever core is free.
    let places = Places::find(&KINDS, scenario)?.unpinned();
    let runtime = drive::runtime(Time::Real)?;
    let mut found = Found::default();
    let play = play(scenario, places, &mut found.targets);
    let played = runtime.block_on(signals.hold(unless_stopped(&signals.stop, play)));
    found.interrupted = played.err();
    Ok(found)
}

async fn play(
    scenario: &Scenario,
    places: Places,
    targets: &mut Vec<Target>,
) -> Result<(), String> {
    let (scenario, cluster) = (Rc::new(scenario.clone()), Rc::new(Cluster::new(scenario)));
    let ground = Rc::new(Ground::lay(&scenario, &cluster, places).await?);
    for kind in KINDS {
        let live = Rc::new(Live::start(kind, &ground).await?);
        let recorder = Rc::new(Recorder::new(kind.name(), &scenario, Time::Real));
        let options = Options { time: Time::Real, pods: true };
        // A part of a target is held against nothing, so whoever stops it drops all of this.
        let (progress, never) = (Progress::new(), CancellationToken::new());
        drive::play(&scenario, &cluster, &live, options, &recorder, &progress, &never).await?;
        targets.push(recorder.target());
    }
    Ok(())
}
