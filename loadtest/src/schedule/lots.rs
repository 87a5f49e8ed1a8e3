//! Whose turn is it, when all requests come from one clock?

use std::time::Duration;

use fastrand::Rng;

use super::happenings::Seats;
use super::popularity::{Alias, Draw};
use super::{Arrival, Secret, What};
use crate::cluster::Cluster;
use crate::scenario::{Reads, Wanted, World};

/// Draws a pod and what it wants, as often as the deployments say.
#[derive(Debug)]
pub(super) struct Lots {
    table: Alias,
    /// In the order of the table.
    choices: Vec<Choice>,
    cluster: Cluster,
    rng: Rng,
}

#[derive(Debug)]
struct Choice {
    deployment: usize,
    wish: Wish,
    turn: u32,
}

impl Lots {
    /// `None`: nobody reads.
    pub(super) fn new(world: &World, cluster: &Cluster, mut rng: Rng) -> Option<Self> {
        let (mut choices, mut weights) = (Vec::new(), Vec::new());
        for (index, deployment) in world.deployments.iter().enumerate() {
            for reads in &deployment.reads {
                let Some(every) = reads.every else { continue };
                weights.push(f64::from(deployment.pods) / every.as_secs_f64());
                let (wish, turn) = (Wish::new(reads, world), rng.u32(..1 << 31));
                choices.push(Choice { deployment: index, wish, turn });
            }
        }
        let table = (!weights.is_empty()).then(|| Alias::new(&weights))?;
        Some(Self { table, choices, cluster: cluster.clone(), rng })
    }

    /// One at each time, where the pod whose turn it is runs.
    pub(super) fn at(
        mut self,
        times: impl Iterator<Item = Duration>,
        seats: Seats,
    ) -> impl Iterator<Item = Arrival> {
        times.filter_map(move |at| {
            let choice = &mut self.choices[self.table.draw(&mut self.rng) as usize];
            let number = self.rng.u32(..self.cluster.seats_of(choice.deployment));
            let seat = self.cluster.seat_of(choice.deployment, number);
            let what = choice.wish.draw(&mut self.rng, &mut choice.turn);
            Some(Arrival { at, pod: seats.pod(seat, at)?, what })
        })
    }
}

/// What a pod wants when it wants something.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Secret { set: usize, draw: Draw, writes: f64 },
    Lease(usize),
}

impl Wish {
    pub(super) fn new(reads: &Reads, world: &World) -> Self {
        match reads.of {
            Wanted::Secrets(set) => {
                let secrets = &world.secrets[set];
                let draw = Draw::new(&secrets.popularity, secrets.count);
                Self::Secret { set, draw, writes: reads.writes }
            }
            Wanted::Role(role) => Self::Lease(role),
        }
    }

    pub(super) fn draw(&self, rng: &mut Rng, turn: &mut u32) -> What {
        match self {
            Self::Secret { set, draw, writes } => {
                let secret = Secret { set: *set, index: draw.draw(rng, turn) };
                if rng.f64() < *writes { What::Write(secret) } else { What::Read(secret) }
            }
            Self::Lease(role) => What::Lease(*role),
        }
    }
}
