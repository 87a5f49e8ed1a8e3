//! With `policy.source: local`: is what vaultlet decides by the upstream's policies what the server
//! would have said, as of at most W ago, and is the server asked where that is not certain?

mod changes;
mod credential;
mod rules;

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::bao::Bao;
use crate::client::{Answer, Call, Client};
use crate::vaultlet::{Vaultlet, merge};
use crate::world::{World, policy, token};

/// What docs/local-policies.md tells operators to give vaultlet's own token.
fn own_rules() -> &'static str {
    let page = include_str!("../../docs/local-policies.md");
    page.split("```hcl\n").nth(1).unwrap().split("```").next().unwrap()
}

/// A world in which vaultlet reads policies, with a token of its own that may do nothing else.
struct Local {
    world: World,
    own: String,
    home: TempDir,
}

impl Local {
    /// W is 3 s, so that policies are read each second.
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(settings: Value) -> Self {
        Self::before(Bao::dev().await, settings).await
    }

    async fn before(bao: Bao, settings: Value) -> Self {
        let own = own_token(&bao.root()).await;
        let home = tempfile::tempdir().unwrap();
        let mut all = settings_with(&home, &own);
        merge(&mut all, settings);
        let world = World::before(bao, all).await;
        refreshed(&world.vaultlet, 1.0).await;
        Self { world, own, home }
    }

    /// Waits until policies have been read that were written before.
    async fn settled(&self) {
        settled(&self.world.vaultlet).await;
    }

    /// How often secrets have been read upstream for the cache.
    async fn reads(&self) -> f64 {
        let labels = [r#"operation="kv_read""#];
        self.world.vaultlet.metric("vaultlet_upstream_requests_total", &labels).await
    }

    async fn decided(&self, decision: &str) -> f64 {
        let decision = format!("decision=\"{decision}\"");
        let labels = [decision.as_str(), r#"source="local""#];
        self.world.vaultlet.metric("vaultlet_policy_decisions_total", &labels).await
    }

    /// Has somebody else fill the cache; nobody whose rights are looked at shares their class.
    async fn fill(&self, call: impl Into<Call>) {
        let filler = self.world.caller_with(&["reader", "writer"]).await;
        let call = call.into();
        filler.send(&call).await;
        crate::world::cached(&filler, call).await;
    }

    /// Whether this caller is let have it without the server's having been asked.
    async fn local(&self, caller: &Client, call: impl Into<Call>) -> (Answer, bool) {
        let call = call.into();
        self.fill(&call).await;
        let before = self.reads().await;
        let answer = caller.send(&call).await;
        (answer, (self.reads().await - before).abs() < 0.1)
    }
}

pub fn settings_with(home: &TempDir, own: &str) -> Value {
    let file = home.path().join("own.token");
    std::fs::write(&file, format!("{own}\n")).unwrap();
    json!({
        "policy": {"refresh": "3s", "source": "local", "identity": {"token_file": file}},
        "cache": {"kv": {"ttl": "1h"}},
    })
}

/// A token with the documented policy and nothing else.
pub async fn own_token(root: &Client) -> String {
    policy(root, "vaultlet", own_rules()).await;
    token(root, json!({"policies": ["vaultlet"], "no_default_policy": true})).await
}

/// Waits for two more readings: one of them began after this.
pub async fn settled(vaultlet: &Vaultlet) {
    let before = refreshes(vaultlet).await;
    refreshed(vaultlet, before + 2.0).await;
}

async fn refreshed(vaultlet: &Vaultlet, times: f64) {
    let began = Instant::now();
    while refreshes(vaultlet).await < times {
        assert!(began.elapsed() < Duration::from_secs(20), "no refresh\n{}", vaultlet.log());
        sleep(Duration::from_millis(20)).await;
    }
}

async fn refreshes(vaultlet: &Vaultlet) -> f64 {
    vaultlet.metric("vaultlet_policy_refreshes_total", &[r#"result="ok""#]).await
}
