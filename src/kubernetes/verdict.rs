//! What is known of a token that was looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::claims::Subject;
use crate::clock::Time;
use crate::error::Error;
use crate::secret::Secret;

/// Who a token speaks for: everything that tells one service account from another, to the byte.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ServiceAccount {
    /// Place of its issuer in the configuration.
    pub cluster: usize,
    /// Kubernetes namespace: a DNS label.
    pub namespace: Box<str>,
    /// Name in the namespace: a DNS subdomain.
    pub name: Box<str>,
    /// One that was deleted and made anew under its old name has another.
    pub uid: Box<str>,
    /// All audiences of the token, sorted.
    pub audiences: Box<[Box<str>]>,
}

/// The pod that a token is bound to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pod {
    /// Name in the service account's namespace.
    pub name: Box<str>,
    /// Differs between two pods of one name.
    pub uid: Box<str>,
}

/// A token that is good.
#[derive(Debug)]
pub struct Verified {
    /// Who it speaks for.
    pub account: Arc<ServiceAccount>,
    /// The pod it was made for; `None`: one that was asked for by hand.
    pub pod: Option<Arc<Pod>>,
    /// Its `exp`. Past this it is verified anew each time, and refused after the leeway.
    pub expires: Time,
    /// The same in seconds since 1970.
    pub expires_unix: i64,
    /// The token itself, for logging in with it.
    pub token: Arc<Secret>,
    /// Until when it needs no asking.
    pub(super) settled: Time,
    /// From when on it should be asked about.
    pub(super) due: Time,
    asking: AtomicBool,
}

/// Why a token is not good. The texts hold no value of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// It is for another issuer or audience: an unmodified application's token may be meant for
    /// the upstream alone.
    #[error("{0}")]
    Foreign(&'static str),
    /// It is malformed, forged, expired or withdrawn.
    #[error("{0}")]
    Invalid(&'static str),
    /// What it is could not be found out.
    #[error(transparent)]
    Unavailable(Error),
}

impl Verified {
    /// One that has not been reviewed, and needs not.
    pub(super) fn new(subject: Subject, token: Arc<Secret>, expires: Time) -> Self {
        Self {
            account: Arc::new(subject.account),
            pod: subject.pod.map(Arc::new),
            expires,
            expires_unix: subject.expires,
            token,
            settled: expires,
            due: Time::NEVER,
            asking: AtomicBool::new(false),
        }
    }

    /// The same, not to be asked about before `due` nor relied on past `settled` without asking.
    pub(super) fn until(&self, settled: Time, due: Time) -> Self {
        Self {
            account: Arc::clone(&self.account),
            pod: self.pod.clone(),
            expires: self.expires,
            expires_unix: self.expires_unix,
            token: Arc::clone(&self.token),
            settled,
            due,
            asking: AtomicBool::new(false),
        }
    }

    /// Whether the caller is the one to have it reviewed in the background: the first.
    pub(super) fn claim_review(&self) -> bool {
        !self.asking.swap(true, Ordering::AcqRel)
    }
}

#[cfg(test)]
impl Verified {
    /// A pod's token of the service account `team-a/app`, good until `expires`.
    pub fn for_tests(expires: Time) -> Arc<Self> {
        let account = ServiceAccount {
            cluster: 0,
            namespace: "team-a".into(),
            name: "app".into(),
            uid: "1".into(),
            audiences: Box::default(),
        };
        Arc::new(Self {
            account: Arc::new(account),
            pod: None,
            expires,
            expires_unix: 0,
            token: Arc::new(Secret::new(b"jwt".to_vec())),
            settled: expires,
            due: Time::NEVER,
            asking: AtomicBool::new(false),
        })
    }
}
