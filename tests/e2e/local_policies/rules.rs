//! Is a read that the rules allow answered without the server, and any other by the server?

use serde_json::json;

use super::{Local, own_rules};
use crate::client::{Call, Client};
use crate::world::{is_hit, reads};

const PATH: &str = "secret/data/app/db";

#[tokio::test]
async fn a_class_of_its_own_is_let_have_what_others_have_read() {
    let local = Local::new().await;
    local.world.put("app/db", "canary").await;
    local.world.policy("app", r#"path "secret/data/app/*" { capabilities = ["read"] }"#).await;
    local.settled().await;
    let caller = local.world.caller_with(&["app"]).await;

    let (answer, locally) = local.local(&caller, PATH).await;
    is_hit(&answer, "canary");
    assert!(locally && local.decided("allow").await >= 1.0, "{answer:?}");
    let refused = local.world.caller_with(&["default"]).await;
    let (answer, _) = local.local(&refused, PATH).await;
    let server = Client::tcp(&local.world.bao.address());
    let truth = server.token(&local.world.token(&["default"]).await).get(PATH).await;
    assert_eq!((answer.status, &answer.body), (403, &truth.body), "{answer:?}");
    assert!(local.decided("deny").await >= 1.0);
}

/// One policy, one request, and whether it can be decided here; what the answer must be is the
/// server's to say.
#[tokio::test]
async fn each_kind_of_rule_decides_as_the_servers_does() {
    let local = Local::new().await;
    let versioned = Call::get("secret/data/app/db?version=1");
    let plain = || Call::get(PATH);
    let rules = [
        ("required", r#"required_parameters = ["version"]"#, plain(), false),
        ("required", r#"required_parameters = ["version"]"#, versioned.clone(), true),
        ("denied", r#"denied_parameters = { "version" = ["1"] }"#, versioned.clone(), false),
        ("denied", r#"denied_parameters = { "version" = ["1"] }"#, plain(), true),
        ("denied2", r#"denied_parameters = { "version" = ["2"] }"#, versioned.clone(), true),
        ("allowed", r#"allowed_parameters = { "version" = ["1*"] }"#, versioned.clone(), true),
        ("allowed2", r#"allowed_parameters = { "version" = ["2"] }"#, versioned.clone(), false),
        ("wrapped", r#"max_wrapping_ttl = "5m""#, plain(), false),
        ("group", r#"mfa_methods = ["m"]"#, plain(), false),
    ];
    local.world.put("app/db", "canary").await;
    for (name, rule, ..) in &rules {
        let text =
            format!("path \"secret/data/app/*\" {{\n capabilities = [\"read\"]\n {rule}\n}}");
        local.world.policy(name, &text).await;
    }
    let paths = [
        ("plus", r#"path "secret/data/+/db" { capabilities = ["read"] }"#, true),
        (
            "shadowed",
            r#"path "secret/data/*" { capabilities = ["read"] }
               path "secret/data/+/db" { capabilities = ["deny"] }"#,
            false,
        ),
        (
            "nearer",
            r#"path "secret/data/app/db" { capabilities = ["list"] }
               path "secret/data/*" { capabilities = ["read"] }"#,
            false,
        ),
    ];
    for (name, text, _) in &paths {
        local.world.policy(name, text).await;
    }
    local.settled().await;

    let rules = rules.iter().map(|(name, _, call, here)| (*name, call.clone(), *here));
    let paths = paths.iter().map(|(name, _, here)| (*name, plain(), *here));
    for (name, call, here) in rules.chain(paths) {
        let token = local.world.token(&[name]).await;
        let truth = local.world.bao.root().token(&token).send(&call).await;
        let (answer, locally) = local.local(&local.world.caller(&token), call.clone()).await;
        assert_eq!(answer.status, truth.status, "{name}: {call:?}");
        assert_eq!(answer.value(), truth.value(), "{name}: {call:?}");
        assert_eq!(locally, here, "{name}: {call:?}: {answer:?}");
    }
}

/// A user with an entity, metadata and groups, who logs in through vaultlet.
async fn user(local: &Local, name: &str, team: &str) -> Client {
    let root = local.world.server();
    root.post("sys/auth/userpass", json!({"type": "userpass"})).await;
    let user = json!({"password": "p", "token_policies": "team"});
    root.post(&format!("auth/userpass/users/{name}"), user).await.expect(204);
    let login = format!("auth/userpass/login/{name}");
    let made = root.post(&login, json!({"password": "p"})).await.expect(200).json();
    let entity = made["auth"]["entity_id"].as_str().unwrap().to_owned();
    let metadata = json!({"metadata": {"team": team}});
    root.post(&format!("identity/entity/id/{entity}"), metadata).await;
    let group = json!({
        "name": format!("{name}s"), "policies": ["grouped"], "member_entity_ids": [entity],
    });
    root.post("identity/group", group).await.expect(200);
    let caller = local.world.vaultlet.client();
    let made = caller.post(&login, json!({"password": "p"})).await.expect(200).json();
    local.world.caller(made["auth"]["client_token"].as_str().unwrap())
}

#[tokio::test]
async fn templates_and_groups_decide_by_the_entitys_own_data() {
    let local = Local::new().await;
    let mine =
        r#"path "secret/data/{{identity.entity.metadata.team}}/*" { capabilities = ["read"] }"#;
    local.world.policy("team", mine).await;
    let by_group = r#"path "secret/data/group/{{identity.groups.names.reds.name}}" { capabilities = ["read"] }"#;
    local.world.policy("grouped", by_group).await;
    for key in ["red/x", "blue/x", "group/reds", "warm/1", "warm/2"] {
        local.world.put(key, key).await;
    }
    let (red, blue) = (user(&local, "red", "red").await, user(&local, "blue", "blue").await);
    // Whose data is needed shows with the first request; so does it that a login is not enough.
    for key in ["warm/1", "warm/2"] {
        for caller in [&red, &blue] {
            local.local(caller, format!("secret/data/{key}").as_str()).await;
        }
        local.settled().await;
    }

    for (caller, key, allowed) in [
        (&red, "red/x", true),
        (&red, "blue/x", false),
        (&red, "group/reds", true),
        (&blue, "blue/x", true),
        (&blue, "red/x", false),
        (&blue, "group/reds", false),
    ] {
        let (answer, locally) = local.local(caller, format!("secret/data/{key}").as_str()).await;
        let value = allowed.then(|| key.to_owned());
        assert_eq!((answer.value(), locally), (value, allowed), "{key}: {answer:?}");
    }
}

#[tokio::test]
async fn a_policy_that_is_not_understood_costs_its_holders_alone() {
    let local = Local::new().await;
    local.world.put("app/db", "canary").await;
    let odd =
        "path \"secret/data/app/*\" {\n  capabilities = [\"read\"]\n  capabilities = [\"list\"]\n}";
    local.world.policy("odd", odd).await;
    local.world.policy("plain", r#"path "secret/data/app/*" { capabilities = ["read"] }"#).await;
    local.settled().await;

    let (answer, locally) = local.local(&local.world.caller_with(&["odd"]).await, PATH).await;
    assert_eq!((answer.value().as_deref(), locally), (Some("canary"), false), "{answer:?}");
    let (answer, locally) = local.local(&local.world.caller_with(&["plain"]).await, PATH).await;
    assert_eq!((answer.value().as_deref(), locally), (Some("canary"), true), "{answer:?}");

    let warned = local.world.vaultlet.log();
    assert_eq!(
        warned.matches("policy odd, line 3: the same attribute twice").count(),
        1,
        "{warned}"
    );
    let status = local.world.vaultlet.admin().send(&Call::get("").target("/status")).await.json();
    let opaque = &status["policies"]["opaque"];
    assert_eq!(opaque, &json!(["odd, line 3: the same attribute twice"]), "{status}");
    let opaque = local.world.vaultlet.metric("vaultlet_policies", &[r#"state="opaque""#]).await;
    assert!((opaque - 1.0).abs() < 0.1, "{opaque}");
    let mut check = tokio::process::Command::new(env!("CARGO_BIN_EXE_vaultlet"));
    check.args(["check", "--connect", "--config"]).arg(local.world.vaultlet.config());
    let checked = String::from_utf8(check.env_clear().output().await.unwrap().stdout).unwrap();
    assert!(checked.contains(", 1 not understood\npolicy odd, line 3: "), "{checked}");
}

#[tokio::test]
async fn a_namespace_has_policies_of_its_own() {
    let local = Local::new().await;
    let root = local.world.server();
    root.send(&Call::new("POST", "sys/namespaces/ns1")).await.expect(200);
    let v2 = json!({"type": "kv", "options": {"version": "2"}});
    root.post("ns1/sys/mounts/secret", v2).await.expect(204);
    crate::bao::wait_for_kv(&root, "ns1/secret").await;
    root.post("ns1/secret/data/x", json!({"data": {"value": "there"}})).await.expect(200);
    let below = own_rules().replace("path \"", "path \"ns1/");
    local.world.policy("vaultlet", &format!("{}{below}", own_rules())).await;
    let rules = json!({"policy": r#"path "secret/data/x" { capabilities = ["read"] }"#});
    let mut callers = Vec::new();
    for name in ["one", "two", "three"] {
        root.post(&format!("ns1/sys/policies/acl/{name}"), rules.clone()).await.expect(204);
        let made =
            root.post("ns1/auth/token/create", json!({"policies": [name]})).await.expect(200);
        callers.push(local.world.caller(made.json()["auth"]["client_token"].as_str().unwrap()));
    }
    let call = Call::get("secret/data/x").with("X-Vault-Namespace", "ns1");
    callers[0].send(&call).await.expect(200);
    crate::world::cached(&callers[0], call.clone()).await;
    // That policies of this namespace are wanted shows with the first who is not let have it.
    reads(&callers[1].send(&call).await, "there");
    local.settled().await;

    let before = local.reads().await;
    is_hit(&callers[2].send(&call).await, "there");
    assert!((local.reads().await - before).abs() < 0.1);
}
