//! How is a scenario played on a stage?
//!
//! Phase by phase, and open loop: every request is sent when the schedule wants it, in a task of its
//! own, however long the others take, and its latency counts from that moment. All of it happens on
//! one thread, and all waiting goes by the runtime's clock, so that the same code plays in real time
//! and in paused time, where an hour takes as long as its events do.

use std::cell::Cell;
use std::iter::Peekable;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::progress::Progress;
use crate::record::Recorder;
use crate::scenario::{self, Happening, Phase, Scenario};
use crate::schedule::{self, Arrival, What};
use crate::stage::Stage;

use calls::Calls;
use pace::Pace;
use pods::Pods;

mod calls;
mod life;
mod open;
pub(crate) mod pace;
mod pod;
mod pods;
mod saturate;
#[cfg(test)]
mod tests;
mod wave;

/// Which clock the runtime goes by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Time {
    /// The system's.
    Real,
    /// `tokio::time::pause`: it is always as late as the next thing to be waited for.
    Paused,
}

/// How it is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) time: Time,
    /// Whether pods live: log in, read what they need as they start, and hold leases. Otherwise all
    /// of them run all the time, with what the stage gave them as their token.
    pub(crate) pods: bool,
}

/// What is still to be sent in a phase.
type Arrivals = Peekable<Box<dyn Iterator<Item = Arrival>>>;

/// How long pods may take to start before the first phase, where they start then.
const SETTLING: Duration = Duration::from_mins(1);

/// How long answers may take past the end of the last phase.
const GRACE: Duration = Duration::from_secs(15);

/// A scenario being played on one stage.
///
/// It has the tasks of its pods. They stand still while no phase is being played.
pub(crate) struct Play<S> {
    scenario: Rc<Scenario>,
    cluster: Rc<Cluster>,
    calls: Rc<Calls<S>>,
    pods: Rc<Pods<S>>,
    options: Options,
    started: Cell<bool>,
    tasks: LocalSet,
}

/// Plays all of `scenario`, once; what comes of it is in `recorder`.
///
/// Ends early when `stop` is cancelled, which is no error: what was measured until then is there.
/// `saturated` says how many answers per second a saturated phase had, where somebody knows better
/// than `recorder` does.
///
/// # Errors
/// A phase has no schedule, or the stage cannot do what should happen.
pub(crate) async fn play<S: Stage + 'static>(
    scenario: &Rc<Scenario>,
    cluster: &Rc<Cluster>,
    stage: &Rc<S>,
    options: Options,
    recorder: &Rc<Recorder>,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), String> {
    let play = Play::new(scenario, cluster, stage, options, recorder);
    recorder.round();
    let saturated = |phase: &str| recorder.per_second(phase);
    for phase in 0..scenario.phases.len() {
        if stop.is_cancelled() {
            return Ok(());
        }
        play.phase(phase, &saturated, progress, stop).await?;
    }
    play.finish(stop).await;
    Ok(())
}

/// A runtime for playing: one thread, which looks for answers after every few tasks.
///
/// # Errors
/// The system gives it none.
pub(crate) fn runtime(time: Time) -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(16)
        .start_paused(time == Time::Paused)
        .build()
        .map_err(|e| {
            format!("the runtime did not start: {e}; try again with fewer descriptors in use")
        })
}

impl<S: Stage + 'static> Play<S> {
    /// Nothing has been sent yet.
    pub(crate) fn new(
        scenario: &Rc<Scenario>,
        cluster: &Rc<Cluster>,
        stage: &Rc<S>,
        options: Options,
        recorder: &Rc<Recorder>,
    ) -> Self {
        let calls = Rc::new(Calls::new(scenario, cluster, stage, recorder));
        Self {
            scenario: scenario.clone(),
            cluster: cluster.clone(),
            pods: Rc::new(Pods::new(&calls, options.pods)),
            calls,
            options,
            started: Cell::new(false),
            tasks: LocalSet::new(),
        }
    }

    /// Plays one phase, from its begin to its end. They are played in order.
    ///
    /// Pods that the first phase finds running start before its time begins, which is not part of
    /// any figure.
    ///
    /// # Errors
    /// As of [`play`].
    pub(crate) async fn phase(
        &self,
        number: usize,
        saturated: &dyn Fn(&str) -> Option<f64>,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let phase = &self.scenario.phases[number];
        let arrivals = schedule::of(&self.scenario, &self.cluster, number, saturated)?;
        let mut arrivals: Arrivals = arrivals.peekable();
        let whole = self.tasks.run_until(async {
            if !self.started.replace(true) {
                self.settle(phase, &mut arrivals).await?;
            }
            self.calls.stage.begin(phase).await?;
            self.measured(number, arrivals, progress).await?;
            Ok(())
        });
        let outcome = stop.run_until_cancelled(whole).await.unwrap_or(Ok(()));
        // Asking an upstream that is busy takes time of its own.
        let ended = Instant::now();
        let gauges = self.tasks.run_until(self.calls.stage.gauges()).await;
        progress.end(&self.calls.recorder);
        self.calls.recorder.end(ended, &gauges);
        self.calls.recorder.exhausted(self.calls.stage.exhausted());
        // Once it is stopped, nothing is played that would need it undone.
        let ended = if stop.is_cancelled() { Ok(()) } else { self.calls.stage.end(phase).await };
        self.calls.waves.end();
        outcome.and(ended)
    }

    /// Waits for the answers that are still on their way, and then ends every pod.
    pub(crate) async fn finish(self, stop: &CancellationToken) {
        let landed = self.tasks.run_until(self.calls.landed());
        let landed = tokio::time::timeout(GRACE, landed);
        let _ = stop.run_until_cancelled(landed).await;
        self.calls.recorder.close();
    }

    /// Starts the pods that run from the beginning, and waits until they have what they need.
    async fn settle(&self, phase: &Phase, arrivals: &mut Arrivals) -> Result<(), String> {
        if matches!(phase.happening, Happening::ColdStart { .. }) {
            return Ok(());
        }
        let mut started = 0;
        // Each seat's first: what is rolled out in the same moment starts in the phase's time.
        while started < self.cluster.seats()
            && let Some(arrival) =
                arrivals.next_if(|next| next.what == What::Start && next.at.is_zero())
        {
            self.pods.start(arrival.pod);
            started += 1;
        }
        let started = if self.options.pods { started } else { 0 };
        tokio::time::timeout(SETTLING, self.pods.settled(started)).await.map_err(|_| {
            let (name, seconds) = (self.calls.stage.name(), SETTLING.as_secs());
            format!(
                "{name}: not every one of the {started} pods had its login, its secrets and its \
                 leases {seconds} s after it started; is all of the scenario's world there?"
            )
        })
    }

    /// The phase's own time.
    async fn measured(
        &self,
        number: usize,
        arrivals: Arrivals,
        progress: &Progress,
    ) -> Result<(), String> {
        let (phase, recorder) = (&self.scenario.phases[number], &self.calls.recorder);
        let gauges = self.calls.stage.gauges().await;
        let begun = Instant::now();
        recorder.begin(number, &gauges);
        progress.begin(self.calls.stage.name(), phase);
        match phase.happening {
            Happening::ColdStart { .. } | Happening::RollOut { .. } | Happening::Drain { .. } => {
                self.calls.waves.happen(recorder, number, false);
            }
            Happening::Outage => self.calls.waves.happen(recorder, number, true),
            Happening::Nothing | Happening::Rotate { .. } | Happening::PolicyChange => {}
        }
        let end = begun + phase.duration;
        let playing = async {
            if let scenario::Arrivals::Saturate { connections } = phase.arrivals {
                saturate::keep_busy(&self.calls, &self.pods, arrivals, connections, end).await;
                return Ok(());
            }
            let mut pace = Pace::new(self.options.time)?;
            open::send(&self.calls, &self.pods, arrivals, begun, end, &mut pace).await
        };
        tokio::select! {
            biased;
            outcome = playing => outcome,
            () = self.look(progress) => Ok(()),
        }
    }

    /// Once a second, what the servers say of themselves, and a word to whoever waits.
    async fn look(&self, progress: &Progress) {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.tick().await;
        loop {
            seconds.tick().await;
            let gauges = self.calls.stage.gauges().await;
            self.calls.recorder.gauged(&gauges);
            self.calls.waves.judge();
            progress.tick(&self.calls.recorder);
        }
    }
}
