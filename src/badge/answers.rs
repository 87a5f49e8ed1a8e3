//! Answers about a badge, in the shape the server gives them about a token of its own.
//!
//! OpenBao `internal/vault/token_store.go`, `handleLookup` and `handleRenewSelf`, and
//! `sdk/logical/response_util.go`. What is said of policies, entity and metadata is what the
//! upstream has said of the shared login.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::body::{self, Response};
use crate::clock::Clock;
use crate::exchange::Shared;
use crate::secret::wiped;

/// Who a pod is, as far as it is told.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its token, where it has one of ours; empty for a service-account token.
    pub token: Option<&'a [u8]>,
    /// Of the token; empty for a service-account token.
    pub accessor: &'a str,
    /// When the token was given out.
    pub made: SystemTime,
    /// The life it was given.
    pub term: Duration,
    /// What is left of it.
    pub left: Duration,
    /// Whether it can be had to last longer.
    pub renewable: bool,
    /// The path of the login, below `/v1/`.
    pub path: &'a str,
}

/// The answer to a login, or to `renew-self`.
pub fn auth(subject: &Subject<'_>, shared: &Shared) -> Response {
    let mut auth = shared.auth.clone();
    auth.insert("client_token".into(), text(subject.token));
    auth.insert("accessor".into(), subject.accessor.into());
    auth.insert("lease_duration".into(), subject.left.as_secs().into());
    auth.insert("renewable".into(), subject.renewable.into());
    answer(&Value::Null, &Value::Object(auth))
}

/// The answer to `lookup-self`.
pub fn lookup(subject: &Subject<'_>, shared: &Shared) -> Response {
    let said = |name: &str| shared.auth.get(name).cloned().unwrap_or(Value::Null);
    let name = |key: &str| said("metadata").get(key).and_then(Value::as_str).map(str::to_owned);
    let display_name = match (name("service_account_namespace"), name("service_account_name")) {
        (Some(namespace), Some(account)) => format!("kubernetes-{namespace}-{account}"),
        _ => "kubernetes".to_owned(),
    };
    let made = Timestamp::try_from(subject.made).unwrap_or(Timestamp::UNIX_EPOCH);
    let now = Timestamp::try_from(Clock::wall()).unwrap_or(Timestamp::UNIX_EPOCH);
    let end = now.checked_add(subject.left).unwrap_or(Timestamp::MAX);
    let mut data = Map::new();
    for (key, value) in [
        ("accessor", subject.accessor.into()),
        ("creation_time", made.as_second().into()),
        ("creation_ttl", subject.term.as_secs().into()),
        ("display_name", display_name.into()),
        ("entity_id", said("entity_id")),
        ("expire_time", end.to_string().into()),
        ("explicit_max_ttl", 0.into()),
        ("id", text(subject.token)),
        ("issue_time", made.to_string().into()),
        ("meta", said("metadata")),
        ("num_uses", 0.into()),
        ("orphan", true.into()),
        ("path", subject.path.into()),
        ("policies", said("token_policies")),
        ("renewable", subject.renewable.into()),
        ("ttl", subject.left.as_secs().into()),
        ("type", "service".into()),
    ] {
        data.insert(key.into(), value);
    }
    if let identity @ Value::Array(_) = said("identity_policies") {
        data.insert("identity_policies".into(), identity);
    }
    answer(&Value::Object(data), &Value::Null)
}

/// The answer to `revoke-self`.
pub fn done() -> Response {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    headers(&mut response);
    response
}

fn answer(data: &Value, auth: &Value) -> Response {
    let body = json!({
        "request_id": request_id(),
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": data,
        "wrap_info": null,
        "warnings": null,
        "auth": auth,
    });
    let mut response = Response::new(body::full(wiped(body.to_string().into_bytes())));
    headers(&mut response);
    response
}

fn headers(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

fn text(token: Option<&[u8]>) -> Value {
    token.map(String::from_utf8_lossy).unwrap_or_default().into()
}

/// A UUID of version 4 that names this answer; nothing depends on its being hard to guess.
fn request_id() -> String {
    let random = fastrand::u128(..);
    let hex = format!("{random:032x}");
    let variant = ["8", "9", "a", "b"][usize::from(random.to_le_bytes()[0] & 3)];
    format!(
        "{}-{}-4{}-{variant}{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}
