//! `vaultlet-loadtest check`, from outside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const RIGHT: &str = "
name: small
world:
  secrets: [{name: app, count: 3}]
  deployments: [{name: api, pods: 2, reads: [{secrets: app, at_start: 3, every: 100ms}]}]
phases:
  - {name: full, duration: 1s, arrivals: {saturate: 2}}
  - {name: some, duration: 500ms, arrivals: {rate: 1000}}
  - {name: log, arrivals: {replay: access.log}}
";
const LOG: &str = "garbage
{\"time\": 3, \"method\": \"GET\", \"path\": \"/v1/kv2/data/app/000001\"}
{\"time\": 5, \"method\": \"GET\", \"path\": \"/v1/kv2/data/app/000002\"}
";

/// What it says of these files, in a directory of their own.
fn check(files: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet-loadtest"));
    let Output { status, stdout, stderr } =
        command.arg("check").args(arguments).current_dir(&directory).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_scenario_that_is_right_is_one_line() {
    let files = [("a.yaml", RIGHT), ("access.log", LOG)];
    let (code, said, beside) = check(&files, &["a.yaml"]);

    assert_eq!(code, Some(0), "{beside}");
    // 2 pods read 3 secrets each, 1000/s for half a second, and 2 lines of a log.
    let expected = "a.yaml: 1 node, 2 pods, 3 secrets, 3 phases of 4500ms in all, about 508 \
                    requests, and in one phase as many as are answered\n";
    assert_eq!(said, expected);
    assert!(beside.starts_with("access.log: 1 of 3 lines cannot be read"), "{beside}");
}

#[test]
fn all_that_is_wrong_with_all_of_them_is_said() {
    let wrong = RIGHT.replace("count: 3", "cout: 3").replace("rate: 1000", "rate: 0");
    let files = [("a.yaml", RIGHT), ("access.log", LOG), ("b.yaml", &wrong)];
    let (code, said, beside) = check(&files, &["b.yaml", "a.yaml", "c.yaml"]);

    assert_eq!(code, Some(2));
    assert!(said.starts_with("a.yaml: 1 node"), "{said}");
    for line in [
        "b.yaml:4:25: world.secrets.0.cout: unknown key; did you mean `count`?",
        "b.yaml:5:71: world.deployments.0.reads.0.at_start: the set has 1; read fewer, or make its \
         `count` larger",
        "b.yaml:8:52: phases.1.arrivals.rate: expected a number from 0.001 to 5000000, found 0; \
         requests a second, as `rate: 500`",
        "c.yaml: cannot be read: No such file or directory (os error 2); name a YAML file that \
         this user can read",
    ] {
        assert!(beside.lines().any(|said| said == line), "{line}\n{beside}");
    }
    assert_eq!(check(&[], &[]).0, Some(2), "no file");
}

#[test]
fn the_documentation_shows_what_is_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/load-tests.md")).unwrap();
    let (_, command) = page.split_once("$ vaultlet-loadtest ").unwrap();
    let mut lines = command.lines();
    let arguments = lines.next().unwrap().split(' ');

    let program = env!("CARGO_BIN_EXE_vaultlet-loadtest");
    let said = Command::new(program).args(arguments).current_dir(root).output().unwrap();

    assert_eq!(String::from_utf8(said.stdout).unwrap().trim_end(), lines.next().unwrap());
}
