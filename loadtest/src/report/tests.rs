use super::*;
use crate::objectives;
use crate::result::{Check, Condition, Kind, Latency, Phase, PlanRow, Second};

fn sample() -> Measured {
    serde_json::from_str(include_str!("../../tests/sample.json")).expect("a result")
}

#[test]
fn the_sample_is_one_that_the_program_could_write() {
    let sample = sample();
    assert_eq!(sample.version, result::VERSION);
    assert_eq!(objectives::of(&sample.targets), sample.objectives);
}

#[test]
fn a_page_fetches_nothing_and_runs_nothing() {
    let page = page(&sample()).to_lowercase();
    for forbidden in [
        "<script", "<iframe", "<img", "<object", "@import", "url(", "http:", "https:", " on",
        "src=",
    ] {
        let at = page.find(forbidden).map(|at| &page[at..page.len().min(at + 60)]);
        // Words may begin with `on`; attributes have a value.
        let at = at.filter(|at| {
            forbidden != " on" || at.split(' ').nth(1).is_some_and(|word| word.contains("=\""))
        });
        assert_eq!(at, None);
    }
    assert_eq!(page.matches("<link").count(), 1, "the icon, which is empty");
}

#[test]
fn text_of_others_is_text() {
    let evil = "\"><script>alert(1)</script>&'\u{7}".to_owned();
    let latency = Latency { count: 1, p50: 1.0, max: 2.0, ..Latency::default() };
    let kind = Kind {
        latency,
        broken: [(evil.clone(), 1)].into(),
        cached: [(evil.clone(), 1)].into(),
        ..Kind::default()
    };
    let phase = Phase {
        name: evil.clone(),
        seconds: 1.0,
        kinds: [("read".to_owned(), kind)].into(),
        hit_ratio: Some(0.5),
        ..Phase::default()
    };
    let mut target = Target {
        name: evil.clone(),
        phases: vec![phase],
        seconds: vec![Second {
            answered: 1,
            failed: 1,
            upstream: Some(1),
            p50: 1.0,
            p99: 2.0,
            ..Second::default()
        }],
        ..Target::default()
    };
    target.generator.bottleneck = Some(evil.clone());
    let plan = result::Plan {
        costs_from: evil.clone(),
        unit_costs: [(evil.clone(), 1.0)].into(),
        rows: vec![PlanRow { phase: evil.clone(), nodes: 1, ..PlanRow::default() }],
        checks: vec![Check { phase: evil.clone(), figure: evil.clone(), ..Check::default() }],
    };
    let mut result = Measured {
        began: evil.clone(),
        machine: evil.clone(),
        objectives: objectives::of(&[target.clone()]),
        targets: vec![target.clone(), target],
        plan: Some(plan),
        conditions: vec![Condition { text: evil.clone(), came_true: None, measured: evil.clone() }],
        interrupted: Some(evil.clone()),
        ..Measured::default()
    };
    result.scenario.name.clone_from(&evil);
    result.scenario.about = evil;

    let page = page(&result);

    assert!(!page.contains("<script"));
    assert!(!page.contains('\u{7}'));
    let shown = page.matches("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#39;").count();
    assert!(shown > 20, "{shown}");
}

#[test]
fn a_run_of_nothing_has_a_page() {
    for result in [
        Measured::default(),
        Measured { targets: vec![Target::default(); 2], ..Measured::default() },
    ] {
        let page = page(&result);
        assert!(page.ends_with("</html>\n"));
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}

#[test]
fn a_day_of_seconds_is_drawn_with_as_many_points_as_there_are_pixels() {
    let mut result = sample();
    for target in &mut result.targets {
        target.seconds =
            target.seconds.iter().flat_map(|second| vec![second.clone(); 640]).collect();
    }
    let page = page(&result);
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    assert!(page.contains("Each point is the largest of 133 seconds."));
}

#[test]
fn usual_targets_have_the_same_colour_in_every_page() {
    let targets = ["http://a", "bare", "vaultlet", "http://b"]
        .map(|name| Target { name: name.to_owned(), ..Target::default() });
    assert_eq!(colours(&targets), ["t1", "t4", "t0", "t2"]);
}
