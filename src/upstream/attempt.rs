//! One request at one address, or at two of which the faster counts, and what that says of them.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HOST, HeaderMap, HeaderValue, LOCATION};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, StatusCode, Uri, Version};
use tokio::time::{sleep, timeout};

use super::ask::Ask;
use super::node::{Node, Turn};
use super::upload::Upload;
use super::{Upstream, Whole, gate, headers, trouble};
use crate::body::Body;
use crate::clock::Time;
use crate::error::{Error, Trouble};
use crate::metrics::Operation;
use crate::tenant::Tenant;

/// After this long without an answer, another address is asked as well, up to half as long again.
const HEDGE: Duration = Duration::from_millis(250);

/// An answer that has begun is over by then: it is a few kilobytes, or two mebibytes at most.
const BODY: Duration = Duration::from_secs(4);

type Answer = hyper::Response<Incoming>;

impl Upstream {
    /// A place among the requests in flight, and an address to ask. Nobody waits for a place while
    /// no address is worth asking, where requests that hang may hold every one of them.
    pub(super) async fn admit(
        &self,
        tenant: Tenant,
        waits: &AtomicBool,
    ) -> Result<(gate::Place, Turn), Error> {
        self.nodes.any()?;
        let place = self.gate.enter(tenant, waits).await;
        // Who has waited in vain is told why.
        let turn = self.nodes.choose(None)?;
        Ok((place?, turn))
    }

    /// The same for a request of vaultlet's own, which leaves when its turn has come: an upstream
    /// that has just come back is not asked for everything at once.
    pub(super) async fn admit_own(
        &self,
        tenant: Tenant,
        waits: &AtomicBool,
    ) -> Result<gate::Place, Error> {
        self.nodes.any()?;
        // Before it has a place: who waits for this keeps nobody else waiting.
        let wait = self.nodes.pace()?;
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let place = self.gate.enter(tenant, waits).await;
        self.nodes.any()?;
        place
    }

    /// Asks one address, or a second one as well, and takes in the whole answer.
    pub(super) async fn attempt_whole(
        &self,
        operation: Operation,
        ask: &Ask,
        limit: usize,
        place: &Arc<gate::Place>,
        avoid: Option<&Node>,
    ) -> (Result<Whole, Error>, Option<Arc<Node>>) {
        let turn = match self.nodes.choose(avoid) {
            Ok(turn) => turn,
            Err(error) => return (Err(error), None),
        };
        let (answer, turn) = self.attempt_hedged(operation, ask, turn).await;
        let whole = match answer {
            // A body that trickles must not hold its place until the caller has lost patience.
            Ok(answer) => {
                let whole = Whole::take(answer, limit, Arc::clone(place));
                timeout(BODY, whole).await.unwrap_or(Err(Error::Timeout(BODY)))
            }
            Err(error) => Err(error),
        };
        let node = Arc::clone(&turn.node);
        self.judge(turn, &whole, ask.tenant);
        (whole, Some(node))
    }

    /// Asks the address of `turn`, and one that is as good if that does not begin to answer.
    async fn attempt_hedged(
        &self,
        operation: Operation,
        ask: &Ask,
        turn: Turn,
    ) -> (Result<Answer, Error>, Turn) {
        let first = Arc::clone(&turn.node);
        let mut answer = pin!(self.attempt_or_follow(operation, &first, ask, self.first_byte));
        // One more request may be one use too many of a token of which nobody knows better.
        if operation == Operation::LookupSelf || !ask.tenant.vouched() || !self.nodes.others(&first)
        {
            return (answer.await, turn);
        }
        let delay = HEDGE.mul_f64(1.0 + fastrand::f64() / 2.0);
        if let Ok(answer) = timeout(delay, answer.as_mut()).await {
            return (answer, turn);
        }
        let Some(second) = self.nodes.twin(&first).filter(|_| self.budget.spend()) else {
            return (answer.await, turn);
        };
        let other = Arc::clone(&second.node);
        let mut hedge = pin!(self.attempt_or_follow(operation, &other, ask, self.first_byte));
        tokio::select! {
            answer = &mut answer => match answer {
                Ok(answer) => (Ok(answer), turn),
                Err(error) => {
                    self.judge(turn, &Err(error), ask.tenant);
                    (hedge.await, second)
                }
            },
            faster = &mut hedge => match faster {
                Ok(faster) => {
                    first.doubt.notify_one();
                    (Ok(faster), second)
                }
                Err(error) => {
                    self.judge(second, &Err(error), ask.tenant);
                    (answer.await, turn)
                }
            },
        }
    }

    /// What the answer to a request of vaultlet's own says of the address.
    fn judge(&self, turn: Turn, whole: &Result<Whole, Error>, tenant: Tenant) {
        let opened = match whole {
            Ok(Whole::Answer { status, headers, body }) => match trouble(*status, body) {
                // That is about who asks and for what: `Lanes`.
                Some(_) if *status == StatusCode::TOO_MANY_REQUESTS => return turn.answered(),
                Some(Trouble::Sealed) => return turn.answered(),
                Some(Trouble::Failing) => turn.bad(Some(tenant.house())),
                // Compressed by something in between: nobody here looks inside.
                None if headers.contains_key(CONTENT_ENCODING) => return turn.answered(),
                None if *status == StatusCode::OK && !object(headers, body) => turn.bad(None),
                None => return turn.good(),
            },
            Ok(Whole::Oversize(_)) => return turn.answered(),
            Err(Error::Garbage(_) | Error::Lost(_) | Error::Timeout(_) | Error::Unreachable(_)) => {
                turn.node.doubt.notify_one();
                turn.bad(None)
            }
            Err(_) => return,
        };
        if opened {
            self.start_afresh();
        }
    }

    /// What an answer says of the address that may be late or wrong for reasons of its own: a
    /// caller's request, or one to some engine, which has others to ask.
    pub(super) fn judge_passed(&self, turn: Turn, answer: Result<(), &Error>) {
        match answer {
            Ok(()) => turn.answered(),
            Err(Error::Unreachable(_)) => {
                if turn.bad(None) {
                    self.start_afresh();
                }
            }
            Err(_) => turn.node.doubt.notify_one(),
        }
    }

    /// Asks over other connections from now on: those there are may lead nowhere.
    pub(super) fn start_afresh(&self) {
        self.pool.renew();
    }

    /// One attempt at one address, with so much patience until its answer begins.
    pub(super) async fn attempt(
        &self,
        operation: Operation,
        node: &Node,
        mut request: Request<Body>,
        upload: &Upload,
        patience: Duration,
    ) -> Result<Answer, Error> {
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = node.uri(target)?;
        // The caller's version is of the caller's connection.
        *request.version_mut() = Version::HTTP_11;
        if let Some(authority) = request.uri().authority() {
            let host = HeaderValue::from_str(authority.as_str());
            request.headers_mut().insert(HOST, host.map_err(Error::garbage)?);
        }
        let mut sent = Sent { upstream: self, operation, began: self.clock.now(), status: None };
        let answer = upload.wait(self.pool.send(request), patience).await;
        let answer = match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) if error.is_connect() => {
                node.suspect();
                Err(Error::unreachable(error))
            }
            Some(Err(error)) => Err(Error::Lost(Arc::new(error))),
            None => Err(Error::Timeout(patience)),
        };
        sent.status = answer.as_ref().ok().map(hyper::Response::status);
        answer
    }

    pub(super) async fn attempt_or_follow(
        &self,
        operation: Operation,
        node: &Node,
        ask: &Ask,
        patience: Duration,
    ) -> Result<Answer, Error> {
        let no_upload = Upload::none();
        let answer = self.attempt(operation, node, ask.request()?, &no_upload, patience).await?;
        match self.redirected(ask, &answer) {
            Some(active) => {
                self.attempt(operation, &active, ask.request()?, &no_upload, patience).await
            }
            None => Ok(answer),
        }
    }

    /// The configured address that a standby's redirect points to: the active node, asked for the
    /// very same thing. Any other redirect is the caller's to follow, as the caller's credential
    /// goes nowhere but to the configured addresses, and a redirect to another path is the
    /// server's way of cleaning this one.
    pub(super) fn redirected(&self, ask: &Ask, answer: &Answer) -> Option<Arc<Node>> {
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
    pub(super) async fn probe(&self, node: &Node) -> Result<(StatusCode, Bytes), Error> {
        const PATIENCE: Duration = Duration::from_secs(2);
        const LIMIT: usize = 64 * 1024;
        let target = PathAndQuery::from_static("/v1/sys/health");
        let ask = Ask::get(target, HeaderMap::new(), Tenant::vaultlet());
        let patience = self.timeout.min(PATIENCE);
        let probe = async {
            let request = ask.request()?;
            let no_upload = Upload::none();
            let answer = self.attempt(Operation::Health, node, request, &no_upload, patience);
            match Whole::take(answer.await?, LIMIT, ()).await? {
                Whole::Answer { status, body, .. } => Ok((status, body)),
                Whole::Oversize(_) => Err(Error::nonsense("a health answer larger than 64 KiB")),
            }
        };
        timeout(patience, probe).await.unwrap_or(Err(Error::Timeout(patience)))
    }
}

/// A request on its way, counted also where nobody waits for its answer any more.
struct Sent<'a> {
    upstream: &'a Upstream,
    operation: Operation,
    began: Time,
    status: Option<StatusCode>,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        let took = self.upstream.clock.now().since(self.began);
        self.upstream.metrics.upstream(self.operation, self.status, took);
    }
}

/// Whether an answer may be a JSON object, and is not the page of something in between.
fn object(headers: &HeaderMap, body: &[u8]) -> bool {
    let body = body.trim_ascii();
    headers::json(headers) && body.starts_with(b"{") && body.ends_with(b"}")
}
