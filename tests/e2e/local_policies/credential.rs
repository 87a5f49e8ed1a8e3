//! What is vaultlet's own token used for, and what if it is no good?

use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use super::{Local, own_token, settings_with};
use crate::bao::Bao;
use crate::client::Client;
use crate::stub::{Reply, Stub};
use crate::vaultlet::Vaultlet;
use crate::world::{World, hit, policy, prepare, put, reads, token};

#[tokio::test]
async fn it_can_read_policies_and_identities_and_nothing_else() {
    let local = Local::new().await;
    let own = Client::tcp(&local.world.bao.address()).token(&local.own);
    for number in 0..50 {
        let path = match number % 5 {
            0 => format!("secret/data/app-{number}"),
            1 => format!("secret/metadata/app-{number}"),
            2 => format!("kv1/app-{number}"),
            3 => format!("cubbyhole/{number}"),
            _ => format!("ns1/secret/data/{number}"),
        };
        own.get(&path).await.expect(403);
    }
    own.get("auth/token/lookup-self").await.expect(403);
    own.post("auth/token/create", json!({})).await.expect(403);
}

/// Every request that leaves with it, as the server sees them.
#[tokio::test]
async fn it_is_shown_for_policies_and_identities_only() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    let own = own_token(&bao.root()).await;
    put(&bao.root(), "app", "canary").await.expect(200);
    let stub = Stub::before(&bao.address(), |_| Reply::Forward).await;
    let home = tempfile::tempdir().unwrap();
    let vaultlet = Vaultlet::start(&stub.address(), settings_with(&home, &own)).await;
    super::settled(&vaultlet).await;
    for policies in [["reader"], ["writer"]] {
        let caller = token(&bao.root(), json!({"policies": policies})).await;
        reads(&vaultlet.client().token(&caller).get("secret/data/app").await, "canary");
    }

    let mut with_it = 0;
    for seen in stub.seen() {
        if seen.header("x-vault-token") != Some(own.as_str()) {
            assert!(!seen.head.contains(&own), "{}", seen.target);
            continue;
        }
        with_it += 1;
        let known = ["/v1/sys/policies/", "/v1/identity/entity/id/", "/v1/identity/group/id/"];
        let read = seen.method == "GET" && known.iter().any(|it| seen.target.starts_with(it));
        let renewal = seen.method == "POST" && seen.target == "/v1/auth/token/renew-self";
        assert!(read || renewal, "{} {}", seen.method, seen.target);
    }
    assert!(with_it > 3, "{with_it}");
    assert!(!vaultlet.log().contains(&own));
}

#[tokio::test]
async fn one_without_rights_is_complained_of_and_everything_else_works() {
    let world = World::new(json!({})).await;
    let powerless =
        world.token_with(json!({"policies": ["none"], "no_default_policy": true})).await;
    let revoked = world.token(&["reader"]).await;
    world.server().post("auth/token/revoke", json!({"token": revoked})).await.expect(204);
    world.put("app", "canary").await;
    for (own, said) in [
        (powerless.as_str(), "give the token the policy in docs/local-policies.md"),
        (revoked.as_str(), "has expired or was revoked"),
        ("", "it holds no token"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let vaultlet = Vaultlet::start(&world.bao.address(), settings_with(&home, own)).await;
        let began = Instant::now();
        while !vaultlet.log().contains(said) {
            assert!(began.elapsed() < Duration::from_secs(10), "{said}: {}", vaultlet.log());
            sleep(Duration::from_millis(20)).await;
        }
        for policies in [["reader"], ["writer"]] {
            let caller = vaultlet.client().token(&world.token(&policies).await);
            reads(&caller.get("secret/data/app").await, "canary");
            hit(&caller, "secret/data/app", "canary").await;
        }
        let refused = vaultlet.client().token(&world.token(&["default"]).await);
        refused.get("secret/data/app").await.expect(403);
        // Said once, however often it is so.
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(vaultlet.log().matches(said).count(), 1, "{}", vaultlet.log());
    }
}

#[tokio::test]
async fn a_file_that_goes_and_comes_back_is_read_again() {
    let local = Local::new().await;
    let file = local.home.path().join("own.token");
    std::fs::remove_file(&file).unwrap();
    let began = Instant::now();
    while !local.world.vaultlet.log().contains("policy.identity.token_file") {
        assert!(began.elapsed() < Duration::from_secs(10));
        sleep(Duration::from_millis(20)).await;
    }
    // Another token than before.
    let another = own_token(&local.world.server()).await;
    local.world.server().post("auth/token/revoke", json!({"token": local.own})).await.expect(204);
    std::fs::write(&file, another).unwrap();
    local.settled().await;
}

/// Nobody replaces the file, so vaultlet keeps the token alive, if it may.
#[tokio::test]
async fn one_that_may_renew_itself_outlives_its_lease() {
    let bao = Bao::dev().await;
    prepare(&bao.root()).await;
    own_token(&bao.root()).await;
    let renew = r#"path "auth/token/renew-self" { capabilities = ["update"] }"#;
    policy(&bao.root(), "renew", renew).await;
    let settings =
        json!({"policies": ["vaultlet", "renew"], "ttl": "4s", "no_default_policy": true});
    let own = token(&bao.root(), settings).await;
    let home = tempfile::tempdir().unwrap();
    let vaultlet = Vaultlet::start(&bao.address(), settings_with(&home, &own)).await;
    sleep(Duration::from_secs(6)).await;
    super::settled(&vaultlet).await;
}
