//! The ten ways to take a right away, each with what must be there first.

use std::pin::Pin;

use serde_json::{Value, json};

use super::Trial;
use crate::client::Client;
use crate::roles::{enable_kubernetes, kubernetes_role};
use crate::service_accounts::{Node, rules};
use crate::world::{policy, put, token};

type Begin = for<'n> fn(&'n Node, usize) -> Pin<Box<dyn Future<Output = Trial> + Send + 'n>>;
type End = for<'n> fn(&'n Node, usize) -> Pin<Box<dyn Future<Output = ()> + Send + 'n>>;

/// One of them, by trial: how somebody comes to read a secret, and how that ends.
pub struct Way {
    pub name: &'static str,
    pub begin: Begin,
    pub end: End,
}

macro_rules! way {
    ($name:literal, $begin:path, $end:path) => {
        Way {
            name: $name,
            begin: |node, trial| Box::pin($begin(node, trial)),
            end: |node, trial| Box::pin($end(node, trial)),
        }
    };
}

pub const WAYS: [Way; 10] = [
    way!("token revoked", own_token, revoke_token),
    way!("parent revoked", child_token, revoke_parent),
    way!("revoked by accessor", accessor_token, revoke_accessor),
    way!("policy edited (pod)", edited_pod, edit_policy),
    way!("policy deleted", deleted_policy, delete_policy),
    way!("group left", member, leave_group),
    way!("entity disabled (pod)", disabled_pod, disable_entity),
    way!("metadata of a template", templated, change_metadata),
    way!("pod deleted", pod, delete_pod),
    way!("auth mount disabled (pod)", mounted_pod, disable_mount),
];

/// What all trials need.
pub async fn prepare(node: &Node, trials: usize) {
    let root = node.bao.root();
    root.post("sys/auth/userpass", json!({"type": "userpass"})).await.expect(204);
    let templated = r#"path "secret/data/meta/{{identity.entity.metadata.team}}/*" { capabilities = ["read"] }"#;
    policy(&root, "templated", templated).await;
    for trial in 0..trials {
        let name = format!("mount-{trial}");
        enable_kubernetes(&root, &node.cluster, &name).await;
    }
}

/// A secret of this trial's own, and a policy of the same name that reads it.
async fn secret(node: &Node, name: &str) -> (String, String) {
    let (root, value) = (node.bao.root(), format!("value-of-{name}"));
    put(&root, &format!("{name}/db"), &value).await.expect(200);
    policy(&root, name, &rules(name)).await;
    (format!("secret/data/{name}/db"), value)
}

async fn holder(node: &Node, name: &str, token: &str) -> Trial {
    let (path, value) = secret(node, name).await;
    Trial { caller: node.caller(token), path, value, other: None }
}

/// The same, and somebody else who holds the same policy.
async fn holder_of_two(node: &Node, name: &str, token: &str) -> Trial {
    let other = named(node, &format!("other-of-{name}"), &[name]).await;
    Trial { other: Some(node.caller(&other)), ..holder(node, name, token).await }
}

/// Tokens with names that the end of the trial can tell: Vault takes any id that root asks for.
async fn named(node: &Node, name: &str, policies: &[&str]) -> String {
    let id = format!("token-{name}");
    let settings = json!({"id": id, "policies": policies, "no_parent": true});
    token(&node.bao.root(), settings).await
}

async fn own_token(node: &Node, trial: usize) -> Trial {
    let name = format!("revoked-{trial}");
    let token = named(node, &name, &[&name]).await;
    holder_of_two(node, &name, &token).await
}

async fn revoke_token(node: &Node, trial: usize) {
    let body = json!({"token": format!("token-revoked-{trial}")});
    node.bao.root().post("auth/token/revoke", body).await.expect(204);
}

async fn child_token(node: &Node, trial: usize) -> Trial {
    let name = format!("child-{trial}");
    let root = node.bao.root();
    let creates = r#"path "auth/token/create" { capabilities = ["update"] }"#;
    policy(&root, "creates", creates).await;
    let parent = named(node, &format!("parent-{trial}"), &["creates", &name]).await;
    let trial = holder_of_two(node, &name, "").await;
    let child = token(&root.token(&parent), json!({"policies": [name]})).await;
    Trial { caller: node.caller(&child), ..trial }
}

async fn revoke_parent(node: &Node, trial: usize) {
    let body = json!({"token": format!("token-parent-{trial}")});
    node.bao.root().post("auth/token/revoke", body).await.expect(204);
}

async fn accessor_token(node: &Node, trial: usize) -> Trial {
    let name = format!("accessor-{trial}");
    let token = named(node, &name, &[&name]).await;
    holder_of_two(node, &name, &token).await
}

async fn revoke_accessor(node: &Node, trial: usize) {
    let (root, body) = (node.bao.root(), json!({"token": format!("token-accessor-{trial}")}));
    let told = root.post("auth/token/lookup", body).await.expect(200).json();
    let body = json!({"accessor": told["data"]["accessor"]});
    root.post("auth/token/revoke-accessor", body).await.expect(204);
}

/// A pod of a team of its own.
async fn pod_of(node: &Node, name: &str, mount: &str) -> Trial {
    let (path, value) = secret(node, name).await;
    let role = format!("{name}-app");
    let settings = json!({"token_policies": [name]});
    kubernetes_role(&node.bao.root(), (mount, &role), (name, "app"), settings).await;
    let caller = node.caller(&node.cluster.token(name, "app", "app-1"));
    Trial { caller, path, value, other: None }
}

async fn edited_pod(node: &Node, trial: usize) -> Trial {
    pod_of(node, &format!("edited-{trial}"), "kubernetes").await
}

async fn edit_policy(node: &Node, trial: usize) {
    policy(&node.bao.root(), &format!("edited-{trial}"), &rules("elsewhere")).await;
}

async fn deleted_policy(node: &Node, trial: usize) -> Trial {
    let name = format!("deleted-{trial}");
    let token = named(node, &name, &[&name]).await;
    holder(node, &name, &token).await
}

async fn delete_policy(node: &Node, trial: usize) {
    let path = format!("sys/policies/acl/deleted-{trial}");
    node.bao.root().delete(&path).await.expect(204);
}

/// Logs a new user in, directly: its token, and its entity.
async fn user(node: &Node, name: &str, policies: &[&str]) -> (String, Value) {
    let root = node.bao.root();
    let user = json!({"password": "p", "token_policies": policies});
    root.post(&format!("auth/userpass/users/{name}"), user).await.expect(204);
    let path = format!("auth/userpass/login/{name}");
    let body = json!({"password": "p"});
    let login = Client::tcp(&node.bao.address()).post(&path, body).await.expect(200).json();
    let token = login["auth"]["client_token"].as_str().unwrap().to_owned();
    (token, login["auth"]["entity_id"].clone())
}

async fn member(node: &Node, trial: usize) -> Trial {
    let name = format!("group-{trial}");
    let (token, entity) = user(node, &name, &["default"]).await;
    let group = json!({"name": name, "policies": [name], "member_entity_ids": [entity]});
    node.bao.root().post("identity/group", group).await.expect(200);
    holder(node, &name, &token).await
}

async fn leave_group(node: &Node, trial: usize) {
    let path = format!("identity/group/name/group-{trial}");
    let group = json!({"member_entity_ids": []});
    node.bao.root().post(&path, group).await.expect_any(&[200, 204]);
}

async fn disabled_pod(node: &Node, trial: usize) -> Trial {
    pod_of(node, &format!("disabled-{trial}"), "kubernetes").await
}

async fn disable_entity(node: &Node, trial: usize) {
    // The entity of the login that the pods share.
    let (root, path) = (node.bao.root(), format!("secret/data/disabled-{trial}/db"));
    let shared = node.token_for(&path).unwrap();
    let told = root.post("auth/token/lookup", json!({"token": shared})).await.expect(200).json();
    let path = format!("identity/entity/id/{}", told["data"]["entity_id"].as_str().unwrap());
    root.post(&path, json!({"disabled": true})).await.expect_any(&[200, 204]);
}

async fn templated(node: &Node, trial: usize) -> Trial {
    let (root, name) = (node.bao.root(), format!("meta-{trial}"));
    let (token, entity) = user(node, &name, &["templated"]).await;
    let path = format!("identity/entity/id/{}", entity.as_str().unwrap());
    root.post(&path, json!({"metadata": {"team": name}})).await.expect_any(&[200, 204]);
    let value = format!("value-of-{name}");
    put(&root, &format!("meta/{name}/db"), &value).await.expect(200);
    let path = format!("secret/data/meta/{name}/db");
    Trial { caller: node.caller(&token), path, value, other: None }
}

async fn change_metadata(node: &Node, trial: usize) {
    let root = node.bao.root();
    let path = format!("auth/userpass/login/meta-{trial}");
    let login = Client::tcp(&node.bao.address()).post(&path, json!({"password": "p"})).await;
    let login = login.expect(200).json();
    let path = format!("identity/entity/id/{}", login["auth"]["entity_id"].as_str().unwrap());
    root.post(&path, json!({"metadata": {"team": "another"}})).await.expect_any(&[200, 204]);
}

async fn pod(node: &Node, trial: usize) -> Trial {
    let team = format!("pods-{}", trial % 4);
    let (path, value) = secret(node, &team).await;
    let (role, settings) = (format!("{team}-app"), json!({"token_policies": [team]}));
    kubernetes_role(&node.bao.root(), ("kubernetes", &role), (&team, "app"), settings).await;
    let pod =
        |name: &str| node.caller(&node.cluster.token(&team, "app", &format!("{name}-{trial}")));
    Trial { caller: pod("gone"), path, value, other: Some(pod("stays")) }
}

async fn delete_pod(node: &Node, trial: usize) {
    node.cluster.delete_pod(&format!("pods-{}", trial % 4), &format!("gone-{trial}"));
}

async fn mounted_pod(node: &Node, trial: usize) -> Trial {
    let name = format!("mount-{trial}");
    pod_of(node, &name, &name).await
}

async fn disable_mount(node: &Node, trial: usize) {
    node.bao.root().delete(&format!("sys/auth/mount-{trial}")).await.expect(204);
}
