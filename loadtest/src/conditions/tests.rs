use std::collections::BTreeMap;

use super::*;
use crate::result::{Kind, Latency, Phase, Target};

const PHASES: [&str; 3] = ["cold start", "steady", "half"];
const TARGETS: [&str; 3] = ["vaultlet", "bare", "openbao-proxy"];

fn target(name: &str, p99: f64) -> Target {
    let latency = Latency { count: 10, mean: 2.0, p50: 1.0, p90: 3.0, p99, p999: p99, max: 9e6 };
    let read = Kind {
        intended: 11,
        answered: 10,
        statuses: BTreeMap::from([(200, 8), (404, 1), (503, 1)]),
        broken: BTreeMap::from([("broken".to_owned(), 1)]),
        latency,
        ..Kind::default()
    };
    let phase = Phase {
        name: "steady".to_owned(),
        seconds: 2.0,
        kinds: BTreeMap::from([("read".to_owned(), read)]),
        upstream: BTreeMap::from([("kv-read".to_owned(), 6), ("login".to_owned(), 4)]),
        hit_ratio: Some(0.75),
        resident: Some(3 << 20),
        leases: Some(7),
        recovery_seconds: Some(1.5),
        ..Phase::default()
    };
    let half = Phase { name: "half".to_owned(), ..phase.clone() };
    Target { name: name.to_owned(), phases: vec![phase, half], ..Target::default() }
}

fn judged(text: &str, targets: Vec<Target>) -> Condition {
    let conditions = read(&[text.to_owned()], &PHASES, &TARGETS).expect(text);
    conditions[0].judge(&result::Result { targets, ..result::Result::default() })
}

/// vaultlet's p99 is 4 ms, the others' 1 ms and 40 ms.
fn three() -> Vec<Target> {
    vec![target("vaultlet", 4e3), target("bare", 1e3), target("openbao-proxy", 40e3)]
}

#[test]
fn every_figure_is_read_off_the_result() {
    for (text, measured) in [
        ("p50(steady) == 1us", "p50(steady) of vaultlet: 1.00 µs"),
        ("p90(steady) == 3 µs", "p90(steady) of vaultlet: 3.00 µs"),
        ("p99(steady) == 4ms", "p99(steady) of vaultlet: 4.00 ms"),
        ("p999(steady, read) == 4ms", "p999(steady, read) of vaultlet: 4.00 ms"),
        ("max(steady) == 9s", "max(steady) of vaultlet: 9.00 s"),
        ("mean(steady) == 2us", "mean(steady) of vaultlet: 2.00 µs"),
        ("rate(steady) == 5", "rate(steady) of vaultlet: 5/s"),
        ("errors(steady) * 11 == 3", "errors(steady) of vaultlet: 27 %"),
        ("availability(steady) < 73 %", "availability(steady) of vaultlet: 73 %"),
        ("hits(steady) == 75 %", "hits(steady) of vaultlet: 75 %"),
        ("upstream(steady) == 5", "upstream(steady) of vaultlet: 5/s"),
        ("upstream(steady, login) == 2", "upstream(steady, login) of vaultlet: 2/s"),
        ("upstream(steady, renew) == 0", "upstream(steady, renew) of vaultlet: 0/s"),
        ("leases(steady) == 7", "leases(steady) of vaultlet: 7"),
        ("recovery(steady) == 1.5s", "recovery(steady) of vaultlet: 1.50 s"),
        ("resident(steady) == 3MiB", "resident(steady) of vaultlet: 3.00 MiB"),
    ] {
        let condition = judged(text, three());
        assert_eq!((condition.came_true, &*condition.measured), (Some(true), measured), "{text}");
    }
}

#[test]
fn truths_and_amounts_are_put_together_as_in_arithmetic() {
    for (text, came_true) in [
        ("p99(steady) > 5ms", false),
        ("p99(steady) >= 4ms", true),
        ("p99(steady) != 4ms", false),
        ("p99(steady) <= 4ms and p50(steady) < 1ms", true),
        ("leases(steady) == 1 or leases(steady) == 7 and leases(steady) == 8", false),
        ("(leases(steady) == 7 or leases(steady) == 1) and leases(half) == 7", true),
        ("1 + 2 * 3 == leases(steady)", true),
        ("(1 + 2) * 3 == leases(steady) + 2", true),
        ("8 - 2 - 1 == leases(steady) - 2", true),
        ("p99(steady) / 2 > 1ms + 900us", true),
        ("p99(steady) / p50(half) == 4000", true),
        ("vaultlet.p99(half) / bare.p99(half) > 1.25", true),
        ("openbao-proxy.p99(half) < \"vaultlet\".p99(\"half\")", false),
    ] {
        assert_eq!(judged(text, three()).came_true, Some(came_true), "{text}");
    }
}

#[test]
fn without_a_name_it_is_vaultlet_or_else_any() {
    let text = "p99(steady) > 5ms";
    assert_eq!(judged(text, three()).came_true, Some(false));
    let others = judged(text, three().split_off(1));
    assert_eq!(others.came_true, Some(true));
    assert_eq!(
        others.measured,
        "p99(steady) of bare: 1.00 ms, p99(steady) of openbao-proxy: 40.0 ms"
    );
}

#[test]
fn a_figure_that_is_not_there_decides_nothing() {
    for (text, why) in [
        (
            "leases(steady) == 7 or p99(steady, login) > 1s",
            "p99(steady, login) of vaultlet: no request of kind login was answered; \
             kinds of this phase: read",
        ),
        ("cpu(steady) > 1us", "cpu(steady) of vaultlet: this target does not say"),
        (
            "p99(\"cold start\") > 1s",
            "p99(cold start) of vaultlet: the run has nothing of this phase; see how it ended",
        ),
        ("1 / (leases(steady) - 7) > 1", "it divides by a figure that is 0"),
    ] {
        let condition = judged(text, three());
        assert_eq!((condition.came_true, &*condition.measured), (None, why), "{text}");
    }
    assert_eq!(judged("p99(steady) > 5ms", Vec::new()).came_true, None);
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_was_expected() {
    for (text, problem) in [
        ("", "character 1: expected a figure as p99(steady), a number as 5ms, or ("),
        ("p99(stedy) > 5ms", "character 5: there is no phase \"stedy\"; did you mean steady?"),
        ("p98(steady) > 5ms", "character 1: there is no figure \"p98\"; did you mean p90?"),
        (
            "valtlet.p99(steady) > 5ms",
            "character 1: there is no target \"valtlet\"; did you mean vaultlet?",
        ),
        (
            "p99(x) > 5ms",
            "character 5: there is no phase \"x\"; expected one of cold start, steady, half",
        ),
        (
            "p99(steady, raed) > 5ms",
            "character 13: there is no kind of requests \"raed\"; did you mean read?",
        ),
        ("hits(steady, read) > 5", "character 14: hits is of all requests; leave the kind out"),
        (
            "p99(steady) > 5",
            "character 15: expected a time, as 5ms here, as on the left, not a number without a \
             unit, or a share",
        ),
        ("p99(steady) > 5mss", "character 16: there is no unit \"mss\"; did you mean ms?"),
        (
            "p99(steady)",
            "character 12: this says how much, not whether; expected a comparison, as `> 5ms`",
        ),
        (
            "p99(steady) and hits(steady) < 1",
            "character 1: expected a comparison on each side of and, or",
        ),
        ("(p99(steady) > 5ms", "character 19: expected ) (as many of these as there are ()"),
        ("p99(steady) > 5ms 7", "character 19: expected and, or, an operator, or the end"),
        ("1 < hits(steady) < 2", "character 18: a second comparison; write `a < b and b < c`"),
        ("p99 > 5ms", "character 5: expected ( (a phase, as in p99(steady))"),
        ("p99(\"steady) > 5ms", "character 5: this quote does not end; expected another \""),
        ("hits(steady) > 1.2.3", "character 16: \"1.2.3\" is no number; write it as 12 or 0.5"),
        (
            "hits(steady) ≥ 1",
            "character 14: '≥' means nothing here; write names in quotes if need be",
        ),
        (
            "(hits(steady) > 1) + 1 > 2",
            "character 1: a comparison has no size; expected a figure or number",
        ),
    ] {
        let problems = read(&[text.to_owned()], &PHASES, &TARGETS).expect_err(text);
        assert_eq!(problems, format!("condition '{text}': {problem}"));
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let texts = ["p9(steady) > 1ms", "hits(steady) > 0", "hits(steady)"].map(str::to_owned);
    let problems = read(&texts, &PHASES, &TARGETS).expect_err("two are wrong");
    assert_eq!(problems.lines().count(), 2, "{problems}");
}

#[test]
fn it_says_which_of_its_targets_is_missing() {
    let text = "vaultlet.p99(half) / bare.p99(half) > 1.25".to_owned();
    let conditions = read(&[text], &PHASES, &TARGETS).expect("it makes sense");
    assert_eq!(conditions[0].lacks(&["vaultlet"]), Some("bare"));
    assert_eq!(conditions[0].lacks(&TARGETS), None);
}
