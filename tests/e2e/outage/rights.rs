//! Are rights during an outage a subset of those before it?

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{stale, warm};
use crate::bao::Bao;
use crate::client::Call;
use crate::world::{World, hit, reads};

const PATH: &str = "secret/data/kept";

/// Entries outlive this test; rights are believed for a second, and two more in an outage.
async fn brief() -> World {
    let settings = json!({
        "policy": {"refresh": "1s"},
        "cache": {"kv": {"ttl": "1h", "stale_if_error": "2s"}},
    });
    let world = World::before(Bao::dev().await, settings).await;
    world.put("kept", "survivor").await;
    world.put("other", "other").await;
    world
}

#[tokio::test]
async fn a_login_outlives_its_window_by_the_grace_and_no_more() {
    let mut world = brief().await;
    let caller = world.caller_with(&["reader"]).await;
    let other = world.caller_with(&["reader"]).await;
    for caller in [&caller, &other] {
        warm(caller, PATH, "survivor").await;
    }
    sleep(Duration::from_secs(2)).await;
    // The class's proof is new, the first caller's login is not.
    other.send(&Call::get(PATH).with("Cache-Control", "no-cache")).await.expect(200);

    world.bao.kill().await;
    sleep(Duration::from_millis(300)).await;
    stale(&caller.get(PATH).await, "survivor");
    sleep(Duration::from_secs(1)).await;
    caller.get(PATH).await.expect_own_error(&[502, 503, 504]);
    hit(&other, PATH, "survivor").await;
}

#[tokio::test]
async fn a_proof_outlives_its_window_by_the_grace_and_no_more() {
    let mut world = brief().await;
    let caller = world.caller_with(&["reader"]).await;
    warm(&caller, PATH, "survivor").await;
    sleep(Duration::from_secs(2)).await;
    // The login is new, the proof for this path is not.
    warm(&caller, "secret/data/other", "other").await;

    world.bao.kill().await;
    sleep(Duration::from_millis(300)).await;
    stale(&caller.get(PATH).await, "survivor");
    sleep(Duration::from_secs(1)).await;
    caller.get(PATH).await.expect_own_error(&[502, 503, 504]);
    hit(&caller, "secret/data/other", "other").await;
}

#[tokio::test]
async fn a_login_in_doubt_is_not_believed() {
    let settings = json!({"policy": {"refresh": "1h"}, "cache": {"kv": {"ttl": "1s"}}});
    let mut world = World::before(Bao::dev().await, settings).await;
    world.put("kept", "survivor").await;
    let (token, caller) = (world.token(&["reader"]).await, world.caller_with(&["reader"]).await);
    warm(&caller, PATH, "survivor").await;

    // Which tokens that took along, only the server knows.
    let revoke = json!({"token": token});
    world.caller("root").post("auth/token/revoke", revoke).await.expect(204);
    world.bao.kill().await;
    sleep(Duration::from_millis(1300)).await;
    let answer = caller.get(PATH).await;
    assert!(answer.value().is_none(), "{answer:?}");
    answer.expect_own_error(&[502, 503, 504]);

    // The same without the revocation.
    world.bao.restart().await;
    crate::world::prepare(&world.server()).await;
    world.put("kept", "second").await;
    let caller = world.caller_with(&["reader"]).await;
    while caller.get(PATH).await.status != 200 {
        sleep(Duration::from_millis(100)).await;
    }
    reads(&caller.get(PATH).await, "second");
    hit(&caller, PATH, "second").await;
    world.bao.kill().await;
    sleep(Duration::from_millis(1300)).await;
    stale(&caller.get(PATH).await, "second");
}
