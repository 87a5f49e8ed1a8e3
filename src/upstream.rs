//! How does a request reach Vault, and what comes back?
//!
//! Everything that leaves for the upstream passes through [`Upstream`]: the bound on requests in
//! flight, the choice among addresses, deadlines, and the retries of what may be sent twice.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::body::Body as _;
use hyper::{Request, StatusCode};
use tokio::sync::watch;

use crate::body::{self, Body, Guarded, Response};
use crate::clock::Clock;
use crate::config;
use crate::error::{BoxError, Error, Trouble};
use crate::metrics::{Metrics, Operation};
use crate::tenant::{Errand, Tenant};

mod ask;
mod attempt;
mod breaker;
mod gate;
pub mod headers;
mod health;
mod index;
mod lanes;
mod node;
mod pool;
mod recovery;
mod upload;
mod whole;

pub use ask::Ask;
use gate::{Budget, Gate};
use health::Nodes;
use index::Newest;
use lanes::Lanes;
pub use pool::Carrier;
use pool::{Pool, Switch};
use upload::Upload;
pub use whole::Whole;

/// A request of vaultlet's own has its whole answer by then, however many addresses and attempts
/// it takes: somebody waits for it who may be served what is kept.
const CALL: Duration = Duration::from_secs(10);

/// The cluster behind this process.
#[derive(Debug)]
pub struct Upstream {
    nodes: Nodes,
    pool: Pool,
    gate: Gate,
    budget: Budget,
    lanes: Lanes,
    newest: Newest,
    timeout: Duration,
    first_byte: Duration,
    retries: u32,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Upstream {
    /// Connects to nothing yet. `carrier`: what makes the connections, instead of TCP and TLS.
    ///
    /// # Errors
    /// The authorities to trust cannot be read.
    pub fn new(
        config: &config::Upstream,
        carrier: Option<Carrier>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BoxError> {
        Ok(Self {
            nodes: Nodes::new(
                &config.addresses,
                config.recovery_rate,
                clock.clone(),
                Arc::clone(&metrics),
            ),
            pool: Pool::new(config, carrier)?,
            gate: Gate::new(config.max_in_flight, config.max_queue, config.timeout),
            budget: Budget::default(),
            lanes: Lanes::new(clock.clone()),
            newest: Newest::default(),
            timeout: config.timeout,
            // Before all patience is lost: what is late says something of who was asked.
            first_byte: config.first_byte_timeout.min(config.timeout.min(CALL) * 3 / 4),
            retries: config.retries,
            clock,
            metrics,
        })
    }

    /// The upstream's `cluster_id`, `None` until it has said one. A change means that nothing
    /// known so far is true any more.
    pub fn cluster(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.nodes.cluster()
    }

    /// Where it is asked, as configured.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.describe().into_iter().map(|(address, _)| address).collect()
    }

    /// Takes it for this cluster until it says another.
    pub fn presume(&self, cluster: &str) {
        self.nodes.presume(cluster);
    }

    /// Whether any address has said that it is Vault Enterprise.
    pub fn enterprise(&self) -> bool {
        self.nodes.enterprise()
    }

    /// Each address with what it last said of itself, for people.
    pub fn nodes(&self) -> Vec<(String, &'static str)> {
        self.nodes.describe()
    }

    /// Returns once any address has answered a health check.
    pub async fn answers(&self) {
        self.nodes.answers().await;
    }

    /// Asks each address for its health until the future is dropped.
    pub async fn watch_health(&self) {
        self.nodes.watch(self).await;
    }

    /// Reads the authorities to trust again, where a file names them.
    ///
    /// # Errors
    /// The file cannot be used; the connections go on trusting what they did.
    pub fn reload(&self) -> Result<(), BoxError> {
        self.pool.reload()
    }

    /// Whether it has come back less than `window` ago, and has as much to answer as it may be
    /// asked: who has something that may stand in for its answer should use that.
    pub fn crowded(&self, window: Duration) -> bool {
        self.nodes.crowded(window)
    }

    /// Passes a caller's request on. It is sent once: its body cannot be had twice, and what it
    /// does may not be done twice. `errand`: what it is a part of, until its answer has been read.
    ///
    /// # Errors
    /// The upstream did not begin an answer.
    pub async fn forward(&self, errand: Errand, request: Request<Body>) -> Result<Response, Error> {
        let tenant = errand.tenant();
        let (place, turn) = self.admit(tenant, &AtomicBool::new(false)).await?;
        // A request without a body can follow a standby's redirect to the active node.
        let again = request.body().is_end_stream().then(|| Ask::of(&request, tenant)).flatten();
        let (head, body) = request.into_parts();
        let method = head.method.clone();
        let (body, upload) = match again {
            Some(_) => (body, Upload::none()),
            None => Upload::of(body),
        };
        let request = Request::from_parts(head, body);
        let (forward, patience) = (Operation::Forward, self.timeout);
        let answer = self.attempt(forward, &turn.node, request, &upload, patience).await;
        let node = Arc::clone(&turn.node);
        self.judge_passed(turn, answer.as_ref().map(|_| ()));
        let mut answer = match (answer, &again) {
            // Nothing has been sent, so that it may be sent elsewhere.
            (Err(Error::Unreachable(_)), Some(ask)) if self.nodes.others(&node) => {
                let turn = self.nodes.choose(Some(&node))?;
                let request = ask.request()?;
                let answer = self.attempt(forward, &turn.node, request, &upload, patience).await;
                self.judge_passed(turn, answer.as_ref().map(|_| ()));
                answer?
            }
            (answer, _) => answer?,
        };
        if let Some(ask) = again
            && let Some(node) = self.redirected(&ask, &answer)
        {
            let request = ask.request()?;
            answer = self.attempt(forward, &node, request, &upload, patience).await?;
        }
        self.newest.note(&method, answer.headers());
        let cut = answer.extensions_mut().remove::<Switch>().map(|switch| switch.armed(upload));
        Ok(answer.map(|body| body::stream(Guarded::new(body, (place, cut, errand)))))
    }

    /// Makes a request of our own that may not be made twice, and takes in the whole answer; one
    /// larger than `limit` bytes is handed back as a stream instead.
    ///
    /// # Errors
    /// The upstream did not answer in whole and in time.
    pub async fn tell(
        &self,
        operation: Operation,
        tenant: Tenant,
        request: Request<Body>,
        limit: usize,
    ) -> Result<Whole, Error> {
        let patience = self.timeout.min(CALL);
        let told = async {
            let place = self.admit_own(tenant, &AtomicBool::new(false)).await?;
            let turn = self.nodes.choose(None)?;
            let none = Upload::none();
            let answer = self.attempt(operation, &turn.node, request, &none, patience).await;
            self.judge_passed(turn, answer.as_ref().map(|_| ()));
            Whole::take(answer?, limit, Arc::new(place)).await
        };
        tokio::time::timeout(patience, told).await.unwrap_or(Err(Error::Timeout(patience)))
    }

    /// Asks for something that may not be asked twice, and takes in the whole answer, as
    /// [`tell`](Self::tell) does, with as much patience as a caller has: making a credential takes
    /// some systems long. A standby's redirect, which has done nothing, is followed.
    ///
    /// # Errors
    /// The upstream did not answer in whole and in time.
    pub async fn ask_once(
        &self,
        operation: Operation,
        ask: &Ask,
        limit: usize,
    ) -> Result<Whole, Error> {
        let asked = async {
            let place = self.admit_own(ask.tenant, &ask.waits).await?;
            let turn = self.nodes.choose(None)?;
            let answer = self.attempt_or_follow(operation, &turn.node, ask, self.timeout).await;
            self.judge_passed(turn, answer.as_ref().map(|_| ()));
            Whole::take(answer?, limit, Arc::new(place)).await
        };
        let whole = tokio::time::timeout(self.timeout, asked);
        whole.await.unwrap_or(Err(Error::Timeout(self.timeout)))
    }

    /// Asks for something that may be asked twice, and takes in the whole answer; one larger than
    /// `limit` bytes is handed back as a stream instead.
    ///
    /// # Errors
    /// No address gave a whole answer in time, or what is asked fails and is left alone.
    pub async fn ask(&self, operation: Operation, ask: &Ask, limit: usize) -> Result<Whole, Error> {
        let going = match self.lanes.enter(ask) {
            // What stands in for a failure may not stand in for a seal: it is asked which it is.
            Err(_) if self.nodes.sealed() => None,
            going => Some(going?),
        };
        let ask = &*self.newest.required(ask);
        let patience = self.timeout.min(CALL);
        let whole = tokio::time::timeout(patience, self.ask_patiently(operation, ask, limit));
        let whole = whole.await.unwrap_or(Err(Error::Timeout(patience)));
        if let (Some(going), Ok(Whole::Answer { status, headers, body })) = (going, &whole) {
            let failed = trouble(*status, body) == Some(Trouble::Failing);
            going.over(*status, headers, failed);
        }
        whole
    }

    async fn ask_patiently(
        &self,
        operation: Operation,
        ask: &Ask,
        limit: usize,
    ) -> Result<Whole, Error> {
        let place = Arc::new(self.admit_own(ask.tenant, &ask.waits).await?);
        self.budget.earn();
        let (mut attempt, mut avoid) = (0, None);
        loop {
            let tried = self.attempt_whole(operation, ask, limit, &place, avoid.as_deref()).await;
            let (whole, node) = tried;
            let again = match &whole {
                Err(Error::Garbage(_) | Error::Lost(_) | Error::Unreachable(_)) => true,
                // Whoever was late once is late again.
                Err(Error::Timeout(_)) => node.as_ref().is_some_and(|it| self.nodes.others(it)),
                _ => false,
            };
            if !again || attempt >= self.retries || !self.budget.spend() {
                return whole;
            }
            (attempt, avoid) = (attempt + 1, node);
            tokio::time::sleep(pause(attempt)).await;
        }
    }
}

/// What an answer says about the upstream: `None` unless it is a failure of the upstream's own.
pub fn trouble(status: StatusCode, body: &[u8]) -> Option<Trouble> {
    // OpenBao and Vault both answer `Vault is sealed`, a sealed namespace in other words.
    let sealed = || body.windows(6).any(|word| word.eq_ignore_ascii_case(b"sealed"));
    match status.as_u16() {
        503 if sealed() => Some(Trouble::Sealed),
        429 | 500 | 502..=504 => Some(Trouble::Failing),
        _ => None,
    }
}

/// Before the next attempt: 25 ms, then 50, then 100, each up to half as long again.
fn pause(attempt: u32) -> Duration {
    let base = Duration::from_millis(25 << (attempt - 1).min(4));
    base.mul_f64(1.0 + fastrand::f64() / 2.0)
}
