//! One service account in one role: its shared login, now and next.
//!
//! A state machine without I/O: what is due, what is refused, what is idle are questions of `now`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::header::HeaderValue;
use serde_json::{Map, Value};

use crate::clock::{LatestTime, Time};
use crate::error::Error;
use crate::kubernetes::{ServiceAccount, Verified};
use crate::secret::{Credential, Fingerprint, Secret};
use crate::tenant::Tenant;

use super::roll::Roll;

/// Whose shared login: exact bytes, the spelling of the role included.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Place {
    /// The service account, its cluster and the audiences of its tokens.
    pub account: Arc<ServiceAccount>,
    /// Path of the auth method below `auth/`.
    pub mount: Box<str>,
    /// The role logged in as.
    pub role: Box<str>,
}

/// A login that all pods of a service account use.
#[derive(Debug)]
pub struct Shared {
    /// The upstream token. It never leaves for anybody but the upstream.
    pub credential: Arc<Credential>,
    /// The same as a header.
    pub header: HeaderValue,
    /// What the upstream said of it: the `auth` block without the token and its accessor.
    pub auth: Map<String, Value>,
    /// When it was asked for.
    pub made: Time,
    /// When it, or its last renewal, was asked for.
    pub renewed: Time,
    /// When it ends unless it is renewed.
    pub expires: Time,
    /// Whether it can be.
    pub renewable: bool,
    pub(super) term: Duration,
}

/// The place of a shared login.
#[derive(Debug)]
pub struct Slot {
    /// Whose.
    pub place: Arc<Place>,
    /// On whose account its logins are made.
    pub tenant: Tenant,
    current: ArcSwapOption<Shared>,
    /// The caller whose token lives longest, for the next login.
    youngest: ArcSwapOption<Verified>,
    /// At most one of the service account; of tokens, the latest.
    refused: Mutex<Vec<Refused>>,
    used: LatestTime,
    /// Not to be renewed before this, although it is due.
    later: LatestTime,
    renewing: AtomicBool,
    login_path: Box<str>,
    /// The badges that stand for it.
    pub badges: Roll,
}

/// What the upstream said last, instead of logging in.
#[derive(Debug)]
struct Refused {
    error: Error,
    until: Time,
    /// Only this token, where the refusal may be about it; else the service account.
    token: Option<Arc<Secret>>,
}

/// Share of a lease after which it is renewed, while it is used.
const RENEW_AT: f64 = 0.66;

/// A renewal that gives less than this share of the first lease is near the longest life.
const GAIN: f64 = 0.75;

/// Between attempts that fail.
const PAUSE: Duration = Duration::from_secs(5);

/// Tokens whose refusal is remembered: of pods that come back again and again, each with its own.
const MOST_REFUSED: usize = 64;

/// A slot without a login, or whose login has ended, is kept this long after its last use.
const IDLE: Duration = Duration::from_secs(30);

impl Shared {
    /// The life that its first lease had.
    pub fn term(&self) -> Duration {
        self.term
    }

    /// Whether this renewal of `before` is worth having: it lasts about as long as the first lease.
    pub(super) fn gained(&self, before: &Self) -> bool {
        self.expires > before.expires && self.life() >= before.term.mul_f64(GAIN)
    }

    fn life(&self) -> Duration {
        self.expires.since(self.renewed)
    }
}

impl Slot {
    pub(super) fn new(place: Arc<Place>, now: Time) -> Self {
        Self {
            login_path: format!("auth/{}/login", place.mount).into(),
            badges: Roll::default(),
            tenant: {
                let ServiceAccount { cluster, namespace, name, .. } = &*place.account;
                Tenant::service_account(*cluster, namespace, name)
            },
            place,
            current: ArcSwapOption::empty(),
            youngest: ArcSwapOption::empty(),
            refused: Mutex::default(),
            used: LatestTime::new(now),
            later: LatestTime::new(now),
            renewing: AtomicBool::new(false),
        }
    }

    /// Where its logins are made, below `/v1/`.
    pub fn login_path(&self) -> &str {
        &self.login_path
    }

    /// The login, if its lease goes on.
    pub fn good(&self, now: Time) -> Option<Arc<Shared>> {
        self.current.load_full().filter(|shared| now < shared.expires)
    }

    /// Notes that a caller uses it.
    pub(super) fn used(&self, now: Time, caller: &Arc<Verified>) {
        self.used.reach(now);
        self.meet(caller);
    }

    /// Takes it that a pod with this token is there.
    pub fn meet(&self, caller: &Arc<Verified>) {
        let younger = match &*self.youngest.load() {
            Some(known) => caller.expires > known.expires,
            None => true,
        };
        if younger {
            self.youngest.store(Some(Arc::clone(caller)));
        }
    }

    /// Notes that it is needed, though no caller has come: what was issued to it is in use.
    pub fn keep(&self, now: Time) {
        self.used.reach(now);
    }

    /// The caller whose token lives longest, if it still does.
    pub(super) fn youngest(&self, now: Time) -> Option<Arc<Verified>> {
        self.youngest.load_full().filter(|caller| now < caller.expires)
    }

    pub(super) fn set(&self, shared: Arc<Shared>) {
        self.current.store(Some(shared));
        self.renewing.store(false, Ordering::Release);
        self.refusals().clear();
    }

    /// Takes whatever there is away.
    pub(super) fn forget(&self) {
        self.current.store(None);
    }

    /// Takes `shared` away, unless there is another already.
    pub(super) fn drop_login(&self, shared: &Arc<Shared>) {
        let current = self.current.load();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, shared)) {
            self.current.compare_and_swap(&current, None);
        }
    }

    /// Takes away the login with this token: it was revoked.
    pub fn revoked(&self, token: Fingerprint) {
        if let Some(shared) = self.current.load_full()
            && shared.credential.fingerprint == token
        {
            self.drop_login(&shared);
        }
    }

    /// Notes what the upstream said: to `token` alone, or to the service account.
    pub(super) fn refuse(&self, error: Error, until: Time, token: Option<Arc<Secret>>) {
        let mut refused = self.refusals();
        if token.is_none() {
            refused.clear();
        }
        refused.retain(|before| !same(before.token.as_ref(), token.as_ref()));
        if refused.len() >= MOST_REFUSED {
            refused.remove(0);
        }
        refused.push(Refused { error, until, token });
    }

    /// What the upstream has said a moment ago to the like of `caller`.
    pub(super) fn refusal(&self, caller: &Verified, now: Time) -> Option<Error> {
        let mut refused = self.refusals();
        refused.retain(|refused| now < refused.until);
        let about = |refused: &&Refused| {
            refused.token.is_none() || same(refused.token.as_ref(), Some(&caller.token))
        };
        refused.iter().find(about).map(|refused| refused.error.clone())
    }

    /// Nothing panics while it is held.
    fn refusals(&self) -> MutexGuard<'_, Vec<Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to renew, somebody has used it since the last time, and nobody renews.
    pub(super) fn claim_renewal(&self, now: Time) -> bool {
        let Some(shared) = self.good(now) else { return false };
        let due = shared.renewed.plus(shared.life().mul_f64(RENEW_AT));
        now >= due
            && now >= self.later.get()
            && self.used.get() > shared.renewed
            && !self.renewing.swap(true, Ordering::AcqRel)
    }

    /// The renewal came to nothing: not again for a while.
    pub(super) fn try_later(&self, now: Time) {
        self.later.reach(now.plus(PAUSE.mul_f64(1.0 + fastrand::f64())));
        self.renewing.store(false, Ordering::Release);
    }

    /// Whether it can be forgotten.
    pub(super) fn idle(&self, now: Time) -> bool {
        self.good(now).is_none() && now.since(self.used.get()) > IDLE
    }
}

fn same(one: Option<&Arc<Secret>>, other: Option<&Arc<Secret>>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if Arc::ptr_eq(one, other))
}

#[cfg(test)]
mod tests;
