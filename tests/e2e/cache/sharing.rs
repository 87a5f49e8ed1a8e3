//! Who may be answered from an entry that somebody else filled?

use serde_json::json;

use crate::client::{Call, Client};
use crate::world::{World, fresh, hit, reads};

#[tokio::test]
async fn a_second_caller_with_the_same_rights_hits() {
    let world = World::new(json!({})).await;

    a_second_caller_hits(&world).await;
}

/// Also run against the oldest supported server.
pub async fn a_second_caller_hits(world: &World) {
    world.put("shared", "one").await;
    world.server().post("kv1/shared", json!({"value": "old"})).await.expect(204);
    let (first, second) =
        (world.caller_with(&["reader"]).await, world.caller_with(&["reader"]).await);
    let direct = world.server().get("secret/data/shared").await;

    let miss = first.get("secret/data/shared").await;
    fresh(&miss, "one");
    assert_eq!(miss.cache(), "MISS", "{miss:?}");
    assert_eq!(miss.header("cache-status"), Some("vaultlet; fwd=miss; stored"), "{miss:?}");
    let answer = hit(&second, "secret/data/shared", "one").await;
    let status = answer.header("cache-status").unwrap();
    let ttl: u64 = status.strip_prefix("vaultlet; hit; ttl=").unwrap().parse().unwrap();
    assert!((50..=60).contains(&ttl), "{status}");
    let age: u64 = answer.header("age").unwrap().parse().unwrap();
    assert!(age < 10, "{age}");
    assert_eq!(answer.json()["data"], direct.json()["data"]);
    for name in ["content-type", "cache-control", "strict-transport-security"] {
        assert_eq!(answer.header(name), direct.header(name), "{name}");
    }

    fresh(&first.get("kv1/shared").await, "old");
    hit(&second, "kv1/shared", "old").await;
    fresh(&first.get("secret/data/shared?version=1").await, "one");
    hit(&second, "secret/data/shared?version=1", "one").await;
}

#[tokio::test]
async fn a_bearer_token_is_the_same_credential() {
    let world = World::new(json!({})).await;
    world.put("shared", "one").await;
    let token = world.token(&["reader"]).await;
    fresh(&world.caller(&token).get("secret/data/shared").await, "one");

    let call = Call::get("secret/data/shared").with("Authorization", &format!("Bearer {token}"));
    hit(&world.vaultlet.client(), &call, "one").await;
}

#[tokio::test]
async fn a_caller_without_the_right_is_refused_as_by_the_server() {
    let world = World::new(json!({})).await;
    world.put("shared", "canary").await;
    let reader = world.caller_with(&["reader"]).await;
    reader.get("secret/data/shared").await;
    hit(&reader, "secret/data/shared", "canary").await;
    let stranger = world.token(&["default"]).await;
    let direct = Client::tcp(&world.bao.address());
    let unknown = "s.0000000000000000000000000";

    let cases = [
        (world.caller(&stranger), direct.token(&stranger)),
        (world.caller(unknown), direct.token(unknown)),
        (world.vaultlet.client(), direct),
    ];
    for (through, direct) in cases {
        for _ in 0..3 {
            let answer = through.get("secret/data/shared").await;
            let truth = direct.get("secret/data/shared").await;
            assert_eq!((answer.status, &answer.body), (truth.status, &truth.body));
            assert_eq!(answer.status, 403);
            assert_ne!(answer.cache(), "HIT");
        }
    }
    hit(&reader, "secret/data/shared", "canary").await;
}

#[tokio::test]
async fn each_rights_class_proves_for_itself() {
    let world = World::new(json!({})).await;
    world.put("shared", "one").await;
    let classes = [&["reader"][..], &["reader", "writer"], &["writer"]];

    for policies in classes {
        let caller = world.caller_with(policies).await;
        fresh(&caller.get("secret/data/shared").await, "one");
        hit(&world.caller_with(policies).await, "secret/data/shared", "one").await;
    }
}

#[tokio::test]
async fn a_proof_for_one_path_proves_no_other() {
    let world = World::new(json!({})).await;
    world.policy("one", r#"path "secret/data/one" { capabilities = ["read"] }"#).await;
    for key in ["one", "one/below", "on", "two"] {
        world.put(key, "canary").await;
        world.caller("root").get(&format!("secret/data/{key}")).await.expect(200);
    }
    let caller = world.caller_with(&["one"]).await;
    caller.get("secret/data/one").await.expect(200);

    for path in ["one/below", "on", "two", "one/", "one?version=1"] {
        let through = caller.get(&format!("secret/data/{path}")).await;
        let expected = if path == "one?version=1" { 200 } else { 403 };
        assert_eq!(through.status, expected, "{path}: {through:?}");
    }
}

#[tokio::test]
async fn a_token_with_n_uses_works_exactly_n_times() {
    let world = World::new(json!({})).await;
    world.put("shared", "one").await;
    let reader = world.caller_with(&["reader"]).await;
    reader.get("secret/data/shared").await;
    hit(&reader, "secret/data/shared", "one").await;

    for uses in 1..=4 {
        let settings = json!({"policies": ["reader"], "num_uses": uses});
        let caller = world.caller(&world.token_with(settings).await);
        for _ in 0..uses {
            reads(&caller.get("secret/data/shared").await, "one");
        }
        for _ in 0..2 {
            caller.get("secret/data/shared").await.expect(403);
        }
    }
}

#[tokio::test]
async fn a_cidr_bound_token_is_always_judged_by_the_server() {
    let world = World::new(json!({})).await;
    world.put("shared", "one").await;
    let bound = |cidr: &str| json!({"policies": ["reader"], "bound_cidrs": [cidr]});
    let userpass = json!({"type": "userpass"});
    world.server().post("sys/auth/userpass", userpass).await.expect(204);
    for (name, cidr) in [("here", "127.0.0.0/8"), ("elsewhere", "192.0.2.0/24")] {
        let mut user = bound(cidr);
        user["password"] = "p".into();
        user["token_policies"] = "reader".into();
        // Bound for the token, not for the login: the login itself must succeed.
        user["token_bound_cidrs"] = user["bound_cidrs"].take();
        world.server().post(&format!("auth/userpass/users/{name}"), user).await.expect(204);
    }

    let login = world.server().post("auth/userpass/login/here", json!({"password": "p"})).await;
    let token = login.expect(200).json()["auth"]["client_token"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        fresh(&world.caller(&token).get("secret/data/shared").await, "one");
    }
    let login =
        world.server().post("auth/userpass/login/elsewhere", json!({"password": "p"})).await;
    assert_ne!(login.status, 200, "the server refuses the address at login already");
}

#[tokio::test]
async fn batch_and_root_tokens_hit() {
    let world = World::new(json!({})).await;
    world.put("shared", "one").await;
    let batch = json!({"policies": ["reader"], "type": "batch", "ttl": "1h"});
    let callers = [world.caller(&world.token_with(batch).await), world.caller("root")];

    for caller in callers {
        fresh(&caller.get("secret/data/shared").await, "one");
        hit(&caller, "secret/data/shared", "one").await;
    }
}

#[tokio::test]
async fn a_token_ends_at_its_time_even_between_refreshes() {
    let world = World::new(json!({"policy": {"refresh": "1h"}})).await;
    world.put("shared", "one").await;
    let short = json!({"policies": ["reader"], "ttl": "3s", "explicit_max_ttl": "3s"});
    let caller = world.caller(&world.token_with(short).await);
    caller.get("secret/data/shared").await;
    hit(&caller, "secret/data/shared", "one").await;

    tokio::time::sleep(std::time::Duration::from_millis(3300)).await;
    caller.get("secret/data/shared").await.expect(403);
}

#[tokio::test]
async fn namespaces_do_not_share_and_both_spellings_agree() {
    let world = World::new(json!({})).await;
    world.put("shared", "outside").await;
    world.server().send(&Call::new("POST", "sys/namespaces/ns1")).await.expect(200);
    let mount = json!({"type": "kv", "options": {"version": "2"}});
    world.server().post("ns1/sys/mounts/secret", mount).await.expect(204);
    crate::bao::wait_for_kv(&world.server(), "ns1/secret").await;
    let inside = json!({"data": {"value": "inside"}});
    world.server().post("ns1/secret/data/shared", inside).await.expect(200);
    let root = world.caller("root");
    let header = Call::get("secret/data/shared").with("X-Vault-Namespace", "ns1");

    for _ in 0..3 {
        reads(&root.get("secret/data/shared").await, "outside");
        reads(&root.get("ns1/secret/data/shared").await, "inside");
        let answer = root.send(&header).await;
        reads(&answer, "inside");
        assert_eq!(answer.header("x-vault-namespace"), Some("ns1"));
    }
    let changed = json!({"data": {"value": "changed"}});
    root.post("ns1/secret/data/shared", changed).await.expect(200);
    reads(&root.send(&header).await, "changed");
    reads(&root.get("ns1/secret/data/shared").await, "changed");
    reads(&root.get("secret/data/shared").await, "outside");
}

#[tokio::test]
async fn what_did_not_pass_through_the_cache_does_not_say_so() {
    let world = World::new(json!({})).await;
    let root = world.caller("root");

    for path in ["sys/health", "auth/token/lookup-self", "sys/mounts", "cubbyhole/x"] {
        for _ in 0..2 {
            let answer = root.get(path).await;
            for name in ["x-cache", "age", "cache-status"] {
                assert_eq!(answer.header(name), None, "{path}: {answer:?}");
            }
        }
    }
}
