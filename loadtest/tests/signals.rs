//! Is nothing left behind, whenever a signal comes, and is what was finished kept?
//!
//! `make tools` installs what it needs; vaultlet is the one beside this program.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Each takes both cores of a small machine: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

const SCENARIO: &str = "
name: test
world:
  credential: token
  secrets: [{name: app, engine: kv2, count: 10, bytes: 300B}]
  roles: [{name: orders, ttl: 1m}]
  deployments:
    - name: api
      pods: 2
      reads: [{secrets: app, at_start: 2, every: 40ms}]
      leases: [orders]
phases:
  - {name: start, duration: 1s, happens: {what: cold-start}, arrivals: {factor: 1}}
";

#[test]
fn nothing_is_left_of_what_was_being_started() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let compare = ["compare", "scenario.yaml", "--targets", "vaultlet", "--out", "out.json"];
    let verify = ["plan", "scenario.yaml", "--nodes", "1", "--verify", "--out", "out.json"];
    let calibrate = ["plan", "--calibrate", "out.json"];
    for (arguments, at, signals) in [
        (&compare[..], "postgres", &[Signal::HUP][..]),
        (&compare, "postgres", &[Signal::TERM, Signal::TERM]),
        (&compare, "bao", &[Signal::INT]),
        (&compare, "bao", &[Signal::INT, Signal::HUP]),
        (&compare, "vaultlet", &[Signal::TERM]),
        (&compare, "vaultlet", &[Signal::INT, Signal::INT, Signal::INT]),
        (&verify, "bao", &[Signal::INT, Signal::INT]),
        (&calibrate, "bao", &[Signal::INT]),
    ] {
        let folder = folder();
        let mut running = Running::start(&folder, arguments);
        running.wait_for(at);

        for signal in signals {
            running.send(*signal);
        }
        let (code, said) = running.end();

        assert_eq!(code, Some(1), "{arguments:?} {at} {signals:?}: {said}");
        assert!(said.contains("it was interrupted"), "{arguments:?} {at} {signals:?}: {said}");
        assert_eq!(running.left(), Vec::<String>::new(), "{arguments:?} {at} {signals:?}");
    }
}

#[test]
fn what_was_verified_before_the_signal_is_kept() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    let arguments = ["plan", "scenario.yaml", "--nodes", "1,50", "--verify", "--out", "out.json"];
    let mut running = Running::start(&folder, &arguments);
    // The server by itself comes first, and is done.
    running.wait_for("vaultlet");

    running.send(Signal::INT);
    let (code, said) = running.end();

    assert_eq!(code, Some(1), "{said}");
    assert_eq!(running.left(), Vec::<String>::new());
    let result = fs::read(folder.path().join("out.json")).unwrap();
    let result: Value = serde_json::from_slice(&result).unwrap();
    assert_eq!(result["interrupted"], "it was interrupted");
    assert_eq!(result["plan"]["rows"].as_array().unwrap().len(), 2);
    assert_eq!(result["targets"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(result["targets"][0]["name"], "direct");
    let checks = result["plan"]["checks"].as_array().unwrap();
    assert!(!checks.is_empty(), "{said}");
    assert!(checks.iter().all(|it| it["figure"].as_str().unwrap().starts_with("direct: ")));
}

/// A model has files too.
#[test]
fn a_plan_leaves_no_files() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (folder, files) = (folder(), TempDir::new().unwrap());
    let long = SCENARIO.replace("duration: 1s", "duration: 24h");
    fs::write(folder.path().join("scenario.yaml"), long).unwrap();
    let there = || fs::read_dir(&files).unwrap().count();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet-loadtest"));
    command.args(["plan", "scenario.yaml"]).current_dir(&folder).env("TMPDIR", files.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while there() == 0 {
        assert_eq!(child.try_wait().unwrap(), None);
    }

    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }

    assert_eq!((child.wait().unwrap().code(), there()), (Some(1), 0));
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("scenario.yaml"), SCENARIO).unwrap();
    folder
}

/// The program, and all that it was seen to have started.
struct Running {
    child: Child,
    /// By process: its name and directory.
    started: BTreeMap<u32, (String, PathBuf)>,
}

impl Running {
    fn start(folder: &TempDir, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet-loadtest"));
        command.args(arguments).current_dir(folder);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (variable, installed) in
            [("BAO_BIN", ".tools/bin/bao"), ("POSTGRES_BIN", ".tools/postgres/bin")]
        {
            if std::env::var_os(variable).is_none() {
                command.env(variable, root.join(installed));
            }
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), started: BTreeMap::new() }
    }

    fn look(&mut self) {
        let mut parents = vec![self.child.id()];
        while let Some(parent) = parents.pop() {
            let threads = fs::read_dir(format!("/proc/{parent}/task"));
            for thread in threads.into_iter().flatten().flatten() {
                let children =
                    fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                for child in children.split_whitespace() {
                    let name = fs::read_to_string(format!("/proc/{child}/comm"));
                    let place = fs::read_link(format!("/proc/{child}/cwd"));
                    let child = child.parse().unwrap();
                    parents.push(child);
                    if let (Ok(name), Ok(place)) = (name, place) {
                        self.started.insert(child, (name.trim().to_owned(), place));
                    }
                }
            }
        }
    }

    /// Until it has started a program of this name.
    fn wait_for(&mut self, name: &str) {
        while !self.started.values().any(|(started, _)| started == name) {
            assert_eq!(self.child.try_wait().unwrap(), None, "{name}: {:?}", self.started);
            sleep(Duration::from_millis(2));
            self.look();
        }
    }

    fn send(&mut self, signal: Signal) {
        self.look();
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        // Two that come together are one.
        sleep(Duration::from_millis(5));
    }

    /// Its exit code, and what it said.
    fn end(&mut self) -> (Option<i32>, String) {
        let status = loop {
            self.look();
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
        };
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), said)
    }

    /// What is still there, which is ended here.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (pid, (name, place)) in &self.started {
            let now = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if now.trim() == name {
                left.push(format!("{name} ({pid})"));
                let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
            }
            // A server's directory is its own, but for programs that run in this one's.
            if name == "bao" && place.exists() {
                left.push(place.display().to_string());
            }
        }
        left
    }
}
