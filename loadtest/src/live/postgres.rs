//! Which database do leased credentials open? A PostgreSQL on a free port of loopback.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::process::Process;
use super::{PATIENCE, TRIES, free_port, ground, words};

/// Who it runs as where this program is root's, which it refuses to be: `nobody`, mostly.
const UNPRIVILEGED: u32 = 65534;

const SUPERUSER: &str = "postgres";

/// A server that runs. Not `Debug`.
pub(super) struct Postgres {
    process: Process,
    port: u16,
    password: Zeroizing<String>,
    _home: TempDir,
}

impl Postgres {
    /// Starts one with nothing in it.
    pub(super) async fn start(programs: &Path, core: Option<usize>) -> Result<Self, String> {
        let home = ground::directory()?;
        let programs = runnable(programs, home.path())?;
        let password = Zeroizing::new(format!("{:032x}", fastrand::u128(..)));
        initialise(&programs, home.path(), &password)?;
        let mut outcome = Err(String::new());
        // A port that was free may be taken before the server binds it: then another one.
        for _ in 0..TRIES {
            let port = free_port()?;
            let log = home.path().join("log");
            let command = server(&programs, home.path(), port);
            let mut process = Process::start(command, &log, Signal::QUIT, core)?;
            let answered = answers(&programs, port, &password, &mut process).await;
            outcome = answered.map(|()| (process, port));
            if outcome.is_ok() {
                break;
            }
        }
        let (process, port) = outcome?;
        Ok(Self { process, port, password, _home: home })
    }

    /// `127.0.0.1:PORT`
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Name and password.
    pub(super) fn superuser(&self) -> (&'static str, &Zeroizing<String>) {
        (SUPERUSER, &self.password)
    }

    pub(super) fn cpu(&self) -> Option<Duration> {
        self.process.cpu()
    }
}

/// The programs where the server's user can run them. In a home that is closed to it they are
/// copied, with all that lies around them.
fn runnable(programs: &Path, home: &Path) -> Result<PathBuf, String> {
    if !geteuid().is_root() {
        return Ok(programs.to_owned());
    }
    let closed = |directory: &Path| {
        directory.metadata().is_ok_and(|it| it.permissions().mode() & 0o001 == 0)
    };
    let mut there = programs.to_owned();
    if let (true, Some(all), Some(name)) =
        (programs.ancestors().any(closed), programs.parent(), programs.file_name())
    {
        let copy = home.join("installed");
        run(Command::new("cp").arg("-R").arg(all).arg(&copy))?;
        there = copy.join(name);
    }
    run(Command::new("chown").arg("-R").arg(format!("{UNPRIVILEGED}:{UNPRIVILEGED}")).arg(home))?;
    Ok(there)
}

/// An empty database that asks for passwords and outlives no crash of the machine.
fn initialise(programs: &Path, home: &Path, password: &str) -> Result<(), String> {
    let file = home.join("password");
    let problem = |e: std::io::Error| format!("{}: {e}", file.display());
    std::fs::write(&file, password).map_err(problem)?;
    if geteuid().is_root() {
        chown(&file, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).map_err(problem)?;
    }
    let mut initdb = unprivileged(&programs.join("initdb"), home);
    initdb.arg("--pgdata").arg(home.join("data")).arg("--pwfile").arg(&file);
    initdb.args(["--username", SUPERUSER, "--auth", "scram-sha-256"]);
    run(initdb.args(["--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions"]))
}

fn server(programs: &Path, home: &Path, port: u16) -> Command {
    let mut server = unprivileged(&programs.join("postgres"), home);
    server.arg("-D").arg(home.join("data")).arg("-p").arg(port.to_string());
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=300",
        "shared_buffers=16MB",
        "fsync=off",
        // A statement that fails may have a password in it.
        "log_min_error_statement=panic",
    ] {
        server.arg("-c").arg(setting);
    }
    server
}

fn unprivileged(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).current_dir(home);
    if geteuid().is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

/// Waits until it answers.
async fn answers(
    programs: &Path,
    port: u16,
    password: &str,
    process: &mut Process,
) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let mut psql = Command::new(programs.join("psql"));
        psql.env_clear().env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "5");
        psql.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--dbname", "postgres"]);
        psql.args(["--no-psqlrc", "--no-password", "--username", SUPERUSER]);
        let asked = run(psql.args(["--command", "select 1"]));
        if asked.is_ok() {
            return Ok(());
        }
        if let Some(how) = process.ended() {
            return Err(format!("PostgreSQL {how}"));
        }
        if began.elapsed() > PATIENCE {
            let said = process.last_words();
            return Err(format!(
                "PostgreSQL did not answer within {PATIENCE:?}. It said: {said:?}"
            ));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    // Ctrl-C in a terminal is for this program.
    let output = command
        .process_group(0)
        .output()
        .map_err(|e| format!("{program} cannot be started: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = words::harmless(String::from_utf8_lossy(&output.stderr).trim(), None);
    Err(format!("{program} failed ({}): {said}", output.status))
}
