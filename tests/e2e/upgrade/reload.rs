//! The configuration and certificates change while callers ask. Is a request lost, or a handshake?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;

use super::*;
use crate::vaultlet::write_config;
use crate::world::{World, hit};

const APP: &str = "secret/data/app";

/// Asks until it is over; how many answers there were, all of them right.
async fn ask(mut caller: Strict, over: Arc<AtomicBool>, answers: Arc<AtomicU64>) {
    while !over.load(Ordering::SeqCst) {
        let came = caller.get(APP).await.unwrap();
        assert!(came.status == 200 && came.body.contains("\"fine\""), "{came:?}");
        assert!(caller.stream.is_some(), "no connection ends for it");
        answers.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_configuration_good_bad_or_half_written_loses_no_request() {
    let world = World::new(json!({})).await;
    world.put("app", "fine").await;
    world.caller("root").get(APP).await.expect(200);
    hit(&world.caller("root"), APP, "fine").await;
    let text = fs::read_to_string(world.vaultlet.config()).unwrap();
    let good: Value = serde_json::from_str(&text).unwrap();
    let with = |over: Value| {
        let mut config = good.clone();
        merge(&mut config, over);
        config.to_string()
    };
    let (over, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let caller = Strict::new(world.vaultlet.address(), "root");
            tokio::spawn(ask(caller, Arc::clone(&over), Arc::clone(&answers)))
        })
        .collect();

    let half = text[..text.len() / 2].to_owned();
    for round in 0..3 {
        let level = if round % 2 == 0 { "warn" } else { "info" };
        for (config, said) in [
            (with(json!({"cache": {"kv": {"ttl": "30s"}}})), None),
            (with(json!({"cache": {"kv": {"tll": "30s"}}})), Some("tll")),
            (with(json!({"upstream": {"retries": 99}})), Some("retries")),
            (half.clone(), Some("the configuration cannot be used")),
            (String::new(), None),
            (with(json!({"log": {"level": level}})), None),
        ] {
            let (lines, before) =
                (world.vaultlet.log().lines().count(), answers.load(Ordering::SeqCst));
            // In place: whoever reads meanwhile reads a part of it.
            fs::write(world.vaultlet.config(), config).unwrap();
            world.vaultlet.signal(Signal::HUP);
            until("callers go on", async || answers.load(Ordering::SeqCst) > before + 50).await;
            if let Some(said) = said {
                until(said, async || {
                    world.vaultlet.log().lines().skip(lines).any(|line| line.contains(said))
                })
                .await;
            }
        }
    }
    over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    write_config(world.vaultlet.config(), &good);
    hit(&world.caller("root"), APP, "fine").await;
}
