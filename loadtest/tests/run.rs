//! Does the program itself run a scenario, and end as it should?

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const SCENARIO: &str = "
name: test
world:
  nodes: 1
  credential: token
  secrets: [{name: app, engine: kv2, count: 10, bytes: 100B}]
  deployments: [{name: api, pods: 2, reads: [{secrets: app, every: 10ms}]}]
phases:
  - {name: first, duration: 1s, arrivals: {factor: 1}}
  - {name: second, duration: DURATION, arrivals: {rate: 100}}
";

#[test]
fn a_run_writes_what_it_measured_and_says_how_it_goes() {
    let folder = Folder::new("1s");
    let url = serve("200 OK");

    let output = folder.run(&["--url", &url, "--out", "result.json", "--hdr", "log.hdr"]);

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "a line for each phase, in a pipe: {said}");
    assert!(lines[0].starts_with("server: first: 1.0 s, ") && lines[0].ends_with(" 0 failed"));
    let result = folder.result();
    assert_eq!(result["targets"][0]["name"], url);
    let second = &result["targets"][0]["phases"][1];
    let answered = second["kinds"]["read"]["statuses"]["200"].as_u64().unwrap();
    assert!((60..=140).contains(&answered), "{answered}");
    assert!(second["kinds"]["read"]["latency"]["p50"].as_f64().unwrap() > 0.0);
    assert_eq!(result["interrupted"], Value::Null);
    let log = folder.read("log.hdr");
    assert!(log.contains(&format!("Tag={url}/first/read,0.000,1.000,")), "{log}");
    assert!(!folder.read("result.json").contains("s.token"));
}

#[test]
fn ctrl_c_keeps_what_was_measured() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = Folder::new("1m");
        let url = serve("200 OK");
        let child = folder.start(&["--url", &url, "--out", "result.json"]);
        thread::sleep(Duration::from_millis(2_500));

        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();

        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("ended early: it was interrupted"), "{said}");
        let result = folder.result();
        assert_eq!(result["interrupted"], "it was interrupted");
        let phases = &result["targets"][0]["phases"];
        assert!(phases[0]["kinds"]["read"]["answered"].as_u64().unwrap() > 100);
        assert!(phases[1]["kinds"]["read"]["answered"].as_u64().unwrap() > 20);
        assert!(phases[1]["seconds"].as_f64().unwrap() < 10.0);
    }
}

#[test]
fn a_log_that_would_write_is_refused_unless_the_scenario_asks_for_it() {
    let folder = Folder::new("1s");
    let lines = "{\"time\": 1, \"method\": \"GET\", \"path\": \"/v1/kv2/data/app/000001\"}\n\
                 {\"time\": 1, \"method\": \"DELETE\", \"path\": \"/v1/kv2/data/app/000001\"}\n";
    folder.write("access.log", lines);
    let url = serve("200 OK");
    let scenario = SCENARIO.replace("DURATION", "1s");
    for (arrivals, expected) in [
        ("{replay: access.log}", 2),
        ("{replay: access.log, writes: false}", 2),
        ("{replay: access.log, writes: true}", 0),
    ] {
        folder.write("scenario.yaml", &scenario.replace("{rate: 100}", arrivals));

        let output = folder.run(&["--url", &url]);

        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{arrivals}: {said}");
        assert_eq!(said.contains("1 request of"), expected == 2, "{arrivals}: {said}");
    }
}

#[test]
fn ctrl_c_ends_saturation_with_what_was_counted() {
    let folder = Folder::new("1s");
    let url = serve("200 OK");
    let mut command = folder.command();
    command.args(["saturate", "--json", "--url", &url, "--connections", "2", "--duration", "1m"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_secs(1));

    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ended early: it was interrupted"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["answers"].as_u64().unwrap() > 10, "{report}");
    assert!(report["seconds"].as_f64().unwrap() < 10.0, "{report}");
}

#[test]
fn a_server_that_is_not_there_is_said_before_anything_is_sent() {
    let folder = Folder::new("1m");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);

    let output = folder.run(&["--url", &url, "--out", "result.json"]);

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&url) && said.contains("does it listen there?"), "{said}");
}

#[test]
fn errors_are_counted_and_fail_the_run_if_nothing_else_came() {
    let folder = Folder::new("1s");
    let url = serve("500 Internal Server Error");

    let output = folder.run(&["--url", &url, "--out", "result.json"]);

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not one request succeeded"), "{said}");
    let read = &folder.result()["targets"][0]["phases"][0]["kinds"]["read"];
    assert_eq!(read["statuses"]["500"], read["answered"]);
    assert_ne!(read["answered"], 0);
}

#[test]
fn a_full_disk_is_said_and_the_rest_is_written() {
    let folder = Folder::new("1s");
    let url = serve("200 OK");

    let output = folder.run(&["--url", &url, "--out", "result.json", "--hdr", "/dev/full"]);

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--hdr /dev/full: No space left on device"), "{said}");
    assert_ne!(folder.result()["targets"][0]["phases"][1]["kinds"]["read"]["answered"], 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = Folder::new("1s");
    let happens = SCENARIO.replace("{name: first,", "{happens: {what: cold-start}, name: first,");
    folder.write("happens.yaml", &happens.replace("DURATION", "1s"));
    for (arguments, token, part) in [
        (&["run", "scenario.yaml"][..], true, "--url"),
        (&["run", "scenario.yaml", "--url", "localhost:1"], true, "not http://HOST:PORT"),
        (&["run", "scenario.yaml", "--url", "http://localhost:1"], false, "VAULT_TOKEN"),
        (&["run", "happens.yaml", "--url", "http://localhost:1"], true, "with `compare` or `plan`"),
        (
            &["run", "scenario.yaml", "--url", "http://localhost:1", "--out", "none/result.json"],
            true,
            "--out none/result.json: cannot be written: No such file",
        ),
        (
            &["run", "scenario.yaml", "--url", "http://localhost:1", "--html", "."],
            true,
            "directory",
        ),
        (&["run", "none.yaml", "--url", "http://localhost:1"], true, "none.yaml"),
        (
            &["run", "scenario.yaml", "--url", "http://localhost:1", "--hdr", "none/log"],
            true,
            "--hdr none/log",
        ),
        (
            &[
                "run",
                "scenario.yaml",
                "--url",
                "http://localhost:1",
                "--fail-if",
                "p99(third) > 1s",
            ],
            true,
            "third",
        ),
    ] {
        let mut command = folder.command();
        if !token {
            command.env_remove("VAULT_TOKEN");
        }
        let output = command.args(arguments).output().unwrap();

        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

/// A folder with a scenario in it, whose second phase takes as long as is said.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(duration: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("scenario.yaml", &SCENARIO.replace("DURATION", duration));
        folder
    }

    fn command(&self) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_vaultlet-loadtest")));
        command.current_dir(self.0.path()).env("VAULT_TOKEN", "s.token");
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command.args(["run", "scenario.yaml"]).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait_with_output().expect("it ends")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("it wrote that")
    }

    fn result(&self) -> Value {
        serde_json::from_str(&self.read("result.json")).expect("JSON")
    }
}

/// A server that answers everything with one status, until the test ends; its URL.
fn serve(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("a port"));
    drop(thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            drop(thread::spawn(move || {
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
                let mut request = [0; 4096];
                // A GET comes in one piece.
                while stream.read(&mut request).is_ok_and(|read| read > 0) {
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            }));
        }
    }));
    url
}
