//! The connection breaks while a credential is asked for. Is it asked for twice?

use std::time::Duration;

use serde_json::json;

use super::{CREDS, Credential, Fault, World};
use crate::service_accounts::{anew, until};

const ORPHANED: &str = "vaultlet_leases_orphaned_total";

/// A role for each fault, as whoever asks again at once is told what the last one was.
async fn roles(world: &World) -> Vec<(Fault, String)> {
    let mut roles = Vec::new();
    for (number, fault) in Fault::BREAKS.into_iter().enumerate() {
        world.role(&format!("lost-{number}"), json!({})).await;
        roles.push((fault, format!("database/creds/lost-{number}")));
    }
    roles
}

#[tokio::test]
async fn a_credential_whose_answer_is_lost_is_not_asked_for_again() {
    let world = World::new(json!({}), json!({})).await;
    let pod = world.pod(1);

    let mut made = 0;
    for (number, (fault, path)) in roles(&world).await.into_iter().enumerate() {
        world.fail(&path, Some(fault));
        pod.get(&path).await.expect_own_error(&[502]);
        assert_eq!(world.tap.count("GET", &format!("/v1/{path}")), 1, "{fault:?}");
        assert_eq!(world.counted(ORPHANED, &[]).await, number as u64 + 1, "{fault:?}");
        made += usize::from(matches!(fault, Fault::AnswerLost | Fault::AnswerCut));
        assert_eq!(world.users().await.len(), made, "{fault:?}");

        world.fail(&path, None);
        until("another attempt", Duration::from_secs(4), async || {
            pod.get(&path).await.status == 200
        })
        .await;
        assert!(world.logs_in(&Credential::of(pod.get(&path).await)).await);
        made += 1;
    }
    assert_eq!(world.users().await.len(), made);
    assert_eq!(world.counted(ORPHANED, &[]).await, 4, "those are not lost");
}

/// A new one is asked for in place of one that is held: that one goes on.
#[tokio::test]
async fn one_that_is_held_is_not_given_up_for_one_that_is_lost() {
    let world = World::new(json!({}), json!({})).await;
    let pod = world.pod(1);

    for (fault, path) in roles(&world).await {
        let held = Credential::of(pod.get(&path).await);
        world.fail(&path, Some(fault));
        pod.send(&anew(&path)).await.expect_own_error(&[502]);
        assert!(Credential::of(pod.get(&path).await).is(&held), "{fault:?}");
        assert_eq!(world.tap.count("GET", &format!("/v1/{path}")), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_lost_is_not_asked_for_again() {
    let world = World::new(json!({}), json!({})).await;
    super::engines::authority(&world).await;
    let pod = world.pod(1);
    let body = json!({"common_name": "lost.example"});

    for (number, role) in ["leased", "web"].into_iter().enumerate() {
        let path = format!("pki/issue/{role}");
        world.fail(&path, Some(Fault::AnswerLost));
        pod.post(&path, body.clone()).await.expect_own_error(&[502]);
        assert_eq!(world.asked(&path), 1);
        assert_eq!(world.counted(ORPHANED, &[]).await, number as u64 + 1);
    }
}

/// Where nothing was sent, nothing can be lost.
#[tokio::test]
async fn a_server_that_is_not_there_makes_nothing() {
    let mut world = World::new(json!({}), json!({})).await;
    let pod = world.pod(1);
    let given = world.credential(&pod).await;
    assert!(world.credential(&pod).await.is(&given));
    world.bao.kill().await;

    let direct = json!({"upstream": {"address": world.bao.address()}});
    let nobody = crate::vaultlet::Vaultlet::start(&world.bao.address(), direct).await;
    nobody.client().token("root").get(CREDS).await.expect_own_error(&[502, 503]);
    assert_eq!(nobody.metric(ORPHANED, &[]).await, 0.0);
    // To this one a connection is made, and then closed.
    let answer = pod.send(&anew(CREDS)).await.expect_own_error(&[502, 503]);
    assert!(!answer.text().contains(&given.password));
    assert!(Credential::of(pod.get(CREDS).await).is(&given));
}
