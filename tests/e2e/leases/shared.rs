//! A pod gives back what other pods use too. Who loses it?

use serde_json::{Value, json};

use super::{CREDS, Credential, REVOKE, World};
use crate::client::{Answer, Client};

async fn world(on_revoke: &str) -> World {
    World::new(json!({}), json!({"cache": {"leases": {"on_revoke": on_revoke}}})).await
}

async fn revoke(caller: &Client, credential: &Credential) -> Answer {
    caller.post(REVOKE, json!({"lease_id": credential.lease})).await
}

/// Fails the test unless an answer says yes, with a warning.
#[track_caller]
fn warns(answer: Answer) {
    let body: Value = answer.expect(200).json();
    let warning = body["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("other pods"), "{body}");
}

#[tokio::test]
async fn refuse_nobody_does_and_nobody_may_take_it_away() {
    let world = world("refuse").await;
    let (one, other) = (world.pod(1), world.pod(2));
    let credential = world.credential(&one).await;
    assert!(world.credential(&other).await.is(&credential));

    for _ in 0..2 {
        revoke(&one, &credential).await.expect_own_error(&[400, 403]);
    }
    assert_eq!(world.asked(REVOKE), 0);
    assert!(world.logs_in(&credential).await);
    for pod in [&one, &other] {
        assert!(world.credential(pod).await.is(&credential));
    }
}

#[tokio::test]
async fn detach_it_lives_until_the_last_one_gives_it_back() {
    let world = world("detach").await;
    let pods: Vec<_> = (0..3).map(|pod| world.pod(pod)).collect();
    let old = world.credential(&pods[0]).await;
    for pod in &pods {
        assert!(world.credential(pod).await.is(&old));
    }

    warns(revoke(&pods[0], &old).await);
    // It is still what this service account has. Who asks for it has it again.
    assert!(world.credential(&pods[0]).await.is(&old));
    warns(revoke(&pods[0], &old).await);
    warns(revoke(&pods[1], &old).await);
    // Once more is nothing new.
    warns(revoke(&pods[1], &old).await);
    assert_eq!(world.asked(REVOKE), 0);
    assert!(world.logs_in(&old).await, "one is left");
    revoke(&pods[2], &old).await.expect(204);
    world.until_gone(&old).await;
    for pod in &pods {
        let new = world.credential(pod).await;
        assert!(!new.is(&old) && world.logs_in(&new).await);
    }
    assert_eq!((world.issued(), world.users().await.len()), (2, 1));
}

#[tokio::test]
async fn pass_it_is_gone_for_all() {
    let world = world("pass").await;
    let (one, other) = (world.pod(1), world.pod(2));
    let old = world.credential(&one).await;
    assert!(world.credential(&other).await.is(&old));

    revoke(&one, &old).await.expect(204);
    world.until_gone(&old).await;
    for pod in [&one, &other] {
        let new = world.credential(pod).await;
        assert!(!new.is(&old) && world.logs_in(&new).await);
    }
    assert_eq!(world.issued(), 2);
}

#[tokio::test]
async fn what_nobody_else_has_is_revoked_at_once() {
    for on_revoke in ["refuse", "detach"] {
        let world = world(on_revoke).await;
        let alone = world.pod(1);
        let old = world.credential(&alone).await;
        revoke(&alone, &old).await.expect(204);
        world.until_gone(&old).await;
        assert_ne!(world.credential(&alone).await.user, old.user);
    }
}

/// What a token was given is nobody's but its own.
#[tokio::test]
async fn a_token_revokes_its_own_whatever_is_configured() {
    let world = world("refuse").await;
    let token = world.caller(&world.token(json!({})).await);
    let own = world.credential(&token).await;
    revoke(&token, &own).await.expect(204);
    world.until_gone(&own).await;
    assert_ne!(world.credential(&token).await.user, own.user);
}

/// A lease of others is none of a caller's business; what it may do there its policy says.
#[tokio::test]
async fn an_operator_is_not_held_up() {
    let world = world("refuse").await;
    let pods = [world.pod(1), world.pod(2)];
    let old = world.credential(&pods[0]).await;
    assert!(world.credential(&pods[1]).await.is(&old));

    revoke(&world.caller("root"), &old).await.expect(204);
    world.until_gone(&old).await;
    for pod in &pods {
        let answer = pod.get(CREDS).await;
        assert!(!Credential::of(answer).is(&old));
    }
}
