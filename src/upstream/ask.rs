//! A request of vaultlet's own, or one that may be made again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderMap};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri};

use crate::body::{self, Body};
use crate::error::Error;
use crate::tenant::Tenant;

/// A request with all that it needs at hand, which can be sent as often as it may.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The verb.
    pub method: Method,
    /// Path and query, byte for byte as they are to arrive.
    pub target: PathAndQuery,
    /// End-to-end headers, the caller's credential among them.
    pub headers: HeaderMap,
    /// Its body; empty: none.
    pub body: Bytes,
    /// On whose account.
    pub tenant: Tenant,
    /// Whether it waits for that tenant's turn.
    pub waits: Arc<AtomicBool>,
}

impl Ask {
    /// A `GET` of `target` on the account of `tenant`.
    pub fn get(target: PathAndQuery, headers: HeaderMap, tenant: Tenant) -> Self {
        let (body, waits) = Default::default();
        Self { method: Method::GET, target, headers, body, tenant, waits }
    }

    /// Of a request without a body.
    pub(super) fn of(request: &Request<Body>, tenant: Tenant) -> Option<Self> {
        Some(Self {
            method: request.method().clone(),
            target: request.uri().path_and_query()?.clone(),
            headers: request.headers().clone(),
            body: Bytes::new(),
            tenant,
            waits: Arc::default(),
        })
    }

    pub(super) fn request(&self) -> Result<Request<Body>, Error> {
        let mut request = Request::new(body::full(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() =
            Uri::builder().path_and_query(self.target.clone()).build().map_err(Error::garbage)?;
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        // They were about the body as it came; this one is at hand, whatever its length. That there
        // is none is as true as it was.
        if !self.body.is_empty() || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
        {
            headers.remove(CONTENT_LENGTH);
        }
        headers.remove(EXPECT);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_body_that_there_is_not_is_said_to_be_none_again() {
        for (body, said, says) in [("", "0", Some("0")), ("", "5", None), ("{}", "0", None)] {
            let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static(said))]);
            let target = PathAndQuery::from_static("/v1/sys/x");
            let mut ask = Ask::get(target, headers, Tenant::anonymous());
            ask.body = Bytes::from_static(body.as_bytes());
            let request = ask.request().unwrap();
            let length = request.headers().get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
            assert_eq!(length, says.map(str::as_bytes), "{body:?} of {said}");
        }
    }
}
