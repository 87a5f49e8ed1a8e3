//! The upstream takes its time: who waits for it, and for how long?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{stale, warm};
use crate::bao::Bao;
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{World, prepare, put, reads};

/// As an operator has it who configures nothing, but for how long entries live.
fn defaults() -> Value {
    json!({"cache": {"kv": {"ttl": "1s"}}})
}

/// Of an answer.
const HALF: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{";

fn faults() -> impl Iterator<Item = (&'static str, fn() -> Reply)> {
    let names = ["nothing", "half of an answer", "late"];
    let replies: [fn() -> Reply; 3] = [
        || Reply::Stuck(Vec::new()),
        || Reply::Stuck(HALF.to_vec()),
        || Reply::ForwardAfter(Duration::from_secs(30)),
    ];
    names.into_iter().zip(replies)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_fails_in_time_and_what_passes_through_is_waited_for() {
    for (name, fault) in faults() {
        let bao = Bao::dev().await;
        prepare(&bao.root()).await;
        put(&bao.root(), "kept", "survivor").await.expect(200);
        let slow = Arc::new(AtomicBool::new(false));
        let now = slow.clone();
        let stub = Stub::before(&bao.address(), move |seen| match seen.target.as_str() {
            target if target.starts_with("/v1/secret/") && now.load(Ordering::SeqCst) => fault(),
            "/v1/sys/mounts" => Reply::ForwardAfter(Duration::from_secs(4)),
            _ => Reply::Forward,
        })
        .await;
        let vaultlet = Vaultlet::start(&stub.address(), defaults()).await;
        let root = vaultlet.client().token("root");
        warm(&root, "secret/data/kept", "survivor").await;
        slow.store(true, Ordering::SeqCst);
        sleep(Duration::from_millis(1200)).await;
        println!("{name}");

        let began = Instant::now();
        let (cold, kept, mounts) = tokio::join!(
            root.get("secret/data/cold"),
            async {
                (vaultlet.client().token("root").get("secret/data/kept").await, began.elapsed())
            },
            async { vaultlet.client().token("root").get("sys/mounts").await }
        );
        assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
        cold.expect_own_error(&[502, 504]);
        stale(&kept.0, "survivor");
        mounts.expect(200);
    }
}

/// Copies bytes between vaultlet and a server. What was connected before it vanishes gets no answer
/// any more, and no end; who connects afterwards gets through.
struct Wire {
    port: u16,
    vanished: watch::Sender<bool>,
}

impl Wire {
    async fn to(server: &str) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (vanished, _) = watch::channel(false);
        let sender = vanished.clone();
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // It came after the last one to vanish.
                let mut vanished = sender.subscribe();
                vanished.mark_unchanged();
                let server = server.clone();
                connections.spawn(async move { copy(stream, &server, vanished).await });
            }
        });
        Self { port, vanished }
    }
}

async fn copy(mut near: TcpStream, server: &str, mut vanished: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(server).await else { return };
    let (mut there, mut back) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            _ = vanished.changed() => return std::future::pending().await,
            read = near.read(&mut there) => match read {
                Ok(count @ 1..) if far.write_all(&there[..count]).await.is_ok() => (),
                _ => return,
            },
            read = far.read(&mut back) => match read {
                Ok(count @ 1..) if near.write_all(&back[..count]).await.is_ok() => (),
                _ => return,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_lead_nowhere_are_given_up() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    for number in 0..60 {
        put(&bao.root(), &format!("cold/{number}"), "right").await.expect(200);
    }
    let wire = Wire::to(&bao.address()).await;
    let vaultlet = Vaultlet::start(&format!("http://127.0.0.1:{}", wire.port), defaults()).await;
    let root = vaultlet.client().token("root");
    reads(&root.get("secret/data/cold/0").await, "right");
    // Many at once, so that many connections are kept for later.
    let mut readers = JoinSet::new();
    for number in 1..40 {
        let root = vaultlet.client().token("root");
        readers.spawn(async move { root.get(&format!("secret/data/cold/{number}")).await });
    }
    readers.join_all().await.iter().for_each(|answer| reads(answer, "right"));

    wire.vanished.send_replace(true);
    let began = Instant::now();
    let mut failed = 0;
    for number in 40..60 {
        let path = format!("secret/data/cold/{number}");
        while root.get(&path).await.status != 200 {
            failed += 1;
            assert!(began.elapsed() < Duration::from_secs(10), "{failed} failed, no end to it");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_frozen_server_holds_nobody_up_by_default() {
    let world = World::new(defaults()).await;
    world.put("kept", "survivor").await;
    let root = world.caller("root");
    warm(&root, "secret/data/kept", "survivor").await;

    world.bao.freeze();
    sleep(Duration::from_millis(1200)).await;
    for path in ["secret/data/unread", "kv1/in-a-mount-nobody-knows", "secret/data/other"] {
        let began = Instant::now();
        root.get(path).await.expect_own_error(&[502, 503, 504]);
        assert!(began.elapsed() < Duration::from_secs(10), "{path}: {:?}", began.elapsed());
    }
    stale(&root.get("secret/data/kept").await, "survivor");
    world.bao.thaw();
}
