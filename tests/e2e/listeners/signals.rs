//! SIGTERM drains, SIGHUP reloads, and a wrong configuration never starts or replaces a right one.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::bao::Bao;
use crate::client::Call;
use crate::stub::{Reply, Stub};
use crate::vaultlet::{Vaultlet, merge, write_config};
use crate::world::{World, fresh, hit, reads};

#[tokio::test]
async fn sigterm_lets_open_requests_end_and_takes_no_new_ones() {
    let bao = Bao::dev().await;
    crate::world::put(&bao.root(), "app", "fine").await.expect(200);
    let stub = Stub::before(&bao.address(), |seen| {
        if seen.target == "/v1/secret/data/app" {
            Reply::ForwardAfter(Duration::from_secs(2))
        } else {
            Reply::Forward
        }
    })
    .await;
    for signal in [Signal::TERM, Signal::INT] {
        let mut vaultlet = Vaultlet::start(&stub.address(), json!({})).await;
        let before = stub.count("GET", "/v1/secret/data/app");
        let (root, admin) = (vaultlet.client().token("root"), vaultlet.admin());
        let open = tokio::spawn(async move { root.get("secret/data/app").await });
        while stub.count("GET", "/v1/secret/data/app") == before {
            sleep(Duration::from_millis(10)).await;
        }

        vaultlet.signal(signal);
        sleep(Duration::from_millis(300)).await;
        admin.send(&Call::get("").target("/readyz")).await.expect(503);
        assert!(vaultlet.client().try_send(&Call::get("sys/health")).await.is_err());
        let answer = open.await.unwrap();
        reads(&answer, "fine");
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        assert_eq!(vaultlet.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn draining_ends_at_its_bound() {
    let stub = Stub::alone(|seen| match seen.target.as_str() {
        "/v1/opaque/stuck" => Reply::Stuck(Vec::new()),
        _ => Reply::Forward,
    })
    .await;
    let settings = json!({"shutdown": {"drain": "1s"}});
    let mut vaultlet = Vaultlet::start(&stub.address(), settings).await;
    let client = vaultlet.client().token("any");
    let _open = tokio::spawn(async move { client.try_send(&Call::get("opaque/stuck")).await });
    while stub.count("GET", "/v1/opaque/stuck") == 0 {
        sleep(Duration::from_millis(10)).await;
    }

    let began = Instant::now();
    vaultlet.signal(Signal::TERM);
    vaultlet.ended().await;
    let took = began.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut world = World::new(json!({})).await;
    let _idle: Vec<_> =
        (0..20).map(|_| std::net::TcpStream::connect(world.vaultlet.address())).collect();
    world.caller("root").get("sys/mounts").await.expect(200);

    let began = Instant::now();
    world.vaultlet.signal(Signal::TERM);
    assert_eq!(world.vaultlet.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

fn change(vaultlet: &Vaultlet, over: Value) {
    let text = std::fs::read_to_string(vaultlet.config()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    merge(&mut config, over);
    write_config(vaultlet.config(), &config);
    vaultlet.signal(Signal::HUP);
}

#[tokio::test]
async fn sighup_takes_a_good_configuration_over() {
    let world = World::new(json!({})).await;
    world.put("app", "old").await;
    let root = world.caller("root");
    fresh(&root.get("secret/data/app").await, "old");
    hit(&root, "secret/data/app", "old").await;

    change(
        &world.vaultlet,
        json!({"cache": {"rules": [{"path": "secret/data/app", "cache": false}]}}),
    );
    let began = Instant::now();
    while root.get("secret/data/app").await.cache() == "HIT" {
        assert!(began.elapsed() < Duration::from_secs(5), "not reloaded: {}", world.vaultlet.log());
        sleep(Duration::from_millis(20)).await;
    }
    world.put("app", "new").await;
    fresh(&root.get("secret/data/app").await, "new");
}

#[tokio::test]
async fn sighup_refuses_a_bad_configuration_and_goes_on_with_the_old() {
    let world = World::new(json!({})).await;
    world.put("app", "old").await;
    let root = world.caller("root");
    fresh(&root.get("secret/data/app").await, "old");

    let lines = world.vaultlet.log().lines().count();
    change(&world.vaultlet, json!({"cache": {"kv": {"tll": "5s"}}}));
    let began = Instant::now();
    let said = || world.vaultlet.log().lines().skip(lines).any(|line| line.contains("tll"));
    while !said() {
        assert!(began.elapsed() < Duration::from_secs(5), "not said: {}", world.vaultlet.log());
        sleep(Duration::from_millis(20)).await;
    }
    hit(&root, "secret/data/app", "old").await;
}

#[tokio::test]
async fn a_wrong_configuration_is_exit_code_2_with_every_problem() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("bad.yaml");
    std::fs::write(
        &file,
        "cache:\n  kv:\n    tll: 5s\n    refresh_ahead: 7\nlisteners:\n  - address: nowhere\n",
    )
    .unwrap();

    for arguments in [["serve", "--config"], ["check", "--config"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
        let output = command.args(arguments).arg(&file).env_clear().output().await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        for expected in ["tll", "ttl", "refresh_ahead", "nowhere", "bad.yaml:3"] {
            assert!(text.contains(expected), "{arguments:?}: {expected} is missing: {text}");
        }
    }
}

#[tokio::test]
async fn a_taken_port_is_said_and_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("vaultlet.yaml");
    let address = taken.local_addr().unwrap().to_string();
    write_config(
        &file,
        &json!({
            "listeners": [{"address": address}], "admin": {"address": "127.0.0.1:0"},
        }),
    );

    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
    command.args(["serve", "--config"]).arg(&file).env_clear().kill_on_drop(true);
    let output =
        tokio::time::timeout(Duration::from_secs(20), command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{text}");
    assert!(text.contains(&address), "{text}");
}
