//! Do pods get what is theirs, all from one login, and nothing that is not?
//!
//! A real OpenBao trusts a cluster's stand-in; between it and vaultlet sits a stub that writes down
//! what arrives, so that "upstream sees one login" is counted and not inferred.

mod audit;
mod badges;
mod crowds;
mod cycles;
mod forged;
mod lives;
mod mixing;
mod namespaces;
mod outages;
mod revocation;
mod roles;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::bao::Bao;
use crate::client::{Answer, Call, Client};
use crate::cluster::Cluster;
use crate::roles::{enable_kubernetes, kubernetes_role};
use crate::stub::{Reply, Seen, Stub};
use crate::vaultlet::{Vaultlet, merge};
use crate::world::{policy, put};

const LOGIN: &str = "auth/kubernetes/login";
const DB: &str = "secret/data/payments/db";
const VALUE: &str = "canary-of-payments-73914620";
const SHOP: &str = "secret/data/web/db";
const SHOP_VALUE: &str = "canary-of-web-55220187";

/// A node of a cluster: its vaultlet, and the server that trusts the cluster.
struct Node {
    bao: Bao,
    cluster: Cluster,
    stub: Stub,
    vaultlet: Vaultlet,
}

impl Node {
    /// Two teams, `payments/api` and `web/shop`, each with a role, a policy and a secret.
    /// `kubernetes` is laid over that section of the configuration, `settings` over all of it.
    async fn new(kubernetes: Value, settings: Value) -> Self {
        let (bao, cluster) = (Bao::dev().await, Cluster::start().await);
        enable_kubernetes(&bao.root(), &cluster, "kubernetes").await;
        let mut section = cluster.settings();
        merge(&mut section, kubernetes);
        Self::before(bao, cluster, section, settings).await
    }

    /// The same of a server and a cluster that are there, whose mount is there. `kubernetes` is
    /// that section as it is.
    async fn before(bao: Bao, cluster: Cluster, kubernetes: Value, settings: Value) -> Self {
        let stub = Stub::before(&bao.address(), |_| Reply::Forward).await;
        let mut whole = json!({"auth": {"kubernetes": kubernetes}});
        merge(&mut whole, settings);
        let vaultlet = Vaultlet::start(&stub.address(), whole).await;
        let node = Self { bao, cluster, stub, vaultlet };
        until("ready", Duration::from_secs(20), async || {
            node.vaultlet.admin().send(&Call::get("").target("/readyz")).await.status == 200
        })
        .await;
        node.team(("payments", "api"), json!({})).await;
        node.team(("web", "shop"), json!({})).await;
        put(&node.bao.root(), "payments/db", VALUE).await.expect(200);
        put(&node.bao.root(), "web/db", SHOP_VALUE).await.expect(200);
        node
    }

    /// A role that the template names, whose policy lets it read `secret/NAMESPACE/*`.
    async fn team(&self, (namespace, account): (&str, &str), settings: Value) {
        let root = self.bao.root();
        policy(&root, namespace, &rules(namespace)).await;
        let mut all = json!({"token_policies": [namespace]});
        merge(&mut all, settings);
        let role = format!("{namespace}-{account}");
        kubernetes_role(&root, ("kubernetes", &role), (namespace, account), all).await;
    }

    /// A token of one of the pods of `payments/api`.
    fn jwt(&self, pod: usize) -> String {
        self.cluster.token("payments", "api", &format!("api-{pod}"))
    }

    /// One of the pods of `payments/api`.
    fn pod(&self, pod: usize) -> Client {
        self.caller(&self.jwt(pod))
    }

    /// One of the pods of `web/shop`.
    fn neighbour(&self, pod: usize) -> Client {
        self.caller(&self.cluster.token("web", "shop", &format!("shop-{pod}")))
    }

    /// Asks vaultlet with this credential.
    fn caller(&self, token: &str) -> Client {
        self.vaultlet.client().token(token)
    }

    /// Logs in through vaultlet as an unmodified application does; the token it got.
    async fn log_in(&self, jwt: &str, role: &str) -> String {
        let body = json!({"role": role, "jwt": jwt});
        let answer = self.vaultlet.client().post(LOGIN, body).await.expect(200).json();
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// How many requests for this path have come to the server, whatever the method.
    fn upstream(&self, path: &str) -> usize {
        let target = format!("/v1/{path}");
        self.stub.seen().iter().filter(|seen| seen.target == target).count()
    }

    /// Every request that has come to the server, but for what vaultlet asks about its health.
    fn asked(&self) -> Vec<Seen> {
        let seen = self.stub.seen().into_iter();
        seen.filter(|seen| !seen.target.starts_with("/v1/sys/health")).collect()
    }

    /// Every token that a request upstream was made with.
    fn upstream_tokens(&self) -> HashSet<String> {
        let seen = self.stub.seen();
        seen.iter().filter_map(|seen| seen.header("x-vault-token").map(str::to_owned)).collect()
    }

    /// The one that reads of this path were made with.
    fn token_for(&self, path: &str) -> Option<String> {
        let (seen, target) = (self.stub.seen(), format!("/v1/{path}"));
        let seen = seen.iter().rev().find(|seen| seen.target == target)?;
        seen.header("x-vault-token").map(str::to_owned)
    }

    /// One of vaultlet's own counts of what it asked upstream.
    async fn counted(&self, operation: &str) -> i64 {
        let label = format!("operation=\"{operation}\"");
        let count = self.vaultlet.metric("vaultlet_upstream_requests_total", &[&label]).await;
        format!("{count}").parse().unwrap()
    }
}

/// What the policy of a team says.
fn rules(namespace: &str) -> String {
    format!(
        "path \"secret/data/{namespace}/*\" {{ capabilities = [\"read\"] }}\n\
         path \"secret/metadata/{namespace}/*\" {{ capabilities = [\"read\", \"list\"] }}\n"
    )
}

/// A read that asks the server.
pub fn anew(path: &str) -> Call {
    Call::get(path).with("Cache-Control", "no-cache")
}

/// A read in either of the two ways to bring a service-account token; the client brings none.
fn presented(path: &str, jwt: &str, bearer: bool) -> Call {
    if bearer {
        Call::get(path).with("Authorization", &format!("Bearer {jwt}"))
    } else {
        Call::get(path).with("X-Vault-Token", jwt)
    }
}

/// Every byte of an answer that a caller receives, as text.
fn received(answer: &Answer) -> String {
    let headers = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    format!("{}\n{}\n{}", answer.status, headers.collect::<String>(), answer.text())
}

/// What an error says first.
fn message(answer: &Answer) -> String {
    answer.json()["errors"][0].as_str().unwrap_or_default().to_owned()
}

/// Waits until this holds; fails the test if it does not within `patience`.
pub async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < patience, "{what}: not within {patience:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
