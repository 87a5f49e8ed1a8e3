//! What becomes untrue while one process takes over from another is served by neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::bao::Bao;
use crate::client::Client;
use crate::stub::{Reply, Stub};
use crate::world::{fresh, hit, prepare, put, reads};

const APP: &str = "secret/data/app";

/// A server whose answers to writes are late: they are done at once.
pub async fn late_writes(pause: Duration) -> (Bao, Stub) {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    let stub = Stub::before(&bao.address(), move |seen| {
        if seen.method == "POST" { Reply::ForwardThenWait(pause) } else { Reply::Forward }
    })
    .await;
    (bao, stub)
}

async fn cached(caller: &Client, value: &str) {
    caller.get(APP).await.expect(200);
    hit(caller, APP, value).await;
}

/// Done upstream while the old process knew no other, answered by it when there is another.
#[tokio::test]
async fn a_write_that_the_old_process_answers_is_seen_at_the_new_one() {
    let (bao, stub) = late_writes(Duration::from_secs(1)).await;
    put(&bao.root(), "app", "old").await.expect(200);
    let meeting = Meeting::new();
    let mut vaultlet = Vaultlet::start(&stub.address(), meeting.settings(json!({}))).await;
    cached(&vaultlet.client().token("root"), "old").await;

    let writer = vaultlet.client().token("root");
    let write = tokio::spawn(async move { put(&writer, "app", "new").await });
    until("the write is on its way", async || stub.count("POST", "/v1/secret/data/app") == 1).await;
    let next = vaultlet.another().await;
    let mut before = std::mem::replace(&mut vaultlet, next);
    assert!(!write.is_finished());
    // Until it is answered, either value is right.
    hit(&vaultlet.client().token("root"), APP, "old").await;

    write.await.unwrap().expect(200);
    let root = vaultlet.client().token("root");
    fresh(&root.get(APP).await, "new");
    hit(&root, APP, "new").await;
    assert!(before.ended().await.success(), "{}", before.log());
}

/// The old process still answers what was open when it was taken over from.
#[tokio::test]
async fn a_write_at_the_new_process_is_seen_at_the_old_one() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "app", "old").await.expect(200);
    let meeting = Meeting::new();
    let mut vaultlet = Vaultlet::start(&bao.address(), meeting.settings(json!({}))).await;
    cached(&vaultlet.client().token("root"), "old").await;
    let mut open = Strict::new(vaultlet.address(), "root");
    assert!(open.get(APP).await.unwrap().body.contains("\"old\""));

    let next = vaultlet.another().await;
    let before = std::mem::replace(&mut vaultlet, next);
    put(&vaultlet.client().token("root"), "app", "new").await.expect(200);
    assert!(before.events("stopped").is_empty(), "too late to see anything");
    let came = open.get(APP).await.unwrap();
    assert!(open.stream.is_none(), "it is told that this was its last answer");
    assert!(came.body.contains("\"new\""), "{came:?}");
}

/// All moments between what was put together for the new process and its first answer.
#[tokio::test]
async fn what_changes_after_the_state_was_told_is_told_after_it() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "app", "old").await.expect(200);
    let meeting = Meeting::new();
    let vaultlet = Vaultlet::start(&bao.address(), meeting.settings(json!({}))).await;
    let root = vaultlet.client().token("root");
    cached(&root, "old").await;

    // It does not answer anybody yet: nobody waits for it.
    let mut heir = Heir::informed(&meeting).await;
    put(&root, "app", "new").await.expect(200);
    let news = String::from_utf8(heir.until(words::NEWS).await).unwrap();
    assert_eq!(news, format!(r#"[{{"path":"{APP}"}}]"#));

    // From here on it might.
    heir.say(words::READY, b"").await;
    heir.until(words::GO).await;
    let writer = root.clone();
    let write = tokio::spawn(async move { put(&writer, "app", "newer").await });
    heir.until(words::NEWS).await;
    sleep(Duration::from_millis(300)).await;
    assert!(!write.is_finished(), "answered before the other process knew");
    heir.say(words::HEARD, b"2").await;
    write.await.unwrap().expect(200);

    // Revoked tokens and leases, other policies, an operator's wish: whatever it is.
    for (method, path, body, expected) in [
        (
            "POST",
            "auth/token/revoke-self",
            json!({}),
            ["login", "children", "own_leases"].as_slice(),
        ),
        (
            "POST",
            "sys/policies/acl/x",
            json!({"policy": "path \"x\" {}"}),
            ["secrets", "mounts", "logins", "leases"].as_slice(),
        ),
        ("POST", "sys/leases/revoke-prefix/secret", json!({}), ["leases"].as_slice()),
        // Of a mount that this process has not met, and the other one may have.
        ("DELETE", "kv1/app", json!({}), ["secrets"].as_slice()),
    ] {
        let caller = vaultlet.client().token(&crate::world::token(&bao.root(), json!({})).await);
        let call = crate::client::Call::new(method, path).json(&body);
        let asked = tokio::spawn(async move { caller.send(&call).await });
        let news = heir.hear(asked).await;
        let told = |what: &&str| news.contains(&format!("\"{what}\""));
        assert!(expected.iter().all(told), "{path}: {news}");
    }
    reads(&root.get(APP).await, "newer");
}

/// One that does not listen holds up an answer for a second, once, and then it is not relied on.
#[tokio::test]
async fn a_process_that_hangs_does_not_hold_up_the_other() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    let meeting = Meeting::new();
    let mut vaultlet = Vaultlet::start(&bao.address(), meeting.settings(json!({}))).await;
    let mut heir = Heir::informed(&meeting).await;
    heir.say(words::READY, b"").await;
    heir.until(words::GO).await;

    put(&vaultlet.client().token("root"), "app", "new").await.expect(200);
    until("it goes on", async || vaultlet.events(GOES_ON).len() == 1).await;
    take_over(&mut vaultlet).await;
}

/// Whoever was told of a write reads it, or a later one, over whichever process, while one takes
/// over from another again and again.
#[tokio::test]
async fn everyone_reads_what_was_written() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    put(&bao.root(), "app", "0").await.expect(200);
    let meeting = Meeting::new();
    let mut vaultlet = Vaultlet::start(&bao.address(), meeting.settings(json!({}))).await;
    let (written, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let address = vaultlet.address().to_owned();

    let (to, last, end) = (Client::tcp(&address).token("root"), written.clone(), over.clone());
    let writer = tokio::spawn(async move {
        while !end.load(Ordering::SeqCst) {
            let next = last.load(Ordering::SeqCst) + 1;
            put(&to, "app", &next.to_string()).await.expect(200);
            last.store(next, Ordering::SeqCst);
            sleep(Duration::from_millis(5)).await;
        }
    });
    let readers: Vec<_> = (0..6)
        .map(|place| {
            let mut caller = Strict::new(&address, "root");
            let (written, over) = (written.clone(), over.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let least = written.load(Ordering::SeqCst);
                    let came =
                        if place < 4 { caller.get(APP).await } else { caller.once(APP).await };
                    let came = came.unwrap();
                    let body: Value = serde_json::from_str(&came.body).unwrap();
                    let value = body["data"]["data"]["value"].as_str().unwrap();
                    assert!(value.parse::<u64>().unwrap() >= least, "{value} after {least}");
                    // As often as not, it is the first request for a while.
                    sleep(Duration::from_millis(fastrand::u64(0..60))).await;
                }
            })
        })
        .collect();
    for _ in 0..5 {
        take_over(&mut vaultlet).await;
    }
    over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    writer.await.unwrap();
    vaultlet.terminate().await;
    meeting.whole_log().await;
}
