//! Does `report` print, write, refuse and exit as it says?

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn report(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vaultlet-loadtest"))
        .arg("report")
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn sample() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sample.json").to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn a_summary_in_a_pipe_is_plain() {
    let output = report(&[&sample()]);
    assert_eq!(output.status.code(), Some(0));
    let summary = text(&output.stdout);
    assert!(summary.starts_with("Monday morning <all at once>: 10 nodes, 200 pods, 500 secrets\n"));
    assert!(summary.contains("\nvaultlet       availability: 99.99 % of requests answered well"));
    assert!(!summary.contains('\u{1b}'), "{summary}");
}

#[test]
fn the_schema_is_json_and_says_what_a_result_needs() {
    let output = report(&["--schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(schema["properties"]["targets"].is_object());
    assert!(schema["required"].as_array().is_some_and(|names| names.contains(&"version".into())));
}

#[test]
fn mistakes_of_the_user_are_2_and_failures_1() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| -> String {
        let path: PathBuf = directory.path().join(name);
        path.to_str().expect("a plain name").to_owned()
    };
    fs::write(at("old.json"), "{\"version\": 0}").expect("written");
    for (arguments, code, says) in [
        (vec![], 2, "RESULT.json"),
        (vec![at("none.json")], 2, "none.json: cannot be read: No such file"),
        (vec![at("old.json")], 2, "old.json: a result of version 0, and this program reads"),
        (
            vec![sample(), "--html".to_owned(), at("no/page.html")],
            1,
            "page.html: cannot be written",
        ),
        (vec![sample(), "--schema".to_owned()], 2, "cannot be used with"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = report(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
