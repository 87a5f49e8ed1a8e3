//! Two teams with secrets in each other's sight, and everything by which one of them might get out.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::bao::{Bao, wait_for_kv};
use crate::client::{Call, Client};
use crate::cluster::Cluster;
use crate::roles::{enable_jwt, jwt_role};
use crate::service_accounts::until;
use crate::vaultlet::{Vaultlet, merge};
use crate::world::{World, policy, prepare, put, token};

/// Every secret that might leak. The last one is no secret of the server's, but sent by callers.
pub const CANARIES: [&str; 6] =
    ["canary-a-61", "canary-b-62", "canary-v1-63", "canary-ns-64", "canary-old-65", SENT];

/// See [`CANARIES`].
pub const SENT: &str = "canary-sent-66";

const TEAM_A: &str = r#"
path "secret/data/team-a/*" { capabilities = ["read"] }
path "secret/metadata/team-a/*" { capabilities = ["read", "list"] }
path "secret/data/scratch" { capabilities = ["create", "read", "update", "patch", "delete"] }
path "kv1/team-a/*" { capabilities = ["read"] }
path "ns1/secret/data/team-a/*" { capabilities = ["read"] }
"#;
const TEAM_B: &str = r#"path "secret/data/team-b/*" { capabilities = ["read"] }"#;

pub struct Scene {
    pub world: World,
    pub a: String,
    pub b: String,
    audit: Audit,
}

impl Scene {
    pub async fn new() -> Self {
        let audit = Audit::new();
        let world = World::new(audit.settings(json!({}))).await;
        let (a, b) = furnish(&world.server()).await;
        let scene = Self { world, a, b, audit };
        // Warm: an attack on an empty cache would be none.
        for _ in 0..2 {
            assert_eq!(scene.poisoned().await, None);
        }
        scene.still_caching().await;
        scene
    }

    /// What a clean read now gets that it should not.
    pub async fn poisoned(&self) -> Option<String> {
        poisoned(&self.world.caller(&self.a), &self.world.caller(&self.b)).await
    }

    /// As if nobody had read anything.
    pub async fn forget(&self) {
        let all = Call::new("POST", "").target("/cache/clear").json(&json!({"type": "all"}));
        self.world.vaultlet.admin().send(&all).await.expect_any(&[200, 204]);
    }

    pub async fn still_caching(&self) {
        let a = self.world.caller(&self.a);
        crate::world::hit(&a, "secret/data/team-a/x", CANARIES[0]).await;
    }

    /// What should be in no log and is.
    pub async fn traces(&self) -> Vec<String> {
        self.audit.traces(&self.world.vaultlet, &[&self.a, &self.b]).await
    }
}

/// What the teams have, and their tokens.
pub async fn furnish(root: &Client) -> (String, String) {
    root.send(&Call::new("POST", "sys/namespaces/ns1")).await.expect(200);
    let v2 = json!({"type": "kv", "options": {"version": "2"}});
    root.post("ns1/sys/mounts/secret", v2).await.expect(204);
    wait_for_kv(root, "ns1/secret").await;
    let data = |value: &str| json!({"data": {"value": value}});
    let [a, b, v1, ns, old, _] = CANARIES;
    root.post("secret/data/team-a/x", data(old)).await.expect(200);
    root.post("secret/data/team-a/x", data(a)).await.expect(200);
    root.post("secret/data/team-a/s/t", data(a)).await.expect(200);
    root.post("secret/data/team-b/x", data(b)).await.expect(200);
    root.post("ns1/secret/data/team-a/x", data(ns)).await.expect(200);
    root.post("kv1/team-a/x", json!({"value": v1})).await.expect(204);
    policy(root, "a", TEAM_A).await;
    policy(root, "b", TEAM_B).await;
    let token_of = |policy: &'static str| token(root, json!({"policies": [policy]}));
    (token_of("a").await, token_of("b").await)
}

/// What a clean read by the teams now gets that it should not.
pub async fn poisoned(a: &Client, b: &Client) -> Option<String> {
    let header = Call::get("secret/data/team-a/x").with("X-Vault-Namespace", "ns1");
    let [canary_a, canary_b, v1, ns, old, _] = CANARIES;
    let reads = [
        (a.get("secret/data/team-a/x").await, 200, Some(canary_a)),
        (a.get("secret/data/team-a/x?version=1").await, 200, Some(old)),
        (a.get("secret/data/team-b/x").await, 403, None),
        (a.get("kv1/team-a/x").await, 200, Some(v1)),
        (a.send(&header).await, 200, Some(ns)),
        (b.get("secret/data/team-a/x").await, 403, None),
        (b.send(&header).await, 403, None),
        (b.get("secret/data/team-b/x").await, 200, Some(canary_b)),
    ];
    let wrong = reads.into_iter().enumerate().find(|(_, (answer, status, value))| {
        answer.status != *status || answer.value().as_deref() != *value
    });
    wrong.map(|(index, (answer, ..))| format!("poisoned: clean read {index} got {answer:?}"))
}

/// What pods of `payments/api` may read, and what is there.
pub const DB: &str = "secret/data/payments/db";
pub const VALUE: &str = CANARIES[0];

/// A server that takes the tokens of a cluster by its keys, and vaultlet before it.
pub async fn pods(cluster: &Cluster, settings: Value) -> (Bao, Vaultlet) {
    let bao = Bao::dev().await;
    let root = bao.root();
    prepare(&root).await;
    enable_jwt(&root, cluster, "jwt").await;
    policy(&root, "pay", r#"path "secret/data/payments/*" { capabilities = ["read"] }"#).await;
    let role = json!({"token_policies": ["pay"]});
    jwt_role(&root, ("jwt", "payments-api"), ("payments", "api"), role).await;
    put(&root, "payments/db", VALUE).await.expect(200);
    let mut kubernetes = cluster.settings();
    merge(&mut kubernetes, json!({"login": {"mount": "auth/jwt"}}));
    let mut all = json!({"auth": {"kubernetes": kubernetes}});
    merge(&mut all, settings);
    let vaultlet = Vaultlet::start(&bao.address(), all).await;
    until("ready", Duration::from_secs(20), async || {
        vaultlet.admin().send(&Call::get("").target("/readyz")).await.status == 200
    })
    .await;
    (bao, vaultlet)
}

/// An audit log and an operational one, both as talkative as they get.
pub struct Audit(TempDir);

impl Audit {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("audit.jsonl")
    }

    /// What vaultlet is told of them; `over` is laid over that.
    pub fn settings(&self, over: Value) -> Value {
        let audit = json!({"file": self.file(), "paths": "plain"});
        let mut settings = json!({"audit": audit, "log": {"level": "trace"}});
        merge(&mut settings, over);
        settings
    }

    /// What is in them that should not be: a secret, one of `tokens`, or a line that is not one of
    /// ours.
    pub async fn traces(&self, vaultlet: &Vaultlet, tokens: &[&str]) -> Vec<String> {
        let admin = vaultlet.admin();
        let page = async |path: &str| admin.send(&Call::get("").target(path)).await.text();
        let told = [
            ("log", vaultlet.log()),
            ("audit log", std::fs::read_to_string(self.file()).unwrap()),
            ("metrics", page("/metrics").await),
            ("status", page("/status").await),
        ];
        let mut found = Vec::new();
        for (where_, text) in &told {
            assert!(!text.is_empty(), "there is no {where_}");
            for secret in CANARIES.iter().chain(tokens).filter(|secret| text.contains(**secret)) {
                let line = text.lines().find(|line| line.contains(*secret)).unwrap_or_default();
                found.push(format!("{secret} is in the {where_}: {}", super::cut(line)));
            }
        }
        for (where_, text) in &told[..2] {
            let ours = |line: &str| {
                let line = serde_json::from_str::<Value>(line).unwrap_or_default();
                line["level"].is_string() || line["vaultlet"]["seq"].is_u64()
            };
            let odd = text.lines().find(|line| !ours(line) || line.chars().any(char::is_control));
            found.extend(odd.map(|line| format!("a line in the {where_}: {:?}", super::cut(line))));
        }
        let mut verify = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
        verify.args(["audit", "verify"]).arg(self.file()).env_clear().kill_on_drop(true);
        let verified = timeout(Duration::from_mins(1), verify.output()).await.unwrap().unwrap();
        if !verified.status.success() {
            found.push(format!("the audit log is not whole: {verified:?}"));
        }
        found
    }
}
