//! Does a token's content hold together, and is it meant for us?
//!
//! Everything that names the caller is said twice in a token, in `sub` and in `kubernetes.io`, and
//! must be the same twice. Names must be names: they go into roles and policies.

use serde::{Deserialize, Deserializer};

use super::{Pod, ServiceAccount};
use crate::config;

/// What Kubernetes writes into a bound token (`pkg/serviceaccount/claims.go`).
#[derive(Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    sub: String,
    aud: Audiences,
    /// Seconds since 1970. Tokens of the old kind, from a Secret, have none.
    exp: Option<i64>,
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    iat: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    bound: Option<Bound>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Bound {
    namespace: String,
    serviceaccount: Object,
    #[serde(default)]
    pod: Option<Object>,
    #[serde(default)]
    node: Option<Node>,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    uid: String,
}

#[derive(Deserialize)]
struct Node {
    name: String,
}

/// What a token says, once it has been checked; its signature has not.
pub struct Subject {
    /// The service account it is of.
    pub account: ServiceAccount,
    /// The pod it is bound to, if it is to one.
    pub pod: Option<Pod>,
    /// Seconds since 1970.
    pub expires: i64,
}

impl Claims {
    /// Whether the token names one of `audiences`, exactly.
    pub fn for_any(&self, audiences: &[String]) -> bool {
        self.audiences().iter().any(|audience| audiences.contains(audience))
    }

    fn audiences(&self) -> &[String] {
        match &self.aud {
            Audiences::One(audience) => std::slice::from_ref(audience),
            Audiences::Several(audiences) => audiences,
        }
    }

    /// Who the token speaks for, at `now` in seconds since 1970. `cluster` is the issuer's place in
    /// the configuration; that `config` is the token's own issuer and names one of its audiences
    /// has been seen to.
    ///
    /// # Errors
    /// What is wrong, without a value.
    pub fn subject(
        &self,
        cluster: usize,
        config: &config::Kubernetes,
        now: i64,
    ) -> Result<Subject, &'static str> {
        let leeway = config.leeway.as_secs().cast_signed();
        let (Some(expires), Some(begins)) = (self.exp, self.nbf) else {
            return Err(
                "the service-account token does not say from when until when it is valid; \
                        mount a projected token instead of one from a Secret",
            );
        };
        if now >= expires.saturating_add(leeway) {
            return Err("the service-account token has expired; read its file again");
        }
        if begins > expires || self.iat.is_some_and(|issued| issued > expires) {
            return Err("the service-account token's times contradict each other");
        }
        if begins.saturating_sub(leeway) > now {
            return Err("the service-account token is not valid yet; compare the clocks");
        }
        let Some(bound) = &self.bound else {
            return Err("the service-account token does not have Kubernetes' claims");
        };
        bound.check()?;
        let (namespace, name) = (&bound.namespace, &bound.serviceaccount.name);
        let says = self.sub.strip_prefix("system:serviceaccount:");
        if says.and_then(|says| says.split_once(':')) != Some((namespace, name)) {
            return Err("the service-account token names two subjects");
        }
        if let (Some(ours), Some(node)) = (&config.node, &bound.node)
            && *ours != node.name
        {
            return Err("the service-account token belongs to a pod of another node");
        }
        let mut audiences: Vec<Box<str>> =
            self.audiences().iter().map(|audience| audience.as_str().into()).collect();
        audiences.sort_unstable();
        audiences.dedup();
        Ok(Subject {
            account: ServiceAccount {
                cluster,
                namespace: namespace.as_str().into(),
                name: name.as_str().into(),
                uid: bound.serviceaccount.uid.as_str().into(),
                audiences: audiences.into(),
            },
            pod: bound
                .pod
                .as_ref()
                .map(|pod| Pod { name: pod.name.as_str().into(), uid: pod.uid.as_str().into() }),
            expires,
        })
    }
}

impl Bound {
    fn check(&self) -> Result<(), &'static str> {
        let pod = self.pod.as_ref();
        let account = &self.serviceaccount;
        let named = label(&self.namespace)
            && subdomain(&account.name)
            && pod.is_none_or(|pod| subdomain(&pod.name))
            && self.node.as_ref().is_none_or(|node| subdomain(&node.name));
        if !named {
            return Err("the service-account token holds a name that no object can have");
        }
        if !uid(&account.uid) || pod.is_some_and(|pod| !uid(&pod.uid)) {
            return Err("the service-account token holds an object without a uid");
        }
        Ok(())
    }
}

/// RFC 1123, as namespaces are named.
fn label(name: &str) -> bool {
    name.len() <= 63 && part(name)
}

/// Labels with dots between them, as service accounts, pods and nodes are named.
fn subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(part)
}

fn part(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// A UUID in every cluster there is; here anything without space and of bounded length.
fn uid(uid: &str) -> bool {
    (1..=128).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A number if it is there; `null` is no number.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    i64::deserialize(deserializer).map(Some)
}
