//! The OpenBao dev server: which program, how it starts, and that it never outlives us.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use hyper::{StatusCode, Uri};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use super::caller::Caller;

/// Where it listens unless something else does.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8200);
/// It takes a tenth of a second; a loaded machine may take a while.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where `make` installs it.
const INSTALLED: &str = ".tools/bin/bao";
/// How it says that its port is not free.
const TAKEN: &str = "address already in use";
/// How much of what it said is repeated when it fails.
const LAST_WORDS: usize = 5;

/// A server to start. Not `Debug`: it holds a token.
pub(super) struct Program {
    path: PathBuf,
    /// Of every server it is started as. Nobody can guess it, so what accepts it is ours.
    root: Zeroizing<String>,
    /// Variables that it must not see.
    unset: Vec<String>,
}

/// A server that runs. Killed when dropped.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Program {
    /// Finds a server.
    ///
    /// # Errors
    /// There is none; the message says what to do.
    pub(super) fn find(environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let path = binary(environment)?;
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).map_err(|_| "the system has no random numbers to give")?;
        let root = Zeroizing::new(format!("root-{:032x}", u128::from_ne_bytes(bytes)));
        let unset = environment.keys().filter(|name| theirs(name)).cloned().collect();
        Ok(Self { path, root, unset })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root(&self) -> &Zeroizing<String> {
        &self.root
    }

    /// On Linux through [`leash`], so that it dies with us however we do.
    fn command(&self, address: SocketAddr) -> Result<Command, String> {
        let mut command = if cfg!(target_os = "linux") {
            let own = std::env::current_exe()
                .map_err(|error| format!("cannot find this program's file: {error}"))?;
            let mut command = Command::new(own);
            command.args(["leash", &std::process::id().to_string()]).arg(&self.path);
            command
        } else {
            Command::new(&self.path)
        };
        command.args(["server", "-dev", "-dev-no-store-token"]);
        command.arg(format!("-dev-listen-address={address}"));
        for name in &self.unset {
            command.env_remove(name);
        }
        // Not as an argument, which every user of the machine can read.
        for name in ["BAO_DEV_ROOT_TOKEN_ID", "VAULT_DEV_ROOT_TOKEN_ID"] {
            command.env(name, self.root.as_str());
        }
        // Its own group: Ctrl-C in a terminal is for us, who end it after the proxy has drained.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

impl Server {
    /// Starts it at the usual address, or at a free one where that is taken.
    ///
    /// # Errors
    /// As [`Server::start_at`].
    pub(super) async fn start(program: &Program) -> Result<Self, String> {
        let mut outcome = Err(String::new());
        // A port that was free a moment ago can be taken now.
        for _ in 0..3 {
            let address = free_address()
                .map_err(|error| format!("no port of 127.0.0.1 is free for the server: {error}"))?;
            outcome = Self::start_at(program, address).await;
            if outcome.as_ref().err().is_none_or(|error| !error.contains(TAKEN)) {
                break;
            }
        }
        outcome
    }

    /// Starts it and waits until it serves. To be called on a thread that lives as long as the
    /// process: on Linux the server dies with the thread that started it.
    ///
    /// # Errors
    /// It does not start, or not in time; the message has its last words.
    pub(super) async fn start_at(program: &Program, address: SocketAddr) -> Result<Self, String> {
        let name = program.path.display();
        let mut child = program
            .command(address)?
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        // Its log is on the one, why it ends on the other.
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(keep_last(stderr, Arc::clone(&said)));
            tokio::spawn(keep_last(stdout, Arc::clone(&said)));
        }
        let mut server = Self { child, address };
        let begun = Instant::now();
        let why = loop {
            if let Ok(Some(status)) = server.child.try_wait() {
                // What it said last may be on its way still.
                sleep(Duration::from_millis(100)).await;
                break format!("ended at once ({status})");
            }
            if server.serves(&program.root).await {
                return Ok(server);
            }
            if begun.elapsed() > PATIENCE {
                break format!("did not serve within {PATIENCE:?}");
            }
            sleep(Duration::from_millis(20)).await;
        };
        let said = said.lock().unwrap_or_else(PoisonError::into_inner).join(" ");
        let command = format!("{name} server -dev -dev-listen-address={address}");
        let hint = "See whether that works in a terminal, or name another program with BAO_BIN";
        Err(format!("the server `{command}` {why}. It said: {said:?}. {hint}"))
    }

    /// Whether it answers, and is not another server at the same address.
    async fn serves(&self, root: &str) -> bool {
        let mut caller = Caller::new("dev", root, self.address);
        let answer = timeout(Duration::from_secs(1), caller.read("auth/token/lookup-self")).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|seen| seen.status == StatusCode::OK))
    }

    /// The usual address, if it is at another one.
    pub(super) fn instead_of(&self) -> Option<SocketAddr> {
        (self.address != USUAL).then_some(USUAL)
    }

    /// `None` once it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn uri(&self) -> Uri {
        let uri = format!("http://{}", self.address).parse();
        uri.expect("an address is an authority")
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(&mut self) -> impl fmt::Display + use<> {
        self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// Ends it, and waits until it has. `true`: nobody listens at its address any more.
    pub(super) async fn stop(mut self) -> bool {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        // Not reaped yet, so the id is still its own. An error: it has ended already.
        if let Some(pid) = pid
            && kill_process(pid, Signal::TERM).is_ok()
            && timeout(Duration::from_secs(5), self.child.wait()).await.is_err()
        {
            drop(self.child.kill().await);
        }
        TcpStream::connect(self.address).await.is_err()
    }
}

/// Becomes `command`, which the kernel then kills when the process `parent` ends: a killed
/// `vaultlet dev` leaves no server behind. Returns only to say why not. A program with file
/// capabilities of its own loses that leash on the way.
pub fn leash(parent: u32, command: &[OsString]) -> String {
    use std::os::unix::process::CommandExt as _;

    let Some((program, arguments)) = command.split_first() else {
        return "nothing to run".to_owned();
    };
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("cannot ask the kernel to end the server with vaultlet: {error}");
    }
    // Where the parent ended before that, no signal would come.
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get())
        != Some(parent.cast_signed())
    {
        return "whoever started this has ended".to_owned();
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    format!("{} cannot be started: {error}", Path::new(program).display())
}

/// Whether an environment variable is for Vault's and OpenBao's commands.
pub(super) fn theirs(name: &str) -> bool {
    name.starts_with("BAO_") || name.starts_with("VAULT_")
}

fn binary(environment: &BTreeMap<String, String>) -> Result<PathBuf, String> {
    if let Some(named) = environment.get("BAO_BIN").filter(|named| !named.is_empty()) {
        let path = PathBuf::from(named);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!(
                "BAO_BIN is {named}, which is no file: name an OpenBao or Vault program, or unset \
                 it"
            ))
        };
    }
    let path = environment.get("PATH").map(String::as_str).unwrap_or_default();
    let on_path = |name: &'static str| std::env::split_paths(path).map(move |dir| dir.join(name));
    let mut candidates =
        [PathBuf::from(INSTALLED)].into_iter().chain(on_path("bao")).chain(on_path("vault"));
    candidates.find(|candidate| candidate.is_file()).ok_or_else(|| {
        format!(
            "there is no OpenBao to start: BAO_BIN is not set, there is no {INSTALLED}, and \
             neither `bao` nor `vault` is on PATH. Run `make tools` in a clone of vaultlet, which \
             installs one there; or name one with BAO_BIN=/path/to/bao; or use a server that runs \
             already with --upstream URL --token TOKEN"
        )
    })
}

/// The usual address, or else one whose port is free now.
fn free_address() -> std::io::Result<SocketAddr> {
    let free = TcpListener::bind(USUAL).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    free.local_addr()
}

/// Reads all it says, without which it would stop, and keeps the end.
async fn keep_last(from: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.trim().is_empty() {
            continue;
        }
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == LAST_WORDS {
            said.remove(0);
        }
        said.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(environment: &[(&str, &str)]) -> Result<PathBuf, String> {
        let pairs = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        binary(&pairs.collect())
    }

    #[test]
    fn a_named_program_is_used_or_complained_of() {
        let here = std::env::current_exe().unwrap().display().to_string();

        assert_eq!(found(&[("BAO_BIN", &here), ("PATH", "")]), Ok(PathBuf::from(&here)));
        let problem = found(&[("BAO_BIN", "/nonexistent/bao")]).unwrap_err();
        assert!(problem.starts_with("BAO_BIN is /nonexistent/bao"), "{problem}");
    }

    #[test]
    fn path_is_searched_for_bao_then_vault() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        let environment = [("PATH", path.as_str()), ("BAO_BIN", "")];
        if Path::new(INSTALLED).is_file() {
            // It wins over PATH; nothing to see here then.
            assert_eq!(found(&environment), Ok(PathBuf::from(INSTALLED)));
            return;
        }

        assert!(found(&environment).unwrap_err().contains("`make tools`"));
        std::fs::write(directory.path().join("vault"), "").unwrap();
        assert_eq!(found(&environment), Ok(directory.path().join("vault")));
        std::fs::write(directory.path().join("bao"), "").unwrap();
        assert_eq!(found(&environment), Ok(directory.path().join("bao")));
    }
}
