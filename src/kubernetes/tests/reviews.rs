//! What the API server is asked, and what its answers do.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{Cluster, Failure, Kind};
use super::{W, World, config, refused, unavailable};
use crate::config::{Keys, TokenReview};
use crate::kubernetes::Refusal;

/// A cluster whose API server is asked, with a credential in a file.
struct Reviewed {
    cluster: Cluster,
    world: World,
    credential: PathBuf,
    _dir: TempDir,
}

impl Reviewed {
    async fn new(accept_when_down: bool) -> Self {
        let (cluster, dir) = (Cluster::start().await, tempfile::tempdir().unwrap());
        let credential = dir.path().join("token");
        std::fs::write(&credential, format!("{}\n", cluster.reviewer())).unwrap();
        let keys = format!("{}/openid/v1/jwks", cluster.address());
        let mut config = config(&cluster.address(), Keys::Url(keys.parse().unwrap()));
        config.review = Some(TokenReview {
            address: cluster.address().parse().unwrap(),
            ca_file: None,
            token_file: Some(credential.clone()),
            accept_when_down,
        });
        Self { world: World::new(&[config]), cluster, credential, _dir: dir }
    }

    /// Waits until a review in the background has withdrawn the verdict.
    async fn withdrawn(&self, token: &str) {
        for _ in 0..300 {
            if self.world.known(token).is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("still known after 3 s");
    }
}

#[tokio::test]
async fn a_deleted_pod_is_refused_within_the_window() {
    let Reviewed { cluster, world, .. } = &Reviewed::new(false).await;
    let [one, two] = ["one", "two"].map(|pod| cluster.token("payments", "api", pod));
    let background = Reviewed::new(false).await;
    let used = background.cluster.token("payments", "api", "one");
    background.world.verify(&used).await.unwrap();
    world.verify(&one).await.unwrap();
    world.verify(&two).await.unwrap();
    assert_eq!(cluster.count(Kind::Review), 2);

    // Not used in the meantime: the next use asks first.
    cluster.delete_pod("payments", "one");
    world.clock.advance(W);
    assert!(world.known(&one).is_none());
    assert!(matches!(world.verify(&one).await, Err(Refusal::Invalid(_))));
    world.verify(&two).await.unwrap();
    assert_eq!(cluster.count(Kind::Review), 4);

    // In use all the time: it is asked about ahead, once, while the callers go on.
    background.cluster.delete_pod("payments", "one");
    background.world.clock.advance(W.mul_f64(0.79));
    assert!(background.world.known(&used).is_some());
    assert_eq!(background.cluster.count(Kind::Review), 1);
    background.world.clock.advance(W.mul_f64(0.02));
    assert!(background.world.known(&used).is_some());
    assert!(background.world.known(&used).is_some());
    background.withdrawn(&used).await;
    refused(background.world.verify(&used).await);
    assert_eq!(background.cluster.count(Kind::Review), 2);
}

#[tokio::test]
async fn a_token_in_use_is_confirmed_again_and_again() {
    let Reviewed { cluster, world, .. } = &Reviewed::new(false).await;
    let token = cluster.token("payments", "api", "one");
    world.verify(&token).await.unwrap();

    for round in 1..=10 {
        world.clock.advance(W.mul_f64(0.9));
        assert!(world.known(&token).is_some(), "{round}");
        let confirmed = r#"vaultlet_token_reviews_total{result="confirmed"}"#;
        for _ in 0..300 {
            if world.counted(confirmed) == 1 + round {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(world.counted(confirmed), 1 + round);
    }
}

#[tokio::test]
async fn a_service_account_made_anew_is_another_one() {
    let Reviewed { cluster, world, .. } = &Reviewed::new(false).await;
    let old = cluster.token("payments", "api", "one");
    let before = world.verify(&old).await.unwrap();

    cluster.delete_service_account("payments", "api");
    let new = cluster.token("payments", "api", "one");
    world.clock.advance(W);

    refused(world.verify(&old).await);
    let after = world.verify(&new).await.unwrap();
    assert_ne!(before.account, after.account);
}

#[tokio::test]
async fn known_tokens_outlive_an_api_server_that_is_down() {
    let reviewed = Reviewed::new(false).await;
    let Reviewed { cluster, world, .. } = &reviewed;
    let [known, new] = ["known", "new"].map(|pod| cluster.token("payments", "api", pod));
    world.verify(&known).await.unwrap();

    for failure in [Failure::Down, Failure::Status(500), Failure::Status(429)] {
        cluster.fail(Kind::Review, Some(failure));
        world.clock.advance(W);
        assert!(world.known(&known).is_none());
        world.verify(&known).await.unwrap();
        assert!(world.known(&known).is_some());
        unavailable(&world.verify(&new).await);
    }
    // It is back, and says no to one.
    cluster.delete_pod("payments", "known");
    cluster.fail(Kind::Review, None);
    world.verify(&new).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert!(world.known(&known).is_some());
    reviewed.withdrawn(&known).await;
    refused(world.verify(&known).await);
}

#[tokio::test]
async fn an_api_server_that_hangs_delays_no_token_reviewed_within_the_window() {
    let Reviewed { cluster, world, .. } = &Reviewed::new(false).await;
    let token = cluster.token("payments", "api", "one");
    world.verify(&token).await.unwrap();
    cluster.fail(Kind::Review, Some(Failure::Slow(Duration::from_mins(10))));
    world.clock.advance(W.mul_f64(0.9));

    let moment = Duration::from_millis(200);
    for _ in 0..100 {
        assert!(world.known(&token).is_some());
        tokio::time::timeout(moment, world.verify(&token)).await.unwrap().unwrap();
    }
    // Past the window somebody waits, but not for ever, and only once in W.
    world.clock.advance(W);
    tokio::time::timeout(Duration::from_secs(20), world.verify(&token)).await.unwrap().unwrap();
    tokio::time::timeout(moment, world.verify(&token)).await.unwrap().unwrap();
}

#[tokio::test]
async fn new_tokens_are_accepted_while_it_is_down_if_so_configured() {
    let reviewed = Reviewed::new(true).await;
    let Reviewed { cluster, world, .. } = &reviewed;
    cluster.fail(Kind::Review, Some(Failure::Down));
    let token = cluster.token("payments", "api", "one");
    world.verify(&token).await.unwrap();
    // Forged ones are not.
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let forged: String = signature.chars().rev().collect();
    refused(world.verify(format!("{signed}.{forged}")).await);

    cluster.delete_pod("payments", "one");
    cluster.fail(Kind::Review, None);
    world.clock.advance(Duration::from_secs(1));
    assert!(world.known(&token).is_some());
    reviewed.withdrawn(&token).await;
}

#[tokio::test]
async fn its_own_credential_is_read_again() {
    let Reviewed { cluster, world, credential, .. } = &Reviewed::new(false).await;
    let [known, new] = ["known", "new"].map(|pod| cluster.token("payments", "api", pod));
    world.verify(&known).await.unwrap();

    cluster.forget_reviewers();
    unavailable(&world.verify(&new).await);
    world.clock.advance(W);
    world.verify(&known).await.unwrap();
    std::fs::remove_file(credential).unwrap();
    unavailable(&world.verify(&new).await);
    let tried = world.issuers.attempt().await;
    assert!(tried[1].as_ref().unwrap_err().contains("token"), "{tried:?}");

    std::fs::write(credential, cluster.reviewer()).unwrap();
    world.verify(&new).await.unwrap();
    let tried = world.issuers.attempt().await;
    assert!(tried.iter().all(Result::is_ok), "{tried:?}");
}

#[tokio::test]
async fn one_question_is_asked_for_all_who_wait() {
    let Reviewed { cluster, world, .. } = &Reviewed::new(false).await;
    cluster.fail(Kind::Review, Some(Failure::Slow(Duration::from_millis(100))));
    let token = cluster.token("payments", "api", "one");

    let verdicts = join_all((0..100).map(|_| world.verify(&token))).await;

    assert!(verdicts.iter().all(Result::is_ok));
    assert_eq!((cluster.count(Kind::Review), cluster.count(Kind::Keys)), (1, 1));
}

#[test]
fn an_answer_that_is_not_about_the_token_is_a_no() {
    use super::super::{Pod, ServiceAccount, review};
    let account = ServiceAccount {
        cluster: 0,
        namespace: "payments".into(),
        name: "api".into(),
        uid: "u1".into(),
        audiences: ["vaultlet".into()].into(),
    };
    let pod = Pod { name: "api-1".into(), uid: "p1".into() };
    let yes = |change: &dyn Fn(&mut Value)| {
        let mut status = json!({
            "authenticated": true,
            "audiences": ["vaultlet"],
            "user": {"username": "system:serviceaccount:payments:api", "uid": "u1", "extra": {
                "authentication.kubernetes.io/pod-name": ["api-1"],
                "authentication.kubernetes.io/pod-uid": ["p1"],
            }},
        });
        change(&mut status);
        let answer: review::Answer = serde_json::from_value(json!({"status": status})).unwrap();
        answer.status.confirms(&account, Some(&pod), &["vaultlet".into()]).is_ok()
    };

    assert!(yes(&|_| ()));
    assert!(yes(&|status| status["user"]["extra"] = json!({})));
    for (pointer, value) in [
        ("/authenticated", json!(false)),
        ("/audiences", json!([])),
        ("/audiences", json!(["vault"])),
        ("/user/username", json!("system:serviceaccount:payments:admin")),
        ("/user/username", json!("")),
        ("/user/uid", json!("u2")),
        ("/user/extra/authentication.kubernetes.io~1pod-name", json!(["api-2"])),
        ("/user/extra/authentication.kubernetes.io~1pod-uid", json!(["p1", "p2"])),
    ] {
        assert!(!yes(&|status| *status.pointer_mut(pointer).unwrap() = value.clone()), "{pointer}");
    }
    assert!(!yes(&|status| status["error"] = json!("etcd is away")));
    assert!(!yes(&|status| *status = json!({})));
}
