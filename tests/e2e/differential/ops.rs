//! What do callers do? Mostly read; and now and then everything else that a server can be asked.

use serde_json::{Value, json};

use super::random::Random;
use crate::bao::wait_for_kv;
use crate::client::{Call, Client};

/// Places for tokens; 0 is root's and is never given up.
pub const SLOTS: usize = 9;

/// One operation, with places for what differs between the sides: their tokens.
pub struct Op {
    pub kind: Kind,
    /// The slot of the token that asks.
    pub caller: usize,
    /// The slot that `{token}` and `{accessor}` in the body mean.
    pub subject: usize,
    /// The token is sent as `Authorization: Bearer`.
    pub bearer: bool,
    /// A request so odd that vaultlet may refuse it with 400 where the server is laxer.
    pub odd: bool,
    pub call: Call,
}

/// What the runner must know about an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A read of a secret, which a cache is there for.
    KvRead,
    /// The answer holds a token for the slot `subject`.
    NewToken,
    Other,
    /// The server goes on after its answer.
    Unfinished,
}

const KEYS: [&str; 12] = [
    "app",
    "app/db",
    "app/db/main",
    "app/tls",
    "team-a/x",
    "team-a/y",
    "team-b/x",
    "b",
    "c/d",
    "c/e",
    "shared",
    "shared/deep/er/still",
];
const POLICIES: [&str; 5] = ["p0", "p1", "p2", "p3", "p4"];

/// What a policy may say; an edit replaces one such text by another.
const RULES: [&str; 9] = [
    r#"path "secret/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
       path "kv1/*" { capabilities = ["create", "read", "update", "delete", "list"] }"#,
    r#"path "secret/data/*" { capabilities = ["read"] }
       path "kv1/*" { capabilities = ["read", "list"] }"#,
    r#"path "secret/data/app/*" { capabilities = ["read", "update"] }
       path "secret/data/app" { capabilities = ["read"] }
       path "secret/metadata/*" { capabilities = ["list", "read"] }"#,
    r#"path "secret/data/+/x" { capabilities = ["read"] }
       path "kv1/+/x" { capabilities = ["read"] }
       path "secret/data/shared*" { capabilities = ["read"] }"#,
    r#"path "secret/data/team-b/*" { capabilities = ["deny"] }
       path "kv1/shared" { capabilities = ["deny"] }"#,
    r#"path "secret/data/app" { capabilities = ["read"]  required_parameters = ["version"] }
       path "secret/data/shared" { capabilities = ["read"]  min_wrapping_ttl = "10s"  max_wrapping_ttl = "5m" }
       path "secret/data/b" { capabilities = ["read"] }"#,
    r#"path "secret/data/*" { capabilities = ["read", "create", "update"] denied_parameters = { "version" = ["2"] } }
       path "kv1/app*" { capabilities = ["read"] }"#,
    r#"path "ns1/secret/*" { capabilities = ["read", "list", "create", "update"] }
       path "secret/subkeys/*" { capabilities = ["read"] }"#,
    r#"path "auth/token/create" { capabilities = ["create", "update"] }
       path "secret/data/c/*" { capabilities = ["read"] }"#,
];

/// The same start on both servers.
pub async fn prepare(root: &Client) {
    let v1 = json!({"type": "kv", "options": {"version": "1"}});
    root.post("sys/mounts/kv1", v1).await.expect(204);
    root.post("sys/auth/userpass", json!({"type": "userpass"})).await.expect(204);
    for (name, rules) in POLICIES.iter().zip(RULES) {
        let policy = json!({"policy": rules});
        root.post(&format!("sys/policies/acl/{name}"), policy).await.expect(204);
    }
    let user = json!({"password": "p", "token_policies": "p1,p3"});
    root.post("auth/userpass/users/u", user).await.expect(204);
    root.send(&Call::new("POST", "sys/namespaces/ns1")).await.expect(200);
    let v2 = json!({"type": "kv", "options": {"version": "2"}});
    root.post("ns1/sys/mounts/secret", v2).await.expect(204);
    wait_for_kv(root, "ns1/secret").await;
    for (number, key) in KEYS.iter().enumerate() {
        let value = json!({"value": format!("first {number}")});
        let data = json!({"data": value});
        root.post(&format!("secret/data/{key}"), data.clone()).await.expect(200);
        root.post(&format!("ns1/secret/data/{key}"), data).await.expect(200);
        root.post(&format!("kv1/{key}"), value).await.expect(204);
    }
}

/// One operation, by the shares of the arms below.
pub fn any(random: &mut Random) -> Op {
    let key = KEYS[random.skewed(KEYS.len())];
    let caller = random.skewed(SLOTS);
    let mut op = match random.below(1000) {
        0..380 => read(&format!("secret/data/{key}")),
        380..470 => {
            let version = random.pick(&["1", "2", "3", "0", "", "7", "-1", "01", "x", "1.0"]);
            read(&format!("secret/data/{key}?version={version}"))
        }
        470..600 => read(&format!("kv1/{key}")),
        600..730 => write(random, key),
        730..790 => other(Call::get(&format!(
            "{}/{key}",
            random.pick(&["secret/metadata", "secret/subkeys"])
        ))),
        790..830 => list(random),
        830..850 => tokens(random),
        850..870 => new_token(random, 1 + random_slot(key)),
        870..873 => policy(random),
        873..883 => wrapping(random, key),
        883..905 => namespaced(random, key),
        905..908 => administration(random),
        _ => odd(random, key),
    };
    if op.caller == 0 {
        op.caller = caller;
    }
    op.bearer = random.per_mille(100);
    op
}

/// Spreads new tokens over the slots without another draw.
fn random_slot(key: &str) -> usize {
    key.len() % (SLOTS - 1)
}

fn other(call: Call) -> Op {
    Op { kind: Kind::Other, caller: 0, subject: 0, bearer: false, odd: false, call }
}

fn read(path: &str) -> Op {
    Op { kind: Kind::KvRead, ..other(Call::get(path)) }
}

fn post(path: &str, body: &Value) -> Op {
    other(Call::new("POST", path).json(body))
}

fn write(random: &mut Random, key: &str) -> Op {
    let value = json!({"value": format!("v{}", random.below(1_000_000)), "n": random.below(9)});
    let versions = json!({"versions": [1 + random.below(4), 1 + random.below(4)]});
    match random.below(20) {
        0..6 => post(&format!("secret/data/{key}"), &json!({"data": value})),
        6..10 => post(&format!("kv1/{key}"), &value),
        10 => {
            let body = json!({"data": value, "options": {"cas": random.below(4)}});
            other(Call::new("PUT", &format!("secret/data/{key}")).json(&body))
        }
        11 => {
            let call =
                Call::new("PATCH", &format!("secret/data/{key}")).json(&json!({"data": value}));
            other(call.with("Content-Type", "application/merge-patch+json"))
        }
        12 => other(Call::new("DELETE", &format!("secret/data/{key}"))),
        13 => post(&format!("secret/delete/{key}"), &versions),
        14..16 => post(&format!("secret/undelete/{key}"), &versions),
        16 => post(&format!("secret/destroy/{key}"), &versions),
        17 => {
            let body = json!({"custom_metadata": {"owner": format!("o{}", random.below(9))},
                "max_versions": 3 + random.below(5)});
            post(&format!("secret/metadata/{key}"), &body)
        }
        18 => other(Call::new("DELETE", &format!("secret/metadata/{key}"))),
        _ => other(Call::new("DELETE", &format!("kv1/{key}"))),
    }
}

fn list(random: &mut Random) -> Op {
    let directory = random.pick(&["", "app", "app/", "team-a", "c/", "shared/deep", "none"]);
    let mount = random.pick(&["secret/metadata", "kv1", "secret/detailed-metadata"]);
    let path = format!("{mount}/{directory}");
    match random.below(4) {
        0 => other(Call::get(&format!("{path}?list=true"))),
        1 => other(Call::new("SCAN", &path)),
        2 => other(Call::new("LIST", &format!("{path}?limit=2&after=app"))),
        _ => other(Call::new("LIST", &path)),
    }
}

/// A token with a random set of settings, made by root, for one slot.
pub fn new_token(random: &mut Random, slot: usize) -> Op {
    // Most tokens may read most things: two of six begin as generous policies.
    let wide = ["p0", "p1", "p2", "p3", "p0", "p4"];
    let mut settings = json!({"policies": [random.pick(&wide), random.pick(&POLICIES)]});
    match random.below(12) {
        0 => settings["num_uses"] = (1 + random.below(9)).into(),
        1 => settings["no_default_policy"] = true.into(),
        2 => settings["period"] = "1h".into(),
        3 => settings["type"] = "batch".into(),
        4 => settings["explicit_max_ttl"] = "2h".into(),
        5 => settings["meta"] = json!({"made": "by a test"}),
        6 => {
            let login = post("auth/userpass/login/u", &json!({"password": "p"}));
            return Op { kind: Kind::NewToken, subject: slot, ..login };
        }
        _ => {}
    }
    Op { kind: Kind::NewToken, subject: slot, ..post("auth/token/create", &settings) }
}

fn tokens(random: &mut Random) -> Op {
    let subject = 1 + random.below(SLOTS - 1);
    let op = match random.below(8) {
        0 => post("auth/token/revoke", &json!({"token": "{token}"})),
        1 => post("auth/token/revoke-accessor", &json!({"accessor": "{accessor}"})),
        2 => Op { caller: subject, ..post("auth/token/revoke-self", &json!({})) },
        3 => Op { caller: subject, ..post("auth/token/renew-self", &json!({"increment": "100h"})) },
        4 => post("auth/token/lookup", &json!({"token": "{token}"})),
        5 => post("sys/capabilities-self", &json!({"paths": ["secret/data/app", "kv1/b"]})),
        _ => other(Call::get("auth/token/lookup-self")),
    };
    Op { subject, ..op }
}

fn policy(random: &mut Random) -> Op {
    let name = random.pick(&POLICIES);
    let path = format!("{}/{name}", random.pick(&["sys/policies/acl", "sys/policy"]));
    if random.per_mille(100) {
        return Op { caller: 0, ..other(Call::new("DELETE", &path)) };
    }
    post(&path, &json!({"policy": random.pick(&RULES)}))
}

fn wrapping(random: &mut Random, key: &str) -> Op {
    let wrapped = json!({"token": "{wrapped}"});
    match random.below(6) {
        0..3 => {
            let ttl = random.pick(&["60", "5m", "bad", "-1"]);
            let path = format!("{}{key}", random.pick(&["secret/data/", "kv1/"]));
            other(Call::get(&path).with("X-Vault-Wrap-TTL", ttl))
        }
        3 => post("sys/wrapping/lookup", &wrapped),
        _ => post("sys/wrapping/unwrap", &wrapped),
    }
}

fn namespaced(random: &mut Random, key: &str) -> Op {
    let spelling = random.pick(&["ns1", "ns1/", "/ns1", "ns2", "root", "", "NS1"]);
    let data = json!({"data": {"value": format!("n{}", random.below(1000))}});
    match random.below(8) {
        0 => post(&format!("ns1/secret/data/{key}"), &data),
        1 => {
            let call = Call::new("POST", &format!("secret/data/{key}")).json(&data);
            other(call.with("X-Vault-Namespace", "ns1"))
        }
        2 => read(&format!("ns1/secret/data/{key}")),
        3 => other(Call::new("DELETE", &format!("ns1/secret/metadata/{key}"))),
        4 => other(Call::new("LIST", "secret/metadata/").with("X-Vault-Namespace", spelling)),
        _ => {
            let call = Call::get(&format!("secret/data/{key}"));
            Op { kind: Kind::KvRead, ..other(call.with("X-Vault-Namespace", spelling)) }
        }
    }
}

fn administration(random: &mut Random) -> Op {
    let v2 = json!({"type": "kv", "options": {"version": "2"}});
    let tune = json!({"description": format!("d{}", random.below(9))});
    match random.below(9) {
        0 => post("sys/mounts/extra", &json!({"type": "kv", "options": {"version": "1"}})),
        1 => other(Call::new("DELETE", "sys/mounts/extra")),
        2 => post("sys/mounts/kv1/tune", &tune),
        3 => post("sys/namespaces/ns2", &json!({})),
        4 => Op { kind: Kind::Unfinished, ..other(Call::new("DELETE", "sys/namespaces/ns2")) },
        5 => post("ns2/sys/mounts/secret", &v2),
        6 => post("identity/entity", &json!({"name": "e", "policies": [random.pick(&POLICIES)]})),
        7 => other(Call::get("sys/internal/ui/mounts/secret/data/app")),
        _ => other(Call::get("sys/internal/ui/mounts/kv1/app")),
    }
}

/// Requests that invite a proxy to be cleverer than the server.
fn odd(random: &mut Random, key: &str) -> Op {
    let encoded = key.replace('/', "%2F");
    let target = match random.below(24) {
        0 => format!("/v1/secret/data/{encoded}"),
        1 => format!("/v1/secret/data/{key}/"),
        2 => format!("/v1/secret//data/{key}"),
        3 => format!("/v1/secret/data/./{key}"),
        4 => format!("/v1/secret/data/x/../{key}"),
        5 => format!("/v1/secret/data/%2e%2e/data/{key}"),
        6 => format!("/v1/secret/data%2F{key}"),
        7 => format!("/v1/%73ecret/data/{key}"),
        8 => format!("/v1/secret/data/{key}?help=1"),
        9 => format!("/v1/secret/data/{key}?list=true"),
        10 => format!("/v1/secret/data/{key}?unknown=1"),
        11 => format!("/v1/secret/data/{key}?version=1&version=2"),
        12 => format!("/v1/secret/data/{key}?Version=1"),
        13 => format!("/v1/kv1/{key}?x=y"),
        14 => format!("/v1/kv1/{key}/"),
        15 => format!("/v1/kv1//{key}"),
        16 => format!("/v1/kv1%2F%2F{key}"),
        17 => format!("/v1/secret/data/{key}%20"),
        18 => format!("/v1/secret/data/{key};x=1"),
        19 => format!("/V1/secret/data/{key}"),
        20 => format!("/v1/secret/Data/{key}"),
        21 => format!("/v1/secret/data/{key}?"),
        22 => format!("/v1/secret/data/{key}+"),
        _ => format!("/v1/secret/data/{key}%3fversion=1"),
    };
    let method = random
        .pick(&["GET", "GET", "GET", "GET", "HEAD", "OPTIONS", "get", "LIST", "DELETE", "POST"]);
    let mut call = Call::new(method, "").target(&target);
    if method == "POST" {
        call = call.json(&json!({"data": {"value": "odd"}, "value": "odd"}));
    }
    Op { odd: true, ..other(call) }
}
