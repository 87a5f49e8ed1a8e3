use std::path::Path;

use super::*;
use crate::scenario;

fn scenario(conditions: &[&str]) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/steady.yaml");
    let mut scenario = scenario::read(&path).expect("a scenario");
    scenario.fail_if = conditions.iter().map(|&text| text.to_owned()).collect();
    scenario
}

fn outcome(conditions: &[&str]) -> Outcome {
    let fail_if = conditions.iter().map(|&text| text.to_owned()).collect();
    Outcome { fail_if, ..Outcome::default() }
}

#[test]
fn a_scenario_may_be_about_targets_that_this_run_does_not_have() {
    let scenario = scenario(&["p99(steady) > 5ms", "vaultlet.p99(steady) > bare.p99(steady)"]);
    let conditions = outcome(&["p50(steady) > 1ms"]).conditions(&scenario, &["vaultlet"]);
    let kept: Vec<String> = conditions.expect("read").iter().map(ToString::to_string).collect();
    assert_eq!(kept, ["p99(steady) > 5ms", "p50(steady) > 1ms"]);
}

#[test]
fn a_command_line_may_not() {
    let told = outcome(&["bare.p99(steady) > 1ms"]).conditions(&scenario(&[]), &["vaultlet"]);
    let problem = told.expect_err("bare is not there");
    assert!(problem.contains("there is no target \"bare\"; expected one of vaultlet"), "{problem}");
}

#[test]
fn it_fails_if_a_condition_comes_true_or_cannot_be_decided() {
    let measured = |interrupted: Option<&str>| Measured {
        targets: vec![result::Target {
            name: "vaultlet".to_owned(),
            phases: vec![result::Phase {
                name: "steady".to_owned(),
                leases: Some(7),
                ..result::Phase::default()
            }],
            ..result::Target::default()
        }],
        interrupted: interrupted.map(str::to_owned),
        ..Measured::default()
    };
    let deliver = |text: &str, interrupted| {
        let outcome = outcome(&[text]);
        let conditions = outcome.conditions(&scenario(&[]), &["vaultlet"]).expect(text);
        outcome.deliver(measured(interrupted), &conditions)
    };
    assert_eq!(deliver("leases(steady) > 7", None), ExitCode::SUCCESS);
    assert_eq!(deliver("leases(steady) > 6", None), ExitCode::from(1));
    assert_eq!(deliver("p99(steady) > 1ms", None), ExitCode::from(1));
    assert_eq!(deliver("leases(steady) > 7", Some("Ctrl-C")), ExitCode::from(1));
}

#[test]
fn what_was_measured_is_written_with_its_verdicts() {
    let directory = tempfile::tempdir().expect("a directory");
    let (out, html) = (directory.path().join("r.json"), directory.path().join("r.html"));
    let mut outcome = outcome(&[]);
    outcome.out = Some(out.clone());
    outcome.html = Some(html.clone());
    let targets = vec![result::Target { name: "vaultlet".to_owned(), ..result::Target::default() }];
    let code = outcome.deliver(Measured { targets, ..Measured::default() }, &[]);
    assert_eq!(code, ExitCode::SUCCESS);
    let written = Measured::read(&out).expect("a result");
    assert_eq!((written.version, written.objectives.len()), (result::VERSION, 4));
    assert!(std::fs::read_to_string(&html).expect("a page").ends_with("</html>\n"));

    outcome.html = Some(directory.path().join("missing/r.html"));
    assert_eq!(outcome.deliver(written, &[]), ExitCode::from(1));
}
