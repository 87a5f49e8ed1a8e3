use super::*;
use crate::result::{About, Generator, Kind};

fn round(per_second: f64, p50: f64, cpu: Option<f64>) -> Round {
    Round { per_second, p50, p99: 2.0 * p50, cpu_per_answer: cpu, busy: None }
}

fn target(name: &str, rounds: Vec<Round>) -> Target {
    let read = Kind { answered: 90, statuses: [(200, 90)].into(), ..Kind::default() };
    let read = Kind { broken: [("connect".to_owned(), 10)].into(), ..read };
    let phase = Phase {
        name: "ceiling".to_owned(),
        seconds: 10.0,
        kinds: [("read".to_owned(), read)].into(),
        upstream: [("kv-read".to_owned(), 50)].into(),
        hit_ratio: Some(0.5),
        rounds,
        ..Phase::default()
    };
    let (phases, seconds) = (vec![phase], vec![]);
    Target { name: name.to_owned(), phases, seconds, generator: Generator::default() }
}

fn measured(targets: Vec<Target>) -> Measured {
    let scenario = About { name: "cached-read".to_owned(), seed: 7, ..About::default() };
    Measured { machine: "a machine".to_owned(), scenario, targets, ..Measured::default() }
}

#[test]
fn every_target_has_its_medians_and_vaultlet_its_ratios() {
    let bare = target("bare", vec![round(200.0, 10.0, Some(4.0)), round(100.0, 20.0, Some(5.0))]);
    let ours =
        target("vaultlet", vec![round(180.0, 11.0, Some(5.2)), round(94.0, 22.0, Some(5.5))]);

    let text = table(&measured(vec![bare, ours]), &["nginx is left out: so".to_owned()], 2);

    for line in [
        "### ceiling",
        "| bare | 150 (100 to 200) | 15.0 (10.0 to 20.0) | 30.0 (20.0 to 40.0) | \
         4.50 (4.00 to 5.00) | 50.00 % | 5.00 | 10 |",
        "vaultlet to bare: **0.92 (0.90 to 0.94)** x the answers per second, \
         **1.20 (1.10 to 1.30)** x the CPU per answer, **1.10** x the p50, **1.10** x the p99.",
        "nginx is left out: so.",
        "a machine. `cached-read`, seed 7, medians and ranges of 2 interleaved rounds; times in \
         microseconds.",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n\n{text}");
    }
}

#[test]
fn what_was_not_measured_is_not_there() {
    let without = target("bare", vec![round(200.0, 10.0, None)]);
    let never = target("vaultlet", vec![]);

    let text = table(&measured(vec![without, never]), &[], 1);

    assert!(text.contains("| bare | 200 | 10.0 | 20.0 | – |"), "{text}");
    assert!(!text.contains("vaultlet"), "{text}");
    assert!(text.contains("one round"), "{text}");
}
