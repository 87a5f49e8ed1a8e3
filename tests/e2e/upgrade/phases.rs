//! The new process fails somewhere on the way. Does the old one go on as if nothing had happened?

use rustix::process::Signal;

use super::*;
use crate::vaultlet::write_config;
use crate::world::{World, hit};

/// One secret that is cached, and a caller of it.
async fn world(meeting: &Meeting, over: Value) -> World {
    let world = World::new(meeting.settings(over)).await;
    world.put("app", "fine").await;
    world.caller("root").get("secret/data/app").await.expect(200);
    hit(&world.caller("root"), "secret/data/app", "fine").await;
    world
}

/// Fails the test unless the process goes on with what it knows, and another can still take over.
async fn goes_on(world: &mut World, failures: usize) {
    until("it is said", async || world.vaultlet.events(GOES_ON).len() == failures).await;
    assert!(world.vaultlet.events(LEFT).is_empty());
    hit(&world.caller("root"), "secret/data/app", "fine").await;
}

#[tokio::test]
async fn whoever_dies_before_it_answers_changes_nothing() {
    let meeting = Meeting::new();
    let mut world = world(&meeting, json!({})).await;

    drop(Heir::hello(&meeting).await);
    goes_on(&mut world, 1).await;

    let mut heir = Heir::hello(&meeting).await;
    heir.until(words::STATE).await;
    drop(heir);
    goes_on(&mut world, 2).await;

    drop(Heir::informed(&meeting).await);
    goes_on(&mut world, 3).await;

    let mut heir = Heir::informed(&meeting).await;
    heir.say(words::REFUSED, b"thought better of it").await;
    goes_on(&mut world, 4).await;
    assert!(world.vaultlet.log().contains("thought better of it"), "{}", world.vaultlet.log());

    let mut heir = Heir::informed(&meeting).await;
    heir.say(words::READY, b"").await;
    heir.until(words::GO).await;
    drop(heir);
    goes_on(&mut world, 5).await;

    // A word that has no place there, and one too many.
    let mut heir = Heir::informed(&meeting).await;
    heir.say(words::YOURS, b"").await;
    goes_on(&mut world, 6).await;

    // What it renews, forgets and writes down is still its own affair.
    world.put("app", "new").await;
    let written = json!({"data": {"value": "newer"}});
    world.caller("root").post("secret/data/app", written).await.expect(200);
    let read = world.caller("root").get("secret/data/app").await;
    assert_eq!(read.value().as_deref(), Some("newer"));

    take_over(&mut world.vaultlet).await;
    hit(&world.caller("root"), "secret/data/app", "newer").await;
    world.vaultlet.terminate().await;
    meeting.whole_log().await;
}

#[tokio::test]
async fn one_at_a_time_takes_over() {
    let meeting = Meeting::new();
    let mut world = world(&meeting, json!({})).await;
    let heir = Heir::informed(&meeting).await;

    let mut next = world.vaultlet.begin_another();
    sleep(Duration::from_millis(500)).await;
    assert!(next.events(TOOK_OVER).is_empty());
    drop(heir);

    assert!(world.vaultlet.ended().await.success());
    until("the next took over", async || next.events(TOOK_OVER).len() == 1).await;
    next.terminate().await;
}

/// A configuration that cannot work is no reason for the one that works to end.
#[tokio::test]
async fn a_process_that_cannot_do_it_gives_up_with_a_reason() {
    let meeting = Meeting::new();
    let mut world = world(&meeting, json!({})).await;
    let text = fs::read_to_string(world.vaultlet.config()).unwrap();
    let good: Value = serde_json::from_str(&text).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();

    let unknown = json!({"upgrades": {}});
    let elsewhere = json!({"upstream": {"address": format!("http://{taken}")}});
    let no_file = json!({"policy": {"guardrails": [meeting.at("missing.hcl")]}});
    let occupied = json!({"listeners": [{"address": world.vaultlet.admin_address()}]});
    for (over, code, reason) in [
        (unknown, 2, "unknown key"),
        (no_file, 2, "missing.hcl"),
        (occupied, 1, "cannot listen on"),
        (elsewhere, 1, "the upstream answers the process that runs, and not this one"),
    ] {
        let mut bad = good.clone();
        merge(&mut bad, over);
        write_config(world.vaultlet.config(), &bad);
        let mut next = world.vaultlet.begin_another();
        let ended = next.ended().await;
        assert_eq!(ended.code(), Some(code), "{}", next.log());
        until(reason, async || next.log().contains(reason)).await;
        hit(&world.caller("root"), "secret/data/app", "fine").await;
    }
    until("reasons", async || world.vaultlet.events(GOES_ON).len() == 2).await;
    assert!(world.vaultlet.log().contains("the other process refuses: cannot listen on"));
    write_config(world.vaultlet.config(), &good);
    take_over(&mut world.vaultlet).await;
}

/// Killed at whatever moment, there is one process that answers, unless the new one was it.
#[tokio::test]
async fn killed_at_any_moment_the_new_one_takes_nothing_with_it() {
    let meeting = Meeting::new();
    let mut world = world(&meeting, json!({})).await;
    let mut went_on = 0;
    for pause in [0, 5, 20, 40, 60, 80, 100, 130] {
        let mut next = world.vaultlet.begin_another();
        sleep(Duration::from_millis(pause)).await;
        next.kill().await;
        sleep(Duration::from_millis(100)).await;
        if world.vaultlet.events(LEFT).is_empty() {
            hit(&world.caller("root"), "secret/data/app", "fine").await;
            went_on += 1;
        } else {
            // It was the one that answered.
            assert!(world.vaultlet.ended().await.success(), "{}", world.vaultlet.log());
            world.vaultlet.start_again().await;
            world.caller("root").get("secret/data/app").await.expect(200);
        }
    }
    assert!(went_on > 0);
    world.vaultlet.signal(Signal::TERM);
    assert!(world.vaultlet.ended().await.success());
}
