//! What is known of an upstream token, and which rights class it is of.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Epoch;
use crate::clock::{Clock, Time};
use crate::secret::Secret;

/// A rights class: the digest of everything in a login that can change the upstream's answer to a
/// read. Two logins of one class have the same rights.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Class([u8; 16]);

impl Class {
    /// A class of its own for each name.
    #[cfg(test)]
    pub fn for_tests(name: &str) -> Self {
        let mut class = [0; 16];
        class.copy_from_slice(&digest::digest(&digest::SHA256, name.as_bytes()).as_ref()[..16]);
        Self(class)
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Class({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// A token as of its last lookup.
#[derive(Debug)]
pub struct Login {
    /// Its rights class; `None` where its requests must each reach the upstream: counted uses,
    /// bound addresses, rights no lookup shows, or a token the upstream does not tell us about.
    pub class: Option<Class>,
    /// The class of a token whose uses are counted. It is good for as many answers as lookups of
    /// ours have spent uses, and no more: see [`take_owed`](Self::take_owed).
    pub counted: Option<Class>,
    /// When the lookup left.
    pub asked: Time,
    /// When the token dies of itself.
    pub expires: Time,
    pub(super) accessor: Box<str>,
    pub(super) orphan: bool,
    pub(super) epoch: Epoch,
    renewing: AtomicBool,
    owed: AtomicBool,
}

/// What an answer says of a token.
pub struct Facts {
    /// The token.
    pub token: Secret,
    /// Whether the answer says everything a class depends on.
    pub complete: bool,
    policies: Vec<String>,
    entity: String,
    namespace: String,
    accessor: String,
    bound_cidrs: Option<Value>,
    external: Option<Value>,
    path: String,
    orphan: bool,
    uses: i64,
    life: Option<Duration>,
}

/// `data` of `auth/token/lookup-self` (OpenBao `internal/vault/token_store.go`, `handleLookup`).
#[derive(Deserialize)]
struct LookupData {
    id: String,
    #[serde(default)]
    accessor: String,
    policies: Vec<String>,
    #[serde(default)]
    identity_policies: Option<Vec<String>>,
    #[serde(default)]
    external_namespace_policies: Option<Value>,
    #[serde(default)]
    entity_id: String,
    #[serde(default)]
    namespace_path: String,
    #[serde(default)]
    bound_cidrs: Option<Value>,
    path: String,
    #[serde(default)]
    orphan: bool,
    num_uses: i64,
    expire_time: Option<String>,
}

/// `auth` of a login or of `auth/token/create`.
#[derive(Deserialize)]
struct AuthBlock {
    client_token: String,
    #[serde(default)]
    num_uses: i64,
    #[serde(default)]
    accessor: String,
    #[serde(default)]
    lease_duration: u64,
}

impl Facts {
    /// Reads an answer of `auth/token/lookup-self`.
    ///
    /// # Errors
    /// It is not one.
    pub fn of_lookup(body: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Answer {
            data: LookupData,
        }
        let Answer { data } = serde_json::from_slice(body)?;
        let mut policies = data.policies;
        policies.extend(data.identity_policies.unwrap_or_default());
        // A time we cannot read is one we cannot keep to.
        let life = data.expire_time.map(|time| until(&time).unwrap_or_default());
        Ok(Self {
            token: Secret::new(data.id.into_bytes()),
            complete: true,
            policies,
            entity: data.entity_id,
            namespace: data.namespace_path,
            accessor: data.accessor,
            bound_cidrs: data.bound_cidrs.filter(|bound| !matches!(bound, Value::Null)),
            external: data.external_namespace_policies,
            path: data.path,
            orphan: data.orphan,
            uses: data.num_uses,
            life,
        })
    }

    /// Reads the `auth` block of a login, or of a token's creation; `None` where there is none.
    pub fn of_login(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            auth: AuthBlock,
        }
        let Answer { auth } = serde_json::from_slice(body).ok()?;
        Some(Self {
            token: Secret::new(auth.client_token.into_bytes()),
            complete: false,
            policies: Vec::new(),
            entity: String::new(),
            namespace: String::new(),
            accessor: auth.accessor,
            bound_cidrs: None,
            external: None,
            path: String::new(),
            orphan: false,
            uses: auth.num_uses,
            life: (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration)),
        })
    }

    /// Whether the token's uses are counted (negative: spent), its addresses bound, or its rights
    /// partly invisible: tokens of OpenBao's OIDC provider carry inline policies that no lookup
    /// shows, and are the only ones not made below `auth/`.
    pub fn limited(&self) -> bool {
        self.uses != 0 || self.particular()
    }

    /// Whether its rights depend on more than a class tells.
    fn particular(&self) -> bool {
        let bound = match &self.bound_cidrs {
            None => false,
            Some(Value::Array(cidrs)) => !cidrs.is_empty(),
            Some(_) => true,
        };
        let elsewhere =
            self.complete && !self.path.starts_with("auth/") && !self.path.contains("/auth/");
        bound || elsewhere
    }

    fn class(&self, cluster: Option<&str>) -> Option<Class> {
        if self.particular() || !self.complete {
            return None;
        }
        let mut policies: Vec<&str> = self.policies.iter().map(String::as_str).collect();
        policies.sort_unstable();
        policies.dedup();
        let external = self.external.as_ref().map(Value::to_string).unwrap_or_default();
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut add = |part: &str| {
            // With its length before it, no part can pass for two.
            digest.update(&part.len().to_be_bytes());
            digest.update(part.as_bytes());
        };
        for part in ["v1", cluster.unwrap_or(""), &self.namespace, &self.entity, &external] {
            add(part);
        }
        policies.into_iter().for_each(&mut add);
        let mut class = [0; 16];
        class.copy_from_slice(&digest.finish().as_ref()[..16]);
        Some(Class(class))
    }
}

impl Login {
    pub(super) fn new(facts: Facts, cluster: Option<&str>, asked: Time, epoch: Epoch) -> Self {
        let class = facts.class(cluster);
        let (class, counted) = if facts.limited() { (None, class) } else { (class, None) };
        Self {
            class,
            counted,
            asked,
            expires: facts.life.map_or(Time::NEVER, |life| asked.plus(life)),
            accessor: facts.accessor.into(),
            orphan: facts.orphan,
            epoch,
            renewing: AtomicBool::new(false),
            owed: AtomicBool::new(false),
        }
    }

    /// A token the upstream does not tell us about; it is asked again after `window`.
    pub(super) fn unknown(asked: Time, window: Duration, epoch: Epoch) -> Self {
        Self {
            class: None,
            counted: None,
            asked,
            expires: asked.plus(window),
            accessor: "".into(),
            orphan: false,
            epoch,
            renewing: AtomicBool::new(false),
            owed: AtomicBool::new(false),
        }
    }

    /// Notes that a lookup has just spent one of the token's uses.
    pub(super) fn owe_an_answer(&self) {
        self.owed.store(self.counted.is_some(), Ordering::Release);
    }

    /// The class under which the caller may be given one answer for a use that a lookup has
    /// spent, if one is owed; it is taken until [given back](Self::owe_again).
    pub fn take_owed(&self) -> Option<Class> {
        self.counted.filter(|_| self.owed.swap(false, Ordering::AcqRel))
    }

    /// Gives back what was taken: there was no answer to give.
    pub fn owe_again(&self) {
        self.owed.store(true, Ordering::Release);
    }

    /// Whether the caller is the one to have it looked up again in the background: the first.
    pub(super) fn claim_renewal(&self) -> bool {
        !self.renewing.swap(true, Ordering::AcqRel)
    }
}

/// From now to an RFC 3339 instant; zero once it has passed.
fn until(time: &str) -> Option<Duration> {
    let time: Timestamp = time.parse().ok()?;
    Some(Clock::until_unix(time.as_second()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(changes: &Value) -> Facts {
        let mut data = serde_json::json!({
            "id": "s.1", "accessor": "a1", "policies": ["default", "reader"], "entity_id": "",
            "path": "auth/token/create", "num_uses": 0, "orphan": true, "expire_time": null,
        });
        for (key, value) in changes.as_object().unwrap() {
            data[key] = value.clone();
        }
        Facts::of_lookup(serde_json::json!({ "data": data }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_can_change_an_answer_changes_the_class() {
        let class = |changes| lookup(&changes).class(Some("cluster")).unwrap();
        let usual = class(serde_json::json!({}));

        for different in [
            serde_json::json!({"policies": ["default"]}),
            serde_json::json!({"policies": ["default", "reader", "writer"]}),
            serde_json::json!({"policies": ["default,reader"]}),
            serde_json::json!({"identity_policies": ["group"]}),
            serde_json::json!({"entity_id": "e1"}),
            serde_json::json!({"namespace_path": "ns1/"}),
            serde_json::json!({"external_namespace_policies": {"x": ["p"]}}),
        ] {
            assert_ne!(class(different.clone()), usual, "{different}");
        }
        assert_ne!(lookup(&serde_json::json!({})).class(Some("other")).unwrap(), usual);
    }

    #[test]
    fn what_cannot_change_an_answer_does_not() {
        let class = |changes| lookup(&changes).class(None).unwrap();
        let usual = class(serde_json::json!({}));

        for same in [
            serde_json::json!({"id": "s.2", "accessor": "a2"}),
            serde_json::json!({"policies": ["reader", "default", "reader"]}),
            serde_json::json!({"policies": ["reader"], "identity_policies": ["default"]}),
            serde_json::json!({"orphan": false, "path": "auth/approle/login"}),
            serde_json::json!({"bound_cidrs": []}),
        ] {
            assert_eq!(class(same.clone()), usual, "{same}");
        }
    }

    #[test]
    fn tokens_that_must_reach_the_upstream_have_no_class() {
        let epoch = Epoch { all: 0, children: 0 };
        let at = Clock::manual().now();
        for limited in [
            serde_json::json!({"num_uses": 3}),
            serde_json::json!({"num_uses": -1}),
            serde_json::json!({"bound_cidrs": ["192.0.2.0/24"]}),
            serde_json::json!({"path": "identity/oidc/provider/default/token"}),
        ] {
            assert!(Login::new(lookup(&limited), None, at, epoch).class.is_none(), "{limited}");
        }
    }

    #[test]
    fn a_login_answer_tells_only_what_is_harmful() {
        let body = br#"{"auth":{"client_token":"s.1","accessor":"a","num_uses":2,"policies":[]}}"#;
        let facts = Facts::of_login(body).unwrap();

        assert!(facts.limited() && !facts.complete);
        assert!(facts.class(None).is_none());
        assert!(Facts::of_login(br#"{"auth":null,"data":{}}"#).is_none());
    }
}
