//! Can a caller make vaultlet believe more than the server does, or forget what others rely on?

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::client::Call;
use crate::world::{World, hit};

const PATH: &str = "secret/data/target";

/// A world in which `reader` has filled the cache.
async fn filled(settings: serde_json::Value) -> (World, crate::client::Client) {
    let world = World::new(settings).await;
    world.put("target", "canary").await;
    let reader = world.caller_with(&["reader"]).await;
    reader.get(PATH).await.expect(200);
    hit(&reader, PATH, "canary").await;
    (world, reader)
}

#[tokio::test]
async fn a_secret_that_reads_like_a_lookup_tells_nothing_about_a_token() {
    let (world, _reader) = filled(json!({})).await;
    world
        .policy("own", r#"path "kv1/own/*" { capabilities = ["create", "read", "update"] }"#)
        .await;
    let token = world.token(&["own"]).await;
    let attacker = world.caller(&token);
    let forged = json!({
        "id": token, "accessor": "", "policies": ["default", "reader"], "entity_id": "",
        "path": "auth/token/create", "num_uses": 0, "orphan": true, "expire_time": null,
    });

    for at in ["cubbyhole/auth/token/lookup-self", "kv1/own/auth/token/lookup-self"] {
        attacker.post(at, forged.clone()).await.expect(204);
        for call in [Call::get(at), Call::get(&format!("{at}?x=1"))] {
            attacker.send(&call).await.expect(200);
            attacker.get(PATH).await.expect(403);
        }
    }
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_not_part_of_a_path_that_does() {
    let rules = json!({"policy": {"refresh": "1s"}});
    let (world, _reader) = filled(rules).await;
    let token = world.token(&["reader"]).await;
    let caller = world.caller(&token);
    caller.get(PATH).await.expect(200);
    hit(&caller, PATH, "canary").await;
    // Joined, this is the same path; the server knows no namespace `secret`.
    let split = Call::get("data/target").with("X-Vault-Namespace", "secret");

    caller.send(&split).await.expect(404);
    world.server().post("auth/token/revoke", json!({"token": token})).await.expect(204);
    sleep(Duration::from_millis(1300)).await;
    // The question about the token fails as well, which is no outage.
    for _ in 0..3 {
        let answer = caller.send(&split).await;
        assert_eq!(answer.expect(404).json()["errors"][0], "namespace not found");
    }
    caller.get(PATH).await.expect(403);
}

#[tokio::test]
async fn who_has_no_token_cannot_empty_the_cache() {
    let (world, reader) = filled(json!({})).await;
    let stranger = world.vaultlet.client();
    let post = |path: &str| Call::new("POST", path).json(&json!({}));
    let attempts = [
        post("sys/internal/ui/mounts"),
        post("sys/internal/specs/openapi"),
        post("sys/seal-status"),
        post("sys/decode-token"),
        post("sys/mfa/validate"),
        post("sys/policies/acl/x"),
        post("sys/generate-root/attempt"),
        post("sys//policies/acl/x"),
        post("sys/policies/acl/x/"),
        post("sys/policies/acl/x").body("{"),
        post("auth/token/revoke").body("{"),
        post("identity/oidc/provider/default/token"),
        Call::new("PATCH", "sys/mounts/secret"),
        post("secret/data/target"),
        post("anything").with("X-Vault-Namespace", "no.such"),
        post("auth/none/login").with("X-Vault-Namespace", "root"),
    ];

    for attempt in attempts {
        for caller in [&stranger, &world.caller("s.junk")] {
            let answer = caller.send(&attempt).await;
            let after = reader.get(PATH).await;
            assert_eq!(after.cache(), "HIT", "after {attempt:?} and {}", answer.status);
        }
    }
}
