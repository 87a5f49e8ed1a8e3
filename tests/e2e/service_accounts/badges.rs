//! What is a token worth that vaultlet gave out itself, and until when?

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{DB, LOGIN, Node, VALUE, message, until};
use crate::client::Client;
use crate::vaultlet::Vaultlet;
use crate::world::reads;

async fn renew(client: &Client, increment: &str) -> Value {
    let answer = client.post("auth/token/renew-self", json!({"increment": increment})).await;
    answer.expect(200).json()["auth"].clone()
}

#[tokio::test]
async fn a_revoked_one_is_refused_and_others_go_on() {
    let node = Node::new(json!({}), json!({})).await;
    let jwt = node.jwt(1);
    let first = node.caller(&node.log_in(&jwt, "payments-api").await);
    let second = node.caller(&node.log_in(&jwt, "payments-api").await);
    for badge in [&first, &second] {
        reads(&badge.get(DB).await, VALUE);
    }

    first.post("auth/token/revoke-self", json!({})).await.expect(204);
    for path in [DB, "auth/token/lookup-self", "sys/mounts", "cubbyhole/x"] {
        let answer = first.get(path).await.expect_own_error(&[403]);
        assert!(message(&answer).contains("log in again"), "{answer:?}");
    }
    first.post("auth/token/revoke-self", json!({})).await.expect_own_error(&[403]);
    reads(&second.get(DB).await, VALUE);
    reads(&node.pod(2).get(DB).await, VALUE);
    reads(&second.send(&super::anew(DB)).await, VALUE);
    assert_eq!(node.upstream(LOGIN), 1);
    assert_eq!(node.upstream("auth/token/revoke-self"), 0);
}

#[tokio::test]
async fn nobody_guesses_one() {
    let node = Node::new(json!({}), json!({})).await;
    let badge = node.log_in(&node.jwt(1), "payments-api").await;
    let before = node.asked().len();
    let cut = &badge[..badge.len() - 1];
    let (upper, more) = (badge.to_uppercase().replacen("VLT", "vlt", 1), format!("{badge}0"));
    let digit = if badge.ends_with('0') { '1' } else { '0' };
    let other = format!("{cut}{digit}");

    for guess in ["vlt.", cut, &upper, &more, &other] {
        let answer = node.caller(guess).get(DB).await.expect_own_error(&[403]);
        assert!(!super::received(&answer).contains(&badge[4..20]), "{answer:?}");
    }
    assert_eq!(node.asked().len(), before, "nothing of it is the server's affair");
}

#[tokio::test]
async fn one_lives_as_long_as_its_lease_and_its_service_account_token() {
    let node = Node::new(json!({"leeway": "0s"}), json!({})).await;
    node.team(("payments", "api"), json!({"token_ttl": "3s"})).await;
    let hour = node.jwt(1);
    let left = node.caller(&node.log_in(&hour, "payments-api").await);
    let kept = node.caller(&node.log_in(&hour, "payments-api").await);
    // Seconds are counted from the last whole one.
    let life = Duration::from_secs(7);
    let short = node.cluster.mint("payments", "api", Some("api-2"), &["vaultlet", "vault"], life);
    let bound = node.caller(&node.log_in(&short, "payments-api").await);
    for badge in [&left, &kept, &bound] {
        reads(&badge.get(DB).await, VALUE);
    }

    let renewed = renew(&kept, "1h").await;
    let lease = renewed["lease_duration"].as_u64().unwrap();
    assert!((3590..=3600).contains(&lease), "{renewed}");
    let renewed = renew(&bound, "1h").await;
    let lease = renewed["lease_duration"].as_u64().unwrap();
    assert!((4..=7).contains(&lease), "not past the token's exp: {renewed}");
    assert_eq!(renewed["renewable"], json!(false), "{renewed}");

    sleep(Duration::from_millis(3500)).await;
    left.get(DB).await.expect_own_error(&[403]);
    reads(&kept.get(DB).await, VALUE);
    reads(&bound.get(DB).await, VALUE);
    until("exp", Duration::from_secs(6), async || bound.get(DB).await.status == 403).await;
    bound.post("auth/token/renew-self", json!({})).await.expect_own_error(&[403]);
    node.caller(&short).get(DB).await.expect_own_error(&[403]);
    reads(&kept.get(DB).await, VALUE);
}

#[tokio::test]
async fn another_vaultlet_does_not_know_it() {
    let node = Node::new(json!({}), json!({})).await;
    let badge = node.log_in(&node.jwt(1), "payments-api").await;
    reads(&node.caller(&badge).get(DB).await, VALUE);

    // What a restart is to those who hold badges: nothing of them is on disk.
    let settings = json!({"auth": {"kubernetes": node.cluster.settings()}});
    let after = Vaultlet::start(&node.stub.address(), settings).await;
    for path in [DB, "auth/token/lookup-self"] {
        let answer = after.client().token(&badge).get(path).await.expect_own_error(&[403]);
        assert!(message(&answer).contains("log in again"), "{answer:?}");
    }
    reads(&after.client().token(&node.jwt(1)).get(DB).await, VALUE);
}

#[tokio::test]
async fn a_login_that_asks_for_more_than_a_login_is_the_servers_affair() {
    let node = Node::new(json!({}), json!({})).await;
    let body = json!({"role": "payments-api", "jwt": node.jwt(1)});
    let call = crate::client::Call::new("POST", LOGIN).json(&body).with("X-Vault-Wrap-TTL", "60");
    let wrapped = node.vaultlet.client().send(&call).await.expect(200).json();

    let token = wrapped["wrap_info"]["token"].as_str().unwrap();
    let unwrapped = node.caller(token).post("sys/wrapping/unwrap", json!({})).await.expect(200);
    let token = unwrapped.json()["auth"]["client_token"].as_str().unwrap().to_owned();
    assert!(!token.starts_with("vlt."), "{token}");
    reads(&node.caller(&token).get(DB).await, VALUE);
}
