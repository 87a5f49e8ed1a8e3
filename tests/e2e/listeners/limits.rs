//! What one peer may cost: time, headers, connections.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::raw::exchange;
use crate::world::{World, reads};

async fn limited(limits: serde_json::Value) -> World {
    let listeners = json!([{"address": "127.0.0.1:0", "limits": limits}]);
    let world = World::new(json!({"listeners": listeners})).await;
    world.put("app", "fine").await;
    world
}

/// How long the server leaves a connection open on which nothing more is sent.
async fn closed_after(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "still open after {:?}", began.elapsed());
    began.elapsed()
}

#[tokio::test]
async fn a_head_that_drips_in_is_cut() {
    let world = limited(json!({"header_timeout": "2s"})).await;
    let began = Instant::now();

    // One byte every 200 ms would take 15 s: a timeout between bytes would never fire.
    let mut stream = TcpStream::connect(world.vaultlet.address()).await.unwrap();
    let head =
        b"GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nX-Vault-Token: root\r\nX-Long: aaaaaaa\r\n";
    for byte in head {
        let cut = stream.write_all(&[*byte]).await.is_err();
        let mut end = [0; 64];
        // An answer (408) or the end: either way the head was not waited for.
        if cut || stream.try_read(&mut end).is_ok() {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(6), "{took:?}");
    reads(&world.caller("root").get("secret/data/app").await, "fine");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let world = limited(json!({"idle_timeout": "2s", "header_timeout": "2s"})).await;

    let mut silent = TcpStream::connect(world.vaultlet.address()).await.unwrap();
    assert!(closed_after(&mut silent).await < Duration::from_secs(6));
    let mut used = TcpStream::connect(world.vaultlet.address()).await.unwrap();
    used.write_all(b"GET /v1/sys/health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(closed_after(&mut used).await < Duration::from_secs(6));
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let world = limited(json!({"stall_timeout": "2s"})).await;
    let mut stream = TcpStream::connect(world.vaultlet.address()).await.unwrap();

    let head = "POST /v1/secret/data/app HTTP/1.1\r\nHost: a\r\nX-Vault-Token: root\r\nContent-Length: 50\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(closed_after(&mut stream).await < Duration::from_secs(8));
    reads(&world.caller("root").get("secret/data/app").await, "fine");
}

#[tokio::test]
async fn a_head_that_is_too_large_gets_431() {
    let world = limited(json!({"max_header_bytes": "16KiB"})).await;
    let request = |size: usize| {
        let long = "a".repeat(size);
        format!("GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n").into_bytes()
    };

    let within = exchange(world.vaultlet.address(), &request(8000)).await;
    assert_eq!(within.status(), Some(200));
    for size in [20_000, 300_000] {
        let answer = exchange(world.vaultlet.address(), &request(size)).await;
        assert_eq!(answer.status(), Some(431), "{size}: {}", answer.text());
    }
}

#[tokio::test]
async fn connections_past_the_limit_wait_or_are_closed_and_places_come_back() {
    let world = limited(json!({"max_connections": 4})).await;
    let request = b"GET /v1/sys/health HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut held = Vec::new();
    let mut start = [0; 12];
    for _ in 0..4 {
        let mut stream = TcpStream::connect(world.vaultlet.address()).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        held.push(stream);
    }

    let mut fifth = TcpStream::connect(world.vaultlet.address()).await.unwrap();
    let _ = fifth.write_all(request).await;
    let answer = timeout(Duration::from_secs(1), fifth.read_exact(&mut start)).await;
    assert!(!matches!(answer, Ok(Ok(_))) || &start != b"HTTP/1.1 200", "a fifth was served");

    drop((held, fifth));
    let began = Instant::now();
    while exchange(world.vaultlet.address(), request).await.status() != Some(200) {
        assert!(began.elapsed() < Duration::from_secs(5), "no place came back");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_does_not_hold_the_operators_listener() {
    let world = limited(json!({})).await;
    let mut stream = TcpStream::connect(world.vaultlet.admin_address()).await.unwrap();

    let head = "POST /cache/clear HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(closed_after(&mut stream).await < Duration::from_secs(15));
}
