//! What a verdict covers, and for how long.

use std::time::Duration;

use serde_json::json;

use super::mint::{claims, unix};
use super::{HOUR, ISSUER, Local, World, refused};

#[tokio::test]
async fn a_verdict_covers_the_whole_token() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    let token = local.token(|_| ());
    world.verify(&token).await.unwrap();
    assert!(world.known(&token).is_some());

    // The same header, claims and all ids, and a signature that begins like the good one.
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (begin, end) = signature.split_at(signature.len() - 4);
    let end = if end == "AAAA" { "AAAE" } else { "AAAA" };
    for forged in [format!("{signed}.{begin}{end}"), format!("{signed}."), format!("{token}A")] {
        assert!(world.known(&forged).is_none());
        refused(world.verify(&forged).await);
        assert!(world.known(&forged).is_none());
    }
    assert!(world.known(&token).is_some());
}

#[tokio::test]
async fn a_verdict_ends_with_its_token() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    let token = local.keys[0].token(&claims(ISSUER, Duration::from_secs(100)));
    let expires = world.verify(&token).await.unwrap().expires;

    let left = expires.since(world.clock.now());
    world.clock.advance(left.saturating_sub(Duration::from_millis(1)));
    assert!(world.known(&token).is_some());
    world.clock.advance(Duration::from_millis(1));
    assert!(world.known(&token).is_none());

    world.issuers.tidy();
    assert_eq!(world.issuers.tokens(), 0);
}

#[tokio::test]
async fn a_verdict_ends_by_the_wall_clock_too() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    let mut over = claims(ISSUER, HOUR);
    over["exp"] = json!(unix() + 1);
    let token = local.keys[0].token(&over);
    world.verify(&token).await.unwrap();
    assert!(world.known(&token).is_some());

    // The clock of windows stands still, as that of a machine whose wall clock was set ahead.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    world.issuers.tidy();

    assert!(world.known(&token).is_none());
}

#[tokio::test]
async fn a_refused_token_is_looked_at_once_in_ten_seconds() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    let token = local.token(|claims| claims["sub"] = json!("system:serviceaccount:a:b"));
    let looked = || world.counted(r#"vaultlet_service_account_tokens_total{result="invalid"}"#);

    let first = refused(world.verify(&token).await);
    assert_eq!(refused(world.verify(&token).await), first);
    assert_eq!(looked(), 1);
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(refused(world.verify(&token).await), first);
    assert_eq!(looked(), 2);
}

#[tokio::test]
async fn tokens_that_are_refused_push_out_nobody() {
    let local = Local::new();
    let world = World::new(&[local.config()]);
    let token = local.token(|_| ());
    world.verify(&token).await.unwrap();

    for n in 0..12_000 {
        refused(world.verify(format!("eyJ.{n}")).await);
    }

    assert!(world.known(&token).is_some());
    assert_eq!(world.issuers.tokens(), 1);
}
