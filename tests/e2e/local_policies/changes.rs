//! How long does a change of policies or identities go unseen, and what if the server is gone?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Local, own_token, settings_with, settled};
use crate::bao::Bao;
use crate::client::{Call, Client};
use crate::stub::{self, Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{READER, fresh, hit, is_hit, policy, prepare, put, token};

const PATH: &str = "secret/data/watched";
const ALLOW: &str = r#"path "secret/data/watched" { capabilities = ["read"] }"#;
const DENY: &str = r#"path "secret/data/watched" { capabilities = ["deny"] }"#;

/// Reads every 20 ms; when the last read began that was answered with the secret.
async fn last_served(caller: &Client, changed: Instant, bound: Duration) -> Duration {
    let mut last = Duration::ZERO;
    while changed.elapsed() < bound + Duration::from_millis(300) {
        let began = changed.elapsed();
        if caller.get(PATH).await.status == 200 {
            last = began;
        }
        sleep(Duration::from_millis(20)).await;
    }
    last
}

#[tokio::test]
async fn what_changes_behind_the_back_is_seen_within_the_window() {
    let window = Duration::from_secs(2);
    let local = Local::with(json!({"policy": {"refresh": "2s"}})).await;
    local.world.put("watched", "canary").await;
    for trial in 0..10 {
        // A class of its own each time: what the class before was refused must not count.
        let name = format!("watched{trial}");
        local.world.policy(&name, ALLOW).await;
        local.settled().await;
        let caller = local.world.caller_with(&[&name]).await;
        local.fill(PATH).await;
        // What is allowed after the change, by policies of before it, must not last any longer.
        let late = trial % 2 == 1;
        if !late {
            let (answer, locally) = local.local(&caller, PATH).await;
            assert!(locally, "{answer:?}");
        }

        local.world.policy(&name, DENY).await;
        let changed = Instant::now();
        if late {
            sleep(Duration::from_millis(400)).await;
        }
        let last = last_served(&caller, changed, window).await;
        assert!(last <= window, "trial {trial}: still served {last:?} after the change");
        caller.get(PATH).await.expect(403);
    }
}

#[tokio::test]
async fn what_changes_through_vaultlet_counts_at_once() {
    let local = Local::with(json!({"policy": {"refresh": "1h"}})).await;
    local.world.put("watched", "canary").await;
    let root = local.world.caller("root");
    let (began, mut number) = (Instant::now(), 0);
    for number in 0..20 {
        let policy = format!("sys/policies/acl/watched{number}");
        root.post(&policy, json!({"policy": ALLOW})).await.expect(204);
    }
    // Each is of another class, so none has a proof yet.
    let (caller, policy) = loop {
        let name = format!("watched{number}");
        let caller = local.world.caller_with(&[&name]).await;
        if local.local(&caller, PATH).await.1 {
            break (caller, format!("sys/policies/acl/{name}"));
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{}", local.world.vaultlet.log());
        sleep(Duration::from_millis(700)).await;
        number += 1;
    };

    // Of a policy that has just been written, what was read before says nothing.
    root.post(&policy, json!({"policy": DENY})).await.expect(204);
    local.fill(PATH).await;
    caller.get(PATH).await.expect(403);
    root.post(&policy, json!({"policy": ALLOW})).await.expect(204);
    local.fill(PATH).await;
    caller.get(PATH).await.expect(200);
}

#[tokio::test]
async fn a_refusal_by_the_server_ends_what_was_read_before() {
    let local = Local::with(json!({"policy": {"refresh": "1h"}})).await;
    local.world.put("watched", "canary").await;
    local.world.put("more", "canary").await;
    let caller = local.world.caller_with(&["reader"]).await;
    let (answer, locally) = local.local(&caller, PATH).await;
    assert!(locally, "{answer:?}");

    local.world.policy("reader", DENY).await;
    caller.send(&Call::get(PATH).with("Cache-Control", "no-cache")).await.expect(403);
    local.world.policy("writer", READER).await;
    local.fill("secret/data/more").await;
    caller.get(PATH).await.expect(403);
    caller.get("secret/data/more").await.expect(403);
}

/// Leaving a group and giving the group more are two changes, and nobody had both.
#[tokio::test]
async fn policies_of_now_are_not_those_of_a_group_left_before() {
    let local = Local::with(json!({"policy": {"refresh": "10s"}})).await;
    let root = local.world.server();
    local.world.put("watched", "canary").await;
    local.world.put("old", "old").await;
    let old = r#"path "secret/data/old" { capabilities = ["read"] }"#;
    local.world.policy("ops", old).await;
    root.post("sys/auth/userpass", json!({"type": "userpass"})).await.expect(204);
    root.post("auth/userpass/users/u", json!({"password": "p"})).await.expect(204);
    let login = "auth/userpass/login/u";
    let made = root.post(login, json!({"password": "p"})).await.expect(200).json();
    let member = json!([made["auth"]["entity_id"]]);
    let group = json!({"name": "ops", "policies": ["ops"], "member_entity_ids": member});
    root.post("identity/group", group).await.expect(200);
    let made = root.post(login, json!({"password": "p"})).await.expect(200).json();
    let caller = local.world.caller(made["auth"]["client_token"].as_str().unwrap());
    local.fill(PATH).await;
    caller.get("secret/data/old").await.expect(200);
    hit(&caller, "secret/data/old", "old").await;

    root.post("identity/group/name/ops", json!({"member_entity_ids": []})).await;
    local.world.policy("ops", &format!("{old}\n{ALLOW}")).await;
    local.settled().await;
    caller.get(PATH).await.expect(403);
}

#[tokio::test]
async fn a_server_that_is_gone_lets_it_decide_until_the_window_is_over() {
    let mut local = Local::with(json!({"policy": {"refresh": "6s"}})).await;
    for key in ["watched", "late", "proven"] {
        local.world.put(key, "canary").await;
        local.fill(format!("secret/data/{key}").as_str()).await;
    }
    let caller = local.world.caller_with(&["reader"]).await;
    let (answer, locally) = local.local(&caller, "secret/data/proven").await;
    assert!(locally, "{answer:?}");

    local.world.bao.kill().await;
    is_hit(&caller.get(PATH).await, "canary");
    sleep(Duration::from_millis(6500)).await;
    caller.get("secret/data/late").await.expect_own_error(&[502, 503, 504]);
    // What was proven before is believed for as long as the entry is.
    assert_eq!(caller.get("secret/data/proven").await.value().as_deref(), Some("canary"));
}

#[tokio::test]
async fn policies_that_cannot_be_read_again_decide_until_the_window_is_over() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    policy(&bao.root(), "watched", ALLOW).await;
    put(&bao.root(), "watched", "canary").await.expect(200);
    let own = own_token(&bao.root()).await;
    let (failing, says) = (Arc::new(AtomicBool::new(false)), json!({"errors": ["out of order"]}));
    let fails = Arc::clone(&failing);
    let stub = Stub::before(&bao.address(), move |seen| {
        let policies = seen.target.starts_with("/v1/sys/policies/");
        if policies && fails.load(Ordering::SeqCst) {
            return Reply::Answer(stub::json(500, &says.to_string()));
        }
        Reply::Forward
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let vaultlet = Vaultlet::start(&stub.address(), settings_with(&home, &own)).await;
    settled(&vaultlet).await;
    let mut callers = Vec::new();
    for policies in [["writer"], ["reader"], ["watched"]] {
        let token = token(&bao.root(), json!({"policies": policies})).await;
        callers.push(vaultlet.client().token(&token));
    }
    callers[0].get(PATH).await.expect(200);
    hit(&callers[0], PATH, "canary").await;

    failing.store(true, Ordering::SeqCst);
    is_hit(&callers[1].get(PATH).await, "canary");
    // W is 3 s.
    sleep(Duration::from_millis(3300)).await;
    fresh(&callers[2].get(PATH).await, "canary");
    assert!(vaultlet.log().contains("the upstream could not be asked"), "{}", vaultlet.log());
}
