//! Nothing lives for ever. Is another there in time, and does the old one live long enough?

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Credential, World, engines};
use crate::client::Client;

/// Asks for so long, and fails the test unless each user logs in when it is given out, and for as
/// long as the answer said. Returns them all.
async fn use_them(world: &World, pods: &[Client], duration: Duration) -> HashSet<String> {
    let (began, pause) = (Instant::now(), Duration::from_millis(300));
    let mut users = HashSet::new();
    let mut promised = JoinSet::new();
    while began.elapsed() < duration {
        for pod in pods {
            let given = world.credential(pod).await;
            let at = began.elapsed();
            assert!(given.seconds >= 1, "{given:?} at {at:?}");
            assert!(world.logs_in(&given).await, "{given:?} is dead at {at:?}");
            users.insert(given.user.clone());
            // The answer's seconds are whole ones, and so is the end that the database was told.
            let end = Instant::now() + Duration::from_secs(given.seconds.saturating_sub(2));
            let postgres = world.postgres.clone();
            promised.spawn(async move {
                sleep_until(end).await;
                let Credential { user, password, .. } = &given;
                let lives = postgres.logs_in(user, password).await;
                assert!(lives, "{given:?} at {at:?} did not last");
            });
        }
        sleep(pause).await;
    }
    promised.abort_all();
    while let Some(kept) = promised.join_next().await {
        assert!(kept.is_ok() || kept.is_err_and(|error| error.is_cancelled()), "a promise broken");
    }
    users
}

/// Each waits more than it works.
#[tokio::test]
async fn another_is_there_in_time() {
    tokio::join!(
        another_user_is_there_before_the_longest_life_ends(),
        another_user_is_there_before_the_shared_login_ends(),
        engines::with_a_rule_a_certificate_that_nears_its_end_is_another(),
        engines::with_a_rule_a_static_role_is_kept_until_it_changes(),
    );
}

async fn another_user_is_there_before_the_longest_life_ends() {
    let world = World::new(json!({"default_ttl": "4s", "max_ttl": "12s"}), json!({})).await;
    let pods = [world.pod(1), world.pod(2)];

    let users = use_them(&world, &pods, Duration::from_secs(26)).await;
    assert!((3..=4).contains(&users.len()), "{} users in 26 s", users.len());
    assert_eq!(world.issued(), users.len());
    let rotations = world.counted("vaultlet_lease_rotations_total", &["result=\"ok\""]).await;
    assert_eq!(rotations, users.len() as u64 - 1);
}

/// A lease ends with the login it was made with, which cannot be renewed for ever either.
async fn another_user_is_there_before_the_shared_login_ends() {
    let world = World::new(json!({}), json!({})).await;
    let short = json!({"token_ttl": "5s", "token_max_ttl": "10s"});
    world.team(("payments", "api"), short).await;
    let pods = [world.pod(1), world.pod(2)];

    let users = use_them(&world, &pods, Duration::from_secs(22)).await;
    assert!((2..=5).contains(&users.len()), "{} users in 22 s", users.len());
}

/// `make test-leases`
#[tokio::test]
#[ignore = "ten minutes"]
async fn ten_minutes_of_a_role_of_thirty_seconds() {
    let world = World::new(json!({"default_ttl": "10s", "max_ttl": "30s"}), json!({})).await;
    let pods: Vec<_> = (0..20).map(|pod| world.pod(pod)).collect();

    let users = use_them(&world, &pods, Duration::from_mins(10)).await;
    println!("{} users in ten minutes", users.len());
    assert!((20..=28).contains(&users.len()), "{} users in ten minutes", users.len());
    assert_eq!(world.issued(), users.len());
}
