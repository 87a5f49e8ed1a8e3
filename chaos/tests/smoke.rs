//! Does the bench itself work? Short runs against real servers, and what is no run at all.
//!
//! `make tools` installs OpenBao; vaultlet is the one beside this program, which
//! `cargo test --workspace` builds.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

fn chaos(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet-chaos"));
    // Servers are looked for from the root of the clone.
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command.args(arguments.split(' ')).output().unwrap()
}

/// The verdicts, whatever they are.
fn verdicts(output: &Output) -> Vec<Value> {
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether a demand was met.
fn kept(verdict: &Value, what: &str) -> bool {
    let mut demands = verdict["demands"].as_array().unwrap().iter();
    demands.any(|demand| demand["what"] == what && demand["met"] == true)
}

/// How quick an answer is says nothing on a machine that is busy with other tests.
fn met(verdict: &Value) -> bool {
    let demands = verdict["demands"].as_array().unwrap();
    let timed = |what: &Value| {
        what.as_str().unwrap().contains("ms") || what.as_str().unwrap().contains("sent during")
    };
    demands.iter().all(|demand| demand["met"] == true || timed(&demand["what"]))
}

#[test]
fn cached_reads_outlive_the_upstream() {
    let output = chaos("outage --fault refused --rate 200 --seconds 3 --hot 20");

    let said = String::from_utf8_lossy(&output.stderr);
    let [verdict] = &verdicts(&output)[..] else { panic!("{said}") };
    assert!(met(verdict), "{said}");
    assert!(kept(verdict, "cached reads that failed"));
    assert_eq!(output.status.success(), verdict["met"] == true);
}

#[test]
fn answers_are_not_mixed_up() {
    let output = chaos("crosstalk --requests 4000 --connections 20 --identities 8");

    let said = String::from_utf8_lossy(&output.stderr);
    let [verdict] = &verdicts(&output)[..] else { panic!("{said}") };
    assert!(met(verdict), "{said}");
    assert!(kept(verdict, "answers with another's nonce"));
}

#[test]
fn wrong_arguments_are_refused() {
    for wrong in ["", "outage --fault nothing", "crosstalk --cancel 2", "soak --minutes 0"] {
        let output = chaos(wrong);

        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(output.stdout.is_empty());
    }
}
