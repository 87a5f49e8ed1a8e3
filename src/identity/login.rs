//! What is known of an upstream token, and which rights class it is of.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;

use super::Epoch;
use super::facts::Facts;
use crate::clock::Time;
use crate::tenant::Tenant;

/// A rights class: the digest of everything in a login that can change the upstream's answer to a
/// read. Two logins of one class have the same rights.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Class([u8; 16]);

/// What decides what a login may, as the upstream has named it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rights {
    /// Names of policies, the token's own and those of its entity and groups; sorted.
    pub policies: Box<[Box<str>]>,
    /// Id of the entity; empty: none.
    pub entity: Box<str>,
    /// The token's Vault namespace, with a slash at its end unless it is the root.
    pub namespace: Box<str>,
    /// What the server calls it; empty where that is not known.
    pub display_name: Box<str>,
    /// Whether groups of other namespaces give it policies of theirs.
    pub foreign: bool,
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
    /// What the class was made of; `None` where nothing is known.
    pub rights: Option<Box<Rights>>,
    /// The Kubernetes namespace and service account that logged in, where the auth method says so.
    pub service_account: Option<Box<(String, String)>>,
    /// Whether the upstream has answered that there is no such token (any more).
    pub dead: bool,
    /// When the lookup left.
    pub asked: Time,
    /// When the token dies of itself.
    pub expires: Time,
    /// Names the token without being it; empty for batch tokens.
    pub accessor: Box<str>,
    pub(super) orphan: bool,
    pub(super) epoch: Epoch,
    pub(super) issued_only: bool,
    pub(super) renewing: AtomicBool,
    pub(super) owed: AtomicBool,
}

impl Login {
    pub(super) fn new(facts: Facts, cluster: Option<&str>, asked: Time, epoch: Epoch) -> Self {
        let class = facts.class(cluster);
        let (class, counted) = if facts.limited() { (None, class) } else { (class, None) };
        let service_account = facts.service_account().map(Box::new);
        let issued_only = facts.issued && !facts.rights.entity.is_empty();
        Self {
            class,
            counted,
            rights: facts.complete.then(|| Box::new(facts.rights)),
            service_account,
            dead: false,
            asked,
            expires: facts.life.map_or(Time::NEVER, |life| asked.plus(life)),
            accessor: facts.accessor.into(),
            orphan: facts.orphan,
            epoch,
            issued_only,
            renewing: AtomicBool::new(false),
            owed: AtomicBool::new(false),
        }
    }

    /// A token the upstream does not tell us about; it is asked again after `window`.
    pub(super) fn unknown(dead: bool, asked: Time, window: Duration, epoch: Epoch) -> Self {
        Self {
            class: None,
            counted: None,
            rights: None,
            service_account: None,
            dead,
            asked,
            expires: asked.plus(window),
            accessor: "".into(),
            orphan: false,
            epoch,
            issued_only: false,
            renewing: AtomicBool::new(false),
            owed: AtomicBool::new(false),
        }
    }

    /// Whether all that is known of it is what was said when it was issued, which does not name the
    /// policies that groups of other namespaces add.
    pub fn issued_only(&self) -> bool {
        self.issued_only
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

impl Facts {
    /// Who logged in by a Kubernetes auth method. Metadata alone proves nothing, anybody who may
    /// create tokens can write it; the path says that a login did.
    fn service_account(&self) -> Option<(String, String)> {
        if !self.path.starts_with("auth/") || !self.path.ends_with("/login") {
            return None;
        }
        let get = |name: &str| {
            let found = self.metadata.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        Some((get("service_account_namespace")?, get("service_account_name")?))
    }
}

impl Class {
    /// Whoever is of this class.
    pub fn tenant(self) -> Tenant {
        Tenant::class(self.0)
    }

    pub(super) fn of(digest: &digest::Digest) -> Self {
        let mut class = [0; 16];
        class.copy_from_slice(&digest.as_ref()[..16]);
        Self(class)
    }

    /// The digest.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The class of this digest.
    pub(crate) fn of_bytes(digest: [u8; 16]) -> Self {
        Self(digest)
    }

    /// A class of its own for each name.
    #[cfg(test)]
    pub fn for_tests(name: &str) -> Self {
        Self::of(&digest::digest(&digest::SHA256, name.as_bytes()))
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Class({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests;
