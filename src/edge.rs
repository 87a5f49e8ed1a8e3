//! What every request passes through, whatever it asks for: the listener's own conditions, the
//! bound on its body, the one place where a failure becomes an answer, and the audit log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::Request;
use hyper::body::Body as HttpBody;
use hyper::header::CONTENT_LENGTH;
use hyper::http::request::Parts;
use tracing::info;

use crate::body::{self, Limited, Response};
use crate::clock::Clock;
use crate::config::Listener;
use crate::error::{BoxError, Error};
use crate::identity::Logins;
use crate::metrics::{Metrics, Outcome};
use crate::proxy::{Answered, Proxy};
use crate::refusals::Refusals;
use crate::request::Headers;
use crate::server::Arrival;
use crate::witness::Witness;

/// The outermost ring around [`Proxy::handle`].
#[derive(Debug)]
pub struct Edge {
    proxy: Proxy,
    witness: Option<Witness>,
    refusals: Arc<Refusals>,
    logins: Arc<Logins>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Edge {
    /// Around `proxy`. `witness`: what records the answers.
    pub fn new(
        proxy: Proxy,
        witness: Option<Witness>,
        refusals: Arc<Refusals>,
        logins: Arc<Logins>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { proxy, witness, refusals, logins, clock, metrics }
    }

    /// What is inside.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Answers a request, always.
    pub async fn answer<B>(
        &self,
        request: Request<B>,
        listener: &Listener,
        arrival: Arrival,
    ) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let began = self.clock.now();
        let mut answered = self.admit(request, listener, arrival).await;
        if let Some(asked) = &answered.asked {
            self.refusals.note(asked, &answered, &self.logins);
            // No answer leaves before its record is accepted.
            if let Some(witness) = &self.witness {
                let recorded = witness.record(asked, arrival.remote, &answered);
                if let Err(error) = Box::pin(recorded).await {
                    answered.response = Err(error);
                }
            }
        }
        let Answered { route, outcome, response, .. } = answered;
        let response = response.unwrap_or_else(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            if outcome != Outcome::Denied {
                info!(%error, cause, "request failed");
            }
            error.into_response()
        });
        let took = self.clock.now().since(began);
        self.metrics.request(route, outcome, response.status(), took);
        response
    }

    async fn admit<B>(&self, request: Request<B>, listener: &Listener, arrival: Arrival) -> Answered
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        if arrival.altered {
            let what = "a `#` in the target, or an empty line before it";
            return Answered::refused(&head, Error::Malformed(what));
        }
        if listener.require_request_header
            && !Headers::parse(&head.headers).is_ok_and(|headers| headers.vault_request)
        {
            return Answered::refused(&head, Error::RequestHeader);
        }
        let limit = if unlimited(&head) { u64::MAX } else { listener.limits.max_body_bytes };
        let length = head.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        // Before the upstream is involved: an upload it refuses half-way costs a connection.
        if length.is_some_and(|length| length > limit) {
            return Answered::refused(&head, Error::TooLarge(limit));
        }
        let exceeded = Arc::new(AtomicBool::new(false));
        let empty = body.is_end_stream();
        let bounded = |body| {
            let stall = listener.limits.stall_timeout;
            body::stream(Limited::new(body, limit, stall, Arc::clone(&exceeded)))
        };
        let body = if empty { body::empty() } else { bounded(body) };
        let mut answered = self.proxy.handle(Request::from_parts(head, body)).await;
        if exceeded.load(Ordering::Acquire) {
            answered.response = Err(Error::TooLarge(limit));
        }
        answered
    }
}

/// Whether a request's body may be of any size: a raft snapshot to be restored.
fn unlimited(head: &Parts) -> bool {
    let path = head.uri.path();
    path.ends_with("/sys/storage/raft/snapshot")
        || path.ends_with("/sys/storage/raft/snapshot-force")
}
