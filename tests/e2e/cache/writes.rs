//! Does everyone see a write at once that went through vaultlet?

use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::world::{World, cached, hit};

/// Every way to change what a read of `secret/data/seen` gives; `{}` is the key.
fn changes() -> Vec<Call> {
    let post = |path: &str, body: Value| Call::new("POST", path).json(&body);
    let value = |value: &str| json!({"data": {"value": value}});
    let patch = Call::new("PATCH", "secret/data/seen").json(&value("patched"));
    vec![
        post("secret/data/seen", value("posted")),
        Call::new("PUT", "secret/data/seen").json(&value("put")),
        post("secret/data/seen", json!({"data": {"value": "cas"}, "options": {"cas": 4}})),
        patch.with("Content-Type", "application/merge-patch+json"),
        Call::new("DELETE", "secret/data/seen"),
        post("secret/undelete/seen", json!({"versions": [6]})),
        post("secret/delete/seen", json!({"versions": ["6"]})),
        Call::new("PUT", "secret/undelete/seen").json(&json!({"versions": [6]})),
        post("secret/destroy/seen", json!({"versions": [1, 6]})),
        post("secret/data/seen", value("again")),
        post("secret/metadata/seen", json!({"custom_metadata": {"owner": "team"}})),
        post("secret/metadata/seen", json!({"max_versions": 1})),
        post("secret/data/seen", value("with a wrapped answer")).with("X-Vault-Wrap-TTL", "60"),
        post("secret/data%2fseen", value("through an encoded slash")),
        post("secret/%64ata/seen", value("through an encoded letter")),
        // The server cleans these keys for its metadata, though not for its policies.
        post("secret/delete/seen%2F", json!({"versions": [11]})),
        Call::new("DELETE", "secret/metadata/seen"),
        post("secret/data/seen", value("after all versions went")),
        Call::new("DELETE", "secret/metadata/seen/"),
        post("secret/data/seen", value("last")),
    ]
}

#[tokio::test]
async fn every_write_is_seen_at_once_by_the_other_caller() {
    let world = World::new(json!({"cache": {"kv": {"negative_ttl": "60s", "ttl": "1h"}}})).await;

    every_write_is_seen(&world).await;
}

/// Also run against the oldest supported server.
pub async fn every_write_is_seen(world: &World) {
    for value in ["one", "two"] {
        world.put("seen", value).await;
    }
    let reader = world.caller_with(&["reader"]).await;
    let other = world.caller_with(&["reader"]).await;
    let writer = world.caller("root");
    let mut hits = 0;

    for call in changes() {
        hits += warm(&reader, &other).await;
        let done = writer.send(&call).await;
        for path in READS {
            let answer = other.get(path).await;
            let truth = world.server().get(path).await;
            let context = format!("{} {} ({}): {path}", call.method, call.target, done.status);
            same(&answer.json(), &truth.json(), &context);
            assert_eq!(answer.status, truth.status, "{context}");
        }
    }
    // Otherwise this test would pass without a cache.
    assert!(hits >= changes().len() * 2, "only {hits} reads were hits");
}

const READS: [&str; 6] = [
    "secret/data/seen",
    "secret/data/seen?version=1",
    "secret/data/seen?version=2",
    "secret/metadata/seen",
    "secret/subkeys/seen",
    "secret/metadata?list=true",
];

/// Reads everything until it is warm; how many of the last reads were hits.
async fn warm(first: &Client, second: &Client) -> usize {
    let mut hits = 0;
    for path in READS {
        first.get(path).await;
        // The second may find the answer still on its way into the cache.
        second.get(path).await;
        hits += usize::from(second.get(path).await.cache() == "HIT");
    }
    hits
}

#[track_caller]
fn same(answer: &Value, truth: &Value, context: &str) {
    let without_id = |body: &Value| {
        let mut body = body.clone();
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    assert_eq!(without_id(answer), without_id(truth), "{context}");
}

#[tokio::test]
async fn every_kv_v1_write_is_seen_at_once() {
    let world = World::new(json!({"cache": {"kv": {"negative_ttl": "60s"}}})).await;
    let reader = world.caller_with(&["reader"]).await;
    let writer = world.caller_with(&["writer"]).await;
    let put = |value: &str| Call::new("PUT", "kv1/seen").json(&json!({"value": value}));

    for call in [put("one"), put("two"), Call::new("DELETE", "kv1/seen"), put("three")] {
        reader.get("kv1/seen").await;
        cached(&reader, "kv1/seen").await;
        writer.send(&call).await.expect(204);
        let (answer, truth) = (reader.get("kv1/seen").await, world.server().get("kv1/seen").await);
        assert_eq!(answer.value(), truth.value(), "{call:?}");
        assert_eq!(answer.status, truth.status, "{call:?}");
    }
}

#[tokio::test]
async fn a_mount_that_goes_takes_its_entries_along() {
    let world = World::new(json!({})).await;
    world.put("seen", "before").await;
    let root = world.caller("root");
    root.get("secret/data/seen").await;
    hit(&root, "secret/data/seen", "before").await;

    root.delete("sys/mounts/secret").await.expect(204);
    root.get("secret/data/seen").await.expect(404);
    let mount = json!({"type": "kv", "options": {"version": "1"}});
    root.post("sys/mounts/secret", mount).await.expect(204);
    root.get("secret/data/seen").await.expect(404);
    root.post("secret/data/seen", json!({"value": "another store"})).await.expect(204);
    let answer = root.get("secret/data/seen").await.expect(200);
    assert_eq!(answer.json()["data"]["value"], "another store");

    let body = json!({"from": "secret", "to": "elsewhere"});
    root.post("sys/remount", body).await.expect(200);
    for _ in 0..200 {
        if world.server().get("elsewhere/data/seen").await.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    root.get("secret/data/seen").await.expect(404);
    root.get("elsewhere/data/seen").await.expect(200);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_may_have_happened() {
    use crate::stub::{Reply, Stub};
    let bao = crate::bao::Bao::dev().await;
    crate::world::prepare(&bao.root()).await;
    crate::world::put(&bao.root(), "seen", "old").await.expect(200);
    let target = bao.address();
    // The write reaches the server through here; its answer is thrown away.
    let stub = Stub::before(&target, |seen| {
        if seen.method == "POST" && seen.target == "/v1/secret/data/seen" {
            Reply::ForwardWithoutAnswer
        } else {
            Reply::Forward
        }
    })
    .await;
    let vaultlet = crate::vaultlet::Vaultlet::start(&stub.address(), json!({})).await;
    let root = vaultlet.client().token("root");
    root.get("secret/data/seen").await;
    hit(&root, "secret/data/seen", "old").await;

    let lost = root.post("secret/data/seen", json!({"data": {"value": "new"}})).await;
    lost.expect_own_error(&[502, 503, 504]);
    let truth = bao.root().get("secret/data/seen").await.value();
    assert_eq!(truth.as_deref(), Some("new"), "the stub must have passed the write on");
    assert_eq!(root.get("secret/data/seen").await.value(), truth);
    assert_eq!(stub.count("POST", "/v1/secret/data/seen"), 1, "a write is never retried");
}

#[tokio::test]
async fn a_refused_write_takes_nothing_out_of_the_cache() {
    let world = World::new(json!({})).await;
    world.put("app", "one").await;
    let caller = world.caller_with(&["reader"]).await;
    caller.get("secret/data/app").await.expect(200);
    hit(&caller, "secret/data/app", "one").await;

    let write = Call::new("POST", "secret/data/app").json(&json!({"data": {"value": "two"}}));
    caller.send(&write).await.expect(403);
    world.vaultlet.client().send(&write).await.expect(403);

    hit(&caller, "secret/data/app", "one").await;
}
