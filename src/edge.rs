//! What every request passes through, whatever it asks for: the listener's own conditions, the
//! bound on its body, the one place where a failure becomes an answer, and the audit log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use tracing::{debug, info};

use crate::body::{self, Limited, Response};
use crate::clock::Clock;
use crate::config::Listener;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::proxy::{Answered, Proxy};
use crate::request::Headers;
use crate::server::Arrival;
use crate::witness::{Asked, Witness};

/// The outermost ring around [`Proxy::handle`].
#[derive(Debug)]
pub struct Edge {
    proxy: Proxy,
    witness: Option<Witness>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Edge {
    /// Around `proxy`. `witness`: what records the answers.
    pub fn new(
        proxy: Proxy,
        witness: Option<Witness>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { proxy, witness, clock, metrics }
    }

    /// Answers a request, always.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        listener: &Listener,
        arrival: Arrival,
    ) -> Response {
        let began = self.clock.now();
        let asked = self.witness.as_ref().map(|_| Asked::of(&request, arrival.remote));
        let mut answered = self.admit(request, listener, arrival).await;
        // No answer leaves before its record is accepted.
        if let (Some(witness), Some(asked)) = (&self.witness, &asked) {
            let recorded = witness.record(asked, &answered);
            if let Err(error) = recorded.await {
                answered.response = Err(error);
            }
        }
        let Answered { route, outcome, response, .. } = answered;
        let response = response.unwrap_or_else(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            match error {
                Error::Malformed(_) | Error::RequestHeader | Error::TooLarge(_) => {
                    debug!(%error, "request refused");
                }
                _ => info!(%error, cause, "request failed"),
            }
            error.into_response()
        });
        let took = self.clock.now().since(began);
        self.metrics.request(route, outcome, response.status(), took);
        response
    }

    async fn admit(
        &self,
        request: Request<Incoming>,
        listener: &Listener,
        arrival: Arrival,
    ) -> Answered {
        if arrival.altered {
            return Answered::refused(Error::Malformed(
                "a `#` in the target, or an empty line before it",
            ));
        }
        if listener.require_request_header
            && !Headers::parse(request.headers()).is_ok_and(|headers| headers.vault_request)
        {
            return Answered::refused(Error::RequestHeader);
        }
        let limit = if unlimited(&request) { u64::MAX } else { listener.limits.max_body_bytes };
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        // Before the upstream is involved: an upload it refuses half-way costs a connection.
        if length.is_some_and(|length| length > limit) {
            return Answered::refused(Error::TooLarge(limit));
        }
        let exceeded = Arc::new(AtomicBool::new(false));
        let empty = hyper::body::Body::is_end_stream(request.body());
        let bounded = |body| {
            let stall = listener.limits.stall_timeout;
            body::stream(Limited::new(body, limit, stall, Arc::clone(&exceeded)))
        };
        let request = request.map(|body| if empty { body::empty() } else { bounded(body) });
        let mut answered = self.proxy.handle(request).await;
        if exceeded.load(Ordering::Acquire) {
            answered.response = Err(Error::TooLarge(limit));
        }
        answered
    }
}

/// Whether a request's body may be of any size: a raft snapshot to be restored.
fn unlimited(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    path.ends_with("/sys/storage/raft/snapshot")
        || path.ends_with("/sys/storage/raft/snapshot-force")
}
