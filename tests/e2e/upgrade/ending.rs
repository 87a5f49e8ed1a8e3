//! A process that could be taken over from ends without being, or one that took over does: what
//! becomes of the places where it listened?

use rustix::process::Signal;

use super::*;
use crate::bao::Bao;
use crate::client::Client;
use crate::stub::{Reply, Stub};
use crate::vaultlet::write_config;
use crate::world::{World, hit, prepare, put};

/// Nobody is let in who will not be answered, however long the last answer takes.
#[tokio::test]
async fn whoever_drains_listens_nowhere() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    let stub = Stub::before(&bao.address(), |seen| {
        let slow = seen.method == "POST";
        if slow { Reply::ForwardThenWait(Duration::from_secs(3)) } else { Reply::Forward }
    })
    .await;
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
