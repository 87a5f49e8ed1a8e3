//! What happens besides requests.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Arrival, Cluster, Secret, What, arrivals, asked, real, scenario};

fn of_kind(arrivals: &[Arrival], what: &What) -> Vec<(u32, Duration)> {
    arrivals.iter().filter(|it| it.what == *what).map(|it| (it.pod, it.at)).collect()
}

fn pods(of: &[(u32, Duration)]) -> BTreeSet<u32> {
    of.iter().map(|(pod, _)| *pod).collect()
}

/// All at equal distances from the begin of the phase on.
fn evenly(of: &[(u32, Duration)], over: Duration) -> bool {
    let step = over.as_secs_f64() / real(of.len());
    (0..).zip(of).all(|(place, (_, at))| (at.as_secs_f64() - f64::from(place) * step).abs() < 1e-6)
}

const NOTHING: &str = "  - {name: first, duration: 5s, arrivals: {factor: 1}}\n";

#[test]
fn a_scenario_begins_with_all_pods_starting() {
    let scenario = scenario(NOTHING);
    let all = arrivals(&scenario, 0);

    let started = of_kind(&all, &What::Start);
    assert_eq!(pods(&started), (0..30).collect());
    assert!(started.len() == 30 && started.iter().all(|(_, at)| at.is_zero()));
}

#[test]
fn after_a_cold_start_a_pod_sends_nothing_until_it_has_started() {
    let phase = "duration: 20s, happens: {what: cold-start, over: 10s}, arrivals: {factor: 5}}";
    let scenario = scenario(&format!("  - {{name: a, {phase}\n  - {{name: b, {phase}\n"));
    for phase in 0..2 {
        let all = arrivals(&scenario, phase);

        let (started, stopped) = (of_kind(&all, &What::Start), of_kind(&all, &What::Stop));
        assert_eq!((started.len(), pods(&started)), (30, (0..30).collect()));
        assert!(evenly(&started, Duration::from_secs(10)), "{started:?}");
        assert!(started.iter().map(|(pod, _)| *pod).ne(0..30), "not node after node");
        assert_eq!(stopped.len(), 30 * phase, "those that run have ended first");
        for arrival in asked(&all) {
            let at = started.iter().find(|(pod, _)| *pod == arrival.pod).unwrap().1;
            assert!(arrival.at >= at, "{arrival:?}");
        }
        let early = asked(&all).iter().filter(|it| it.at < Duration::from_secs(10)).count();
        let late = asked(&all).len() - early;
        assert!((real(early) / real(late) - 0.5).abs() < 0.1, "{early} {late}");
    }
}

#[test]
fn a_roll_out_starts_each_pod_of_one_deployment_anew() {
    let phase =
        "  - {name: b, duration: 20s, happens: {what: roll-out, deployment: api, over: 10s}}";
    let scenario = scenario(&[NOTHING, phase].concat());
    let all = arrivals(&scenario, 1);

    let started = of_kind(&all, &What::Start);
    assert_eq!((all.len(), pods(&started).len()), (20, 20));
    let cluster = Cluster::new(&scenario);
    assert!(started.iter().all(|(pod, _)| cluster.pods[*pod as usize].deployment == 0));
    assert!(evenly(&started, Duration::from_secs(10)));
}

#[test]
fn a_drained_node_s_pods_go_on_elsewhere() {
    let phase = "  - {name: b, duration: 20s, happens: {what: drain, over: 10s}, arrivals: {factor: \
                 5}}\n  - {name: c, duration: 5s, happens: {what: roll-out, deployment: job}, \
                 arrivals: {rate: 200}}\n  - {name: d, duration: 5s, happens: {what: cold-start}}";
    let scenario = scenario(&[NOTHING, phase].concat());
    let cluster = Cluster::new(&scenario);
    let drain = arrivals(&scenario, 1);

    let (started, stopped) = (of_kind(&drain, &What::Start), of_kind(&drain, &What::Stop));
    assert_eq!((pods(&started), pods(&stopped)), ((30..45).collect(), (0..15).collect()));
    for ((new, start), (old, stop)) in started.iter().zip(&stopped) {
        assert_eq!((*new, start), (cluster.successor(*old), stop));
    }
    assert!(evenly(&stopped, Duration::from_secs(10)));
    for arrival in asked(&drain) {
        let ended = stopped.iter().any(|(pod, at)| *pod == arrival.pod && arrival.at >= *at);
        let began = started.iter().any(|(pod, at)| *pod == arrival.pod && arrival.at < *at);
        assert!(!ended && !began, "{arrival:?}");
    }
    for phase in 2..4 {
        let later = arrivals(&scenario, phase);
        assert!(later.iter().all(|it| cluster.pods[it.pod as usize].node == 1), "they stay there");
        let jobs = 10;
        let started = of_kind(&later, &What::Start);
        assert_eq!(pods(&started).len(), if phase == 2 { jobs } else { 30 });
    }
}

#[test]
fn a_single_node_s_pods_come_back_to_it() {
    let phase =
        "  - {name: b, duration: 20s, happens: {what: drain, over: 10s}, arrivals: {factor: 1}}";
    let mut scenario = scenario(&[NOTHING, phase].concat());
    scenario.world.nodes = 1;
    let drain = arrivals(&scenario, 1);

    let (started, stopped) = (of_kind(&drain, &What::Start), of_kind(&drain, &What::Stop));
    assert_eq!((pods(&started), pods(&stopped)), ((15..30).collect(), (0..15).collect()));
    let cluster = Cluster::new(&scenario);
    assert_eq!(cluster.pods.len(), 30);
    assert!(cluster.pods.iter().all(|pod| pod.node == 0));
}

#[test]
fn a_rotation_writes_each_secret_of_a_share_once() {
    let phase = "  - {name: b, duration: 20s, happens: {what: rotate, secrets: app, share: 0.3, over: \
                 10s}}";
    let scenario = scenario(&[NOTHING, phase].concat());
    let cluster = Cluster::new(&scenario);
    let all = arrivals(&scenario, 1);

    let mut written = BTreeSet::new();
    let mut times = Vec::new();
    for arrival in &all {
        let What::Write(Secret { set: 0, index }) = arrival.what else { panic!("{arrival:?}") };
        assert!(written.insert(index));
        assert_eq!(cluster.pods[arrival.pod as usize].deployment, 0, "by those that read it");
        times.push((arrival.pod, arrival.at));
    }
    assert_eq!(all.len(), 30);
    assert!(evenly(&times, Duration::from_secs(10)));
    assert!(written.iter().any(|index| *index > 90) && written.contains(&0), "{written:?}");
    assert!(pods(&times).len() > 5, "by many");
}

#[test]
fn nothing_starts_in_an_outage() {
    let phases = "  - {name: b, duration: 5s, happens: {what: outage}}\n  - {name: c, duration: 5s, \
                  happens: {what: policy-change}}";
    let scenario = scenario(&[NOTHING, phases].concat());
    assert!(arrivals(&scenario, 1).is_empty() && arrivals(&scenario, 2).is_empty());
}
