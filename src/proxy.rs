//! One request, start to finish. **Read this first.**
//!
//! [`Proxy::handle`] is the whole product in one function. Each step answers one question, in the
//! order a reader would ask it:
//!
//! ```text
//! Request ─parse→ Call ─read→ Read ─who→ Question ─Kv::read→ Reply ─┬→ Response
//!                  └──── not a cacheable read ──── forward ─────────┘
//! ```
//!
//! Only [`Kv`] answers from memory, and only where the upstream itself has shown that the caller's
//! rights class may read the secret. Everything it does not take is passed on with the caller's
//! own credential, for the upstream to decide.

use std::sync::Arc;

use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, StatusCode};

use crate::body::{Body, Response};
use crate::config::Config;
use crate::error::Error;
use crate::forward::Forward;
use crate::identity::Logins;
use crate::kv::mounts::Mounts;
use crate::kv::{self, CacheStatus, Kv, Question, Reply};
use crate::metrics::{Outcome, Route};
use crate::request::{Call, NAMESPACE};
use crate::route;

/// Everything needed to answer requests.
#[derive(Debug)]
pub struct Proxy {
    kv: Arc<Kv>,
    forward: Forward,
    logins: Arc<Logins>,
    mounts: Arc<Mounts>,
    /// Whether callers may be answered for their Vault tokens.
    vault_tokens: bool,
    namespace: String,
    /// The same as a header, where there is one.
    namespace_header: Option<HeaderValue>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Answered {
    /// What was asked for.
    pub route: Route,
    /// How the answer was come by.
    pub outcome: Outcome,
    /// The answer; or vaultlet refuses, or the upstream gave none and nothing cached may stand in.
    pub response: Result<Response, Error>,
}

impl Proxy {
    /// Over the given parts.
    ///
    /// # Errors
    /// The configured namespace cannot be a header.
    pub fn new(
        config: &Config,
        kv: Arc<Kv>,
        forward: Forward,
        logins: Arc<Logins>,
        mounts: Arc<Mounts>,
    ) -> Result<Self, hyper::header::InvalidHeaderValue> {
        let namespace = config.upstream.namespace.trim_matches('/').to_owned();
        let header = (!namespace.is_empty()).then(|| HeaderValue::from_str(&namespace));
        Ok(Self {
            kv,
            forward,
            logins,
            mounts,
            vault_tokens: config.auth.vault_tokens,
            namespace_header: header.transpose()?,
            namespace,
        })
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Body>) -> Answered {
        let (head, body) = request.into_parts();
        let call = match Call::parse(&head) {
            Ok(call) => call,
            Err(error) => return Answered::refused(error),
        };
        let (mut route, mut cache) = (None, CacheStatus::Silent);
        if let (Some(read), Some(token)) = (call.read(&self.namespace), call.headers.token)
            && self.vault_tokens
        {
            let question = Question {
                read: &read,
                token,
                fingerprint: self.logins.fingerprint(token),
                directive: call.headers.directive,
                target: head.uri.path_and_query().unwrap_or(&ROOT),
                headers: &head.headers,
                namespace: head.headers.get(NAMESPACE).or(self.namespace_header.as_ref()),
            };
            match self.kv.read(&question).await {
                Ok(Reply::Serve(response, outcome)) => {
                    return Answered { route: Route::KvRead, outcome, response: Ok(response) };
                }
                Ok(Reply::Forward(status)) => {
                    (route, cache) = (Some(route::of_read(&read, &self.mounts)), status);
                }
                Err(error) => {
                    return Answered::failed(route::of_read(&read, &self.mounts), error);
                }
            }
        }
        let route = route.unwrap_or_else(|| route::of(&call, &self.namespace, &self.mounts));
        let response = match self.forward.pass(route, Request::from_parts(head, body)).await {
            Ok(response) => response,
            Err(error) => return Answered::failed(route, error),
        };
        Answered::forwarded(route, cache, response)
    }
}

impl Answered {
    fn refused(error: Error) -> Self {
        Self { route: Route::Passthrough, outcome: Outcome::Denied, response: Err(error) }
    }

    fn failed(route: Route, error: Error) -> Self {
        let outcome = match error {
            Error::Overloaded => Outcome::Shed,
            _ => Outcome::Error,
        };
        Self { route, outcome, response: Err(error) }
    }

    fn forwarded(route: Route, cache: CacheStatus, mut response: Response) -> Self {
        let outcome = match response.status() {
            StatusCode::FORBIDDEN => Outcome::Denied,
            status if status.is_server_error() => Outcome::Error,
            _ => Outcome::Bypass,
        };
        if cache == CacheStatus::Bypass {
            kv::mark(&mut response, "vaultlet; fwd=bypass");
        }
        Self { route, outcome, response: Ok(response) }
    }
}

static ROOT: PathAndQuery = PathAndQuery::from_static("/");
