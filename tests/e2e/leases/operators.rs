//! What do operators see of leases, and what can they have forgotten?

use serde_json::{Value, json};

use super::{CREDS, Credential, World};
use crate::client::{Answer, Call};

async fn status(world: &World) -> Answer {
    let status = Call::get("").target("/status");
    world.vaultlet.admin().send(&status).await.expect(200)
}

async fn clear(world: &World, body: Value) {
    let clear = Call::new("POST", "").target("/cache/clear").json(&body);
    world.vaultlet.admin().send(&clear).await.expect(200);
}

#[tokio::test]
async fn status_counts_leases_and_names_paths_only_when_told_to() {
    for show in [false, true] {
        let world = World::new(json!({}), json!({"admin": {"show_paths": show}})).await;
        let none = json!({"engines": [], "next_end_seconds": null, "unconfirmed_seconds": null});
        let mut before = status(&world).await.json()["leases"].clone();
        assert_eq!(before.as_object_mut().unwrap().remove("paths").is_some(), show);
        assert_eq!(before, none);

        let (pod, neighbour) = (world.pod(1), world.neighbour(1));
        let credential = world.credential(&pod).await;
        world.credential(&neighbour).await;
        // Whoever wants another gets one; that before lives on.
        pod.send(&Call::get(CREDS).with("Cache-Control", "no-cache")).await.expect(200);

        let answer = status(&world).await;
        let leases = &answer.json()["leases"];
        let engines = json!([{"engine": "database", "live": 2, "retired": 1}]);
        assert_eq!(leases["engines"], engines);
        let next = leases["next_end_seconds"].as_u64().unwrap();
        assert!((30..=60).contains(&next), "{next}");
        assert!(leases["unconfirmed_seconds"].as_u64().unwrap() < 30);
        let paths = json!([{"path": CREDS, "live": 2, "retired": 1}]);
        assert_eq!(leases["paths"], if show { paths } else { json!(null) });
        for secret in [&credential.user, &credential.password, &credential.lease] {
            assert!(!answer.text().contains(secret), "{answer:?}");
        }
        assert_eq!(answer.text().contains(CREDS), show);
    }
}

#[tokio::test]
async fn what_an_operator_clears_is_made_anew_and_revoked_by_nobody() {
    let world = World::new(json!({}), json!({})).await;
    let token = world.token(json!({})).await;
    let accessor = world.caller(&token).get("auth/token/lookup-self").await.expect(200).json();
    let accessor = accessor["data"]["accessor"].clone();
    let callers = [world.pod(1), world.neighbour(1), world.caller(&token)];
    // What is cleared, and who is given another credential then.
    let cases = [
        (json!({"type": "all"}), [true, true, true]),
        (json!({"type": "path", "value": CREDS}), [true, true, true]),
        (json!({"type": "path", "value": "/v1/database/*"}), [true, true, true]),
        (json!({"type": "path", "value": "database/creds/ap"}), [false, false, false]),
        (json!({"type": "path", "value": CREDS, "namespace": "team"}), [false, false, false]),
        (json!({"type": "lease", "value": "of the first"}), [true, false, false]),
        (json!({"type": "lease", "value": "database/creds/app/unknown"}), [false, false, false]),
        (json!({"type": "token", "value": token}), [false, false, true]),
        (json!({"type": "token_accessor", "value": accessor}), [false, false, true]),
    ];
    for (mut body, anew) in cases {
        let mut held: Vec<Credential> = Vec::new();
        for caller in &callers {
            held.push(world.credential(caller).await);
        }
        if body["value"] == "of the first" {
            body["value"] = json!(held[0].lease);
        }

        clear(&world, body.clone()).await;

        for ((caller, old), anew) in callers.iter().zip(held).zip(anew) {
            assert_eq!(!world.credential(caller).await.is(&old), anew, "{body}");
            assert!(world.logs_in(&old).await, "{body}");
        }
    }
}
