//! What vaultlet asks about a lease on its own account: is it there, may its owner have it, may it
//! live longer?
//!
//! Always with the token that the credential was issued to, or that its owner brings now; the
//! `default` policy lets every token ask all three (SEMANTICS 1.8, 4.1).

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::held::Lease;
use crate::error::Error;
use crate::identity::dead;
use crate::metrics::Operation;
use crate::request::{NAMESPACE, TOKEN};
use crate::upstream::{Ask, Upstream, Whole, trouble};

/// What the upstream says of one of them is a kilobyte.
const LIMIT: usize = 64 * 1024;

/// What became of a question whether a lease is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// It is, for this long.
    For(Duration),
    /// It is not.
    Gone,
    /// The token may not ask.
    Unasked,
    /// The token is none any more.
    Dead,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Renewal {
    /// The lease is for this long from when it was asked for.
    For(Duration),
    /// There is no such lease any more.
    Gone,
    /// It is not renewed, now or later.
    Refused,
    /// The upstream says that it did not work; which may be about the lease, or not.
    Failed,
}

/// Asks whether a lease is there.
pub(super) async fn look_up(
    upstream: &Upstream,
    lease: &Lease,
    id: &str,
    token: &HeaderValue,
) -> Result<Found, Error> {
    #[derive(Deserialize)]
    struct Answer {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        ttl: i64,
    }
    let ask = post("/v1/sys/leases/lookup", &json!({"lease_id": id}), lease, token);
    let (status, body) = whole(upstream.ask(Operation::LeaseLookup, &ask, LIMIT).await?)?;
    match status {
        StatusCode::OK => {
            let Answer { data } = serde_json::from_slice(&body).map_err(Error::garbage)?;
            let left = u64::try_from(data.ttl).unwrap_or_default();
            Ok(if left == 0 { Found::Gone } else { Found::For(Duration::from_secs(left)) })
        }
        // Only these words are about the lease; a locked namespace, say, has others.
        StatusCode::BAD_REQUEST if says(&body, &["invalid lease"]) => Ok(Found::Gone),
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => {
            Err(Error::nonsense("an answer to a look-up of a lease that is about something else"))
        }
        StatusCode::FORBIDDEN if dead(&body) => Ok(Found::Dead),
        _ => Ok(Found::Unasked),
    }
}

/// Asks whether a token has the right to the request that a credential answers: `None` where it may
/// not ask. Only capabilities are seen, not what a rule asks of parameters (docs/decisions/0011).
pub(super) async fn capable(
    upstream: &Upstream,
    lease: &Lease,
    token: &HeaderValue,
) -> Result<Option<bool>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        data: Map<String, Value>,
    }
    let request = &lease.key.request;
    let path = &request.path[request.namespace..];
    let ask = post("/v1/sys/capabilities-self", &json!({"paths": [path]}), lease, token);
    let (status, body) = whole(upstream.ask(Operation::Capabilities, &ask, LIMIT).await?)?;
    if status != StatusCode::OK {
        return Ok(if dead(&body) { Some(false) } else { None });
    }
    let Answer { data } = serde_json::from_slice(&body).map_err(Error::garbage)?;
    let Some(Value::Array(capabilities)) = data.get(path) else {
        return Err(Error::nonsense("an answer about capabilities without the path asked for"));
    };
    let needed = if request.writes { "update" } else { "read" };
    Ok(Some(capabilities.iter().any(|it| it == needed || it == "root")))
}

/// Renews a lease by `increment` from now.
pub(super) async fn renew(
    upstream: &Upstream,
    lease: &Lease,
    id: &str,
    increment: Duration,
) -> Result<Renewal, Error> {
    #[derive(Deserialize)]
    struct Answer {
        lease_duration: u64,
    }
    let body = json!({"lease_id": id, "increment": increment.as_secs()});
    let ask = post("/v1/sys/leases/renew", &body, lease, &lease.holder.header);
    let (status, body) = whole(upstream.ask_once(Operation::LeaseRenew, &ask, LIMIT).await?)?;
    Ok(match status {
        StatusCode::OK => {
            let Answer { lease_duration } =
                serde_json::from_slice(&body).map_err(Error::garbage)?;
            let life = Duration::from_secs(lease_duration);
            if life.is_zero() { Renewal::Gone } else { Renewal::For(life) }
        }
        // The server answers 400 to everything that goes wrong (OpenBao
        // `internal/vault/logical_system.go`, `handleRenew`): only these words are about the lease.
        StatusCode::BAD_REQUEST => match () {
            () if says(&body, &["lease not found", "lease expired", "invalid lease"]) => {
                Renewal::Gone
            }
            () if says(&body, &["lease is not renewable"]) => Renewal::Refused,
            () => Renewal::Failed,
        },
        StatusCode::FORBIDDEN => Renewal::Refused,
        _ => Renewal::Failed,
    })
}

/// Revokes a lease. `true`: the upstream did, or has queued it.
pub(super) async fn revoke(
    upstream: &Upstream,
    lease: &Lease,
    id: &str,
    token: &HeaderValue,
) -> Result<bool, Error> {
    let ask = post("/v1/sys/leases/revoke", &json!({"lease_id": id}), lease, token);
    // Doing it twice does it once.
    let (status, _) = whole(upstream.ask(Operation::LeaseRevoke, &ask, LIMIT).await?)?;
    Ok(status.is_success())
}

/// Revokes the token that a credential was issued to, and with it all that was issued to it.
/// `true`: the upstream did.
pub(super) async fn revoke_self(
    upstream: &Upstream,
    lease: &Lease,
    token: &HeaderValue,
) -> Result<bool, Error> {
    // A login is of its auth mount's namespace, and ends itself wherever it says so.
    let ask = post("/v1/auth/token/revoke-self", &json!({}), lease, token);
    let (status, _) = whole(upstream.ask(Operation::LeaseRevoke, &ask, LIMIT).await?)?;
    Ok(status.is_success())
}

fn post(path: &'static str, body: &Value, lease: &Lease, token: &HeaderValue) -> Ask {
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN, token.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(namespace) = lease.request.headers.get(NAMESPACE) {
        headers.insert(NAMESPACE, namespace.clone());
    }
    Ask {
        method: Method::POST,
        body: Bytes::from(body.to_string()),
        ..Ask::get(PathAndQuery::from_static(path), headers, lease.request.tenant)
    }
}

fn whole(whole: Whole) -> Result<(StatusCode, Bytes), Error> {
    match whole {
        Whole::Answer { status, body, .. } => match trouble(status, &body) {
            Some(trouble) => Err(Error::Failing(status, trouble)),
            None => Ok((status, body)),
        },
        Whole::Oversize(_) => Err(Error::nonsense("an answer about a lease over 64 KiB")),
    }
}

fn says(body: &[u8], words: &[&str]) -> bool {
    let body = String::from_utf8_lossy(body);
    words.iter().any(|word| body.contains(word))
}
