//! What the program is made of, and how it lives and ends. Every long-lived task is spawned here.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::admin::{Admin, Readiness};
use crate::body::Response;
use crate::config::{Bind, Config, Limits, Listener, Source};
use crate::edge::Edge;
use crate::error::BoxError;
use crate::handover::Handover;
use crate::hardening::{Memory, harden, take_all_descriptors};
use crate::server::{Arrival, Server, Service};
use crate::takeover::{Company, Word};
use crate::telemetry;
use crate::watch::Watch;

mod attempt;
mod embedded;
mod files;
mod keeping;
mod parts;
mod succession;
mod tasks;

pub use attempt::attempt;
pub use embedded::Embedded;
pub use parts::{Parts, Surroundings};
use succession::{Predecessor, Succession};

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
    parts: Arc<Parts>,
    handover: Arc<Handover>,
    succession: Option<Succession>,
    watch: Arc<Watch>,
    ready: Arc<Readiness>,
    stops: Stops,
    servers: TaskTracker,
    admin_server: TaskTracker,
}

/// What ends the process, in this order.
#[derive(Clone, Default)]
struct Stops {
    /// The callers' listeners.
    servers: CancellationToken,
    /// What keeps logins and leases alive.
    keepers: CancellationToken,
    /// The operators' listener.
    admin: CancellationToken,
    /// All that runs beside requests.
    tasks: CancellationToken,
}

impl Running {
    /// Binds everything, then serves; or takes over from the process that does, where one runs and
    /// `upgrade.socket` says how to ask it.
    ///
    /// # Errors
    /// An address is taken, or a file cannot be used; or the process that runs goes on.
    pub async fn start(config: Config) -> Result<Self, BoxError> {
        let mut predecessor = Predecessor::ask(&config).await?;
        let started = Self::start_after(&mut predecessor, config).await;
        if let Err(error) = &started {
            predecessor.give_up(&error.to_string()).await;
        }
        started
    }

    async fn start_after(predecessor: &mut Predecessor, config: Config) -> Result<Self, BoxError> {
        // Another process writes the store while it runs.
        let store = if predecessor.runs() {
            keeping::Store::None
        } else {
            keeping::Store::open(&config).await?
        };
        let audit = predecessor.audit();
        let left = predecessor.content().or(store.content());
        let parts = Arc::new(Parts::after(&config, left, audit, Surroundings::default())?);
        let kv = config.cache.leases.store.as_ref().is_some_and(|store| store.kv);
        let handover = Arc::new(parts.handover(&config.auth.kubernetes, kv));
        let mut servers = Vec::new();
        for listener in &config.listeners {
            servers.push(predecessor.listen(listener.clone()).await?);
        }
        let admin_server =
            predecessor.listen_to_operators(admin_listener(config.admin.address)).await?;
        let admin = admin_server.address().unwrap_or(config.admin.address);
        let watched = files::watched(&config, &servers, &parts);
        let mut running = Self {
            listeners: servers.iter().map(Server::name).collect(),
            admin,
            watch: Arc::new(Watch::new(watched, Arc::clone(&parts.metrics))),
            ready: Arc::default(),
            stops: Stops::default(),
            servers: TaskTracker::new(),
            admin_server: TaskTracker::new(),
            succession: Succession::new(&config, &servers, &admin_server, &parts, &handover)?,
            handover,
            parts,
            config,
        };
        // Should it not come to serving, what was begun ends.
        let begun = running.stops.tasks.clone().drop_guard();
        let Self { config, parts, handover, stops, .. } = &running;
        // What is left names the cluster it is of, before anybody watches for another.
        predecessor.adopt(handover).await?;
        if store.begin(parts, handover, config, &stops.tasks).await {
            running.ready.degraded();
        }
        tasks::start(parts, Arc::clone(&running.watch), Arc::clone(&running.ready), &stops.tasks);
        let company = predecessor.ready(handover, &parts.upstream).await?;
        if company.is_none() {
            tasks::keep(parts, &stops.keepers);
            if let Some(succession) = &mut running.succession {
                succession.open()?;
            }
        }
        running.listen(servers, admin_server);
        if let Some(company) = company {
            running.taken_over(company, predecessor.upstream).await;
        }
        begun.disarm();
        Ok(running)
    }

    /// Answers from now on.
    fn listen(&self, servers: Vec<Server>, admin_server: Server) {
        let edge = Workloads(Arc::clone(&self.parts.edge));
        let grace = self.config.shutdown.drain;
        for server in servers {
            server.own();
            info!(address = server.name(), "listening");
            self.servers.spawn(server.run(edge.clone(), self.stops.servers.clone(), grace));
        }
        info!(address = %self.admin, "admin listening");
        let admin = Admin::new(
            (
                Arc::clone(&self.parts.store),
                Arc::clone(&self.parts.logins),
                Arc::clone(&self.parts.upstream),
                Arc::clone(&self.parts.refusals),
            ),
            Arc::clone(&self.parts.leases),
            self.parts.policies.clone(),
            self.parts.audit.clone(),
            Arc::clone(&self.parts.metrics),
            Arc::clone(&self.ready),
            self.config.admin.show_paths,
        );
        let (operators, stop) = (Operators(Arc::new(admin)), self.stops.admin.clone());
        self.admin_server.spawn(admin_server.run(operators, stop, Duration::from_secs(1)));
    }

    /// This process answers in the place of another, which is told so, and heard out. `upstream`:
    /// whether the upstream answers.
    async fn taken_over(&mut self, mut company: Company, upstream: bool) {
        if upstream {
            self.ready.ready();
        } else {
            self.ready.degraded();
        }
        if let Err(failure) = company.taken().await {
            warn!(%failure, "the process before has ended already");
        }
        info!("took over");
        if let Some(succession) = &mut self.succession
            && let Err(error) = succession.open()
        {
            warn!(%error, "no other process can take over from this one");
        }
        let stops = (self.stops.keepers.clone(), self.stops.tasks.clone());
        let hearing = self.succession.as_ref().map(|it| it.hearing.clone()).unwrap_or_default();
        let (parts, handover) = (&self.parts, &self.handover);
        succession::hear_out(company, parts, handover, &self.config, stops, &hearing);
    }

    /// Waits for a signal to end, or for a process to take over, and ends.
    async fn until_signal(
        mut self,
        source: Source,
        log: telemetry::Handle,
    ) -> Result<(), BoxError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let succession = self.succession.take();
        let company = {
            let mut asked = pin!(async {
                match &succession {
                    Some(succession) => succession.asked().await,
                    None => pending().await,
                }
            });
            loop {
                tokio::select! {
                    _ = terminate.recv() => break None,
                    _ = interrupt.recv() => break None,
                    _ = hangup.recv() => self.reload(&source, &log),
                    company = asked.as_mut() => break Some(company),
                }
            }
        };
        match (company, succession) {
            (Some(company), Some(succession)) => self.leave_to(company, succession).await,
            (_, succession) => {
                self.succession = succession;
                self.stop().await;
            }
        }
        Ok(())
    }

    /// Answers what is in hand, leaves what it knows to the process that has taken over, and ends.
    async fn leave_to(self, company: Company, succession: Succession) {
        succession.give();
        self.ready.drain();
        info!("another process has taken over: draining");
        let (say, words) = mpsc::channel(1);
        let said = tokio::spawn(company.bequeath(words));
        self.stops.servers.cancel();
        self.stops.admin.cancel();
        self.stops.keepers.cancel();
        self.parts.leases.leave().await;
        self.parts.leases.written().await;
        // Should it be gone, nobody is told.
        drop(say.send(Word::Yours).await);
        self.drain().await;
        if let Some(audit) = &self.parts.audit {
            audit.stop().await;
        }
        drop(say.send(Word::Rest(Box::new(self.handover.last()))).await);
        drop(said.await);
        self.stops.tasks.cancel();
        info!("stopped");
    }

    async fn drain(&self) {
        self.servers.close();
        self.servers.wait().await;
        let tunnels = &self.parts.tunnels;
        tunnels.close();
        if tokio::time::timeout(Duration::from_secs(1), tunnels.wait()).await.is_err() {
            info!(open = tunnels.len(), "cutting upgraded connections");
        }
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
    pub async fn stop(mut self) {
        self.ready.drain();
        info!("draining");
        // It has handles of the listening sockets, which would keep them open.
        drop(self.succession.take());
        self.stops.servers.cancel();
        self.drain().await;
        self.parts.leases.shut_down().await;
        self.parts.leases.written().await;
        self.stops.keepers.cancel();
        self.stops.tasks.cancel();
        self.stops.admin.cancel();
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
        reuse_port: false,
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
