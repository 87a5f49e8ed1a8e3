//! What do most tests start from? One OpenBao with vaultlet in front, and a few policies.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bao::Bao;
use crate::client::{Answer, Call, Client};
use crate::vaultlet::Vaultlet;

/// A server, the proxy before it, and short ways to say what tests say often.
pub struct World {
    pub bao: Bao,
    pub vaultlet: Vaultlet,
}

impl World {
    /// The pinned server; `settings` is laid over vaultlet's configuration.
    pub async fn new(settings: Value) -> Self {
        Self::before(Bao::dev().await, settings).await
    }

    /// In front of a server that is already there: policies `reader` and `writer`, KV v1 at `kv1/`.
    pub async fn before(bao: Bao, settings: Value) -> Self {
        prepare(&bao.root()).await;
        let vaultlet = Vaultlet::start(&bao.address(), settings).await;
        Self { bao, vaultlet }
    }

    /// Asks vaultlet with this token.
    pub fn caller(&self, token: &str) -> Client {
        self.vaultlet.client().token(token)
    }

    /// Asks vaultlet with a new token that has these policies.
    pub async fn caller_with(&self, policies: &[&str]) -> Client {
        self.caller(&self.token(policies).await)
    }

    /// Asks the server behind vaultlet's back, with the root token.
    pub fn server(&self) -> Client {
        self.bao.root()
    }

    /// A service token made directly at the server.
    pub async fn token(&self, policies: &[&str]) -> String {
        self.token_with(json!({"policies": policies})).await
    }

    /// The same with all its settings.
    pub async fn token_with(&self, settings: Value) -> String {
        token(&self.server(), settings).await
    }

    /// Writes a policy behind vaultlet's back.
    pub async fn policy(&self, name: &str, rules: &str) {
        policy(&self.server(), name, rules).await;
    }

    /// Writes `secret/KEY` behind vaultlet's back.
    pub async fn put(&self, key: &str, value: &str) {
        put(&self.server(), key, value).await.expect(200);
    }
}

/// The policies and mounts that [`World`] has.
pub async fn prepare(root: &Client) {
    policy(root, "reader", READER).await;
    policy(root, "writer", WRITER).await;
    root.post("sys/mounts/kv1", json!({"type": "kv", "options": {"version": "1"}}))
        .await
        .expect(204);
}

pub const READER: &str = r#"
path "secret/data/*" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["read", "list"] }
path "secret/subkeys/*" { capabilities = ["read"] }
path "kv1/*" { capabilities = ["read", "list"] }
"#;

pub const WRITER: &str = r#"
path "secret/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
path "kv1/*" { capabilities = ["create", "read", "update", "delete", "list"] }
"#;

/// Writes `secret/KEY` with the field `value`.
pub async fn put(client: &Client, key: &str, value: &str) -> Answer {
    client.post(&format!("secret/data/{key}"), json!({"data": {"value": value}})).await
}

pub async fn policy(root: &Client, name: &str, rules: &str) {
    let body = json!({"policy": rules});
    root.post(&format!("sys/policies/acl/{name}"), body).await.expect(204);
}

pub async fn token(root: &Client, settings: Value) -> String {
    let answer = root.post("auth/token/create", settings).await.expect(200).json();
    answer["auth"]["client_token"].as_str().unwrap().to_owned()
}

/// Fails the test unless this is answered with the value from the cache. The answer that fills the
/// cache is given before it is stored, so a caller right behind it may find it still on its way.
pub async fn hit(client: &Client, call: impl Into<Call>, value: &str) -> Answer {
    let answer = cached(client, call).await;
    is_hit(&answer, value);
    answer
}

/// Fails the test unless this is answered from the cache, whatever the answer is.
pub async fn cached(client: &Client, call: impl Into<Call>) -> Answer {
    let call = call.into();
    let began = Instant::now();
    loop {
        let answer = client.send(&call).await;
        let on_its_way = answer.header("cache-status") == Some("vaultlet; fwd=miss; collapsed");
        if !on_its_way || began.elapsed() > Duration::from_secs(2) {
            assert_eq!(answer.cache(), "HIT", "{answer:?}");
            return answer;
        }
    }
}

/// Fails the test unless the answer has this value and came from the cache.
#[track_caller]
pub fn is_hit(answer: &Answer, value: &str) {
    assert_eq!((answer.status, answer.value().as_deref()), (200, Some(value)), "{answer:?}");
    assert_eq!(answer.cache(), "HIT", "{answer:?}");
}

/// Fails the test unless the answer has this value and came from the upstream.
#[track_caller]
pub fn fresh(answer: &Answer, value: &str) {
    assert_eq!((answer.status, answer.value().as_deref()), (200, Some(value)), "{answer:?}");
    assert_ne!(answer.cache(), "HIT", "{answer:?}");
}

/// Fails the test unless the answer has this value, from wherever.
#[track_caller]
pub fn reads(answer: &Answer, value: &str) {
    assert_eq!((answer.status, answer.value().as_deref()), (200, Some(value)), "{answer:?}");
}
