//! The database is down, the server is gone, the role is no more. Who goes on, and for how long?

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{CREDS, Credential, RENEW, World};
use crate::postgres::Postgres;
use crate::service_accounts::until;

/// Asks until there is no answer with this credential; how long that was.
async fn lasts(world: &World, caller: &crate::client::Client, held: &Credential) -> Duration {
    let began = Instant::now();
    loop {
        let answer = caller.get(CREDS).await;
        if answer.status != 200 {
            assert!(!answer.text().contains(&held.password), "{answer:?}");
            return began.elapsed();
        }
        let given = Credential::of(answer);
        assert!(given.is(held) && given.seconds >= 1, "{given:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{} lasts for ever", world.tag);
        sleep(Duration::from_millis(100)).await;
    }
}

/// Each waits more than it works.
#[tokio::test]
async fn what_lives_goes_on_to_its_end() {
    tokio::join!(
        without_its_database_what_lives_goes_on_and_nobody_storms(),
        what_cannot_be_renewed_is_given_out_to_its_end(),
        without_the_server_a_lease_is_given_out_to_its_end(),
        a_role_that_is_no_more_makes_no_more(),
    );
}

async fn without_its_database_what_lives_goes_on_and_nobody_storms() {
    let postgres = Arc::new(Postgres::start().await);
    let world = World::before(postgres.clone(), json!({}), json!({})).await;
    let (pod, neighbours) = (world.pod(1), [world.neighbour(1), world.neighbour(2)]);
    let held = world.credential(&pod).await;

    postgres.stop();
    let before = world.issued();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert!(world.credential(&pod).await.is(&held));
        for neighbour in &neighbours {
            let answer = neighbour.get(CREDS).await.expect(500);
            let said = answer.json()["errors"][0].as_str().unwrap().to_owned();
            assert!(said.contains("connect"), "what the server said: {said}");
        }
        sleep(Duration::from_millis(50)).await;
    }
    let attempts = world.issued() - before;
    assert!((1..=6).contains(&attempts), "{attempts} attempts in four seconds");

    postgres.restart().await;
    until("the database is back", Duration::from_secs(10), async || {
        neighbours[0].get(CREDS).await.status == 200
    })
    .await;
    let new = world.credential(&neighbours[1]).await;
    assert!(world.logs_in(&new).await && world.logs_in(&held).await);
}

/// It can be neither renewed nor replaced: it is given out to its end, and not past it.
async fn what_cannot_be_renewed_is_given_out_to_its_end() {
    let postgres = Arc::new(Postgres::start().await);
    let world = World::before(postgres.clone(), json!({"default_ttl": "5s"}), json!({})).await;
    let pod = world.pod(1);
    let held = world.credential(&pod).await;

    postgres.stop();
    let (before, lasted) = (world.issued(), lasts(&world, &pod, &held).await);
    assert!((3700..5600).contains(&lasted.as_millis()), "{lasted:?}");
    let attempts = world.issued() - before + world.asked(RENEW);
    assert!((1..=8).contains(&attempts), "{attempts} attempts in five seconds");

    postgres.restart().await;
    let patience = Duration::from_secs(10);
    until("another", patience, async || pod.get(CREDS).await.status == 200).await;
    let new = world.credential(&pod).await;
    assert!(!new.is(&held) && world.logs_in(&new).await);
}

async fn without_the_server_a_lease_is_given_out_to_its_end() {
    let settings = json!({"cache": {"leases": {"check_after": "1s"}}, "policy": {"refresh": "1s"}});
    let mut world = World::new(json!({"default_ttl": "5s"}), settings).await;
    let pod = world.pod(1);
    let held = world.credential(&pod).await;
    assert!(world.credential(&pod).await.is(&held), "its right is proven");

    world.bao.kill().await;
    let lasted = lasts(&world, &pod, &held).await;
    assert!((3700..5600).contains(&lasted.as_millis()), "{lasted:?}");
    pod.get(CREDS).await.expect_own_error(&[502, 503]);
}

async fn a_role_that_is_no_more_makes_no_more() {
    let world = World::new(json!({"default_ttl": "4s", "max_ttl": "4s"}), json!({})).await;
    let pod = world.pod(1);
    let held = world.credential(&pod).await;

    world.server().delete("database/roles/app").await.expect(204);
    let (before, lasted) = (world.issued(), lasts(&world, &pod, &held).await);
    assert!((2700..4600).contains(&lasted.as_millis()), "{lasted:?}");
    let attempts = world.issued() - before;
    assert!((1..=5).contains(&attempts), "{attempts} attempts in four seconds");
    let answer = pod.get(CREDS).await.expect(400);
    assert!(answer.text().contains("unknown role"), "{answer:?}");
}
