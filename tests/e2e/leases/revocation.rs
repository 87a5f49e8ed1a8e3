//! Is what was revoked ever handed out again, however it was revoked?

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{CREDS, Credential, REVOKE, World, replaced};
use crate::client::{Call, Client};
use crate::world::{policy, token};

/// When somebody asked, and the user in the answer, if there was one.
type Answers = Arc<Mutex<Vec<(Instant, Option<String>)>>>;

/// Whoever asks, all the time, and what they were answered.
struct Askers {
    answers: Answers,
    tasks: JoinSet<()>,
}

impl Askers {
    fn start(callers: impl IntoIterator<Item = Client>) -> Self {
        let (answers, mut tasks) = (Answers::default(), JoinSet::new());
        for caller in callers {
            let answers = answers.clone();
            tasks.spawn(async move {
                loop {
                    let asked = Instant::now();
                    let answer = caller.get(CREDS).await;
                    let user = (answer.status == 200).then(|| Credential::of(answer).user);
                    answers.lock().unwrap().push((asked, user));
                    sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Self { answers, tasks }
    }

    /// When somebody last asked who was given this user.
    async fn last(mut self, user: &str) -> Instant {
        sleep(Duration::from_millis(300)).await;
        self.tasks.shutdown().await;
        let answers = self.answers.lock().unwrap();
        let given = answers.iter().filter(|(_, given)| given.as_deref() == Some(user));
        given.map(|(asked, _)| *asked).max().expect("it was handed out before")
    }
}

async fn accessor(world: &World, token: &str) -> Value {
    let about = world.server().post("auth/token/lookup", json!({"token": token})).await;
    about.expect(200).json()["data"]["accessor"].clone()
}

/// The ways of an operator: a name, the path, the body, and the status of the server's answer.
async fn ways(world: &World, lease: &str) -> Vec<(&'static str, String, Value, u16)> {
    let owner = world.owner();
    let accessor = accessor(world, &owner).await;
    let (encoded, id) = (lease.replace('/', "%2F"), json!({"lease_id": lease}));
    vec![
        ("body", REVOKE.into(), id.clone(), 204),
        ("body, waited for", REVOKE.into(), json!({"sync": true, "lease_id": lease}), 204),
        ("body, not waited for", REVOKE.into(), json!({"lease_id": lease, "sync": false}), 202),
        ("URL", format!("{REVOKE}/{lease}"), json!({}), 204),
        ("URL, encoded", format!("{REVOKE}/{encoded}"), json!({}), 204),
        ("its own prefix", format!("{REVOKE}-prefix/{lease}"), json!({}), 204),
        ("its role's prefix", format!("{REVOKE}-prefix/{CREDS}"), json!({}), 204),
        ("its mount's prefix", format!("{REVOKE}-prefix/database"), json!({}), 204),
        ("prefix, not waited for", format!("{REVOKE}-prefix/{CREDS}"), json!({"sync": false}), 202),
        ("force", format!("{REVOKE}-force/{CREDS}"), json!({}), 204),
        ("owner", "auth/token/revoke".into(), json!({"token": owner}), 204),
        (
            "owner's accessor",
            "auth/token/revoke-accessor".into(),
            json!({"accessor": accessor}),
            204,
        ),
        ("owner as orphan", "auth/token/revoke-orphan".into(), json!({"token": owner}), 204),
        ("owners' prefix", format!("{REVOKE}-prefix/auth/kubernetes/login"), json!({}), 204),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_through_vaultlet_is_never_handed_out_again() {
    let world = World::new(json!({}), json!({})).await;
    let (root, pod) = (world.caller("root"), world.pod(1));

    let mut number = 0;
    loop {
        let old = world.credential(&pod).await;
        let all = ways(&world, &old.lease).await;
        let Some((name, path, body, status)) = all.get(number) else { break };
        number += 1;
        let askers = Askers::start((2..6).map(|pod| world.pod(pod)));
        sleep(Duration::from_millis(50)).await;
        let call = Call::new(if number % 2 == 0 { "PUT" } else { "POST" }, path).json(body);
        root.send(&call).await.expect(*status);
        let answered = Instant::now();
        assert!(askers.last(&old.user).await < answered, "{name}: {} was given again", old.user);

        let new = world.credential(&pod).await;
        assert_ne!(new.user, old.user, "{name}");
        assert!(world.logs_in(&new).await, "{name}: {} is dead", new.user);
        world.until_gone(&old).await;
        assert_eq!(world.users().await, [new.user], "{name}");
    }
    // One for each way, one at first, and no more.
    let made = world.counted("vaultlet_lease_issues_total", &["result=\"ok\""]).await;
    assert_eq!(made, number as u64 + 1);
}

/// What a token was given goes with it, and with the one that made it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_revoked_takes_its_users_with_it() {
    let world = World::new(json!({}), json!({})).await;
    let root = world.caller("root");
    let rules = "path \"auth/token/create\" { capabilities = [\"create\", \"update\"] }";
    policy(&world.server(), "parent", rules).await;

    for way in ["itself", "revoked", "accessor", "parent", "parent itself", "parent's accessor"] {
        let parent = world.token(json!({"policies": ["payments-api", "parent"]})).await;
        let as_parent = Client::tcp(&world.bao.address()).token(&parent);
        let child = token(&as_parent, json!({"policies": ["payments-api"]})).await;
        let caller = world.caller(&child);
        let old = world.credential(&caller).await;
        assert!(world.credential(&caller).await.is(&old) && world.logs_in(&old).await, "{way}");
        let askers = Askers::start([caller.clone()]);
        let whose = if way.starts_with("parent") { &parent } else { &child };
        let accessor = accessor(&world, whose).await;
        let answer = match way {
            "itself" | "parent itself" => {
                world.caller(whose).post("auth/token/revoke-self", json!({})).await
            }
            "accessor" | "parent's accessor" => {
                root.post("auth/token/revoke-accessor", json!({"accessor": accessor})).await
            }
            _ => root.post("auth/token/revoke", json!({"token": whose})).await,
        };
        answer.expect(204);

        let answered = Instant::now();
        assert!(askers.last(&old.user).await < answered, "{way}: {} was given again", old.user);
        let refused = caller.get(CREDS).await.expect(403);
        assert!(!refused.text().contains(&old.password), "{way}: {refused:?}");
        world.until_gone(&old).await;
    }
}

/// Nobody tells vaultlet. A lookup within `check_after` does, or the window of the owner's login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_behind_its_back_is_noticed_in_time() {
    let settings = json!({"cache": {"leases": {"check_after": "1s"}}, "policy": {"refresh": "1s"}});
    let world = World::new(json!({}), settings).await;
    let (server, pod) = (world.server(), world.pod(1));

    for way in ["lease", "user and lease", "owner"] {
        let old = world.credential(&pod).await;
        let askers = Askers::start((2..6).map(|pod| world.pod(pod)));
        sleep(Duration::from_millis(300)).await;
        let gone = Instant::now();
        if way == "owner" {
            let owner = json!({"token": world.owner()});
            server.post("auth/token/revoke", owner).await.expect(204);
        } else {
            if way == "user and lease" {
                world.postgres.drop_user(&old.user).await;
            }
            server.post(REVOKE, json!({"lease_id": old.lease})).await.expect(204);
        }
        let new = replaced(&world, &pod, &old, Duration::from_secs(2)).await;
        assert!(world.logs_in(&new).await, "{way}");
        let late = askers.last(&old.user).await.duration_since(gone);
        assert!(late < Duration::from_millis(1600), "{way}: given again {late:?} later");
        assert_eq!(world.users().await, [new.user], "{way}");
    }
}

#[tokio::test]
async fn whoever_comes_back_after_a_while_does_not_get_what_is_gone() {
    let settings = json!({"cache": {"leases": {"check_after": "1s"}}});
    let world = World::new(json!({}), settings).await;
    let pod = world.pod(1);
    let old = world.credential(&pod).await;
    world.server().post(REVOKE, json!({"lease_id": old.lease})).await.expect(204);

    sleep(Duration::from_millis(2500)).await;
    let new = world.credential(&pod).await;
    assert!(!new.is(&old) && world.logs_in(&new).await);
}

/// The server does not know; that the user is gone shows when the lease is renewed.
#[tokio::test]
async fn a_user_that_somebody_dropped_is_replaced_once_it_cannot_be_renewed() {
    let world = World::new(json!({"default_ttl": "6s"}), json!({})).await;
    let pod = world.pod(1);
    let old = world.credential(&pod).await;
    world.postgres.drop_user(&old.user).await;

    let new = replaced(&world, &pod, &old, Duration::from_secs(7)).await;
    assert!(world.logs_in(&new).await);
    assert_eq!(world.issued(), 2);
}
