//! How much Vault does a cluster need, with vaultlet and without, of whatever size?
//!
//! A few nodes are played on models, in time that is not real, and stand for all others: a node with
//! a vaultlet shares nothing with another but the upstream. What they ask of it is multiplied, and
//! priced with what a request of each kind costs a server (`book`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tokio_util::sync::CancellationToken;

use crate::model::Kind;
use crate::result::{Demand, Phase, Plan, PlanRow, Target};
use crate::scenario::{Happening, Scenario};

mod book;
mod calibrate;
mod live;
mod play;
mod sample;
mod verify;
mod weigh;

#[cfg(test)]
mod tests;

pub(crate) use book::Book;
pub(crate) use calibrate::calibrated;
pub(crate) use live::measure;
use play::{Played, play};
pub(crate) use sample::playable;
pub(crate) use verify::checks;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Sizes of clusters, in nodes.
    pub(crate) nodes: Vec<u32>,
    /// Of the upstream; `None`: as many as it takes, and nobody ever waits.
    pub(crate) cores: Option<f64>,
    pub(crate) book: Book,
}

/// Both sides of a question, on a sample of the nodes.
struct Sides {
    scenario: Scenario,
    with: Played,
    without: Played,
}

/// Plays `scenario` for each size that is asked for, without what only a real server can show. Once
/// `stop` is cancelled there are no more sizes than those that were finished.
///
/// # Errors
/// It cannot be played.
pub(crate) fn predict(
    scenario: &Scenario,
    question: &Question,
    stop: &CancellationToken,
) -> Result<Plan, String> {
    let scenario = playable(scenario)?;
    // Where nobody waits, a sample is the same whatever it stands for.
    let mut played: BTreeMap<(u32, u32), Sides> = BTreeMap::new();
    let mut rows = Vec::new();
    for &nodes in &question.nodes {
        let sample = sample::of(&scenario, nodes);
        let stands_for = f64::from(nodes) / f64::from(sample.world.nodes);
        let same = (sample.world.nodes, if question.cores.is_some() { nodes } else { 0 });
        let sides = match played.entry(same) {
            Entry::Occupied(sides) => sides.into_mut(),
            Entry::Vacant(place) => match Sides::new(sample, question, stands_for, stop) {
                Err(_) if stop.is_cancelled() => break,
                sides => place.insert(sides?),
            },
        };
        rows.extend(sides.rows(nodes, stands_for, &question.book));
    }
    Ok(Plan {
        unit_costs: question.book.unit_costs.clone(),
        costs_from: question.book.from.clone(),
        rows,
        checks: Vec::new(),
    })
}

/// What `direct` and `vaultlet` would measure. `whole`: on all nodes of the scenario, however many,
/// with an upstream that has the cores of this machine unless the question says otherwise.
///
/// # Errors
/// It cannot be played, or `stop` was cancelled.
pub(crate) fn predicted(
    scenario: &Scenario,
    question: &Question,
    stop: &CancellationToken,
    whole: bool,
) -> Result<Vec<Target>, String> {
    let nodes = scenario.world.nodes;
    let played = if whole { scenario.clone() } else { sample::of(scenario, nodes) };
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    let here = whole.then(|| f64::from(u32::try_from(here).unwrap_or(u32::MAX)));
    let stands_for = f64::from(nodes) / f64::from(played.world.nodes);
    let upstream = question.book.upstream(question.cores.or(here), stands_for);
    let target = |vaultlet| play(&played, vaultlet, upstream.clone(), stop).map(|it| it.target);
    Ok(vec![target(false)?, target(true)?])
}

/// How many nodes are behind what `direct` and `vaultlet` measure: see [`predicted`].
pub(crate) fn played(scenario: &Scenario, whole: bool) -> u32 {
    let nodes = scenario.world.nodes;
    if whole { nodes } else { sample::of(scenario, nodes).world.nodes }
}

impl Sides {
    fn new(
        scenario: Scenario,
        question: &Question,
        stands_for: f64,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        let upstream = question.book.upstream(question.cores, stands_for);
        let with = play(&scenario, true, upstream.clone(), stop)?;
        let without = play(&scenario, false, upstream, stop)?;
        Ok(Self { scenario, with, without })
    }

    fn rows(&self, nodes: u32, stands_for: f64, book: &Book) -> impl Iterator<Item = PlanRow> {
        let deployments = &self.scenario.world.deployments;
        let pods_per_node: u64 = deployments.iter().map(|it| u64::from(it.pods)).sum();
        self.scenario.phases.iter().enumerate().map(move |(number, phase)| {
            let demand = |played: &Played| {
                let scale = Scale { stands_for, once: once(&self.scenario, number) };
                let mut demand = scale.demand(&played.target, number, book);
                demand.resident = played.held.get(number).map(|held| book.resident(held));
                demand
            };
            PlanRow {
                nodes,
                pods: pods_per_node * u64::from(nodes),
                phase: phase.name.clone(),
                with: demand(&self.with),
                without: Demand { resident: None, ..demand(&self.without) },
            }
        })
    }
}

/// How many secrets are written in a phase however many nodes there are.
fn once(scenario: &Scenario, phase: usize) -> f64 {
    match scenario.phases[phase].happening {
        Happening::Rotate { secrets, share, .. } => {
            (f64::from(scenario.world.secrets[secrets].count) * share).round()
        }
        _ => 0.0,
    }
}

/// From a sample to a cluster.
#[derive(Clone, Copy, Debug)]
struct Scale {
    stands_for: f64,
    /// Writes that do not grow with the number of nodes.
    once: f64,
}

impl Scale {
    fn demand(self, target: &Target, number: usize, book: &Book) -> Demand {
        let Some(phase) = target.phases.get(number) else { return Demand::default() };
        let per_second: BTreeMap<String, f64> = phase
            .upstream
            .iter()
            .filter(|(_, requests)| **requests > 0)
            .map(|(kind, requests)| (kind.clone(), self.requests(kind, *requests) / phase.seconds))
            .collect();
        let peak = self.stands_for * peak(target, number);
        let all: f64 = per_second.values().sum();
        let cost = |(kind, rate): (&String, &f64)| rate * book.cost(kind).as_secs_f64();
        let busy: f64 = per_second.iter().map(cost).sum();
        Demand {
            peak: peak.max(all),
            hit_ratio: phase.hit_ratio,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a number of leases"
            )]
            leases: (count(phase.leases.unwrap_or_default()) * self.stands_for).round() as u64,
            // For its busiest moment, with the mix of the whole phase.
            cores: if all > 0.0 { busy * (peak.max(all) / all) } else { 0.0 },
            resident: None,
            recovery_seconds: phase.recovery_seconds,
            per_second,
        }
    }

    fn requests(self, kind: &str, requests: u64) -> f64 {
        let once = if kind == Kind::KvWrite.name() { self.once } else { 0.0 };
        (count(requests) - once).max(0.0) * self.stands_for + once.min(count(requests))
    }
}

/// Requests per second at the upstream in the phase's busiest moment. How long a moment is depends
/// on how much comes: in a second with a handful of requests chance is all there is to see.
fn peak(target: &Target, number: usize) -> f64 {
    const ENOUGH: u64 = 100;
    let seconds = target.seconds.iter().filter(|second| second.phase == number);
    let arrived: Vec<u64> = seconds.map(|second| second.upstream.unwrap_or_default()).collect();
    let busiest = |length: usize| -> Option<u64> {
        arrived.windows(length).map(|moment| moment.iter().sum()).max()
    };
    for length in 1..=arrived.len() {
        if let Some(most) = busiest(length)
            && (most >= ENOUGH || length == arrived.len())
        {
            return count(most) / count(length as u64);
        }
    }
    0.0
}

/// Requests that reached the upstream in a phase.
pub(crate) fn arrived(phase: &Phase) -> u64 {
    phase.upstream.values().sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn count(count: u64) -> f64 {
    count as f64
}
