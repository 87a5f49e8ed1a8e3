//! Keys that change, and keys that do not arrive.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::cluster::{Cluster, Failure, Kind};
use super::mint::{Key, claims};
use super::{HOUR, ISSUER, Local, World, config, refused, unavailable};
use crate::config::{Keys, Kubernetes};

const SPACING: Duration = Duration::from_secs(10);

fn by_address(cluster: &Cluster) -> Kubernetes {
    let keys = format!("{}/openid/v1/jwks", cluster.address());
    config(&cluster.address(), Keys::Url(keys.parse().unwrap()))
}

#[tokio::test]
async fn unknown_keys_cause_one_fetch_in_ten_seconds() {
    let cluster = Cluster::start().await;
    let world = World::new(&[by_address(&cluster)]);
    world.verify(cluster.token("payments", "api", "api-1")).await.unwrap();
    let flood = async |round: u32| {
        let tokens = (0..100).map(|n| {
            let mut header = Key::p256("x").header();
            header["kid"] = json!(format!("key-{round}-{n}"));
            Key::p256("x").sign(&header.to_string(), &claims(&cluster.address(), HOUR).to_string())
        });
        for verdict in join_all(tokens.map(|token| world.verify(token))).await {
            refused(verdict);
        }
    };

    flood(0).await;
    assert_eq!(cluster.count(Kind::Keys), 1);
    world.clock.advance(SPACING);
    flood(1).await;
    assert_eq!(cluster.count(Kind::Keys), 2);
    world.clock.advance(SPACING.saturating_sub(Duration::from_millis(1)));
    flood(2).await;
    assert_eq!(cluster.count(Kind::Keys), 2);
}

#[tokio::test]
async fn a_token_that_is_over_or_for_another_causes_no_fetch() {
    let cluster = Cluster::start().await;
    let world = World::new(&[by_address(&cluster)]);
    let ours = claims(&cluster.address(), HOUR);
    for (claim, value) in [
        ("exp", json!(1)),
        ("aud", json!(["vault"])),
        ("iss", json!("https://other.example")),
        ("sub", json!("x")),
    ] {
        let mut changed = ours.clone();
        changed[claim] = value;
        refused(world.verify(cluster.sign(&changed)).await);
    }
    refused(world.verify("eyJ.eyJ.x").await);

    assert_eq!(cluster.count(Kind::Keys), 0);
}

#[tokio::test]
async fn a_rotation_is_seamless_while_both_keys_are_published() {
    let cluster = Cluster::start().await;
    let world = World::new(&[by_address(&cluster)]);
    let [seen, unseen, late] = ["a", "b", "c"].map(|pod| cluster.token("payments", "api", pod));
    world.verify(&seen).await.unwrap();

    cluster.rotate_keys();
    world.clock.advance(SPACING);
    world.verify(cluster.token("payments", "api", "d")).await.unwrap();
    world.verify(&unseen).await.unwrap();
    assert_eq!(cluster.count(Kind::Keys), 2);

    // Once the old key is gone, it verifies nothing more; what it has verified goes on.
    cluster.rotate_keys();
    cluster.drop_old_keys();
    world.clock.advance(SPACING);
    world.verify(cluster.token("payments", "api", "e")).await.unwrap();
    refused(world.verify(&late).await);
    assert!(world.known(&seen).is_some());
}

#[tokio::test]
async fn a_new_key_is_known_ten_seconds_after_the_last_fetch() {
    let cluster = Cluster::start().await;
    let world = World::new(&[by_address(&cluster)]);
    world.verify(cluster.token("payments", "api", "a")).await.unwrap();
    cluster.rotate_keys();
    let token = cluster.token("payments", "api", "b");

    world.clock.advance(SPACING / 2);
    refused(world.verify(&token).await);
    world.clock.advance(SPACING / 2);
    world.verify(&token).await.unwrap();
}

#[tokio::test]
async fn an_empty_or_broken_set_replaces_nothing() {
    let cluster = Cluster::start().await;
    let world = World::new(&[by_address(&cluster)]);
    world.verify(cluster.token("payments", "api", "first")).await.unwrap();
    cluster.rotate_keys();
    let unknown = cluster.token("payments", "api", "unknown");
    let secret = json!({"keys": [{"kty": "oct", "kid": "key-1", "k": "c2VjcmV0"}]}).to_string();
    let old = json!({"keys": [Key::rsa("other").jwk()]});

    for broken in ["{}", r#"{"keys":[]}"#, "[]", "no JSON", r#"{"keys":null}"#, &secret] {
        cluster.publish_instead(Some(broken));
        world.clock.advance(SPACING);
        unavailable(&world.verify(&unknown).await);
        let known = world.issuers.clusters[0].keys.holding("key-1").await;
        assert!(known.is_ok(), "{broken}");
    }
    cluster.publish_instead(Some(&old.to_string()));
    world.clock.advance(SPACING);
    refused(world.verify(&unknown).await);
    cluster.publish_instead(None);
    world.clock.advance(SPACING);
    world.verify(&unknown).await.unwrap();
    assert_eq!(world.counted(r#"vaultlet_jwks_refreshes_total{result="failed"}"#), 6);
    assert_eq!(world.counted(r#"vaultlet_jwks_refreshes_total{result="ok"}"#), 3);
}

#[tokio::test]
async fn a_key_server_that_hangs_delays_nobody_who_needs_no_new_key() {
    let cluster = Cluster::start().await;
    let world = World::new(&[by_address(&cluster)]);
    let [seen, unseen] = ["a", "b"].map(|pod| cluster.token("payments", "api", pod));
    world.verify(&seen).await.unwrap();
    cluster.rotate_keys();
    let needs = cluster.token("payments", "api", "c");
    cluster.fail(Kind::Keys, Some(Failure::Slow(Duration::from_mins(10))));
    world.clock.advance(SPACING);

    let waiting = world.verify(&needs);
    tokio::pin!(waiting);
    let moment = Duration::from_millis(300);
    assert!(tokio::time::timeout(moment, &mut waiting).await.is_err());
    assert_eq!(cluster.count(Kind::Keys), 2);
    assert!(world.known(&seen).is_some());
    tokio::time::timeout(moment, world.verify(&unseen)).await.unwrap().unwrap();

    // And who does need it is not left waiting for ever, nor refused for good.
    unavailable(&tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap());
    cluster.fail(Kind::Keys, None);
    world.clock.advance(SPACING);
    world.verify(&needs).await.unwrap();
}

#[tokio::test]
async fn keys_that_do_not_arrive_harm_no_other_issuer() {
    let (down, local) = (Cluster::start().await, Local::new());
    down.fail_all(Some(Failure::Down));
    let world = World::new(&[by_address(&down), local.config()]);

    let token = down.token("payments", "api", "a");
    unavailable(&world.verify(&token).await);
    world.verify(local.token(|_| ())).await.unwrap();
    for failure in [Failure::Status(500), Failure::Status(403), Failure::Status(302)] {
        down.fail_all(Some(failure));
        world.clock.advance(SPACING);
        unavailable(&world.verify(&token).await);
    }
    let tried = world.issuers.attempt().await;
    assert!(tried[0].as_ref().unwrap_err().contains("answered 302"), "{tried:?}");
    assert_eq!(tried[1], Ok(format!("issuer {ISSUER}: 2 keys")));

    down.fail_all(None);
    world.clock.advance(SPACING);
    world.verify(&token).await.unwrap();
}

#[tokio::test]
async fn discovery_leads_to_the_keys_of_the_issuer_itself() {
    let cluster = Cluster::start().await;
    let world = World::new(&[config(&cluster.address(), Keys::Discovery)]);
    world.verify(cluster.token("payments", "api", "a")).await.unwrap();
    assert_eq!((cluster.count(Kind::Discovery), cluster.count(Kind::Keys)), (1, 1));

    // The document says another name for itself, though its keys would do.
    let slash = format!("{}/", cluster.address());
    let world = World::new(&[config(&slash, Keys::Discovery)]);
    let mut claims = claims(&slash, HOUR);
    claims["iss"] = json!(slash);
    unavailable(&world.verify(cluster.sign(&claims)).await);
    let tried = world.issuers.attempt().await;
    assert!(tried[0].as_ref().unwrap_err().contains("to the letter"), "{tried:?}");
    assert_eq!(cluster.count(Kind::Keys), 1);
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_when_it_changes() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    let watched = world.issuers.watched();
    let mut claims = claims(ISSUER, HOUR);
    claims["iss"] = json!(ISSUER);
    let key = Key::p256("key-3");

    std::fs::write(&local.file, "no keys").unwrap();
    assert!((watched[0].reload)().is_err());
    world.verify(local.token(|_| ())).await.unwrap();
    std::fs::write(&local.file, super::key_set([&key])).unwrap();
    (watched[0].reload)().unwrap();
    world.verify(key.token(&claims)).await.unwrap();
    assert_eq!(watched[0].files, std::slice::from_ref(&local.file));
}

#[tokio::test]
async fn keys_are_fetched_without_being_asked_for() {
    let cluster = Cluster::start().await;
    let world = World::new(&[by_address(&cluster)]);
    let tasks: Vec<_> = world.issuers.look_after().into_iter().map(tokio::spawn).collect();

    for _ in 0..200 {
        if world.counted(r#"vaultlet_jwks_refreshes_total{result="ok"}"#) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.verify(cluster.token("payments", "api", "a")).await.unwrap();

    assert_eq!(cluster.count(Kind::Keys), 1);
    world.clock.advance(Duration::from_secs(40));
    world.issuers.tidy();
    let age = format!(r#"vaultlet_jwks_age_seconds{{issuer="{}"}}"#, cluster.address());
    assert_eq!(world.counted(&age), 40);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}
