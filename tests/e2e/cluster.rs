//! What if this machine were a node of a Kubernetes cluster? A stand-in for the API server: it
//! makes tokens of service accounts and pods, publishes its keys and answers `TokenReview`, for
//! vaultlet and for OpenBao's `auth/kubernetes` and `auth/jwt` alike. The unit tests use it too.

#![allow(dead_code, reason = "the unit tests, which share it, need less of it")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::mint::{Key, claims, key_set, unix};

/// A running stand-in; dropping it closes everything.
pub struct Cluster {
    state: Arc<Mutex<State>>,
    address: String,
    task: JoinHandle<()>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    Discovery,
    Keys,
    Review,
}

/// How requests fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Failure {
    /// Connections are closed without an answer.
    Down,
    /// The answer takes so long.
    Slow(Duration),
    /// The answer has this status.
    Status(u16),
}

struct State {
    address: String,
    /// The first signs; all are published.
    keys: Vec<Key>,
    /// Instead of the key set.
    key_document: Option<String>,
    /// Uids of what exists: `sa/NAMESPACE/NAME` and `pod/NAMESPACE/NAME`.
    objects: HashMap<String, String>,
    /// Every token that was made, by its exact bytes.
    tokens: HashMap<String, Minted>,
    reviewers: HashSet<String>,
    failures: HashMap<Kind, Failure>,
    counts: HashMap<Kind, usize>,
    made: usize,
}

struct Minted {
    key: String,
    claims: Value,
}

impl Cluster {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            address: address.clone(),
            keys: vec![Key::rsa("key-1")],
            key_document: None,
            objects: HashMap::new(),
            tokens: HashMap::new(),
            reviewers: HashSet::new(),
            failures: HashMap::new(),
            counts: HashMap::new(),
            made: 1,
        }));
        let task = tokio::spawn(serve(listener, state.clone()));
        Self { state, address, task }
    }

    /// `http://127.0.0.1:PORT`: the API server's address and the issuer of its tokens.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// `auth.kubernetes` of vaultlet's configuration: keys by address, no review.
    pub fn settings(&self) -> Value {
        json!({
            "issuer": self.address,
            "audiences": ["vaultlet"],
            "jwks": {"url": format!("{}/openid/v1/jwks", self.address)},
        })
    }

    /// A token of this service account for a pod of its own making, good for an hour at vaultlet,
    /// at OpenBao (`vault`) and at the API server itself.
    pub fn token(&self, namespace: &str, service_account: &str, pod: &str) -> String {
        let hour = Duration::from_hours(1);
        self.mint(namespace, service_account, Some(pod), &["vaultlet", "vault"], hour)
    }

    /// A token; what it names exists from now on.
    pub fn mint(
        &self,
        namespace: &str,
        service_account: &str,
        pod: Option<&str>,
        audiences: &[&str],
        ttl: Duration,
    ) -> String {
        let mut state = self.state();
        let mut claims = claims(&self.address, ttl);
        let uid = state.object(&format!("sa/{namespace}/{service_account}"));
        claims["aud"] = json!(audiences);
        claims["sub"] = json!(format!("system:serviceaccount:{namespace}:{service_account}"));
        claims["jti"] = json!(state.uid());
        claims["kubernetes.io"]["namespace"] = json!(namespace);
        claims["kubernetes.io"]["serviceaccount"] = json!({"name": service_account, "uid": uid});
        if let Some(pod) = pod {
            let uid = state.object(&format!("pod/{namespace}/{pod}"));
            claims["kubernetes.io"]["pod"] = json!({"name": pod, "uid": uid});
        } else {
            let bound = claims["kubernetes.io"].as_object_mut().unwrap();
            bound.remove("pod");
            bound.remove("node");
        }
        let key = &state.keys[0];
        let (token, key) = (key.token(&claims), key.id.clone());
        state.tokens.insert(token.clone(), Minted { key, claims });
        token
    }

    /// A token with whatever claims, signed by the cluster's key; the API server does not know it.
    pub fn sign(&self, claims: &Value) -> String {
        self.state().keys[0].token(claims)
    }

    /// Its pods' tokens are refused from now on.
    pub fn delete_pod(&self, namespace: &str, pod: &str) {
        self.state().objects.remove(&format!("pod/{namespace}/{pod}")).unwrap();
    }

    /// Its tokens are refused from now on. One of the same name that is made later has another uid.
    pub fn delete_service_account(&self, namespace: &str, name: &str) {
        self.state().objects.remove(&format!("sa/{namespace}/{name}")).unwrap();
    }

    /// Signs with a new key from now on, and goes on publishing the ones before.
    pub fn rotate_keys(&self) {
        let mut state = self.state();
        state.made += 1;
        let key = Key::p256(&format!("key-{}", state.made));
        state.keys.insert(0, key);
    }

    /// Publishes only the key that signs.
    pub fn drop_old_keys(&self) {
        self.state().keys.truncate(1);
    }

    /// Answers with this instead of the key set; `None`: with the key set.
    pub fn publish_instead(&self, document: Option<&str>) {
        self.state().key_document = document.map(str::to_owned);
    }

    /// A bearer token that may ask for reviews, until [`forget_reviewers`](Self::forget_reviewers).
    pub fn reviewer(&self) -> String {
        let hour = Duration::from_hours(1);
        let token = self.mint("kube-system", "reviewer", None, &[&self.address], hour);
        self.state().reviewers.insert(token.clone());
        token
    }

    /// From now on the reviewers' tokens are refused.
    pub fn forget_reviewers(&self) {
        self.state().reviewers.clear();
    }

    /// How requests of this kind fail from now on; `None`: not.
    pub fn fail(&self, kind: Kind, failure: Option<Failure>) {
        let mut state = self.state();
        match failure {
            Some(failure) => state.failures.insert(kind, failure),
            None => state.failures.remove(&kind),
        };
    }

    /// The same for all kinds: the API server is gone, or there again.
    pub fn fail_all(&self, failure: Option<Failure>) {
        for kind in [Kind::Discovery, Kind::Keys, Kind::Review] {
            self.fail(kind, failure);
        }
    }

    /// How many requests of this kind have come.
    pub fn count(&self, kind: Kind) -> usize {
        self.state().counts.get(&kind).copied().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn uid(&mut self) -> String {
        self.made += 1;
        format!("00000000-0000-4000-8000-{:012}", self.made)
    }

    /// The uid of an object, which is made if it is not there.
    fn object(&mut self, name: &str) -> String {
        let uid = self.uid();
        self.objects.entry(name.to_owned()).or_insert(uid).clone()
    }

    fn answer(&self, kind: Kind, bearer: &str, body: &[u8]) -> (u16, Value) {
        match kind {
            Kind::Discovery => (
                200,
                json!({
                    "issuer": self.address,
                    "jwks_uri": format!("{}/openid/v1/jwks", self.address),
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256", "ES256"],
                }),
            ),
            Kind::Keys => {
                let document = self.key_document.clone().unwrap_or_else(|| key_set(&self.keys));
                (200, serde_json::from_str(&document).unwrap_or(Value::String(document)))
            }
            Kind::Review => {
                let asked: Value = serde_json::from_slice(body).unwrap_or_default();
                if !self.reviewers.contains(bearer) {
                    return (
                        401,
                        json!({"kind": "Status", "status": "Failure", "code": 401,
                        "reason": "Unauthorized", "message": "Unauthorized"}),
                    );
                }
                let audiences: Vec<String> =
                    serde_json::from_value(asked["spec"]["audiences"].clone()).unwrap_or_default();
                let token = asked["spec"]["token"].as_str().unwrap_or_default();
                let mut answer = asked.clone();
                answer["status"] = self.status(token, &audiences);
                (201, answer)
            }
        }
    }

    /// `status` of a review, as kube-apiserver gives it.
    fn status(&self, token: &str, audiences: &[String]) -> Value {
        let refused =
            |why: &str| json!({"user": {}, "error": format!("[invalid bearer token, {why}]")});
        let Some(Minted { key, claims }) = self.tokens.get(token) else {
            return refused("square/go-jose: error in cryptographic primitive");
        };
        if !self.keys.iter().any(|published| published.id == *key) {
            return refused("no keys found");
        }
        if claims["exp"].as_u64().unwrap() <= unix() {
            return refused("service account token has expired");
        }
        let bound = &claims["kubernetes.io"];
        let namespace = bound["namespace"].as_str().unwrap();
        for (kind, object) in [("sa", &bound["serviceaccount"]), ("pod", &bound["pod"])] {
            let Some(name) = object["name"].as_str() else { continue };
            let there = self.objects.get(&format!("{kind}/{namespace}/{name}"));
            if there.map(String::as_str) != object["uid"].as_str() {
                return refused("service account token has been invalidated");
            }
        }
        // Asked for none, the API server takes its own.
        let own = std::slice::from_ref(&self.address);
        let audiences = if audiences.is_empty() { own } else { audiences };
        let named = claims["aud"].as_array().unwrap();
        let both: Vec<_> =
            audiences.iter().filter(|audience| named.contains(&json!(audience))).collect();
        if both.is_empty() {
            return refused(&format!("token audiences {named:?} is invalid for {audiences:?}"));
        }
        let mut extra = json!({});
        if let Some(pod) = bound["pod"]["name"].as_str() {
            extra["authentication.kubernetes.io/pod-name"] = json!([pod]);
            extra["authentication.kubernetes.io/pod-uid"] = json!([bound["pod"]["uid"]]);
        }
        json!({
            "authenticated": true,
            "audiences": both,
            "user": {
                "username": claims["sub"],
                "uid": bound["serviceaccount"]["uid"],
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated"],
                "extra": extra,
            },
        })
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = state.clone();
        let service = service_fn(move |request| answer(state.clone(), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move { drop(connection.await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let kind = match (request.method(), request.uri().path()) {
        (&Method::GET, "/.well-known/openid-configuration") => Kind::Discovery,
        (&Method::GET, "/openid/v1/jwks") => Kind::Keys,
        (&Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews") => Kind::Review,
        _ => return Ok(json_answer(404, &json!({"kind": "Status", "code": 404}))),
    };
    // kube-apiserver gives its keys as `application/jwk-set+json`, and to nobody who does not take it.
    let accept = request.headers().get("accept").and_then(|value| value.to_str().ok());
    let takes = |kind: &str| accept.is_none_or(|accept| accept.contains(kind));
    if kind == Kind::Keys && !takes("application/jwk-set+json") && !takes("*/*") {
        return Ok(json_answer(406, &json!({"kind": "Status", "code": 406})));
    }
    let bearer = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let bearer = bearer.to_owned();
    let failure = {
        let mut state = state.lock().unwrap();
        *state.counts.entry(kind).or_default() += 1;
        state.failures.get(&kind).copied()
    };
    let body = request.into_body().collect().await.map_err(|_| "broken off")?.to_bytes();
    match failure {
        Some(Failure::Down) => return Err("down"),
        Some(Failure::Status(status)) => {
            let message = json!({"kind": "Status", "status": "Failure", "code": status});
            return Ok(json_answer(status, &message));
        }
        Some(Failure::Slow(pause)) => sleep(pause).await,
        None => (),
    }
    let (status, body) = state.lock().unwrap().answer(kind, &bearer, &body);
    Ok(json_answer(status, &body))
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("Content-Type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap()
}
