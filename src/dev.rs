//! How does one see all of this on a laptop, without a Vault?
//!
//! [`Plan::run`] starts an OpenBao dev server ([`server`]), fills it with samples ([`samples`]),
//! plays a Kubernetes cluster with a few pods ([`issuer`], [`pods`]), starts the proxy in front of
//! it all, shows what that does ([`tour`]) and ends everything.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;
use zeroize::Zeroizing;

use crate::app::Running;
use crate::config::{Bind, Config, Source};
use crate::dial;
use crate::telemetry;

mod caller;
mod commands;
mod issuer;
mod pods;
mod samples;
mod server;
mod tour;

use commands::Shown;
pub use issuer::{AUDIENCE, Key};
use pods::Pods;
use samples::Samples;
pub use server::leash;
use server::{Program, Server};

/// What `vaultlet dev` was asked for. Not `Debug`: it holds a token.
pub struct Request {
    /// An upstream that runs already; `None`: start one.
    pub upstream: Option<String>,
    /// A token for it.
    pub token: Option<Zeroizing<String>>,
    /// Show what the proxy does, with real requests.
    pub tour: bool,
    /// End after that.
    pub once: bool,
    /// Settings of the proxy.
    pub source: Source,
}

/// What is going to run.
pub struct Plan {
    upstream: Upstream,
    tour: bool,
    once: bool,
    config: Config,
    /// The variable that sends vaultrs to an HTTP proxy, where there is one.
    detour: Option<String>,
}

enum Upstream {
    /// To be started.
    Own(Program),
    /// Somebody's; a token for it.
    Theirs(Zeroizing<String>),
}

/// What runs, to be ended in order.
#[derive(Default)]
struct Stage {
    proxy: Option<Running>,
    server: Option<Server>,
    /// Without them where a server that is not ours cannot ask their issuer.
    pods: Option<Pods>,
}

impl Plan {
    /// Decides what to run; nothing has been started yet.
    ///
    /// # Errors
    /// What was given is wrong, or there is no server to start; for people.
    pub fn new(request: Request) -> Result<Self, String> {
        let Request { upstream, token, tour, once, mut source } = request;
        let upstream = if let Some(address) = upstream {
            source.sets.push(format!("upstream.address={address}"));
            Upstream::Theirs(token.unwrap_or_default())
        } else {
            let program = Program::find(&source.environment)?;
            // What points the `bao` command elsewhere is not about this server.
            source.environment.retain(|name, _| !server::theirs(name));
            Upstream::Own(program)
        };
        if source.file.is_none() && !source.environment.keys().any(|name| of_log(name)) {
            // For people; before the others, each of which wins over it.
            source.sets.splice(0..0, ["log.level=warn".to_owned(), "log.format=text".to_owned()]);
        }
        let config = source.load().map_err(|problems| problems.to_string())?;
        let detour = source.environment.into_iter().find_map(|(name, value)| {
            let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
            let set = proxies.contains(&name.to_ascii_uppercase().as_str()) && !value.is_empty();
            set.then_some(name)
        });
        Ok(Self { upstream, tour, once, config, detour })
    }

    /// Runs everything until a signal ends it, or the tour's end where that was asked for.
    ///
    /// # Errors
    /// Something could not be started, or a step of the tour did not do what it says; one
    /// paragraph for people.
    pub fn run(mut self) -> Result<(), String> {
        telemetry::start(&self.config.log).map_err(|error| error.to_string())?;
        // reqwest, below vaultrs, comes without one.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let runtime =
            Runtime::new().map_err(|error| format!("cannot start the runtime: {error}"))?;
        // Not in a task of its own: the server dies with the thread that started it.
        runtime.block_on(async {
            let mut stage = Stage::default();
            let (mut terminate, mut interrupt) =
                (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?);
            let outcome = tokio::select! {
                outcome = self.perform(&mut stage) => outcome,
                _ = terminate.recv() => self.interrupted(),
                _ = interrupt.recv() => self.interrupted(),
            };
            stage.end().await;
            outcome
        })
    }

    /// Ends by itself only where that was asked for, or when something fails.
    async fn perform(&mut self, stage: &mut Stage) -> Result<(), String> {
        let token = match &self.upstream {
            Upstream::Theirs(token) => token,
            Upstream::Own(program) => {
                let server = Server::start(program).await?;
                if let Some(taken) = server.instead_of() {
                    say(format_args!("{taken} is taken, so the server is on another port."))?;
                }
                let upstream = &mut self.config.upstream;
                upstream.addresses = vec![server.uri()];
                upstream.namespace.clear();
                stage.server = Some(server);
                program.root()
            }
        };
        let address = self.config.upstream.addresses[0].to_string();
        let address = address.trim_end_matches('/');
        let samples = Samples::new(&self.config.upstream, token, stage.server.is_some())?;
        let tokens = samples.fill().await.map_err(|error| match &self.detour {
            Some(name) => format!("{error}. {name} is set: is the server in NO_PROXY?"),
            None => error,
        })?;
        stage.pods = self.pods(&samples).await?;
        let proxy = Running::start(self.config.clone()).await.map_err(|error| {
            format!(
                "the proxy cannot be started: {error}. If another vaultlet runs here, end it, or \
                 choose other ports: --set listeners.0.address=127.0.0.1:8110 --set \
                 admin.address=127.0.0.1:8111"
            )
        })?;
        let (listeners, admin) = (proxy.listeners.clone(), proxy.admin);
        stage.proxy = Some(proxy);
        let front = self.front(&listeners)?;
        say(format_args!("The server is {address}, vaultlet in front of it http://{front}.\n"))?;

        let kept = if self.tour {
            let Stage { server, pods, .. } = stage;
            let fronts = (front, admin);
            tour::run(fronts, &samples, &tokens, pods.as_ref(), &self.upstream, server).await?
        } else {
            Ok(())
        };
        if self.once {
            return kept;
        }
        let pid = stage.server.as_ref().and_then(Server::pid);
        let (program, root) = match &self.upstream {
            Upstream::Own(program) => (program.path(), Some(program.root().as_str())),
            Upstream::Theirs(_) => (Path::new("bao"), None),
        };
        let shown = Shown { front, admin, program, own: pid.zip(root) };
        shown.print(&tokens, stage.pods.as_ref())?;
        if let Some(server) = &mut stage.server {
            let status = server.ended().await;
            warn!(%status, "the server has ended; what is cached is still answered");
        }
        std::future::pending::<()>().await;
        kept
    }

    /// The pods, where the server can be made to take their tokens; the proxy then does, too.
    async fn pods(&mut self, samples: &Samples) -> Result<Option<Pods>, String> {
        let pods = Pods::start(samples.mount()).await?;
        if let Err(why) = samples.admit(&pods).await? {
            say(format_args!(
                "There are no service accounts: the server cannot ask their issuer, which is on \
                 this machine's loopback ({why})."
            ))?;
            return Ok(None);
        }
        let settings = pods.settings(&self.config.upstream.namespace);
        self.config.auth.kubernetes.push(settings);
        Ok(Some(pods))
    }

    /// Where callers connect, as the tour and the printed commands do.
    fn front(&self, listeners: &[String]) -> Result<SocketAddr, String> {
        let plain = self.config.listeners.iter().zip(listeners);
        let mut plain = plain.filter(|(listener, _)| {
            matches!(listener.bind, Bind::Tcp(_)) && listener.tls.is_none()
        });
        let front = plain.find_map(|(_, name)| name.parse::<SocketAddr>().ok());
        let front = front.ok_or(
            "none of the listeners speaks plain HTTP over TCP, which `vaultlet dev` needs for its \
             own requests: add `- address: 127.0.0.1:8100` to `listeners`",
        )?;
        Ok(dial::reachable(front))
    }

    fn interrupted(&self) -> Result<(), String> {
        if self.once { Err("interrupted before the end of the tour".to_owned()) } else { Ok(()) }
    }
}

impl Stage {
    async fn end(self) {
        if let Some(proxy) = self.proxy {
            proxy.stop().await;
        }
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

fn listen_for(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("cannot listen for signals: {error}"))
}

fn of_log(name: &str) -> bool {
    name == "VAULTLET_LOG" || name.starts_with("VAULTLET_LOG__")
}

/// A line of the transcript. A reader that has gone away is no reason to end.
fn say(line: impl Display) -> Result<(), String> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output cannot be written: {error}"))
        }
        _ => Ok(()),
    }
}
