//! What does an OpenBao's answer look like from outside?
//!
//! As version 2.7.2 answers, header by header: `tests/real.rs` holds the two side by side.

use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, STRICT_TRANSPORT_SECURITY};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

/// An answer, as it leaves.
pub(super) type Said = Response<Full<Bytes>>;

/// The frame around everything but a few (OpenBao `sdk/logical/response.go`, `HTTPResponse`).
pub(super) struct Frame {
    pub(super) lease: Option<(String, Duration)>,
    /// In the place of a lease, a version 1 secret says how long it may be used.
    pub(super) advice: Duration,
    pub(super) data: Value,
    pub(super) warnings: Value,
    pub(super) auth: Value,
}

impl Default for Frame {
    fn default() -> Self {
        let none = Value::Null;
        let (data, warnings, auth) = (none.clone(), none.clone(), none);
        Self { lease: None, advice: Duration::ZERO, data, warnings, auth }
    }
}

impl Frame {
    pub(super) fn of(data: Value) -> Self {
        Self { data, ..Self::default() }
    }

    /// Its JSON. `id`: the request's.
    pub(super) fn body(&self, id: u64) -> Value {
        let (lease, life) = match &self.lease {
            Some((lease, life)) => (lease.as_str(), *life),
            None => ("", self.advice),
        };
        json!({
            "request_id": uuid(id),
            "lease_id": lease,
            "renewable": self.lease.is_some(),
            "lease_duration": life.as_secs(),
            "data": self.data,
            "wrap_info": null,
            "warnings": self.warnings,
            "auth": self.auth,
        })
    }
}

pub(super) fn ok(body: &Value) -> Said {
    say(StatusCode::OK, format!("{body}\n"))
}

pub(super) fn no_content() -> Said {
    say(StatusCode::NO_CONTENT, String::new())
}

/// A refusal.
pub(super) fn no(status: StatusCode, why: &str) -> Said {
    say(status, format!("{}\n", json!({ "errors": [why] })))
}

/// There is nothing.
pub(super) fn nothing() -> Said {
    say(StatusCode::NOT_FOUND, "{\"errors\":[]}\n".to_owned())
}

/// What no policy allows.
pub(super) fn forbidden() -> Said {
    no(StatusCode::FORBIDDEN, "1 error occurred:\n\t* permission denied\n\n")
}

/// A token that is none, or none any more.
pub(super) fn denied() -> Said {
    no(StatusCode::FORBIDDEN, "permission denied")
}

fn say(status: StatusCode, body: String) -> Said {
    let mut said = Response::new(Full::new(Bytes::from(body)));
    *said.status_mut() = status;
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_TYPE, "application/json"),
        (STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    ] {
        said.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    said
}

/// An id of the usual form.
pub(super) fn uuid(number: u64) -> String {
    format!("{:08x}-{:04x}-4000-8000-{number:012x}", number >> 32, (number >> 16) & 0xffff)
}

/// An instant that lies so far ahead, by the wall clock: that is what whoever reads it subtracts,
/// wherever the simulation's own time has got to.
pub(super) fn ahead(left: Duration) -> String {
    let then = Timestamp::try_from(SystemTime::now() + left).unwrap_or(Timestamp::UNIX_EPOCH);
    then.to_string()
}

/// An instant so long ago.
pub(super) fn ago(past: Duration) -> String {
    let now = SystemTime::now();
    let then = now.checked_sub(past).unwrap_or(now);
    Timestamp::try_from(then).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
