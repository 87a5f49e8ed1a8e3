//! What is the same about every server on a node: it is started, waited for, and started anew.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep};

use super::PATIENCE;
use super::gauges::{family, resident};
use super::process::Process;

/// Where callers reach a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum At {
    /// Of 127.0.0.1.
    Port(u16),
    Socket(PathBuf),
}

/// How a server is started.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) command: Box<dyn Fn() -> Command>,
    pub(super) at: At,
    /// Its own directory, with a file `log`.
    pub(super) home: TempDir,
    /// What ends it and whatever it has started.
    pub(super) ending: Signal,
    /// What it has on disk that a cold start must not find, in `home`.
    pub(super) kept: Option<&'static str>,
}

/// A server that runs.
pub(super) struct Server {
    spec: Spec,
    process: Process,
    core: Option<usize>,
    /// CPU time of its processes before this one.
    before: Duration,
}

impl Server {
    /// Starts it, on `core` if there is one, and waits until it takes connections.
    ///
    /// # Errors
    /// It does not; with its last words.
    pub(super) async fn start(spec: Spec, core: Option<usize>) -> Result<Self, String> {
        let process = launch(&spec, core).await?;
        Ok(Self { spec, process, core, before: Duration::ZERO })
    }

    /// Ends it and starts it again, at the same place, with nothing that it had.
    pub(super) async fn restart(&mut self) -> Result<(), String> {
        self.before += self.process.cpu().unwrap_or_default();
        self.process.end();
        if let Some(kept) = self.spec.kept {
            let kept = self.spec.home.path().join(kept);
            std::fs::remove_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        }
        self.process = launch(&self.spec, self.core).await?;
        Ok(())
    }

    /// How it has ended by itself; `None` while it runs.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.process.ended().map(|how| format!("{} {how}", self.spec.name))
    }

    pub(super) fn at(&self) -> &At {
        &self.spec.at
    }

    pub(super) fn cpu(&self) -> Option<Duration> {
        Some(self.before + self.process.cpu()?)
    }

    /// Bytes of it and of what it has started.
    pub(super) fn resident(&self) -> Option<u64> {
        family(self.process.id()).into_iter().map(resident).sum()
    }
}

async fn launch(spec: &Spec, core: Option<usize>) -> Result<Process, String> {
    // A socket that was left over refuses connections, and some programs cannot bind it again.
    if let At::Socket(path) = &spec.at {
        let _ = std::fs::remove_file(path);
    }
    let log = spec.home.path().join("log");
    let mut process = Process::start((spec.command)(), &log, spec.ending, core)?;
    let began = Instant::now();
    while !spec.at.accepts().await {
        if let Some(how) = process.ended() {
            return Err(format!("{} {how}", spec.name));
        }
        if began.elapsed() > PATIENCE {
            let said = process.last_words();
            let name = spec.name;
            return Err(format!("{name} did not listen within {PATIENCE:?}. It said: {said:?}"));
        }
        sleep(Duration::from_millis(5)).await;
    }
    // What was there before it has the port: its connection was not to the server.
    match process.ended() {
        Some(how) => Err(format!("{} {how}", spec.name)),
        None => Ok(process),
    }
}

impl At {
    /// Whether somebody listens there.
    pub(super) async fn accepts(&self) -> bool {
        match self {
            Self::Port(port) => TcpStream::connect(("127.0.0.1", *port)).await.is_ok(),
            Self::Socket(path) => UnixStream::connect(path).await.is_ok(),
        }
    }
}
