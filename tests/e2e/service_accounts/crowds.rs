//! What does a crowd of pods cost the server?

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{DB, LOGIN, Node, SHOP, SHOP_VALUE, VALUE, presented, received};
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{put, reads};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pods_at_once_are_one_login_and_one_read() {
    let node = Node::new(json!({}), json!({})).await;
    let mut pods = JoinSet::new();
    let mut neighbours = JoinSet::new();
    for number in 0..100 {
        let call = presented(DB, &node.jwt(number), number % 2 == 0);
        let client = node.vaultlet.client();
        pods.spawn(async move { client.send(&call).await });
        if number % 10 == 0 {
            let neighbour = node.neighbour(number);
            neighbours.spawn(async move { [neighbour.get(DB).await, neighbour.get(SHOP).await] });
        }
    }

    for answer in pods.join_all().await {
        reads(&answer, VALUE);
    }
    for [denied, own] in neighbours.join_all().await {
        assert_eq!(denied.status, 403, "{denied:?}");
        assert!(!received(&denied).contains(VALUE), "{denied:?}");
        reads(&own, SHOP_VALUE);
    }
    // Each team's login, and no more; told apart by what only the other team reads.
    assert_eq!(node.upstream(LOGIN), 2);
    let other = node.token_for(SHOP).unwrap();
    let seen = node.asked();
    let of_db = seen.iter().filter(|seen| seen.target == format!("/v1/{DB}"));
    let tokens: Vec<_> = of_db.filter_map(|seen| seen.header("x-vault-token")).collect();
    assert_eq!(tokens.iter().filter(|token| **token != other).count(), 1, "one read");
    // vaultlet counts the same.
    assert_eq!(node.counted("login").await, 2);
    assert_eq!(node.counted("lookup_self").await, 0);
}

/// The node has just started, and so have all its pods.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_is_there_before_the_first_health_check_is_one_read_too() {
    let node = Node::new(json!({}), json!({})).await;
    let slow = Stub::before(&node.bao.address(), |seen| {
        if seen.target.starts_with("/v1/sys/health") {
            Reply::ForwardAfter(Duration::from_millis(1500))
        } else {
            Reply::Forward
        }
    })
    .await;
    let settings = json!({"auth": {"kubernetes": node.cluster.settings()}});
    let vaultlet = Vaultlet::start(&slow.address(), settings).await;
    let mut pods = JoinSet::new();
    for number in 0..40 {
        let pod = vaultlet.client().token(&node.jwt(number));
        pods.spawn(async move {
            let first = pod.get(DB).await;
            sleep(Duration::from_secs(3)).await;
            [first, pod.get(DB).await]
        });
    }
    for answer in pods.join_all().await.iter().flatten() {
        reads(answer, VALUE);
    }
    let count = |path: &str| slow.seen().iter().filter(|seen| seen.target.ends_with(path)).count();
    assert_eq!(count(LOGIN), 1);
    assert!(slow.count("GET", &format!("/v1/{DB}")) <= 2, "before it, and after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_unmodified_pods_with_tokens_of_their_own_are_one_read() {
    let node = Node::new(json!({"answer_logins": false}), json!({})).await;
    let root = node.bao.root();
    root.post("sys/auth/userpass", json!({"type": "userpass"})).await.expect(204);
    let user = json!({"password": "p", "token_policies": "payments"});
    root.post("auth/userpass/users/u", user).await.expect(204);

    for way in ["kubernetes", "userpass"] {
        put(&root, &format!("payments/{way}"), way).await.expect(200);
        let mut pods = JoinSet::new();
        for number in 0..40 {
            let (path, body) = if way == "kubernetes" {
                (LOGIN, json!({"role": "payments-api", "jwt": node.jwt(number)}))
            } else {
                ("auth/userpass/login/u", json!({"password": "p"}))
            };
            let client = node.vaultlet.client();
            pods.spawn(async move {
                let login = client.post(path, body).await.expect(200).json();
                let token = login["auth"]["client_token"].as_str().unwrap();
                assert!(!token.starts_with("vlt."), "{token}");
                client.token(token).get(&format!("secret/data/payments/{way}")).await
            });
        }
        for answer in pods.join_all().await {
            reads(&answer, way);
        }
        assert_eq!(node.upstream(&format!("secret/data/payments/{way}")), 1, "{way}");
    }
    assert_eq!(node.upstream(LOGIN), 40);
    assert_eq!(node.upstream("auth/token/lookup-self"), 0, "the login taught it");
}
