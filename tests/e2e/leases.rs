//! Are leased credentials made once, kept alive, and never handed out dead?
//!
//! A real OpenBao makes users in a real PostgreSQL, for pods of a cluster's stand-in. Between
//! vaultlet and the server sits a stub that counts requests, and breaks those that a test names.

mod crowds;
mod durations;
mod engines;
mod lost;
mod operators;
mod outages;
mod restart;
mod revocation;
mod rights;
mod rotation;
mod shared;
mod takeover;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::bao::Bao;
use crate::client::{Answer, Call, Client};
use crate::cluster::Cluster;
use crate::postgres::{Postgres, SUPERUSER};
use crate::roles::{enable_kubernetes, kubernetes_role};
use crate::service_accounts::until;
use crate::stub::{Reply, Seen, Stub};
use crate::vaultlet::{Vaultlet, merge};
use crate::world::{policy, token};

/// What asks for a user of the database.
const CREDS: &str = "database/creds/app";
const RENEW: &str = "sys/leases/renew";
const LOOKUP: &str = "sys/leases/lookup";
const REVOKE: &str = "sys/leases/revoke";

/// What the pods' policies say: every engine of these tests, and what belongs to their leases.
const RULES: &str = r#"
path "database/creds/*" { capabilities = ["read"] }
path "database/static-creds/*" { capabilities = ["read"] }
path "pki/issue/*" { capabilities = ["create", "update"] }
path "transit/*" { capabilities = ["create", "read", "update"] }
path "totp/code/*" { capabilities = ["read"] }
path "ssh/*" { capabilities = ["create", "update"] }
path "leased/*" { capabilities = ["create", "read", "update"] }
path "sys/leases/renew/*" { capabilities = ["create", "update"] }
path "sys/leases/revoke" { capabilities = ["create", "update"] }
path "sys/leases/revoke/*" { capabilities = ["create", "update"] }
"#;

/// What happens to a request on its way to the server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The connection is reset; the server sees nothing.
    Reset,
    /// The connection is closed; the server sees nothing.
    Closed,
    /// The server does it; its answer is lost.
    AnswerLost,
    /// The server does it; its answer ends too early.
    AnswerCut,
    /// The server does it at once; its answer takes so long.
    Late(Duration),
}

impl Fault {
    const BREAKS: [Self; 4] = [Self::Reset, Self::Closed, Self::AnswerLost, Self::AnswerCut];

    fn reply(self) -> Reply {
        match self {
            Self::Reset => Reply::Reset,
            Self::Closed => Reply::Bytes(Vec::new()),
            Self::AnswerLost => Reply::ForwardWithoutAnswer,
            Self::AnswerCut => Reply::ForwardHalf,
            Self::Late(pause) => Reply::ForwardThenWait(pause),
        }
    }
}

/// The fault of each request whose path begins like this.
type Faults = Arc<Mutex<Vec<(String, Fault)>>>;

/// A node whose server makes users of a database.
struct World {
    bao: Bao,
    cluster: Cluster,
    tap: Stub,
    faults: Faults,
    postgres: Arc<Postgres>,
    vaultlet: Vaultlet,
    /// What the names of its users in the database begin with.
    tag: String,
}

/// A user that the server made.
#[derive(Clone, Debug, PartialEq)]
struct Credential {
    lease: String,
    user: String,
    password: String,
    /// What its answer said was left.
    seconds: u64,
}

impl Credential {
    /// That in an answer; fails the test if there is none.
    #[track_caller]
    fn of(answer: Answer) -> Self {
        let body = answer.expect(200).json();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        assert!(!text(&body["lease_id"]).is_empty(), "{body}");
        Self {
            lease: text(&body["lease_id"]),
            user: text(&body["data"]["username"]),
            password: text(&body["data"]["password"]),
            seconds: body["lease_duration"].as_u64().unwrap(),
        }
    }

    /// Whether it is the other, whenever it was asked for.
    fn is(&self, other: &Self) -> bool {
        Self { seconds: 0, ..self.clone() } == Self { seconds: 0, ..other.clone() }
    }
}

impl World {
    /// Teams `payments/api` and `web/shop` may read the role `app`. `role` is laid over that role,
    /// `settings` over vaultlet's configuration.
    async fn new(role: Value, settings: Value) -> Self {
        Self::before(Postgres::shared().await, role, settings).await
    }

    /// The same with a database of its own.
    async fn before(postgres: Arc<Postgres>, role: Value, settings: Value) -> Self {
        Self::of(Bao::dev().await, postgres, role, settings).await
    }

    /// The same with a server of its own.
    async fn of(bao: Bao, postgres: Arc<Postgres>, role: Value, settings: Value) -> Self {
        let cluster = Cluster::start().await;
        let faults = Faults::default();
        let rule = faults.clone();
        let tap = Stub::before(&bao.address(), move |seen| reply(&rule, seen)).await;
        let mut all = json!({"auth": {"kubernetes": cluster.settings()}});
        merge(&mut all, settings);
        let vaultlet = Vaultlet::start(&tap.address(), all).await;
        let tag = format!("u{:08x}-", fastrand::u32(..));
        let world = Self { bao, cluster, tap, faults, postgres, vaultlet, tag };
        world.furnish(role).await;
        until("ready", Duration::from_secs(20), async || {
            let ready = Call::get("").target("/readyz");
            world.vaultlet.admin().send(&ready).await.status == 200
        })
        .await;
        world
    }

    /// All that an empty server needs.
    async fn furnish(&self, role: Value) {
        enable_kubernetes(&self.server(), &self.cluster, "kubernetes").await;
        self.connect_database(role).await;
        for team in [("payments", "api"), ("web", "shop")] {
            self.team(team, json!({})).await;
        }
    }

    async fn connect_database(&self, role: Value) {
        let root = self.server();
        root.post("sys/mounts/database", json!({"type": "database"})).await.expect(204);
        let address = self.postgres.address();
        let name = format!("{{{{printf \"{}%s-%s\" .RoleName (random 12)}}}}", self.tag);
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url":
                format!("postgresql://{{{{username}}}}:{{{{password}}}}@{address}/postgres?sslmode=disable"),
            "username": SUPERUSER.0,
            "password": SUPERUSER.1,
            "username_template": name,
        });
        root.post("database/config/postgres", config).await.expect(204);
        self.role("app", role).await;
    }

    /// A role of the database; `settings` is laid over what it is.
    async fn role(&self, name: &str, settings: Value) {
        let mut role = json!({"db_name": "postgres", "default_ttl": "1m", "max_ttl": "1h",
            "creation_statements": ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' \
                VALID UNTIL '{{expiration}}'"]});
        merge(&mut role, settings);
        self.server().post(&format!("database/roles/{name}"), role).await.expect(204);
    }

    /// A service account with a role that the template names, and a policy of its own.
    async fn team(&self, (namespace, account): (&str, &str), settings: Value) {
        let role = format!("{namespace}-{account}");
        policy(&self.server(), &role, RULES).await;
        let mut all = json!({"token_policies": [role]});
        merge(&mut all, settings);
        let place = ("kubernetes", &*role);
        kubernetes_role(&self.server(), place, (namespace, account), all).await;
    }

    /// Asks the server behind vaultlet's back, with the root token.
    fn server(&self) -> Client {
        self.bao.root()
    }

    /// One of the pods of `payments/api`, with a new token.
    fn pod(&self, pod: usize) -> Client {
        self.caller(&self.cluster.token("payments", "api", &format!("api-{pod}")))
    }

    /// One of the pods of `web/shop`.
    fn neighbour(&self, pod: usize) -> Client {
        self.caller(&self.cluster.token("web", "shop", &format!("shop-{pod}")))
    }

    /// A pod that logs in as an unmodified application does, and uses the token it got.
    async fn unmodified(&self, pod: usize) -> Client {
        self.caller(&self.badge(pod).await)
    }

    /// That token.
    async fn badge(&self, pod: usize) -> String {
        let jwt = self.cluster.token("payments", "api", &format!("api-{pod}"));
        let body = json!({"role": "payments-api", "jwt": jwt});
        let answer = self.vaultlet.client().post("auth/kubernetes/login", body).await;
        let token = answer.expect(200).json()["auth"]["client_token"].as_str().unwrap().to_owned();
        assert!(token.starts_with("vlt."), "{token}");
        token
    }

    /// Asks vaultlet with this credential.
    fn caller(&self, token: &str) -> Client {
        self.vaultlet.client().token(token)
    }

    /// A token made at the server with the pods' policy; `settings` is laid over what it is.
    async fn token(&self, settings: Value) -> String {
        let mut all = json!({"policies": ["payments-api"]});
        merge(&mut all, settings);
        token(&self.server(), all).await
    }

    /// The user that this caller is given.
    async fn credential(&self, caller: &Client) -> Credential {
        Credential::of(caller.get(CREDS).await)
    }

    async fn logs_in(&self, credential: &Credential) -> bool {
        self.postgres.logs_in(&credential.user, &credential.password).await
    }

    /// Waits until a user is gone from the database.
    async fn until_gone(&self, credential: &Credential) {
        until("the user is gone", Duration::from_secs(5), async || {
            !self.users().await.contains(&credential.user)
        })
        .await;
    }

    /// All users that there are now, from whichever role.
    async fn users(&self) -> Vec<String> {
        self.postgres.users(&self.tag).await
    }

    /// How many users were asked for at the server.
    fn issued(&self) -> usize {
        self.tap.count("GET", &format!("/v1/{CREDS}"))
    }

    /// How many writes below this path came to the server.
    fn asked(&self, path: &str) -> usize {
        let target = format!("/v1/{path}");
        self.tap.count_below("POST", &target) + self.tap.count_below("PUT", &target)
    }

    /// The token that the last user was asked for with.
    fn owner(&self) -> String {
        let (seen, target) = (self.tap.seen(), format!("/v1/{CREDS}"));
        let last = seen.iter().rev().find(|seen| seen.target == target).unwrap();
        last.header("x-vault-token").unwrap().to_owned()
    }

    /// From now on requests whose path begins like this have this fault; `None`: none.
    fn fail(&self, path: &str, fault: Option<Fault>) {
        let target = format!("/v1/{path}");
        let mut faults = self.faults.lock().unwrap();
        faults.retain(|(prefix, _)| *prefix != target);
        faults.extend(fault.map(|fault| (target, fault)));
    }

    /// What the server says is left of a lease; `None`: there is none.
    async fn left(&self, lease: &str) -> Option<u64> {
        let answer = self.server().post(LOOKUP, json!({"lease_id": lease})).await;
        answer.expect_any(&[200, 400]).json()["data"]["ttl"].as_u64()
    }

    /// One of vaultlet's counters, over all labels that it has beside these.
    async fn counted(&self, name: &str, labels: &[&str]) -> u64 {
        self.vaultlet.metric(name, labels).await as u64
    }
}

fn reply(faults: &Faults, seen: &Seen) -> Reply {
    let faults = faults.lock().unwrap();
    let fault = faults.iter().find(|(prefix, _)| seen.target.starts_with(prefix));
    fault.map_or(Reply::Forward, |(_, fault)| fault.reply())
}

/// Fails the test unless this was answered from memory.
#[track_caller]
fn is_hit(answer: &Answer) {
    assert_eq!((answer.status, answer.cache()), (200, "HIT"), "{answer:?}");
}

/// Reads until another credential than this one is given out, and returns that.
async fn replaced(
    world: &World,
    caller: &Client,
    old: &Credential,
    within: Duration,
) -> Credential {
    let began = Instant::now();
    loop {
        let credential = world.credential(caller).await;
        if !credential.is(old) {
            return credential;
        }
        assert!(began.elapsed() < within, "{} is still handed out", old.user);
        sleep(Duration::from_millis(50)).await;
    }
}

/// The real parts do what these tests take for granted.
#[tokio::test]
async fn a_user_lives_as_long_as_its_lease() {
    let world = World::new(json!({"default_ttl": "2s", "max_ttl": "4s"}), json!({})).await;
    let server = world.server();
    let ends = Credential::of(server.get(CREDS).await);
    let revoked = Credential::of(server.get(CREDS).await);
    let stolen = Credential { password: "another".into(), ..ends.clone() };
    assert!(world.logs_in(&ends).await && world.logs_in(&revoked).await);
    assert!(!world.logs_in(&stolen).await, "a password is asked for");
    assert_eq!(world.users().await.len(), 2);

    server.post(REVOKE, json!({"lease_id": revoked.lease})).await.expect(204);
    world.until_gone(&revoked).await;
    assert!(!world.logs_in(&revoked).await && world.logs_in(&ends).await);
    let began = Instant::now();
    world.until_gone(&ends).await;
    assert!(began.elapsed() > Duration::from_secs(1), "gone after {:?}", began.elapsed());
    assert_eq!(world.left(&ends.lease).await, None);
    assert_eq!(world.issued(), 0, "vaultlet asks for none by itself");
}
