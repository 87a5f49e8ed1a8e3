//! Many ask at once for what is not cached yet: does the upstream get one request, and everyone
//! an answer?

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bao::Bao;
use crate::client::{Call, Client};
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{prepare, put, token};

const PATH: &str = "secret/data/cold";
const TARGET: &str = "/v1/secret/data/cold";

/// A server that takes its time for the cold secret, so that everyone arrives before its answer.
struct Slow {
    bao: Bao,
    stub: Stub,
    vaultlet: Vaultlet,
}

impl Slow {
    async fn new(pause: Duration) -> Self {
        let bao = Bao::dev().await;
        prepare(&bao.root()).await;
        put(&bao.root(), "cold", "once").await.expect(200);
        let stub = Stub::before(&bao.address(), move |seen| {
            if seen.target == TARGET { Reply::ForwardAfter(pause) } else { Reply::Forward }
        })
        .await;
        // Not what this test is about: 200 lookups at once may be more than the default allows.
        let settings = json!({"upstream": {"max_in_flight": 1024}});
        let vaultlet = Vaultlet::start(&stub.address(), settings).await;
        Self { bao, stub, vaultlet }
    }

    async fn caller(&self) -> Client {
        let reader: Value = json!({"policies": ["reader"]});
        self.vaultlet.client().token(&token(&self.bao.root(), reader).await)
    }
}

/// All of them at once; how many got the secret.
async fn ask(callers: Vec<Client>) -> usize {
    let mut asking = JoinSet::new();
    for caller in callers {
        asking.spawn(async move { caller.get(PATH).await });
    }
    let answers = asking.join_all().await;
    answers.iter().filter(|answer| answer.value().as_deref() == Some("once")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_of_one_caller_make_one_upstream_read() {
    let slow = Slow::new(Duration::from_millis(1500)).await;
    let caller = slow.caller().await;

    let answered = ask((0..200).map(|_| caller.clone()).collect()).await;
    assert_eq!(answered, 200);
    assert_eq!(slow.stub.count("GET", TARGET), 1);
    assert!(slow.vaultlet.metric("vaultlet_coalesced_requests_total", &[]).await >= 100.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tokens_of_one_class_make_one_upstream_read() {
    let slow = Slow::new(Duration::from_millis(2500)).await;
    let mut callers = Vec::new();
    for _ in 0..200 {
        callers.push(slow.caller().await);
    }

    assert_eq!(ask(callers).await, 200);
    assert_eq!(slow.stub.count("GET", TARGET), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_hangs_up_everyone_else_is_still_answered() {
    let slow = Slow::new(Duration::from_millis(1500)).await;
    let leader = slow.caller().await;
    let leading = tokio::spawn(async move { leader.get(PATH).await });
    while slow.stub.count("GET", TARGET) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let caller = slow.caller().await;
    let following = tokio::spawn(ask((0..50).map(|_| caller.clone()).collect()));
    sleep(Duration::from_millis(300)).await;

    leading.abort();
    assert_eq!(following.await.unwrap(), 50);
    assert_eq!(slow.stub.count("GET", TARGET), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_rides_on_the_rights_of_another() {
    let slow = Slow::new(Duration::from_millis(500)).await;
    let stranger = token(&slow.bao.root(), json!({"policies": ["default"]})).await;
    let stranger = slow.vaultlet.client().token(&stranger);
    let reader = slow.caller().await;
    let mut asking = JoinSet::new();
    for (caller, expected) in [(&stranger, 403), (&reader, 200)].repeat(20) {
        let caller = caller.clone();
        asking.spawn(async move { (caller.get(PATH).await, expected) });
    }

    for (answer, expected) in asking.join_all().await {
        assert_eq!(answer.status, expected, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_during_a_read_wins() {
    let slow = Slow::new(Duration::from_millis(10)).await;
    let caller = slow.caller().await;
    let root = slow.vaultlet.client().token("root");

    // The read may return either value; what stays behind must be the written one.
    for round in 0..60 {
        let value = format!("round {round}");
        let reading = (0..4).map(|_| {
            let (caller, pause) = (caller.clone(), Duration::from_millis(round % 13));
            tokio::spawn(async move {
                sleep(pause).await;
                caller.send(&Call::get(PATH)).await.expect(200);
            })
        });
        let reading: Vec<_> = reading.collect();
        put(&root, "cold", &value).await.expect(200);
        let after = caller.get(PATH).await;
        assert_eq!(after.value().as_deref(), Some(&*value), "{after:?}");
        for read in reading {
            read.await.unwrap();
        }
        let after = caller.get(PATH).await;
        assert_eq!(after.value().as_deref(), Some(&*value), "{after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_the_upstreams_answer_gets_none_from_before_its_question() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "cold", "old").await.expect(200);
    // The first answer takes its time on the way back.
    let (address, asked) = (bao.address(), std::sync::atomic::AtomicUsize::new(0));
    let stub = Stub::before(&address, move |seen| {
        let first =
            seen.target == TARGET && asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        if first { Reply::ForwardThenWait(Duration::from_secs(1)) } else { Reply::Forward }
    })
    .await;
    let vaultlet = Vaultlet::start(&stub.address(), json!({})).await;
    let reader = token(&bao.root(), json!({"policies": ["reader"]})).await;
    let caller = vaultlet.client().token(&reader);
    let slow = tokio::spawn({
        let caller = caller.clone();
        async move { caller.get(PATH).await }
    });
    sleep(Duration::from_millis(400)).await;
    put(&bao.root(), "cold", "new").await.expect(200);

    let fresh = caller.send(&Call::get(PATH).with("Cache-Control", "no-cache")).await;
    assert_eq!(fresh.value().as_deref(), Some("new"), "{fresh:?}");
    assert_eq!(slow.await.unwrap().value().as_deref(), Some("old"));
    // The older answer has come back after the newer one, and has not replaced it.
    let after = caller.get(PATH).await;
    assert_eq!(after.value().as_deref(), Some("new"), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_who_is_refused_costs_the_others_one_more_read() {
    let slow = Slow::new(Duration::from_millis(700)).await;
    let mut callers = Vec::new();
    for _ in 0..20 {
        callers.push(slow.caller().await);
    }
    // So that the mount is known, and a refused read is taken for one of a secret.
    callers[0].get("secret/data/other").await.expect(404);
    let junk = slow.vaultlet.client().token("s.junk");
    let leading = tokio::spawn(async move { junk.get(PATH).await });
    while slow.stub.count("GET", TARGET) == 0 {
        sleep(Duration::from_millis(5)).await;
    }

    assert_eq!(ask(callers).await, 20);
    leading.await.unwrap().expect(403);
    assert_eq!(slow.stub.count("GET", TARGET), 2);
}
