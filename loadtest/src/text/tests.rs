use super::*;
use crate::result::{Condition, Generator, Kind, Latency, Phase};

fn result() -> Measured {
    let latency = Latency { count: 100, p50: 160.0, p99: 387.0, ..Latency::default() };
    let read = Kind {
        intended: 101,
        answered: 100,
        statuses: [(200, 100)].into(),
        broken: [("broken".to_owned(), 1)].into(),
        latency,
        ..Kind::default()
    };
    let steady = Phase {
        name: "steady".to_owned(),
        seconds: 10.0,
        kinds: [("read".to_owned(), read)].into(),
        upstream: [("kv-read".to_owned(), 34)].into(),
        hit_ratio: Some(0.66),
        ..Phase::default()
    };
    let mut without = steady.clone();
    without.upstream = [("kv-read".to_owned(), 100)].into();
    let target = |name: &str, phase: Phase| Target {
        name: name.to_owned(),
        phases: vec![phase],
        ..Target::default()
    };
    let mut result = Measured {
        targets: vec![target("vaultlet", steady), target("direct", without)],
        conditions: vec![Condition {
            text: "p99(steady) > 300us".to_owned(),
            came_true: Some(true),
            measured: "p99(steady) of vaultlet: 387 µs".to_owned(),
        }],
        ..Measured::default()
    };
    result.scenario.name = "steady\u{1b}[2J".to_owned();
    result.objectives = crate::objectives::of(&result.targets);
    result
}

#[test]
fn columns_are_aligned_and_nothing_steers_the_terminal() {
    let expected = "\
steady\u{fffd}[2J: 0 nodes, 0 pods, 0 secrets
1 condition to fail came true. vaultlet missed 2 of 2 objectives: retrieval, availability. The \
upstream was asked 3.40 times a second instead of 10: 2.94 times less often.

phase   target    answers/s     p50     p99  failed  hits  upstream/s  CPU each  memory
steady  vaultlet         10  160 µs  387 µs       1  66 %        3.40         -       -
steady  direct           10  160 µs  387 µs       1  66 %          10         -       -

target    objective                                                measured
vaultlet  retrieval: 99 % of reads within 50 ms            missed  0 % of 100
vaultlet  availability: 99.99 % of requests answered well  missed  99.01 % of 101
direct    retrieval: 99 % of reads within 50 ms            missed  0 % of 100
direct    availability: 99.99 % of requests answered well  missed  99.01 % of 101

fails if                  measured
p99(steady) > 300us  yes  p99(steady) of vaultlet: 387 µs
";
    assert_eq!(summary(&result(), false), expected);
}

#[test]
fn what_is_bad_is_coloured_where_colours_are_wanted() {
    let mut result = result();
    result.targets[0].generator =
        Generator { bottleneck: Some("it was\u{7} slow".to_owned()), ..Generator::default() };
    let text = summary(&result, true);
    assert!(
        text.contains("\u{1b}[31mMind: while vaultlet was measured, it was\u{fffd} slow\u{1b}[0m")
    );
    assert!(text.contains("\u{1b}[31mmissed\u{1b}[0m"), "{text}");
    assert!(!text.contains("\u{1b}[2J"));
}
