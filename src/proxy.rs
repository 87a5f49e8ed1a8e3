//! One request, start to finish. **Read this first.**
//!
//! [`Proxy::handle`] is the whole product in one function. Each step answers one question, in the
//! order a reader would ask it:
//!
//! ```text
//! Request ─parse→ Call ─identify→ Caller ─guardrails→ Question ─Kv::read──────→ Reply ─┬→ Response
//!                                            ├──── not a secret ─ Leases::answer ─────┤
//!                                            └──── neither ────── forward ────────────┘
//! ```
//!
//! Only [`Kv`] and [`Leases`] answer from memory, and only where the upstream itself has shown that
//! the caller's rights class may read the secret, or that the credential's owner may have it.
//! Everything they do not take is passed on, with the caller's own credential or with the login that
//! its service account shares, for the upstream to decide.

use std::sync::Arc;

use hyper::body::Body as _;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode};

use crate::body::{self, Body, Response};
use crate::cache::effect::reads;
use crate::caller::{Caller, Callers, Door, Login, OwnLogin, Pod, mixes};
use crate::config::Config;
use crate::error::Error;
use crate::forward::Forward;
use crate::guardrails::Guardrails;
use crate::identity;
use crate::kv::mounts::Mounts;
use crate::kv::{self, CacheStatus, Kv, Question};
use crate::lease::{self, Leases, Operated, Wish};
use crate::metrics::{Outcome, Route};
use crate::request::{Asked, Call, NAMESPACE, Read};
use crate::route;
use crate::secret::Fingerprint;
use crate::tenant::{Tenant, Tenants, Visit};

/// Everything needed to answer requests.
#[derive(Debug)]
pub struct Proxy {
    callers: Arc<Callers>,
    kv: Arc<Kv>,
    leases: Arc<Leases>,
    forward: Forward,
    mounts: Arc<Mounts>,
    tenants: Arc<Tenants>,
    guardrails: Arc<Guardrails>,
    /// Whether answers are recorded.
    recorded: bool,
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
    /// Who is told so.
    pub caller: Caller,
    /// The request, where something is said of it afterwards: it was refused, or answers are
    /// recorded.
    pub asked: Option<Asked>,
}

/// The same, before it is said to whom.
struct Answer {
    route: Route,
    outcome: Outcome,
    response: Result<Response, Error>,
}

impl Proxy {
    /// Over the given parts.
    ///
    /// # Errors
    /// The configured namespace cannot be a header.
    pub fn new(
        config: &Config,
        callers: Arc<Callers>,
        (kv, leases, forward): (Arc<Kv>, Arc<Leases>, Forward),
        mounts: Arc<Mounts>,
        tenants: Arc<Tenants>,
        guardrails: Arc<Guardrails>,
    ) -> Result<Self, hyper::header::InvalidHeaderValue> {
        let namespace = config.upstream.namespace.trim_matches('/').to_owned();
        let header = (!namespace.is_empty()).then(|| HeaderValue::from_str(&namespace));
        Ok(Self {
            callers,
            kv,
            leases,
            forward,
            mounts,
            tenants,
            guardrails,
            recorded: config.audit.is_some(),
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
            Err(error) => return Answered::refused(&head, error),
        };
        let mut answered = self.decide(&call, &head, body).await;
        if self.recorded || answered.outcome == Outcome::Denied {
            answered.asked = Some(Asked::of(&head));
        }
        answered
    }

    /// Who calls, and what is the answer? What a cached read does not do is in boxes: its future is
    /// moved with each request, and should be small.
    async fn decide(&self, call: &Call<'_>, head: &Parts, body: Body) -> Answered {
        if let Some(door) = self.callers.door(call) {
            return Box::pin(self.log_in(&door, head, body)).await;
        }
        let caller = match self.callers.identify(call).await {
            Ok(caller) => caller,
            Err(error) => return Answer::failed(self.route(call), error).to(Caller::Nobody),
        };
        if let Caller::Pod(pod) = &caller
            && let Some(asked) = OwnLogin::of(call)
        {
            let response = Box::pin(self.callers.answer(pod, asked, call, body)).await;
            return Answer::ours(Route::Login, response).to(caller);
        }
        let repeatable = reads(call.method()) && body.is_end_stream();
        let whose = || self.callers.tenant(&caller);
        let visit = Visit::new(&self.tenants, &whose);
        let answer = self.answer(call, head, body, &caller, &visit).await;
        match &caller {
            Caller::Pod(pod) if answer.outcome == Outcome::Denied => {
                Box::pin(self.again(call, head, pod.clone(), &visit, answer, repeatable)).await
            }
            _ => answer.to(caller),
        }
    }

    /// Answers from memory, or passes on.
    async fn answer(
        &self,
        call: &Call<'_>,
        head: &Parts,
        mut body: Body,
        caller: &Caller,
        visit: &Visit<'_>,
    ) -> Answer {
        // Who a Vault token belongs to is not looked up for nothing.
        if !self.guardrails.files().is_empty() {
            let guarded = self
                .callers
                .with_asker(caller, |asker| self.guardrails.check(asker, call, &self.namespace));
            if let Err(error) = guarded {
                return Answer::failed(self.route(call), error);
            }
        }
        let credential = caller.credential(call).filter(|_| self.cached(caller));
        let (mut cache, mut secret, mut unknown) = (CacheStatus::Silent, false, None);
        if let (Some(read), Some(credential)) = (call.read(&self.namespace), credential) {
            let question = self.question(call, head, &read, credential, caller, visit);
            let route = || route::of_read(&read, &self.mounts);
            match self.kv.read(&question).await {
                Ok(kv::Reply::Serve(response, outcome)) => {
                    return Answer { route: Route::KvRead, outcome, response: Ok(response) };
                }
                Ok(kv::Reply::Forward(status)) => (cache, secret) = (status, route().is_kv()),
                Ok(kv::Reply::Unknown(error)) => unknown = Some(error),
                Err(error) => return Answer::failed(route(), error),
            }
        }
        let read = call.generates(&self.namespace).filter(|_| !secret);
        if let (Some(read), Some(credential)) = (read, credential) {
            let question = self.question(call, head, &read, credential, caller, visit);
            let wish = Wish {
                question: &question,
                slot: caller.slot(),
                borrower: self.callers.borrower(caller, credential.1, call),
                writes: call.method() != Method::GET,
                unknown: unknown.is_some(),
            };
            match Box::pin(self.leases.answer(&wish, body)).await {
                Ok(lease::Reply::Serve(response, outcome)) => {
                    let none = outcome == Outcome::Bypass;
                    let route = if none { self.route(call) } else { Route::Lease };
                    return Answer { route, outcome, response: Ok(response) };
                }
                Ok(lease::Reply::Forward(rest, status)) => (body, cache) = (rest, status),
                Err(error) => return Answer::failed(Route::Lease, error),
            }
        }
        let route = self.route(call);
        if let Some(error) = unknown {
            return Answer::failed(route, error);
        }
        if let (Caller::Pod(_), Some(why)) = (caller, mixes(call, route.is_kv())) {
            return Answer::failed(route, Error::Denied(why));
        }
        if route == Route::LeaseOp {
            return Box::pin(self.operate(call, head, body, caller, visit)).await;
        }
        let mut request = Request::from_parts(head.clone(), body);
        caller.sign(request.headers_mut());
        Box::pin(self.pass(route, cache, visit, request)).await
    }

    /// A renewal, a look-up, a revocation of a lease.
    async fn operate(
        &self,
        call: &Call<'_>,
        head: &Parts,
        body: Body,
        caller: &Caller,
        visit: &Visit<'_>,
    ) -> Answer {
        let route = Route::LeaseOp;
        let borrower = caller.token().map(|token| self.callers.borrower(caller, token, call));
        let operated = self.leases.operate(call, caller.slot(), borrower, body).await;
        let (body, pending) = match operated {
            Ok(Operated::Answer(response)) => return Answer::ours(route, Ok(response)),
            Ok(Operated::Pass(body, pending)) => (body, pending),
            Err(error) => return Answer::failed(route, error),
        };
        let mut request = Request::from_parts(head.clone(), body);
        caller.sign(request.headers_mut());
        let answer = self.pass(route, CacheStatus::Silent, visit, request).await;
        Answer { response: pending.over(answer.response).await, ..answer }
    }

    fn question<'q>(
        &'q self,
        call: &'q Call<'_>,
        head: &'q Parts,
        read: &'q Read<'q>,
        (token, fingerprint): (&'q [u8], Fingerprint),
        caller: &'q Caller,
        visit: &'q Visit<'q>,
    ) -> Question<'q> {
        Question {
            read,
            token,
            fingerprint,
            signature: caller.signature(),
            visit,
            directive: call.headers.directive,
            target: head.uri.path_and_query().unwrap_or(&ROOT),
            headers: &head.headers,
            namespace: head.headers.get(NAMESPACE).or(self.namespace_header.as_ref()),
        }
    }

    async fn pass(
        &self,
        route: Route,
        cache: CacheStatus,
        visit: &Visit<'_>,
        request: Request<Body>,
    ) -> Answer {
        let errand = match visit.errand() {
            Ok(errand) => errand,
            Err(error) => return Answer::failed(route, error),
        };
        match self.forward.pass(route, errand, request).await {
            Ok(response) => Answer::forwarded(route, cache, response),
            Err(error) => Answer::failed(route, error),
        }
    }

    /// A refusal may mean that the upstream does not know the shared login any more: revoked, say,
    /// by an operator. Then another takes its place, and a request that can be is made again.
    async fn again(
        &self,
        call: &Call<'_>,
        head: &Parts,
        pod: Pod,
        visit: &Visit<'_>,
        mut answer: Answer,
        repeatable: bool,
    ) -> Answered {
        let Ok(response) = answer.response else { return answer.to(Caller::Pod(pod)) };
        let (parts, body) = response.into_parts();
        let (body, whole) = match body::taste(body, LARGEST_REFUSAL).await {
            Ok(tasted) => tasted,
            Err(error) => {
                let failed = Answer::failed(answer.route, Error::garbage(error));
                return failed.to(Caller::Pod(pod));
            }
        };
        answer.response = Ok(Response::from_parts(parts, body));
        if !whole.is_some_and(|body| identity::dead(&body)) {
            return answer.to(Caller::Pod(pod));
        }
        match self.callers.replace(pod).await {
            Ok(pod) if repeatable => {
                let caller = Caller::Pod(pod);
                self.answer(call, head, body::empty(), &caller, visit).await.to(caller)
            }
            Ok(pod) => answer.to(Caller::Pod(pod)),
            Err(error) => Answer::failed(answer.route, error).to(Caller::Nobody),
        }
    }

    /// A login of an unmodified application, answered here if it can be.
    async fn log_in(&self, door: &Door, head: &Parts, body: Body) -> Answered {
        let body = match self.callers.log_in(door, body).await {
            Ok(Login::Answered(answered)) => {
                let (response, pod) = *answered;
                return Answer::ours(Route::Login, Ok(response)).to(Caller::Pod(pod));
            }
            Ok(Login::Forward(body)) => body,
            Err(error) => return Answer::failed(Route::Login, error).to(Caller::Nobody),
        };
        let request = Request::from_parts(head.clone(), body);
        let visit = Visit::new(&self.tenants, &Tenant::anonymous);
        self.pass(Route::Login, CacheStatus::Silent, &visit, request).await.to(Caller::Nobody)
    }

    /// Whether the caller may be answered from memory.
    fn cached(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Nobody => false,
            Caller::Token(_) => self.vault_tokens,
            Caller::Pod(_) => true,
        }
    }

    fn route(&self, call: &Call<'_>) -> Route {
        route::of(call, &self.namespace, &self.mounts)
    }
}

impl Answered {
    /// Turned away before anybody was asked.
    pub fn refused(head: &Parts, error: Error) -> Self {
        let answer =
            Answer { route: Route::Passthrough, outcome: Outcome::Denied, response: Err(error) };
        Self { asked: Some(Asked::of(head)), ..answer.to(Caller::Nobody) }
    }
}

impl Answer {
    /// vaultlet's own.
    fn ours(route: Route, response: Result<Response, Error>) -> Self {
        match response {
            Ok(response) => Self { route, outcome: Outcome::Hit, response: Ok(response) },
            Err(error) => Self::failed(route, error),
        }
    }

    fn failed(route: Route, error: Error) -> Self {
        let outcome = match error {
            Error::Overloaded | Error::Throttled(_) => Outcome::Shed,
            Error::Denied(_)
            | Error::Guarded(_)
            | Error::Malformed(_)
            | Error::NoLogin { .. }
            | Error::Unshareable => Outcome::Denied,
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

    fn to(self, caller: Caller) -> Answered {
        let Self { route, outcome, response } = self;
        Answered { route, outcome, response, caller, asked: None }
    }
}

/// A refusal is a line; what is larger is none.
const LARGEST_REFUSAL: usize = 4096;

static ROOT: PathAndQuery = PathAndQuery::from_static("/");
