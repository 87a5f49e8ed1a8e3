//! What has been read, and what it says of a rights class.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use quick_cache::sync::Cache;

use super::answers::Document;
use crate::clock::{Clock, Time};
use crate::identity::{Class, Rights};
use crate::policy::{self, Acl, Dialect, Identity, Policy, Selectors};

/// Classes whose rules are kept ready. The least used give way; they are put together anew.
const MOST_JUDGES: usize = 4096;

/// Rules that have run out leave a doubt behind, which ends when they are put together anew.
const REBUILD: Duration = Duration::from_mins(1);

/// What one reading has found.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Reading {
    /// Policies by namespace and name.
    pub(super) spaces: BTreeMap<Box<str>, BTreeMap<Box<str>, Document>>,
    /// Entities by id; `None`: with groups whose place nobody can tell.
    pub(super) people: BTreeMap<Box<str>, Option<Identity>>,
}

/// A reading, understood.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) reading: Reading,
    policies: BTreeMap<Box<str>, BTreeMap<Box<str>, Held>>,
    /// Since when each entity's data is known to be what it is.
    people: BTreeMap<Box<str>, Time>,
    judges: Cache<Class, Arc<Judge>>,
}

#[derive(Clone, Debug)]
struct Held {
    policy: Arc<Policy>,
    /// Its end cannot be read.
    endless: bool,
    /// Since when it is known to be what it is.
    since: Time,
}

/// The rules of a class.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) acl: Acl,
    /// Since when they are known to be these.
    pub(super) since: Time,
    /// Whether they depend on the entity's data.
    pub(super) personal: bool,
    built: Time,
}

/// What is missing for deciding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lack {
    /// The entity's data.
    Person,
    /// A policy, or understanding it.
    Policy,
    /// Everything about a namespace.
    Space,
}

/// A policy that is not understood.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Opaque<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) line: u32,
    pub(super) reason: &'static str,
}

impl Content {
    /// `since`: an instant at which all of `reading` was true. What is as it was `before` has been
    /// so for longer.
    pub(super) fn new(reading: Reading, before: Option<&Self>, since: Time) -> Self {
        let held = |space: &str, name: &str, document: &Document| {
            let same = before.filter(|before| {
                before.reading.spaces.get(space).and_then(|space| space.get(name)) == Some(document)
            });
            let same = same.and_then(|before| before.policies.get(space)?.get(name));
            same.cloned().unwrap_or_else(|| Held::read(name, space, document, since))
        };
        let policies = reading.spaces.iter().map(|(space, documents)| {
            let all = documents.iter().map(|(name, it)| (name.clone(), held(space, name, it)));
            (space.clone(), all.collect())
        });
        let people = reading.people.iter().map(|(id, identity)| {
            let same = before.filter(|before| before.reading.people.get(id) == Some(identity));
            let same = same.and_then(|before| before.people.get(id).copied());
            (id.clone(), same.unwrap_or(since))
        });
        let (policies, people) = (policies.collect(), people.collect());
        Self { reading, policies, people, judges: Cache::new(MOST_JUDGES) }
    }

    /// What the policies of a class say.
    pub(super) fn judge(
        &self,
        class: Class,
        rights: &Rights,
        now: Time,
    ) -> Result<Arc<Judge>, Lack> {
        if let Some(judge) = self.judges.get(&class).filter(|it| now.since(it.built) < REBUILD) {
            return Ok(judge);
        }
        let space = self.policies.get(&rights.namespace).ok_or(Lack::Space)?;
        let mut policies = Vec::with_capacity(rights.policies.len());
        let mut since = None;
        for name in &rights.policies {
            // A policy that is not there grants nothing, and denies nothing. But a list may be
            // shortened by a rule for the token it was read with: who is not on it may be there.
            let held = space.get(name).filter(|held| !held.endless).ok_or(Lack::Policy)?;
            since = since.max(Some(held.since));
            policies.push(Arc::clone(&held.policy));
        }
        let personal = !rights.entity.is_empty() && policies.iter().any(|it| it.templated());
        let identity = if personal {
            let person = self.reading.people.get(&rights.entity).ok_or(Lack::Person)?;
            since = since.max(self.people.get(&rights.entity).copied());
            Some(person.as_ref().ok_or(Lack::Policy)?)
        } else {
            None
        };
        let selectors = identity.map_or(Selectors::NoIdentity, Selectors::Identity);
        // Servers differ about lists, and only reads are decided.
        let acl = Acl::new(&policies, selectors, Dialect::Unknown, Clock::unix());
        let since = since.ok_or(Lack::Policy)?;
        let judge = Arc::new(Judge { acl, since, personal, built: now });
        self.judges.insert(class, Arc::clone(&judge));
        Ok(judge)
    }

    /// How many policies there are.
    pub(super) fn len(&self) -> usize {
        self.policies.values().map(BTreeMap::len).sum()
    }

    /// Those that are not understood.
    pub(super) fn opaque(&self) -> Vec<Opaque<'_>> {
        let all = self.policies.values().flat_map(BTreeMap::values);
        all.filter_map(|held| {
            let (line, reason) = match held.policy.opaque() {
                Some(opaque) => (opaque.line, opaque.reason),
                None if held.endless => (0, "an expiration that is no time"),
                None => return None,
            };
            let policy = &held.policy;
            Some(Opaque { namespace: policy.namespace(), name: policy.name(), line, reason })
        })
        .collect()
    }
}

impl Held {
    fn read(name: &str, space: &str, document: &Document, since: Time) -> Self {
        let policy = policy::parse(name, space, &document.policy);
        let expires = document.expiration.as_deref().filter(|text| !text.is_empty());
        let ends = expires.map(|text| text.parse().map(Timestamp::as_second));
        let (policy, endless) = match ends {
            Some(Ok(unix)) => (policy.until(unix), false),
            Some(Err(_)) => (policy, true),
            None => (policy, false),
        };
        Self { policy: Arc::new(policy), endless, since }
    }
}

impl fmt::Display for Opaque<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, line, reason } = self;
        write!(f, "{namespace}{name}, line {line}: {reason}")
    }
}

#[cfg(test)]
mod tests;
