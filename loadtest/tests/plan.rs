//! `vaultlet-loadtest plan`, from outside: nothing is started for it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const RIGHT: &str = "
name: small
vaultlet: {cache.kv.ttl: 10s}
world:
  nodes: 2
  credential: service-account
  secrets: [{name: app, count: 3}]
  deployments: [{name: api, pods: 2, reads: [{secrets: app, at_start: 3, every: 100ms}]}]
phases:
  - {name: start, duration: 5s, happens: {what: cold-start, over: 1s}}
  - {name: some, duration: 30s, arrivals: {factor: 1}}
";

const LIMIT: &str = "
name: limit
world:
  secrets: [{name: app, count: 3}]
  deployments: [{name: api, pods: 2, reads: [{secrets: app, every: 100ms}]}]
phases: [{name: full, duration: 1s, arrivals: {saturate: 2}}]
";

/// What it says, in a directory with these files, and what it has written there as `out.json`.
fn plan(arguments: &[&str]) -> (Option<i32>, String, Option<Value>) {
    let directory = TempDir::new().unwrap();
    for (name, text) in [("right.yaml", RIGHT), ("limit.yaml", LIMIT), ("costs.json", "{}")] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet-loadtest"));
    command.arg("plan").args(arguments).current_dir(&directory);
    let Output { status, stderr, .. } = command.output().unwrap();
    let written = fs::read(directory.path().join("out.json")).ok();
    let written = written.map(|text| serde_json::from_slice(&text).unwrap());
    (status.code(), String::from_utf8(stderr).unwrap(), written)
}

#[test]
fn a_plan_has_a_row_for_each_phase_and_size() {
    let (code, beside, result) = plan(&["right.yaml", "--nodes", "2,500", "--out", "out.json"]);

    assert_eq!(code, Some(0), "{beside}");
    let result = result.unwrap();
    let rows = result["plan"]["rows"].as_array().unwrap();
    let is =
        |row: &Value| (row["nodes"].as_u64().unwrap(), row["phase"].as_str().unwrap().to_owned());
    let expected = [(2, "start"), (2, "some"), (500, "start"), (500, "some")];
    let expected = expected.map(|(nodes, phase)| (nodes, phase.to_owned()));
    assert_eq!(rows.iter().map(is).collect::<Vec<_>>(), expected);
    let reads = |row: usize, side: &str| rows[row][side]["per_second"]["kv-read"].as_f64().unwrap();
    // Two nodes, two pods each, ten reads a second, give or take.
    assert!((reads(1, "without") - 40.0).abs() < 8.0, "{}", rows[1]);
    assert!((reads(3, "without") - 10_000.0).abs() < 2000.0, "{}", rows[3]);
    assert!(reads(1, "with") < reads(1, "without") / 10.0, "{}", rows[1]);
}

#[test]
fn conditions_are_about_what_is_predicted() {
    for (condition, expected) in [("hits(some) < 90%", 0), ("hits(some) > 90%", 1)] {
        let (code, beside, _) = plan(&["right.yaml", "--nodes", "2", "--fail-if", condition]);

        assert_eq!(code, Some(expected), "{condition}: {beside}");
        assert!(!beside.contains("2 nodes played"), "{beside}");
    }
    let (_, beside, _) = plan(&["right.yaml", "--nodes", "2,9", "--fail-if", "leases(some) > 1"]);
    assert!(beside.contains("conditions are about the 2 nodes played, not"), "{beside}");
}

#[test]
fn whoever_closes_the_pipe_has_seen_enough() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("right.yaml"), RIGHT).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet-loadtest"));
    command.args(["plan", "right.yaml", "--nodes", "1"]).current_dir(&directory);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn what_is_given_wrong_is_said() {
    for (arguments, expected) in [
        (&["none.yaml"][..], "none.yaml"),
        (&["limit.yaml"], "looks for the limit of a server"),
        (&["right.yaml", "--costs", "costs.json"], "costs.json: missing field"),
        (&["right.yaml", "--costs", "none.json"], "none.json cannot be read"),
        (&["right.yaml", "--nodes", "0"], "0 is not in 1..=1000000"),
        (&["right.yaml", "--cores=-1"], "a number of cores"),
        (&["right.yaml", "--out", "none/out.json"], "--out none/out.json: cannot be written"),
        (&["right.yaml", "--html", "none/page.html"], "--html none/page.html: cannot be written"),
        (&["--calibrate", "none/costs.json"], "--calibrate none/costs.json: cannot be written"),
        (&[], "SCENARIO"),
    ] {
        let (code, beside, _) = plan(arguments);

        assert_eq!(code, Some(2), "{arguments:?}: {beside}");
        assert!(beside.contains(expected), "{arguments:?}: {beside}");
    }
}
