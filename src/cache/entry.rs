//! A cached answer: how long it may be served, and to whom.

use std::cmp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

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
    pub answer: Answer,
    /// When its request left.
    pub asked: Time,
    /// When it came back.
    pub answered: Time,
    /// How long it may be served.
    pub life: Life,
    /// The generation it was read under.
    pub stamp: Stamp,
    proofs: Mutex<Proofs>,
    refreshing: AtomicBool,
    /// On whose account it is kept; `None`: it is not, and goes to who asked alone.
    charge: Option<Charge>,
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

/// Most entries are read by one class: its proof needs no memory of its own.
type Proofs = SmallVec<[Proof; 1]>;

/// More classes than this read one secret on one node only where something is wrong; the oldest
/// proof gives way, and its class asks the upstream again.
const MOST_PROOFS: usize = 512;

impl Entry {
    /// Without any proof. `times`: when it was asked for, and when it was answered.
    pub fn new(
        answer: Answer,
        times: (Time, Time),
        life: Life,
        stamp: Stamp,
        charge: Option<Charge>,
    ) -> Self {
        let (asked, answered) = times;
        let (proofs, refreshing) = Default::default();
        Self { answer, asked, answered, life, stamp, proofs, refreshing, charge }
    }

    /// What it is kept on, once more.
    pub fn charge(&self) -> Option<Charge> {
        self.charge.clone()
    }

    /// The newest proof of `class`.
    pub fn proven(&self, class: Class) -> Option<Time> {
        self.lock().iter().find(|proof| proof.class == class).map(|proof| proof.at)
    }

    /// All of them.
    pub fn proofs(&self) -> Vec<(Class, Time)> {
        self.lock().iter().map(|proof| (proof.class, proof.at)).collect()
    }

    /// Adds what the upstream has shown for `class`, unless it has shown it later still.
    pub fn prove(&self, class: Class, at: Time) {
        let mut proofs = self.lock();
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
        self.lock().retain(|proof| proof.class != class);
    }

    /// Takes over the proofs of the entry this one replaces: they are of the request, not of what
    /// was answered.
    pub fn inherit(&self, older: &Self) {
        for (class, at) in older.proofs() {
            self.prove(class, at);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Proofs> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this shows what was there later than what `other` shows; `None`: each was on its way
    /// while the other was, and they do not say.
    pub fn order(&self, other: &Self) -> Option<cmp::Ordering> {
        let asked = self.asked.cmp(&other.asked);
        if self.asked >= other.answered || other.asked > self.answered {
            return Some(asked);
        }
        self.answer.order(&other.answer).map(|order| order.then(asked))
    }

    /// Whether the caller is the one to refresh this entry in the background: the first to ask.
    pub fn claim_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::AcqRel)
    }

    /// Lets the next caller try: the refresh came to nothing.
    pub fn release_refresh(&self) {
        self.refreshing.store(false, Ordering::Release);
    }
}

impl Life {
    /// Until when it may be served.
    pub fn until(&self, trouble: Option<Trouble>) -> Time {
        let until = match trouble {
            None => self.fresh,
            Some(Trouble::Failing) => self.stale_if_error,
            Some(Trouble::Sealed) => self.stale_if_sealed,
        };
        until.min(self.end)
    }

    /// How long past their window rights to it are believed under `trouble`.
    pub fn grace(&self, trouble: Trouble) -> Duration {
        match trouble {
            Trouble::Failing => self.stale_if_error.since(self.fresh),
            Trouble::Sealed => self.stale_if_sealed.since(self.fresh),
        }
    }
}
