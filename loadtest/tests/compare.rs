//! Does a comparison measure real servers, and end as it should?
//!
//! `make tools` installs what it needs; vaultlet and bare are those beside this program, which
//! `cargo test --workspace` builds.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Each takes both cores of a small machine: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

const WORLD: &str = "
name: test
world:
  nodes: 2
  credential: token
  secrets:
    - {name: app, engine: kv2, count: 10, bytes: 300B}
    - {name: flags, engine: kv1, count: 5, bytes: 100B}
  deployments:
    - name: api
      pods: 2
      reads:
        - {secrets: app, at_start: 10, every: 40ms}
        - {secrets: flags, at_start: 5, every: 40ms}
phases:
  - {name: start, duration: 2s, happens: {what: cold-start, over: 500ms}}
";

const STEADY: &str = "  - {name: steady, duration: 3s, arrivals: {factor: 1}}\n";
const QUIET: &str = "  - {name: quiet, duration: 500ms}\n";

#[test]
fn counts_add_up_on_every_target() {
    let folder = Folder::new(&[STEADY, QUIET]);

    let output = folder.compare(&["--targets", "direct,vaultlet,openbao-proxy,bare"]);

    let said = succeeded(&output);
    assert!(said.contains("vaultlet to direct: "), "{said}");
    let result = folder.result();
    for name in ["direct", "vaultlet", "openbao-proxy", "bare"] {
        let target = target(&result, name);
        for phase in target["phases"].as_array().unwrap() {
            for kind in phase["kinds"].as_object().unwrap().values() {
                assert_eq!(kind["answered"], kind["intended"], "{name}: {phase}");
                assert_eq!(kind["statuses"]["200"], kind["answered"], "{name}: {phase}");
            }
        }
        // 4 pods with 15 secrets each, and then 2 reads in 40 ms, for 3 seconds.
        let reads = sum(target, "/kinds/read/answered");
        assert!((590..=720).contains(&reads), "{name}: {reads}");
        let hits = sum(target, "/kinds/read/cached/hit");
        let asked = sum(target, "/upstream/kv-read");
        match name {
            // Each of its two has fetched each secret once, and again before its time was over.
            "vaultlet" => {
                assert!(hits >= reads - 60 && asked <= 60, "{hits} hits, {asked} of {reads}");
                assert!(sum(target, "/upstream/lookup") > 0, "{target}");
            }
            "bare" => assert!(hits == reads && asked == 0, "{hits} hits, {asked} of {reads}"),
            _ => {
                assert_eq!(hits, 0, "{name}");
                assert!(asked.abs_diff(reads) * 100 <= reads, "{name}: {asked} of {reads}");
            }
        }
        let resident = target["phases"][1]["resident"].as_u64();
        assert!(resident.is_some_and(|bytes| bytes > 1 << 20), "{name}: {resident:?}");
    }
}

#[test]
fn only_vaultlet_answers_while_the_upstream_is_away() {
    let outage =
        "  - {name: outage, duration: 2s, happens: {what: outage}, arrivals: {factor: 1}}\n";
    let after = "  - {name: after, duration: 2s, arrivals: {factor: 1}}\n";
    let folder = Folder::new(&[outage, after, QUIET]);

    succeeded(&folder.compare(&["--targets", "direct,vaultlet"]));

    let result = folder.result();
    let broken = |name| {
        let phases = target(&result, name)["phases"].as_array().unwrap();
        let broken = phases.iter().map(|phase| {
            let read = &phase["kinds"]["read"];
            (read["intended"].as_u64().unwrap_or_default(), counted(&read["broken"]))
        });
        broken.collect::<Vec<_>>()
    };
    let direct = broken("direct");
    assert!(direct[1].0 > 100 && direct[1].0 == direct[1].1, "{direct:?}");
    assert_eq!((direct[0].1, direct[2].1), (0, 0), "{direct:?}");
    let vaultlet = broken("vaultlet");
    assert!(vaultlet.iter().all(|phase| phase.1 == 0), "{vaultlet:?}");
    let statuses = &target(&result, "vaultlet")["phases"][1]["kinds"]["read"]["statuses"];
    assert_eq!(statuses["200"].as_u64(), Some(vaultlet[1].0), "{statuses}");
}

/// Leases are users of a PostgreSQL, and pods log in.
#[test]
fn leases_are_counted_at_the_upstream() {
    let folder = Folder::new(&[STEADY, QUIET]);
    folder.replace("credential: token", "credential: login");
    let roles = "  roles: [{name: orders, ttl: 1m, max_ttl: 10m}]\n  deployments:";
    folder.replace("  deployments:", roles);
    folder.replace("      pods: 2\n", "      pods: 2\n      leases: [orders]\n");

    let output = folder.compare(&["--targets", "direct,vaultlet,bare"]);

    let said = succeeded(&output);
    assert!(said.contains("bare is left out: it logs nobody in."), "{said}");
    let result = folder.result();
    for (name, leases) in [("direct", 4), ("vaultlet", 2)] {
        let target = target(&result, name);
        assert_eq!(sum(target, "/kinds/lease/statuses/200"), 4, "{name}: {target}");
        assert_eq!(target["phases"][1]["leases"], leases, "{name}");
        assert_eq!(sum(target, "/upstream/lease"), leases, "{name}");
        // vaultlet logs in once for a service account, on each of two nodes.
        assert_eq!(sum(target, "/upstream/login"), leases, "{name}");
    }
}

/// nginx is there on Linux only.
#[cfg(target_os = "linux")]
#[test]
fn all_of_them_speak_tls_and_listen_on_sockets() {
    for transport in ["tls", "unix"] {
        let folder = Folder::new(&["  - {name: full, duration: 1s, arrivals: {saturate: 4}}\n"]);
        folder.replace("name: test", &format!("name: test\ntransport: {transport}"));

        let output = folder.compare(&["--rounds", "2"]);

        succeeded(&output);
        let result = folder.result();
        assert_eq!(result["targets"].as_array().unwrap().len(), 5);
        for target in result["targets"].as_array().unwrap() {
            let read = &target["phases"][1]["kinds"]["read"];
            let name = &target["name"];
            assert!(read["answered"].as_u64() > Some(100), "{transport} {name}: {read}");
            assert_eq!(read["statuses"]["200"], read["answered"], "{transport} {name}: {read}");
            assert_eq!(target["phases"][1]["rounds"].as_array().unwrap().len(), 2);
        }
    }
}

#[test]
fn a_program_that_is_not_there_is_named_with_what_to_set() {
    let folder = Folder::new(&[STEADY]);
    for (variable, program) in [
        ("BAO_BIN", "bao"),
        ("NGINX_BIN", "nginx"),
        ("VAULTLET_BIN", "vaultlet"),
        ("BARE_BIN", "bare"),
    ] {
        let mut command = folder.command(&["--targets", "vaultlet,nginx,bare"]);

        let output = command.env(variable, "/nonexistent/it").output().unwrap();

        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{program}: {said}");
        assert!(said.contains(&format!("{variable} is /nonexistent/it")), "{program}: {said}");
    }
    let mut command = folder.command(&["--targets", "direct"]);
    let output = command.env_remove("BAO_BIN").env("PATH", "").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("name yours with BAO_BIN=/path/to/bao"), "{said}");
}

#[test]
fn what_was_measured_before_a_server_died_is_kept() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new(&[STEADY, QUIET]);
    let mut child = folder
        .command(&["--targets", "vaultlet", "--out", "result.json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // The first phase is over.
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("vaultlet: start: "), "{line}");

    kill_process(child_named(child.id(), "vaultlet"), Signal::KILL).unwrap();

    let status = child.wait().unwrap();
    said.read_to_string(&mut line).unwrap();
    assert_eq!(status.code(), Some(1), "{line}");
    assert!(line.contains("ended early: vaultlet: vaultlet ended (signal: 9"), "{line}");
    let result = folder.result();
    assert!(sum(target(&result, "vaultlet"), "/kinds/read/statuses/200") >= 60, "{result}");
    assert!(result["interrupted"].as_str().unwrap().contains("ended"), "{result}");
}

/// A child of process `parent` whose program has this name.
fn child_named(parent: u32, name: &str) -> Pid {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let named = children.split_whitespace().find(|pid| {
        let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        program.trim() == name
    });
    Pid::from_raw(named.unwrap().parse().unwrap()).unwrap()
}

/// What it printed, if all was well.
fn succeeded(output: &Output) -> String {
    let [said, beside] =
        [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned());
    assert_eq!(output.status.code(), Some(0), "{beside}\n{said}");
    said
}

fn target<'r>(result: &'r Value, name: &str) -> &'r Value {
    result["targets"].as_array().unwrap().iter().find(|target| target["name"] == name).unwrap()
}

/// What is at `pointer` in each phase, all together.
fn sum(target: &Value, pointer: &str) -> u64 {
    let phases = target["phases"].as_array().unwrap();
    phases.iter().filter_map(|phase| phase.pointer(pointer)?.as_u64()).sum()
}

/// All numbers of an object.
fn counted(object: &Value) -> u64 {
    object.as_object().map_or(0, |it| it.values().filter_map(Value::as_u64).sum())
}

/// A scenario, and what comes of it.
struct Folder(TempDir);

impl Folder {
    fn new(phases: &[&str]) -> Self {
        let folder = Self(TempDir::new().unwrap());
        fs::write(folder.scenario(), WORLD.to_owned() + &phases.concat()).unwrap();
        folder
    }

    fn scenario(&self) -> PathBuf {
        self.0.path().join("scenario.yaml")
    }

    fn replace(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.scenario()).unwrap();
        assert!(text.contains(old), "{old}");
        fs::write(self.scenario(), text.replace(old, new)).unwrap();
    }

    /// In the scenario's directory.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet-loadtest"));
        command.arg("compare").arg("scenario.yaml").args(arguments).current_dir(&self.0);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (variable, installed) in [
            ("BAO_BIN", ".tools/bin/bao"),
            ("NGINX_BIN", ".tools/bin/nginx"),
            ("POSTGRES_BIN", ".tools/postgres/bin"),
        ] {
            if std::env::var_os(variable).is_none() {
                command.env(variable, root.join(installed));
            }
        }
        command
    }

    fn compare(&self, arguments: &[&str]) -> Output {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        self.command(arguments).args(["--out", "result.json"]).output().unwrap()
    }

    fn result(&self) -> Value {
        let text = fs::read_to_string(self.0.path().join("result.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}
