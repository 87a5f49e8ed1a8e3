//! External Secrets Operator asks four times for each secret and refresh: login, lookup-self, read,
//! revoke-self. What of that reaches the server, and do the answers look like the server's?

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{DB, LOGIN, Node, VALUE};
use crate::client::{Answer, Call, Client};
use crate::world::reads;

const CLIENTS: usize = 20;
const LOOKUP: &str = "auth/token/lookup-self";
const REVOKE: &str = "auth/token/revoke-self";

/// The answers to one cycle, in order; the last, where asked for, is to a renewal in its middle.
async fn cycle(nobody: &Client, jwt: &str, renews: bool) -> Vec<Answer> {
    let body = json!({"role": "payments-api", "jwt": jwt});
    // As the operator's client library does it: PUT.
    let login = nobody.send(&Call::new("PUT", LOGIN).json(&body)).await.expect(200);
    let json = login.json();
    let client = nobody.token(json["auth"]["client_token"].as_str().unwrap());
    let looked_up = client.get(LOOKUP).await.expect(200);
    let read = client.get(DB).await;
    let mut renewed = Vec::new();
    if renews {
        renewed.push(client.post("auth/token/renew-self", json!({})).await.expect(200));
    }
    let revoked = client.send(&Call::new("PUT", REVOKE)).await.expect(204);
    assert_eq!(client.get(LOOKUP).await.status, 403, "revoked");
    [login, looked_up, read, revoked].into_iter().chain(renewed).collect()
}

/// `cycles` of each of the clients, each with a new token as the operator asks for them.
async fn cycles(node: &Arc<Node>, cycles: usize) -> Duration {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let node = Arc::clone(node);
        clients.spawn(async move {
            let nobody = node.vaultlet.client();
            for _ in 0..cycles {
                let answers = cycle(&nobody, &node.jwt(client), false).await;
                reads(&answers[2], VALUE);
            }
        });
    }
    clients.join_all().await;
    began.elapsed()
}

/// A TTL of 5 s, renewed at the earliest after 4 s of it.
fn short() -> Value {
    json!({"cache": {"kv": {"ttl": "5s"}}})
}

fn most_reads(took: Duration) -> u64 {
    1 + took.as_secs() / 4
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_cycles_are_one_login_and_one_read_per_ttl() {
    let node = Arc::new(Node::new(json!({}), short()).await);
    let took = cycles(&node, 100).await;

    assert_eq!(node.upstream(LOGIN), 1);
    assert_eq!(node.upstream(REVOKE), 0);
    assert!(node.upstream(LOOKUP) as u64 <= took.as_secs() / 48, "one per W at most");
    let reads = node.upstream(DB) as u64;
    assert!((1..=most_reads(took)).contains(&reads), "{reads} reads in {took:?}");
    println!("2,000 cycles in {took:?}: 1 login and {reads} reads upstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_logins_are_not_answered_each_passes_and_reads_hit() {
    const CYCLES: usize = 10;
    let node = Arc::new(Node::new(json!({"answer_logins": false}), short()).await);
    let took = cycles(&node, CYCLES).await;

    assert_eq!(node.upstream(LOGIN), CLIENTS * CYCLES);
    assert_eq!(node.upstream(REVOKE), CLIENTS * CYCLES);
    let reads = node.upstream(DB) as u64;
    assert!((1..=most_reads(took)).contains(&reads), "{reads} reads in {took:?}");
}

#[tokio::test]
async fn answers_have_the_shape_of_the_servers() {
    let node = Node::new(json!({}), json!({})).await;
    // Shorter than the service-account token, so that a renewal has something to give.
    node.team(("payments", "api"), json!({"token_ttl": "20m"})).await;
    let jwt = node.jwt(1);
    let ours = cycle(&node.vaultlet.client(), &jwt, true).await;
    let servers = cycle(&Client::tcp(&node.bao.address()), &jwt, true).await;

    let names = ["login", "lookup-self", "read", "revoke-self", "renew-self"];
    for (name, (ours, servers)) in names.iter().zip(ours.iter().zip(&servers)) {
        assert_eq!(ours.status, servers.status, "{name}");
        for header in ["content-type", "cache-control"] {
            assert_eq!(ours.header(header), servers.header(header), "{name}: {header}");
        }
        if servers.body.is_empty() {
            assert!(ours.body.is_empty(), "{name}: {ours:?}");
            continue;
        }
        let (ours, servers) = (ours.json(), servers.json());
        assert_eq!(shape(&ours), shape(&servers), "{name}\n{ours:#}\n{servers:#}");
        for said in [
            "/auth/policies",
            "/auth/token_policies",
            "/auth/metadata",
            "/auth/entity_id",
            "/auth/token_type",
            "/auth/orphan",
            "/auth/num_uses",
            "/auth/renewable",
            "/data/display_name",
            "/data/path",
            "/data/policies",
            "/data/meta",
            "/data/type",
            "/data/entity_id",
            "/data/orphan",
            "/data/explicit_max_ttl",
            "/data/creation_ttl",
            "/data/data",
            "/data/renewable",
        ] {
            assert_eq!(ours.pointer(said), servers.pointer(said), "{name}: {said}");
        }
    }
    let token = ours[0].json()["auth"]["client_token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("vlt.") && token.len() == 4 + 64, "256 random bits: {token}");
}

/// What members an answer has, and of which type.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), shape(value))).collect()
        }
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => Value::Array(items.first().map(shape).into_iter().collect()),
    }
}
