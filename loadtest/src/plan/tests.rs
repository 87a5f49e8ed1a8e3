use std::collections::BTreeMap;

use tokio::time::Instant;

use super::*;
use crate::model::Upstream;
use crate::scenario;

fn scenario(text: &str) -> Scenario {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    scenario::read(file.path()).unwrap()
}

/// Ten pods of one service account read one secret each second, for a minute.
const ONE_SECRET: &str = "
name: one-secret
seed: 7
vaultlet: {cache.kv.ttl: 10s}
world:
  nodes: 1
  credential: service-account
  token_ttl: 1h
  secrets: [{name: app, engine: kv2, count: 1, bytes: 500B}]
  deployments: [{name: api, pods: 10, reads: [{secrets: app, every: 1s}]}]
phases:
  - {name: steady, duration: 60s, arrivals: {factor: 1, spacing: even}}
";

fn upstream() -> Upstream {
    Book::shipped().unwrap().upstream(None, 1.0)
}

fn played(text: &str, vaultlet: bool) -> Played {
    play(&scenario(text), vaultlet, upstream(), &CancellationToken::new()).unwrap()
}

fn without_zeros(upstream: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let some = upstream.iter().filter(|(_, requests)| **requests > 0);
    some.map(|(kind, requests)| (kind.as_str(), *requests)).collect()
}

#[test]
fn without_vaultlet_the_upstream_gets_what_is_sent() {
    let played = played(ONE_SECRET, false);

    let phase = &played.target.phases[0];
    assert_eq!(phase.kinds["read"].answered, 600);
    assert_eq!(phase.kinds["read"].statuses, BTreeMap::from([(200, 600)]));
    // The pods logged in before the phase.
    assert_eq!(without_zeros(&phase.upstream), [("kv-read", 600)]);
    assert_eq!(phase.hit_ratio, None);
}

#[test]
fn with_vaultlet_the_upstream_gets_what_its_code_asks() {
    let played = played(ONE_SECRET, true);

    let phase = &played.target.phases[0];
    let read = &phase.kinds["read"];
    assert_eq!(read.statuses, BTreeMap::from([(200, 600)]));
    // One read for all to begin with, and from then on one whenever four fifths of ten seconds are
    // over and somebody reads: at 8, 16, ... 56 s.
    assert_eq!(phase.upstream["kv-read"], 1 + 7, "{:?}", phase.upstream);
    // Whoever was there first waited for the login, the mount and the secret; who came meanwhile
    // waited with it.
    assert_eq!(phase.upstream["login"], 1);
    let cached = |how: &str| read.cached.get(how).copied().unwrap_or_default();
    assert_eq!(cached("hit") + cached("miss") + cached("stale"), 600, "{:?}", read.cached);
    assert!(phase.hit_ratio.unwrap() > 0.97, "{:?}", phase.hit_ratio);
}

#[test]
fn the_same_seed_plays_the_same() {
    let text = &ONE_SECRET.replace("spacing: even", "spacing: poisson");
    let (one, other) = (played(text, true), played(text, true));

    assert_eq!(one.target.phases, other.target.phases);
    assert_ne!(one.target.phases, played(&text.replace("seed: 7", "seed: 8"), true).target.phases);
}

#[test]
fn an_hour_takes_seconds() {
    let text = &ONE_SECRET.replace("duration: 60s", "duration: 1h");
    let began = Instant::now();

    let played = played(text, true);

    assert_eq!(played.target.phases[0].kinds["read"].answered, 36_000);
    assert!(began.elapsed().as_secs() < 120, "{:?}", began.elapsed());
}

#[test]
fn a_cluster_is_as_many_nodes_as_it_has() {
    let question = Question { nodes: vec![1, 1000], cores: None, book: Book::shipped().unwrap() };
    let plan = predict(&scenario(ONE_SECRET), &question, &CancellationToken::new()).unwrap();

    let [one, many] = &plan.rows[..] else { panic!("{plan:?}") };
    assert_eq!((one.nodes, one.pods, many.nodes, many.pods), (1, 10, 1000, 10_000));
    let reads = |demand: &Demand| demand.per_second["kv-read"];
    assert!((reads(&one.without) - 10.0).abs() < 1e-9);
    assert!((reads(&many.without) - 10_000.0).abs() < 1e-6);
    assert!((reads(&many.with) / reads(&one.with) - 1000.0).abs() < 50.0, "{plan:?}");
    assert!(many.without.cores > 100.0 * one.with.cores);
    assert!(one.with.resident.unwrap() > 1 << 20 && one.without.resident.is_none());
}
