//! How does a request reach Vault, and what comes back?
//!
//! Everything that leaves for the upstream passes through [`Upstream`]: the bound on requests in
//! flight, the choice among addresses, deadlines, and the retries of what may be sent twice.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, LOCATION};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode, Uri, Version};
use tokio::sync::watch;

use crate::body::{self, Body, Guarded, Response};
use crate::clock::Clock;
use crate::config;
use crate::error::{BoxError, Error, Trouble};
use crate::metrics::{Metrics, Operation};
use crate::tenant::{Errand, Tenant};

mod gate;
pub mod headers;
mod health;
mod pool;
mod upload;
mod whole;

use gate::{Budget, Gate};
use health::Nodes;
pub use pool::Carrier;
use pool::{Pool, Switch};
use upload::Upload;
pub use whole::Whole;

/// A request with all that it needs at hand, which can be sent as often as it may.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The verb.
    pub method: Method,
    /// Path and query, byte for byte as they are to arrive.
    pub target: PathAndQuery,
    /// End-to-end headers, the caller's credential among them.
    pub headers: HeaderMap,
    /// Its body; empty: none.
    pub body: Bytes,
    /// On whose account.
    pub tenant: Tenant,
    /// Whether it waits for that tenant's turn.
    pub waits: Arc<AtomicBool>,
}

impl Ask {
    /// A `GET` of `target` on the account of `tenant`.
    pub fn get(target: PathAndQuery, headers: HeaderMap, tenant: Tenant) -> Self {
        let (body, waits) = Default::default();
        Self { method: Method::GET, target, headers, body, tenant, waits }
    }
}

/// The cluster behind this process.
#[derive(Debug)]
pub struct Upstream {
    nodes: Nodes,
    pool: Pool,
    gate: Gate,
    budget: Budget,
    timeout: Duration,
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
            nodes: Nodes::new(&config.addresses, Arc::clone(&metrics)),
            pool: Pool::new(config, carrier)?,
            gate: Gate::new(config.max_in_flight, config.max_queue, config.timeout),
            budget: Budget::default(),
            timeout: config.timeout,
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

    /// Passes a caller's request on. It is sent once: its body cannot be had twice, and what it
    /// does may not be done twice. `errand`: what it is a part of, until its answer has been read.
    ///
    /// # Errors
    /// The upstream did not begin an answer.
    pub async fn forward(&self, errand: Errand, request: Request<Body>) -> Result<Response, Error> {
        let tenant = errand.tenant();
        let (place, node) = self.admit(tenant, &AtomicBool::new(false)).await?;
        // A request without a body can follow a standby's redirect to the active node.
        let again = request.body().is_end_stream().then(|| Ask::of(&request, tenant)).flatten();
        let (head, body) = request.into_parts();
        let (body, upload) = match again {
            Some(_) => (body, Upload::none()),
            None => Upload::of(body),
        };
        let request = Request::from_parts(head, body);
        let mut answer = self.attempt(Operation::Forward, &node, request, &upload).await?;
        if let Some(ask) = again
            && let Some(node) = self.redirected(&ask, &answer)
        {
            let request = ask.request()?;
            answer = self.attempt(Operation::Forward, &node, request, &upload).await?;
        }
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
        let told = async {
            let (place, node) = self.admit(tenant, &AtomicBool::new(false)).await?;
            let answer = self.attempt(operation, &node, request, &Upload::none()).await?;
            Whole::take(answer, limit, Arc::new(place)).await
        };
        let whole = tokio::time::timeout(self.timeout, told);
        whole.await.unwrap_or(Err(Error::Timeout(self.timeout)))
    }

    /// Asks for something that may not be asked twice, and takes in the whole answer, as
    /// [`tell`](Self::tell) does. A standby's redirect, which has done nothing, is followed.
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
            let (place, node) = self.admit(ask.tenant, &ask.waits).await?;
            let answer = self.attempt_or_follow(operation, &node, ask).await?;
            Whole::take(answer, limit, Arc::new(place)).await
        };
        let whole = tokio::time::timeout(self.timeout, asked);
        whole.await.unwrap_or(Err(Error::Timeout(self.timeout)))
    }

    /// Asks for something that may be asked twice, and takes in the whole answer; one larger than
    /// `limit` bytes is handed back as a stream instead.
    ///
    /// # Errors
    /// No address gave a whole answer in time.
    pub async fn ask(&self, operation: Operation, ask: &Ask, limit: usize) -> Result<Whole, Error> {
        let whole = tokio::time::timeout(self.timeout, self.ask_patiently(operation, ask, limit));
        whole.await.unwrap_or(Err(Error::Timeout(self.timeout)))
    }

    async fn ask_patiently(
        &self,
        operation: Operation,
        ask: &Ask,
        limit: usize,
    ) -> Result<Whole, Error> {
        let (place, _) = self.admit(ask.tenant, &ask.waits).await?;
        let place = Arc::new(place);
        self.budget.earn();
        let mut attempt = 0;
        loop {
            let node = self.nodes.choose()?;
            let answer = match self.attempt_or_follow(operation, &node, ask).await {
                Ok(answer) => Whole::take(answer, limit, Arc::clone(&place)).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(Error::Garbage(_) | Error::Lost(_) | Error::Unreachable(_))
                    if attempt < self.retries && self.budget.spend() =>
                {
                    attempt += 1;
                    tokio::time::sleep(pause(attempt)).await;
                }
                answer => return answer,
            }
        }
    }

    /// A place among the requests in flight, and the address to ask. Nobody waits for a place
    /// while all addresses are down, where requests that hang may hold every one of them.
    async fn admit(
        &self,
        tenant: Tenant,
        waits: &AtomicBool,
    ) -> Result<(gate::Place, Arc<health::Node>), Error> {
        self.nodes.choose()?;
        let place = self.gate.enter(tenant, waits).await;
        // Who has waited in vain is told why.
        let node = self.nodes.choose()?;
        Ok((place?, node))
    }

    /// One attempt at one address.
    async fn attempt(
        &self,
        operation: Operation,
        node: &health::Node,
        mut request: Request<Body>,
        upload: &Upload,
    ) -> Result<hyper::Response<Incoming>, Error> {
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = node.uri(target)?;
        // The caller's version is of the caller's connection.
        *request.version_mut() = Version::HTTP_11;
        if let Some(authority) = request.uri().authority() {
            let host = HeaderValue::from_str(authority.as_str());
            request.headers_mut().insert(HOST, host.map_err(Error::garbage)?);
        }
        let began = self.clock.now();
        let answer = upload.wait(self.pool.send(request), self.timeout).await;
        let took = self.clock.now().since(began);
        let answer = match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) if error.is_connect() => {
                self.nodes.suspect(node);
                Err(Error::unreachable(error))
            }
            Some(Err(error)) => Err(Error::Lost(Arc::new(error))),
            None => Err(Error::Timeout(self.timeout)),
        };
        self.metrics.upstream(operation, answer.as_ref().ok().map(hyper::Response::status), took);
        answer
    }

    async fn attempt_or_follow(
        &self,
        operation: Operation,
        node: &health::Node,
        ask: &Ask,
    ) -> Result<hyper::Response<Incoming>, Error> {
        let no_upload = Upload::none();
        let answer = self.attempt(operation, node, ask.request()?, &no_upload).await?;
        match self.redirected(ask, &answer) {
            Some(active) => self.attempt(operation, &active, ask.request()?, &no_upload).await,
            None => Ok(answer),
        }
    }

    /// The configured address that a standby's redirect points to: the active node, asked for the
    /// very same thing. Any other redirect is the caller's to follow, as the caller's credential
    /// goes nowhere but to the configured addresses, and a redirect to another path is the
    /// server's way of cleaning this one.
    fn redirected(
        &self,
        ask: &Ask,
        answer: &hyper::Response<Incoming>,
    ) -> Option<Arc<health::Node>> {
        if answer.status() != StatusCode::TEMPORARY_REDIRECT {
            return None;
        }
        let location: Uri = answer.headers().get(LOCATION)?.to_str().ok()?.parse().ok()?;
        if location.path_and_query() != Some(&ask.target) {
            return None;
        }
        self.nodes.at(&location)
    }

    /// Asks one address for its health, outside the bound on requests in flight: a full house is
    /// no reason to call the upstream down.
    async fn probe(&self, node: &health::Node) -> Result<(StatusCode, Bytes), Error> {
        const PATIENCE: Duration = Duration::from_secs(2);
        const LIMIT: usize = 64 * 1024;
        let target = PathAndQuery::from_static("/v1/sys/health");
        let ask = Ask::get(target, HeaderMap::new(), Tenant::vaultlet());
        let probe = async {
            let request = ask.request()?;
            let no_upload = Upload::none();
            let answer = self.attempt(Operation::Health, node, request, &no_upload).await?;
            match Whole::take(answer, LIMIT, ()).await? {
                Whole::Answer { status, body, .. } => Ok((status, body)),
                Whole::Oversize(_) => Err(Error::nonsense("a health answer larger than 64 KiB")),
            }
        };
        let patience = self.timeout.min(PATIENCE);
        tokio::time::timeout(patience, probe).await.unwrap_or(Err(Error::Timeout(patience)))
    }
}

impl Ask {
    /// Of a request without a body.
    fn of(request: &Request<Body>, tenant: Tenant) -> Option<Self> {
        Some(Self {
            method: request.method().clone(),
            target: request.uri().path_and_query()?.clone(),
            headers: request.headers().clone(),
            body: Bytes::new(),
            tenant,
            waits: Arc::default(),
        })
    }

    fn request(&self) -> Result<Request<Body>, Error> {
        let mut request = Request::new(body::full(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() =
            Uri::builder().path_and_query(self.target.clone()).build().map_err(Error::garbage)?;
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        // They were about the body as it came; this one is at hand, whatever its length.
        for framing in [CONTENT_LENGTH, EXPECT] {
            headers.remove(framing);
        }
        Ok(request)
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
