//! The API server is gone, or a cluster's keys never come: who goes on, and who is told what?

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{DB, LOGIN, Node, SHOP, SHOP_VALUE, VALUE, anew, message};
use crate::bao::Bao;
use crate::cluster::{Cluster, Failure, Kind};
use crate::roles::enable_kubernetes;
use crate::world::reads;

/// With the API server asked about each token; its credential is in a file of this directory.
pub async fn reviewed(settings: Value) -> (Node, TempDir) {
    let (bao, cluster) = (Bao::dev().await, Cluster::start().await);
    enable_kubernetes(&bao.root(), &cluster, "kubernetes").await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("reviewer.jwt");
    std::fs::write(&file, cluster.reviewer()).unwrap();
    let mut section = cluster.settings();
    section["token_review"] = json!({"address": cluster.address(), "token_file": file});
    (Node::before(bao, cluster, section, settings).await, home)
}

#[tokio::test]
async fn without_its_api_server_known_pods_go_on_and_new_ones_are_refused() {
    let (node, _home) = reviewed(json!({"policy": {"refresh": "1s"}})).await;
    let (pod, new) = (node.pod(1), node.pod(2));
    let badge = node.caller(&node.log_in(&node.jwt(3), "payments-api").await);
    for caller in [&pod, &badge] {
        reads(&caller.get(DB).await, VALUE);
    }

    node.cluster.fail_all(Some(Failure::Down));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        reads(&pod.get(DB).await, VALUE);
        reads(&badge.send(&anew(DB)).await, VALUE);
        let answer = new.get(DB).await.expect_own_error(&[503]);
        assert!(message(&answer).contains("API server"), "{answer:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(node.upstream(LOGIN), 1);

    node.cluster.fail_all(None);
    let patience = Duration::from_secs(5);
    super::until("new pods", patience, async || new.get(DB).await.status == 200).await;
    // Now that it answers again, what it says counts.
    node.cluster.delete_pod("payments", "api-1");
    super::until("deleted", patience, async || pod.get(DB).await.status == 403).await;
    reads(&badge.get(DB).await, VALUE);
}

/// The API server says no for a reason that has nothing to do with the pods: its reviewer.
#[tokio::test]
async fn a_reviewer_that_may_not_ask_is_an_outage_and_no_verdict() {
    let (node, home) = reviewed(json!({"policy": {"refresh": "1s"}})).await;
    let (pod, new) = (node.pod(1), node.pod(2));
    reads(&pod.get(DB).await, VALUE);

    node.cluster.forget_reviewers();
    sleep(Duration::from_millis(1500)).await;
    reads(&pod.get(DB).await, VALUE);
    new.get(DB).await.expect_own_error(&[503]);
    // The credential that takes its place is found without a word.
    std::fs::write(home.path().join("reviewer.jwt"), node.cluster.reviewer()).unwrap();
    let patience = Duration::from_secs(30);
    super::until("the new credential", patience, async || new.get(DB).await.status == 200).await;
}

#[tokio::test]
async fn keys_that_never_come_are_said_and_hurt_nobody_else() {
    let (bao, dark, light) = (Bao::dev().await, Cluster::start().await, Cluster::start().await);
    dark.fail(Kind::Keys, Some(Failure::Status(503)));
    enable_kubernetes(&bao.root(), &light, "kubernetes").await;
    let section = json!([dark.settings(), light.settings()]);
    let node = Node::before(bao, light, section, json!({})).await;
    let jwt = dark.token("payments", "api", "api-1");
    let before = node.asked().len();

    for _ in 0..3 {
        let answer = node.caller(&jwt).get(DB).await.expect_own_error(&[503]);
        assert!(message(&answer).contains("keys"), "{answer:?}");
        // An address is the operator's business, and in the log.
        assert!(!answer.text().contains("127.0.0.1"), "{answer:?}");
    }
    assert_eq!(node.asked().len(), before);
    reads(&node.pod(1).get(DB).await, VALUE);
    reads(&node.neighbour(1).get(SHOP).await, SHOP_VALUE);
    assert!(node.vaultlet.log().contains(&dark.address()), "the log names the issuer");

    dark.fail(Kind::Keys, None);
    // Known by its keys now; that the server trusts only the other cluster is the server's affair.
    let patience = Duration::from_secs(20);
    super::until("the keys", patience, async || node.caller(&jwt).get(DB).await.status == 403)
        .await;
}
