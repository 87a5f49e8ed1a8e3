//! What the cache is asked, and what it replies.

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;

use crate::body::Response;
use crate::cache::{KeyRef, Scope};
use crate::error::Error;
use crate::metrics::Outcome;
use crate::request::{Directive, Read, ReadKind};
use crate::secret::Fingerprint;
use crate::tenant::Visit;

/// A cacheable read and who makes it.
#[derive(Debug)]
pub struct Question<'r> {
    /// What is read.
    pub read: &'r Read<'r>,
    /// The upstream token it is made with.
    pub token: &'r [u8],
    /// What stands for it.
    pub fingerprint: Fingerprint,
    /// The same as a header, where it takes the place of what the caller presented.
    pub signature: Option<&'r HeaderValue>,
    /// On whose account it is made.
    pub visit: &'r Visit<'r>,
    /// What the caller wants of the cache.
    pub directive: Directive,
    /// The request's path and query, as they came.
    pub target: &'r PathAndQuery,
    /// The request's headers, as they came.
    pub headers: &'r HeaderMap,
    /// The namespace the upstream would echo.
    pub namespace: Option<&'r HeaderValue>,
}

/// What became of a [`Question`].
pub enum Reply {
    /// Not for the cache: the caller's request is to be forwarded as it came.
    Forward(CacheStatus),
    /// An answer.
    Serve(Response, Outcome),
    /// What the path is of nobody knows, and the upstream cannot be asked: neither about that nor
    /// for the answer. What is no secret may be at hand elsewhere.
    Unknown(Error),
}

/// What the answer to a forwarded request says about the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CacheStatus {
    /// That it was passed by.
    Bypass,
    /// Nothing: the request was none of the cache's business.
    Silent,
}

impl Question<'_> {
    /// What its entry is found by; a secret is the same for all who may have it.
    pub(super) fn key(&self, scope: Scope) -> KeyRef<'_> {
        let scope = match self.read.kind {
            ReadKind::Mount => scope,
            ReadKind::Secret => Scope::All,
        };
        let Read { path, version, namespace, .. } = self.read;
        KeyRef { path, namespace: *namespace, version: *version, scope }
    }
}
