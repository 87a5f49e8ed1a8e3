//! A request's head, for what is said of it once it has been answered.

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, Uri};

use super::{NAMESPACE, Target};

/// Verb, target and namespace of a request, as they came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The verb.
    pub method: Method,
    target: Uri,
    namespace: Option<HeaderValue>,
}

impl Asked {
    /// Of a request with this head.
    pub fn of(head: &Parts) -> Self {
        Self {
            method: head.method.clone(),
            target: head.uri.clone(),
            namespace: head.headers.get(NAMESPACE).cloned(),
        }
    }

    /// The path below `/v1/`, decoded once; as it came where it is not below, or cannot be decoded.
    pub fn path(&self) -> Vec<u8> {
        let target = self.target.path_and_query().map_or("", |target| target.as_str());
        let parsed = Target::parse(target.as_bytes()).ok();
        let decoded = parsed.and_then(|target| target.decoded());
        decoded.unwrap_or_else(|| self.target.path().as_bytes().to_vec())
    }

    /// The query, without its question mark.
    pub fn query(&self) -> &str {
        self.target.query().unwrap_or_default()
    }

    /// The namespace it was for, without slashes at its ends; `default` if it names none.
    pub fn namespace<'a>(&'a self, default: &'a str) -> &'a str {
        let own = self.namespace.as_ref().map(|value| value.to_str().unwrap_or("?"));
        own.unwrap_or(default).trim_matches('/')
    }
}
