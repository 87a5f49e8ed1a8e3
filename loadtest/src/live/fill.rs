//! How does a world get into an OpenBao?

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vaultlet::dev::AUDIENCE;
use zeroize::Zeroizing;

use super::api::{Api, Ask};
use super::ground::Ground;
use super::openbao::OpenBao;
use super::postgres::Postgres;
use crate::cluster::{Cluster, Pod};
use crate::passes::{ISSUER, NAMESPACE, Passes};
use crate::scenario::{Engine, Scenario};

/// What asks at once.
const WORKERS: usize = 16;

/// How many secrets are made before they are sent.
const BATCH: usize = 4096;

/// Tokens of pods live at least so long: nobody renews them, as no run lasts longer.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

const USERS: &str =
    r#"CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"#;

/// Everything but the tokens of pods.
pub(super) async fn world(
    server: &OpenBao,
    scenario: &Scenario,
    cluster: &Cluster,
    passes: &Passes,
    postgres: Option<&Postgres>,
) -> Result<(), String> {
    let mut api = server.api();
    for (path, what) in [
        ("sys/mounts/kv1", json!({"type": "kv", "options": {"version": "1"}})),
        ("sys/mounts/kv2", json!({"type": "kv", "options": {"version": "2"}})),
        ("sys/auth/jwt", json!({"type": "jwt"})),
    ] {
        api.ask(&Ask::write(path, what)).await?;
    }
    let keys = json!({"jwt_validation_pubkeys": [passes.pem()?], "bound_issuer": ISSUER});
    api.ask(&Ask::write("auth/jwt/config", keys)).await?;
    // A new KV v2 mount refuses writes for a moment, "upgrading from non-versioned".
    api.insist(&Ask::write("kv2/data/ready", json!({"data": {}}))).await?;
    if let Some(postgres) = postgres {
        database(&mut api, scenario, postgres).await?;
    }
    let accounts = (0..cluster.accounts()).map(|account| cluster.account_name(account));
    let ttl = scenario.world.token_ttl;
    asks(server, accounts.map(|account| role(&account, ttl))).await?;
    asks(server, policies_of(cluster, 0)).await?;
    asks(server, secrets(cluster)).await
}

/// The role of one service account, which has its name, as its policy does.
fn role(account: &str, token_ttl: Duration) -> Ask {
    let role = json!({
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": [AUDIENCE],
        "bound_subject": format!("system:serviceaccount:{NAMESPACE}:{account}"),
        "token_policies": [account],
        "token_ttl": token_ttl.as_secs(),
    });
    Ask::write(format!("auth/jwt/role/{account}"), role)
}

/// The policies of all service accounts, after they have changed so often.
pub(super) fn policies(ground: &Ground, changes: u32) -> impl Iterator<Item = Ask> {
    policies_of(ground.cluster(), changes)
}

fn policies_of(cluster: &Cluster, changes: u32) -> impl Iterator<Item = Ask> {
    (0..cluster.accounts()).map(move |account| {
        let path = format!("sys/policies/acl/{}", cluster.account_name(account));
        Ask::write(path, json!({"policy": cluster.policy(account, changes)}))
    })
}

fn secrets(cluster: &Cluster) -> impl Iterator<Item = Ask> {
    cluster.secrets().map(|secret| {
        let value = cluster.value(secret, 1);
        let body = match cluster.engine(secret) {
            Engine::Kv1 => value,
            Engine::Kv2 => json!({"data": value}),
        };
        Ask::write(cluster.secret_path(secret), body)
    })
}

/// The roles, whose credentials are users of `postgres`.
async fn database(api: &mut Api, scenario: &Scenario, postgres: &Postgres) -> Result<(), String> {
    api.ask(&Ask::write("sys/mounts/database", json!({"type": "database"}))).await?;
    let (user, password) = postgres.superuser();
    let config = json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "*",
        "connection_url": format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@{}/postgres?sslmode=disable",
            postgres.address()
        ),
        "username": user,
        "password": password.as_str(),
        "max_open_connections": 8,
    });
    api.ask(&Ask::write("database/config/postgres", config)).await?;
    for role in &scenario.world.roles {
        let of = json!({
            "db_name": "postgres",
            "creation_statements": [USERS],
            "default_ttl": role.ttl.as_secs(),
            "max_ttl": role.max_ttl.as_secs(),
        });
        api.ask(&Ask::write(format!("database/roles/{}", role.name), of)).await?;
    }
    Ok(())
}

/// A token for each pod, with the policy of its service account.
pub(super) async fn tokens(
    server: &OpenBao,
    scenario: &Scenario,
    cluster: &Cluster,
) -> Result<Vec<Zeroizing<String>>, String> {
    let wanted = cluster.pods.iter().map(|pod| token_of(scenario, cluster, pod));
    let made = answers(server, wanted.collect()).await?;
    made.iter().map(token).collect()
}

/// Asks for the token of a pod.
pub(super) fn token_of(scenario: &Scenario, cluster: &Cluster, pod: &Pod) -> Ask {
    let life = scenario.world.token_ttl.max(TOKEN_LIFE).as_secs();
    let of = json!({"policies": [cluster.account_name(pod.account)], "ttl": life});
    Ask::write("auth/token/create-orphan", of)
}

/// What [`token_of`] was answered with.
pub(super) fn token(answer: &Value) -> Result<Zeroizing<String>, String> {
    let token = answer["auth"]["client_token"].as_str();
    let token = token.ok_or("OpenBao made a token without one in its answer")?;
    Ok(Zeroizing::new(token.to_owned()))
}

/// Asks all of it, some at a time, in no order.
pub(super) async fn asks(server: &OpenBao, asks: impl Iterator<Item = Ask>) -> Result<(), String> {
    let mut asks = asks.peekable();
    while asks.peek().is_some() {
        answers(server, asks.by_ref().take(BATCH).collect()).await?;
    }
    Ok(())
}

/// The answers, in the order of what was asked.
async fn answers(server: &OpenBao, asks: Vec<Ask>) -> Result<Vec<Value>, String> {
    let count = asks.len();
    let left = Arc::new(Mutex::new(asks.into_iter().enumerate()));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS.min(count) {
        let (mut api, left) = (server.api(), Arc::clone(&left));
        workers.spawn(async move {
            let mut answers = Vec::new();
            loop {
                let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((number, ask)) = next else { return Ok::<_, String>(answers) };
                answers.push((number, api.ask(&ask).await?));
            }
        });
    }
    let mut all = vec![Value::Null; count];
    while let Some(done) = workers.join_next().await {
        for (number, answer) in done.map_err(|e| e.to_string())?? {
            all[number] = answer;
        }
    }
    Ok(all)
}
