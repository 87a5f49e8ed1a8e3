//! How do the tests run the program? As its users do: a configuration file, a process, signals.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::client::Client;

/// Longest the program may take to start, and to end once it was told to.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `vaultlet serve`. Dropping it kills the process.
pub struct Vaultlet {
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
    config: PathBuf,
    /// `host:port` or path of each listener, in the order of the configuration.
    listeners: Vec<String>,
    admin: String,
    home: Arc<TempDir>,
}

impl Vaultlet {
    /// In front of `upstream`, with `settings` laid over what the tests need.
    pub async fn start(upstream: &str, settings: Value) -> Self {
        Self::start_by(&[], upstream, settings).await
    }

    /// The same, started by the command line `by`, which runs what is appended to it.
    pub async fn start_by(by: &[&str], upstream: &str, settings: Value) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let mut config = json!({
            "upstream": {"address": upstream},
            "listeners": [{"address": "127.0.0.1:0"}],
            "admin": {"address": "127.0.0.1:0"},
            // A test asks faster than any caller should; `tenants` is about the bound.
            "auth": {"limits": {"misses_per_second": 100_000}},
        });
        merge(&mut config, settings);
        if config["upstream"].get("addresses").is_some() {
            config["upstream"].as_object_mut().unwrap().remove("address");
        }
        let file = home.path().join("vaultlet.yaml");
        write_config(&file, &config);
        let mut vaultlet = Self::spawn(by, file, home);
        vaultlet.wait_until_listening(config["listeners"].as_array().unwrap().len()).await;
        vaultlet
    }

    fn spawn(by: &[&str], config: PathBuf, home: Arc<TempDir>) -> Self {
        let line = [by, &[env!("CARGO_BIN_EXE_vaultlet")]].concat();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).arg("serve").arg("--config").arg(&config);
        // The environment configures too: nothing of the developer's may leak in.
        command.env_clear().env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let sink = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sink.lock().unwrap().push(line);
            }
        });
        let (listeners, admin) = (Vec::new(), String::new());
        Self { process, log, config, listeners, admin, home }
    }

    async fn wait_until_listening(&mut self, listeners: usize) {
        let began = Instant::now();
        loop {
            let ended = self.process.try_wait().unwrap();
            self.listeners = addresses(&self.events("listening"));
            self.admin = addresses(&self.events("admin listening")).pop().unwrap_or_default();
            if self.listeners.len() >= listeners && !self.admin.is_empty() {
                return;
            }
            let late = began.elapsed() > PATIENCE;
            assert!(ended.is_none() && !late, "did not start: {ended:?}\n{}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// One more process on the same configuration and files; its addresses are others, unless it
    /// takes over.
    pub async fn another(&self) -> Self {
        let mut another = self.begin_another();
        another.wait_until_listening(self.listeners.len()).await;
        another
    }

    /// The same, without waiting for anything.
    pub fn begin_another(&self) -> Self {
        Self::spawn(&[], self.config.clone(), self.home.clone())
    }

    /// Ends the process at once, as a crash does.
    pub async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Ends it as an operator does, and waits for that.
    pub async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        assert!(self.ended().await.success(), "{}", self.log());
    }

    /// Starts it again, when it has ended, on what it was started with and has kept.
    pub async fn start_again(&mut self) {
        *self = self.another().await;
    }

    /// A client of the first listener, without a token.
    pub fn client(&self) -> Client {
        Client::tcp(&self.listeners[0])
    }

    /// `host:port` of the first listener.
    pub fn address(&self) -> &str {
        &self.listeners[0]
    }

    /// A client of the operators' listener.
    pub fn admin(&self) -> Client {
        Client::tcp(&self.admin)
    }

    /// `host:port` of the operators' listener.
    pub fn admin_address(&self) -> &str {
        &self.admin
    }

    /// Everything written to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The fields of every log line with this message.
    pub fn events(&self, message: &str) -> Vec<Value> {
        let lines = self.log.lock().unwrap();
        let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.map(|line| line["fields"].clone()).filter(|f| f["message"] == message).collect()
    }

    /// The file the process was started with, to be changed before a reload.
    pub fn config(&self) -> &Path {
        &self.config
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.pid();
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.process.id().expect("vaultlet is running")
    }

    /// Bytes of memory that the process holds now.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.process.wait()).await;
        ended.unwrap_or_else(|_| panic!("did not end\n{}", self.log())).unwrap()
    }

    /// The value of one sample in `/metrics`, summed over the label sets that contain `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.admin().send(&crate::client::Call::get("").target("/metrics")).await.text();
        let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
        let ours = samples.filter(|(key, _)| {
            key.split('{').next() == Some(name) && labels.iter().all(|label| key.contains(label))
        });
        ours.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }
}

impl Drop for Vaultlet {
    /// A test that failed shows what the program had to say.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("vaultlet's log:\n{}", self.log());
        }
    }
}

fn addresses(events: &[Value]) -> Vec<String> {
    events.iter().map(|fields| fields["address"].as_str().unwrap().to_owned()).collect()
}

/// Writes a configuration file. JSON is YAML, so the tests need no YAML writer.
pub fn write_config(file: &Path, config: &Value) {
    let whole = file.with_extension("new");
    std::fs::write(&whole, serde_json::to_string_pretty(config).unwrap()).unwrap();
    std::fs::rename(whole, file).unwrap();
}

/// Lays `over` on `base`: objects are merged, everything else is replaced.
pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}
