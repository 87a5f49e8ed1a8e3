//! Do this node's own rules take away, and only take away?

use serde_json::json;

use crate::bao::Bao;
use crate::client::Call;
use crate::cluster::Cluster;
use crate::roles::{enable_kubernetes, kubernetes_role};
use crate::vaultlet::Vaultlet;
use crate::world::{World, is_hit, prepare, put, reads};

const RULES: &str = r#"
path "secret/data/{{namespace}}/*" { capabilities = ["read"] }
path "secret/data/shared/*"        { capabilities = ["read"] }
path "secret/data/*"               { capabilities = ["deny"] }
"#;

/// Two teams, whose roles upstream may read everything.
async fn teams(rules: &str) -> (Cluster, Bao, Vaultlet, tempfile::TempDir) {
    let (cluster, bao) = (Cluster::start().await, Bao::dev().await);
    let root = bao.root();
    prepare(&root).await;
    enable_kubernetes(&root, &cluster, "kubernetes").await;
    for team in ["team-a", "team-b"] {
        let role = format!("{team}-app");
        let settings = json!({"token_policies": ["reader"]});
        kubernetes_role(&root, ("kubernetes", &role), (team, "app"), settings).await;
        put(&root, &format!("{team}/db"), team).await.expect(200);
    }
    put(&root, "shared/ca", "everyone's").await.expect(200);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("guardrails.hcl");
    std::fs::write(&file, rules).unwrap();
    let settings = json!({
        "auth": {"kubernetes": cluster.settings()},
        "policy": {"guardrails": [file]},
    });
    let vaultlet = Vaultlet::start(&bao.address(), settings).await;
    (cluster, bao, vaultlet, home)
}

#[tokio::test]
async fn a_team_reads_its_own_and_what_is_shared_hit_or_not() {
    let (cluster, _bao, vaultlet, _home) = teams(RULES).await;
    let caller = |team: &str| vaultlet.client().token(&cluster.token(team, "app", "app-0"));
    let (a, b) = (caller("team-a"), caller("team-b"));

    reads(&a.get("secret/data/team-a/db").await, "team-a");
    is_hit(&a.get("secret/data/team-a/db").await, "team-a");
    reads(&b.get("secret/data/shared/ca").await, "everyone's");
    // It is in the cache now, and upstream the other team may read it.
    for spelling in ["/v1/secret/data/team-a/db", "/v1/secret%2Fdata/team-a/db"] {
        let answer = b.send(&Call::get("").target(spelling)).await.expect_own_error(&[403]);
        assert!(answer.text().contains("guardrail"), "{answer:?}");
    }
    b.post("secret/data/team-b/db", json!({"data": {"value": "x"}})).await.expect_own_error(&[403]);
    let refused = vaultlet.events("request refused");
    let why = refused[0]["why"].as_str().unwrap();
    assert!(why.contains("guardrails.hcl:4 does not grant it"), "{why}");
    let upstream = vaultlet.metric("vaultlet_upstream_requests_total", &["code=\"403\""]).await;
    assert!(upstream.abs() < f64::EPSILON, "the upstream was not asked");
}

#[tokio::test]
async fn they_give_nothing_that_the_upstream_does_not() {
    let all =
        r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#;
    let (cluster, _bao, vaultlet, _home) = teams(all).await;
    let pod = vaultlet.client().token(&cluster.token("team-a", "app", "app-0"));

    reads(&pod.get("secret/data/team-b/db").await, "team-b");
    pod.get("sys/policies/acl/reader").await.expect(403);
    pod.post("secret/data/team-a/db", json!({"data": {}})).await.expect(403);
}

#[tokio::test]
async fn they_hold_for_vault_tokens_and_are_read_again() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("guardrails.hcl");
    std::fs::write(&file, r#"path "secret/data/closed" { capabilities = ["deny"] }"#).unwrap();
    let world = World::new(json!({"policy": {"guardrails": [&file]}})).await;
    world.put("closed", "1").await;
    world.put("open", "1").await;
    let caller = world.caller_with(&["reader"]).await;

    caller.get("secret/data/closed").await.expect_own_error(&[403]);
    reads(&caller.get("secret/data/open").await, "1");
    std::fs::write(&file, r#"path "secret/data/open" { capabilities = ["deny"] }"#).unwrap();
    world.vaultlet.signal(rustix::process::Signal::HUP);
    for _ in 0..100 {
        if caller.get("secret/data/open").await.status == 403 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    caller.get("secret/data/open").await.expect_own_error(&[403]);
    reads(&caller.get("secret/data/closed").await, "1");
    std::fs::write(&file, "path {{{").unwrap();
    world.vaultlet.signal(rustix::process::Signal::HUP);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    caller.get("secret/data/open").await.expect_own_error(&[403]);
}
