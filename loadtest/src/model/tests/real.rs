//! Does the model answer as an OpenBao does? Both are asked the same, header by header and key by
//! key; what is drawn by lot or is of the moment need only be of the same kind.

use serde_json::Map;

use super::*;
use crate::live::{Ground, Kind as Server, Live, Places};

const WORLD: &str = "
name: shapes
world:
  nodes: 1
  credential: login
  token_ttl: 30m
  secrets:
    - {name: app, engine: kv2, count: 3, bytes: 500B}
    - {name: flags, engine: kv1, count: 3, bytes: 500B}
  roles: [{name: orders, ttl: 60s, max_ttl: 150s}]
  deployments:
    - name: api
      pods: 2
      reads: [{secrets: app, every: 1s, writes: 0.1}, {secrets: flags, every: 1s, writes: 0.1}]
      leases: [orders]
phases: [{name: none, duration: 1s}]
";

/// What must be the same on both sides, and not only alike.
const SAME: [&str; 20] = [
    "capabilities",
    "creation_ttl",
    "data",
    "errors",
    "explicit_max_ttl",
    "initialized",
    "num_uses",
    "options",
    "orphan",
    "path",
    "policies",
    "renewable",
    "role",
    "sealed",
    "standby",
    "token_policies",
    "token_type",
    "type",
    "value",
    "version",
];

#[tokio::test]
async fn answers_as_an_openbao_does() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), WORLD).unwrap();
    let scenario = scenario::read(file.path()).unwrap();
    let cluster = Rc::new(Cluster::new(&scenario));
    let places = Places::find(&[Server::Direct], &scenario).unwrap().unpinned();
    let ground = Rc::new(Ground::lay(&scenario, &cluster, places).await.unwrap());
    let live = Live::start(Server::Direct, &ground).await.unwrap();
    let costs = Kind::ALL.map(|kind| (kind.name().to_owned(), 0.0));
    let costs = Costs::new(&BTreeMap::from(costs)).unwrap();
    let upstream = Upstream { costs, cores: None, stands_for: 1.0, vaultlet: Duration::ZERO };
    let model = Model::start(&scenario, &cluster, false, upstream).await.unwrap();

    let (real, modelled) = (all(&live).await, all(&model).await);

    assert_eq!(real.len(), modelled.len());
    let pairs = real.iter().zip(&modelled).filter(|(real, modelled)| real != modelled);
    let wrong: Vec<_> =
        pairs.map(|((what, real), (_, it))| format!("{what}\n{it}\n{real}")).collect();
    assert!(wrong.is_empty(), "the model's answer, and an OpenBao's:\n{}", wrong.join("\n\n"));
}

/// What is asked, and the likeness of each answer.
async fn all<S: Stage>(stage: &S) -> Vec<(String, Value)> {
    let body = json!({ "role": "api-0", "jwt": stage.pass(0).as_str() });
    let (login, likeness) = ask(stage, "", Method::POST, LOGIN, body).await;
    let mut seen = vec![("login".to_owned(), likeness)];
    let token = login["auth"]["client_token"].as_str().unwrap().to_owned();
    let none = Value::Null;
    let value = json!({ "value": "new" });
    let (secret, flag) = ("kv2/data/app/000001", "kv1/flags/000001");
    let mounts = "sys/internal/ui/mounts";
    let paths = json!({ "paths": ["database/creds/orders"] });
    for (method, path, body) in [
        (Method::GET, "sys/health", none.clone()),
        (Method::GET, secret, none.clone()),
        (Method::GET, flag, none.clone()),
        (Method::POST, secret, json!({ "data": value })),
        (Method::POST, flag, value),
        (Method::GET, secret, none.clone()),
        (Method::GET, flag, none.clone()),
        (Method::GET, "kv2/data/app/none", none.clone()),
        (Method::GET, &format!("{mounts}/{secret}"), none.clone()),
        (Method::GET, &format!("{mounts}/{flag}"), none.clone()),
        (Method::GET, &format!("{mounts}/database/creds/orders"), none.clone()),
        (Method::GET, &format!("{mounts}/elsewhere/x"), none.clone()),
        (Method::GET, "auth/token/lookup-self", none.clone()),
        (Method::POST, "auth/token/renew-self", json!({})),
        (Method::POST, "sys/capabilities-self", paths),
        (Method::POST, "sys/leases/lookup", json!({ "lease_id": "database/creds/orders/none" })),
        (Method::POST, "sys/leases/renew", json!({ "lease_id": "database/creds/orders/none" })),
    ] {
        let (_, likeness) = ask(stage, &token, method.clone(), path, body).await;
        seen.push((format!("{method} {path}"), likeness));
    }
    let (lease, likeness) =
        ask(stage, &token, Method::GET, "database/creds/orders", none.clone()).await;
    seen.push(("a lease".to_owned(), likeness));
    for (path, increment) in [("lookup", 0), ("renew", 60), ("renew", 600), ("revoke", 0)] {
        let mut named = json!({ "lease_id": lease["lease_id"] });
        if increment > 0 {
            named["increment"] = json!(increment);
        }
        let path = format!("sys/leases/{path}");
        let (_, likeness) = ask(stage, &token, Method::POST, &path, named).await;
        seen.push((format!("{path} by {increment}"), likeness));
    }
    let revoke = "auth/token/revoke-self";
    for (path, method) in [(revoke, Method::POST), (secret, Method::GET), (secret, Method::GET)] {
        let (_, likeness) = ask(stage, &token, method, path, none.clone()).await;
        seen.push((format!("{path} with a token that is revoked"), likeness));
    }
    seen
}

async fn ask<S: Stage>(
    stage: &S,
    token: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (Value, Value) {
    let mut request = Request::builder().method(method).uri(format!("/v1/{path}"));
    if !token.is_empty() {
        request = request.header("x-vault-token", token);
    }
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let answer = stage.send(0, request.body(body).unwrap()).await.unwrap();
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let mut headers = Map::new();
    for (name, value) in &answer.headers {
        // Of HTTP, and of how a server stores what it has.
        let others = ["date", "content-length", "transfer-encoding", "x-vault-index"];
        if !others.contains(&name.as_str()) {
            headers.insert(name.to_string(), json!(value.to_str().unwrap()));
        }
    }
    let likeness = json!({
        "status": answer.status.as_u16(),
        "headers": headers,
        "body": alike("", &said),
    });
    (said, likeness)
}

/// What two servers have to have in common in what they say under `key`.
fn alike(key: &str, said: &Value) -> Value {
    match said {
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, it)| (key.clone(), alike(key, it))).collect())
        }
        _ if SAME.contains(&key) => said.clone(),
        Value::Array(all) => Value::Array(all.iter().map(|it| alike(key, it)).collect()),
        // A second may have passed since.
        Value::Number(seconds) if ["lease_duration", "ttl"].contains(&key) => {
            json!((seconds.as_f64().unwrap() / 10.0).ceil() * 10.0)
        }
        Value::Number(_) => json!("a number"),
        Value::String(text) if text.is_empty() => json!("nothing"),
        Value::String(_) => json!("a text"),
        Value::Bool(_) | Value::Null => said.clone(),
    }
}
