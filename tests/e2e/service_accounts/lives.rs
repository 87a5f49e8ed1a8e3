//! A shared login is renewed, made anew, revoked, and goes down with its mount: what do pods notice?

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{DB, LOGIN, Node, VALUE, anew};
use crate::client::Client;
use crate::world::{put, reads};

const RENEW: &str = "auth/token/renew-self";

/// Asks the server so often, with as many pods, that no moment without a login goes unnoticed.
async fn read_on(pods: &[Client], path: &str, value: &str, time: Duration) {
    let began = Instant::now();
    for pod in pods.iter().cycle() {
        reads(&pod.send(&anew(path)).await, value);
        reads(&pod.get(path).await, value);
        if began.elapsed() > time {
            return;
        }
        sleep(Duration::from_millis(40)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_login_is_renewed_while_it_is_used() {
    let node = Node::new(json!({}), json!({})).await;
    node.team(("payments", "api"), json!({"token_ttl": "4s"})).await;
    let pods: Vec<_> = (0..4).map(|number| node.pod(number)).collect();
    read_on(&pods, DB, VALUE, Duration::from_secs(16)).await;

    let (renewals, logins) = (node.upstream(RENEW), node.upstream(LOGIN));
    assert!((4..=8).contains(&renewals), "{renewals} renewals");
    // One more may be made where the machine is so busy that a renewal comes late.
    assert!((1..=2).contains(&logins), "{logins} logins");

    // Nobody uses it any more, and nobody renews it.
    sleep(Duration::from_secs(4)).await;
    let renewals = node.upstream(RENEW);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(node.upstream(RENEW), renewals);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_its_longest_life_is_over_there_is_another() {
    let node = Node::new(json!({}), json!({})).await;
    node.team(("payments", "api"), json!({"token_ttl": "4s", "token_max_ttl": "7s"})).await;
    let root = node.bao.root();
    // One that cannot be renewed at all, too.
    node.team(("payments", "batch"), json!({"token_ttl": "4s", "token_type": "batch"})).await;
    put(&root, "payments/batch", "batch").await.expect(200);
    let pods: Vec<_> = (0..4).map(|number| node.pod(number)).collect();
    let batch = [node.caller(&node.cluster.token("payments", "batch", "b"))];
    let time = Duration::from_secs(16);
    tokio::join!(
        read_on(&pods, DB, VALUE, time),
        read_on(&batch, "secret/data/payments/batch", "batch", time)
    );

    let (renewals, logins) = (node.upstream(RENEW), node.upstream(LOGIN));
    assert!(renewals >= 1, "{renewals} renewals");
    // 16 s are at least two lives of 7 s and four of 4 s, each made anew at two thirds or later.
    assert!((5..=14).contains(&logins), "{logins} logins");
}

#[tokio::test]
async fn a_login_that_an_operator_revokes_is_made_anew_and_no_read_fails() {
    let node = Node::new(json!({}), json!({})).await;
    let (pod, root) = (node.pod(1), node.bao.root());
    let badge = node.caller(&node.log_in(&node.jwt(2), "payments-api").await);
    for caller in [&pod, &badge] {
        reads(&caller.get(DB).await, VALUE);
        reads(&caller.send(&anew(DB)).await, VALUE);
    }
    for round in 1..=3 {
        sleep(Duration::from_millis(1500)).await;
        let shared = node.token_for(DB).unwrap();
        let told = root.post("auth/token/lookup", json!({"token": shared})).await.expect(200);
        let accessor = told.json()["data"]["accessor"].clone();
        root.post("auth/token/revoke-accessor", json!({"accessor": accessor})).await.expect(204);

        let caller = if round % 2 == 0 { &pod } else { &badge };
        let (fresh, cached, listed) = tokio::join!(
            async { caller.send(&anew(DB)).await },
            async { pod.get(DB).await },
            async { badge.get("secret/metadata/payments/db").await }
        );
        reads(&fresh, VALUE);
        reads(&cached, VALUE);
        listed.expect(200);
        assert_ne!(node.token_for(DB).unwrap(), shared, "the read has another login");
        assert_eq!(node.upstream(LOGIN), 1 + round);
    }
}

#[tokio::test]
async fn a_login_that_is_revoked_as_soon_as_it_is_made_is_made_anew_too() {
    let node = Node::new(json!({}), json!({})).await;
    let (pod, root) = (node.pod(1), node.bao.root());
    reads(&pod.get(DB).await, VALUE);
    let shared = node.token_for(DB).unwrap();
    root.post("auth/token/revoke", json!({"token": shared})).await.expect(204);

    let began = Instant::now();
    while pod.send(&anew(DB)).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(2), "no login any more");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(node.upstream(LOGIN), 2);
}

#[tokio::test]
async fn when_the_mount_is_disabled_pods_are_refused_within_the_window() {
    let node = Node::new(json!({}), json!({"policy": {"refresh": "1s"}})).await;
    let (pod, root) = (node.pod(1), node.bao.root());
    let badge = node.caller(&node.log_in(&node.jwt(2), "payments-api").await);
    for caller in [&pod, &badge, &pod] {
        reads(&caller.get(DB).await, VALUE);
    }
    root.delete("sys/auth/kubernetes").await.expect(204);
    let began = Instant::now();
    let refused = async |caller: &Client| {
        while caller.get(DB).await.status != 403 {
            assert!(began.elapsed() < Duration::from_secs(3), "W is 1 s");
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(refused(&pod), refused(&badge));
    pod.send(&anew(DB)).await.expect(403);
    let logins = node.upstream(LOGIN);
    for number in 0..50 {
        pod.get(DB).await.expect(403);
        badge.get(DB).await.expect(403);
        if number % 10 == 0 {
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(node.upstream(LOGIN) <= logins + 2, "remembered");
}
