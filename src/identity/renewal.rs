//! How much longer does a token live, if it asks to?

use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use serde::Deserialize;

use crate::body;
use crate::error::Error;
use crate::metrics::Operation;
use crate::request::TOKEN;
use crate::tenant::Tenant;
use crate::upstream::{Upstream, Whole, trouble};

/// What became of a renewal.
#[derive(Clone, Copy, Debug)]
pub enum Renewal {
    /// The token lives this long from when it was asked for, and may be renewed again.
    For(Duration),
    /// The token lives this long, and no longer; zero: for ever.
    Last(Duration),
    /// The upstream does not let it renew itself.
    Refused(StatusCode),
}

/// Renews a token with itself, for as long as the upstream allows.
///
/// # Errors
/// The upstream could not be asked.
pub async fn renew_self(
    upstream: &Upstream,
    tenant: Tenant,
    token: HeaderValue,
) -> Result<Renewal, Error> {
    #[derive(Deserialize)]
    struct Answer {
        auth: Lease,
    }
    #[derive(Deserialize)]
    struct Lease {
        lease_duration: u64,
        renewable: bool,
    }
    const LIMIT: usize = 64 * 1024;
    let mut request = Request::new(body::full("{}"));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/v1/auth/token/renew-self");
    request.headers_mut().insert(TOKEN, token);
    let kind = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, kind);
    match upstream.tell(Operation::Renew, tenant, request, LIMIT).await? {
        Whole::Answer { status: StatusCode::OK, body, .. } => {
            let Answer { auth } = serde_json::from_slice(&body).map_err(Error::garbage)?;
            let life = Duration::from_secs(auth.lease_duration);
            let again = auth.renewable && !life.is_zero();
            Ok(if again { Renewal::For(life) } else { Renewal::Last(life) })
        }
        Whole::Answer { status, body, .. } => match trouble(status, &body) {
            Some(trouble) => Err(Error::Failing(status, trouble)),
            None => Ok(Renewal::Refused(status)),
        },
        Whole::Oversize(_) => Err(Error::nonsense("a renewal over 64 KiB")),
    }
}
