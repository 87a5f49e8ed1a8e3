//! What the server and the configuration say of somebody, as far as it can be read.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use serde::Deserialize;
use serde_json::Value;

use super::{Inquiry, Who};
use crate::clock::Clock;
use crate::config::{Config, KubernetesLogin};
use crate::error::BoxError;
use crate::exchange::Roles;
use crate::guardrails::Asker;
use crate::identity::{Facts, Rights, sensitive};
use crate::kubernetes::{Issuers, Refusal, ServiceAccount};
use crate::kv::mounts::{Engine, Mounts};
use crate::metrics::{Metrics, Operation};
use crate::policy::{self, Dialect, Identity, Policy};
use crate::request::{Call, NAMESPACE, TOKEN};
use crate::secret::Fingerprinter;
use crate::tenant::Tenant;
use crate::upstream::{Ask, Upstream, Whole};

/// What policies and roles come in.
const LIMIT: usize = 1024 * 1024;

/// What is known of who asks.
pub(super) struct Evidence {
    pub(super) who: String,
    pub(super) role: Option<String>,
    pub(super) policies: Vec<Arc<Policy>>,
    /// For templates; `None` where no entity is known.
    pub(super) identity: Option<Identity>,
    pub(super) dialect: Dialect,
    /// Whether the path lies in a KV mount.
    pub(super) kv: bool,
    /// Whether there may be policies that could not be read.
    pub(super) incomplete: bool,
    pub(super) notes: Vec<String>,
    account: Option<(String, String, Option<String>)>,
}

/// The upstream, with what may be read of it.
struct Reader {
    upstream: Upstream,
    token: Option<HeaderValue>,
    namespace: Option<HeaderValue>,
}

impl Evidence {
    pub(super) fn asker(&self) -> Option<Asker<'_>> {
        let (namespace, service_account, pod) = self.account.as_ref()?;
        Some(Asker { namespace, service_account, pod: pod.as_deref() })
    }

    /// Gathers it.
    pub(super) async fn gather(
        config: &Config,
        inquiry: &Inquiry,
        call: &Call<'_>,
    ) -> Result<Self, BoxError> {
        let mut evidence = Self {
            who: String::new(),
            role: None,
            policies: Vec::new(),
            identity: None,
            // Which order a list is looked up in depends on the version, which is not asked for.
            dialect: Dialect::Unknown,
            kv: false,
            incomplete: false,
            notes: Vec::new(),
            account: None,
        };
        let mut reader = Reader::new(config, inquiry)?;
        reader.ready(config).await?;
        let (names, namespace) = match &inquiry.who {
            Who::Token(token) => {
                let own = sensitive(token.expose())?;
                evidence.of_token(&mut reader, own).await?
            }
            Who::Jwt(jwt) => {
                let issuers = Issuers::new(
                    &config.auth.kubernetes,
                    config.policy.refresh,
                    Clock::default(),
                    Arc::new(Metrics::new()?),
                )?;
                let prints = Fingerprinter::new()?;
                let own = prints.of(jwt.expose());
                let verified = Arc::new(issuers).verify(jwt.expose(), own).await;
                let verified = verified.map_err(|refusal| match refusal {
                    Refusal::Foreign(why) | Refusal::Invalid(why) => why.to_owned(),
                    Refusal::Unavailable(error) => crate::error::chain(&error),
                })?;
                let pod = verified.pod.as_ref().map(|pod| pod.name.to_string());
                evidence.of_account(&reader, config, inquiry, &verified.account, pod).await?
            }
            Who::ServiceAccount { namespace, name } => {
                let account = ServiceAccount {
                    cluster: 0,
                    namespace: namespace.as_str().into(),
                    name: name.as_str().into(),
                    uid: "".into(),
                    audiences: Box::default(),
                };
                evidence.of_account(&reader, config, inquiry, &account, None).await?
            }
        };
        for name in &names {
            let Some(policy) = reader.policy(name, &namespace).await? else {
                evidence.incomplete = true;
                evidence.notes.push(format!(
                    "policy {name} cannot be read: it does not exist, or {}",
                    reader.may("sys/policies/acl")
                ));
                continue;
            };
            if let Some(opaque) = policy.opaque() {
                evidence.notes.push(format!(
                    "policy {name} is not understood at line {}: {}",
                    opaque.line, opaque.reason
                ));
            }
            evidence.policies.push(Arc::new(policy));
        }
        evidence.kv = reader.is_kv(call, config).await?;
        Ok(evidence)
    }

    async fn of_token(
        &mut self,
        reader: &mut Reader,
        own: HeaderValue,
    ) -> Result<(Vec<String>, String), BoxError> {
        // Whoever holds a token may as well read with it, if nobody else is there to.
        let answer = reader.get("auth/token/lookup-self", Some(&own)).await?;
        if reader.token.is_none() {
            reader.token = Some(own);
        }
        let Some(body) = answer else {
            return Err(
                "the upstream does not tell about this token: it is none, has ended, or its \
                        policies do not let it look itself up"
                    .into(),
            );
        };
        let facts = Facts::of_lookup(&body, &Clock::default())
            .map_err(|error| format!("no token: {error}"))?;
        let Rights { policies, entity, namespace, display_name, .. } = facts.rights();
        self.who = format!("the token of {display_name}, entity {}", or_none(entity));
        if facts.limited() {
            self.notes.push(
                "its uses are counted or its addresses bound: never answered from the \
                             cache"
                    .into(),
            );
        }
        if !entity.is_empty() {
            self.identity = reader.entity(entity).await?;
            if self.identity.is_none() {
                self.notes.push(format!(
                    "its entity cannot be read, so that paths with templates are left out: {}",
                    reader.may("identity/entity/id")
                ));
            }
        }
        Ok((policies.iter().map(ToString::to_string).collect(), namespace.to_string()))
    }

    async fn of_account(
        &mut self,
        reader: &Reader,
        config: &Config,
        inquiry: &Inquiry,
        account: &ServiceAccount,
        pod: Option<String>,
    ) -> Result<(Vec<String>, String), BoxError> {
        #[derive(Deserialize)]
        struct Role {
            #[serde(default)]
            token_policies: Vec<String>,
            #[serde(default)]
            token_no_default_policy: bool,
        }
        let cluster = config.auth.kubernetes.get(account.cluster);
        let cluster =
            cluster.ok_or("auth.kubernetes is not configured: no service account calls")?;
        let login: &KubernetesLogin = &cluster.login;
        let (mount, role) = Roles::new(login)
            .of(account, inquiry.role.as_deref())
            .map(|(mount, role)| (mount.to_owned(), role))?;
        self.who = match &pod {
            Some(pod) => format!("pod {pod} of {}/{}", account.namespace, account.name),
            None => format!("service account {}/{}", account.namespace, account.name),
        };
        self.role = Some(format!("{role} on auth/{mount}"));
        self.account = Some((account.namespace.to_string(), account.name.to_string(), pod));
        self.incomplete = true;
        self.notes.push(
            "no login was made: policies that its entity and groups add are not known".to_owned(),
        );
        let namespace = &login.namespace;
        let Some(body) = reader.get(&format!("auth/{mount}/role/{role}"), None).await? else {
            self.notes.push(format!(
                "the role cannot be read: it does not exist, or {}",
                reader.may("auth/+/role")
            ));
            return Ok((Vec::new(), String::new()));
        };
        let role: Role = data(&body).ok_or("the answer about the role is none")?;
        let mut policies = role.token_policies;
        if !role.token_no_default_policy {
            policies.push("default".to_owned());
        }
        policies.sort();
        policies.dedup();
        let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        Ok((policies, namespace))
    }
}

impl Reader {
    fn new(config: &Config, inquiry: &Inquiry) -> Result<Self, BoxError> {
        let own = config.policy.identity.as_ref();
        let own = own.map(|own| std::fs::read(&own.token_file).map(zeroize::Zeroizing::new));
        let token = match (own.transpose()?, &inquiry.operator) {
            (Some(own), _) => Some(sensitive(own.trim_ascii())?),
            (None, Some(operator)) => Some(sensitive(operator.trim().as_bytes())?),
            (None, None) => None,
        };
        let namespace = config.upstream.namespace.trim_matches('/');
        let namespace = (!namespace.is_empty()).then(|| HeaderValue::from_str(namespace));
        let metrics = Arc::new(Metrics::new()?);
        Ok(Self {
            upstream: Upstream::new(&config.upstream, None, Clock::default(), metrics)?,
            token,
            namespace: namespace.transpose()?,
        })
    }

    /// Waits until an address has answered.
    async fn ready(&self, config: &Config) -> Result<(), BoxError> {
        let patience = config.upstream.connect_timeout + Duration::from_secs(3);
        let answered = tokio::time::timeout(patience, async {
            tokio::select! {
                () = self.upstream.watch_health() => (),
                () = self.upstream.answers() => (),
            }
        });
        answered
            .await
            .map_err(|_| "the upstream does not answer: see `vaultlet check --connect`")?;
        Ok(())
    }

    /// What may be missing to read something.
    fn may(&self, what: &str) -> String {
        match self.token {
            Some(_) => format!("the token that reads may not: it needs `read` on {what}/*"),
            None => "nobody reads it: configure policy.identity, or set VAULT_TOKEN".to_owned(),
        }
    }

    /// The body of a `GET`; `None` unless it is a success.
    async fn get(
        &self,
        path: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Option<bytes::Bytes>, BoxError> {
        let Some(token) = token.or(self.token.as_ref()) else { return Ok(None) };
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN, token.clone());
        if let Some(namespace) = &self.namespace {
            headers.insert(NAMESPACE, namespace.clone());
        }
        let Ok(target) = PathAndQuery::try_from(format!("/v1/{path}")) else { return Ok(None) };
        let ask = Ask::get(target, headers, Tenant::vaultlet());
        let answer = self.upstream.ask(Operation::Explain, &ask, LIMIT).await;
        match answer.map_err(|error| crate::error::chain(&error))? {
            Whole::Answer { status: StatusCode::OK, body, .. } => Ok(Some(body)),
            Whole::Answer { .. } | Whole::Oversize(_) => Ok(None),
        }
    }

    async fn policy(&self, name: &str, namespace: &str) -> Result<Option<Policy>, BoxError> {
        #[derive(Deserialize)]
        struct Text {
            policy: String,
        }
        if name == "root" {
            return Ok(Some(policy::parse(name, namespace, "")));
        }
        let body = self.get(&format!("sys/policies/acl/{name}"), None).await?;
        let text = body.and_then(|body| data::<Text>(&body));
        Ok(text.map(|Text { policy }| policy::parse(name, namespace, &policy)))
    }

    async fn entity(&self, id: &str) -> Result<Option<Identity>, BoxError> {
        #[derive(Deserialize)]
        struct Entity {
            id: String,
            name: String,
            #[serde(default)]
            metadata: Option<std::collections::BTreeMap<String, String>>,
        }
        let body = self.get(&format!("identity/entity/id/{id}"), None).await?;
        Ok(body.and_then(|body| data::<Entity>(&body)).map(|entity| Identity {
            id: entity.id,
            name: entity.name,
            metadata: entity.metadata.unwrap_or_default(),
            aliases: Vec::new(),
            groups: Vec::new(),
        }))
    }

    async fn is_kv(&self, call: &Call<'_>, config: &Config) -> Result<bool, BoxError> {
        let Some((path, _)) = call.target.exact() else { return Ok(false) };
        let Some(body) = self.get(&format!("sys/internal/ui/mounts/{path}"), None).await? else {
            return Ok(false);
        };
        let mounts = Mounts::new(config.policy.refresh, Clock::default());
        mounts.learn("", path, StatusCode::OK, &body)?;
        Ok(matches!(mounts.find(path, false), Some((_, Engine::KvV1 | Engine::KvV2))))
    }
}

fn data<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Option<T> {
    #[derive(Deserialize)]
    struct Answer {
        data: Value,
    }
    let Answer { data } = serde_json::from_slice(body).ok()?;
    serde_json::from_value(data).ok()
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}
