//! Take-overs while callers ask, all the time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::client::{Call, Client};
use crate::world::{World, hit};

const SECRETS: usize = 40;
const TAKE_OVERS: usize = 12;

/// What callers have got so far.
#[derive(Default)]
struct Tally {
    hits: AtomicU64,
    others: AtomicU64,
    wrong: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Tally {
    fn note(&self, secret: usize, came: Result<Came, String>) {
        let expected = format!("\"value-{secret}\"");
        match came {
            Ok(came) if came.status == 200 && came.body.contains(&expected) => {
                let counter = if came.cache == "hit" { &self.hits } else { &self.others };
                counter.fetch_add(1, Ordering::SeqCst);
            }
            other => self.wrong.lock().unwrap().push(format!("{secret}: {other:?}")),
        }
    }

    fn take(&self) -> (u64, u64) {
        (self.hits.swap(0, Ordering::SeqCst), self.others.swap(0, Ordering::SeqCst))
    }
}

async fn ask(tally: Arc<Tally>, mut caller: Strict, keep_alive: bool) {
    let mut turn = 0_usize;
    while !tally.over.load(Ordering::SeqCst) {
        let secret = turn % SECRETS;
        turn += 7;
        let path = format!("secret/data/app{secret}");
        let came = if keep_alive { caller.get(&path).await } else { caller.once(&path).await };
        tally.note(secret, came);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn twelve_take_overs_in_a_row_lose_nothing() {
    let meeting = Meeting::new();
    let unix = meeting.at("callers.sock");
    let settings = meeting.settings(json!({
        "listeners": [{"address": "127.0.0.1:0"}, {"unix": unix}],
    }));
    let mut world = World::new(settings).await;
    let tokens = [world.token(&["reader"]).await, world.token(&["reader", "default"]).await];
    for secret in 0..SECRETS {
        world.put(&format!("app{secret}"), &format!("value-{secret}")).await;
        for token in &tokens {
            let path = format!("secret/data/app{secret}");
            world.caller(token).get(&path).await.expect(200);
            hit(&world.caller(token), path.as_str(), &format!("value-{secret}")).await;
        }
    }
    let (address, tally) = (world.vaultlet.address().to_owned(), Arc::<Tally>::default());
    let callers: Vec<_> = (0..24)
        .map(|place| {
            let caller = Strict::new(&address, &tokens[place % 2]);
            tokio::spawn(ask(Arc::clone(&tally), caller, place % 3 > 0))
        })
        .collect();
    sleep(Duration::from_millis(500)).await;

    for turn in 1..=TAKE_OVERS {
        let next = world.vaultlet.another().await;
        tally.take();
        let mut before = std::mem::replace(&mut world.vaultlet, next);
        assert_eq!(before.ended().await.code(), Some(0), "{turn}: {}", before.log());
        until("answers", async || tally.hits.load(Ordering::SeqCst) > 300).await;
        let (hits, others) = tally.take();
        let wrong = std::mem::take(&mut *tally.wrong.lock().unwrap());
        assert!(
            wrong.is_empty(),
            "{turn}: {} wrong: {:?}",
            wrong.len(),
            &wrong[..wrong.len().min(5)]
        );
        assert!(
            hits > 100 && others * 99 <= hits,
            "{turn}: {hits} hits, {others} others\n{}",
            before.log()
        );
        assert_eq!(world.vaultlet.address(), address);
        assert_eq!(mode(&meeting.socket()), 0o600);
        // The unix socket's file has stayed, and so has its listener.
        let caller = Client::unix(&unix).token(&tokens[0]);
        hit(&caller, "secret/data/app1", "value-1").await;
    }
    tally.over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }

    world.vaultlet.terminate().await;
    let said = meeting.whole_log().await;
    assert!(said.contains("starts: 1,"), "{said}");
    assert!(!meeting.socket().exists() && !unix.exists());
}

/// What could be answered without the upstream before can be answered without it afterwards.
#[tokio::test]
async fn a_take_over_in_an_outage_loses_nothing_either() {
    let meeting = Meeting::new();
    let settings = meeting.settings(json!({"cache": {"kv": {"ttl": "1s"}}}));
    let mut world = World::new(settings).await;
    world.put("app", "fine").await;
    let token = world.token(&["reader"]).await;
    world.caller(&token).get("secret/data/app").await.expect(200);
    hit(&world.caller(&token), "secret/data/app", "fine").await;
    world.bao.kill().await;
    until("it is noticed", async || {
        world.vaultlet.metric("vaultlet_upstream_up", &[]).await == 0.0
    })
    .await;

    for _ in 0..2 {
        take_over(&mut world.vaultlet).await;
        let answer = world.caller(&token).get("secret/data/app").await.expect(200);
        assert_eq!(
            (answer.value().as_deref(), answer.cache()),
            (Some("fine"), "HIT"),
            "{answer:?}"
        );
        let ready = world.vaultlet.admin().send(&Call::get("").target("/readyz")).await.expect(200);
        assert!(ready.text().starts_with("degraded"), "{ready:?}");
    }
}
