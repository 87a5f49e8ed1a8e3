//! One caller wants everything: what is left for the others?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bao::Bao;
use crate::client::{Answer, Call, Client};
use crate::stub::{self, Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{READER, World, hit, policy, prepare, put, reads, token};

/// A server behind a stub, and two callers with rights of their own that are known already.
struct Two {
    bao: Bao,
    stub: Stub,
    vaultlet: Vaultlet,
    flooder: Client,
    neighbour: Client,
}

impl Two {
    /// `rule`: what the stub does with reads of `secret/data/cold/*`.
    async fn new(settings: Value, rule: impl Fn() -> Reply + Send + Sync + 'static) -> Self {
        let bao = Bao::dev().await;
        prepare(&bao.root()).await;
        policy(&bao.root(), "neighbour", READER).await;
        put(&bao.root(), "warm", "warm").await.expect(200);
        let stub = Stub::before(&bao.address(), move |seen| {
            if seen.target.starts_with("/v1/secret/data/cold/") { rule() } else { Reply::Forward }
        })
        .await;
        let vaultlet = Vaultlet::start(&stub.address(), settings).await;
        let mut callers = Vec::new();
        for policy in ["reader", "neighbour"] {
            let token = token(&bao.root(), json!({"policies": [policy]})).await;
            let caller = vaultlet.client().token(&token);
            reads(&caller.get("secret/data/warm").await, "warm");
            hit(&caller, "secret/data/warm", "warm").await;
            callers.push(caller);
        }
        let [flooder, neighbour] = callers.try_into().ok().unwrap();
        Self { bao, stub, vaultlet, flooder, neighbour }
    }

    /// How many requests for cold secrets have come to the upstream.
    fn cold(&self) -> usize {
        let seen = self.stub.seen();
        seen.iter().filter(|seen| seen.target.starts_with("/v1/secret/data/cold/")).count()
    }
}

/// Reads `secret/data/cold/NAME-0` and so on, all at once. A read of nothing is a read.
fn flood(caller: &Client, name: &str, reads: usize) -> JoinSet<Answer> {
    let mut asking = JoinSet::new();
    for number in 0..reads {
        let (caller, path) = (caller.clone(), format!("secret/data/cold/{name}-{number}"));
        asking.spawn(async move { caller.get(&path).await });
    }
    asking
}

/// Slow for the first `places` requests, so that a line forms, and quick after that.
fn slow_at_first(places: usize) -> impl Fn() -> Reply + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move || {
        let slow = seen.fetch_add(1, Ordering::SeqCst) < places;
        Reply::ForwardAfter(Duration::from_millis(if slow { 4000 } else { 5 }))
    }
}

/// Fails the test unless each is either answered or told when to come back; how many are answered.
fn answered(answers: &[Answer], refusal: u16) -> usize {
    let (refused, answered): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == refusal);
    for answer in refused {
        let answer = answer.clone().expect_own_error(&[refusal]);
        assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
    }
    assert!(answered.iter().all(|answer| [200, 404].contains(&answer.status)), "{answered:?}");
    answered.len()
}

const UNLIMITED: u32 = 100_000;

fn limits(in_flight: u32, misses_per_second: u32, entries: u32) -> Value {
    json!({"in_flight": in_flight, "misses_per_second": misses_per_second, "entries": entries})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_does_not_hold_up_a_neighbour() {
    let settings = json!({
        "upstream": {"max_in_flight": 4},
        "auth": {"limits": limits(UNLIMITED, UNLIMITED, UNLIMITED)},
    });
    let two = Two::new(settings, slow_at_first(4)).await;
    for number in 0..20 {
        put(&two.bao.root(), &format!("cold/mine-{number}"), "mine").await.expect(200);
    }

    let flooding = flood(&two.flooder, "flood", 500);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(two.cold(), 4, "the flood waits in line");
    let answers = flood(&two.neighbour, "mine", 20).join_all().await;

    for answer in &answers {
        reads(answer, "mine");
    }
    assert_eq!(answered(&flooding.join_all().await, 503), 500);
    let seen = two.stub.seen();
    let order: Vec<_> = seen
        .iter()
        .filter_map(|seen| seen.target.strip_prefix("/v1/secret/data/cold/"))
        .map(|name| name.starts_with("mine"))
        .collect();
    let last = order.iter().rposition(|mine| *mine).unwrap();
    assert_eq!(order.len(), 520);
    assert!(last < 4 + 2 * 20 + 10, "turn by turn, not after {last} others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_made_up_have_one_turn_among_them() {
    let settings = json!({
        "upstream": {"max_in_flight": 4},
        "auth": {"limits": limits(UNLIMITED, UNLIMITED, UNLIMITED)},
    });
    let two = Two::new(settings, slow_at_first(4)).await;

    let mut flooding = JoinSet::new();
    for number in 0..300 {
        let caller = two.vaultlet.client().token(&format!("made-up-{number}"));
        let path = format!("secret/data/cold/made-up-{number}");
        flooding.spawn(async move { caller.get(&path).await });
    }
    sleep(Duration::from_millis(1500)).await;
    let neighbour = flood(&two.neighbour, "mine", 20);
    // The same secret as one of those in line: somebody's turn, not the end of the line.
    let same = two.flooder.get("secret/data/cold/made-up-299").await;

    assert_eq!(same.status, 404, "{same:?}");
    assert_eq!(answered(&neighbour.join_all().await, 503), 20);
    let before = two.cold();
    assert!(before < 4 + 3 * 21 + 20, "{before} were asked before");
    assert!(flooding.join_all().await.iter().all(|answer| answer.status == 403));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_requests_under_way_a_caller_is_told_to_wait() {
    let settings = json!({"auth": {"limits": limits(3, UNLIMITED, UNLIMITED)}});
    let slow = || Reply::ForwardAfter(Duration::from_millis(1500));
    let two = Two::new(settings, slow).await;

    let flooding = flood(&two.flooder, "flood", 10);
    sleep(Duration::from_millis(500)).await;
    let neighbour = flood(&two.neighbour, "mine", 3);
    // What is at hand is nobody's request.
    hit(&two.flooder, "secret/data/warm", "warm").await;
    let write = two.flooder.post("secret/data/warm", json!({"data": {}})).await;

    write.expect_own_error(&[429]);
    assert_eq!(answered(&flooding.join_all().await, 429), 3);
    assert_eq!(answered(&neighbour.join_all().await, 429), 3);
    assert!(two.vaultlet.metric("vaultlet_shed_requests_total", &[]).await >= 8.0);
    // Many who want the same are one.
    let mut same = JoinSet::new();
    for _ in 0..20 {
        let caller = two.flooder.clone();
        same.spawn(async move { caller.get("secret/data/cold/same").await });
    }
    assert_eq!(answered(&same.join_all().await, 429), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_first_reads_of_one_caller_are_one() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "cold", "once").await.expect(200);
    let mount = "/v1/sys/internal/ui/mounts/secret/data/cold";
    let stub = Stub::before(&bao.address(), move |seen| {
        let asked = seen.target == mount || seen.target.ends_with("/cold");
        if asked { Reply::ForwardAfter(Duration::from_secs(1)) } else { Reply::Forward }
    })
    .await;
    let settings = json!({"auth": {"limits": limits(3, UNLIMITED, UNLIMITED)}});
    let vaultlet = Vaultlet::start(&stub.address(), settings).await;
    let token = token(&bao.root(), json!({"policies": ["reader"]})).await;
    let caller = vaultlet.client().token(&token);

    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let caller = caller.clone();
        asking.spawn(async move { caller.get("secret/data/cold").await });
    }

    for answer in asking.join_all().await {
        reads(&answer, "once");
    }
    assert_eq!(stub.count("GET", mount), 1);
    assert_eq!(stub.count("GET", "/v1/secret/data/cold"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_has_its_requests_under_way_all_the_same() {
    let settings = json!({"auth": {"limits": limits(3, UNLIMITED, UNLIMITED)}});
    let slow = || Reply::ForwardAfter(Duration::from_secs(2));
    let two = Two::new(settings, slow).await;

    let mut flooding = flood(&two.flooder, "flood", 3);
    while two.cold() < 3 {
        sleep(Duration::from_millis(5)).await;
    }
    flooding.shutdown().await;

    two.flooder.get("secret/data/cold/more").await.expect_own_error(&[429]);
    let began = Instant::now();
    while two.flooder.get("secret/data/cold/more").await.status == 429 {
        assert!(began.elapsed() < Duration::from_secs(10), "never free again");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_misses_a_second_a_caller_is_told_to_wait() {
    let settings = json!({"auth": {"limits": limits(UNLIMITED, 10, UNLIMITED)}});
    let two = Two::new(settings, || Reply::Forward).await;
    sleep(Duration::from_secs(1)).await;

    let began = Instant::now();
    let served = answered(&flood(&two.flooder, "flood", 200).join_all().await, 429);
    let most = 10 + (10.0 * began.elapsed().as_secs_f64()).ceil() as usize;
    assert!((10..=most).contains(&served), "{served} of 10 a second and no more than {most}");
    for _ in 0..50 {
        hit(&two.flooder, "secret/data/warm", "warm").await;
    }
    assert_eq!(answered(&flood(&two.neighbour, "mine", 10).join_all().await, 429), 10);

    // The same for what passes through.
    sleep(Duration::from_secs(1)).await;
    let mut passing = JoinSet::new();
    for _ in 0..200 {
        let caller = two.flooder.clone();
        passing.spawn(async move { caller.send(&Call::new("LIST", "secret/metadata/")).await });
    }
    let began = Instant::now();
    let served = answered(&passing.join_all().await, 429);
    let most = 11 + (10.0 * began.elapsed().as_secs_f64()).ceil() as usize;
    assert!((10..=most).contains(&served), "{served} of 10 a second and no more than {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_entries_a_caller_is_answered_and_nothing_is_kept() {
    let settings = json!({
        "auth": {"limits": limits(UNLIMITED, UNLIMITED, 5)},
        "cache": {"kv": {"ttl": "2s"}},
    });
    let world = World::new(settings).await;
    world.policy("neighbour", READER).await;
    for number in 0..20 {
        world.put(&format!("many/{number}"), "one").await;
    }
    let flooder = world.caller_with(&["reader"]).await;
    let neighbour = world.caller_with(&["neighbour"]).await;
    for caller in [&flooder, &neighbour] {
        reads(&caller.get("secret/data/many/0").await, "one");
        hit(caller, "secret/data/many/0", "one").await;
    }

    let kept = async |caller: &Client| {
        let mut kept = Vec::new();
        for number in 0..20 {
            let path = format!("secret/data/many/{number}");
            let answer = caller.get(&path).await;
            reads(&answer, "one");
            kept.extend((answer.cache() == "HIT").then_some(number));
        }
        kept
    };
    kept(&flooder).await;
    // The first was read while the token was not known, and is on nobody's account.
    assert_eq!(kept(&flooder).await, [0, 1, 2, 3, 4, 5]);
    // What is kept is renewed when its time is over, and not given up to the next one.
    sleep(Duration::from_millis(2500)).await;
    reads(&flooder.get("secret/data/many/3").await, "one");
    hit(&flooder, "secret/data/many/3", "one").await;

    for number in 10..15 {
        let path = format!("secret/data/many/{number}");
        reads(&neighbour.get(&path).await, "one");
        hit(&neighbour, path.as_str(), "one").await;
    }
    let entries = world.vaultlet.metric("vaultlet_cache_entries", &[]).await;
    assert!(entries <= 11.0, "{entries}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tokens_made_up_leave_nothing_behind() {
    let denied = stub::json(403, r#"{"errors":["permission denied"]}"#);
    let stub = Stub::alone(move |seen| {
        if seen.header("x-vault-token").is_some() {
            Reply::Answer(denied.clone())
        } else {
            Reply::Forward
        }
    })
    .await;
    let settings = json!({"policy": {"refresh": "1s"}});
    let vaultlet = Arc::new(Vaultlet::start(&stub.address(), settings).await);
    let flood = async |from: u32| {
        let mut callers = JoinSet::new();
        for lane in 0..20 {
            let vaultlet = Arc::clone(&vaultlet);
            callers.spawn(async move {
                let line = vaultlet.client();
                for number in 0..500 {
                    let token = format!("made-up-{}", from + lane * 500 + number);
                    let call = Call::get("secret/data/hot").with("X-Vault-Token", &token);
                    // Past thousands of accounts within a second, made-up tokens share one.
                    let answer = line.send(&call).await;
                    assert!([403, 429].contains(&answer.status), "{answer:?}");
                }
            });
        }
        callers.join_all().await;
    };
    flood(0).await;
    let before = vaultlet.resident_bytes();

    flood(10_000).await;
    let grown = vaultlet.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    let began = Instant::now();
    while vaultlet.metric("vaultlet_identities", &[]).await > 0.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "made-up tokens are remembered");
        sleep(Duration::from_millis(200)).await;
    }
}
