//! Answers as callers see them, with what they say about the cache.

use hyper::StatusCode;
use hyper::header::{AGE, HeaderName, HeaderValue};

use crate::body::{self, Response};
use crate::cache::entry::Entry;
use crate::clock::Time;
use crate::metrics::Outcome;
use crate::request::NAMESPACE;
use crate::upstream::headers::end_to_end;

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How an entry came to be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Serving {
    /// It was there already, and good.
    Hit,
    /// It was there already, and the upstream could not be asked for a newer one.
    Stale,
    /// Another caller's request, in flight when this one came, has fetched it.
    Collapsed,
    /// It was there already, and the upstream has counted a use of the caller's token for it.
    Owed,
    /// This request has fetched it, in place of one whose time was over.
    Renewed,
    /// This request has fetched it.
    Stored,
    /// The same, and something changed meanwhile, so that it is not kept.
    Passed,
    /// The same, although one was there: the caller asked for the upstream's.
    Refreshed,
}

impl Serving {
    /// How `entry` serves a request that came at `began`: as what was there, or as what came
    /// meanwhile.
    pub(super) fn since(began: Time, entry: &Entry) -> Self {
        if entry.answered <= began { Self::Hit } else { Self::Collapsed }
    }

    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Collapsed => Outcome::Collapsed,
            Self::Hit => Outcome::Hit,
            Self::Owed | Self::Passed | Self::Refreshed | Self::Renewed | Self::Stored => {
                Outcome::Miss
            }
            Self::Stale => Outcome::Stale,
        }
    }
}

/// `entry` as an answer, `now`.
pub(super) fn reply(
    entry: &Entry,
    serving: Serving,
    namespace: Option<&HeaderValue>,
    now: Time,
) -> Response {
    let mut response = Response::new(body::full(entry.answer.body.clone()));
    *response.status_mut() = entry.answer.status;
    let headers = response.headers_mut();
    // Room for what is added below: one allocation, not two.
    headers.reserve(entry.answer.headers.len() + 4);
    for (name, value) in &entry.answer.headers {
        headers.append(name, value.clone());
    }
    // The server echoes the namespace header as the caller wrote it.
    if let Some(namespace) = namespace {
        headers.insert(NAMESPACE, namespace.clone());
    }
    let from_memory = matches!(serving, Serving::Hit | Serving::Stale);
    headers.insert(X_CACHE, HeaderValue::from_static(if from_memory { "HIT" } else { "MISS" }));
    headers.insert(AGE, HeaderValue::from(now.since(entry.asked).as_secs()));
    headers.insert(CACHE_STATUS, status(entry, serving, now));
    response
}

/// RFC 9211.
fn status(entry: &Entry, serving: Serving, now: Time) -> HeaderValue {
    match serving {
        Serving::Collapsed => HeaderValue::from_static("vaultlet; fwd=miss; collapsed"),
        Serving::Hit => {
            let left = entry.until(None).since(now).as_secs();
            let status = format!("vaultlet; hit; ttl={left}");
            HeaderValue::try_from(status).unwrap_or(HeaderValue::from_static("vaultlet; hit"))
        }
        Serving::Owed => HeaderValue::from_static("vaultlet; fwd=bypass; detail=use-counted"),
        Serving::Passed => HeaderValue::from_static("vaultlet; fwd=miss"),
        Serving::Refreshed => HeaderValue::from_static("vaultlet; fwd=bypass; stored"),
        Serving::Renewed => HeaderValue::from_static("vaultlet; fwd=stale"),
        Serving::Stale => HeaderValue::from_static("vaultlet; hit; detail=stale-if-error"),
        Serving::Stored => HeaderValue::from_static("vaultlet; fwd=miss; stored"),
    }
}

/// An upstream's answer that was asked for the cache and is not kept.
pub(super) fn relay(mut response: Response) -> Response {
    end_to_end(response.headers_mut());
    let denied = response.status() == StatusCode::FORBIDDEN;
    let status = if denied { "vaultlet; fwd=miss" } else { "vaultlet; fwd=bypass" };
    mark(&mut response, status);
    response
}

/// Says of an answer that was not served from the cache how the cache was passed by.
pub(crate) fn mark(response: &mut Response, status: &'static str) {
    let headers = response.headers_mut();
    headers.insert(X_CACHE, HeaderValue::from_static("MISS"));
    headers.insert(AGE, HeaderValue::from_static("0"));
    headers.insert(CACHE_STATUS, HeaderValue::from_static(status));
}
