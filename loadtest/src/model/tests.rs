use std::collections::BTreeMap;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::scenario;

mod real;

const WORLD: &str = "
name: test
vaultlet: {cache.kv.ttl: 10s, cache.kv.stale_if_error: 1h}
world:
  nodes: 2
  credential: service-account
  token_ttl: 30m
  secrets:
    - {name: app, engine: kv2, count: 3, bytes: 500B}
    - {name: flags, engine: kv1, count: 3, bytes: 500B}
  roles: [{name: orders, ttl: 60s, max_ttl: 150s}]
  deployments:
    - name: api
      pods: 2
      accounts: 1
      reads: [{secrets: app, every: 1s, writes: 0.1}, {secrets: flags, every: 1s}]
      leases: [orders]
phases:
  - {name: away, duration: 10s, happens: {what: outage}}
";

/// Pods that ask, by hand.
struct Pods {
    scenario: Scenario,
    model: Model,
}

impl Pods {
    async fn of(vaultlet: bool) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), WORLD).unwrap();
        let scenario = scenario::read(file.path()).unwrap();
        let cluster = Cluster::new(&scenario);
        let costs = Kind::ALL.map(|kind| (kind.name().to_owned(), 1000.0));
        let costs = Costs::new(&BTreeMap::from(costs)).unwrap();
        let upstream = Upstream { costs, cores: None, stands_for: 1.0, vaultlet: Duration::ZERO };
        let model = Model::start(&scenario, &cluster, vaultlet, upstream).await.unwrap();
        Self { scenario, model }
    }

    async fn ask(&self, token: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(format!("/v1/{path}"));
        let request = request.header("x-vault-token", token);
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.model.send(0, request.body(body).unwrap()).await.unwrap();
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    async fn read(&self, token: &str, path: &str) -> (u16, Value) {
        self.ask(token, Method::GET, path, Value::Null).await
    }

    async fn log_in(&self, pod: u32) -> String {
        let body = json!({ "role": "api-0", "jwt": self.model.pass(pod).as_str() });
        let (status, answer) = self.ask("", Method::POST, LOGIN, body).await;
        assert_eq!(status, 200, "{answer}");
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    async fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = self.model.gauges().await.upstream;
        counts.retain(|kind, count| *count > 0 && *kind != "health");
        counts
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_read_back() {
    let pods = Pods::of(false).await;
    let token = pods.log_in(0).await;
    for (path, wrapped) in [("kv2/data/app/000001", true), ("kv1/flags/000001", false)] {
        let new = json!({ "value": "new" });
        let body = if wrapped { json!({ "data": new }) } else { new.clone() };
        let (status, _) = pods.ask(&token, Method::POST, path, body).await;
        assert_eq!(status, if wrapped { 200 } else { 204 });

        let (_, read) = pods.read(&token, path).await;

        assert_eq!(if wrapped { &read["data"]["data"] } else { &read["data"] }, &new, "{path}");
    }
    assert_eq!(pods.read(&token, "kv2/data/app/000009").await.0, 404);
    assert_eq!(pods.read("s.nobody", "kv2/data/app/000001").await.0, 403);
}

#[tokio::test(start_paused = true)]
async fn a_login_ends_unless_it_is_renewed() {
    let pods = Pods::of(false).await;
    let token = pods.log_in(0).await;
    let lives = async || pods.read(&token, "auth/token/lookup-self").await.0 == 200;
    let renew = async || pods.ask(&token, Method::POST, "auth/token/renew-self", json!({})).await;

    sleep(Duration::from_mins(29)).await;
    assert_eq!(renew().await.1["auth"]["lease_duration"], 1800);
    sleep(Duration::from_mins(29)).await;
    assert!(lives().await);
    sleep(Duration::from_mins(2)).await;

    assert!(!lives().await);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_up_to_its_longest_life() {
    let pods = Pods::of(false).await;
    let token = pods.log_in(0).await;
    let (_, made) = pods.read(&token, "database/creds/orders").await;
    assert_eq!((&made["lease_duration"], &made["renewable"]), (&json!(60), &json!(true)));
    let named = json!({ "lease_id": made["lease_id"], "increment": 60 });
    let renew = async || pods.ask(&token, Method::POST, "sys/leases/renew", named.clone()).await;

    let mut given = Vec::new();
    for _ in 0..3 {
        sleep(Duration::from_secs(45)).await;
        given.push(renew().await.1["lease_duration"].as_u64().unwrap());
    }
    assert_eq!(given, [60, 60, 15]);
    assert_eq!(pods.model.gauges().await.leases, Some(1));
    sleep(Duration::from_secs(16)).await;

    assert_eq!(renew().await.0, 400);
    assert_eq!(pods.model.gauges().await.leases, Some(0));
}

#[tokio::test(start_paused = true)]
async fn vaultlet_takes_the_model_for_a_server() {
    let pods = Pods::of(true).await;
    let pass = |pod| pods.model.pass(pod).as_str().to_owned();
    for _ in 0..5 {
        for pod in [0, 1] {
            for path in ["kv2/data/app/000001", "kv1/flags/000001", "database/creds/orders"] {
                let (status, answer) = pods.read(&pass(pod), path).await;
                assert_eq!(status, 200, "{path}: {answer}");
            }
        }
    }

    // One of each, as both pods are of one service account; what a login says is not asked again.
    let expected = [("kv-read", 2), ("lease", 1), ("login", 1), ("mount", 3)];
    assert_eq!(pods.counts().await, BTreeMap::from(expected));
    // A node counts what it holds once a second.
    sleep(Duration::from_secs(2)).await;
    assert!(pods.model.held().bytes > 1000.0 && pods.model.held().identities >= 1.0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_one() {
    for (vaultlet, known, unknown) in [(true, Ok(200), Ok(503)), (false, Err(()), Err(()))] {
        let pods = Pods::of(vaultlet).await;
        let token = pods.log_in(0).await;
        let read = async |path: &str| {
            let request = Request::builder().uri(format!("/v1/{path}"));
            let request = request.header("x-vault-token", &token).body(Bytes::new());
            let answer = pods.model.send(0, request.unwrap()).await;
            answer.map(|answer| answer.status.as_u16()).map_err(|_| ())
        };
        assert_eq!(read("kv2/data/app/000001").await, Ok(200));
        let away = &pods.scenario.phases[0];

        pods.model.begin(away).await.unwrap();
        sleep(Duration::from_secs(30)).await;

        assert_eq!(read("kv2/data/app/000001").await, known, "vaultlet: {vaultlet}");
        assert_eq!(read("kv2/data/app/000002").await, unknown, "vaultlet: {vaultlet}");
        pods.model.end(away).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(read("kv2/data/app/000002").await, Ok(200), "vaultlet: {vaultlet}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_forgets() {
    let pods = Pods::of(true).await;
    let pass = pods.model.pass(0).as_str().to_owned();
    let path = "kv2/data/app/000001";
    for _ in 0..3 {
        pods.read(&pass, path).await;
    }
    assert_eq!(pods.counts().await["kv-read"], 1);
    let cold = Happening::ColdStart { over: Duration::ZERO };
    let cold = Phase { happening: cold, ..pods.scenario.phases[0].clone() };

    pods.model.begin(&cold).await.unwrap();

    assert_eq!(pods.read(&pass, path).await.0, StatusCode::OK.as_u16());
    assert_eq!(pods.counts().await["kv-read"], 2);
}
