//! A process that could be taken over from ends without being, or one that took over does: what
//! becomes of the places where it listened?

use rustix::process::Signal;

use super::writes::late_writes;
use super::*;
use crate::client::Client;
use crate::vaultlet::write_config;
use crate::world::{World, hit, put, reads};

/// Nobody is let in who will not be answered, however long the last answer takes.
#[tokio::test]
async fn whoever_drains_listens_nowhere() {
    let (_bao, stub) = late_writes(Duration::from_secs(3)).await;
    let (meeting, unix) = (Meeting::new(), "callers.sock");
    let listeners = json!([{"address": "127.0.0.1:0"}, {"unix": meeting.at(unix)}]);
    let settings = meeting.settings(json!({"listeners": listeners}));
    let mut vaultlet = Vaultlet::start(&stub.address(), settings).await;
    let writer = vaultlet.client().token("root");
    let write = tokio::spawn(async move { put(&writer, "app", "last").await });
    until("it is on its way", async || stub.count("POST", "/v1/secret/data/app") == 1).await;

    vaultlet.signal(Signal::TERM);
    until("it drains", async || !vaultlet.events("draining").is_empty()).await;
    sleep(Duration::from_millis(300)).await;
    assert!(!write.is_finished());
    let refused = TcpStream::connect(vaultlet.address()).await;
    assert!(refused.is_err(), "connected to a process that drains");
    assert!(!meeting.at(unix).exists() && !meeting.socket().exists());
    write.await.unwrap().expect(200);
    assert!(vaultlet.ended().await.success(), "{}", vaultlet.log());
}

/// A process has one other at a time: one that drains would be told nothing any more.
#[tokio::test]
async fn one_take_over_ends_before_another_begins() {
    let (bao, stub) = late_writes(Duration::from_secs(6)).await;
    put(&bao.root(), "app", "old").await.expect(200);
    let meeting = Meeting::new();
    let settings = meeting.settings(json!({"shutdown": {"drain": "20s"}}));
    let mut vaultlet = Vaultlet::start(&stub.address(), settings).await;
    let writer = vaultlet.client().token("root");
    let write = tokio::spawn(async move { put(&writer, "app", "new").await });
    until("it is on its way", async || stub.count("POST", "/v1/secret/data/app") == 1).await;
    let next = vaultlet.another().await;
    let mut before = std::mem::replace(&mut vaultlet, next);

    let mut early = vaultlet.begin_another();
    assert_eq!(early.ended().await.code(), Some(1), "{}", early.log());
    let reason = "still taking over from another process";
    until(reason, async || early.log().contains(reason)).await;
    assert!(!write.is_finished());

    write.await.unwrap().expect(200);
    reads(&vaultlet.client().token("root").get("secret/data/app").await, "new");
    assert!(before.ended().await.success(), "{}", before.log());
    take_over(&mut vaultlet).await;
    vaultlet.terminate().await;
    meeting.whole_log().await;
}

/// The file of a socket is that of the process that answers there, and as that one has it.
#[tokio::test]
async fn a_unix_socket_is_the_affair_of_whoever_answers_there() {
    let (meeting, nowhere) = (Meeting::new(), "http://127.0.0.1:1");
    let unix = meeting.at("callers.sock");
    let listeners = |bits: &str| json!([{"address": "127.0.0.1:0"}, {"unix": unix, "mode": bits}]);
    let mut world = World::new(meeting.settings(json!({"listeners": listeners("0600")}))).await;
    world.put("app", "fine").await;
    let caller = Client::unix(&unix).token("root");
    caller.get("secret/data/app").await.expect(200);

    let text = fs::read_to_string(world.vaultlet.config()).unwrap();
    let mut next: Value = serde_json::from_str(&text).unwrap();
    merge(&mut next, json!({"listeners": listeners("0660")}));
    let mut gives_up = next.clone();
    merge(&mut gives_up, json!({"upstream": {"address": nowhere}}));
    write_config(world.vaultlet.config(), &gives_up);
    let mut another = world.vaultlet.begin_another();
    assert_eq!(another.ended().await.code(), Some(1), "{}", another.log());
    assert_eq!(mode(&unix), 0o600, "it never answered there");
    hit(&caller, "secret/data/app", "fine").await;

    write_config(world.vaultlet.config(), &next);
    take_over(&mut world.vaultlet).await;
    assert_eq!(mode(&unix), 0o660);
    hit(&caller, "secret/data/app", "fine").await;
    world.vaultlet.terminate().await;
    assert!(!unix.exists() && !meeting.socket().exists());
}
