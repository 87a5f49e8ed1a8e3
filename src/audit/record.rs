//! What one record says, and how it is written down.
//!
//! The members are those of a `response` in an audit log of OpenBao 2.7.2, in its order, as far as
//! a cache can know them; `vaultlet` holds what only a cache knows. There is no member for a
//! secret's value, a token or a body, so none can get in.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use hyper::{Method, StatusCode};
use serde::Serialize;

use super::chain::{self, Kind};
use super::digest::{Digest, Digester};
use super::text::{self, Capped, List};
use crate::config::AuditPaths;
use crate::error::Error;
use crate::metrics::{Outcome, Route};

/// Bytes of a path that a record takes; longer ones are cut, and say so.
const LONGEST_PATH: usize = 4096;
/// Bytes of a name. Kubernetes' are at most 253.
const LONGEST_NAME: usize = 512;
/// Names of policies.
const MOST_POLICIES: usize = 64;

/// One answered request.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// What Vault calls it: `read`, `list`, `update`, ….
    pub operation: &'static str,
    /// The verb.
    pub method: &'a Method,
    /// The namespace it was for; empty: the root.
    pub namespace: &'a str,
    /// What was asked for, within the namespace and without `v1/`: in the canonical form where
    /// there is one, and otherwise as it came.
    pub path: &'a [u8],
    /// The query, which a record holds as a digest only; empty: none.
    pub query: &'a [u8],
    /// Who connected; `None`: over a unix socket.
    pub remote: Option<SocketAddr>,
    /// What the caller brought.
    pub credential: CredentialKind,
    /// What is known of the login that the request was made with.
    pub login: Login<'a>,
    /// Which workload that was.
    pub service_account: Option<ServiceAccount<'a>>,
    /// Whether it was allowed.
    pub allowed: bool,
    /// The policy that decided so, where it was decided here.
    pub policy: Option<&'a str>,
    /// What kind of request it was.
    pub route: Route,
    /// How the answer was come by.
    pub outcome: Outcome,
    /// How old the answer was, where it came from the cache.
    pub age: Option<Duration>,
    /// Of the answer.
    pub status: StatusCode,
    /// Why vaultlet itself gave none.
    pub error: Option<&'a Error>,
    /// The identifier the upstream gave to the answer, under which it has a record of its own; for
    /// a hit, that of the request that filled the cache.
    pub request_id: Option<&'a str>,
}

/// What a caller brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// Nothing.
    None,
    /// The token of a Kubernetes service account.
    ServiceAccount,
    /// A token of Vault's.
    VaultToken,
    /// A token that vaultlet gave out in place of one of Vault's.
    VaultletToken,
}

/// What is known of a login.
#[derive(Clone, Debug, Default)]
pub struct Login<'a> {
    /// Its accessor, which a record holds as a digest only.
    pub accessor: Option<&'a str>,
    /// As Vault made it, for example `kubernetes-payments-api`.
    pub display_name: Option<&'a str>,
    /// Names of its policies.
    pub policies: Vec<&'a str>,
    /// Its entity.
    pub entity_id: Option<&'a str>,
    /// `service` or `batch`.
    pub token_type: Option<&'a str>,
}

/// A service account, and what is known of the pod behind it.
#[derive(Clone, Debug)]
pub struct ServiceAccount<'a> {
    /// Its cluster, by the issuer of its tokens.
    pub issuer: &'a str,
    /// Its namespace in Kubernetes.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What tells it from others that have had the name.
    pub uid: &'a str,
    /// The pod its token is bound to: name and uid.
    pub pod: Option<(&'a str, &'a str)>,
    /// The node that pod runs on.
    pub node: Option<&'a str>,
}

/// Writes records down.
#[derive(Debug)]
pub struct Encoder {
    paths: AuditPaths,
    digester: Digester,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "chain::time")]
    time: SystemTime,
    #[serde(rename = "type")]
    kind: Kind,
    auth: AuthMember<'a>,
    request: RequestMember<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    vaultlet: OwnMember<'a>,
}

#[derive(Serialize)]
struct AuthMember<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    accessor: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<Capped<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<List<'a>>,
    policy_results: Results<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_id: Option<Capped<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<Capped<'a>>,
}

#[derive(Serialize)]
struct Results<'a> {
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    granting_policies: Option<[Policy<'a>; 1]>,
}

#[derive(Serialize)]
struct Policy<'a> {
    name: Capped<'a>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct RequestMember<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Capped<'a>>,
    operation: &'static str,
    namespace: Namespace<'a>,
    path: Path<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_port: Option<u16>,
}

/// Vault gives every namespace an identifier, of which only the root's is known to everyone.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Namespace<'a> {
    Id(&'static str),
    Path(Path<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Path<'a> {
    Digest(Digest),
    Plain(Capped<'a>),
}

#[derive(Serialize)]
struct OwnMember<'a> {
    method: Capped<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Digest>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    path_escaped: bool,
    credential: CredentialKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<AccountMember<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<PodMember<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Capped<'a>>,
    route: &'static str,
    cache: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    status: u16,
}

#[derive(Serialize)]
struct AccountMember<'a> {
    issuer: Capped<'a>,
    namespace: Capped<'a>,
    name: Capped<'a>,
    uid: Capped<'a>,
}

#[derive(Serialize)]
struct PodMember<'a> {
    name: Capped<'a>,
    uid: Capped<'a>,
}

impl Encoder {
    /// With paths as configured.
    pub fn new(paths: AuditPaths, digester: Digester) -> Self {
        Self { paths, digester }
    }

    /// The line of `record`, which lacks its place in the chain.
    pub fn line(&self, record: &Record<'_>, time: SystemTime) -> Vec<u8> {
        let Record { login, service_account: account, .. } = record;
        let text = str::from_utf8(record.path);
        let plain = self.paths == AuditPaths::Plain;
        let escaped =
            if plain && text.is_err() { text::escaped(record.path) } else { String::new() };
        let path = if plain {
            Path::Plain(Capped(text.unwrap_or(&escaped), LONGEST_PATH))
        } else {
            Path::Digest(self.digester.of(record.path))
        };
        let error = match record.error {
            Some(error) => Some(error.to_string()),
            // Vault's words.
            None => (!record.allowed).then(|| "permission denied".to_owned()),
        };
        let grant = |policy| [Policy { name: name(policy), kind: "acl" }];
        chain::unplaced(text::json(&Line {
            time,
            kind: Kind::Response,
            auth: AuthMember {
                accessor: login.accessor.map(|accessor| self.digester.of(accessor.as_bytes())),
                display_name: login.display_name.map(name),
                policies: (!login.policies.is_empty())
                    .then_some(List(&login.policies, MOST_POLICIES)),
                policy_results: Results {
                    allowed: record.allowed,
                    granting_policies: record.policy.filter(|_| record.allowed).map(grant),
                },
                entity_id: login.entity_id.map(name),
                token_type: login.token_type.map(name),
            },
            request: RequestMember {
                id: record.request_id.map(name),
                operation: record.operation,
                namespace: match record.namespace {
                    "" => Namespace::Id("root"),
                    path if namespaced(path) => Namespace::Path(Path::Plain(name(path))),
                    odd => Namespace::Path(Path::Digest(self.digester.of(odd.as_bytes()))),
                },
                path,
                remote_address: record.remote.map(|remote| remote.ip().to_string()),
                remote_port: record.remote.map(|remote| remote.port()),
            },
            error,
            vaultlet: OwnMember {
                method: Capped(record.method.as_str(), 32),
                query: (!record.query.is_empty()).then(|| self.digester.of(record.query)),
                path_escaped: plain && text.is_err(),
                credential: record.credential,
                service_account: account.as_ref().map(|account| AccountMember {
                    issuer: name(account.issuer),
                    namespace: name(account.namespace),
                    name: name(account.name),
                    uid: name(account.uid),
                }),
                pod: account
                    .as_ref()
                    .and_then(|account| account.pod)
                    .map(|(pod, uid)| PodMember { name: name(pod), uid: name(uid) }),
                node: account.as_ref().and_then(|account| account.node).map(name),
                route: record.route.label(),
                cache: record.outcome.label(),
                age: record.age.map(|age| age.as_secs()),
                status: record.status.as_u16(),
            },
        }))
    }
}

/// Whether this can be the path of a namespace. What else stands where one should is whatever its
/// sender took for one, and may be a token: those have a dot in them.
fn namespaced(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/'))
}

fn name(text: &str) -> Capped<'_> {
    Capped(text, LONGEST_NAME)
}

#[cfg(test)]
mod tests;
