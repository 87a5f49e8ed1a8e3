//! Which pods start, end and write because of what happens in a phase?

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use super::{Arrival, Secret, What};
use crate::cluster::Cluster;
use crate::lot;
use crate::scenario::{Happening, Scenario, Wanted};

/// Which pod has a seat of the cluster, at a time of a phase.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    count: u32,
    /// Seats below this one have the pods that took them when the first node was drained.
    moved: u32,
    during: During,
}

#[derive(Clone, Debug)]
enum During {
    Nothing,
    /// Each seat's place in the order in which pods start.
    ColdStart {
        order: Arc<[u32]>,
        over: Duration,
    },
    /// So many seats are taken by other pods, in their order.
    Drain {
        seats: u32,
        over: Duration,
    },
}

impl Seats {
    /// `drained`: in a phase before.
    pub(super) fn new(cluster: &Cluster, drained: bool, happening: &Happening, seed: u64) -> Self {
        let first = cluster.seats_on_first_node();
        let during = match happening {
            Happening::ColdStart { over } => {
                let order = lot::shuffled(lot::stream(seed, &[4]), cluster.seats());
                During::ColdStart { order: order.into(), over: *over }
            }
            Happening::Drain { over } => During::Drain { seats: first, over: *over },
            _ => During::Nothing,
        };
        Self { count: cluster.seats(), moved: if drained { first } else { 0 }, during }
    }

    /// The pod, where it runs.
    pub(super) fn pod(&self, seat: u32, at: Duration) -> Option<u32> {
        let pod = self.before(seat);
        match &self.during {
            During::Nothing => Some(pod),
            During::ColdStart { order, over } => {
                let started = step(*over, order[seat as usize], self.count);
                (at >= started).then_some(pod)
            }
            During::Drain { seats, over } => {
                let leaves = seat < *seats && at >= step(*over, seat, *seats);
                Some(if leaves { self.count + seat } else { pod })
            }
        }
    }

    /// The pod that has it when the phase begins, should it run.
    fn before(&self, seat: u32) -> u32 {
        if seat < self.moved { self.count + seat } else { seat }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }
}

/// When the `number`th of `count` has its turn.
fn step(over: Duration, number: u32, count: u32) -> Duration {
    over.mul_f64(f64::from(number) / f64::from(count))
}

/// What happens in a phase, in the order of time. Before the first one nobody runs.
pub(super) fn happenings(
    scenario: &Scenario,
    cluster: &Cluster,
    phase: usize,
    seats: Seats,
) -> Box<dyn Iterator<Item = Arrival>> {
    let everybody = |what: What| {
        let seats = seats.clone();
        let pods = (0..seats.count).map(move |seat| seats.before(seat));
        pods.map(move |pod| Arrival { at: Duration::ZERO, pod, what: what.clone() })
    };
    let happens: Box<dyn Iterator<Item = Arrival>> = match scenario.phases[phase].happening {
        Happening::Nothing | Happening::Outage | Happening::PolicyChange => Box::new(iter::empty()),
        Happening::ColdStart { over } => {
            let ended = (phase > 0).then(|| everybody(What::Stop)).into_iter().flatten();
            return Box::new(ended.chain(starts(seats, over)));
        }
        Happening::RollOut { deployment, over } => {
            let rng = lot::stream(scenario.seed, &[5, phase as u64]);
            let order = lot::shuffled(rng, cluster.seats_of(deployment));
            let (cluster, seats) = (cluster.clone(), seats.clone());
            Box::new((0..).zip(order.clone()).map(move |(place, number)| {
                let at = step(over, place, u32::try_from(order.len()).unwrap_or(u32::MAX));
                let pod = seats.before(cluster.seat_of(deployment, number));
                Arrival { at, pod, what: What::Start }
            }))
        }
        Happening::Drain { over } => {
            let first = cluster.seats_on_first_node();
            let moves = (0..first).flat_map(|seat| {
                let at = step(over, seat, first);
                let stop = Arrival { at, pod: seat, what: What::Stop };
                [stop, Arrival { at, pod: cluster.successor(seat), what: What::Start }]
            });
            // One node's pods, which are few.
            Box::new(moves.collect::<Vec<_>>().into_iter())
        }
        Happening::Rotate { secrets, share, over } => {
            Box::new(rotation(scenario, cluster, phase, seats.clone(), (secrets, share, over)))
        }
    };
    let begin = (phase == 0).then(|| everybody(What::Start)).into_iter().flatten();
    Box::new(begin.chain(happens))
}

fn starts(seats: Seats, over: Duration) -> impl Iterator<Item = Arrival> {
    let mut order = vec![0; seats.count as usize];
    if let During::ColdStart { order: places, .. } = &seats.during {
        for (seat, place) in (0..).zip(places.iter()) {
            order[*place as usize] = seat;
        }
    }
    (0..).zip(order).map(move |(place, seat)| {
        let (at, pod) = (step(over, place, seats.count), seats.before(seat));
        Arrival { at, pod, what: What::Start }
    })
}

/// Writes of a share of a set, as evenly spread over it as over the time, by pods that read it.
fn rotation(
    scenario: &Scenario,
    cluster: &Cluster,
    phase: usize,
    seats: Seats,
    (secrets, share, over): (usize, f64, Duration),
) -> impl Iterator<Item = Arrival> + use<> {
    let count = scenario.world.secrets[secrets].count;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the count")]
    let written = (f64::from(count) * share).round() as u32;
    let deployments = scenario.world.deployments.iter().enumerate();
    let readers = deployments.filter(|(_, deployment)| {
        deployment.reads.iter().any(|reads| reads.of == Wanted::Secrets(secrets))
    });
    let readers: Vec<usize> = readers.map(|(index, _)| index).collect();
    let mut rng = lot::stream(scenario.seed, &[6, phase as u64]);
    let cluster = cluster.clone();
    (0..written).filter_map(move |number| {
        let deployment = *rng.choice(&readers)?;
        let seat = cluster.seat_of(deployment, rng.u32(..cluster.seats_of(deployment)));
        let at = step(over, number, written);
        let index = u64::from(number) * u64::from(count) / u64::from(written);
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        Some(Arrival {
            at,
            pod: seats.before(seat),
            what: What::Write(Secret { set: secrets, index }),
        })
    })
}
