//! How does a scenario do where nothing is real but vaultlet's own code?
//!
//! vaultlets, one on each node, in front of a model of an OpenBao; or the model alone. All of it is
//! in this process and in the runtime's time: where that is paused, an hour takes as long as its
//! requests do. What is exact and what is not is in docs/load-tests.md.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue};
use tempfile::TempDir;
use tokio::time::{Instant, sleep_until, timeout};
use vaultlet::app::Embedded;
use vaultlet::config::Config;
use zeroize::Zeroizing;

use crate::cluster::Cluster;
use crate::passes::Passes;
use crate::scenario::{Credential, Happening, Phase, Scenario};
use crate::stage::{Answer, Failure, Gauges, Stage};
use crate::wire;

mod kind;
mod kv;
mod leases;
mod node;
mod queue;
mod said;
mod server;
mod tokens;

#[cfg(test)]
mod tests;

pub(crate) use kind::{Costs, Kind};
pub(crate) use node::Held;
use queue::Queue;
use server::{Inside, Server};
use tokens::{Account, Tokens};

/// Where service accounts log in, below `/v1/`.
const LOGIN: &str = "auth/jwt/login";

/// Of service-account tokens: longer than any scenario, since their ends are of the wall clock, which a
/// simulation outruns.
const PASS_LIFE: Duration = Duration::from_hours(24 * 365);

/// Tokens of pods live at least so long: nobody renews them.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

/// What the upstream of a model is made of.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) costs: Costs,
    /// `None`: as many as it takes.
    pub(crate) cores: Option<f64>,
    /// How many nodes each node stands for.
    pub(crate) stands_for: f64,
    /// CPU time of a vaultlet for a request that it passes on.
    pub(crate) vaultlet: Duration,
}

/// A world of models. Not `Debug`: it holds tokens.
pub(crate) struct Model {
    server: Arc<Server>,
    shown: Vec<Zeroizing<String>>,
    /// None where callers ask the upstream themselves.
    nodes: RefCell<Vec<Rc<Embedded>>>,
    /// What each of them has to do, one request after the other: what comes at once is not answered
    /// at once.
    work: RefCell<Vec<Queue>>,
    vaultlet: Duration,
    config: Option<Config>,
    _files: TempDir,
}

impl Model {
    /// Begins it, with a vaultlet on each node or with none.
    ///
    /// # Errors
    /// The scenario's settings are none of vaultlet's, or its files cannot be written.
    pub(crate) async fn start(
        scenario: &Scenario,
        cluster: &Cluster,
        vaultlet: bool,
        upstream: Upstream,
    ) -> Result<Self, String> {
        let files = tempfile::tempdir()
            .map_err(|e| format!("no temporary directory can be made: {e}; name one in TMPDIR"))?;
        let mut tokens = Tokens::new(scenario.world.token_ttl);
        let passes = Passes::new(PASS_LIFE)?;
        let shown = shown(scenario, cluster, &passes, &mut tokens)?;
        let roles = scenario.world.roles.iter().enumerate();
        let inside = Inside {
            tokens,
            leases: leases::Leases::default(),
            kv: kv::Kv::new(scenario, cluster),
            roles: roles.map(|(role, it)| (cluster.role_path(role), it.clone())).collect(),
            requests: 0,
        };
        let queue = Queue::new(upstream.cores, upstream.stands_for);
        let server = Server::new(inside, queue, upstream.costs);
        let config = vaultlet.then(|| node::config(scenario, &passes, files.path())).transpose()?;
        let nodes = RefCell::default();
        let (work, vaultlet) = (RefCell::default(), upstream.vaultlet);
        let model = Self { server, shown, nodes, work, vaultlet, config, _files: files };
        model.restart(scenario.world.nodes).await?;
        Ok(model)
    }

    /// Every vaultlet starts anew, with nothing in memory.
    async fn restart(&self, nodes: u32) -> Result<(), String> {
        let Some(config) = &self.config else { return Ok(()) };
        let mut started = Vec::new();
        for _ in 0..nodes {
            started.push(Rc::new(node::start(config, &self.server).await?));
        }
        *self.work.borrow_mut() = started.iter().map(|_| Queue::new(Some(1.0), 1.0)).collect();
        *self.nodes.borrow_mut() = started;
        Ok(())
    }

    /// What it is called in a report.
    pub(crate) fn called(&self) -> &'static str {
        if self.config.is_some() { "vaultlet" } else { "direct" }
    }

    /// What the vaultlets hold now, all of them together.
    pub(crate) fn held(&self) -> Held {
        let mut all = Held::default();
        for node in self.nodes.borrow().iter() {
            let held = Held::of(&node.metrics().unwrap_or_default());
            all.bytes += held.bytes;
            all.identities += held.identities;
        }
        all
    }

    /// Returns when a node has done what came before.
    async fn turn(&self, node: u32) {
        let now = Instant::now();
        let turn = |work: &mut Queue| work.answered(now, self.vaultlet);
        let done = self.work.borrow_mut().get_mut(node as usize).map(turn);
        // Most find nothing to wait for, and what is left is less than a timer can tell.
        if let Some(done) = done.filter(|done| *done > now + self.vaultlet) {
            sleep_until(done).await;
        }
    }

    /// The request as it arrives, and what comes back.
    async fn answer(&self, node: u32, mut request: Request<Bytes>) -> Result<Answer, Failure> {
        request.headers_mut().insert(HOST, HeaderValue::from_static("vaultlet"));
        let vaultlet = self.nodes.borrow().get(node as usize).cloned();
        if let Some(vaultlet) = vaultlet {
            self.turn(node).await;
            let (head, body) = vaultlet.answer(request.map(Full::new)).await.into_parts();
            let body = body.collect().await.map_err(|_| Failure::Broken)?.to_bytes();
            return Ok(Answer { status: head.status, headers: head.headers, body });
        }
        if !self.server.there() {
            return Err(Failure::Connect);
        }
        let said = tokio::select! {
            said = self.server.answer(request) => said,
            () = self.server.gone() => return Err(Failure::Broken),
        };
        let (head, body) = said.into_parts();
        // Bytes at hand cannot fail to come.
        let body = body.collect().await.unwrap_or_default().to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

impl Stage for Model {
    fn name(&self) -> &'static str {
        self.called()
    }

    fn pass(&self, pod: u32) -> &Zeroizing<String> {
        &self.shown[pod as usize]
    }

    fn takes_service_accounts(&self) -> bool {
        self.config.is_some()
    }

    fn login_path(&self) -> &str {
        LOGIN
    }

    async fn send(&self, node: u32, request: Request<Bytes>) -> Result<Answer, Failure> {
        let answered = timeout(wire::TIMEOUT, self.answer(node, request));
        answered.await.unwrap_or(Err(Failure::TimedOut))
    }

    async fn begin(&self, phase: &Phase) -> Result<(), String> {
        match phase.happening {
            Happening::ColdStart { .. } => {
                let nodes = self.nodes.borrow().len();
                self.restart(u32::try_from(nodes).unwrap_or(u32::MAX)).await
            }
            Happening::Outage => {
                self.server.away(true);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn end(&self, phase: &Phase) -> Result<(), String> {
        if phase.happening == Happening::Outage {
            self.server.away(false);
        }
        Ok(())
    }

    async fn gauges(&self) -> Gauges {
        let counted = self.server.counts().map(|(kind, count)| (kind.name(), count));
        Gauges {
            upstream: counted.collect(),
            leases: Some(self.server.leases()),
            ..Gauges::default()
        }
    }
}

/// What each pod shows, which `tokens` takes.
fn shown(
    scenario: &Scenario,
    cluster: &Cluster,
    passes: &Passes,
    tokens: &mut Tokens,
) -> Result<Vec<Zeroizing<String>>, String> {
    let life = scenario.world.token_ttl.max(TOKEN_LIFE);
    let mut shown = Vec::with_capacity(cluster.pods.len());
    for (pod, number) in cluster.pods.iter().zip(0..) {
        let account = Account { name: cluster.account_name(pod.account), number: pod.account };
        shown.push(match scenario.world.credential {
            Credential::Token => tokens.create(account, life),
            Credential::Login | Credential::ServiceAccount => {
                let jwt = passes.token(cluster, number)?;
                tokens.admit(&jwt, account);
                jwt
            }
        });
    }
    Ok(shown)
}
