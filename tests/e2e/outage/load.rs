//! More is asked than the upstream may be asked at once.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bao::Bao;
use crate::client::Call;
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{World, hit, prepare, put, reads};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_bound_requests_wait_and_past_the_queue_they_are_shed() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "hot", "hot").await.expect(200);
    for number in 0..20 {
        put(&bao.root(), &format!("slow/{number}"), "slow").await.expect(200);
    }
    let stub = Stub::before(&bao.address(), |seen| {
        if seen.target.starts_with("/v1/secret/data/slow/") {
            Reply::ForwardAfter(Duration::from_secs(1))
        } else {
            Reply::Forward
        }
    })
    .await;
    let settings = json!({"upstream": {"max_in_flight": 2, "max_queue": 4, "retries": 0}});
    let vaultlet = Vaultlet::start(&stub.address(), settings).await;
    let root = vaultlet.client().token("root");
    reads(&root.get("secret/data/hot").await, "hot");
    // The token has been looked up by now, so that the places are the readers' alone.
    hit(&root, "secret/data/hot", "hot").await;

    let mut asking = JoinSet::new();
    for number in 0..20 {
        let root = root.clone();
        asking.spawn(async move { root.get(&format!("secret/data/slow/{number}")).await });
    }
    sleep(Duration::from_millis(300)).await;
    // What needs no upstream is served all the while.
    hit(&root, "secret/data/hot", "hot").await;

    let answers = asking.join_all().await;
    let served = answers.iter().filter(|answer| answer.value().as_deref() == Some("slow")).count();
    let shed: Vec<_> = answers.into_iter().filter(|answer| answer.status != 200).collect();
    assert_eq!(served + shed.len(), 20);
    assert!((6..=8).contains(&served), "{served} were served, 2 at once and 4 in the queue");
    for answer in shed {
        let answer = answer.expect_own_error(&[503]);
        let after: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
    }
    assert!(vaultlet.metric("vaultlet_shed_requests_total", &[]).await >= 12.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_upstream_full_of_requests_keeps_nobody_waiting() {
    let settings = json!({
        "upstream": {"max_in_flight": 2, "timeout": "60s"},
        "cache": {"kv": {"ttl": "1s"}},
    });
    let world = World::new(settings).await;
    world.put("kept", "survivor").await;
    let caller = world.caller_with(&["reader"]).await;
    reads(&caller.get("secret/data/kept").await, "survivor");
    hit(&caller, "secret/data/kept", "survivor").await;

    world.bao.freeze();
    let mut hung = JoinSet::new();
    for _ in 0..2 {
        let caller = caller.clone();
        hung.spawn(async move { caller.send(&Call::get("sys/mounts")).await });
    }
    // Two places, two requests that will not be answered; and the health check has seen it.
    sleep(Duration::from_secs(6)).await;
    let began = Instant::now();
    let answer = caller.get("secret/data/kept").await;
    crate::world::is_hit(&answer, "survivor");
    assert!(began.elapsed() < Duration::from_secs(1), "took {:?}", began.elapsed());
    hung.shutdown().await;
    world.bao.thaw();
}
