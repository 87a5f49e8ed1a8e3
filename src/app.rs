//! What the program is made of, and how it lives and ends. Every long-lived task is spawned here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::admin::{Admin, Readiness};
use crate::body::Response;
use crate::config::{Bind, Config, Limits, Listener, Source};
use crate::edge::Edge;
use crate::error::BoxError;
use crate::hardening::{Memory, harden, take_all_descriptors};
use crate::server::{Arrival, Server, Service};
use crate::telemetry;
use crate::watch::{Watch, Watched};

mod attempt;
mod embedded;
mod keeping;
mod parts;
mod tasks;

pub use attempt::attempt;
pub use embedded::Embedded;
pub use parts::{Parts, Surroundings};

/// Runs the proxy until a signal ends it: SIGTERM and SIGINT drain, SIGHUP loads `source` again.
///
/// # Errors
/// It could not start; one paragraph for people.
pub fn serve(config: Config, source: Source) -> Result<(), String> {
    let memory = harden().map_err(|error| format!("cannot protect the process: {error}"))?;
    take_all_descriptors().map_err(|error| format!("cannot raise RLIMIT_NOFILE: {error}"))?;
    let log = telemetry::start(&config.log).map_err(|error| error.to_string())?;
    let runtime = Runtime::new().map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        let running = Running::start(config).await.map_err(|error| error.to_string())?;
        running.parts.metrics.memory_locked(memory == Memory::Locked);
        running.until_signal(source, log).await.map_err(|error| error.to_string())
    })
}

/// A running proxy.
pub struct Running {
    /// Where callers connect: addresses as they were bound, unix sockets as `unix:PATH`.
    pub listeners: Vec<String>,
    /// Where operators connect.
    pub admin: SocketAddr,
    config: Config,
    parts: Parts,
    watch: Arc<Watch>,
    ready: Arc<Readiness>,
    /// Ends the callers' listeners, then the operators'.
    stop: CancellationToken,
    stop_admin: CancellationToken,
    servers: TaskTracker,
    admin_server: TaskTracker,
}

impl Running {
    /// Binds everything, then serves.
    ///
    /// # Errors
    /// An address is taken, or a file cannot be used.
    pub async fn start(config: Config) -> Result<Self, BoxError> {
        let store = keeping::Store::open(&config).await?;
        let parts = Parts::new(&config, store.content(), Surroundings::default())?;
        let ready = Arc::new(Readiness::default());
        let admin = Admin::new(
            (
                Arc::clone(&parts.store),
                Arc::clone(&parts.logins),
                Arc::clone(&parts.upstream),
                Arc::clone(&parts.refusals),
            ),
            Arc::clone(&parts.leases),
            parts.policies.clone(),
            parts.audit.clone(),
            Arc::clone(&parts.metrics),
            Arc::clone(&ready),
            config.admin.show_paths,
        );

        let mut servers = Vec::new();
        for listener in &config.listeners {
            servers.push(Server::bind(listener.clone()).await?);
        }
        let admin_server = Server::bind(admin_listener(config.admin.address)).await?;
        let admin_address = admin_server.address().unwrap_or(config.admin.address);
        let watched = watched(&config, &servers, &parts);
        let watch = Arc::new(Watch::new(watched, Arc::clone(&parts.metrics)));
        let running = Self {
            listeners: servers.iter().map(Server::name).collect(),
            admin: admin_address,
            watch: Arc::clone(&watch),
            ready: Arc::clone(&ready),
            stop: CancellationToken::new(),
            stop_admin: CancellationToken::new(),
            servers: TaskTracker::new(),
            admin_server: TaskTracker::new(),
            parts,
            config,
        };
        store.begin(&running.parts, &running.config, &running.stop_admin).await;
        tasks::start(&running.parts, watch, ready, &running.stop_admin);
        let edge = Workloads(Arc::clone(&running.parts.edge));
        let grace = running.config.shutdown.drain;
        for server in servers {
            info!(address = server.name(), "listening");
            running.servers.spawn(server.run(edge.clone(), running.stop.clone(), grace));
        }
        info!(address = %running.admin, "admin listening");
        let operators = Operators(Arc::new(admin));
        let stop = running.stop_admin.clone();
        running.admin_server.spawn(admin_server.run(operators, stop, Duration::from_secs(1)));
        Ok(running)
    }

    /// Waits for a signal to end, and ends.
    async fn until_signal(
        mut self,
        source: Source,
        log: telemetry::Handle,
    ) -> Result<(), BoxError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => self.reload(&source, &log),
            }
        }
        self.stop().await;
        Ok(())
    }

    /// Reads the configuration and every file it names again. What can change while running does;
    /// the rest is named, and waits for a restart.
    fn reload(&mut self, source: &Source, log: &telemetry::Handle) {
        self.watch.reload_all();
        if let Some(audit) = &self.parts.audit {
            audit.reopen();
        }
        let config = match source.load() {
            Ok(config) => config,
            Err(problems) => {
                warn!(%problems, "the configuration cannot be used; the one before goes on");
                return;
            }
        };
        if (&self.config.cache.kv, &self.config.cache.rules)
            != (&config.cache.kv, &config.cache.rules)
        {
            self.parts.kv.set_rules(&config.cache);
            self.parts.leases.rules_changed();
        }
        if let Err(error) = log.set_level(config.log.level) {
            warn!(%error, "the log level cannot be changed");
        }
        let mut applied = self.config.clone();
        applied.cache.kv = config.cache.kv.clone();
        applied.cache.rules.clone_from(&config.cache.rules);
        applied.log.level = config.log.level;
        if applied == config {
            info!("configuration reloaded");
        } else {
            warn!(
                "configuration reloaded; what is not in cache.kv, cache.rules or log.level waits for a restart"
            );
        }
        self.config = applied;
    }

    /// Answers what is in hand, then ends.
    pub async fn stop(self) {
        self.ready.drain();
        info!("draining");
        self.stop.cancel();
        self.servers.close();
        self.servers.wait().await;
        let tunnels = &self.parts.tunnels;
        tunnels.close();
        if tokio::time::timeout(Duration::from_secs(1), tunnels.wait()).await.is_err() {
            info!(open = tunnels.len(), "cutting upgraded connections");
        }
        self.parts.leases.shut_down().await;
        self.parts.leases.written().await;
        self.stop_admin.cancel();
        self.admin_server.close();
        self.admin_server.wait().await;
        if let Some(audit) = &self.parts.audit {
            audit.stop().await;
        }
        info!("stopped");
    }
}

/// The callers' side of the process.
#[derive(Clone)]
struct Workloads(Arc<Edge>);

impl Service for Workloads {
    async fn answer(
        &self,
        request: Request<Incoming>,
        listener: &Listener,
        arrival: Arrival,
    ) -> Response {
        self.0.answer(request, listener, arrival).await
    }
}

/// The operators' side.
#[derive(Clone)]
struct Operators(Arc<Admin>);

impl Service for Operators {
    async fn answer(&self, request: Request<Incoming>, _: &Listener, _: Arrival) -> Response {
        self.0.answer(request).await
    }
}

fn admin_listener(address: SocketAddr) -> Listener {
    let second = Duration::from_secs(1);
    Listener {
        bind: Bind::Tcp(address),
        tls: None,
        require_request_header: false,
        http2: false,
        limits: Limits {
            max_connections: 256,
            idle_timeout: 60 * second,
            header_timeout: 10 * second,
            max_header_bytes: 16 * 1024,
            max_body_bytes: 64 * 1024,
            stall_timeout: 30 * second,
        },
    }
}

fn watched(config: &Config, servers: &[Server], parts: &Parts) -> Vec<Watched> {
    let mut watched = parts.issuers.watched();
    if !parts.guardrails.files().is_empty() {
        let guardrails = Arc::clone(&parts.guardrails);
        let files = guardrails.files().to_vec();
        let reload = Box::new(move || guardrails.reload());
        watched.push(Watched { name: "guardrails", files, reload });
    }
    if let Some(file) = &config.upstream.ca_file {
        let upstream = Arc::clone(&parts.upstream);
        let reload = Box::new(move || upstream.reload());
        watched.push(Watched { name: "upstream authorities", files: vec![file.clone()], reload });
    }
    for certificates in servers.iter().filter_map(Server::certificates) {
        let files = certificates.files();
        let files = [Some(&files.cert_file), Some(&files.key_file), files.client_ca_file.as_ref()];
        let files = files.into_iter().flatten().cloned().collect();
        let reload = Box::new(move || certificates.reload());
        watched.push(Watched { name: "serving certificate", files, reload });
    }
    watched
}
