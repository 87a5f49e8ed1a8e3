//! What does an answer to a KV read say, and may it be kept?
//!
//! Only the shapes known from Vault's and OpenBao's KV engines are kept (OpenBao
//! `internal/builtin/logical/kv`): a secret of either version, a deleted version's 404 with its
//! metadata, and the plain 404. Anything else is passed on as it came, and what contradicts itself
//! is nobody's secret.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::clock::Clock;

/// An answer that is kept: as it came, without what belongs to its connection or its moment.
#[derive(Debug)]
pub struct Answer {
    /// 200 or 404.
    pub status: StatusCode,
    /// End-to-end headers, without `Date`, `Content-Length` and the echoed namespace. Nearly all
    /// answers have the same, and share them.
    pub headers: Arc<HeaderMap>,
    /// Wiped when the last reader is done.
    pub body: Bytes,
}

impl Answer {
    /// What it takes where it shares nothing, as in a file.
    pub fn bytes_alone(&self) -> usize {
        // A header map keeps a name, a value and an index for each.
        self.body.len() + self.headers.iter().map(|(_, value)| 96 + value.len()).sum::<usize>()
    }

    /// What it takes in memory, without fixed bookkeeping.
    pub fn bytes(&self) -> usize {
        let alone = Arc::strong_count(&self.headers) == 1;
        if alone { self.bytes_alone() } else { self.body.len() }
    }

    /// Which of two answers to one read shows what was there later, as far as they say: equal if
    /// they show the same, `None` if that cannot be told.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        let (own, others) = (Shown::of(&self.body)?, Shown::of(&other.body)?);
        if self.status == other.status && own.data == others.data {
            return Some(Ordering::Equal);
        }
        // A version can be deleted and undeleted, and then is another with the same number.
        Some(own.version?.cmp(&others.version?)).filter(|order| order.is_ne())
    }
}

/// What an answer shows, whatever request it answers.
struct Shown<'a> {
    data: &'a str,
    /// Of the secret, in KV version 2.
    version: Option<u64>,
}

impl<'a> Shown<'a> {
    fn of(body: &'a [u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Outer<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Inner {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        struct Metadata {
            version: u64,
        }
        let data = serde_json::from_slice::<Outer<'a>>(body).ok()?.data.get();
        let version = serde_json::from_str::<Inner>(data).ok().map(|inner| inner.metadata.version);
        Some(Self { data, version })
    }
}

/// Which read an answer belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `sys/internal/ui/mounts/<path>`.
    Mount,
    /// A secret of KV version 1.
    V1,
    /// A secret of KV version 2; the version asked for, if one was.
    V2(Option<u32>),
}

/// What an answer turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// A secret, or a mount: to be kept, until its own end if it has one.
    Found(Option<Duration>),
    /// No answer this read can have: truncated, not JSON, at odds with itself or the question.
    Garbage(&'static str),
    /// There is nothing, or nothing any more: to be kept briefly.
    Missing,
    /// Understood by the caller, perhaps; passed on and not kept.
    Other,
}

/// The frame around every answer (OpenBao `sdk/logical/response.go`, `HTTPResponse`). A key that
/// comes twice is an error, as two parsers would read two things.
#[derive(Deserialize)]
struct Frame<'a> {
    /// Empty where the answer is wrapped; left out only where there is nothing but errors.
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    lease_id: Option<String>,
    #[serde(default)]
    lease_duration: Option<u64>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    wrap_info: Option<IgnoredAny>,
    #[serde(default)]
    warnings: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    auth: Option<IgnoredAny>,
    #[serde(default)]
    errors: Option<Vec<IgnoredAny>>,
}

/// `data` of a KV version 2 read.
#[derive(Deserialize)]
struct Versioned<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: &'a RawValue,
}

#[derive(Deserialize)]
struct Metadata {
    version: u32,
    deletion_time: String,
    destroyed: bool,
}

impl Reading {
    /// Reads an answer. `clock`: what an end that it names is measured by.
    pub fn of(kind: Kind, status: u16, body: &[u8], clock: &Clock) -> Self {
        match status {
            200 => Self::success(kind, body, clock),
            // A read that succeeds says what it read.
            201..=299 => Self::Garbage("a success without a secret"),
            404 => Self::absence(kind, body),
            _ => Self::Other,
        }
    }

    fn success(kind: Kind, body: &[u8], clock: &Clock) -> Self {
        let Some(frame) = Frame::parse(body) else {
            return Self::Garbage("a success that is not one JSON object of Vault's shape");
        };
        if frame.request_id.is_none() {
            return Self::Garbage("a success that is not Vault's");
        }
        if frame.errors.as_ref().is_some_and(|errors| !errors.is_empty()) {
            return Self::Garbage("a success that reports errors");
        }
        if !frame.usual() {
            return Self::Other;
        }
        let Some(data) = frame.data else { return Self::Other };
        match kind {
            Kind::Mount => Self::object(data).map_or(Self::Other, |()| Self::Found(None)),
            Kind::V1 => match Self::object(data) {
                Some(()) => Self::Found(frame.lease_duration.map(Duration::from_secs)),
                None => Self::Other,
            },
            Kind::V2(asked) => Self::version(asked, data, clock),
        }
    }

    fn version(asked: Option<u32>, data: &RawValue, clock: &Clock) -> Self {
        let Some((found, metadata)) = Versioned::parse(data) else { return Self::Other };
        if asked.is_some_and(|asked| asked != metadata.version) {
            return Self::Garbage("another version than the one asked for");
        }
        if metadata.destroyed || found.data.and_then(Self::object).is_none() {
            return Self::Other;
        }
        match metadata.deletion_time.as_str() {
            "" => Self::Found(None),
            time => match time.parse::<Timestamp>() {
                Ok(time) => Self::Found(Some(ends(time, clock))),
                Err(_) => Self::Other,
            },
        }
    }

    /// `{"errors":[]}`, or a deleted version's metadata without its data.
    fn absence(kind: Kind, body: &[u8]) -> Self {
        let Some(frame) = Frame::parse(body) else { return Self::Other };
        let plain = frame.errors.as_ref().is_some_and(Vec::is_empty) && frame.data.is_none();
        if plain && frame.warnings.is_none() {
            return Self::Missing;
        }
        let (Kind::V2(_), Some(data)) = (kind, frame.data) else { return Self::Other };
        let Some((gone, metadata)) = Versioned::parse(data) else { return Self::Other };
        let dead = metadata.destroyed || !metadata.deletion_time.is_empty();
        if frame.usual() && gone.data.is_none() && dead { Self::Missing } else { Self::Other }
    }

    fn object(value: &RawValue) -> Option<()> {
        value.get().starts_with('{').then_some(())
    }
}

impl<'a> Frame<'a> {
    /// serde would read an array as the fields in their order.
    fn parse(body: &'a [u8]) -> Option<Self> {
        let object = body.trim_ascii_start().starts_with(b"{");
        if object { serde_json::from_slice(body).ok() } else { None }
    }

    /// Whether this is a plain secret: no lease, no login, nothing wrapped (a control group's
    /// answer is), nothing the server found odd about the request.
    fn usual(&self) -> bool {
        self.request_id.as_ref().is_some_and(|id| !id.is_empty())
            && self.lease_id.as_ref().is_none_or(String::is_empty)
            && self.wrap_info.is_none()
            && self.auth.is_none()
            && self.warnings.as_ref().is_none_or(Vec::is_empty)
    }
}

impl<'a> Versioned<'a> {
    fn parse(data: &'a RawValue) -> Option<(Self, Metadata)> {
        Reading::object(data)?;
        let versioned: Self = serde_json::from_str(data.get()).ok()?;
        Reading::object(versioned.metadata)?;
        let metadata = serde_json::from_str(versioned.metadata.get()).ok()?;
        Some((versioned, metadata))
    }
}

/// From now to a version's deletion; zero once it has passed. Cut to whole seconds, on the safe
/// side.
fn ends(time: Timestamp, clock: &Clock) -> Duration {
    clock.until_unix(time.as_second()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
