//! What all schedules have in common; `tests/` has each kind.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::scenario;

mod happening;
mod rates;
mod replayed;

/// One deployment on two nodes, with phases of the given text.
pub(super) fn scenario(phases: &str) -> Scenario {
    read(&format!(
        "name: s\nworld:\n  nodes: 2\n  secrets: [{{name: app, count: 100, zipf: 1}}, {{name: b, \
         count: 10}}]\n  deployments:\n    - {{name: api, pods: 10, reads: [{{secrets: app, every: \
         200ms, at_start: 3, writes: 0.25}}]}}\n    - {{name: job, pods: 5, reads: [{{secrets: b, \
         every: 1s}}]}}\nphases:\n{phases}\n"
    ))
}

fn read(text: &str) -> Scenario {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("s.yaml");
    fs::write(&file, text).unwrap();
    scenario::read(&file).unwrap()
}

/// The arrivals of a phase, of which none is saturated.
pub(super) fn arrivals(scenario: &Scenario, phase: usize) -> Vec<Arrival> {
    of(scenario, &Cluster::new(scenario), phase, &|_| Some(1000.0)).unwrap().collect()
}

/// What is read and written, without what happens besides.
pub(super) fn asked(arrivals: &[Arrival]) -> Vec<&Arrival> {
    arrivals.iter().filter(|it| !matches!(it.what, What::Start | What::Stop)).collect()
}

pub(super) fn real(count: usize) -> f64 {
    u32::try_from(count).unwrap().into()
}

fn shipped() -> Vec<Scenario> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| scenario::read(&file).unwrap()).collect()
}

#[test]
fn arrivals_come_in_order_from_pods_that_run_and_are_as_many_as_expected() {
    for mut scenario in shipped() {
        let cluster = Cluster::new(&scenario);
        let mut running = vec![false; cluster.pods.len()];
        for phase in 0..scenario.phases.len() {
            if matches!(scenario.phases[phase].arrivals, Arrivals::Saturate { .. }) {
                // Pods are started by the one before, which has an end.
                scenario.phases[phase].arrivals = Arrivals::None;
            }
            let (name, all) = (&scenario.phases[phase].name, arrivals(&scenario, phase));
            let mut last = Duration::ZERO;
            let mut requests = 0.0;
            for Arrival { at, pod, what } in &all {
                assert!(*at >= last && *at <= scenario.phases[phase].duration, "{name}: {at:?}");
                last = *at;
                match what {
                    What::Start => {
                        running[*pod as usize] = true;
                        requests += f64::from(
                            scenario.world.deployments[cluster.pods[*pod as usize].deployment]
                                .at_start(scenario.world.credential),
                        );
                    }
                    What::Stop => running[*pod as usize] = false,
                    _ => {
                        assert!(running[*pod as usize], "{name}: {pod} does not run at {at:?}");
                        requests += 1.0;
                    }
                }
            }
            let expected = expected(&scenario, phase);
            // Those that are drawn vary by the root of their number; pods that wait to be started
            // send nothing.
            let missing = match scenario.phases[phase].happening {
                Happening::ColdStart { over } => scenario.world.per_second() * over.as_secs_f64(),
                _ => 0.0,
            };
            let off = 5.0 * expected.requests.sqrt();
            let range = expected.requests - missing - off..=expected.requests + off;
            assert!(expected.open || range.contains(&requests), "{name}: {requests} of {range:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_and_another_one_does_not() {
    for scenario in shipped() {
        for phase in 0..scenario.phases.len() {
            let take = |scenario: &Scenario| {
                let cluster = Cluster::new(scenario);
                let all = of(scenario, &cluster, phase, &|_| Some(1000.0)).unwrap();
                all.take(2000).collect::<Vec<_>>()
            };
            let first = take(&scenario);
            assert_eq!(first, take(&scenario));
            let other = take(&Scenario { seed: 99, ..scenario.clone() });
            let one_secret = scenario.world.secrets.iter().all(|set| set.count == 1);
            assert!(first != other || one_secret, "{}", scenario.phases[phase].name);
        }
    }
}

#[test]
fn another_node_changes_nothing_for_the_pods_of_the_others() {
    let small = scenario("  - {name: p, duration: 20s, arrivals: {factor: 1}}");
    let mut large = small.clone();
    large.world.nodes = 3;

    let (before, mut after) = (arrivals(&small, 0), arrivals(&large, 0));
    after.retain(|arrival| arrival.pod < 30);

    assert!(asked(&before).len() > 1000);
    assert_eq!(asked(&before), asked(&after));
}

#[test]
fn two_phases_and_two_pods_have_nothing_in_common() {
    let phase = "duration: 60s, arrivals: {factor: 1}}";
    let scenario = scenario(&format!("  - {{name: p, {phase}\n  - {{name: q, {phase}"));
    let of_pod = |phase: usize, pod: u32| -> Vec<Duration> {
        let all = arrivals(&scenario, phase);
        asked(&all).into_iter().filter(|it| it.pod == pod).map(|it| it.at).collect()
    };
    let times = [of_pod(0, 0), of_pod(0, 1), of_pod(1, 0)];
    for (index, one) in times.iter().enumerate() {
        assert!((200..400).contains(&one.len()), "{}", one.len());
        for other in &times[..index] {
            assert!(one.iter().all(|at| !other.contains(at)));
            // How many each sends in a second has nothing to do with the other.
            let counts = |times: &[Duration]| {
                let mut counts = [0.0; 60];
                for at in times {
                    counts[usize::try_from(at.as_secs()).unwrap()] += 1.0;
                }
                counts.map(|count| count - 5.0)
            };
            let product: f64 =
                counts(one).iter().zip(counts(other)).map(|(one, other)| one * other).sum();
            assert!((product / 60.0 / 5.0).abs() < 0.5, "{product}");
        }
    }
}
