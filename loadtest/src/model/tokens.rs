//! Who has logged in, and for how long?

use std::collections::HashMap;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::said::{self, Frame, Said, uuid};

/// The longest life of anything, unless it is configured (768 h).
const LONGEST: Duration = Duration::from_hours(768);

/// A service account, as the server knows it.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Of its policy and of the role it logs in as.
    pub(super) name: String,
    pub(super) number: u32,
}

/// A token.
#[derive(Clone, Debug)]
struct Token {
    accessor: String,
    account: Account,
    /// Whether a login has made it.
    login: bool,
    made: Instant,
    ttl: Duration,
    ends: Instant,
}

/// All of them. They open nothing but this model.
pub(super) struct Tokens {
    all: HashMap<String, Token>,
    /// What service accounts show.
    accounts: HashMap<String, Account>,
    /// Of what a login gives.
    ttl: Duration,
    made: u64,
}

impl Tokens {
    /// `ttl`: of what a login gives.
    pub(super) fn new(ttl: Duration) -> Self {
        Self { all: HashMap::new(), accounts: HashMap::new(), ttl, made: 0 }
    }

    /// Takes service-account tokens of `account` from now on.
    pub(super) fn admit(&mut self, jwt: &str, account: Account) {
        self.accounts.insert(jwt.to_owned(), account);
    }

    /// Makes a token, as an operator does.
    pub(super) fn create(&mut self, account: Account, ttl: Duration) -> Zeroizing<String> {
        self.make(account, false, ttl)
    }

    fn make(&mut self, account: Account, login: bool, ttl: Duration) -> Zeroizing<String> {
        self.made += 1;
        let token = format!("s.model{:019}", self.made);
        let made = Instant::now();
        let accessor = format!("accessor{:016}", self.made);
        let known = Token { accessor, account, login, made, ttl, ends: made + ttl };
        self.all.insert(token.clone(), known);
        Zeroizing::new(token)
    }

    fn live(&self, token: &str) -> Option<&Token> {
        self.all.get(token).filter(|token| Instant::now() < token.ends)
    }

    /// Whether there is such a token.
    pub(super) fn lives(&self, token: &str) -> bool {
        self.live(token).is_some()
    }

    /// `auth/jwt/login`.
    pub(super) fn log_in(&mut self, body: &Value, id: u64) -> Said {
        let (Some(role), Some(jwt)) = (body["role"].as_str(), body["jwt"].as_str()) else {
            return said::no(StatusCode::BAD_REQUEST, "missing role or jwt");
        };
        let Some(account) = self.accounts.get(jwt).cloned() else { return said::denied() };
        let token = self.make(account, true, self.ttl);
        let auth = self.auth(&token, Some(role));
        said::ok(&Frame { auth, ..Frame::default() }.body(id))
    }

    /// The `auth` block. `role`: what the login said, which is told to that login alone.
    fn auth(&self, token: &str, role: Option<&str>) -> Value {
        let Some(known) = self.all.get(token) else { return Value::Null };
        let policies = known.policies();
        let metadata = if known.login {
            json!({ "role": role.unwrap_or(&known.account.name) })
        } else {
            Value::Null
        };
        json!({
            "client_token": token,
            "accessor": known.accessor,
            "policies": policies,
            "token_policies": policies,
            "metadata": metadata,
            "lease_duration": known.ends.duration_since(Instant::now()).as_secs(),
            "renewable": true,
            "entity_id": known.entity(),
            "token_type": "service",
            "orphan": true,
            "mfa_requirement": null,
            "num_uses": 0,
        })
    }

    /// `auth/token/lookup-self`.
    pub(super) fn look_up(&self, token: &str, id: u64) -> Said {
        let Some(known) = self.live(token) else { return said::denied() };
        let now = Instant::now();
        let (age, left) = (now.duration_since(known.made), known.ends.duration_since(now));
        let (path, called) = if known.login {
            ("auth/jwt/login", format!("jwt-{}", known.account.name))
        } else {
            ("auth/token/create-orphan", "token".to_owned())
        };
        let meta = if known.login { json!({ "role": known.account.name }) } else { Value::Null };
        let data = json!({
            "accessor": known.accessor,
            "creation_time": 0,
            "creation_ttl": known.ttl.as_secs(),
            "display_name": called,
            "entity_id": known.entity(),
            "expire_time": said::ahead(left),
            "explicit_max_ttl": 0,
            "id": token,
            "issue_time": said::ago(age),
            "meta": meta,
            "num_uses": 0,
            "orphan": true,
            "path": path,
            "policies": known.policies(),
            "renewable": true,
            "ttl": left.as_secs(),
            "type": "service",
        });
        said::ok(&Frame::of(data).body(id))
    }

    /// `auth/token/renew-self`.
    pub(super) fn renew(&mut self, token: &str, body: &Value, id: u64) -> Said {
        if !self.lives(token) {
            return said::denied();
        }
        if let Some(known) = self.all.get_mut(token) {
            let asked = body["increment"].as_u64().filter(|asked| *asked > 0);
            let asked = asked.map_or(known.ttl, Duration::from_secs);
            known.ends = (Instant::now() + asked).min(known.made + LONGEST);
        }
        let auth = self.auth(token, None);
        said::ok(&Frame { auth, ..Frame::default() }.body(id))
    }

    /// `auth/token/revoke-self`.
    pub(super) fn revoke(&mut self, token: &str) -> Said {
        if !self.lives(token) {
            return said::denied();
        }
        self.all.remove(token);
        said::no_content()
    }

    /// Lets go of what has ended.
    pub(super) fn tidy(&mut self) {
        let now = Instant::now();
        self.all.retain(|_, token| now < token.ends);
    }
}

impl Token {
    /// Their names, sorted.
    fn policies(&self) -> [&str; 2] {
        let mut policies = ["default", &self.account.name];
        policies.sort_unstable();
        policies
    }

    /// Logins have an entity, the same for all of a service account.
    fn entity(&self) -> String {
        if self.login { uuid(u64::from(self.account.number) + (1 << 40)) } else { String::new() }
    }
}
