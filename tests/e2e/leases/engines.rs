//! Engines other than databases: what has a lease is shared, what has an end of its own where a rule
//! says so, and what is made for one request never.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{RENEW, World, is_hit};
use crate::client::{Answer, Call, Client};
use crate::mint::unix;

const WEB: &str = "pki/issue/web";
const LEASED: &str = "pki/issue/leased";

/// A certificate authority at `pki/`: the role `leased` makes leases, `web` does not.
pub async fn authority(world: &World) {
    let root = world.server();
    root.post("sys/mounts/pki", json!({"type": "pki"})).await.expect(204);
    let ca = json!({"common_name": "tests", "ttl": "1h", "key_type": "ec"});
    root.post("pki/root/generate/internal", ca).await.expect(200);
    for (role, leases) in [("web", false), ("leased", true)] {
        let role_of = json!({"allow_any_name": true, "key_type": "ec", "ttl": "10m",
            "generate_lease": leases});
        root.post(&format!("pki/roles/{role}"), role_of).await.expect_any(&[200, 204]);
    }
}

async fn with_own_end() -> World {
    let settings = json!({"cache": {"rules": [{"path": WEB, "own_end": true}]}});
    let world = World::new(json!({}), settings).await;
    authority(&world).await;
    world
}

async fn post(caller: &Client, path: &str, body: &'static str) -> Answer {
    caller.send(&Call::new("POST", path).body(body)).await.expect(200)
}

fn serial(answer: &Answer) -> String {
    answer.json()["data"]["serial_number"].as_str().unwrap().to_owned()
}

/// The same question in other words.
const ONE_QUESTION: [&str; 4] = [
    r#"{"common_name":"shop.example","ttl":"5m"}"#,
    r#"{"ttl":"5m","common_name":"shop.example"}"#,
    "{\n  \"ttl\": \"5m\",\n  \"common_name\": \"shop.example\"\n}",
    r#"{"common_name":"\u0073hop.example","ttl":"5m"}"#,
];

#[tokio::test]
async fn with_a_rule_a_certificate_is_shared_until_its_end() {
    let world = with_own_end().await;
    let first = post(&world.pod(0), WEB, ONE_QUESTION[0]).await;
    let expiration = first.json()["data"]["expiration"].clone();

    for (number, body) in ONE_QUESTION.iter().enumerate() {
        let answer = post(&world.pod(number), WEB, body).await;
        is_hit(&answer);
        assert_eq!(serial(&answer), serial(&first), "{body}");
        assert_eq!(answer.json()["data"]["expiration"], expiration);
    }
    let by_put = Call::new("PUT", WEB).body(ONE_QUESTION[1]);
    assert_eq!(serial(&world.pod(1).send(&by_put).await.expect(200)), serial(&first));
    assert_eq!(world.asked(WEB), 1);

    let other = post(&world.pod(1), WEB, r#"{"common_name":"other.example","ttl":"5m"}"#).await;
    let neighbours = post(&world.neighbour(1), WEB, ONE_QUESTION[0]).await;
    assert_ne!(serial(&other), serial(&first));
    assert_ne!(serial(&neighbours), serial(&first));
    assert_eq!(world.asked(WEB), 3);
}

pub async fn with_a_rule_a_certificate_that_nears_its_end_is_another() {
    let world = with_own_end().await;
    let pod = world.pod(1);
    let began = Instant::now();

    while began.elapsed() < Duration::from_secs(12) {
        let answer = post(&pod, WEB, r#"{"common_name":"short.example","ttl":"6s"}"#).await;
        let expiration = answer.json()["data"]["expiration"].as_u64().unwrap();
        assert!(expiration > unix(), "past its end after {:?}", began.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    assert!((2..=6).contains(&world.asked(WEB)), "{} in 12 s", world.asked(WEB));
}

#[tokio::test]
async fn without_a_rule_each_certificate_is_new() {
    let world = World::new(json!({}), json!({})).await;
    authority(&world).await;
    let pod = world.pod(1);

    let mut serials = Vec::new();
    for _ in 0..3 {
        let answer = post(&pod, WEB, ONE_QUESTION[0]).await;
        assert_eq!(answer.cache(), "", "{answer:?}");
        let serial = serial(&answer);
        assert!(!serials.contains(&serial));
        serials.push(serial);
    }
    assert_eq!(world.asked(WEB), 3);
}

#[tokio::test]
async fn a_certificate_with_a_lease_is_shared_and_succeeded() {
    let world = World::new(json!({}), json!({})).await;
    authority(&world).await;
    let pods: Vec<_> = (0..4).map(|pod| world.pod(pod)).collect();
    let first = post(&pods[0], LEASED, ONE_QUESTION[0]).await;
    let lease = first.json()["lease_id"].clone();
    assert!(lease.as_str().is_some_and(|lease| !lease.is_empty()), "{lease}");

    for (pod, body) in pods.iter().zip(ONE_QUESTION) {
        let answer = post(pod, LEASED, body).await;
        is_hit(&answer);
        assert_eq!((serial(&answer), &answer.json()["lease_id"]), (serial(&first), &lease));
    }
    assert_eq!(world.asked(LEASED), 1);

    let short = r#"{"common_name":"short.example","ttl":"6s"}"#;
    let old = post(&pods[0], LEASED, short).await;
    assert_eq!(old.json()["renewable"], json!(false));
    let began = Instant::now();
    while serial(&post(&pods[1], LEASED, short).await) == serial(&old) {
        sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    assert!((2500..5500).contains(&took.as_millis()), "another came after {took:?}");
    assert_eq!(world.asked(RENEW), 0, "it cannot be renewed");
}

/// Asks twice, as two pods, and fails the test unless the server was asked both times.
async fn never_shared(world: &World, call: &Call) -> [Value; 2] {
    let before = world.tap.count(call.method.as_str(), &call.target);
    let mut answers = [const { Value::Null }; 2];
    for (pod, into) in answers.iter_mut().enumerate() {
        let answer = world.pod(pod).send(call).await.expect(200);
        assert_eq!(answer.cache(), "", "{answer:?}");
        *into = answer.json()["data"].clone();
    }
    let after = world.tap.count(call.method.as_str(), &call.target);
    assert_eq!(after - before, 2, "{call:?}");
    answers
}

#[tokio::test]
async fn what_is_made_for_one_request_is_never_shared() {
    // Not even where a rule is careless.
    let settings = json!({"cache": {"rules": [{"path": "*", "own_end": true}]}});
    let world = World::new(json!({}), settings).await;
    let root = world.server();
    for engine in ["transit", "totp", "ssh"] {
        root.post(&format!("sys/mounts/{engine}"), json!({"type": engine})).await.expect(204);
    }
    root.post("transit/keys/k", json!({})).await.expect(200);
    let key = json!({"generate": true, "issuer": "tests", "account_name": "pod"});
    root.post("totp/keys/k", key).await.expect(200);
    let otp = json!({"key_type": "otp", "default_user": "pod", "cidr_list": "10.0.0.0/8"});
    root.post("ssh/roles/otp", otp).await.expect(204);

    let plaintext = json!({"plaintext": "aGVsbG8="});
    let encrypted = Call::new("POST", "transit/encrypt/k").json(&plaintext);
    let key = Call::new("POST", "transit/datakey/plaintext/k").json(&json!({}));
    // These have a lease, and are good for one use.
    let password = Call::new("POST", "ssh/creds/otp").json(&json!({"ip": "10.0.0.1"}));
    for (call, field) in [(encrypted, "ciphertext"), (key, "plaintext"), (password, "key")] {
        let [one, other] = never_shared(&world, &call).await;
        assert_ne!(one[field], other[field], "{call:?}");
    }
    never_shared(&world, &Call::get("totp/code/k")).await;
}

/// KV version 1 that makes leases; this server cannot renew them, it breaks the connection.
#[tokio::test]
async fn leased_kv_is_shared_and_its_writes_are_seen() {
    let world = World::new(json!({}), json!({})).await;
    let root = world.server();
    let mount = json!({"type": "kv", "options": {"version": "1", "leased_passthrough": "true"}});
    root.post("sys/mounts/leased", mount).await.expect(204);
    root.post("leased/x", json!({"value": "old", "ttl": "6s"})).await.expect(204);
    let (pod, other) = (world.pod(1), world.pod(2));
    let reads = || world.tap.count("GET", "/v1/leased/x");

    let first = pod.get("leased/x").await.expect(200);
    let second = other.get("leased/x").await;
    is_hit(&second);
    assert_eq!(second.json()["lease_id"], first.json()["lease_id"]);
    assert_eq!((second.value().as_deref(), reads()), (Some("old"), 1));

    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(9) {
        let answer = pod.get("leased/x").await.expect(200);
        assert_eq!(answer.value().as_deref(), Some("old"));
        assert!(answer.json()["lease_duration"].as_u64() >= Some(1), "{answer:?}");
        sleep(Duration::from_millis(200)).await;
    }
    assert!((2..=4).contains(&reads()), "{} reads in nine seconds", reads());
    assert!(world.asked(RENEW) <= 8, "{} renewals in nine seconds", world.asked(RENEW));

    other.post("leased/x", json!({"value": "new", "ttl": "1h"})).await.expect(204);
    assert_eq!(pod.get("leased/x").await.value().as_deref(), Some("new"));
}

/// The server gives the user another password every few seconds, and says when.
pub async fn with_a_rule_a_static_role_is_kept_until_it_changes() {
    const STATIC: &str = "database/static-creds/fixed";
    let settings =
        json!({"cache": {"rules": [{"path": "database/static-creds/+", "own_end": true}]}});
    let world = World::new(json!({}), settings).await;
    let user = format!("{}fixed", world.tag);
    world.postgres.sql(&format!("create role \"{user}\" login password 'first'")).await;
    let role = json!({"db_name": "postgres", "username": user, "rotation_period": "5s"});
    world.server().post("database/static-roles/fixed", role).await.expect(204);
    let pods = [world.pod(1), world.pod(2)];

    let (began, mut passwords, mut given) = (Instant::now(), Vec::new(), 0);
    while began.elapsed() < Duration::from_secs(12) {
        for pod in &pods {
            let data = pod.get(STATIC).await.expect(200).json()["data"].clone();
            given += 1;
            let (password, left) = (data["password"].as_str().unwrap(), data["ttl"].as_u64());
            assert!(left <= Some(5), "{left:?}");
            // In its last second it may change before it is used.
            if left >= Some(2) {
                let lives = world.postgres.logs_in(&user, password).await;
                assert!(lives, "not its password after {:?}, {left:?} s left", began.elapsed());
            }
            if !passwords.contains(&password.to_owned()) {
                passwords.push(password.to_owned());
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
    assert!((2..=4).contains(&passwords.len()), "{} passwords", passwords.len());
    // In its last second it is asked for each time, which makes nothing new; and the server, which
    // looks once in a second for what is due, may be another one late.
    let asked = world.tap.count("GET", &format!("/v1/{STATIC}"));
    assert!(asked >= 2 && asked * 2 < given, "{asked} times for {given} answers");
}
