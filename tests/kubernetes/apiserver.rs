//! Which cluster do the tests run against? A kube-apiserver on an etcd, on free loopback ports.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::bao::{binary, free_port};
use crate::client::{Call, Client};

/// Longest a server may take from its start to its first good answer. Alone on the machine it is
/// four seconds.
const START: Duration = Duration::from_mins(2);

/// The bearer token of somebody who may do everything.
const ADMIN: &str = "admin-of-the-tests";

/// A running API server and the etcd behind it. Dropping it kills both processes.
pub struct ApiServer {
    process: Child,
    etcd: Child,
    etcd_port: u16,
    port: u16,
    /// How many signing keys there have been; the last one signs, the others are still accepted.
    keys: usize,
    client: Client,
    home: TempDir,
}

impl ApiServer {
    pub async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let authority = write_certificates(home.path());
        write_signing_key(home.path(), 1);
        let admin = format!("{ADMIN},admin,admin,system:masters\n");
        std::fs::write(home.path().join("tokens.csv"), admin).unwrap();
        let (etcd, etcd_port) = start_etcd(home.path()).await;
        // A port that was free may be taken before the server binds it: then another one.
        for _ in 0..5 {
            let port = free_port();
            let process = spawn(home.path(), etcd_port, port, 1);
            let client = Client::tls(&format!("127.0.0.1:{port}"), authority.clone());
            if let Some(process) = ready(process, &client).await {
                return Self { process, etcd, etcd_port, port, keys: 1, client, home };
            }
        }
        panic!("kube-apiserver did not start on five free ports:\n{}", log(home.path()));
    }

    /// `https://127.0.0.1:PORT`, which is also the `iss` of every token, so that keys can be found
    /// from there.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The authority that its certificate is from.
    pub fn ca_file(&self) -> PathBuf {
        self.home.path().join("ca.crt")
    }

    /// A directory that lives as long as the servers do.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Over TLS, with no credential.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The call, made by somebody who may do everything.
    pub fn as_admin(call: Call) -> Call {
        call.with("authorization", &format!("Bearer {ADMIN}"))
    }

    /// Ends the API server at once, as a crash does. What etcd holds stays.
    pub async fn stop(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Starts a stopped server again, on the same address.
    pub async fn restart(&mut self) {
        self.process.kill().await.unwrap();
        let began = Instant::now();
        loop {
            let process = spawn(self.home.path(), self.etcd_port, self.port, self.keys);
            if let Some(process) = ready(process, &self.client).await {
                self.process = process;
                return;
            }
            assert!(began.elapsed() < START, "no restart:\n{}", log(self.home.path()));
        }
    }

    /// What an administrator does to rotate keys: restarts the server so that it signs with another
    /// one and accepts both.
    pub async fn rotate_keys(&mut self) {
        self.keys += 1;
        write_signing_key(self.home.path(), self.keys);
        self.restart().await;
    }

    /// Both processes, for the test that they end.
    pub fn pids(&self) -> [u32; 2] {
        [self.process.id().unwrap(), self.etcd.id().unwrap()]
    }
}

fn spawn(home: &Path, etcd: u16, port: u16, keys: usize) -> Child {
    let mut command = Command::new(binary("KUBE_APISERVER_BIN", "kube-apiserver", TARGET));
    let flag = |name: &str, file: &str| format!("--{name}={}", home.join(file).display());
    command.args([
        &format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        &format!("--secure-port={port}"),
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        &flag("cert-dir", "certificates"),
        &flag("tls-cert-file", "server.crt"),
        &flag("tls-private-key-file", "server.key"),
        &flag("token-auth-file", "tokens.csv"),
        "--authorization-mode=RBAC",
        &format!("--service-account-issuer=https://127.0.0.1:{port}"),
        &flag("service-account-signing-key-file", &format!("signing-{keys}.key")),
        // Its endpoints are for those inside the cluster, and nobody is.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
    ]);
    for number in 1..=keys {
        command.arg(flag("service-account-key-file", &format!("signing-{number}.pub")));
    }
    run(command, home, "kube-apiserver.log")
}

async fn start_etcd(home: &Path) -> (Child, u16) {
    for attempt in 0..5 {
        let port = free_port();
        let address = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(binary("ETCD_BIN", "etcd", TARGET));
        command.arg("--data-dir").arg(home.join(format!("etcd-{attempt}")));
        command.args(["--listen-client-urls", &address, "--advertise-client-urls", &address]);
        // Alone, so nobody needs to know where its peers would find it.
        command.args(["--listen-peer-urls", "http://127.0.0.1:0"]);
        command.args(["--log-level", "warn", "--unsafe-no-fsync"]);
        let process = run(command, home, "etcd.log");
        let client = Client::tcp(&address);
        let health = Call::get("").target("/health");
        if let Some(process) = wait(process, &client, &health).await {
            return (process, port);
        }
    }
    panic!("etcd did not start on five free ports: is it named by ETCD_BIN?");
}

/// The make target that builds both programs.
const TARGET: &str = "test-kubernetes";

fn run(mut command: Command, home: &Path, log: &str) -> Child {
    let log = std::fs::File::create(home.join(log)).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
    command.env_clear().env("HOME", home).kill_on_drop(true).spawn().unwrap()
}

/// The process once it can do everything, or nothing if it ended before that.
async fn ready(process: Child, client: &Client) -> Option<Child> {
    let readyz = ApiServer::as_admin(Call::get("").target("/readyz"));
    wait(process, client, &readyz).await
}

async fn wait(mut process: Child, client: &Client, call: &Call) -> Option<Child> {
    let began = Instant::now();
    let client = client.clone().patience(Duration::from_secs(5));
    while process.try_wait().unwrap().is_none() {
        if client.try_send(call).await.is_ok_and(|answer| answer.status == 200) {
            return Some(process);
        }
        assert!(began.elapsed() < START, "{call:?} was not answered within {START:?}");
        sleep(Duration::from_millis(100)).await;
    }
    None
}

/// The end of what the API server wrote, for a failed test.
fn log(home: &Path) -> String {
    let text = std::fs::read_to_string(home.join("kube-apiserver.log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// An authority and a certificate for the loopback address; a client that trusts the authority.
fn write_certificates(home: &Path) -> Arc<ClientConfig> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(home.join("ca.crt"), authority.pem()).unwrap();
    std::fs::write(home.join("server.crt"), leaf.pem()).unwrap();
    std::fs::write(home.join("server.key"), key.serialize_pem()).unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// RSA, as clusters have it that kubeadm made.
fn write_signing_key(home: &Path, number: usize) {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    std::fs::write(home.join(format!("signing-{number}.key")), key.serialize_pem()).unwrap();
    std::fs::write(home.join(format!("signing-{number}.pub")), key.public_key_pem()).unwrap();
}
