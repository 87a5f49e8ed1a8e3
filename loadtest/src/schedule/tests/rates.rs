//! How often, and which ones.

use std::collections::BTreeMap;

use super::{Arrivals, Cluster, Secret, What, arrivals, asked, of, real, scenario};

/// How many are sent in each tenth of a second.
fn tenths(phase: &str, seconds: usize) -> Vec<f64> {
    let scenario = scenario(&format!("  - {{name: p, duration: {seconds}s, arrivals: {phase}}}"));
    let mut counts = vec![0.0; seconds * 10];
    for arrival in asked(&arrivals(&scenario, 0)) {
        counts[usize::try_from(arrival.at.as_millis()).unwrap() / 100] += 1.0;
    }
    counts
}

fn mean(counts: &[f64]) -> f64 {
    counts.iter().sum::<f64>() / real(counts.len())
}

/// Variance in means: 1 where arrivals are independent of each other, 0 where evenly spaced.
fn dispersion(counts: &[f64]) -> f64 {
    let mean = mean(counts);
    counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / real(counts.len()) / mean
}

#[test]
fn a_rate_is_kept() {
    let poisson = tenths("{rate: 1000}", 60);
    assert!(
        (mean(&poisson) - 100.0).abs() < 5.0 * (100.0_f64 / 600.0).sqrt(),
        "{}",
        mean(&poisson)
    );
    assert!((dispersion(&poisson) - 1.0).abs() < 0.3, "{}", dispersion(&poisson));

    let even = tenths("{rate: 1000, spacing: even}", 10);
    assert!(even.iter().all(|count| (99.0..=101.0).contains(count)), "{even:?}");
}

/// 20 pods every 200 ms and 10 every second: 110 a second.
#[test]
fn the_world_reads_as_often_as_it_says() {
    let poisson = tenths("{factor: 2}", 60);
    assert!((mean(&poisson) - 22.0).abs() < 5.0 * (22.0_f64 / 600.0).sqrt(), "{}", mean(&poisson));
    assert!((dispersion(&poisson) - 1.0).abs() < 0.3, "{}", dispersion(&poisson));

    let even = tenths("{factor: 2, spacing: even}", 20);
    assert!((mean(&even) - 22.0).abs() < 0.2, "{}", mean(&even));
    assert!(dispersion(&even) < 0.5, "each pod at a time of its own: {}", dispersion(&even));
}

/// From 0 to 220 a second in 60 s: t²·220/120 until t.
#[test]
fn a_ramp_is_exact() {
    for (spacing, off) in [("poisson", 5.0), ("even", 0.6)] {
        let counts = tenths(&format!("{{factor: [0, 2], spacing: {spacing}}}"), 60);
        for until in [10, 20, 30, 45, 60] {
            let sent: f64 = counts[..until * 10].iter().sum();
            let expected = real(until * until) * 220.0 / 120.0;
            assert!((sent - expected).abs() < off * expected.sqrt(), "{until} s: {sent}");
        }
    }
    let falling = tenths("{factor: [2, 0]}", 60);
    let (first, second): (f64, f64) = (falling[..300].iter().sum(), falling[300..].iter().sum());
    assert!((first / second - 3.0).abs() < 0.3, "three quarters in the first half");
}

#[test]
fn bursts_gather_all_that_falls_between_them() {
    let counts = tenths("{bursts: 1, every: 3s, within: 300ms}", 60);
    for (index, count) in counts.iter().enumerate() {
        assert!(index % 30 < 3 || *count == 0.0, "{index}");
    }
    let sent: f64 = counts.iter().sum();
    assert!((sent - 6600.0).abs() < 5.0 * 6600.0_f64.sqrt(), "{sent}");
}

#[test]
fn a_share_is_of_what_was_reached() {
    let phases = "  - {name: full, duration: 1s, arrivals: {saturate: 2}}\n  - {name: half, \
                  duration: 20s, arrivals: {share: 0.5, of: full}}";
    let scenario = scenario(phases);
    let cluster = Cluster::new(&scenario);
    let half =
        |reached| of(&scenario, &cluster, 1, &move |name| (name == "full").then_some(reached)?);

    let count = real(half(Some(800.0)).unwrap().count());
    assert!((count - 8000.0).abs() < 5.0 * 8000.0_f64.sqrt(), "{count}");
    for none in [None, Some(0.0)] {
        assert!(half(none).err().unwrap().contains("phase `full` is to be sent"));
    }
}

#[test]
fn a_saturated_phase_has_no_end_and_no_times() {
    let scenario = scenario("  - {name: full, duration: 1s, arrivals: {saturate: 2}}");
    assert_eq!(scenario.phases[0].arrivals, Arrivals::Saturate { connections: 2 });
    let all = of(&scenario, &Cluster::new(&scenario), 0, &|_| None).unwrap();
    let mut started = 0;
    let mut writes = 0;
    for arrival in all.take(50_000) {
        assert!(arrival.at.is_zero());
        match arrival.what {
            What::Start => started += 1,
            What::Write(_) => writes += 1,
            _ => assert_eq!(started, 30, "first all pods start"),
        }
    }
    // Of 110 a second 100 are of a set a quarter of which is written.
    let share = f64::from(writes) / 50_000.0;
    assert!((share - 25.0 / 110.0).abs() < 0.01, "{share}");
}

#[test]
fn pods_and_secrets_are_drawn_as_the_deployments_say() {
    let scenario = scenario("  - {name: p, duration: 100s, arrivals: {rate: 1000}}");
    let all = arrivals(&scenario, 0);
    let mut pods: BTreeMap<u32, f64> = BTreeMap::new();
    let mut secrets: BTreeMap<(usize, u32), f64> = BTreeMap::new();
    let all = asked(&all);
    for arrival in &all {
        *pods.entry(arrival.pod).or_default() += 1.0;
        let (What::Read(Secret { set, index }) | What::Write(Secret { set, index })) = arrival.what
        else {
            panic!("{arrival:?}");
        };
        *secrets.entry((set, index)).or_default() += 1.0;
        assert_eq!(set, usize::from(arrival.pod % 15 >= 10), "of its own deployment");
    }
    for (pod, count) in pods {
        let weight = if pod % 15 < 10 { 5.0 } else { 1.0 };
        let expected = real(all.len()) * weight / 110.0;
        assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{pod}: {count} of {expected}");
    }
    let harmonic: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
    for ((set, index), count) in secrets {
        let share = match set {
            0 => 100.0 / 110.0 / f64::from(index + 1) / harmonic,
            _ => 10.0 / 110.0 / 10.0,
        };
        let expected = real(all.len()) * share;
        assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{index}: {count} of {expected}");
    }
}
