//! The upstream is killed, frozen, sealed, or comes back as another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{short_lived, stale, warm};
use crate::bao::Bao;
use crate::client::Call;
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{World, hit, is_hit, prepare, put, reads, token};

const PATH: &str = "secret/data/kept";
/// A little longer than the entries of these tests live.
const PAST_TTL: Duration = Duration::from_millis(1300);

async fn kept(bao: Bao, more: serde_json::Value) -> World {
    let world = World::before(bao, short_lived(more)).await;
    world.put("kept", "survivor").await;
    world.put("unread", "unread").await;
    world
}

#[tokio::test]
async fn cached_reads_go_on_without_the_server_and_nothing_else_does() {
    let mut world = kept(Bao::on_disk().await, json!({})).await;
    let token = world.token(&["reader"]).await;
    let caller = world.caller(&token);
    let second = world.caller_with(&["reader"]).await;
    let other_class = world.caller_with(&["reader", "writer"]).await;
    let stranger = world.caller_with(&["default"]).await;
    other_class.get("secret/data/unread").await.expect(200);
    stranger.get(PATH).await.expect(403);
    warm(&caller, PATH, "survivor").await;
    hit(&second, PATH, "survivor").await;

    world.bao.kill().await;
    hit(&caller, PATH, "survivor").await;
    sleep(PAST_TTL).await;
    for _ in 0..20 {
        stale(&caller.get(PATH).await, "survivor");
    }
    stale(&second.get(PATH).await, "survivor");

    let unproven = [
        (&caller, Call::get("secret/data/never-read")),
        (&caller, Call::get("sys/mounts")),
        (&caller, Call::new("POST", PATH).json(&json!({"data": {"value": "x"}}))),
        // Neither this class nor this token has shown that it may read the entry.
        (&other_class, Call::get(PATH)),
        (&stranger, Call::get(PATH)),
        (&world.caller("s.unknownunknownunknownunk"), Call::get(PATH)),
        (&caller, Call::get(PATH).with("X-Vault-Wrap-TTL", "60")),
    ];
    for (caller, call) in unproven {
        let began = Instant::now();
        let answer = caller.send(&call).await;
        assert!(answer.value().is_none(), "{call:?}: {answer:?}");
        answer.expect_own_error(&[502, 503, 504]);
        assert!(began.elapsed() < Duration::from_secs(2), "{call:?} took {:?}", began.elapsed());
    }
    // What never left the node has changed nothing.
    for path in ["sys/mounts/x", "identity/entity", "auth/token/revoke-self", "auth/token/revoke"] {
        let call = Call::new("POST", path).json(&json!({}));
        world.vaultlet.client().send(&call).await.expect_own_error(&[502, 503]);
    }
    stale(&caller.get(PATH).await, "survivor");

    world.bao.restart().await;
    let began = Instant::now();
    while caller.get("secret/data/unread").await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "not back after {:?}", began.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    world.put("kept", "newer").await;
    sleep(PAST_TTL).await;
    reads(&caller.get(PATH).await, "newer");
}

#[tokio::test]
async fn an_outage_longer_than_the_window_does_not_take_rights_away() {
    let mut world = kept(Bao::dev().await, json!({"policy": {"refresh": "1s"}})).await;
    let caller = world.caller_with(&["reader"]).await;
    warm(&caller, PATH, "survivor").await;

    world.bao.kill().await;
    for _ in 0..8 {
        sleep(Duration::from_millis(500)).await;
        hit(&caller, PATH, "survivor").await;
    }
}

#[tokio::test]
async fn what_never_reached_the_server_changes_nothing() {
    let mut world = kept(Bao::dev().await, json!({})).await;
    let caller = world.caller_with(&["reader"]).await;
    warm(&caller, PATH, "survivor").await;

    world.bao.kill().await;
    sleep(PAST_TTL).await;
    let writes = ["sys/policies/acl/x", "auth/token/revoke", "identity/entity", PATH];
    for path in writes {
        let post = Call::new("POST", path).json(&json!({}));
        world.vaultlet.client().send(&post).await.expect_own_error(&[502, 503, 504]);
        stale(&caller.get(PATH).await, "survivor");
    }
}

#[tokio::test]
async fn stale_service_ends_when_configured() {
    let rule = json!({"cache": {"kv": {"stale_if_error": "2s"}}});
    let mut world = kept(Bao::dev().await, rule).await;
    let caller = world.caller_with(&["reader"]).await;
    warm(&caller, PATH, "survivor").await;

    world.bao.kill().await;
    sleep(PAST_TTL).await;
    stale(&caller.get(PATH).await, "survivor");
    sleep(Duration::from_millis(2200)).await;
    caller.get(PATH).await.expect_own_error(&[502, 503, 504]);
}

#[tokio::test]
async fn a_frozen_server_is_waited_for_no_longer_than_configured() {
    let world = kept(Bao::dev().await, json!({})).await;
    let caller = world.caller_with(&["reader"]).await;
    warm(&caller, PATH, "survivor").await;

    world.bao.freeze();
    let timed = async |path: &str| {
        let began = Instant::now();
        let answer = caller.get(path).await;
        (answer, began.elapsed())
    };
    let (answer, took) = timed(PATH).await;
    is_hit(&answer, "survivor");
    assert!(took < Duration::from_millis(500), "a hit took {took:?}");
    let (answer, took) = timed("secret/data/unread").await;
    answer.expect_own_error(&[502, 503, 504]);
    // `timeout` is 3 s here, retries included.
    assert!(took < Duration::from_millis(4500), "an error took {took:?}");
    let (answer, took) = timed(PATH).await;
    stale(&answer, "survivor");
    assert!(took < Duration::from_millis(4500), "a stale answer took {took:?}");

    world.bao.thaw();
    let began = Instant::now();
    while caller.get("secret/data/unread").await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "not back after {:?}", began.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_sealed_server_is_obeyed() {
    let world = kept(Bao::on_disk().await, json!({})).await;
    let caller = world.caller_with(&["reader"]).await;
    warm(&caller, PATH, "survivor").await;

    world.bao.seal().await;
    sleep(PAST_TTL).await;
    for path in [PATH, "secret/data/unread"] {
        let answer = caller.get(path).await.expect(503);
        assert!(answer.value().is_none(), "{answer:?}");
        assert!(answer.json()["errors"].is_array(), "{answer:?}");
    }

    world.bao.unseal().await;
    let began = Instant::now();
    while caller.get(PATH).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "not back after {:?}", began.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_sealed_server_can_be_outlived_where_the_operator_says_so() {
    let settings = json!({"cache": {"kv": {"stale_if_sealed": "1h"}}});
    let world = kept(Bao::on_disk().await, settings).await;
    let caller = world.caller_with(&["reader"]).await;
    warm(&caller, PATH, "survivor").await;

    world.bao.seal().await;
    sleep(PAST_TTL).await;
    hit(&caller, PATH, "survivor").await;
    caller.get("secret/data/unread").await.expect(503);
}

#[tokio::test]
async fn another_cluster_at_the_same_address_gets_nothing_of_the_first() {
    let long = json!({"cache": {"kv": {"ttl": "1h"}}, "policy": {"refresh": "1h"}});
    let mut world = kept(Bao::dev().await, long).await;
    // The root token is the same in both; only `cluster_id` tells them apart.
    let root = world.caller("root");
    warm(&root, PATH, "survivor").await;

    world.bao.restart().await;
    let began = Instant::now();
    while root.get(PATH).await.status == 200 {
        assert!(began.elapsed() < Duration::from_secs(6), "the first cluster's secret is served");
        sleep(Duration::from_millis(100)).await;
    }
    root.get(PATH).await.expect(404);
    let changes = world.vaultlet.metric("vaultlet_upstream_cluster_changes_total", &[]).await;
    assert!((changes - 1.0).abs() < 0.5, "{changes}");
    let said = "the upstream is another cluster than before: forgetting all of it";
    assert_eq!(world.vaultlet.events(said).len(), 1);
    let written = json!({"data": {"value": "second cluster"}});
    root.post(PATH, written).await.expect(200);
    reads(&root.get(PATH).await, "second cluster");
}

#[tokio::test]
async fn a_restart_with_the_same_data_keeps_the_cache() {
    let long = json!({"cache": {"kv": {"ttl": "1h"}}});
    let mut world = kept(Bao::on_disk().await, long).await;
    let caller = world.caller_with(&["reader"]).await;
    warm(&caller, PATH, "survivor").await;

    world.bao.restart().await;
    sleep(Duration::from_secs(6)).await;
    hit(&caller, PATH, "survivor").await;
}

#[tokio::test]
async fn what_was_read_last_is_what_is_served_however_late_it_came() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "kept", "first").await.expect(200);
    let (late, gone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (its_late, its_gone) = (Arc::clone(&late), Arc::clone(&gone));
    let stub = Stub::before(&bao.address(), move |seen| {
        let reads = seen.target == "/v1/secret/data/kept";
        match () {
            () if its_gone.load(Ordering::SeqCst) => Reply::Reset,
            () if reads && its_late.load(Ordering::SeqCst) => Reply::ForwardThenWait(PAST_TTL),
            () => Reply::Forward,
        }
    })
    .await;
    let vaultlet = Vaultlet::start(&stub.address(), short_lived(json!({}))).await;
    let caller =
        vaultlet.client().token(&token(&bao.root(), json!({"policies": ["reader"]})).await);
    warm(&caller, PATH, "first").await;
    put(&bao.root(), "kept", "second").await.expect(200);
    sleep(PAST_TTL).await;

    // It has lived its whole time by the time it is here.
    late.store(true, Ordering::SeqCst);
    reads(&caller.get(PATH).await, "second");
    gone.store(true, Ordering::SeqCst);

    stale(&caller.get(PATH).await, "second");
}
