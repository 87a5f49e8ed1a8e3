//! The canonical request: what a caller asks for, in one form, made once.
//!
//! The same form is the cache key and what routing decides on. Only requests whose meaning is
//! beyond doubt are *exact*; whatever the upstream might read in another way is forwarded byte for
//! byte and never cached, and what could be read in two ways by two programs is refused. Nothing
//! is ever repaired.

use std::borrow::Cow;

use hyper::http::request::Parts;
use hyper::{Method, Version};

use crate::error::Error;

mod asked;
mod headers;
mod target;

pub use asked::Asked;
pub use headers::{Directive, Headers, NAMESPACE, Namespace, ROLE, TOKEN};
pub use target::{Malformed, Target, clean};

/// One request, borrowed from its head.
#[derive(Debug)]
pub struct Call<'r> {
    /// Path and query.
    pub target: Target<'r>,
    /// What its headers say to Vault and to the cache.
    pub headers: Headers<'r>,
    method: &'r Method,
}

/// A read that may be answered from the cache, if its mount is a KV mount.
#[derive(Clone, Debug)]
pub struct Read<'r> {
    /// Namespace and path as the upstream's policies see them: no `/v1/`, no slash at either end.
    pub path: Cow<'r, str>,
    /// The version asked for by `?version=`; `None`: the current one.
    pub version: Option<u32>,
    /// How many bytes of the path name the namespace, with its slash.
    pub namespace: usize,
    /// What is read.
    pub kind: ReadKind,
}

/// What a [`Read`] reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadKind {
    /// `sys/internal/ui/mounts/<path>`, which the `bao` and `vault` commands ask for before each
    /// KV request. Its answer may differ from one rights class to another.
    Mount,
    /// Perhaps a secret; the mount tells.
    Secret,
}

impl<'r> Call<'r> {
    /// Reads a request's head.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what two programs could read in two ways.
    pub fn parse(head: &'r Parts) -> Result<Self, Error> {
        let Some(target) = head.uri.path_and_query() else {
            return Err(Error::Malformed("the request target has no path"));
        };
        let target = Target::parse(target.as_str().as_bytes())?;
        let headers = Headers::parse(&head.headers)?;
        if head.version != Version::HTTP_2 {
            headers.frame(head.version == Version::HTTP_11)?;
        }
        if head.method == Method::CONNECT {
            return Err(Error::Malformed("CONNECT is not served here"));
        }
        if headers.body && head.version == Version::HTTP_10 {
            return Err(Error::Malformed("an HTTP/1.0 request may not carry a body"));
        }
        Ok(Self { target, headers, method: &head.method })
    }

    /// The verb.
    pub fn method(&self) -> &'r Method {
        self.method
    }

    /// The namespace it is for, if that is beyond doubt: its own, else `default`.
    pub fn namespace(&self, default: &'r str) -> Option<&'r str> {
        match self.headers.namespace {
            Namespace::Absent => Some(default),
            Namespace::Exact(path) => Some(path),
            Namespace::Opaque => None,
        }
    }

    /// What this request would be answered with a credential for, if its meaning is beyond doubt:
    /// it reads or writes below a mount, and nothing but path, query and body decides the answer.
    /// Whether there is a credential in the answer is for that to say. `default`: the namespace of
    /// requests that name none.
    pub fn generates(&self, default: &'r str) -> Option<Read<'r>> {
        let reads = self.method == Method::GET && !self.headers.body;
        let writes = self.method == Method::POST || self.method == Method::PUT;
        if !(reads || writes) || !self.headers.plain {
            return None;
        }
        let path = self.target.plain()?;
        // A namespace may be part of the path, and these are in each.
        let system = |segment| matches!(segment, "auth" | "cubbyhole" | "identity" | "sys");
        if !path.contains('/') || path.split('/').any(system) {
            return None;
        }
        Some(Read::of(self.namespace(default)?, path, None, ReadKind::Secret))
    }

    /// This request as a cacheable read, if it is beyond doubt one. `default`: the namespace of
    /// requests that name none.
    pub fn read(&self, default: &'r str) -> Option<Read<'r>> {
        if self.method != Method::GET || self.headers.body || !self.headers.plain {
            return None;
        }
        let (path, version) = self.target.exact()?;
        let namespace = self.namespace(default)?;
        let kind = match path.split_once('/') {
            Some(("sys", rest)) if mounted(rest) => ReadKind::Mount,
            None | Some(("auth" | "cubbyhole" | "identity" | "sys", _)) => return None,
            Some(_) => ReadKind::Secret,
        };
        if kind == ReadKind::Mount && version.is_some() {
            return None;
        }
        Some(Read::of(namespace, path, version, kind))
    }
}

impl<'r> Read<'r> {
    fn of(namespace: &'r str, path: &'r str, version: Option<u32>, kind: ReadKind) -> Self {
        let path = if namespace.is_empty() {
            Cow::Borrowed(path)
        } else {
            Cow::Owned(format!("{namespace}/{path}"))
        };
        let namespace = if namespace.is_empty() { 0 } else { namespace.len() + 1 };
        Self { path, version, namespace, kind }
    }
}

/// Whether the rest of a path below `sys/` asks which mount a path belongs to.
fn mounted(rest: &str) -> bool {
    rest.strip_prefix("internal/ui/mounts/").is_some_and(|path| !path.is_empty())
}

#[cfg(test)]
mod tests;
