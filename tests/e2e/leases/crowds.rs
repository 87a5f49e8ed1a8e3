//! How many users does a crowd of pods cost the database?

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{CREDS, Credential, Fault, World, is_hit};
use crate::client::Client;
use crate::service_accounts::{anew, until};

/// What all of these are given at once.
async fn at_once(callers: impl IntoIterator<Item = Client>) -> Vec<Credential> {
    let mut asking = JoinSet::new();
    for caller in callers {
        asking.spawn(async move { caller.get(CREDS).await });
    }
    asking.join_all().await.into_iter().map(Credential::of).collect()
}

/// Fails the test unless they are all the same one.
#[track_caller]
fn all_the_same(credentials: &[Credential]) {
    let first = &credentials[0];
    for other in credentials {
        assert!(other.is(first), "{} and {}", other.user, first.user);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_pods_at_once_share_one_user() {
    let world = World::new(json!({}), json!({})).await;

    let given = at_once((0..60).map(|pod| world.pod(pod))).await;
    all_the_same(&given);
    let left = world.left(&given[0].lease).await.unwrap();
    for credential in &given {
        assert!((left - 1..=60).contains(&credential.seconds), "{credential:?}, {left} s left");
    }
    assert_eq!(world.users().await, [given[0].user.clone()]);
    assert!(world.logs_in(&given[0]).await);
    assert_eq!(world.issued(), 1);
    assert_eq!(world.tap.count("POST", "/v1/auth/kubernetes/login"), 1);
    until("it is counted", Duration::from_secs(5), async || {
        world.counted("vaultlet_cache_entries", &["cache=\"lease\""]).await == 1
    })
    .await;
    is_hit(&world.pod(7).get(CREDS).await);

    let other = at_once((0..20).map(|pod| world.neighbour(pod))).await;
    all_the_same(&other);
    assert_ne!(other[0].user, given[0].user);
    assert!(world.logs_in(&other[0]).await);
    assert_eq!((world.issued(), world.users().await.len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unmodified_pods_share_it_too() {
    let world = World::new(json!({}), json!({})).await;
    let mut pods = Vec::new();
    for pod in 0..10 {
        pods.push(world.unmodified(pod).await);
        pods.push(world.pod(pod));
    }

    let given = at_once(pods).await;
    all_the_same(&given);
    assert!(world.logs_in(&given[0]).await);
    assert_eq!((world.issued(), world.users().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_restart_cost_nothing() {
    let world = World::new(json!({}), json!({})).await;
    let teams: Vec<_> = (0..5).map(|team| format!("team-{team}")).collect();
    for team in &teams {
        world.team((team, "app"), json!({})).await;
    }

    let mut users = HashSet::new();
    for restart in 0..10 {
        let pods = (0..200).map(|pod| {
            let name = format!("app-{pod}-{restart}");
            world.caller(&world.cluster.token(&teams[pod % 5], "app", &name))
        });
        users.extend(at_once(pods).await.into_iter().map(|credential| credential.user));
    }
    assert_eq!(users.len(), 5, "one for each service account");
    assert_eq!((world.issued(), world.users().await.len()), (5, 5));
}

#[tokio::test]
async fn a_first_caller_that_hangs_up_leaves_it_to_the_others() {
    let world = World::new(json!({}), json!({})).await;
    world.fail(CREDS, Some(Fault::Late(Duration::from_millis(700))));
    let hang_up = async |caller: Client| {
        let answer = timeout(Duration::from_millis(200), caller.get(CREDS)).await;
        assert!(answer.is_err(), "it was to hang up: {answer:?}");
    };

    hang_up(world.pod(1)).await;
    let waited = at_once((2..12).map(|pod| world.pod(pod))).await;
    all_the_same(&waited);
    // Nobody waits for this one.
    hang_up(world.neighbour(1)).await;
    sleep(Duration::from_secs(1)).await;
    let alone = world.credential(&world.neighbour(2)).await;

    assert!(world.logs_in(&waited[0]).await && world.logs_in(&alone).await);
    assert_eq!((world.issued(), world.users().await.len()), (2, 2));
    assert_eq!(world.counted("vaultlet_leases_orphaned_total", &[]).await, 0);
}

/// It is still held, but not for long enough to be given out, and nobody looks after it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_in_the_last_second_of_one_shares_the_next() {
    let settings = json!({"cache": {"leases": {"idle": "1s"}}});
    let world = World::new(json!({"default_ttl": "3s"}), settings).await;
    let pods: Vec<_> = (0..20).map(|pod| world.pod(pod)).collect();
    let old = at_once(pods.clone()).await;
    all_the_same(&old);

    sleep(Duration::from_millis(2150)).await;
    let new = at_once(pods).await;
    all_the_same(&new);
    assert!(!new[0].is(&old[0]) && world.logs_in(&new[0]).await);
    assert_eq!(world.issued(), 2);
}

#[tokio::test]
async fn who_asks_for_a_new_one_gets_it_and_so_do_the_others() {
    let world = World::new(json!({}), json!({})).await;
    let before = world.credential(&world.pod(1)).await;

    let new = Credential::of(world.pod(2).send(&anew(CREDS)).await);
    assert_ne!(new.user, before.user);
    for pod in 1..4 {
        assert!(world.credential(&world.pod(pod)).await.is(&new));
    }
    assert!(world.logs_in(&new).await && world.logs_in(&before).await, "whoever has it keeps it");
    assert_eq!((world.issued(), world.users().await.len()), (2, 2));
}
