//! Who asks? Tokens with and without an entity, with identity policies, in a namespace, and batch
//! tokens, all of which live as long as the run: only the policies' texts change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use vaultlet::policy::{self, Alias, Group, Identity};

use super::{Policies, text};
use crate::bao::wait_for_kv;
use crate::client::{Call, Client};

/// Namespace and name of every policy that is rewritten in each round; `g…` are held by groups.
pub const POLICIES: [(&str, &str); 12] = [
    ("", "p0"),
    ("", "p1"),
    ("", "p2"),
    ("", "p3"),
    ("", "p4"),
    ("", "p5"),
    ("", "p6"),
    ("", "p7"),
    ("", "g0"),
    ("", "g1"),
    ("ns1/", "p0"),
    ("ns1/", "p1"),
];

pub struct Caller {
    pub name: String,
    pub token: String,
    pub client: Client,
    /// Of the token; its policies live there too.
    pub namespace: &'static str,
    pub policies: Vec<String>,
    pub identity: Option<Identity>,
    /// The same, to be shown.
    pub identity_data: Value,
}

pub struct Cast {
    pub callers: Vec<Caller>,
    /// What the templates of policies may name, some of it nobody has.
    pub selectors: Vec<String>,
}

/// Entities by name, each with its metadata. The names and values are segments of paths.
const ENTITIES: [(&str, &str, &str); 4] =
    [("a", "b", "ab"), ("b", "a", ""), ("ab", "c", "a*"), ("c", "ab", "b/a")];

impl Cast {
    pub async fn new(root: &Client) -> Self {
        let v1 = json!({"type": "kv", "options": {"version": "1"}});
        root.post("sys/mounts/kv1", v1.clone()).await.expect(204);
        root.send(&Call::new("POST", "sys/namespaces/ns1")).await.expect(200);
        root.post("ns1/sys/mounts/kv1", v1).await.expect(204);
        root.post("sys/auth/userpass", json!({"type": "userpass"})).await.expect(204);
        wait_for_kv(root, "secret").await;
        let accessor = text(&root.get("sys/auth").await.json()["data"]["userpass/"]["accessor"]);

        let mut entities = Vec::new();
        for (index, (name, team, odd)) in ENTITIES.iter().enumerate() {
            let metadata = json!({"team": team, "odd": odd});
            let made =
                root.post("identity/entity", json!({"name": name, "metadata": metadata})).await;
            let id = text(&made.expect(200).json()["data"]["id"]);
            let alias = json!({
                "name": format!("u{index}"), "canonical_id": id, "mount_accessor": accessor,
                "custom_metadata": {"tier": team},
            });
            root.post("identity/entity-alias", alias).await.expect(200);
            entities.push(id);
        }
        let group = |group: Value| async move {
            text(&root.post("identity/group", group).await.expect(200).json()["data"]["id"])
        };
        let inner = json!({
            "name": "g0", "policies": ["g0"], "metadata": {"team": "ab"},
            "member_entity_ids": [entities[0], entities[1]],
        });
        let inner = group(inner).await;
        let outer = json!({"name": "g1", "policies": ["g1"], "member_group_ids": [inner], "member_entity_ids": [entities[2]]});
        group(outer).await;

        let mut callers = Vec::new();
        for (index, held) in ["p0,p1,p2", "p3,p4", "p5", "p0,p6"].iter().enumerate() {
            let bare = index > 0;
            let user = json!({
                "password": "p", "token_policies": held, "token_no_default_policy": bare,
            });
            root.post(&format!("auth/userpass/users/u{index}"), user).await.expect(204);
            let login = format!("auth/userpass/login/u{index}");
            let login = root.post(&login, json!({"password": "p"})).await.expect(200).json();
            let token = text(&login["auth"]["client_token"]);
            callers.push(Caller::look_up(root, format!("user {index}"), "", token).await);
        }
        for (name, namespace, settings) in [
            ("one policy", "", json!({"policies": ["p1"], "no_default_policy": true})),
            ("two policies", "", json!({"policies": ["p2", "p7"], "no_default_policy": true})),
            (
                "many policies",
                "",
                json!({"policies": ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"], "no_default_policy": true}),
            ),
            (
                "batch",
                "",
                json!({"policies": ["p4", "p6"], "type": "batch", "no_default_policy": true}),
            ),
            ("in ns1", "ns1/", json!({"policies": ["p0", "p1"], "no_default_policy": true})),
        ] {
            let made = root.post(&format!("{namespace}auth/token/create"), settings).await;
            let token = text(&made.expect(200).json()["auth"]["client_token"]);
            callers.push(Caller::look_up(root, name.to_owned(), namespace, token).await);
        }
        Self { callers, selectors: selectors(&accessor, &inner, &entities[0]) }
    }

    /// What the server says that the policies are.
    pub async fn read_back(&self, root: &Client) -> Policies {
        let mut policies = HashMap::new();
        for namespace in ["", "ns1/"] {
            let path = format!("{namespace}sys/policies/detailed/acl");
            let listed = root.send(&Call::new("LIST", &path)).await.expect(200).json();
            for (name, details) in listed["data"]["key_info"].as_object().unwrap() {
                let written = text(&details["policy"]);
                let mut policy = policy::parse(name, namespace, &written);
                if let Ok(end) = text(&details["expiration"]).parse::<Timestamp>() {
                    policy = policy.until(end.as_second());
                }
                policies.insert((namespace.to_owned(), name.clone()), (Arc::new(policy), written));
            }
        }
        policies
    }
}

fn selectors(accessor: &str, group: &str, entity: &str) -> Vec<String> {
    let mut selectors: Vec<_> = [
        "entity.name",
        "entity.metadata.team",
        "entity.metadata.none",
        "entity.groups.names",
        "groups.names.g0.name",
        "groups.names.g0.metadata.team",
        "groups.names.g1.metadata.team",
        "groups.names.g7.id",
    ]
    .iter()
    .map(|selector| format!("identity.{selector}"))
    .collect();
    selectors.push(format!("identity.entity.aliases.{accessor}.custom_metadata.tier"));
    selectors.push(format!("identity.entity.aliases.{accessor}.metadata.none"));
    selectors.push(format!("identity.groups.ids.{group}.metadata.team"));
    selectors.push(format!("identity.groups.ids.{entity}.name"));
    selectors
}

impl Caller {
    async fn look_up(root: &Client, name: String, namespace: &'static str, token: String) -> Self {
        let question = json!({"token": token});
        let found = root.post(&format!("{namespace}auth/token/lookup"), question).await.expect(200);
        let found = found.json()["data"].clone();
        let lists = [&found["policies"], &found["identity_policies"]];
        let policies = lists.iter().filter_map(|list| list.as_array()).flatten().map(text);
        let entity = text(&found["entity_id"]);
        let (identity, identity_data) = match entity.as_str() {
            "" => (None, Value::Null),
            id => {
                let (identity, data) = identity(root, id).await;
                (Some(identity), data)
            }
        };
        let client = root.token(&token);
        let policies = policies.collect();
        Self { name, token, client, namespace, policies, identity, identity_data }
    }
}

/// What the server says of an entity and of its groups.
async fn identity(root: &Client, id: &str) -> (Identity, Value) {
    let entity = root.get(&format!("identity/entity/id/{id}")).await.expect(200).json();
    let entity = entity["data"].clone();
    let alias = |alias: &Value| Alias {
        mount_accessor: text(&alias["mount_accessor"]),
        id: text(&alias["id"]),
        name: text(&alias["name"]),
        metadata: map(&alias["metadata"]),
        custom_metadata: map(&alias["custom_metadata"]),
    };
    let mut groups = Vec::new();
    for id in entity["group_ids"].as_array().unwrap() {
        let group = root.get(&format!("identity/group/id/{}", text(id))).await.expect(200).json();
        let group = &group["data"];
        groups.push(Group {
            id: text(&group["id"]),
            name: text(&group["name"]),
            namespace: String::new(),
            metadata: map(&group["metadata"]),
        });
    }
    let identity = Identity {
        id: text(&entity["id"]),
        name: text(&entity["name"]),
        metadata: map(&entity["metadata"]),
        aliases: entity["aliases"].as_array().unwrap().iter().map(alias).collect(),
        groups,
    };
    (identity, entity)
}

fn map(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), text(value))).collect()
}
