//! How are several servers measured so that their figures may be compared?
//!
//! In turn, every other round backwards, so that what changes on the machine meanwhile meets all of
//! them; each on a copy of the same upstream, which nothing has asked before.

use std::collections::BTreeMap;
use std::rc::Rc;

use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::drive::{Options, Play, Time};
use crate::live::{Ground, Kind, Live, Places};
use crate::progress::Progress;
use crate::record::{Log, Recorder};
use crate::result::Result as Measured;
use crate::scenario::{Arrivals, Scenario};
use crate::signals::{INTERRUPTED, unless_stopped};

mod ratio;
mod table;

pub(crate) use table::table;

/// Servers to be compared.
pub(crate) struct Comparison {
    scenario: Rc<Scenario>,
    cluster: Rc<Cluster>,
    ground: Rc<Ground>,
    targets: Vec<Target>,
    /// As nothing is measured yet; of the machine before this program keeps to one core.
    begun: Measured,
    progress: Progress,
}

struct Target {
    kind: Kind,
    recorder: Rc<Recorder>,
}

/// Answers per second of saturated phases, of the slowest target.
type Ceilings = BTreeMap<String, f64>;

impl Comparison {
    /// Fills the upstream that all of them get a copy of.
    ///
    /// # Errors
    /// It cannot be filled.
    pub(crate) async fn new(
        scenario: &Rc<Scenario>,
        places: Places,
        kinds: Vec<Kind>,
        log: Option<&Rc<Log>>,
    ) -> Result<Self, String> {
        let cluster = Rc::new(Cluster::new(scenario));
        let ground = Ground::lay(scenario, &cluster, places).await?;
        let begun = Measured::begin(scenario, &cluster);
        ground.keep_off();
        let targets = kinds.into_iter().map(|kind| {
            let recorder = Rc::new(Recorder::new(kind.name(), scenario, Time::Real));
            if let Some(log) = log {
                recorder.log_to(Rc::clone(log));
            }
            Target { kind, recorder }
        });
        Ok(Self {
            scenario: Rc::clone(scenario),
            cluster,
            ground: Rc::new(ground),
            targets: targets.collect(),
            begun,
            progress: Progress::new(),
        })
    }

    /// Measures all of them, so many times. Where one fails, it is over, with what was measured
    /// until then.
    pub(crate) async fn measure(&self, rounds: u32, stop: &CancellationToken) -> Measured {
        let mut measured = self.begun.clone();
        let played = self.play_all(rounds, stop).await;
        measured.targets = self.targets.iter().map(|target| target.recorder.target()).collect();
        // What fails because servers were just being started, or ended, is no news.
        let interrupted = stop.is_cancelled().then(|| INTERRUPTED.to_owned());
        measured.interrupted = interrupted.or(played.err());
        measured
    }

    async fn play_all(&self, rounds: u32, stop: &CancellationToken) -> Result<(), String> {
        let ceilings = self.ceilings(stop).await?;
        for round in 0..rounds {
            let mut order: Vec<&Target> = self.targets.iter().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for target in order {
                self.play(target.kind, &self.scenario, &target.recorder, &ceilings, stop).await?;
            }
        }
        Ok(())
    }

    /// What the slowest target can do at most, where a phase sends a share of that: measured once
    /// before all rounds, as the share must be the same for all targets.
    async fn ceilings(&self, stop: &CancellationToken) -> Result<Ceilings, String> {
        let phases = &self.scenario.phases;
        let is_shared = |name: &str| {
            phases
                .iter()
                .any(|it| matches!(&it.arrivals, Arrivals::Share { phase, .. } if phase == name))
        };
        let mut ceilings = Ceilings::new();
        let Some(last) = phases.iter().rposition(|phase| is_shared(&phase.name)) else {
            return Ok(ceilings);
        };
        let before =
            Rc::new(Scenario { phases: phases[..=last].to_vec(), ..(*self.scenario).clone() });
        for target in &self.targets {
            let recorder = Rc::new(Recorder::new(target.kind.name(), &before, Time::Real));
            self.play(target.kind, &before, &recorder, &Ceilings::new(), stop).await?;
            for phase in before.phases.iter().filter(|phase| is_shared(&phase.name)) {
                if let Some(here) = recorder.per_second(&phase.name) {
                    let lowest = ceilings.entry(phase.name.clone()).or_insert(here);
                    *lowest = lowest.min(here);
                }
            }
        }
        Ok(ceilings)
    }

    /// One round of one target, which is started for it.
    async fn play(
        &self,
        kind: Kind,
        scenario: &Rc<Scenario>,
        recorder: &Rc<Recorder>,
        ceilings: &Ceilings,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        if stop.is_cancelled() {
            return Ok(());
        }
        let stage = Rc::new(unless_stopped(stop, Live::start(kind, &self.ground)).await?);
        let options = Options { time: Time::Real, pods: true };
        let play = Play::new(scenario, &self.cluster, &stage, options, recorder);
        recorder.round();
        let ceiling =
            |phase: &str| ceilings.get(phase).copied().or_else(|| recorder.per_second(phase));
        for phase in 0..scenario.phases.len() {
            if stop.is_cancelled() {
                break;
            }
            play.phase(phase, &ceiling, &self.progress, stop).await?;
        }
        play.finish(stop).await;
        Ok(())
    }
}
