//! Pods share a login. Can one of them see it, end it, or leave something in it for another?

use serde_json::{Value, json};

use super::{DB, LOGIN, Node, VALUE, received};
use crate::bao::wait_for_kv;
use crate::client::{Answer, Call, Client};
use crate::world::{policy, reads};

/// Everything about tokens is allowed, so that it is not the server that refuses.
const GENEROUS: &str = r#"
path "secret/data/payments/*" { capabilities = ["read"] }
path "auth/token/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "team/auth/token/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "team/cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "team/secret/data/payments/*" { capabilities = ["read"] }
"#;

async fn generous() -> Node {
    let node = Node::new(json!({}), json!({})).await;
    let root = node.bao.root();
    policy(&root, "payments", GENEROUS).await;
    root.post("sys/namespaces/team", json!({})).await.expect(200);
    root.post("team/sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}}))
        .await
        .expect(204);
    wait_for_kv(&root, "team/secret").await;
    node
}

/// What a pod might try, and whether it may be answered with 200: if so, about the pod itself.
fn attempts() -> Vec<(Call, bool)> {
    let post = |path: &str| Call::new("POST", path).json(&json!({"data": {"a": "b"}}));
    let team = |call: Call| call.with("X-Vault-Namespace", "team");
    vec![
        (Call::get("cubbyhole/x"), false),
        (post("cubbyhole/x"), false),
        (Call::new("LIST", "cubbyhole/"), false),
        (Call::new("DELETE", "cubbyhole/x"), false),
        (Call::get("cubbyhole%2Fx"), false),
        (Call::get("%63ubbyhole/x"), false),
        (Call::get("team/cubbyhole/x"), false),
        (team(Call::get("cubbyhole/x")), false),
        (team(post("cubbyhole/x")), false),
        (post("auth/token/create"), false),
        (Call::new("PUT", "auth/token/create"), false),
        (post("auth/token/create/some-role"), false),
        (post("team/auth/token/create"), false),
        (team(post("auth/token/create")), false),
        (post("auth/token/creat%65"), false),
        (post("auth%2Ftoken%2Fcreate"), false),
        (post("auth/token/lookup"), false),
        (Call::get("auth/token/lookup"), false),
        (Call::get("auth/token/lookup?token="), false),
        (Call::get("team/auth/token/lookup"), false),
        (team(Call::get("auth/token/lookup")), false),
        (Call::get("auth/token/lookup-self"), true),
        (post("auth/token/lookup-self"), true),
        (team(Call::get("auth/token/lookup-self")), true),
        (Call::get("auth/token/lookup%2Dself"), true),
        (Call::get("auth/token/lookup-sel%66"), true),
        (Call::get("auth%2Ftoken%2Flookup-self"), true),
        (Call::get("auth/token/lookup-self?x=1"), true),
        (Call::get("auth/token/lookup-self/"), true),
        (Call::get("auth/token//lookup-self"), true),
        (Call::get("auth/token/%2e/lookup-self"), true),
        (Call::get("auth/./token/lookup-self"), true),
        (Call::get("/auth/token/lookup-self"), true),
        (Call::get("team/auth/token/lookup-self"), true),
        (Call::get("team%2Fauth/token/lookup-self"), true),
        (Call::new("HEAD", "auth/token/lookup-self"), true),
        (Call::new("LIST", "auth/token/lookup-self"), true),
        (Call::get("auth/token/lookup-self?list=true"), true),
        (Call::get("auth/token/lookup-self").with("X-Vault-Wrap-TTL", "60"), false),
        (post("auth/token/renew-self"), true),
        (post("auth/token/renew%2Dself"), true),
        (team(post("auth/token/renew-self")), true),
        (post("team/auth/token/renew-self"), true),
        (Call::get("auth/token/renew-self"), true),
        (Call::get("auth/token/revoke-self"), false),
        (post("auth/token/revoke-self/"), false),
        (post("auth/token/revoke-self%2F"), false),
        (post("team/auth/token/revoke-self"), false),
        (Call::new("PATCH", "auth/token/revoke-self"), false),
        (Call::get("auth/token"), false),
        (post("auth/token/renew"), false),
        (post("auth/token/revoke"), false),
        (post("auth/token/revoke-orphan"), false),
    ]
}

/// Every token in an answer, as far as it has the looks of one.
fn tokens(answer: &Answer) -> Vec<String> {
    let text = received(answer);
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
    let begins = |word: &&str| ["s.", "b.", "hvs.", "hvb."].iter().any(|it| word.starts_with(it));
    words.filter(begins).filter(|word| word.len() > 12).map(str::to_owned).collect()
}

#[track_caller]
fn harmless(node: &Node, call: &Call, answer: &Answer, own: &str, answered: bool) {
    let text = received(answer);
    for token in node.upstream_tokens() {
        assert!(token == own || !text.contains(&token), "{call:?}: the shared login: {text}");
    }
    assert_eq!(tokens(answer), Vec::<String>::new(), "{call:?}");
    assert!(answered || answer.status >= 300, "{call:?}: {text}");
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    for place in ["/data/id", "/data/accessor", "/auth/client_token", "/auth/accessor"] {
        let Some(named) = said.pointer(place).and_then(Value::as_str) else { continue };
        assert!(named.is_empty() || named.starts_with("vlt"), "{call:?}: {place} is {named}");
    }
}

#[tokio::test]
async fn a_pod_sees_nothing_of_the_login_it_shares() {
    let node = generous().await;
    let jwt = node.jwt(1);
    let badge = node.log_in(&jwt, "payments-api").await;
    for own in [&jwt, &badge] {
        let client = node.caller(own);
        for (call, answered) in attempts() {
            let answer = client.try_send(&call).await;
            let Ok(answer) = answer else { panic!("{call:?}: {answer:?}") };
            harmless(&node, &call, &answer, own, answered);
        }
        reads(&client.get(DB).await, VALUE);
    }
    // Nor did any of it end the login, or have another made.
    reads(&node.pod(2).send(&super::anew(DB)).await, VALUE);
    assert_eq!(node.upstream(LOGIN), 1);
    for path in ["auth/token/revoke-self", "auth/token/renew-self", "auth/token/lookup-self"] {
        let passed = node.asked().into_iter().filter(|seen| seen.target.contains(path)).count();
        assert_eq!(passed, 0, "{path}");
    }
    let log = node.vaultlet.log();
    assert!(node.upstream_tokens().iter().all(|token| !log.contains(token.as_str())));
}

/// What is refused says why, so that whoever meets it knows what to change.
#[tokio::test]
async fn a_refusal_says_what_to_do_instead() {
    let node = generous().await;
    let pod = node.pod(1);
    for (path, word) in [
        ("cubbyhole/x", "cubbyhole"),
        ("auth/token/create", "auth/token/create-orphan"),
        ("auth/token/lookup", "auth/token/lookup-self"),
    ] {
        let answer = pod.post(path, json!({})).await.expect_own_error(&[403]);
        assert!(super::message(&answer).contains(word), "{answer:?}");
    }
    // That is no dead end: a child that outlives the login is a token like any other.
    let made = pod.post("auth/token/create-orphan", json!({"policies": ["payments"]})).await;
    let made = made.expect(200).json()["auth"]["client_token"].as_str().unwrap().to_owned();
    assert!(made != node.token_for("auth/token/create-orphan").unwrap());
    reads(&node.caller(&made).get(DB).await, VALUE);
}

/// A secret may be called what it likes.
#[tokio::test]
async fn a_secret_named_like_a_token_is_a_secret() {
    let node = generous().await;
    for key in ["payments/auth/token/create", "payments/cubbyhole/x"] {
        crate::world::put(&node.bao.root(), key, key).await.expect(200);
        reads(&node.pod(1).get(&format!("secret/data/{key}")).await, key);
        reads(&node.pod(1).send(&super::anew(&format!("secret/data/{key}"))).await, key);
    }
}

#[tokio::test]
async fn wrapping_works_for_pods() {
    let node = generous().await;
    let badge = node.log_in(&node.jwt(1), "payments-api").await;
    let unwrap = async |holder: &Client, wrapped: Answer| {
        let wrapped = wrapped.expect(200).json();
        let token = wrapped["wrap_info"]["token"].as_str().unwrap().to_owned();
        assert!(!node.upstream_tokens().contains(&token));
        holder.post("sys/wrapping/unwrap", json!({"token": token})).await.expect(200).json()
    };
    for (pod, other) in [(node.pod(1), node.caller(&badge)), (node.caller(&badge), node.pod(2))] {
        let call = Call::new("POST", "sys/wrapping/wrap").with("X-Vault-Wrap-TTL", "60");
        let wrapped = pod.send(&call.json(&json!({"hello": "pod"}))).await;
        assert_eq!(unwrap(&other, wrapped).await["data"]["hello"], json!("pod"));

        reads(&pod.get(DB).await, VALUE);
        let wrapped = pod.send(&Call::get(DB).with("X-Vault-Wrap-TTL", "60")).await;
        assert!(!received(&wrapped).contains(VALUE));
        // Unwrapped with the wrapping token alone, as most do it.
        let token = wrapped.expect(200).json()["wrap_info"]["token"].as_str().unwrap().to_owned();
        let read = node.caller(&token).post("sys/wrapping/unwrap", json!({})).await.expect(200);
        reads(&read, VALUE);
    }
}
