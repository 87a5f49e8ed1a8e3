//! What vaultlet's own token is used for: reading policies and identity data, and nothing else.
//!
//! [`Subject`] is the list of all that may be asked, and [`Reader::get`] the one place that asks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use serde::de::DeserializeOwned;

use super::answers::{Answer, Detailed, Document, Entity, GroupData, Names};
use super::content::Reading;
use super::wanted::Wanted;
use crate::error::Error;
use crate::identity::dead;
use crate::metrics::Operation;
use crate::policy::Identity;
use crate::request::{NAMESPACE, TOKEN};
use crate::tenant::Tenant;
use crate::upstream::{Ask, Upstream, Whole, trouble};

/// A thousand policies of a page each are a few mebibytes.
const LIMIT: usize = 64 * 1024 * 1024;

/// What may be read.
#[derive(Clone, Copy)]
enum Subject<'a> {
    /// All policies of a namespace with their texts, where the server can (OpenBao).
    Policies,
    /// Their names.
    Names,
    /// One of them.
    Policy(&'a str),
    Entity(&'a str),
    Group(&'a str),
}

impl Subject<'_> {
    /// `None`: the name could lead elsewhere.
    fn target(self) -> Option<PathAndQuery> {
        let (below, name) = match self {
            Self::Policies => return Some(PathAndQuery::from_static(DETAILED)),
            Self::Names => {
                return Some(PathAndQuery::from_static("/v1/sys/policies/acl?list=true"));
            }
            Self::Policy(name) => ("sys/policies/acl", name),
            Self::Entity(id) => ("identity/entity/id", id),
            Self::Group(id) => ("identity/group/id", id),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            return None;
        }
        format!("/v1/{below}/{name}").parse().ok()
    }

    /// For people.
    fn what(self) -> &'static str {
        match self {
            Self::Policies => "list sys/policies/detailed/acl",
            Self::Names => "list sys/policies/acl",
            Self::Policy(_) => "read sys/policies/acl/+",
            Self::Entity(_) => "read identity/entity/id/+",
            Self::Group(_) => "read identity/group/id/+",
        }
    }
}

const DETAILED: &str = "/v1/sys/policies/detailed/acl?list=true";

/// Why there is no reading.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(
        "{path}: {1}. Put a Vault token there that may read policies and identities \
         (policy.identity.token_file)", path = .0.display()
    )]
    File(PathBuf, String),
    #[error("the upstream could not be asked: {0}")]
    Lost(Error),
    #[error("the policies changed each time they were read")]
    Restless,
    #[error(
        "the upstream does not let vaultlet's own token {what} in namespace {space:?}: {why}",
        why = if *.dead {
            "the token has expired or was revoked. Write a new one to policy.identity.token_file"
        } else {
            "give the token the policy in docs/local-policies.md"
        }
    )]
    Refused { space: Box<str>, what: &'static str, dead: bool },
}

/// Asks with vaultlet's own token.
pub(super) struct Reader<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) token: HeaderValue,
    /// Refusals that cost some callers local decisions, and not all.
    pub(super) refused: Vec<Failure>,
}

impl Reader<'_> {
    /// Reads all that is wanted, once.
    pub(super) async fn read(&mut self, wanted: &Wanted) -> Result<Reading, Failure> {
        let mut reading = Reading::default();
        for space in wanted.spaces() {
            match self.policies(&space).await {
                Ok(policies) => drop(reading.spaces.insert(space, policies)),
                Err(refused @ Failure::Refused { .. }) => self.refused.push(refused),
                Err(failure) => return Err(failure),
            }
        }
        if reading.spaces.is_empty()
            && let Some(refused) = self.refused.pop()
        {
            return Err(refused);
        }
        let mut groups = BTreeMap::new();
        for (id, space) in wanted.people() {
            match self.person(&id, &space, &mut groups).await {
                Ok(Some(identity)) => drop(reading.people.insert(id, identity)),
                Ok(None) => (),
                Err(refused @ Failure::Refused { .. }) => self.refused.push(refused),
                Err(failure) => return Err(failure),
            }
        }
        Ok(reading)
    }

    async fn policies(&self, space: &str) -> Result<BTreeMap<Box<str>, Document>, Failure> {
        match self.find::<Detailed>(space, Subject::Policies).await {
            Ok(Some(mut all)) => {
                let named = |name: String| all.key_info.remove_entry(name.as_str());
                return Ok(all.keys.into_iter().filter_map(named).collect());
            }
            // Vault does not know this path, and an older policy for the token not either.
            Ok(None) | Err(Failure::Refused { dead: false, .. }) => (),
            Err(failure) => return Err(failure),
        }
        let Some(Names { keys }) = self.find(space, Subject::Names).await? else {
            return Ok(BTreeMap::new());
        };
        let mut policies = BTreeMap::new();
        for name in keys {
            // One that has gone meanwhile is one that is not there; so is one with a name that
            // cannot be asked for, and whoever holds it asks the upstream.
            if let Some(document) = self.find(space, Subject::Policy(&name)).await? {
                policies.insert(name, document);
            }
        }
        Ok(policies)
    }

    /// `None`: there is no such entity. `Some(None)`: it has groups whose place cannot be told.
    async fn person(
        &self,
        id: &str,
        space: &str,
        known: &mut BTreeMap<Box<str>, GroupData>,
    ) -> Result<Option<Option<Identity>>, Failure> {
        let Some(entity) = self.find::<Entity>(space, Subject::Entity(id)).await? else {
            return Ok(None);
        };
        let mut groups = Vec::with_capacity(entity.group_ids.len());
        for id in &entity.group_ids {
            let group = match known.get(id) {
                Some(group) => Some(group.clone()),
                None => self.find::<GroupData>(space, Subject::Group(id)).await?,
            };
            let Some(group) = group else { return Ok(Some(None)) };
            known.insert(id.clone(), group.clone());
            groups.push(group);
        }
        Ok(Some(entity.identity(groups, space)))
    }

    async fn find<T: DeserializeOwned>(
        &self,
        space: &str,
        subject: Subject<'_>,
    ) -> Result<Option<T>, Failure> {
        let Some(body) = self.get(space, subject).await? else { return Ok(None) };
        let answer = serde_json::from_slice::<Answer<T>>(&body);
        // What does not fit is left out of the message: it may quote the answer.
        let answer =
            answer.map_err(|_| Failure::Lost(Error::nonsense("an answer of another shape")))?;
        Ok(Some(answer.data))
    }

    /// `None`: there is no such thing.
    async fn get(&self, space: &str, subject: Subject<'_>) -> Result<Option<Bytes>, Failure> {
        let Some(target) = subject.target() else { return Ok(None) };
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN, self.token.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let namespace = space.trim_end_matches('/');
        if !namespace.is_empty() {
            let namespace = HeaderValue::from_str(namespace);
            headers.insert(NAMESPACE, namespace.map_err(|it| Failure::Lost(Error::garbage(it)))?);
        }
        let ask = Ask::get(target, headers, Tenant::vaultlet());
        match self.upstream.ask(Operation::Policies, &ask, LIMIT).await.map_err(Failure::Lost)? {
            Whole::Answer { status: StatusCode::OK, body, .. } => Ok(Some(body)),
            Whole::Answer { status: StatusCode::FORBIDDEN, body, .. } => {
                let (space, what, dead) = (space.into(), subject.what(), dead(&body));
                Err(Failure::Refused { space, what, dead })
            }
            Whole::Answer { status, body, .. } => match trouble(status, &body) {
                Some(trouble) => Err(Failure::Lost(Error::Failing(status, trouble))),
                None => Ok(None),
            },
            Whole::Oversize(_) => {
                Err(Failure::Lost(Error::nonsense("policies of more than 64 MiB")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_anywhere_else() {
        let targets = |name| {
            [Subject::Policy(name), Subject::Entity(name), Subject::Group(name)]
                .map(|subject| subject.target().map(|target| target.to_string()))
        };

        assert_eq!(
            targets("a-1.b_C"),
            ["sys/policies/acl", "identity/entity/id", "identity/group/id"]
                .map(|below| Some(format!("/v1/{below}/a-1.b_C")))
        );
        for name in
            ["", ".", "..", "../../secret/data/app", "a/b", "a%2fb", "a?list=true", "a#", "a b"]
        {
            assert_eq!(targets(name), [None, None, None], "{name}");
        }
    }
}
