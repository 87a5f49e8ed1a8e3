//! Does the audit log have every answer, and nothing that must not be in it?

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::{DB, LOGIN, Node, SHOP, SHOP_VALUE, VALUE, anew, presented, received};
use crate::client::{Answer, Call};
use crate::world::{cached, reads};

async fn audited(settings: Value) -> (Node, PathBuf, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("audit.jsonl");
    let mut audit = json!({"audit": {"file": &file}});
    crate::vaultlet::merge(&mut audit, settings);
    (Node::new(json!({}), audit).await, file, home)
}

/// The records of answers in these files.
fn records(files: &[&Path]) -> Vec<Value> {
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["type"] == "response").collect()
}

/// What `vaultlet audit verify` says of these files.
async fn verify(files: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
    command.args(["audit", "verify"]).args(files).env_clear().kill_on_drop(true);
    timeout(Duration::from_secs(30), command.output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn there_is_one_record_of_each_answer_and_no_secret_in_it() {
    let (node, file, _home) = audited(json!({})).await;
    let (jwt, other) = (node.jwt(1), node.cluster.token("web", "shop", "shop-1"));
    let badge = node.log_in(&jwt, "payments-api").await;
    let mut answers = 1;
    let mut expected = vec![("login", "hit", 200, "vaultlet_token", "api")];
    let mut ask = async |call: &Call| {
        answers += 1;
        node.vaultlet.client().send(call).await
    };

    reads(&ask(&presented(DB, &jwt, true)).await, VALUE);
    expected.push(("kv_read", "miss", 200, "service_account", "api"));
    reads(&ask(&presented(DB, &jwt, false)).await, VALUE);
    expected.push(("kv_read", "hit", 200, "service_account", "api"));
    reads(&ask(&presented(DB, &badge, false)).await, VALUE);
    expected.push(("kv_read", "hit", 200, "vaultlet_token", "api"));
    ask(&presented(DB, &other, true)).await.expect(403);
    expected.push(("kv_read", "denied", 403, "service_account", "shop"));
    ask(&presented("cubbyhole/x", &other, true)).await.expect(403);
    expected.push(("passthrough", "denied", 403, "service_account", "shop"));
    ask(&presented("auth/token/lookup-self", &badge, false)).await.expect(200);
    expected.push(("login", "hit", 200, "vaultlet_token", "api"));
    ask(&presented(DB, &format!("{}x", &jwt[..jwt.len() - 9]), true)).await.expect(403);
    expected.push(("kv_read", "denied", 403, "none", ""));
    ask(&presented(DB, &badge.replace("vlt.", "vlt.0"), true)).await.expect(403);
    expected.push(("kv_read", "denied", 403, "none", ""));
    let write = Call::new("POST", DB).json(&json!({"data": {"value": "canary-of-a-write"}}));
    ask(&write.with("X-Vault-Token", &jwt)).await.expect(403);
    expected.push(("kv_write", "denied", 403, "service_account", "api"));

    let found = records(&[&file]);
    assert_eq!(found.len(), answers, "one record for each answer");
    for (record, (route, cache, status, credential, name)) in found.iter().zip(expected) {
        let own = &record["vaultlet"];
        let account = own["service_account"]["name"].as_str().unwrap_or_default();
        assert_eq!(
            (&own["route"], &own["cache"], &own["status"], &own["credential"], account),
            (&json!(route), &json!(cache), &json!(status), &json!(credential), name),
            "{record:#}"
        );
        assert_eq!(record["auth"]["policy_results"]["allowed"], json!(status == 200), "{record:#}");
        if name == "api" {
            assert_eq!(own["pod"]["name"], json!("api-1"), "{record:#}");
            assert_eq!(own["service_account"]["issuer"], json!(node.cluster.address()));
            assert_eq!(own["service_account"]["namespace"], json!("payments"));
            assert_eq!(record["auth"]["policies"], json!(["default", "payments"]), "{record:#}");
        }
        if (route, cache) == ("kv_read", "hit") {
            assert!(own["age"].as_u64().is_some(), "{record:#}");
            assert_eq!(record["request"]["path"], json!(DB), "{record:#}");
        }
    }
    let mut secrets = vec![VALUE, SHOP_VALUE, "canary-of-a-write", &badge, &badge[4..]];
    secrets.extend(jwt.split('.').skip(1).chain(other.split('.').skip(1)));
    let upstream = node.upstream_tokens();
    secrets.extend(upstream.iter().map(String::as_str));
    let (text, log) = (std::fs::read_to_string(&file).unwrap(), node.vaultlet.log());
    for secret in secrets {
        assert!(!text.contains(secret), "in the audit log: {secret}");
        assert!(!log.contains(secret), "in the log: {secret}");
    }
    let verified = verify(&[&file]).await;
    assert!(verified.status.success(), "{verified:?}");
    // The count is not what makes it whole: one letter is enough.
    std::fs::write(&file, text.replacen("shop", "shot", 1)).unwrap();
    assert_eq!(verify(&[&file]).await.status.code(), Some(1));
}

/// Digests for paths, too.
#[tokio::test]
async fn paths_can_be_kept_out_of_it() {
    let (node, file, _home) = audited(json!({"audit": {"paths": "hmac"}})).await;
    for _ in 0..2 {
        reads(&node.pod(1).get(DB).await, VALUE);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("payments/db") && text.contains("hmac-sha256:"), "{text}");
    let paths: Vec<_> = records(&[&file]).iter().map(|it| it["request"]["path"].clone()).collect();
    assert_eq!(paths[0], paths[1], "the same path, the same digest");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_answered() {
    let full = json!({"audit": {"file": "/dev/full"}});
    let node = Node::new(json!({}), full).await;
    let jwt = node.jwt(1);
    let body = json!({"role": "payments-api", "jwt": jwt});
    for _ in 0..3 {
        let calls = [
            presented(DB, &jwt, true),
            anew(DB).with("X-Vault-Token", &jwt),
            Call::new("POST", LOGIN).json(&body),
        ];
        for call in calls {
            let answer = node.vaultlet.client().send(&call).await;
            let text = received(&answer);
            assert!(!text.contains(VALUE) && !text.contains("vlt."), "{text}");
            answer.expect_own_error(&[503]);
        }
    }
    let failed = node.vaultlet.metric("vaultlet_audit_events_total", &["result=\"failed\""]).await;
    assert!(failed >= 9.0, "{failed}");

    let open = json!({"audit": {"file": "/dev/full", "fail_open": true}});
    let node = Node::new(json!({}), open).await;
    let pod = node.pod(1);
    for _ in 0..3 {
        reads(&pod.get(DB).await, VALUE);
    }
    let failed = node.vaultlet.metric("vaultlet_audit_events_total", &["result=\"failed\""]).await;
    assert!(failed >= 3.0, "it is counted: {failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_rotated_goes_on_where_it_stopped() {
    let (node, file, home) = audited(json!({})).await;
    let (pod, shop) = (node.pod(1), node.neighbour(1));
    let rotated = |number: usize| home.path().join(format!("audit.jsonl.{number}"));
    let mut answers = 0;
    let mut ask = async || -> [Answer; 2] {
        answers += 2;
        [pod.get(DB).await, shop.get(SHOP).await]
    };
    for number in 0..3 {
        for _ in 0..5 {
            ask().await.iter().for_each(|answer| assert_eq!(answer.status, 200, "{answer:?}"));
        }
        std::fs::rename(&file, rotated(number)).unwrap();
        // Until it is told, it goes on writing where it was.
        ask().await;
        node.vaultlet.signal(Signal::HUP);
        let patience = Duration::from_secs(10);
        super::until("opened again", patience, async || file.exists()).await;
    }
    ask().await;
    cached(&pod, DB).await;
    answers += 1;

    let files: Vec<PathBuf> = (0..3).map(rotated).chain([file]).collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    assert_eq!(records(&files).len(), answers);
    let verified = verify(&files).await;
    assert!(verified.status.success(), "{verified:?}");
    // One that is missing is missed.
    assert_eq!(verify(&[files[0], files[2], files[3]]).await.status.code(), Some(1));
}
