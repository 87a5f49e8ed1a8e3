//! What an answer of the upstream says of a token.
//!
//! Two kinds of answers do: `auth/token/lookup-self` about the token it was asked with, and a login
//! about the token it issues. Both name all that a rights class is made of, but for one thing: a
//! login does not say whether the token's addresses are bound. It need not. The server has checked
//! them against the very address that every request of ours comes from (docs/decisions/0008).

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::login::{Class, Rights};
use crate::clock::Clock;
use crate::secret::Secret;

/// What an answer says of a token.
pub struct Facts {
    /// The token.
    pub token: Secret,
    /// Whether the answer says everything a class depends on.
    pub complete: bool,
    /// Whether it is the answer that issued the token.
    pub(super) issued: bool,
    pub(super) rights: Rights,
    pub(super) accessor: String,
    bound_cidrs: Option<Value>,
    external: Option<Value>,
    pub(super) path: String,
    pub(super) orphan: bool,
    uses: i64,
    pub(super) life: Option<Duration>,
    pub(super) metadata: Vec<(String, String)>,
}

/// Where a login was made: what its answer does not say of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The Vault namespace, with a slash at its end unless it is the root, as `lookup-self` has it.
    pub namespace: String,
    /// Path of the login in it, below `/v1/`.
    pub path: String,
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
    display_name: String,
    #[serde(default)]
    namespace_path: String,
    #[serde(default)]
    bound_cidrs: Option<Value>,
    path: String,
    #[serde(default)]
    meta: Option<Value>,
    #[serde(default)]
    orphan: bool,
    num_uses: i64,
    expire_time: Option<String>,
}

/// `auth` of a login or of `auth/token/create` (OpenBao `sdk/logical/response_util.go`).
#[derive(Deserialize)]
struct AuthBlock {
    client_token: String,
    #[serde(default)]
    num_uses: i64,
    #[serde(default)]
    accessor: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    policies: Option<Vec<String>>,
    #[serde(default)]
    identity_policies: Option<Vec<String>>,
    #[serde(default)]
    entity_id: String,
    #[serde(default)]
    orphan: bool,
    #[serde(default)]
    metadata: Option<Value>,
}

impl Facts {
    /// Reads an answer of `auth/token/lookup-self`. `clock`: what its end is measured by.
    ///
    /// # Errors
    /// It is not one.
    pub fn of_lookup(body: &[u8], clock: &Clock) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Answer {
            data: LookupData,
        }
        let Answer { data } = serde_json::from_slice(body)?;
        // A time we cannot read is one we cannot keep to.
        let life = data.expire_time.map(|time| until(&time, clock).unwrap_or_default());
        // The server writes none in two ways.
        let none = |external: &Value| match external {
            Value::Null => true,
            Value::Object(spaces) => spaces.is_empty(),
            _ => false,
        };
        let external = data.external_namespace_policies.filter(|external| !none(external));
        Ok(Self {
            token: Secret::new(data.id.into_bytes()),
            complete: true,
            issued: false,
            rights: Rights {
                policies: union(data.policies, data.identity_policies),
                entity: data.entity_id.into(),
                namespace: data.namespace_path.into(),
                display_name: data.display_name.into(),
                foreign: external.is_some(),
            },
            accessor: data.accessor,
            bound_cidrs: data.bound_cidrs.filter(|bound| !bound.is_null()),
            external,
            path: data.path,
            orphan: data.orphan,
            uses: data.num_uses,
            life,
            metadata: strings(data.meta),
        })
    }

    /// Reads the `auth` block of an answer that issues a token; `None` where there is none. All
    /// that it says is believed if it is that of a login, made at `place`.
    pub fn of_issue(body: &[u8], place: Option<Place>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            auth: AuthBlock,
        }
        let Answer { auth } = serde_json::from_slice(body).ok()?;
        let login = place.is_some() && auth.policies.is_some() && auth.lease_duration > 0;
        let Place { namespace, path } = place.unwrap_or_default();
        Some(Self {
            token: Secret::new(auth.client_token.into_bytes()),
            complete: login,
            issued: true,
            rights: Rights {
                policies: union(auth.policies.unwrap_or_default(), auth.identity_policies),
                entity: auth.entity_id.into(),
                namespace: namespace.into(),
                display_name: "".into(),
                foreign: false,
            },
            accessor: auth.accessor,
            bound_cidrs: None,
            external: None,
            path,
            orphan: auth.orphan,
            uses: auth.num_uses,
            life: (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration)),
            metadata: strings(auth.metadata),
        })
    }

    /// Whether the token's uses are counted (negative: spent), its addresses bound, or its rights
    /// partly invisible: tokens of OpenBao's OIDC provider carry inline policies that no lookup
    /// shows, and are the only ones not made below `auth/`.
    pub fn limited(&self) -> bool {
        self.uses != 0 || self.particular()
    }

    /// What decides what it may.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// How long the token lives if nobody renews it; `None`: for ever, or it is not said.
    pub fn life(&self) -> Option<Duration> {
        self.life
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

    pub(super) fn class(&self, cluster: Option<&str>) -> Option<Class> {
        if self.particular() || !self.complete {
            return None;
        }
        let external = self.external.as_ref().map(Value::to_string).unwrap_or_default();
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut add = |part: &str| {
            // With its length before it, no part can pass for two.
            digest.update(&part.len().to_be_bytes());
            digest.update(part.as_bytes());
        };
        let Rights { namespace, entity, policies, .. } = &self.rights;
        for part in ["v1", cluster.unwrap_or(""), namespace, entity, &external] {
            add(part);
        }
        policies.iter().for_each(|policy| add(policy));
        Some(Class::of(&digest.finish()))
    }
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Default for Place {
    /// Nowhere a login can be made.
    fn default() -> Self {
        Self { namespace: String::new(), path: String::new() }
    }
}

/// Sorted, each once: the order in which the server names policies means nothing.
fn union(own: Vec<String>, more: Option<Vec<String>>) -> Box<[Box<str>]> {
    let mut all: Vec<Box<str>> =
        own.into_iter().chain(more.unwrap_or_default()).map(Into::into).collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

fn strings(map: Option<Value>) -> Vec<(String, String)> {
    let Some(Value::Object(map)) = map else { return Vec::new() };
    let strings = map.into_iter().filter_map(|(key, value)| match value {
        Value::String(value) => Some((key, value)),
        _ => None,
    });
    strings.collect()
}

/// From now to an RFC 3339 instant; zero once it has passed.
fn until(time: &str, clock: &Clock) -> Option<Duration> {
    let time: Timestamp = time.parse().ok()?;
    Some(clock.until_unix(time.as_second()).unwrap_or_default())
}
