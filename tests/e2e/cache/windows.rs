//! How long does a change of rights go unseen, made behind vaultlet's back or in front of it?

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::world::{World, hit};

const PATH: &str = "secret/data/watched";
/// `policy.refresh` in these tests, and the second that the answer may take to arrive.
const WINDOW: Duration = Duration::from_secs(2);
const BOUND: Duration = Duration::from_secs(3);

async fn watched() -> (World, Client, String) {
    let world =
        World::new(json!({"policy": {"refresh": "2s"}, "cache": {"kv": {"ttl": "1h"}}})).await;
    world.put("watched", "canary").await;
    let token = world.token(&["reader"]).await;
    let caller = world.caller(&token);
    caller.get(PATH).await.expect(200);
    hit(&caller, PATH, "canary").await;
    (world, caller, token)
}

/// Reads every 25 ms until a bit past the bound; fails if a read that began after it succeeded.
async fn refused_within_the_bound(caller: &Client) {
    let changed = Instant::now();
    let mut last = None;
    while changed.elapsed() < BOUND + Duration::from_millis(700) {
        let began = changed.elapsed();
        match caller.get(PATH).await.status {
            200 => {
                last = Some(began);
                assert!(began <= BOUND, "still served {began:?} after the change");
            }
            403 => {}
            other => panic!("status {other}"),
        }
        sleep(Duration::from_millis(25)).await;
    }
    println!("last served {last:?} after the change; window {WINDOW:?}");
    caller.get(PATH).await.expect(403);
}

#[tokio::test]
async fn a_policy_changed_behind_the_back_is_seen_within_the_window() {
    let (world, caller, _) = watched().await;

    world.policy("reader", r#"path "secret/data/other" { capabilities = ["read"] }"#).await;
    refused_within_the_bound(&caller).await;
}

#[tokio::test]
async fn a_token_revoked_behind_the_back_is_refused_within_the_window() {
    let (world, caller, token) = watched().await;

    let revoke = json!({"token": token});
    world.server().post("auth/token/revoke", revoke).await.expect(204);
    refused_within_the_bound(&caller).await;
}

#[tokio::test]
async fn a_parent_revoked_behind_the_back_takes_its_children_along() {
    let (world, _, _) = watched().await;
    let parent = world.token_with(json!({"policies": ["root"]})).await;
    let made = Client::tcp(&world.bao.address()).token(&parent);
    let child = crate::world::token(&made, json!({"policies": ["reader"]})).await;
    let caller = world.caller(&child);
    caller.get(PATH).await.expect(200);

    let revoke = json!({"token": parent});
    world.server().post("auth/token/revoke", revoke).await.expect(204);
    refused_within_the_bound(&caller).await;
}

#[tokio::test]
async fn a_disabled_entity_is_refused_within_the_window() {
    let (world, _, _) = watched().await;
    let root = world.server();
    root.post("sys/auth/userpass", json!({"type": "userpass"})).await.expect(204);
    let user = json!({"password": "p", "token_policies": "reader"});
    root.post("auth/userpass/users/u", user).await.expect(204);
    let login = root.post("auth/userpass/login/u", json!({"password": "p"})).await.expect(200);
    let auth: Value = login.json()["auth"].clone();
    let caller = world.caller(auth["client_token"].as_str().unwrap());
    caller.get(PATH).await.expect(200);
    hit(&caller, PATH, "canary").await;

    let entity = format!("identity/entity/id/{}", auth["entity_id"].as_str().unwrap());
    root.post(&entity, json!({"disabled": true})).await.expect(204);
    refused_within_the_bound(&caller).await;
}

#[tokio::test]
async fn rights_taken_away_through_vaultlet_are_gone_at_once() {
    let world = World::new(json!({"policy": {"refresh": "1h"}})).await;
    world.put("watched", "canary").await;
    let root = world.caller("root");
    let deny = json!({"policy": r#"path "secret/data/watched" { capabilities = ["deny"] }"#});

    for how in ["policy", "legacy policy", "revoke", "accessor", "self"] {
        world.policy("reader", crate::world::READER).await;
        root.post("sys/policies/acl/reader", json!({"policy": crate::world::READER}))
            .await
            .expect(204);
        let made =
            root.post("auth/token/create", json!({"policies": ["reader"]})).await.expect(200);
        let auth: Value = made.json()["auth"].clone();
        let (token, accessor) = (&auth["client_token"], &auth["accessor"]);
        let caller = world.caller(token.as_str().unwrap());
        caller.get(PATH).await.expect(200);
        hit(&caller, PATH, "canary").await;
        let done = match how {
            "policy" => root.post("sys/policies/acl/reader", deny.clone()).await,
            "legacy policy" => root.post("sys/policy/reader", deny.clone()).await,
            "revoke" => root.post("auth/token/revoke", json!({"token": token})).await,
            "accessor" => {
                root.post("auth/token/revoke-accessor", json!({"accessor": accessor})).await
            }
            _ => caller.post("auth/token/revoke-self", json!({})).await,
        };
        done.expect(204);
        let answer = caller.get(PATH).await;
        assert_eq!(answer.status, 403, "{how}: {answer:?}");
    }
}

#[tokio::test]
async fn rights_given_through_vaultlet_are_there_at_once() {
    let world = World::new(json!({"policy": {"refresh": "1h"}})).await;
    world.put("watched", "canary").await;
    world.policy("growing", r#"path "none" { capabilities = ["read"] }"#).await;
    let caller = world.caller_with(&["growing"]).await;
    caller.get(PATH).await.expect(403);
    caller.get(PATH).await.expect(403);

    let allow = json!({"policy": crate::world::READER});
    world.caller("root").post("sys/policies/acl/growing", allow).await.expect(204);
    caller.get(PATH).await.expect(200);
}
