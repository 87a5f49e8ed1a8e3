//! Answers as callers see them, with what they say about the cache.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{AGE, HeaderMap, HeaderValue};

use crate::body::{self, Response};
use crate::cache::entry::Entry;
use crate::clock::Time;
use crate::metrics::Outcome;
use crate::request::NAMESPACE;
use crate::upstream::headers::{CACHE_STATUS, X_CACHE, end_to_end};

/// How an entry came to be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Serving {
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
        Self::of(began, entry.answered)
    }

    /// How what came at `answered` serves a request that came at `began`.
    pub(crate) fn of(began: Time, answered: Time) -> Self {
        if answered <= began { Self::Hit } else { Self::Collapsed }
    }

    pub(crate) fn outcome(self) -> Outcome {
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
    let mut response = kept(&entry.answer.headers, entry.answer.body.clone(), namespace);
    *response.status_mut() = entry.answer.status;
    let left = entry.life.until(None).since(now);
    label(response.headers_mut(), serving, now.since(entry.asked), left);
    response
}

/// An answer with the headers that it is kept with.
pub(crate) fn kept(headers: &HeaderMap, body: Bytes, namespace: Option<&HeaderValue>) -> Response {
    let mut response = Response::new(body::full(body));
    response.headers_mut().clone_from(headers);
    // The server echoes the namespace header as the caller wrote it.
    if let Some(namespace) = namespace {
        response.headers_mut().insert(NAMESPACE, namespace.clone());
    }
    response
}

/// Says how an answer of this `age` was come by (RFC 9211), and for how much longer it is good.
pub(crate) fn label(headers: &mut HeaderMap, serving: Serving, age: Duration, left: Duration) {
    let from_memory = matches!(serving, Serving::Hit | Serving::Stale);
    let x_cache = HeaderValue::from_static(if from_memory { "HIT" } else { "MISS" });
    for (name, value) in
        [(X_CACHE, x_cache), (AGE, AGES.of(age.as_secs())), (CACHE_STATUS, status(serving, left))]
    {
        // An insertion makes room first, also where it only replaces.
        match headers.get_mut(&name) {
            Some(place) => *place = value,
            None => drop(headers.insert(name, value)),
        }
    }
}

/// Header values that are a number behind some words.
struct Numbered {
    words: &'static str,
    /// Those of small numbers.
    small: OnceLock<Box<[HeaderValue]>>,
}

static AGES: Numbered = Numbered::new("");
static LIVES: Numbered = Numbered::new("vaultlet; hit; ttl=");

impl Numbered {
    /// Ten minutes of seconds: a hit says two numbers, and most are smaller.
    const SMALL: u64 = 600;

    const fn new(words: &'static str) -> Self {
        Self { words, small: OnceLock::new() }
    }

    fn of(&self, number: u64) -> HeaderValue {
        let small = self.small.get_or_init(|| {
            // Of static text: it is cloned without counting who has it.
            let leaked = |number| HeaderValue::from_static(self.text(number).leak());
            (0..Self::SMALL).map(leaked).collect()
        });
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        small.get(index).cloned().unwrap_or_else(|| {
            let value = HeaderValue::try_from(self.text(number));
            value.unwrap_or(HeaderValue::from_static("0"))
        })
    }

    fn text(&self, number: u64) -> String {
        format!("{}{number}", self.words)
    }
}

fn status(serving: Serving, left: Duration) -> HeaderValue {
    match serving {
        Serving::Collapsed => HeaderValue::from_static("vaultlet; fwd=miss; collapsed"),
        Serving::Hit => LIVES.of(left.as_secs()),
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
