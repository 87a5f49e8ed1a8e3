//! How does a scenario do on real servers, all on this machine?
//!
//! A [`Ground`] is laid once for a scenario: an OpenBao that holds the world, and its database. A
//! [`Live`] is one kind of target on a copy of it, so that each round begins with the same upstream
//! and nothing that an earlier round did can be seen in a later one.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Bytes;
use zeroize::Zeroizing;

use crate::scenario::{Happening, Phase};
use crate::stage::{Answer, Failure, Gauges, Stage};
use crate::wire::{self, Pool};

pub(crate) mod api;
mod bare;
mod edge;
mod fill;
pub(crate) mod gauges;
pub(crate) mod ground;
mod kind;
mod nginx;
pub(crate) mod openbao;
mod openbao_proxy;
pub(crate) mod places;
mod postgres;
pub(crate) mod process;
mod server;
mod vaultlet;
mod words;

pub(crate) use ground::Ground;
pub(crate) use kind::Kind;
pub(crate) use places::Places;

use edge::Edge;
use gauges::Upstream;
use openbao::OpenBao;
use server::Server;

/// Where service accounts log in, below `/v1/`.
const LOGIN: &str = "auth/jwt/login";

/// Targets that take a port that something else takes first are started so often in all.
const TRIES: usize = 3;

/// One kind of target, with an upstream of its own. All that was started ends when it is dropped.
pub(crate) struct Live {
    kind: Kind,
    ground: Rc<Ground>,
    pool: Pool,
    /// Has the sockets and the certificate.
    _edge: Edge,
    /// By pods, instead of what the ground has for them.
    shown: Option<Vec<Zeroizing<String>>>,
    /// One on each node; none where callers ask the upstream itself.
    servers: tokio::sync::Mutex<Vec<Server>>,
    /// `None` behind what asks no upstream.
    upstream: Option<Upstream>,
    /// How often the policies have changed.
    changes: Cell<u32>,
    /// Nothing was sent yet, so that a cold start finds everything cold.
    untouched: Cell<bool>,
}

impl Live {
    /// Starts a target, and its upstream.
    ///
    /// # Errors
    /// Something does not start; with the end of what it had to say.
    pub(crate) async fn start(kind: Kind, ground: &Rc<Ground>) -> Result<Self, String> {
        let answer = match kind {
            Kind::Bare => Some(bare::answer(ground).await?),
            _ => None,
        };
        let edge = Edge::new(ground.scenario().transport)?;
        let upstream = match kind {
            Kind::Bare => None,
            Kind::Direct => Some(OpenBao::open(ground, Some(&edge)).await?),
            _ => Some(OpenBao::open(ground, None).await?),
        };
        let mut outcome = Err(String::new());
        for _ in 0..TRIES {
            outcome = Self::nodes(kind, ground, &edge, upstream.as_ref(), answer.as_deref()).await;
            if outcome.is_ok() {
                break;
            }
        }
        let servers = outcome?;
        let addresses = match (&upstream, kind) {
            (Some(upstream), Kind::Direct) => {
                vec![edge.address(&upstream.callers())?; ground.scenario().world.nodes as usize]
            }
            _ => {
                servers.iter().map(|server| edge.address(server.at())).collect::<Result<_, _>>()?
            }
        };
        let pool = Pool::new(addresses, wire::TIMEOUT);
        pool.probe().await.map_err(|problem| format!("{}: {problem}", kind.name()))?;
        let shown = match kind {
            Kind::OpenbaoProxy => openbao_proxy::tokens(ground, &pool).await?,
            _ => None,
        };
        Ok(Self {
            kind,
            ground: Rc::clone(ground),
            pool,
            _edge: edge,
            shown,
            servers: tokio::sync::Mutex::new(servers),
            upstream: upstream.map(Upstream::new),
            changes: Cell::new(0),
            untouched: Cell::new(true),
        })
    }

    async fn nodes(
        kind: Kind,
        ground: &Ground,
        edge: &Edge,
        upstream: Option<&OpenBao>,
        answer: Option<&[u8]>,
    ) -> Result<Vec<Server>, String> {
        let mut servers = Vec::new();
        if kind == Kind::Direct {
            return Ok(servers);
        }
        for _ in 0..ground.scenario().world.nodes {
            let spec = match (kind, upstream, answer) {
                (Kind::Vaultlet, Some(upstream), _) => vaultlet::spec(ground, edge, upstream)?,
                (Kind::OpenbaoProxy, Some(upstream), _) => {
                    openbao_proxy::spec(ground, edge, upstream)?
                }
                (Kind::Nginx, Some(upstream), _) => nginx::spec(ground, edge, upstream)?,
                (_, _, answer) => bare::spec(ground, edge, answer.unwrap_or_default())?,
            };
            servers.push(Server::start(spec, ground.core_of_servers()).await?);
        }
        Ok(servers)
    }

    /// Whether all that was started still runs.
    async fn lives(&self) -> Result<(), String> {
        let mut ended = None;
        for server in self.servers.lock().await.iter_mut() {
            ended = ended.or_else(|| server.ended());
        }
        if let Some(upstream) = &self.upstream {
            ended = ended.or(upstream.ended().await);
        }
        ended.map_or(Ok(()), |how| Err(format!("{}: {how}", self.kind.name())))
    }

    /// Every server on the nodes starts anew, with nothing in memory.
    async fn restart(&self) -> Result<(), String> {
        for server in self.servers.lock().await.iter_mut() {
            server.restart().await?;
        }
        Ok(())
    }
}

impl Stage for Live {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn pass(&self, pod: u32) -> &Zeroizing<String> {
        let shown = self.shown.as_ref().and_then(|shown| shown.get(pod as usize));
        shown.unwrap_or_else(|| self.ground.pass(pod))
    }

    fn takes_service_accounts(&self) -> bool {
        // `bare` looks at nothing.
        matches!(self.kind, Kind::Vaultlet | Kind::Bare)
    }

    fn login_path(&self) -> &'static str {
        LOGIN
    }

    async fn send(&self, node: u32, request: Request<Bytes>) -> Result<Answer, Failure> {
        self.untouched.set(false);
        self.pool.send(node, request).await
    }

    async fn begin(&self, phase: &Phase) -> Result<(), String> {
        self.lives().await?;
        match (&phase.happening, &self.upstream) {
            (Happening::ColdStart { .. }, _) if !self.untouched.get() => self.restart().await,
            (Happening::Outage, Some(upstream)) => upstream.stop().await,
            (Happening::PolicyChange, Some(upstream)) => {
                let changes = self.changes.get() + 1;
                self.changes.set(changes);
                upstream.asks(fill::policies(&self.ground, changes)).await
            }
            _ => Ok(()),
        }
    }

    async fn end(&self, phase: &Phase) -> Result<(), String> {
        self.lives().await?;
        match (&phase.happening, &self.upstream) {
            (Happening::Outage, Some(upstream)) => upstream.start_again().await,
            _ => Ok(()),
        }
    }

    async fn gauges(&self) -> Gauges {
        let mut gauges = Gauges::default();
        if let Some(upstream) = &self.upstream {
            upstream.read(&self.ground, &mut gauges).await;
        }
        if self.kind == Kind::Direct {
            // What is measured is the upstream, without its database.
            (gauges.cpu, gauges.resident) =
                self.upstream.as_ref().map_or((None, None), Upstream::itself);
        } else if let Ok(servers) = self.servers.try_lock() {
            gauges.cpu = servers.iter().map(Server::cpu).sum();
            gauges.resident = servers.iter().map(Server::resident).sum();
        }
        gauges
    }

    fn exhausted(&self) -> Option<String> {
        self.pool.exhausted()
    }
}

/// A port of 127.0.0.1 that is free now.
pub fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|e| format!("no port of 127.0.0.1 is free: {e}"))
}

/// Longest that a server may take to its first answer.
const PATIENCE: Duration = Duration::from_secs(30);
