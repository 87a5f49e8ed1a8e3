//! `vaultlet dev` from outside, against a real server: what it shows, and that it cleans up.
//!
//! The server is what `vaultlet dev` itself finds: `make tools` installs one.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The server's usual address, kept taken, by us or by whoever has it. The tests run side by side,
/// and a server that is stopped and started again must find its port free.
static USUAL: LazyLock<Option<TcpListener>> =
    LazyLock::new(|| TcpListener::bind("127.0.0.1:8200").ok());

/// `vaultlet dev` on free ports; nothing of the environment but what finds a server.
fn dev(arguments: &[&str]) -> Command {
    LazyLock::force(&USUAL);
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
    command.env_clear().stdin(Stdio::null());
    for name in ["BAO_BIN", "HOME", "PATH"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    // One that is killed leaves its pods' tokens there.
    command.env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
    command.args(["dev", "--set", "listeners.0.address=127.0.0.1:0"]);
    command.args(["--set", "admin.address=127.0.0.1:0"]).args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The transcript; the whole of it in the message if the exit code is another.
fn ends_with(code: i32, output: &Output) -> String {
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{said}\n{}", text(&output.stderr));
    said
}

/// Each step's heading and its verdict.
fn verdicts(transcript: &str) -> Vec<(String, String)> {
    let steps = transcript.split("\n\n").filter_map(|step| {
        let mut lines = step.lines();
        let (heading, last) = (lines.next()?, lines.next_back()?.trim());
        let verdict = last.split([':', ' ']).next()?;
        let known = ["ok", "FAILED", "skipped"].contains(&verdict);
        known.then(|| (heading.split('.').next().unwrap().to_owned(), verdict.to_owned()))
    });
    steps.collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

fn server_of(transcript: &str) -> &str {
    let rest = transcript.split_once("The server is http://").unwrap().1;
    rest.split_once(',').unwrap().0
}

fn soon(what: &str, happens: impl Fn() -> bool) {
    let begun = SystemTime::now();
    while !happens() {
        assert!(begun.elapsed().unwrap() < Duration::from_secs(5), "{what}");
        sleep(Duration::from_millis(20));
    }
}

/// A `vaultlet dev` that runs until it is ended.
struct Dev {
    child: Child,
    out: BufReader<ChildStdout>,
    transcript: String,
}

impl Dev {
    /// Until it has printed its commands.
    fn start() -> Self {
        let mut child = dev(&[]).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut dev = Self { child, out, transcript: String::new() };
        while !dev.transcript.contains("\nkill ") {
            assert_ne!(dev.out.read_line(&mut dev.transcript).unwrap(), 0, "{}", dev.transcript);
        }
        dev
    }

    /// What follows `before` in a printed command.
    fn printed(&self, before: &str) -> &str {
        let rest = self.transcript.split_once(before).unwrap().1;
        rest.split_whitespace().next().unwrap()
    }

    fn server(&self) -> Pid {
        Pid::from_raw(self.printed("\nkill ").parse().unwrap()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The printed commands from one that begins so to the end of the next, in a shell.
    fn pasted(&self, begins: &str) -> Output {
        let from = self.transcript.find(&format!("\n{begins}")).unwrap();
        let commands: Vec<_> = self.transcript[from + 1..].lines().take(2).collect();
        let exports = self.transcript.lines().filter(|line| line.starts_with("export "));
        let script = [exports.collect::<Vec<_>>(), commands].concat().join("\n");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env_clear().env("HOME", "/nonexistent");
        shell.envs(std::env::var_os("PATH").map(|path| ("PATH", path))).output().unwrap()
    }

    /// `bao` as the printed commands call it, at `address`.
    fn bao(&self, address: &str, token: &str, arguments: &[&str]) -> Output {
        let program = self.printed("BAO_TOKEN=pod-a ");
        let mut command = Command::new(program);
        command.env_clear().env("HOME", "/nonexistent").args(arguments);
        command.env("BAO_ADDR", address).env("BAO_TOKEN", token).output().unwrap()
    }
}

impl Drop for Dev {
    /// Of a test that has failed.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            self.child.wait().ok();
        }
    }
}

#[test]
fn the_tour_does_what_it_says() {
    let temporary = tempfile::tempdir().unwrap();
    let output = dev(&["--tour", "--once"]).env("TMPDIR", temporary.path()).output().unwrap();

    let said = ends_with(0, &output);
    let steps = ["1", "2", "3", "4", "5", "6", "7", "8", "Afterwards"].map(|step| (step, "ok"));
    assert_eq!(verdicts(&said), pairs(&steps), "{said}");
    assert_eq!(said.matches(" more: median ").count(), 4, "{said}");
    assert!(said.contains("logins upstream for both pods: 1\n"), "{said}");
    assert!(said.contains("logins upstream for all of this: 0\n"), "{said}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "tokens are left behind");
    assert!(said.starts_with("127.0.0.1:8200 is taken, so the server is on another port.\n"));
    assert!(TcpStream::connect(server_of(&said)).is_err(), "the server runs on");
}

#[test]
fn a_step_that_does_not_do_what_it_says_is_a_failure() {
    let output = dev(&["--tour", "--once", "--set", "auth.vault_tokens=false"]).output().unwrap();

    let said = ends_with(1, &output);
    let steps = [
        ("1", "FAILED"),
        ("2", "FAILED"),
        ("3", "ok"),
        ("4", "ok"),
        // Service accounts bring no Vault tokens.
        ("5", "ok"),
        ("6", "ok"),
        ("7", "ok"),
        ("8", "FAILED"),
        ("Afterwards", "ok"),
    ];
    assert_eq!(verdicts(&said), pairs(&steps), "{said}");
    assert!(said.contains("FAILED: expected a hit, saw 200  -"), "{said}");
    assert!(text(&output.stderr).contains("3 steps of the tour did not do what they say"));
}

#[test]
fn the_printed_commands_work_until_a_signal_ends_both() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut dev = Dev::start();
        let (address, server) = (dev.printed("BAO_ADDR=").to_owned(), dev.server());

        let read = dev.bao(&address, "pod-b", &["kv", "get", "secret/payments/db"]);
        let denied = dev.bao(&address, "intern", &["kv", "get", "secret/payments/db"]);
        let legacy = dev.bao(&address, "pod-a", &["kv", "get", "legacy/payments/smtp"]);
        let user = format!("password={}", dev.printed("username=dana password="));
        let login = ["login", "-no-store", "-method=userpass", "username=dana", &user];
        let login = dev.bao(&address, "", &login);
        let pods = PathBuf::from(dev.printed("\nexport PODS="));
        let pod = |name: &str| fs::read_to_string(pods.join(name)).unwrap();
        let (api, shop) = (pod("payments-api-1"), pod("web-shop-1"));
        let by_pod = dev.bao(&address, &api, &["kv", "get", "secret/payments/api"]);
        let by_other = dev.bao(&address, &shop, &["kv", "get", "secret/payments/api"]);
        let unmodified = dev.pasted("POD_TOKEN=");
        let modes = [pods.clone(), pods.join("payments-api-1")]
            .map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
        dev.signal(signal);
        let status = dev.child.wait().unwrap();

        assert!(text(&read.stdout).contains("first-value"), "{}", text(&read.stderr));
        assert!(text(&denied.stderr).contains("403"), "{}", text(&denied.stderr));
        assert!(text(&legacy.stdout).contains("of-the-mail-server"), "{}", text(&legacy.stderr));
        assert!(text(&login.stdout).contains("payments-read"), "{}", text(&login.stderr));
        assert!(text(&by_pod.stdout).contains("first-value"), "{}", text(&by_pod.stderr));
        assert!(text(&by_other.stderr).contains("403"), "{}", text(&by_other.stderr));
        let said = text(&unmodified.stdout);
        assert!(said.contains("first-value"), "{}", text(&unmodified.stderr));
        assert_eq!(modes, [0o700, 0o600]);
        assert!(!pods.exists(), "tokens are left behind");
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert!(test_kill_process(server).is_err(), "the server runs on after {signal:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_program_leaves_no_server_behind() {
    let dev = Dev::start();
    let server = dev.server();
    // While it says what it does, losing its reader would end it too.
    sleep(Duration::from_millis(1500));
    assert!(test_kill_process(server).is_ok());

    dev.signal(Signal::KILL);

    // Ended, whether or not whoever inherits it has noticed.
    let stat = format!("/proc/{}/stat", server.as_raw_nonzero());
    let ended = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    soon("the server runs on", ended);
}

/// A program that leaves its process id in the file beside it and becomes the server.
fn noted(directory: &Path, server: &str) -> (PathBuf, PathBuf) {
    let (program, pid) = (directory.join("bao"), directory.join("pid"));
    let script = format!("#!/bin/sh\necho $$ > '{}'\nexec {server} \"$@\"\n", pid.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    (program, pid)
}

#[test]
fn a_taken_port_is_told_and_leaves_no_server_behind() {
    let directory = tempfile::tempdir().unwrap();
    let server = std::env::var("BAO_BIN").unwrap_or_else(|_| ".tools/bin/bao".to_owned());
    let (program, pid) = noted(directory.path(), &server);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let set = format!("listeners.0.address={address}");
    let output = dev(&["--set", &set]).env("BAO_BIN", program).output().unwrap();

    ends_with(1, &output);
    let problem = text(&output.stderr);
    let expected = format!("vaultlet: the proxy cannot be started: cannot listen on {address}: ");
    assert!(problem.contains(&expected), "{problem}");
    let pid = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    assert!(test_kill_process(Pid::from_raw(pid).unwrap()).is_err(), "the server runs on");
}

#[test]
fn what_is_wrong_is_told_before_anything_starts() {
    let nowhere = dev(&[]).env("BAO_BIN", "/nonexistent/bao").output().unwrap();
    ends_with(2, &nowhere);
    assert!(text(&nowhere.stderr).starts_with("BAO_BIN is /nonexistent/bao, which is no file"));

    let key = dev(&["--set", "cache.kv.tll=1s"]).output().unwrap();
    ends_with(2, &key);
    assert!(text(&key.stderr).contains("did you mean `ttl`?"), "{}", text(&key.stderr));

    let broken = dev(&[]).env("BAO_BIN", "/bin/ls").output().unwrap();
    ends_with(1, &broken);
    let problem = text(&broken.stderr);
    assert!(problem.contains("ended at once (exit status: 2). It said: "), "{problem}");
}

#[test]
fn somebody_elses_server_is_not_stopped_and_not_written_over() {
    let theirs = Dev::start();
    let address = format!("http://{}", server_of(&theirs.transcript));
    let root = theirs.printed("\nBAO_TOKEN=root-");
    let root = &format!("root-{root}");
    let arguments = ["--upstream", &address, "--token", root, "--tour", "--once"];

    let method = |what: &[&str]| theirs.bao(&address, root, &[&["auth"], what].concat());
    assert!(method(&["enable", "-path=vaultlet-dev", "kubernetes"]).status.success());
    let not_ours = dev(&arguments).output().unwrap();
    assert!(method(&["disable", "vaultlet-dev"]).status.success());
    let output = dev(&arguments).output().unwrap();
    let put = ["kv", "put", "secret/payments/db", "password=mine"];
    assert!(theirs.bao(&address, root, &put).status.success());
    let refused = dev(&arguments).output().unwrap();
    let read = theirs.bao(&address, root, &["kv", "get", "secret/payments/db"]);

    ends_with(1, &not_ours);
    let problem = text(&not_ours.stderr);
    assert!(problem.contains("auth method auth/vaultlet-dev that `vaultlet dev` has not made"));
    let said = ends_with(0, &output);
    let steps = ["1", "2", "3", "4", "5", "6", "7"].map(|step| (step, "ok"));
    assert_eq!(verdicts(&said), pairs(&[&steps[..], &[("8", "skipped")]].concat()), "{said}");
    ends_with(1, &refused);
    let problem = text(&refused.stderr);
    assert!(problem.contains("secret secret/data/payments/db that `vaultlet dev` has not made"));
    assert!(text(&read.stdout).contains("mine"), "{}", text(&read.stdout));
}
