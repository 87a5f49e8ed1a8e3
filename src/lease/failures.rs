//! What was the upstream asked for in vain a moment ago?
//!
//! A database that is down makes each request for a credential a slow failure upstream. One attempt
//! is made for each step of the back-off, and whoever asks meanwhile is told what it was told; others
//! than the one it was told to, once it has failed for one of them too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::agenda::back_off;
use super::key::{Key, Owner, Request};
use super::reply::Said;
use crate::clock::Time;
use crate::error::Error;

/// The requests that failed last.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<Request, Failure>>);

#[derive(Debug)]
struct Failure {
    count: u32,
    until: Time,
    /// Whom the upstream has answered.
    owner: Owner,
    /// Whether it has failed for another as well, so that it is not about this one.
    widespread: bool,
    what: What,
}

/// How it failed.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// The upstream said so, in words for its owner; and what others are told.
    Said(Arc<Said>, Error),
    /// It broke off or was late.
    Error(Error),
}

/// More requests that fail than this are not told apart from those that do not.
const MOST: usize = 1024;

/// A pause is a third of this at most: somebody is waiting for it to work again, and is to see within
/// ten seconds that it does.
const LONGEST: Duration = Duration::from_secs(24);

impl Failures {
    /// What was said to the last attempt, if it is too soon for another.
    pub(super) fn recent(&self, key: &Key, now: Time) -> Option<What> {
        let failures = self.lock();
        let failure = failures.get(&key.request).filter(|failure| now < failure.until)?;
        let own = failure.owner == key.owner;
        match &failure.what {
            what if own => Some(what.clone()),
            _ if !failure.widespread => None,
            What::Said(_, error) | What::Error(error) => Some(What::Error(error.clone())),
        }
    }

    /// Notes a failure.
    pub(super) fn note(&self, key: &Key, now: Time, what: What) {
        let mut failures = self.lock();
        // One whose pause is long over has counted to where it did.
        failures.retain(|_, failure| now < failure.until.plus(LONGEST));
        let before = failures.get(&key.request);
        if failures.len() >= MOST && before.is_none() {
            return;
        }
        let count = before.map_or(1, |before| before.count + 1);
        let owner = key.owner.clone();
        let widespread =
            before.is_some_and(|before| before.widespread || before.owner != key.owner);
        let until = now.plus(back_off(count, LONGEST));
        let failure = Failure { count, until, owner, widespread, what };
        failures.insert(key.request.clone(), failure);
    }

    /// It worked.
    pub(super) fn over(&self, key: &Key) {
        self.lock().remove(&key.request);
    }

    /// Nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<Request, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
