//! A credential as callers see it: the upstream's answer, with what is true now.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};

use super::Reply;
use super::held::Lease;
use crate::body::{self, Response};
use crate::clock::Time;
use crate::kv::{Serving, kept, label};
use crate::metrics::Outcome;
use crate::upstream::headers::end_to_end;

/// `lease` as an answer, `now`: good for `left` more.
pub(super) fn reply(
    lease: &Lease,
    serving: Serving,
    namespace: Option<&HeaderValue>,
    now: Time,
    left: Duration,
) -> Response {
    let mut response = kept(&lease.headers, lease.body.with_left(left), namespace);
    label(response.headers_mut(), serving, now.since(lease.asked), left);
    response
}

/// What the upstream said, where that was no credential.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Said {
    /// As it came.
    pub(super) fn reply(self) -> Reply {
        let outcome = match self.status {
            StatusCode::FORBIDDEN => Outcome::Denied,
            status if status.is_server_error() => Outcome::Error,
            _ => Outcome::Bypass,
        };
        let mut response = Response::new(body::full(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        end_to_end(response.headers_mut());
        Reply::Serve(response, outcome)
    }
}
