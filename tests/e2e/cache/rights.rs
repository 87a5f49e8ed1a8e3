//! Does each of the things that a hit needs decide by itself, where the others say yes?

use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::client::Call;
use crate::world::{World, fresh, hit};

const PATH: &str = "secret/data/watched";
const NOTHING: &str = r#"path "secret/data/other" { capabilities = ["read"] }"#;

async fn watched(refresh: &str) -> World {
    let settings = json!({"policy": {"refresh": refresh}, "cache": {"kv": {"ttl": "1h"}}});
    let world = World::new(settings).await;
    world.put("watched", "canary").await;
    world
}

fn anew() -> Call {
    Call::get(PATH).with("Cache-Control", "no-cache")
}

/// Nobody comes by before the window is over, so nothing is renewed ahead of it.
#[tokio::test]
async fn a_proof_ends_with_its_window() {
    let world = watched("1s").await;
    let caller = world.caller_with(&["reader"]).await;
    caller.get(PATH).await.expect(200);
    hit(&caller, PATH, "canary").await;

    world.policy("reader", NOTHING).await;
    sleep(Duration::from_millis(1300)).await;
    caller.get(PATH).await.expect(403);
}

#[tokio::test]
async fn a_login_ends_with_its_window_whatever_others_have_proven() {
    let world = watched("1s").await;
    let token = world.token(&["reader"]).await;
    let (caller, other) = (world.caller(&token), world.caller_with(&["reader"]).await);
    caller.get(PATH).await.expect(200);
    hit(&caller, PATH, "canary").await;

    world.server().post("auth/token/revoke", json!({"token": token})).await.expect(204);
    sleep(Duration::from_millis(1300)).await;
    other.send(&anew()).await.expect(200);
    hit(&other, PATH, "canary").await;
    caller.get(PATH).await.expect(403);
}

#[tokio::test]
async fn one_refusal_counts_for_the_whole_class() {
    let world = watched("1h").await;
    let (caller, other) =
        (world.caller_with(&["reader"]).await, world.caller_with(&["reader"]).await);
    for caller in [&caller, &other] {
        caller.get(PATH).await.expect(200);
        hit(caller, PATH, "canary").await;
    }

    world.policy("reader", NOTHING).await;
    hit(&caller, PATH, "canary").await;
    other.send(&anew()).await.expect(403);
    caller.get(PATH).await.expect(403);
}

#[tokio::test]
async fn a_refused_token_is_looked_up_again() {
    let world = watched("1h").await;
    let token = world.token(&["reader"]).await;
    let (caller, other) = (world.caller(&token), world.caller_with(&["reader"]).await);
    for caller in [&caller, &other] {
        caller.get(PATH).await.expect(200);
        hit(caller, PATH, "canary").await;
    }

    world.server().post("auth/token/revoke", json!({"token": token})).await.expect(204);
    caller.send(&anew()).await.expect(403);
    // The refusal took the class's proof; another of the class brings it back.
    fresh(&other.get(PATH).await, "canary");
    hit(&other, PATH, "canary").await;
    caller.get(PATH).await.expect(403);
}

#[tokio::test]
async fn a_parent_that_revokes_itself_takes_its_children_along() {
    let world = watched("1h").await;
    let parent = world.caller_with(&["root"]).await;
    let made = parent.post("auth/token/create", json!({"policies": ["reader"]})).await.expect(200);
    let child = made.json()["auth"]["client_token"].as_str().unwrap().to_owned();
    let child = world.caller(&child);
    child.get(PATH).await.expect(200);
    hit(&child, PATH, "canary").await;

    parent.post("auth/token/revoke-self", json!({})).await.expect(204);
    child.get(PATH).await.expect(403);
}
