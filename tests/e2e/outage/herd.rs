//! How much is asked of an upstream that turns requests away, or has just come back?

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::warm;
use crate::bao::Bao;
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{is_hit, prepare, put, reads};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_kept_to_and_what_is_kept_is_served() {
    const KEYS: usize = 60;
    const QUOTA: usize = 20;
    const SECONDS: usize = 8;
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    for number in 0..KEYS {
        put(&bao.root(), &format!("hot/{number}"), "right").await.expect(200);
    }
    let counting = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let (on, count) = (counting.clone(), asked.clone());
    let stub = Stub::before(&bao.address(), move |seen| {
        if on.load(Ordering::SeqCst) && !seen.target.starts_with("/v1/sys/health") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Reply::Forward
    })
    .await;
    let settings = json!({"cache": {"kv": {"ttl": "1s"}}});
    let vaultlet = Vaultlet::start(&stub.address(), settings).await;
    let root = vaultlet.client().token("root");
    for number in 0..KEYS {
        warm(&root, &format!("secret/data/hot/{number}"), "right").await;
    }
    let quota = json!({"rate": QUOTA, "path": "secret/"});
    bao.root().post("sys/quotas/rate-limit/tight", quota).await.expect(204);

    counting.store(true, Ordering::SeqCst);
    let end = Instant::now() + Duration::from_secs(SECONDS as u64);
    let mut readers = JoinSet::new();
    for reader in 0..4 {
        let root = vaultlet.client().token("root");
        readers.spawn(async move {
            let mut number = reader;
            while Instant::now() < end {
                number += 1;
                let path = format!("secret/data/hot/{}", number % KEYS);
                reads(&root.get(&path).await, "right");
                sleep(Duration::from_millis(2)).await;
            }
        });
    }
    readers.join_all().await;
    let asked = asked.load(Ordering::SeqCst);
    // A tenth of it at least, or the limit was never felt.
    assert!(asked > QUOTA * SECONDS / 10, "{asked} requests in {SECONDS} s");
    assert!(asked <= QUOTA * SECONDS * 12 / 10, "{asked} requests in {SECONDS} s");
    assert!(vaultlet.metric("vaultlet_stale_responses_total", &[]).await > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_after_an_outage_is_asked_for_at_a_rate() {
    const KEYS: usize = 400;
    const RATE: usize = 40;
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    for number in 0..KEYS {
        put(&bao.root(), &format!("hot/{number}"), "right").await.expect(200);
    }
    put(&bao.root(), "cold", "cold").await.expect(200);
    let gone = Arc::new(AtomicBool::new(false));
    let asked = Arc::<Mutex<Vec<Instant>>>::default();
    let (now, log) = (gone.clone(), asked.clone());
    let stub = Stub::before(&bao.address(), move |seen| {
        if now.load(Ordering::SeqCst) {
            return Reply::Reset;
        }
        if !seen.target.starts_with("/v1/sys/health") {
            log.lock().unwrap().push(Instant::now());
        }
        Reply::Forward
    })
    .await;
    let settings = json!({
        "upstream": {"recovery_rate": RATE},
        "cache": {"kv": {"ttl": "1s"}},
    });
    let vaultlet = Vaultlet::start(&stub.address(), settings).await;
    let root = vaultlet.client().token("root");
    for number in 0..KEYS {
        reads(&root.get(&format!("secret/data/hot/{number}")).await, "right");
    }

    gone.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(5)).await;
    is_hit(&root.get("secret/data/hot/0").await, "right");
    asked.lock().unwrap().clear();
    gone.store(false, Ordering::SeqCst);
    let back = Instant::now();
    while root.get("secret/data/cold").await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(10), "not back after {:?}", back.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    // All of it is asked for, again and again, and nobody goes without.
    let end = Instant::now() + Duration::from_secs(5);
    let mut readers = JoinSet::new();
    for reader in 0..8 {
        let root = vaultlet.client().token("root");
        readers.spawn(async move {
            let mut number = reader * KEYS / 8;
            let mut served = 0;
            while Instant::now() < end {
                number += 1;
                let path = format!("secret/data/hot/{}", number % KEYS);
                reads(&root.get(&path).await, "right");
                served += 1;
                sleep(Duration::from_millis(2)).await;
            }
            served
        });
    }
    let served: usize = readers.join_all().await.into_iter().sum();
    let asked = asked.lock().unwrap().clone();
    let busiest = asked.iter().map(|from| {
        let second = *from..*from + Duration::from_secs(1);
        asked.iter().filter(|at| second.contains(at)).count()
    });
    let busiest = busiest.max().unwrap();
    assert!(busiest <= RATE + 2, "{busiest} in one second, of {} in all", asked.len());
    assert!(asked.len() > 2 * RATE, "only {} were asked for", asked.len());
    assert!(served > 2 * asked.len(), "{served} were served, {} asked for", asked.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_comes_and_goes_is_not_stormed() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "hot", "right").await.expect(200);
    let (began, asked) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    // Two seconds there, two seconds not, and well all the while if one asks for its health.
    let there = move || began.elapsed().as_secs() / 2 % 2 == 0;
    let count = asked.clone();
    let stub = Stub::before(&bao.address(), move |seen| {
        if there() || !seen.target.starts_with("/v1/secret/") {
            return Reply::Forward;
        }
        count.fetch_add(1, Ordering::SeqCst);
        Reply::Reset
    })
    .await;
    let retries = json!({"upstream": {"retries": 10}});
    let vaultlet = Vaultlet::start(&stub.address(), retries).await;
    let root = vaultlet.client().token("root");
    while root.get("secret/data/hot").await.status != 200 {
        sleep(Duration::from_millis(50)).await;
    }

    let end = Instant::now() + Duration::from_secs(9);
    let anew = crate::client::Call::get("secret/data/hot").with("Cache-Control", "no-cache");
    let (mut offered, mut served) = (0, 0);
    while Instant::now() < end {
        offered += usize::from(!there());
        served += usize::from(root.send(&anew).await.status == 200);
        sleep(Duration::from_millis(5)).await;
    }
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked > 0 && asked <= 2 * offered, "asked {asked} times in vain for {offered}");
    assert!(served > 0, "none was served");
}
