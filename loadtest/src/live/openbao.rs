//! The upstream: an OpenBao that can be stopped, and started again with all that it held.
//!
//! Not the dev server, whose memory ends with it: one with files, on raft, which is initialised and
//! unsealed here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};
use zeroize::Zeroizing;

use super::api::{Api, Ask, Asked};
use super::edge::Edge;
use super::process::Process;
use super::server::At;
use super::{Ground, PATIENCE, TRIES, free_port, ground};

/// What opens a server. Not `Debug`.
#[derive(Clone, Default)]
pub(super) struct Keys {
    pub(super) root: Zeroizing<String>,
    pub(super) unseal: Zeroizing<String>,
}

/// A server that runs, or is stopped for a while.
pub struct OpenBao {
    program: PathBuf,
    home: TempDir,
    /// For the program that measures, and for proxies.
    port: u16,
    /// For callers, where they ask it themselves.
    callers: Option<At>,
    keys: Keys,
    process: Option<Process>,
    core: Option<usize>,
    pub(super) asked: Arc<Asked>,
    /// CPU time of its processes before this one.
    before: Duration,
}

impl OpenBao {
    /// A new one with nothing in it.
    pub async fn create(program: &Path, core: Option<usize>) -> Result<Self, String> {
        let mut server = Self::at(program, ground::directory()?, Keys::default(), core);
        server.begin(None).await?;
        let init = Ask::write("sys/init", json!({"secret_shares": 1, "secret_threshold": 1}));
        let keys = server.api().ask(&init).await?;
        let text = |value: &serde_json::Value| {
            Zeroizing::new(value.as_str().unwrap_or_default().to_owned())
        };
        server.keys = Keys { root: text(&keys["root_token"]), unseal: text(&keys["keys"][0]) };
        server.unseal().await?;
        Ok(server)
    }

    /// One with the files that `ground` has laid. With `edge`, callers reach it there.
    pub(super) async fn open(ground: &Ground, edge: Option<&Edge>) -> Result<Self, String> {
        let home = ground::directory()?;
        ground.copy_files(home.path())?;
        // Asked by callers, it is what is measured.
        let cores = ground.places().cores;
        let core = cores.map(|it| if edge.is_some() { it.servers } else { it.rest });
        let mut server = Self::at(&ground.places().bao, home, ground.keys().clone(), core);
        server.begin(edge).await?;
        server.unseal().await?;
        Ok(server)
    }

    fn at(program: &Path, home: TempDir, keys: Keys, core: Option<usize>) -> Self {
        let program = program.to_owned();
        let (port, callers, process, asked) = (0, None, None, Arc::default());
        let before = Duration::ZERO;
        Self { program, home, port, callers, keys, process, core, asked, before }
    }

    async fn begin(&mut self, edge: Option<&Edge>) -> Result<(), String> {
        let mut outcome = Err(String::new());
        // A port that was free may be taken before the server binds it: then another one.
        for _ in 0..TRIES {
            self.port = free_port()?;
            self.callers = edge.map(Edge::place).transpose()?;
            self.configure(edge)?;
            outcome = self.spawn().await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn configure(&self, edge: Option<&Edge>) -> Result<(), String> {
        let callers = edge.zip(self.callers.as_ref());
        let callers = callers.map(|(edge, at)| edge.openbao(at)).unwrap_or_default();
        let data = self.data();
        std::fs::create_dir_all(&data).map_err(|e| format!("{}: {e}", data.display()))?;
        let (port, cluster) = (self.port, free_port()?);
        let config = format!(
            "storage \"raft\" {{\n  path = \"{data}\"\n  node_id = \"one\"\n  \
             performance_multiplier = 1\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n  \
             cluster_address = \"127.0.0.1:0\"\n  \
             telemetry {{ unauthenticated_metrics_access = true }}\n}}\n{callers}\
             telemetry {{\n  prometheus_retention_time = \"24h\"\n  disable_hostname = true\n}}\n\
             api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\n",
            data = data.display(),
        );
        let file = self.home.path().join("bao.hcl");
        std::fs::write(&file, config).map_err(|e| format!("{}: {e}", file.display()))
    }

    /// Starts the process, and waits until it answers.
    async fn spawn(&mut self) -> Result<(), String> {
        let home = self.home.path();
        let mut command = Command::new(&self.program);
        command.arg("server").arg("-config").arg(home.join("bao.hcl"));
        command.env_clear().env("HOME", home).current_dir(home);
        let log = home.join("log");
        let process = self.process.insert(Process::start(command, &log, Signal::KILL, self.core)?);
        // A life's telemetry begins with nothing.
        self.asked.forget();
        let mut api = Api::new(self.port, &self.keys.root, &self.asked);
        let began = Instant::now();
        while api.answer(&Ask::read("sys/health")).await.is_err() {
            if let Some(how) = process.ended() {
                return Err(format!("OpenBao {how}"));
            }
            if began.elapsed() > PATIENCE {
                let said = process.last_words();
                return Err(format!(
                    "OpenBao did not answer within {PATIENCE:?}. It said: {said:?}"
                ));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Unseals it, and waits until it is the active one.
    pub async fn unseal(&mut self) -> Result<(), String> {
        let mut api = self.api();
        api.ask(&Ask::write("sys/unseal", json!({"key": self.keys.unseal.as_str()}))).await?;
        api.insist(&Ask::read("sys/health")).await.map(drop)
    }

    /// Ends the process at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            self.before += process.cpu().unwrap_or_default();
            process.end();
        }
    }

    /// Starts it again with all that it held, at the same address.
    pub async fn start_again(&mut self) -> Result<(), String> {
        self.spawn().await?;
        self.unseal().await
    }

    /// Ends it as an operator does, so that its files are whole.
    pub(super) fn settle(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end_with(Signal::TERM);
        }
    }

    /// A connection with the root token.
    pub fn api(&self) -> Api {
        Api::new(self.port, &self.keys.root, &self.asked)
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Its files, which are whole once it has ended.
    pub(super) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// `http://127.0.0.1:PORT`
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT`
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where callers reach it.
    pub(super) fn callers(&self) -> At {
        self.callers.clone().unwrap_or(At::Port(self.port))
    }

    /// How it ended by itself; `None` while it runs, or where it was stopped.
    pub fn ended(&mut self) -> Option<String> {
        self.process.as_mut().and_then(Process::ended)
    }

    pub(super) fn cpu(&self) -> Option<Duration> {
        let now = self.process.as_ref().map_or(Some(Duration::ZERO), Process::cpu);
        Some(self.before + now?)
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
}
