//! When does an answer end that the server itself gave an end, or that says "not there"?

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::world::{World, cached, fresh, hit, reads};

#[tokio::test]
async fn a_version_with_a_death_date_is_not_served_past_it() {
    let world = World::new(json!({})).await;
    let metadata = json!({"delete_version_after": "3s"});
    world.server().post("secret/metadata/dying", metadata).await.expect(204);
    let (first, second) =
        (world.caller_with(&["reader"]).await, world.caller_with(&["reader"]).await);
    let written = Instant::now();
    world.put("dying", "alive").await;

    first.get("secret/data/dying").await.expect(200);
    hit(&second, "secret/data/dying", "alive").await;
    while written.elapsed() < Duration::from_millis(4500) {
        let answer = second.get("secret/data/dying").await;
        let age = written.elapsed();
        if answer.status == 200 {
            // Half a second is the clock of the server against ours, in whole-second TTLs.
            assert!(age < Duration::from_millis(3500), "served {age:?} after it was written");
        }
        sleep(Duration::from_millis(50)).await;
    }
    let answer = first.get("secret/data/dying").await.expect(404);
    let truth = world.server().get("secret/data/dying").await.expect(404);
    assert_eq!(answer.json()["data"], truth.json()["data"]);
}

#[tokio::test]
async fn the_ttl_in_a_kv_v1_secret_bounds_its_entry() {
    let world = World::new(json!({})).await;
    let root = world.server();
    let (first, second) =
        (world.caller_with(&["reader"]).await, world.caller_with(&["reader"]).await);
    root.post("kv1/short", json!({"value": "old", "ttl": "2s"})).await.expect(204);
    first.get("kv1/short").await.expect(200);
    hit(&second, "kv1/short", "old").await;
    root.post("kv1/short", json!({"value": "new", "ttl": "2s"})).await.expect(204);

    sleep(Duration::from_millis(2200)).await;
    reads(&first.get("kv1/short").await, "new");
}

#[tokio::test]
async fn a_deleted_version_is_remembered_with_its_body() {
    let world = World::new(json!({"cache": {"kv": {"negative_ttl": "20s"}}})).await;

    deleted_versions(&world).await;
}

/// Also run against the oldest supported server.
pub async fn deleted_versions(world: &World) {
    world.put("gone", "one").await;
    let root = world.server();
    root.delete("secret/data/gone").await.expect(204);
    let truth = root.get("secret/data/gone").await.expect(404).json();
    let (first, second) =
        (world.caller_with(&["reader"]).await, world.caller_with(&["reader"]).await);

    for caller in [&first, &second, &first] {
        let answer = caller.get("secret/data/gone").await.expect(404);
        assert_eq!(answer.json()["data"], truth["data"], "{answer:?}");
    }
    cached(&second, "secret/data/gone").await;
    let writer = world.caller_with(&["writer"]).await;
    writer.post("secret/undelete/gone", json!({"versions": [1]})).await.expect(204);
    reads(&first.get("secret/data/gone").await, "one");
}

#[tokio::test]
async fn a_missing_key_is_remembered_until_it_is_written() {
    let world = World::new(json!({"cache": {"kv": {"negative_ttl": "20s"}}})).await;
    let reader = world.caller_with(&["reader"]).await;
    let writer = world.caller_with(&["writer"]).await;

    for (path, body) in [
        ("secret/data/missing", json!({"data": {"value": "now"}})),
        ("kv1/missing", json!({"value": "now"})),
    ] {
        let miss = reader.get(path).await.expect(404);
        assert_eq!(miss.cache(), "MISS", "{path}");
        for answer in [miss, cached(&reader, path).await] {
            assert_eq!(answer.expect(404).json(), json!({"errors": []}));
        }
        let status = writer.post(path, body).await.status;
        assert!(status == 200 || status == 204, "{path}: {status}");
        reads(&reader.get(path).await, "now");
    }
}

#[tokio::test]
async fn a_missing_key_is_forgotten_after_its_own_short_time() {
    let world = World::new(json!({"cache": {"kv": {"negative_ttl": "1s"}}})).await;
    let reader = world.caller_with(&["reader"]).await;
    reader.get("secret/data/missing").await.expect(404);
    world.put("missing", "now").await;

    sleep(Duration::from_millis(1200)).await;
    reads(&reader.get("secret/data/missing").await, "now");
}

#[tokio::test]
async fn a_hot_entry_is_refreshed_before_it_ends_and_nobody_waits() {
    let ttl = json!({"cache": {"kv": {"ttl": "4s", "refresh_ahead": 0.5}}});
    let world = World::new(ttl).await;
    world.put("hot", "old").await;
    let reader = world.caller_with(&["reader"]).await;
    fresh(&reader.get("secret/data/hot").await, "old");
    hit(&reader, "secret/data/hot", "old").await;
    let filled = Instant::now();
    world.put("hot", "new").await;

    // Asked every 50 ms, each answer must be a hit, and the new value must come before the old
    // one has ended.
    let mut oldest = 0;
    loop {
        let answer = reader.get("secret/data/hot").await.expect(200);
        assert_eq!(answer.cache(), "HIT", "somebody waited: {answer:?}");
        let age: u64 = answer.header("age").unwrap().parse().unwrap();
        if answer.value().as_deref() == Some("new") {
            assert!(age < oldest, "the age did not fall: {oldest} s, then {age} s");
            break;
        }
        oldest = oldest.max(age);
        assert!(filled.elapsed() < Duration::from_millis(3900), "not refreshed ahead");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_entry_past_its_time_is_fetched_anew_and_the_answer_says_so() {
    let world = World::new(json!({"cache": {"kv": {"ttl": "1s", "refresh_ahead": 1}}})).await;
    world.put("old", "one").await;
    let caller = world.caller_with(&["reader"]).await;
    caller.get("secret/data/old").await.expect(200);
    hit(&caller, "secret/data/old", "one").await;
    world.put("old", "two").await;
    sleep(Duration::from_millis(1100)).await;

    let renewed = caller.get("secret/data/old").await;

    reads(&renewed, "two");
    assert_eq!(renewed.cache(), "MISS");
    assert_eq!(renewed.header("cache-status"), Some("vaultlet; fwd=stale"), "{renewed:?}");
}
