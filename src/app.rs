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
use crate::cache::Store;
use crate::clock::Clock;
use crate::config::{Bind, Config, Limits, Listener, Source};
use crate::edge::Edge;
use crate::error::BoxError;
use crate::forward::Forward;
use crate::identity::Logins;
use crate::kv::Kv;
use crate::kv::mounts::Mounts;
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::secret::Fingerprinter;
use crate::server::{Server, Service};
use crate::telemetry;
use crate::upstream::Upstream;
use crate::watch::{Watch, Watched};

/// Runs the proxy until a signal ends it: SIGTERM and SIGINT drain, SIGHUP loads `source` again.
///
/// # Errors
/// It could not start; one paragraph for people.
pub fn serve(config: Config, source: Source) -> Result<(), String> {
    let log = telemetry::start(&config.log).map_err(|error| error.to_string())?;
    let runtime = Runtime::new().map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        let running = Running::start(config).await.map_err(|error| error.to_string())?;
        running.until_signal(source, log).await.map_err(|error| error.to_string())
    })
}

/// Asks the upstream for its health, once; `Ok` is one line for people.
///
/// # Errors
/// No address of the upstream answers; one line for people.
pub fn try_upstream(config: &Config) -> Result<String, String> {
    let runtime = Runtime::new().map_err(|error| format!("cannot start the runtime: {error}"))?;
    let tried = runtime.block_on(async {
        let metrics = Arc::new(Metrics::new()?);
        let upstream = Upstream::new(&config.upstream, Clock::default(), metrics)?;
        let patience = config.upstream.connect_timeout + Duration::from_secs(3);
        // Each address is looked at once well within that.
        drop(
            tokio::time::timeout(patience, async {
                tokio::select! {
                    () = upstream.watch_health() => (),
                    () = upstream.answers() => (),
                }
            })
            .await,
        );
        Ok::<_, BoxError>(upstream.nodes())
    });
    let nodes = tried.map_err(|error| error.to_string())?;
    let described: Vec<_> =
        nodes.iter().map(|(address, state)| format!("{address} is {state}")).collect();
    let described = format!("upstream: {}", described.join(", "));
    let well = |state: &str| matches!(state, "active" | "standby");
    if nodes.iter().any(|(_, state)| well(state)) { Ok(described) } else { Err(described) }
}

/// A running proxy.
pub struct Running {
    /// Where callers connect: addresses as they were bound, unix sockets as `unix:PATH`.
    pub listeners: Vec<String>,
    /// Where operators connect.
    pub admin: SocketAddr,
    config: Config,
    kv: Arc<Kv>,
    watch: Arc<Watch>,
    ready: Arc<Readiness>,
    /// Ends the callers' listeners, then the operators'.
    stop: CancellationToken,
    stop_admin: CancellationToken,
    servers: TaskTracker,
    admin_server: TaskTracker,
    tunnels: TaskTracker,
}

impl Running {
    /// Binds everything, then serves.
    ///
    /// # Errors
    /// An address is taken, or a file cannot be used.
    pub async fn start(config: Config) -> Result<Self, BoxError> {
        let (clock, metrics) = (Clock::default(), Arc::new(Metrics::new()?));
        let window = config.policy.refresh;
        let namespace = config.upstream.namespace.trim_matches('/').to_owned();
        let (tunnels, ready) = (TaskTracker::new(), Arc::new(Readiness::default()));

        let upstream = Upstream::new(&config.upstream, clock.clone(), Arc::clone(&metrics))?;
        let upstream = Arc::new(upstream);
        let store = Store::new(config.cache.max_bytes, clock.clone(), Arc::clone(&metrics));
        let store = Arc::new(store);
        let mounts = Arc::new(Mounts::new(window, clock.clone()));
        let logins = Arc::new(Logins::new(
            Arc::clone(&upstream),
            Fingerprinter::new()?,
            window,
            clock.clone(),
            Arc::clone(&metrics),
        ));
        let parts = || {
            (Arc::clone(&store), Arc::clone(&mounts), Arc::clone(&logins), Arc::clone(&upstream))
        };
        let kv = Kv::new(&config.cache, namespace.clone(), parts(), clock.clone(), metrics.clone());
        let kv = Arc::new(kv);
        let forward = Forward::new(parts(), tunnels.clone(), namespace);
        let proxy = Proxy::new(
            &config,
            Arc::clone(&kv),
            forward,
            Arc::clone(&logins),
            Arc::clone(&mounts),
        )?;
        let edge = Callers(Arc::new(Edge::new(proxy, clock, Arc::clone(&metrics))));
        let admin = Admin::new(
            (Arc::clone(&store), Arc::clone(&logins), Arc::clone(&upstream)),
            Arc::clone(&metrics),
            Arc::clone(&ready),
        );

        let mut servers = Vec::new();
        for listener in &config.listeners {
            servers.push(Server::bind(listener.clone()).await?);
        }
        let admin_server = Server::bind(admin_listener(config.admin.address)).await?;
        let admin_address = admin_server.address().unwrap_or(config.admin.address);
        let watch = Arc::new(Watch::new(watched(&config, &servers, &upstream), metrics));
        let running = Self {
            listeners: servers.iter().map(Server::name).collect(),
            admin: admin_address,
            kv,
            watch: Arc::clone(&watch),
            ready: Arc::clone(&ready),
            stop: CancellationToken::new(),
            stop_admin: CancellationToken::new(),
            servers: TaskTracker::new(),
            admin_server: TaskTracker::new(),
            tunnels,
            config,
        };
        running.look_after(&upstream, store, mounts, logins, watch, ready);
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

    /// The tasks that live as long as the process.
    fn look_after(
        &self,
        upstream: &Arc<Upstream>,
        store: Arc<Store>,
        mounts: Arc<Mounts>,
        logins: Arc<Logins>,
        watch: Arc<Watch>,
        ready: Arc<Readiness>,
    ) {
        let stop = &self.stop_admin;
        let spawn = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(task).await });
        };
        let health = Arc::clone(upstream);
        spawn(Box::pin(async move { health.watch_health().await }));
        let answers = Arc::clone(upstream);
        spawn(Box::pin(async move {
            answers.answers().await;
            ready.ready();
        }));
        let (known, mut cluster) = (Arc::clone(&logins), upstream.cluster());
        let kept = Arc::clone(&store);
        spawn(Box::pin(async move {
            // The first id is news of nothing: what was read before it came from that cluster.
            let mut first = cluster.borrow_and_update().is_none();
            while cluster.changed().await.is_ok() {
                if !std::mem::take(&mut first) {
                    kept.forget_all();
                    mounts.forget_all();
                }
                known.doubt_all();
            }
        }));
        spawn(Box::pin(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                store.tidy();
                logins.tidy();
            }
        }));
        spawn(Box::pin(async move { watch.run().await }));
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
            self.kv.set_rules(&config.cache);
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
        self.tunnels.close();
        if tokio::time::timeout(Duration::from_secs(1), self.tunnels.wait()).await.is_err() {
            info!(open = self.tunnels.len(), "cutting upgraded connections");
        }
        self.stop_admin.cancel();
        self.admin_server.close();
        self.admin_server.wait().await;
        info!("stopped");
    }
}

/// The callers' side of the process.
#[derive(Clone)]
struct Callers(Arc<Edge>);

impl Service for Callers {
    async fn answer(
        &self,
        request: Request<Incoming>,
        listener: &Listener,
        altered: bool,
    ) -> Response {
        self.0.answer(request, listener, altered).await
    }
}

/// The operators' side.
#[derive(Clone)]
struct Operators(Arc<Admin>);

impl Service for Operators {
    async fn answer(&self, request: Request<Incoming>, _: &Listener, _: bool) -> Response {
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

fn watched(config: &Config, servers: &[Server], upstream: &Arc<Upstream>) -> Vec<Watched> {
    let mut watched = Vec::new();
    if let Some(file) = &config.upstream.ca_file {
        let upstream = Arc::clone(upstream);
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
