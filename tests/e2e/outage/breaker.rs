//! An address that fails is left alone, others are asked instead, and it is tried again with care.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::warm;
use crate::bao::Bao;
use crate::client::Client;
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{hit, is_hit, prepare, put, reads};

const BREAKER: &str = "vaultlet_upstream_breaker";

/// A server whose secrets cannot be read while it is `broken`, and that says it is well.
struct Scene {
    bao: Bao,
    stub: Stub,
    broken: Arc<AtomicBool>,
}

impl Scene {
    async fn new(fault: fn() -> Reply) -> Self {
        let bao = Bao::dev().await;
        prepare(&bao.root()).await;
        for number in 0..40 {
            put(&bao.root(), &format!("cold/{number}"), "right").await.expect(200);
        }
        put(&bao.root(), "kept", "survivor").await.expect(200);
        let broken = Arc::new(AtomicBool::new(false));
        let now = broken.clone();
        let stub = Stub::before(&bao.address(), move |seen| {
            let fails = now.load(Ordering::SeqCst) && seen.target.starts_with("/v1/secret/");
            if fails { fault() } else { Reply::Forward }
        })
        .await;
        Self { bao, stub, broken }
    }

    fn broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }
}

/// Reads one secret after the other, until nobody is asked for it any more.
async fn until_left_alone(caller: &Client, stub: &Stub) {
    for number in 0..40 {
        let before = stub.count_below("GET", "/v1/secret/");
        let answer = caller.get(&format!("secret/data/cold/{number}")).await;
        let answer = answer.expect_own_error(&[502, 503, 504]);
        if stub.count_below("GET", "/v1/secret/") == before {
            assert_eq!(answer.status, 503, "{answer:?}");
            let after: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
            assert!((1..=5).contains(&after), "{after}");
            return;
        }
    }
    panic!("it is still asked");
}

#[tokio::test]
async fn an_address_that_breaks_off_is_left_alone_and_tried_again() {
    let scene = Scene::new(|| Reply::Reset).await;
    let settings = json!({"cache": {"kv": {"ttl": "1s"}}});
    let vaultlet = Vaultlet::start(&scene.stub.address(), settings).await;
    let root = vaultlet.client().token("root");
    warm(&root, "secret/data/kept", "survivor").await;
    assert!(vaultlet.metric(BREAKER, &[&scene.stub.address()]).await.abs() < 0.5);

    scene.broken(true);
    sleep(Duration::from_millis(1200)).await;
    until_left_alone(&root, &scene.stub).await;
    assert!(vaultlet.metric(BREAKER, &[&scene.stub.address()]).await > 0.5);
    super::stale(&root.get("secret/data/kept").await, "survivor");
    // Nothing else that needs the upstream waits for it, whoever asks for what.
    let began = Instant::now();
    vaultlet.client().token("other").get("sys/mounts").await.expect_own_error(&[503]);
    assert!(began.elapsed() < Duration::from_secs(1), "took {:?}", began.elapsed());

    // Tried again: not by all at once, and for nothing as long as it is broken.
    let before = scene.stub.count_below("GET", "/v1/secret/");
    let began = Instant::now();
    let mut refused = 0;
    while began.elapsed() < Duration::from_secs(6) {
        refused += usize::from(root.get("secret/data/cold/39").await.status == 503);
    }
    let tried = scene.stub.count_below("GET", "/v1/secret/") - before;
    assert!((1..=15).contains(&tried), "asked {tried} times, and {refused} were refused");
    assert!(refused > 10 * tried, "asked {tried} times, and {refused} were refused");

    scene.broken(false);
    let began = Instant::now();
    while vaultlet.metric(BREAKER, &[]).await > 0.5 {
        assert!(began.elapsed() < Duration::from_secs(10), "not back after {:?}", began.elapsed());
        root.get("secret/data/cold/1").await;
        root.get("secret/data/cold/2").await;
        root.get("secret/data/cold/3").await;
        sleep(Duration::from_millis(50)).await;
    }
    reads(&root.get("secret/data/cold/9").await, "right");
    drop(scene.bao);
}

#[tokio::test]
async fn one_callers_failures_are_no_reason_to_leave_others_without() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    let rules = r#"path "secret/*" { capabilities = ["read"] }"#;
    crate::world::policy(&bao.root(), "unlucky", rules).await;
    for number in 0..10 {
        put(&bao.root(), &format!("cold/{number}"), "right").await.expect(200);
    }
    let unlucky = crate::world::token(&bao.root(), json!({"policies": ["unlucky"]})).await;
    let marked = unlucky.clone();
    let stub = Stub::before(&bao.address(), move |seen| {
        let reads = seen.target.starts_with("/v1/secret/");
        if reads && seen.header("x-vault-token") == Some(&marked) {
            Reply::Bytes(crate::stub::json(500, r#"{"errors":["broken for you"]}"#))
        } else {
            Reply::Forward
        }
    })
    .await;
    let vaultlet = Vaultlet::start(&stub.address(), json!({})).await;
    let root = vaultlet.client().token("root");
    reads(&root.get("secret/data/cold/0").await, "right");

    let unlucky = vaultlet.client().token(&unlucky);
    // Its class is known from then on, so that it has a lane.
    unlucky.get("auth/token/lookup-self").await.expect(200);
    let mut own_words = 0;
    for _ in 0..30 {
        let answer = unlucky.get("secret/data/cold/1").await;
        own_words += usize::from(answer.text().contains("broken for you"));
        assert!(answer.status == 500 || answer.status == 503, "{answer:?}");
    }
    assert!((1..=10).contains(&own_words), "{own_words} of 30 were sent on");
    for number in 1..10 {
        reads(&root.get(&format!("secret/data/cold/{number}")).await, "right");
    }
    assert!(vaultlet.metric(BREAKER, &[]).await.abs() < 0.5);
}

async fn before_both(addresses: [String; 2]) -> Vaultlet {
    let upstream = json!({"addresses": addresses, "connect_timeout": "1s"});
    Vaultlet::start("", json!({"upstream": upstream})).await
}

#[tokio::test]
async fn another_address_is_asked_instead() {
    let scene = Scene::new(|| Reply::Reset).await;
    let second = Stub::before(&scene.bao.address(), |_| Reply::Forward).await;
    let vaultlet = before_both([scene.stub.address(), second.address()]).await;
    let root = vaultlet.client().token("root");
    reads(&root.get("secret/data/kept").await, "survivor");
    assert_eq!(second.count_below("GET", "/v1/secret/"), 0);

    scene.broken(true);
    for number in 0..20 {
        reads(&root.get(&format!("secret/data/cold/{number}")).await, "right");
    }
    // Left alone after five failures in a row, and whose token it is may be asked there in between;
    // each of them was made good by a retry at the other.
    let tried = scene.stub.count_below("GET", "/v1/secret/data/cold/");
    assert!((1..=9).contains(&tried), "the broken one was asked {tried} times");
    assert_eq!(second.count_below("GET", "/v1/secret/"), 20);
    hit(&root, "secret/data/cold/1", "right").await;
}

#[tokio::test]
async fn an_address_that_is_slow_is_overtaken() {
    let slow = Arc::new(AtomicUsize::new(0));
    let scene = Scene::new(|| Reply::ForwardAfter(Duration::from_secs(2))).await;
    let counted = slow.clone();
    let second = Stub::before(&scene.bao.address(), move |seen| {
        if seen.target.starts_with("/v1/secret/") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Reply::Forward
    })
    .await;
    let vaultlet = before_both([scene.stub.address(), second.address()]).await;
    let root = vaultlet.client().token("root");
    reads(&root.get("secret/data/kept").await, "survivor");
    // Both have said by now that they are the active one.
    sleep(Duration::from_secs(1)).await;

    scene.broken(true);
    let began = Instant::now();
    reads(&root.get("secret/data/cold/0").await, "right");
    assert!(began.elapsed() < Duration::from_millis(1800), "took {:?}", began.elapsed());
    assert_eq!(slow.load(Ordering::SeqCst), 1);

    // Not more often than the budget of retries allows, whatever is asked.
    for number in 1..40 {
        let root = root.clone();
        tokio::spawn(async move { root.get(&format!("secret/data/cold/{number}")).await });
    }
    sleep(Duration::from_secs(3)).await;
    let hedged = slow.load(Ordering::SeqCst);
    assert!((2..=16).contains(&hedged), "the second was asked {hedged} times");
    // What passes through is nobody's to ask twice.
    let list = crate::client::Call::new("LIST", "secret/metadata/cold");
    root.send(&list).await.expect(200);
    assert_eq!(second.count_below("LIST", "/v1/secret/"), 0);
    is_hit(&root.get("secret/data/kept").await, "survivor");
}
