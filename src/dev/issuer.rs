//! What if this laptop were a node of a Kubernetes cluster? The part of an API server that makes
//! tokens of service accounts, publishes the key they are signed with, and vouches for them.
//!
//! vaultlet and the server's `auth/kubernetes` ask it what they would ask a cluster, over plain
//! HTTP on loopback. It asks nobody who they are: what it tells is no secret on a laptop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

use crate::body::{self, Response};
use crate::config::{Bind, Keys, Kubernetes, KubernetesLogin, Limits, Listener, TokenReview};
use crate::server::{Arrival, Server, Service};

#[cfg(test)]
mod tests;
mod token;

pub use token::Key;
use token::unix;

/// Whom the tokens are for.
pub const AUDIENCE: &str = "vaultlet";

/// Long enough for a laptop's day. A kubelet would replace them each hour.
const LIFE: Duration = Duration::from_hours(24);

const KEYS: &str = "/openid/v1/jwks";
/// A review holds one token of a kilobyte.
const LARGEST: usize = 64 * 1024;

/// One of the cluster's service accounts.
#[derive(Clone, Copy)]
pub(super) struct ServiceAccount {
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
    /// What the server lets it do, by the name of a policy.
    pub(super) policy: &'static str,
}

/// The cluster. Ends when dropped.
pub(super) struct Issuer {
    cluster: Arc<Cluster>,
    _serving: DropGuard,
}

/// What it answers from.
struct Cluster {
    address: SocketAddr,
    key: Key,
    made: Mutex<Vec<Made>>,
}

/// A token that was made here.
struct Made {
    token: Zeroizing<String>,
    claims: Value,
}

#[derive(Clone)]
struct Answers(Arc<Cluster>);

impl Issuer {
    /// Begins to serve, on a free port.
    ///
    /// # Errors
    /// There is none, or no randomness.
    pub(super) async fn start() -> Result<Self, String> {
        let problem = |error| format!("the service accounts' issuer cannot be started: {error}");
        let server = Server::bind(listener()).await.map_err(problem)?;
        let address = server.address().ok_or("the service accounts' issuer has no address")?;
        let cluster = Arc::new(Cluster { address, key: Key::new()?, made: Mutex::default() });
        let stop = CancellationToken::new();
        tokio::spawn(server.run(Answers(Arc::clone(&cluster)), stop.clone(), Duration::ZERO));
        Ok(Self { cluster, _serving: stop.drop_guard() })
    }

    /// A token as the pod `pod` of the service account would find it in a file.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(super) fn token(
        &self,
        account: &ServiceAccount,
        pod: &str,
    ) -> Result<Zeroizing<String>, String> {
        let Cluster { key, made, .. } = &*self.cluster;
        let whose = (account.namespace, account.name);
        let claims = key.claims(&self.cluster.name(), whose, pod, LIFE);
        let token = key.sign(&claims)?;
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        made.push(Made { token: token.clone(), claims });
        Ok(token)
    }

    /// The address of its API, which is also the `iss` of its tokens.
    pub(super) fn uri(&self) -> String {
        self.cluster.name()
    }

    /// The key of its tokens, so that a server knows them from those of whoever gets this port
    /// next.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub(super) fn key(&self) -> Result<String, String> {
        self.cluster.key.pem()
    }

    /// The proxy's side: whose tokens it takes, and where it asks about them.
    pub(super) fn settings(&self, login: KubernetesLogin) -> Kubernetes {
        let address = Uri::builder().scheme("http").authority(self.cluster.address.to_string());
        let address = address.path_and_query("/").build().expect("an address is an authority");
        Kubernetes {
            issuer: self.uri(),
            audiences: vec![AUDIENCE.to_owned()],
            keys: Keys::Discovery,
            ca_file: None,
            token_file: None,
            review: Some(TokenReview {
                address,
                ca_file: None,
                token_file: None,
                accept_when_down: false,
            }),
            node: None,
            leeway: Duration::from_secs(10),
            answer_logins: true,
            login,
        }
    }
}

impl Cluster {
    fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `openid-configuration`, as in section 3 of its Discovery 1.0.
    fn configuration(&self) -> Value {
        json!({
            "issuer": self.name(),
            "jwks_uri": format!("{}{KEYS}", self.name()),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// `k8s.io/api/authentication/v1`, `TokenReview`: the status of `question`.
    fn review(&self, question: &Value) -> Value {
        let refused = |why: &str| json!({ "authenticated": false, "error": why });
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let token = question["spec"]["token"].as_str().unwrap_or_default();
        let Some(Made { claims, .. }) = made.iter().find(|made| *made.token == token) else {
            return refused("this cluster has not made the token");
        };
        if claims["exp"].as_u64().is_none_or(|end| end <= unix()) {
            return refused("the token has expired");
        }
        let audience = json!(AUDIENCE);
        if !question["spec"]["audiences"].as_array().is_some_and(|asked| asked.contains(&audience))
        {
            return refused("the token is for others");
        }
        let bound = &claims["kubernetes.io"];
        let user = json!({
            "username": claims["sub"].as_str().unwrap_or_default(),
            "uid": bound["serviceaccount"]["uid"],
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "extra": {
                "authentication.kubernetes.io/pod-name": [bound["pod"]["name"]],
                "authentication.kubernetes.io/pod-uid": [bound["pod"]["uid"]],
            },
        });
        json!({ "authenticated": true, "audiences": [audience], "user": user })
    }

    async fn answer(&self, request: Request<Incoming>) -> (StatusCode, Value) {
        let (head, body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/.well-known/openid-configuration") => {
                (StatusCode::OK, self.configuration())
            }
            (&Method::GET, KEYS) => (StatusCode::OK, self.key.published()),
            (&Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews") => {
                let body = Limited::new(body, LARGEST).collect().await;
                let question = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let question = serde_json::from_slice(&question).unwrap_or_default();
                let review = json!({
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenReview",
                    "status": self.review(&question),
                });
                (StatusCode::CREATED, review)
            }
            _ => (StatusCode::NOT_FOUND, json!({ "kind": "Status", "code": 404 })),
        }
    }
}

impl Service for Answers {
    async fn answer(&self, request: Request<Incoming>, _: &Listener, _: Arrival) -> Response {
        let (status, answer) = self.0.answer(request).await;
        let mut response = Response::new(body::full(answer.to_string()));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

fn listener() -> Listener {
    let second = Duration::from_secs(1);
    Listener {
        bind: Bind::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        tls: None,
        require_request_header: false,
        http2: false,
        reuse_port: false,
        limits: Limits {
            max_connections: 64,
            idle_timeout: 60 * second,
            header_timeout: 10 * second,
            max_header_bytes: 16 * 1024,
            max_body_bytes: LARGEST as u64,
            stall_timeout: 30 * second,
        },
    }
}
