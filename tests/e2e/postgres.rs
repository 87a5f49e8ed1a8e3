//! Which database do leased credentials open? A real PostgreSQL, on a free loopback port.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::bao::free_port;

/// The superuser's name and password.
pub const SUPERUSER: (&str, &str) = ("postgres", "superuser-of-the-tests");

/// Longest a server may take to its first answer, and to its end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who it runs as where the tests are root's, which it refuses to be: `nobody`, mostly.
const UNPRIVILEGED: u32 = 65534;

/// The server of all tests that leave it running. It ends with the last of them.
static SHARED: tokio::sync::Mutex<Weak<Postgres>> = tokio::sync::Mutex::const_new(Weak::new());

/// A running server. Dropping it ends the process.
pub struct Postgres {
    /// The directory of its programs.
    programs: PathBuf,
    home: TempDir,
    port: u16,
    process: Mutex<Child>,
}

impl Postgres {
    /// The one that other tests use at the same time, so with names of their own for everything.
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&started);
        started
    }

    /// One for this test alone, which may stop it.
    pub async fn start() -> Self {
        spawn_blocking(Self::launch).await.unwrap()
    }

    fn launch() -> Self {
        let home = tempfile::tempdir().unwrap();
        let programs = runnable(&installed(), home.path());
        initialise(&programs, home.path());
        // A port that was free may be taken before the server binds it: then another one.
        for _ in 0..5 {
            let port = free_port();
            let mut process = spawn(&programs, home.path(), port);
            if answers(&programs, port, &mut process) {
                return Self { programs, home, port, process: Mutex::new(process) };
            }
        }
        panic!("PostgreSQL did not start on five free ports:\n{}", log(home.path()));
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it at once, and every session with it.
    pub fn stop(&self) {
        end(&mut self.process.lock().unwrap());
    }

    /// Starts it again on the same address, with everything that it had.
    pub async fn restart(self: &Arc<Self>) {
        let server = self.clone();
        let restart = move || {
            let mut process = server.process.lock().unwrap();
            *process = spawn(&server.programs, server.home.path(), server.port);
            let up = answers(&server.programs, server.port, &mut process);
            assert!(up, "PostgreSQL did not come back:\n{}", log(server.home.path()));
        };
        spawn_blocking(restart).await.unwrap();
    }

    /// Whether this name and password open a session. Fails the test if that cannot be told.
    pub async fn logs_in(&self, user: &str, password: &str) -> bool {
        match self.ask((user, password), "select current_user").await {
            Ok(name) => name == user,
            // So it says of a user that is not there, or no more, too.
            Err(error) if error.contains("password authentication failed") => false,
            Err(error) => panic!("{user} was not asked for a password: {error}"),
        }
    }

    /// The names of all roles that begin like this, sorted.
    pub async fn users(&self, prefix: &str) -> Vec<String> {
        assert!(!prefix.contains(['\'', '%', '_', '\\']), "{prefix} needs no quoting");
        let sql =
            format!("select rolname from pg_roles where rolname like '{prefix}%' order by rolname");
        self.sql(&sql).await.lines().map(str::to_owned).collect()
    }

    /// Takes a role away behind everybody's back.
    pub async fn drop_user(&self, name: &str) {
        self.sql(&format!("drop role \"{name}\"")).await;
    }

    /// What the superuser is answered: a line for each row.
    pub async fn sql(&self, statement: &str) -> String {
        self.ask(SUPERUSER, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    async fn ask(&self, login: (&str, &str), statement: &str) -> Result<String, String> {
        let psql = psql(&self.programs, self.port, login, statement);
        let output = tokio::process::Command::from(psql).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        end(self.process.get_mut().unwrap());
    }
}

/// Named by the environment, else where `make tools` puts it.
fn installed() -> PathBuf {
    let programs =
        std::env::var_os("POSTGRES_BIN").map_or_else(|| ours().join("bin"), PathBuf::from);
    for program in ["initdb", "postgres", "psql"] {
        assert!(
            programs.join(program).is_file(),
            "these tests need a real PostgreSQL and found no {program} in {}: run `make tools`, \
             which installs it, or name the directory of yours in POSTGRES_BIN",
            programs.display()
        );
    }
    programs.canonicalize().unwrap()
}

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/postgres")
}

/// The programs where the server's user can run them: a clone in root's home is closed to it, so
/// there what `make tools` installed is copied into `home`.
fn runnable(programs: &Path, home: &Path) -> PathBuf {
    if !geteuid().is_root() {
        return programs.to_owned();
    }
    let closed = |directory: &Path| directory.metadata().unwrap().permissions().mode() & 0o001 == 0;
    let ours = ours().canonicalize().unwrap_or_default();
    let mut there = programs.to_owned();
    if let Ok(below) = programs.strip_prefix(&ours)
        && programs.ancestors().any(closed)
    {
        let copy = home.join("installed");
        run(Command::new("cp").arg("-R").arg(&ours).arg(&copy));
        there = copy.join(below);
    }
    run(Command::new("chown").arg("-R").arg(format!("{UNPRIVILEGED}:{UNPRIVILEGED}")).arg(home));
    there
}

/// An empty database that asks for passwords and outlives no crash of the machine.
fn initialise(programs: &Path, home: &Path) {
    let secret = home.join("password");
    std::fs::write(&secret, SUPERUSER.1).unwrap();
    if geteuid().is_root() {
        chown(&secret, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
    }
    let mut initdb = unprivileged(&programs.join("initdb"), home);
    initdb.arg("--pgdata").arg(home.join("data")).arg("--pwfile").arg(&secret);
    initdb.args(["--username", SUPERUSER.0, "--auth", "scram-sha-256"]);
    run(initdb.args(["--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions"]));
}

fn spawn(programs: &Path, home: &Path, port: u16) -> Child {
    let mut server = unprivileged(&programs.join("postgres"), home);
    server.arg("-D").arg(home.join("data")).arg("-p").arg(port.to_string());
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=300",
        "shared_buffers=16MB",
        "fsync=off",
    ] {
        server.arg("-c").arg(setting);
    }
    let log = std::fs::File::create(home.join("log")).unwrap();
    server.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()).spawn().unwrap()
}

fn unprivileged(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).current_dir(home);
    if geteuid().is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

/// Whether the process answers before it ends.
fn answers(programs: &Path, port: u16, process: &mut Child) -> bool {
    let began = Instant::now();
    while !psql(programs, port, SUPERUSER, "select 1").output().unwrap().status.success() {
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(began.elapsed() < PATIENCE, "PostgreSQL did not answer within {PATIENCE:?}");
        sleep(Duration::from_millis(20));
    }
    true
}

/// The server's own command, for one statement.
fn psql(programs: &Path, port: u16, (user, password): (&str, &str), statement: &str) -> Command {
    let mut command = Command::new(programs.join("psql"));
    command.env_clear().env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "5");
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--dbname", "postgres"]);
    command.args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align"]);
    command.args(["--username", user, "--command", statement]).stdin(Stdio::null());
    command
}

/// Has the server and its sessions end without any politeness, and waits for that.
fn end(process: &mut Child) {
    let began = Instant::now();
    let pid = Pid::from_raw(process.id().cast_signed()).unwrap();
    // A process that has ended and was not waited for still takes signals.
    while process.try_wait().unwrap().is_none() {
        let late = began.elapsed() > PATIENCE;
        let _ = kill_process(pid, if late { Signal::KILL } else { Signal::QUIT });
        sleep(Duration::from_millis(20));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn log(home: &Path) -> String {
    std::fs::read_to_string(home.join("log")).unwrap_or_default()
}
