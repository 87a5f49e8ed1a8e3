//! Does `vaultlet explain` say what happens, and why?

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::bao::Bao;
use crate::cluster::Cluster;
use crate::roles::{enable_kubernetes, kubernetes_role};
use crate::vaultlet::{Vaultlet, merge, write_config};
use crate::world::{World, prepare, put};

struct Said {
    code: i32,
    text: String,
    error: String,
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.error);
        serde_json::from_str(&self.text).unwrap()
    }
}

async fn explain(config: &Path, arguments: &[&str], token: Option<&str>) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
    command.arg("explain").arg("--config").arg(config).args(arguments).env_clear();
    if let Some(token) = token {
        command.env("VAULT_TOKEN", token);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(30), command.output()).await.unwrap().unwrap();
    Said {
        code: output.status.code().unwrap(),
        text: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

const RULES: &str = r#"# line 1
path "secret/data/team/*" { capabilities = ["read"] }
path "secret/data/team/+/locked" {
  capabilities = ["deny"]
}
"#;

#[tokio::test]
async fn a_token_is_told_the_rule_and_what_the_cache_does() {
    let rules = json!({"cache": {"rules": [
        {"path": "secret/data/other/*", "cache": false},
        {"path": "secret/data/team/*", "ttl": "5s"},
    ]}});
    let world = World::new(rules).await;
    world.policy("team", RULES).await;
    world.put("team/app", "hunter2").await;
    let token = world.token(&["team"]).await;
    let root = world.bao.root_token().to_owned();
    let ask = async |arguments: &[&str]| {
        let mut all = vec!["--json", "--as", &token];
        all.extend(arguments);
        explain(world.vaultlet.config(), &all, Some(&root)).await
    };

    for (arguments, decision, rule) in [
        (["GET", "secret/data/team/app"], "allowed", Some("team:2")),
        (["GET", "secret/data/team/x/locked"], "refused", Some("team:3")),
        (["GET", "secret/data/elsewhere"], "refused", None),
        (["DELETE", "secret/data/team/app"], "refused", Some("team:2")),
        (["LIST", "secret/metadata/team"], "refused", None),
    ] {
        let said = ask(&arguments).await.json();
        assert_eq!(said["decision"], decision, "{arguments:?}: {said:#}");
        assert_eq!(said["rule"].as_str(), rule, "{arguments:?}: {said:#}");
        // The server says the same.
        let caller = world.caller(&token);
        let call = crate::client::Call::new(arguments[0], arguments[1]);
        let served = caller.send(&call).await.status;
        assert_eq!(served == 403, decision == "refused", "{arguments:?} {served}");
    }
    let said = ask(&["GET", "secret/data/team/app"]).await.json();
    assert_eq!(said["policies"], json!(["default", "team"]));
    let cache = said["cache"].as_str().unwrap();
    assert!(cache.starts_with("kept for 5s") && cache.ends_with("by cache.rules.1"), "{cache}");
    let asked = ["--as", token.as_str(), "GET", "secret/data/team/app"];
    let text = explain(world.vaultlet.config(), &asked, Some(&root)).await;
    assert!(
        text.text.starts_with("allowed     a policy grants it\nrule        team:2\n"),
        "{}",
        text.text
    );
    for secret in [token.as_str(), root.as_str(), "hunter2"] {
        assert!(!text.text.contains(secret) && !text.error.contains(secret));
    }
}

#[tokio::test]
async fn a_service_account_is_explained_without_logging_in() {
    let (cluster, bao) = (Cluster::start().await, Bao::dev().await);
    let root = bao.root();
    prepare(&root).await;
    enable_kubernetes(&root, &cluster, "kubernetes").await;
    let role = json!({"token_policies": ["reader"]});
    kubernetes_role(&root, ("kubernetes", "team-a-app"), ("team-a", "app"), role).await;
    put(&root, "app", "1").await.expect(200);
    let home = tempfile::tempdir().unwrap();
    let guardrail = home.path().join("rules.hcl");
    std::fs::write(&guardrail, "\npath \"secret/data/shut\" { capabilities = [\"deny\"] }")
        .unwrap();
    let config = home.path().join("vaultlet.yaml");
    let mut settings = json!({"upstream": {"address": bao.address()}});
    merge(
        &mut settings,
        json!({
            "auth": {"kubernetes": cluster.settings()},
            "policy": {"guardrails": [&guardrail]},
        }),
    );
    write_config(&config, &settings);
    let jwt = cluster.token("team-a", "app", "app-0");
    let file = home.path().join("token");
    std::fs::write(&file, format!("{jwt}\n")).unwrap();
    let file = file.display().to_string();
    let token = Some(bao.root_token());
    let accessors = async || {
        let call = crate::client::Call::new("LIST", "auth/token/accessors");
        root.send(&call).await.expect(200).json()["data"]["keys"].as_array().unwrap().len()
    };
    let before = accessors().await;

    for who in ["system:serviceaccount:team-a:app", file.as_str()] {
        let ask = async |path: &str| {
            explain(&config, &["--json", "--as", who, "GET", path], token).await.json()
        };
        let said = ask("secret/data/app").await;
        assert_eq!(said["decision"], "allowed", "{said:#}");
        assert_eq!(said["role"], "team-a-app on auth/kubernetes");
        assert_eq!(said["rule"], "reader:2");
        let shut = ask("secret/data/shut").await;
        assert_eq!(shut["decision"], "refused");
        assert!(shut["guardrails"].as_str().unwrap().contains("rules.hcl:2"), "{shut:#}");
        // An entity's policies are not known before a login.
        assert_eq!(ask("sys/policies/acl/x").await["decision"], "unknown");
    }
    assert_eq!(accessors().await, before, "nobody was logged in");
    let forged = jwt.replace('.', ".A");
    std::fs::write(home.path().join("token"), &forged).unwrap();
    let said = explain(&config, &["--as", &file, "GET", "secret/data/app"], token).await;
    assert_eq!(said.code, 1, "{}", said.text);
    assert!(!said.error.contains(&forged[..40]), "{}", said.error);
}

#[tokio::test]
async fn a_refusal_is_found_by_the_id_in_the_log() {
    let (cluster, bao) = (Cluster::start().await, Bao::dev().await);
    let root = bao.root();
    prepare(&root).await;
    enable_kubernetes(&root, &cluster, "kubernetes").await;
    let role = json!({"token_policies": ["default"]});
    kubernetes_role(&root, ("kubernetes", "team-a-app"), ("team-a", "app"), role).await;
    put(&root, "hidden", "hunter2").await.expect(200);
    for shown in [false, true] {
        let settings = json!({
            "auth": {"kubernetes": cluster.settings()},
            "admin": {"show_paths": shown},
        });
        let vaultlet = Vaultlet::start(&bao.address(), settings).await;
        let jwt = cluster.token("team-a", "app", "app-0");
        vaultlet.client().token(&jwt).get("secret/data/hidden").await.expect(403);

        let event = vaultlet.events("request refused").pop().unwrap();
        assert_eq!(event["service_account"], "team-a/app");
        let id = event["id"].as_str().unwrap();
        let admin = format!("http://{}", vaultlet.admin_address());
        let asked = ["--id", id, "--admin", &admin, "--json"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
        let said = command.arg("explain").args(asked).env_clear().output().await.unwrap();
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!((&said["id"], &said["refused_by"]), (&event["id"], &json!("upstream")));
        assert_eq!(said["role"], "team-a-app on auth/kubernetes/login");
        let path = shown.then_some("secret/data/hidden");
        assert_eq!(said["path"].as_str(), path);
        let said = said.to_string();
        assert!(!said.contains("hunter2") && !said.contains(&jwt[..30]));
        assert!(!vaultlet.log().contains("hidden"), "{}", vaultlet.log());
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_one_paragraph() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("vaultlet.yaml");
    write_config(&config, &json!({"upstream": {"address": "http://127.0.0.1:1"}}));
    let account = "system:serviceaccount:a:b";
    for arguments in [
        &["--as", "hunter2", "GET", "x"][..],
        &["--as", account],
        &["--as", account, "GET"],
        &["GET", "secret/data/x"],
        &["--id", "hunter2!"],
        &["--id", "abc", "--as", account, "GET", "x"],
        &["--role", "x", "GET", "y"],
        &["--as", "system:serviceaccount:a", "GET", "x"],
    ] {
        let said = explain(&config, arguments, None).await;
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.error);
        assert!(said.text.is_empty() && !said.error.is_empty());
    }
    let said = explain(&config, &["--as", account, "GET", "secret/data/x"], None).await;
    assert_eq!(said.code, 1, "nobody answers: {}", said.error);
}
