//! Is what an answer says of its lease true, whoever moved its end?

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{CREDS, LOOKUP, RENEW, World, is_hit};
use crate::client::{Call, Client};

/// Fails the test unless a hit says what the server says, within a second.
async fn says_what_is_left(world: &World, caller: &Client, lease: &str) -> u64 {
    let answer = caller.get(CREDS).await;
    is_hit(&answer);
    let said = answer.json();
    assert_eq!(said["lease_id"], json!(lease), "{said}");
    let (said, left) = (said["lease_duration"].as_u64().unwrap(), world.left(lease).await.unwrap());
    assert!(said.abs_diff(left) <= 1, "a hit says {said} s, the server {left} s");
    said
}

/// What the server answered to a renewal through vaultlet.
async fn renewed(caller: &Client, call: &Call) -> Value {
    let answer = caller.send(call).await.expect(200);
    assert_eq!(answer.cache(), "", "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn a_hit_says_what_is_left_and_that_gets_less() {
    let world = World::new(json!({"default_ttl": "30s"}), json!({})).await;
    let pod = world.pod(1);
    let first = world.credential(&pod).await;
    assert_eq!(first.seconds, 30);

    let mut said = Vec::new();
    for _ in 0..3 {
        sleep(Duration::from_millis(1500)).await;
        said.push(says_what_is_left(&world, &pod, &first.lease).await);
    }
    assert!(said.is_sorted_by(|one, next| one > next) && said[0] < 30, "{said:?}");
    assert_eq!(world.issued(), 1);
}

#[tokio::test]
async fn a_pods_renewal_reaches_the_server_and_moves_what_hits_say() {
    let world = World::new(json!({}), json!({})).await;
    let (pod, other) = (world.pod(1), world.pod(2));
    let lease = world.credential(&pod).await.lease;
    let body = |increment| json!({"lease_id": lease, "increment": increment});
    let by_path = format!("{RENEW}/{lease}");

    let calls = [
        (Call::new("PUT", RENEW).json(&body(600)), 600),
        (Call::new("POST", RENEW).json(&body(900)), 900),
        (Call::new("PUT", &by_path).json(&json!({"increment": 300})), 300),
        (Call::new("POST", RENEW).json(&body(20)), 20),
        (Call::new("PUT", RENEW).json(&body(7200)), 3600),
    ];
    for (number, (call, given)) in calls.iter().enumerate() {
        let caller = if number % 2 == 0 { &pod } else { &other };
        let answer = renewed(caller, call).await;
        assert_eq!(answer["lease_id"], json!(lease), "{answer}");
        let seconds = answer["lease_duration"].as_u64().unwrap();
        assert!(seconds.abs_diff(*given) <= 10, "{answer}");
        let said = says_what_is_left(&world, &other, &lease).await;
        assert!(said.abs_diff(seconds) <= 2, "{seconds} s were given, a hit says {said}");
        assert_eq!(world.asked(RENEW), number + 1);
    }
    assert_eq!(world.issued(), 1);
}

#[tokio::test]
async fn lookups_are_the_servers() {
    let world = World::new(json!({}), json!({})).await;
    let pod = world.pod(1);
    let lease = world.credential(&pod).await.lease;

    for number in 1..=3 {
        let before = world.asked(LOOKUP);
        let answer = pod.post(LOOKUP, json!({"lease_id": lease})).await.expect(200);
        assert_eq!((answer.json()["data"]["id"].as_str(), answer.cache()), (Some(&*lease), ""));
        assert_eq!(world.asked(LOOKUP), before + 1, "lookup {number}");
    }
    let unknown = json!({"lease_id": "database/creds/app/doesnotexist"});
    pod.post(LOOKUP, unknown).await.expect(400);
}

/// Nobody saw these tokens being issued: each use of one may be counted, and is not vaultlet's to
/// spend. One of them says of itself that it is not so.
#[tokio::test]
async fn a_lease_is_renewed_once_it_is_known_that_its_tokens_uses_are_not_counted() {
    let world = World::new(json!({"default_ttl": "5s"}), json!({})).await;
    let known = world.caller(&world.token(json!({})).await);
    let counted = world.token(json!({"num_uses": 4})).await;
    let one = world.credential(&known).await;
    let other = world.credential(&world.caller(&counted)).await;
    known.get("auth/token/lookup-self").await.expect(200);

    sleep(Duration::from_secs(8)).await;
    assert!(world.logs_in(&one).await && (1..=5).contains(&world.left(&one.lease).await.unwrap()));
    assert_eq!(world.users().await, [one.user], "nothing is done for the other token's");
    assert!(!world.logs_in(&other).await);
    let spent = world.server().post("auth/token/lookup", json!({"token": counted})).await;
    assert_eq!(spent.expect(200).json()["data"]["num_uses"], json!(3), "one read");
}

#[tokio::test]
async fn a_lease_in_use_is_renewed_and_one_that_is_not_ends() {
    let settings = json!({"cache": {"leases": {"idle": "6s"}}});
    let world = World::new(json!({"default_ttl": "4s"}), settings).await;
    let (pod, neighbour) = (world.pod(1), world.neighbour(1));
    let (used, left) = (world.credential(&pod).await, world.credential(&neighbour).await);

    for _ in 0..12 {
        sleep(Duration::from_secs(1)).await;
        let now = world.credential(&pod).await;
        assert!(now.is(&used) && (1..=4).contains(&now.seconds), "{now:?}");
        assert!(world.logs_in(&now).await);
    }
    assert_eq!(world.users().await, std::slice::from_ref(&used.user), "nobody used the other");
    assert!((4..=12).contains(&world.asked(RENEW)), "{} renewals", world.asked(RENEW));
    let counted = world.counted("vaultlet_lease_renewals_total", &["result=\"ok\""]).await;
    assert_eq!(counted, world.asked(RENEW) as u64);
    let again = world.credential(&neighbour).await;
    assert!(!again.is(&left) && world.logs_in(&again).await);
}
