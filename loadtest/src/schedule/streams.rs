//! When does each pod read, by a clock of its own?
//!
//! Every pod has a stream of draws for each of its reads: with more pods, the others read what they
//! read before. Only the next time of each stream is held.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Arrival;
use super::happenings::Seats;
use super::lots::Wish;
use super::points::{Pace, Points};
use crate::cluster::Cluster;
use crate::lot;
use crate::scenario::Scenario;

/// The reads of all pods, in the order of their times.
#[derive(Debug)]
pub(super) struct Streams {
    all: Vec<Stream>,
    /// Each stream's next time.
    next: BinaryHeap<Reverse<(Duration, usize)>>,
    wishes: Vec<Wish>,
    seats: Seats,
}

#[derive(Debug)]
struct Stream {
    seat: u32,
    /// Index into the wishes.
    wish: usize,
    turn: u32,
    points: Points,
}

impl Streams {
    /// `pace`: how often something is read that is read so often, a second, in the mean.
    pub(super) fn new(
        scenario: &Scenario,
        cluster: &Cluster,
        phase: usize,
        seats: Seats,
        poisson: bool,
        pace: impl Fn(f64) -> Pace,
    ) -> Self {
        let (mut streams, mut wishes) = (Vec::new(), Vec::new());
        for (index, deployment) in scenario.world.deployments.iter().enumerate() {
            for (reading, reads) in deployment.reads.iter().enumerate() {
                let Some(every) = reads.every else { continue };
                let pace = pace(every.as_secs_f64().recip());
                for number in 0..cluster.seats_of(index) {
                    let name = [phase as u64, 2, index as u64, reading as u64, number.into()];
                    let mut rng = lot::stream(scenario.seed, &name);
                    let (seat, turn) = (cluster.seat_of(index, number), rng.u32(..1 << 31));
                    let points = Points::new(pace.clone(), poisson, rng);
                    streams.push(Stream { seat, wish: wishes.len(), turn, points });
                }
                wishes.push(Wish::new(reads, &scenario.world));
            }
        }
        let first = |(index, stream): (usize, &mut Stream)| {
            stream.points.next().map(|at| Reverse((at, index)))
        };
        let next = streams.iter_mut().enumerate().filter_map(first).collect();
        Self { all: streams, next, wishes, seats }
    }
}

impl Iterator for Streams {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let Reverse((at, index)) = self.next.pop()?;
            let stream = &mut self.all[index];
            let what = self.wishes[stream.wish].draw(stream.points.rng(), &mut stream.turn);
            self.next.extend(stream.points.next().map(|at| Reverse((at, index))));
            if let Some(pod) = self.seats.pod(stream.seat, at) {
                return Some(Arrival { at, pod, what });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;
    use std::path::Path;

    /// A million arrivals take no more room than one.
    #[test]
    fn only_the_next_of_each_is_held() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/steady.yaml");
        let mut scenario = scenario::read(&file).unwrap();
        scenario.world.nodes = 500;
        let cluster = Cluster::new(&scenario);
        let during = &scenario.phases[1];
        let seats = Seats::new(&cluster, false, &during.happening, 1);
        let pace = |often: f64| Pace::ramp((often, often), during.duration);
        let mut streams = Streams::new(&scenario, &cluster, 1, seats, true, pace);
        let before = (streams.all.len(), streams.next.len());
        assert_eq!(before, (500 * 16, 500 * 16));

        let room = streams.next.capacity();
        let last = streams.by_ref().take(1_000_000).last().unwrap();

        assert!(last.at > Duration::from_secs(20), "{last:?}");
        assert_eq!((streams.all.len(), streams.next.capacity()), (before.0, room));
    }
}
