//! However a pod spells a namespace: is it ever given what the server would not give it there?

use serde_json::json;

use super::{DB, Node, VALUE, received};
use crate::bao::wait_for_kv;
use crate::client::{Answer, Call, Client};
use crate::world::{policy, put, reads};

/// The pod may read in the root and in `blue`, and nothing in `green`.
const RULES: &str = r#"
path "secret/data/payments/*" { capabilities = ["read"] }
path "blue/secret/data/payments/*" { capabilities = ["read"] }
path "green/secret/data/payments/*" { capabilities = ["deny"] }
"#;

/// Header and path of each spelling; no header: none is sent.
const SPELLINGS: [(&str, &str, &[&str]); 32] = [
    ("none", DB, &[]),
    ("empty", DB, &[""]),
    ("a slash", DB, &["/"]),
    ("root", DB, &["root"]),
    ("header", DB, &["blue"]),
    ("header, slash after", DB, &["blue/"]),
    ("header, slash before", DB, &["/blue"]),
    ("header, slashes around", DB, &["/blue/"]),
    ("header, two slashes", DB, &["blue//"]),
    ("header, escaped", DB, &["bl%75e"]),
    ("header, escaped slash", DB, &["blue%2F"]),
    ("header, capitals", DB, &["BLUE"]),
    ("header, spaces", DB, &[" blue "]),
    ("header, dots", DB, &["blue/."]),
    ("header, up", DB, &["green/.."]),
    ("header, up and over", DB, &["blue/../green"]),
    ("header twice", DB, &["blue", "green"]),
    ("header twice, other order", DB, &["green", "blue"]),
    ("header, a list", DB, &["blue,green"]),
    ("the other", DB, &["green"]),
    ("one that is not there", DB, &["red"]),
    ("below one", DB, &["blue/red"]),
    ("path", "blue/secret/data/payments/db", &[]),
    ("path of the other", "green/secret/data/payments/db", &[]),
    ("path, escaped slash", "green%2Fsecret/data/payments/db", &[]),
    ("path, escaped letter", "gree%6E/secret/data/payments/db", &[]),
    ("path, two slashes", "green//secret/data/payments/db", &[]),
    ("path, up", "blue/../green/secret/data/payments/db", &[]),
    ("path, escaped up", "blue/%2e%2e/green/secret/data/payments/db", &[]),
    ("both, the same", "blue/secret/data/payments/db", &["blue"]),
    ("both, one in the other", "green/secret/data/payments/db", &["blue"]),
    ("both, the other way", "blue/secret/data/payments/db", &["green"]),
];

async fn world() -> (Node, Client) {
    let node = Node::new(json!({}), json!({})).await;
    let root = node.bao.root();
    policy(&root, "payments", RULES).await;
    for namespace in ["blue", "green"] {
        root.post(&format!("sys/namespaces/{namespace}"), json!({})).await.expect(200);
        let kv = json!({"type": "kv", "options": {"version": "2"}});
        root.post(&format!("{namespace}/sys/mounts/secret"), kv).await.expect(204);
        wait_for_kv(&root, &format!("{namespace}/secret")).await;
        let path = format!("{namespace}/secret/data/payments/db");
        let value = json!({"data": {"value": value(namespace)}});
        root.post(&path, value).await.expect(200);
    }
    // The same login, made where vaultlet has no say.
    let server = Client::tcp(&node.bao.address());
    let login = json!({"role": "payments-api", "jwt": node.jwt(0)});
    let login = server.post(super::LOGIN, login).await.expect(200).json();
    let direct = server.token(login["auth"]["client_token"].as_str().unwrap());
    (node, direct)
}

fn value(namespace: &str) -> String {
    format!("canary-of-{namespace}-440917")
}

fn spelled((_, path, headers): (&str, &str, &[&str])) -> Call {
    headers.iter().fold(Call::get(path), |call, header| call.with("X-Vault-Namespace", header))
}

/// Fails the test if vaultlet gives what the server does not.
#[track_caller]
fn compare(name: &str, servers: &Answer, ours: &Answer) {
    let names = format!("{name}\nserver: {}\nvaultlet: {}", received(servers), received(ours));
    assert!(!received(ours).contains(&value("green")), "{names}");
    if ours.status == 200 {
        assert_eq!((servers.status, servers.value()), (200, ours.value()), "{names}");
    } else {
        // What is refused here and not there is a spelling no client has: a safe subset.
        let same = ours.status == servers.status || [400, 403, 404].contains(&ours.status);
        assert!(same, "{names}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_namespace_opens_it() {
    let (node, direct) = world().await;
    let badge = node.caller(&node.log_in(&node.jwt(1), "payments-api").await);
    // What is at hand is most easily given to the wrong one.
    let greens = put_green(&node).await;
    for round in 0..2 {
        for spelling in SPELLINGS {
            let servers = direct.send(&spelled(spelling)).await;
            for pod in [&node.pod(round), &badge] {
                let ours = pod.send(&spelled(spelling)).await;
                compare(spelling.0, &servers, &ours);
            }
        }
    }
    // And each keeps what is its own.
    let pod = node.pod(1);
    reads(&pod.get(DB).await, VALUE);
    reads(&pod.send(&Call::get(DB).with("X-Vault-Namespace", "blue")).await, &value("blue"));
    reads(&greens.send(&Call::get(DB).with("X-Vault-Namespace", "green")).await, &value("green"));
}

/// Has the secret of the namespace that the pod may not enter cached for somebody who may.
async fn put_green(node: &Node) -> Client {
    let root = node.bao.root();
    policy(&root, "greens", r#"path "green/secret/data/payments/*" { capabilities = ["read"] }"#)
        .await;
    let token = crate::world::token(&root, json!({"policies": ["greens"]})).await;
    let caller = node.caller(&token);
    let call = Call::get(DB).with("X-Vault-Namespace", "green");
    for _ in 0..3 {
        reads(&caller.send(&call).await, &value("green"));
    }
    crate::world::hit(&caller, call, &value("green")).await;
    caller
}

/// A mount in a namespace of its own, whose logins are good below it only.
#[tokio::test]
async fn a_mount_in_a_namespace_logs_in_there() {
    let (bao, cluster) = (crate::bao::Bao::dev().await, crate::cluster::Cluster::start().await);
    let root = bao.root();
    root.post("sys/namespaces/blue", json!({})).await.expect(200);
    crate::roles::enable_kubernetes(&root, &cluster, "kubernetes").await;
    let mut section = cluster.settings();
    section["login"] = json!({"namespace": "blue", "mount": "auth/kubernetes"});
    let node = Node::before(bao, cluster, section, json!({})).await;

    // There is no such mount in `blue` yet, though there is one in the root.
    node.pod(1).get(DB).await.expect_own_error(&[403]);
    let inside = root.namespace("blue");
    crate::roles::enable_kubernetes(&inside, &node.cluster, "kubernetes").await;
    let kv = json!({"type": "kv", "options": {"version": "2"}});
    inside.post("sys/mounts/secret", kv).await.expect(204);
    wait_for_kv(&inside, "secret").await;
    policy(&inside, "payments", &super::rules("payments")).await;
    put(&inside, "payments/db", &value("blue")).await.expect(200);
    let role = json!({"token_policies": ["payments"]});
    let account = ("payments", "api");
    crate::roles::kubernetes_role(&inside, ("kubernetes", "payments-api"), account, role).await;

    let blue = Call::get(DB).with("X-Vault-Namespace", "blue");
    let pod = node.pod(2);
    super::until("the role", std::time::Duration::from_secs(12), async || {
        pod.send(&blue).await.status == 200
    })
    .await;
    for _ in 0..2 {
        reads(&pod.send(&blue).await, &value("blue"));
        reads(&pod.get("blue/secret/data/payments/db").await, &value("blue"));
        pod.get(DB).await.expect(403);
    }
    // Its logins are answered where the mount is, and nowhere else.
    let body = json!({"role": "payments-api", "jwt": node.jwt(3)});
    let login = Call::new("POST", super::LOGIN).json(&body).with("X-Vault-Namespace", "blue");
    let answered = node.vaultlet.client().send(&login).await.expect(200).json();
    let badge = answered["auth"]["client_token"].as_str().unwrap().to_owned();
    assert!(badge.starts_with("vlt."), "{badge}");
    reads(&node.caller(&badge).send(&blue).await, &value("blue"));
    let elsewhere = node.vaultlet.client().post(super::LOGIN, body).await.expect(200).json();
    assert!(!elsewhere["auth"]["client_token"].as_str().unwrap().starts_with("vlt."));
}
