//! Who wants what, and when?
//!
//! Everything is settled before anything is sent: a server that is slow changes no send time. What
//! happens in a phase (`happenings`) is merged with what pods read: each by a clock of its own
//! (`streams`), or all by one, each time another one's turn (`lots`), or what a log says (`replay`).

mod happenings;
mod log_line;
mod lots;
mod points;
mod popularity;
pub(crate) mod replay;
mod streams;

#[cfg(test)]
mod tests;

use std::iter;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::lot;
use crate::scenario::{Arrivals, Credential, Deployment, Happening, Phase, Scenario};

use happenings::{Seats, happenings};
use lots::Lots;
use points::{Pace, Points};
use streams::Streams;

/// Something a pod does at a time of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// From the begin of the phase.
    pub(crate) at: Duration,
    pub(crate) pod: u32,
    pub(crate) what: What,
}

/// What it does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// It starts: shows who it is, reads what it needs, gets its leases. If it ran, it is another
    /// one from now on. It tries each step again, a second later, until that succeeds.
    Start,
    /// It ends, and asks for nothing any more.
    Stop,
    /// Reads a secret, once.
    Read(Secret),
    /// Writes it, with a value that nothing had before.
    Write(Secret),
    /// Reads a credential of a role (an index), once, and neither keeps nor renews it.
    Lease(usize),
    /// A line of an access log: method and target.
    Replay { method: String, target: String },
}

/// One of the secrets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(crate) struct Secret {
    /// Index into the world's sets.
    pub(crate) set: usize,
    /// The most popular first.
    pub(crate) index: u32,
}

/// The arrivals of phase number `phase`, in the order of their times, made as they are asked for.
/// `saturated`: answers a second of a saturated phase before, of the slowest target.
///
/// Those of a saturated phase never end, and have no times but zero.
pub(crate) fn of(
    scenario: &Scenario,
    cluster: &Cluster,
    phase: usize,
    saturated: &dyn Fn(&str) -> Option<f64>,
) -> Result<Box<dyn Iterator<Item = Arrival>>, String> {
    let Phase { duration, arrivals, .. } = &scenario.phases[phase];
    let (world, seed) = (&scenario.world, [phase as u64]);
    let drains = |phase: &Phase| matches!(phase.happening, Happening::Drain { .. });
    let drained = scenario.phases[..phase].iter().any(drains);
    let seats = Seats::new(cluster, drained, &scenario.phases[phase].happening, scenario.seed);
    let happens = happenings(scenario, cluster, phase, seats.clone());
    let by_lot = |per_second: f64, poisson: bool| {
        let pace = Pace::ramp((per_second, per_second), *duration);
        let points = Points::new(pace, poisson, lot::stream(scenario.seed, &[seed[0], 0]));
        let lots = Lots::new(world, cluster, lot::stream(scenario.seed, &[seed[0], 1]))?;
        Some(lots.at(points, seats.clone()))
    };
    let reads: Box<dyn Iterator<Item = Arrival>> = match arrivals {
        Arrivals::None => Box::new(iter::empty()),
        Arrivals::World { poisson, factor: (from, to) } => {
            let pace = |often: f64| Pace::ramp((often * from, often * to), *duration);
            Box::new(Streams::new(scenario, cluster, phase, seats, *poisson, pace))
        }
        Arrivals::Bursts { every, within, factor } => {
            let pace = |often: f64| Pace::bursts(often * factor, *every, *within, *duration);
            Box::new(Streams::new(scenario, cluster, phase, seats, true, pace))
        }
        Arrivals::Rate { per_second, poisson } => boxed(by_lot(*per_second, *poisson)),
        Arrivals::Share { phase, share, poisson } => {
            let reached = saturated(phase).filter(|reached| *reached > 0.0);
            let reached = reached.ok_or_else(|| {
                format!("a share of phase `{phase}` is to be sent, in which nothing was answered")
            })?;
            boxed(by_lot(reached * share, *poisson))
        }
        Arrivals::Saturate { .. } => {
            let lots = Lots::new(world, cluster, lot::stream(scenario.seed, &[seed[0], 1]));
            boxed(lots.map(|lots| lots.at(iter::repeat(Duration::ZERO), seats)))
        }
        Arrivals::Replay { file, speed, .. } => {
            let hosts = lot::stream(scenario.seed, &[seed[0], 1]);
            let replay = replay::arrivals(file, *speed, seats, hosts)?;
            let duration = *duration;
            Box::new(replay.take_while(move |arrival| arrival.at < duration))
        }
    };
    Ok(Box::new(merged(happens, reads)))
}

/// How many requests a phase intends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    /// In the mean, with those of starting pods, and without renewals.
    pub(crate) requests: f64,
    /// Whether there are others, as many as are answered.
    pub(crate) open: bool,
}

/// What phase number `phase` intends.
pub(crate) fn expected(scenario: &Scenario, phase: usize) -> Expected {
    let world = &scenario.world;
    let Phase { duration, arrivals, happening, .. } = &scenario.phases[phase];
    let seconds = duration.as_secs_f64();
    let reads = match arrivals {
        Arrivals::None | Arrivals::Share { .. } | Arrivals::Saturate { .. } => 0.0,
        Arrivals::World { factor: (from, to), .. } => {
            world.per_second() * (from + to) / 2.0 * seconds
        }
        Arrivals::Bursts { factor, .. } => world.per_second() * factor * seconds,
        Arrivals::Rate { per_second, .. } => per_second * seconds,
        #[expect(clippy::cast_precision_loss, reason = "of lines of a log")]
        Arrivals::Replay { file, .. } => replay::survey(file).map_or(0.0, |it| it.readable as f64),
    };
    let on_nodes = |deployment: &Deployment, nodes: u32| {
        f64::from(deployment.at_start(world.credential)) * f64::from(deployment.pods * nodes)
    };
    let everybody: f64 = world.deployments.iter().map(|it| on_nodes(it, world.nodes)).sum();
    let happens = match *happening {
        Happening::ColdStart { .. } if phase > 0 => everybody,
        Happening::RollOut { deployment, .. } => {
            on_nodes(&world.deployments[deployment], world.nodes)
        }
        Happening::Drain { .. } => everybody / f64::from(world.nodes),
        Happening::Rotate { secrets, share, .. } => {
            (f64::from(world.secrets[secrets].count) * share).round()
        }
        _ => 0.0,
    };
    let first = if phase == 0 { everybody } else { 0.0 };
    let open = matches!(arrivals, Arrivals::Share { .. } | Arrivals::Saturate { .. });
    Expected { requests: reads + happens + first, open }
}

impl Deployment {
    /// Requests that one of its pods sends because it starts.
    fn at_start(&self, credential: Credential) -> u32 {
        let reads: u32 = self.reads.iter().map(|reads| reads.at_start).sum();
        let login = u32::from(credential != Credential::Token);
        login + reads + u32::try_from(self.leases.len()).unwrap_or(u32::MAX)
    }
}

fn boxed(
    arrivals: Option<impl Iterator<Item = Arrival> + 'static>,
) -> Box<dyn Iterator<Item = Arrival>> {
    Box::new(arrivals.into_iter().flatten())
}

/// Both, in the order of their times; of the same time, those of `first` first.
fn merged(
    first: impl Iterator<Item = Arrival>,
    second: impl Iterator<Item = Arrival>,
) -> impl Iterator<Item = Arrival> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    iter::from_fn(move || match (first.peek(), second.peek()) {
        (Some(one), Some(other)) if other.at < one.at => second.next(),
        (None, _) => second.next(),
        _ => first.next(),
    })
}
