//! A cached answer: how long it may be served, and to whom.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use super::generations::Stamp;
use crate::clock::Time;
use crate::error::Trouble;
use crate::identity::Class;
use crate::kv::answer::Answer;
use crate::tenant::Charge;

/// An upstream answer, shared by all rights classes, served only against a proof.
#[derive(Debug)]
pub struct Entry {
    /// What the upstream said.
    pub answer: Arc<Answer>,
    /// When its request left.
    pub asked: Time,
    /// When it came back.
    pub answered: Time,
    /// How long it may be served.
    pub life: Life,
    /// The generation it was read under.
    pub stamp: Stamp,
    proofs: RwLock<Vec<Proof>>,
    refreshing: AtomicBool,
    charge: OnceLock<Arc<Charge>>,
}

/// The instants at which an [`Entry`] stops being good for something. In this order, except that
/// nothing outlasts `end`.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// A hot entry is refreshed in the background from here on.
    pub refresh: Time,
    /// Served without asking the upstream until here.
    pub fresh: Time,
    /// Served while the upstream fails until here.
    pub stale_if_error: Time,
    /// Served while the upstream is sealed until here.
    pub stale_if_sealed: Time,
    /// `deletion_time`, or a KV v1 `ttl`: never served from here on.
    pub end: Time,
}

/// "This rights class may read this", as the upstream itself has answered.
#[derive(Clone, Copy, Debug)]
struct Proof {
    class: Class,
    /// When the request left that the upstream answered.
    at: Time,
}

/// More classes than this read one secret on one node only where something is wrong; the oldest
/// proof gives way, and its class asks the upstream again.
const MOST_PROOFS: usize = 512;

impl Entry {
    /// Without any proof. `times`: when it was asked for, and when it was answered.
    pub fn new(answer: Arc<Answer>, times: (Time, Time), life: Life, stamp: Stamp) -> Self {
        let (asked, answered) = times;
        let (proofs, refreshing, charge) = Default::default();
        Self { answer, asked, answered, life, stamp, proofs, refreshing, charge }
    }

    /// Keeps it on the account that `charge` is on; `false`: it has one already.
    pub fn keep_for(&self, charge: Arc<Charge>) -> bool {
        self.charge.set(charge).is_ok()
    }

    /// What it is kept on.
    pub fn charge(&self) -> Option<Arc<Charge>> {
        self.charge.get().cloned()
    }

    /// The newest proof of `class`.
    pub fn proven(&self, class: Class) -> Option<Time> {
        let proofs = self.proofs.read().unwrap_or_else(PoisonError::into_inner);
        proofs.iter().find(|proof| proof.class == class).map(|proof| proof.at)
    }

    /// All of them.
    pub fn proofs(&self) -> Vec<(Class, Time)> {
        let proofs = self.proofs.read().unwrap_or_else(PoisonError::into_inner);
        proofs.iter().map(|proof| (proof.class, proof.at)).collect()
    }

    /// Adds what the upstream has shown for `class`, unless it has shown it later still.
    pub fn prove(&self, class: Class, at: Time) {
        let mut proofs = self.proofs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(proof) = proofs.iter_mut().find(|proof| proof.class == class) {
            proof.at = proof.at.max(at);
            return;
        }
        if proofs.len() >= MOST_PROOFS {
            proofs.remove(0);
        }
        proofs.push(Proof { class, at });
    }

    /// Withdraws the proof of `class`: the upstream has refused it.
    pub fn disprove(&self, class: Class) {
        let mut proofs = self.proofs.write().unwrap_or_else(PoisonError::into_inner);
        proofs.retain(|proof| proof.class != class);
    }

    /// Takes over the proofs of the entry this one replaces: they are of the request, not of what
    /// was answered.
    pub fn inherit(&self, older: &Self) {
        let proofs = older.proofs.read().unwrap_or_else(PoisonError::into_inner).clone();
        for Proof { class, at } in proofs {
            self.prove(class, at);
        }
    }

    /// Whether the caller is the one to refresh this entry in the background: the first to ask.
    pub fn claim_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::AcqRel)
    }

    /// Lets the next caller try: the refresh came to nothing.
    pub fn release_refresh(&self) {
        self.refreshing.store(false, Ordering::Release);
    }

    /// Until when it may be served.
    pub fn until(&self, trouble: Option<Trouble>) -> Time {
        let until = match trouble {
            None => self.life.fresh,
            Some(Trouble::Failing) => self.life.stale_if_error,
            Some(Trouble::Sealed) => self.life.stale_if_sealed,
        };
        until.min(self.life.end)
    }

    /// How long past their window rights to it are believed under `trouble`.
    pub fn grace(&self, trouble: Trouble) -> Duration {
        match trouble {
            Trouble::Failing => self.life.stale_if_error.since(self.life.fresh),
            Trouble::Sealed => self.life.stale_if_sealed.since(self.life.fresh),
        }
    }
}
