//! How is vaultlet started, asked how it is, and ended?

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use vaultlet_loadtest::{Process, beside, directory, free_port, resident};

use crate::caller::Caller;

/// Longest that it may take to be ready, and to end once it was told to.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest that its admin listener may take.
const PROMPT: Duration = Duration::from_secs(2);

/// A configuration, and the processes that run with it.
pub(crate) struct Vaultlet {
    program: PathBuf,
    home: TempDir,
    port: u16,
    admin: u16,
    /// The last is the newest.
    processes: Vec<Process>,
    started: usize,
}

impl Vaultlet {
    /// In front of `upstream`, with `settings` laid over what all runs share.
    pub(crate) async fn start(upstream: &str, settings: &Value) -> Result<Self, String> {
        let build = "build it with `cargo build --workspace`";
        let program = beside("vaultlet", "VAULTLET_BIN", build)?;
        let (home, port, admin) = (directory()?, free_port()?, free_port()?);
        let mut config = json!({
            "upstream": {"address": upstream, "timeout": "8s", "connect_timeout": "1s"},
            "listeners": [{"address": format!("127.0.0.1:{port}")}],
            "admin": {"address": format!("127.0.0.1:{admin}")},
            "upgrade": {"socket": home.path().join("upgrade.sock")},
            "log": {"level": "warn"},
        });
        merge(&mut config, settings);
        // Every JSON text is YAML.
        let file = home.path().join("vaultlet.yaml");
        std::fs::write(&file, config.to_string())
            .map_err(|e| format!("{}: {e}", file.display()))?;
        let mut vaultlet = Self { program, home, port, admin, processes: vec![], started: 0 };
        vaultlet.spawn()?;
        vaultlet.ready().await?;
        Ok(vaultlet)
    }

    /// Starts one more process with the same configuration.
    pub(crate) fn spawn(&mut self) -> Result<(), String> {
        let home = self.home.path();
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--config").arg(home.join("vaultlet.yaml"));
        // The environment configures too.
        command.env_clear().current_dir(home);
        let log = home.join(format!("log.{}", self.started));
        self.started += 1;
        self.processes.push(Process::start(command, &log, Signal::KILL, None)?);
        Ok(())
    }

    /// Waits until somebody says that it can answer.
    pub(crate) async fn ready(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            if let Some(how) = self.ended() {
                return Err(format!("vaultlet {how}"));
            }
            if self.admin("/readyz").await.is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                let said = self.processes.last().map(Process::last_words).unwrap_or_default();
                return Err(format!("vaultlet is not ready after {PATIENCE:?}. It said: {said:?}"));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends all processes as a crash does, and starts one.
    pub(crate) async fn restart(&mut self) -> Result<(), String> {
        self.processes.clear();
        self.spawn()?;
        self.ready().await
    }

    /// Tells the oldest process to end, as an init system does.
    pub(crate) fn terminate(&self) {
        let oldest = self.processes.first().map(|process| process.id().cast_signed());
        if let Some(pid) = oldest.and_then(Pid::from_raw) {
            // It may have ended by itself; then that is what is said of it.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// How the oldest process ended; `None` if it does not. It is forgotten then.
    pub(crate) async fn end(&mut self) -> Option<String> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(how) = self.processes.first_mut()?.ended() {
                self.processes.remove(0);
                return Some(how);
            }
            sleep(Duration::from_millis(5)).await;
        }
        None
    }

    /// Starts one more process, and waits until that has taken the place of the one before.
    ///
    /// # Errors
    /// It has not; with its last words, or those of the one before if that did not end well.
    pub(crate) async fn succeed(&mut self) -> Result<(), String> {
        self.spawn()?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(how) = self.processes.first_mut().and_then(Process::ended) {
                self.processes.remove(0);
                let well = how.contains("exit status: 0");
                return if well { Ok(()) } else { Err(format!("the old process {how}")) };
            }
            if let Some(how) = self.ended() {
                self.processes.pop();
                return Err(format!("the new process {how}"));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Err(format!("the old process goes on after {PATIENCE:?}"))
    }

    /// How the newest process ended by itself, with its last words; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.processes.last_mut().and_then(Process::ended)
    }

    /// What the admin listener answers.
    pub(crate) async fn admin(&self, target: &str) -> Result<(u16, Vec<u8>), String> {
        let asked = async {
            let mut caller = Caller::connect(self.admin).await?;
            let answer = caller.get(target, None).await?;
            Ok::<_, std::io::Error>((answer.head.status(), answer.body))
        };
        match timeout(PROMPT, asked).await {
            Ok(answer) => answer.map_err(|e| e.to_string()),
            Err(late) => Err(late.to_string()),
        }
    }

    /// Bytes of memory that the newest process holds.
    pub(crate) fn resident(&self) -> u64 {
        self.pid().and_then(resident).unwrap_or(0)
    }

    /// Descriptors that the newest process has open, and its threads.
    pub(crate) fn open(&self, what: &str) -> u64 {
        let files = self.pid().map(|pid| std::fs::read_dir(format!("/proc/{pid}/{what}")));
        files.and_then(Result::ok).map_or(0, Iterator::count) as u64
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.processes.last().map(Process::id)
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Lays `settings` over a configuration.
fn merge(config: &mut Value, settings: &Value) {
    match (config, settings) {
        (Value::Object(config), Value::Object(settings)) => {
            for (key, value) in settings {
                merge(config.entry(key).or_insert(Value::Null), value);
            }
        }
        (config, settings) => *config = settings.clone(),
    }
}
