//! Which upstream do the tests run against? A real OpenBao each, on a free loopback port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::client::{Call, Client};

/// Longest a server may take from its start to its first healthy answer.
const START: Duration = Duration::from_mins(1);

/// A running server. Dropping it kills the process.
pub struct Bao {
    binary: PathBuf,
    kind: Kind,
    port: u16,
    process: Child,
    home: TempDir,
    root: String,
    unseal: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// In memory: a restart loses everything and has another cluster id.
    Dev,
    /// On disk: a restart keeps everything and comes back sealed.
    Disk,
}

impl Bao {
    /// The pinned version, in memory, root token `root`, KV v2 at `secret/`.
    pub async fn dev() -> Self {
        Self::start(binary("BAO_BIN", "bao", "tools"), Kind::Dev).await
    }

    /// The oldest supported version, as [`Self::dev`].
    pub async fn oldest() -> Self {
        Self::start(binary("BAO_OLDEST_BIN", "bao-2.6.1", "tools"), Kind::Dev).await
    }

    /// The pinned version on raft storage, initialised and unsealed, KV v2 at `secret/`.
    pub async fn on_disk() -> Self {
        let mut server = Self::start(binary("BAO_BIN", "bao", "tools"), Kind::Disk).await;
        let init = json!({"secret_shares": 1, "secret_threshold": 1});
        let keys = Client::tcp(&server.address()).post("sys/init", init).await.expect(200).json();
        keys["root_token"].as_str().unwrap().clone_into(&mut server.root);
        keys["keys"][0].as_str().unwrap().clone_into(&mut server.unseal);
        server.unseal().await;
        let mount = json!({"type": "kv", "options": {"version": "2"}});
        server.root().post("sys/mounts/secret", mount).await.expect(204);
        server.wait_for_upgrade().await;
        server
    }

    async fn start(binary: PathBuf, kind: Kind) -> Self {
        // A port that was free may be taken before the server binds it: then another one.
        for _ in 0..5 {
            let home = tempfile::tempdir().unwrap();
            let port = free_port();
            let process = spawn(&binary, kind, port, home.path());
            let (root, unseal) = ("root".to_owned(), String::new());
            let mut server =
                Self { binary: binary.clone(), kind, port, process, home, root, unseal };
            if server.answers().await {
                return server;
            }
        }
        panic!("{} did not start on five free ports", binary.display());
    }

    /// `http://127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client that asks the server directly, with the root token.
    pub fn root(&self) -> Client {
        Client::tcp(&self.address()).token(&self.root)
    }

    pub fn root_token(&self) -> &str {
        &self.root
    }

    /// The command of the same version, for tests of the command-line client.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Ends the process at once, as a crash does.
    pub async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Stops the process without closing anything: a black hole.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.process.id().expect("the server is running");
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Starts a killed server again on the same address. In memory: empty, and another cluster.
    pub async fn restart(&mut self) {
        self.process.kill().await.unwrap();
        let before = Instant::now();
        loop {
            self.process = spawn(&self.binary, self.kind, self.port, self.home.path());
            if self.answers().await {
                break;
            }
            assert!(before.elapsed() < START, "port {} is not free again", self.port);
        }
        if self.kind == Kind::Disk {
            self.unseal().await;
        }
    }

    pub async fn seal(&self) {
        self.root().post("sys/seal", json!({})).await.expect(204);
    }

    pub async fn unseal(&self) {
        let key = json!({"key": self.unseal});
        Client::tcp(&self.address()).post("sys/unseal", key).await.expect(200);
        self.wait(&[200]).await;
    }

    /// Whether the new process answers before it ends.
    async fn answers(&mut self) -> bool {
        let began = Instant::now();
        let call = Call::get("sys/health");
        loop {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            let health = Client::tcp(&self.address()).patience(Duration::from_secs(2));
            let ready = if self.kind == Kind::Dev { &[200][..] } else { &[200, 501, 503] };
            if health.try_send(&call).await.is_ok_and(|answer| ready.contains(&answer.status)) {
                break;
            }
            assert!(began.elapsed() < START, "the server did not answer within {START:?}");
            sleep(Duration::from_millis(20)).await;
        }
        if self.kind == Kind::Dev {
            self.wait_for_upgrade().await;
        }
        true
    }

    async fn wait(&self, statuses: &[u16]) {
        let began = Instant::now();
        while !statuses.contains(&self.root().get("sys/health").await.status) {
            assert!(began.elapsed() < START, "health is not {statuses:?} within {START:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// A fresh KV v2 mount answers 400 for a moment, "upgrading from non-versioned".
    async fn wait_for_upgrade(&self) {
        wait_for_kv(&self.root(), "secret").await;
    }
}

/// Waits until a KV v2 mount that was just made takes writes.
pub async fn wait_for_kv(root: &Client, mount: &str) {
    let began = Instant::now();
    let path = format!("{mount}/data/started");
    while root.post(&path, json!({"data": {}})).await.status != 200 {
        assert!(began.elapsed() < START, "{mount}/ takes no writes within {START:?}");
        sleep(Duration::from_millis(20)).await;
    }
    root.delete(&path.replace("/data/", "/metadata/")).await.expect(204);
}

/// A server's program: named by the environment, else where the make target `target` puts it.
pub fn binary(variable: &str, installed: &str, target: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin").join(installed),
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "these tests need a real {installed} and found none at {}: run `make {target}`, which \
         installs it, or name one in {variable}",
        path.display()
    );
    path
}

fn spawn(binary: &Path, kind: Kind, port: u16, home: &Path) -> Child {
    let mut command = Command::new(binary);
    command.arg("server");
    if kind == Kind::Dev {
        let listen = format!("-dev-listen-address=127.0.0.1:{port}");
        command.args(["-dev", "-dev-root-token-id=root", "-dev-no-store-token", &listen]);
    } else {
        let file = home.join("bao.hcl");
        std::fs::write(&file, on_disk_config(port, home)).unwrap();
        command.arg("-config").arg(file);
    }
    let log = std::fs::File::create(home.join("log")).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
    command.env_clear().env("HOME", home).kill_on_drop(true).spawn().unwrap()
}

/// Raft with one node: the only storage on disk that the pinned version has without a database.
fn on_disk_config(port: u16, home: &Path) -> String {
    let data = home.join("data");
    std::fs::create_dir_all(&data).unwrap();
    format!(
        "storage \"raft\" {{\n  path = \"{data}\"\n  node_id = \"one\"\n  performance_multiplier = 1\n}}\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n  \
         cluster_address = \"127.0.0.1:0\"\n}}\n\
         api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\n",
        data = data.display(),
        cluster = free_port(),
    )
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
