//! Who is given a credential, and who not?

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{CREDS, Credential, RENEW, RULES, World};
use crate::client::{Call, Client};
use crate::world::policy;

#[tokio::test]
async fn a_token_is_given_its_own_and_nobody_elses() {
    let world = World::new(json!({}), json!({})).await;
    let tokens = [world.token(json!({})).await, world.token(json!({})).await];
    let pods = world.credential(&world.pod(1)).await;

    let mut given = Vec::new();
    for token in &tokens {
        let caller = world.caller(token);
        let own = world.credential(&caller).await;
        assert!(world.credential(&caller).await.is(&own));
        assert!(world.credential(&world.caller(token)).await.is(&own), "on another connection");
        assert!(world.logs_in(&own).await);
        given.push(own);
    }
    assert!(!given[0].is(&given[1]) && !given[0].is(&pods) && !given[1].is(&pods));
    assert_eq!((world.issued(), world.users().await.len()), (3, 3));
}

#[tokio::test]
async fn whoever_may_not_is_refused_whatever_is_held() {
    let world = World::new(json!({}), json!({})).await;
    let held = world.credential(&world.pod(1)).await;
    world.credential(&world.pod(2)).await;
    world.team(("batch", "job"), json!({"token_policies": ["default"]})).await;
    let service_account = world.caller(&world.cluster.token("batch", "job", "job-1"));
    let token = world.caller(&world.token(json!({"policies": ["default"]})).await);
    let unknown = world.caller("s.unknownunknownunknownunk");

    for caller in [&service_account, &token, &unknown, &world.vaultlet.client()] {
        for _ in 0..2 {
            let answer = caller.get(CREDS).await.expect(403);
            assert!(!answer.text().contains(&held.user), "{answer:?}");
        }
    }
    assert_eq!(world.users().await, [held.user]);
}

/// How long somebody was still given a credential, asking all the time; who it was that was left.
async fn until_refused(caller: &Client, patience: Duration) -> Duration {
    let began = Instant::now();
    let mut last = Duration::ZERO;
    loop {
        let asked = began.elapsed();
        let answer = caller.get(CREDS).await.expect_any(&[200, 403]);
        if answer.status == 403 {
            return last;
        }
        last = asked;
        assert!(asked < patience, "still given after {asked:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_away_is_gone_within_the_window() {
    for source in ["upstream", "local"] {
        let mut settings = json!({"policy": {"refresh": "1s", "source": source}});
        let home = tempfile::tempdir().unwrap();
        if source == "local" {
            let file = home.path().join("token");
            std::fs::write(&file, "root").unwrap();
            settings["policy"]["identity"] = json!({"token_file": file});
        }
        let world = World::new(json!({}), settings).await;
        let (pod, neighbour) = (world.pod(1), world.neighbour(1));
        let token = world.caller(&world.token(json!({})).await);
        for caller in [&pod, &token, &neighbour] {
            let own = world.credential(caller).await;
            assert!(world.credential(caller).await.is(&own));
        }
        let kept = world.credential(&neighbour).await;

        let rules = RULES.replace("database/creds/*", "database/creds/other");
        policy(&world.server(), "payments-api", &rules).await;
        for caller in [&pod, &token] {
            let last = until_refused(caller, Duration::from_secs(4)).await;
            assert!(last < Duration::from_millis(1600), "{source}: given for {last:?}");
        }
        for _ in 0..3 {
            sleep(Duration::from_millis(400)).await;
            pod.get(CREDS).await.expect(403);
            assert!(world.credential(&neighbour).await.is(&kept));
        }
        policy(&world.server(), "payments-api", RULES).await;
        let began = Instant::now();
        while pod.get(CREDS).await.status != 200 {
            assert!(began.elapsed() < Duration::from_secs(4), "{source}: not given back");
            sleep(Duration::from_millis(50)).await;
        }
        let users = world.users().await;
        assert!(users.len() <= 5, "{source}: {users:?}");
    }
}

#[tokio::test]
async fn scope_token_each_pod_has_its_own() {
    let settings = json!({"cache": {"leases": {"scope": "token"}}});
    let world = World::new(json!({}), settings).await;
    let pods = [world.pod(1), world.pod(2)];
    let token = world.caller(&world.token(json!({})).await);

    let mut given: Vec<Credential> = Vec::new();
    for caller in [&pods[0], &pods[1], &token] {
        let own = world.credential(caller).await;
        assert!(world.credential(caller).await.is(&own) && world.logs_in(&own).await);
        assert!(given.iter().all(|other| other.user != own.user), "{given:?} {own:?}");
        given.push(own);
    }
    assert_eq!((world.issued(), world.users().await.len()), (3, 3));
}

#[tokio::test]
async fn scope_none_each_answer_is_the_servers() {
    let settings = json!({"cache": {"leases": {"scope": "none"}}});
    let world = World::new(json!({}), settings).await;
    let token = world.caller(&world.token(json!({})).await);

    for (number, caller) in [world.pod(1), world.pod(1), token.clone(), token].iter().enumerate() {
        let answer = caller.get(CREDS).await;
        assert_eq!(answer.cache(), "", "{answer:?}");
        assert_eq!(Credential::of(answer).seconds, 60);
        assert_eq!(world.users().await.len(), number + 1);
    }
    assert_eq!(world.asked("sys/leases"), 0, "nobody looks after them");
}

/// What asks for more than a credential is forwarded, and other questions get other answers.
#[tokio::test]
async fn what_is_beside_the_usual_is_the_servers_affair() {
    let world = World::new(json!({}), json!({})).await;
    let pod = world.pod(1);
    let held = world.credential(&pod).await;

    let wrapped: Value =
        pod.send(&Call::get(CREDS).with("X-Vault-Wrap-TTL", "60")).await.expect(200).json();
    assert!(wrapped["wrap_info"]["token"].is_string() && wrapped["data"].is_null(), "{wrapped}");
    assert!(world.credential(&pod).await.is(&held));
    let listed = pod.send(&Call::get("database/creds/app?x=1")).await.expect(200);
    assert!(!Credential::of(listed).is(&held));
    assert_eq!((world.asked(RENEW), world.users().await.len()), (0, 3));
}

/// A look-up spends a use as well, so that one answer may come from memory for it.
#[tokio::test]
async fn a_token_whose_uses_are_counted_has_no_more_of_them() {
    let world = World::new(json!({}), json!({})).await;
    let counted = world.caller(&world.token(json!({"num_uses": 3})).await);

    let mut given = 0;
    for _ in 0..6 {
        given += usize::from(counted.get(CREDS).await.status == 200);
    }
    assert!((1..=3).contains(&given), "{given} answers for three uses");
}
