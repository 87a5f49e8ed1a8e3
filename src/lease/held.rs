//! One leased credential that is held here: what it is, whose, and what is known of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};

use super::answer::Countdown;
use super::key::Key;
use super::life::{Life, OwnerLife, Step};
use super::seen::{Doubts, Lack, Seen, Windows};
use crate::cache::generations::Stamp;
use crate::clock::Time;
use crate::exchange::Slot;
use crate::secret::{Credential, Fingerprint};
use crate::tenant::Charge;
use crate::upstream::Ask;

/// One credential, and the answer it came in.
#[derive(Debug)]
pub(super) struct Lease {
    /// No other has it.
    pub(super) serial: u64,
    /// What it is found by.
    pub(super) key: Key,
    /// What the upstream calls its lease; `None` where it has an end of its own instead.
    pub(super) id: Option<Box<str>>,
    /// Type of the engine it is from, as metrics show it.
    pub(super) engine: &'static str,
    /// When it was asked for.
    pub(super) asked: Time,
    /// When it came.
    pub(super) answered: Time,
    /// The headers it came with, without those of that moment.
    pub(super) headers: HeaderMap,
    /// The body it came in.
    pub(super) body: Countdown,
    /// Whom the upstream has issued it to.
    pub(super) holder: Holder,
    /// The request that it answers, as it was made upstream.
    pub(super) request: Ask,
    /// Handed out no longer than this without being read again: it is no secret made for its
    /// owner, but one that somebody may have changed.
    pub(super) fresh: Time,
    /// Nothing was written below its path since, where that matters.
    pub(super) stamp: Option<Stamp>,
    /// On whose account it is held; that of its successor too.
    pub(super) charge: Option<Arc<Charge>>,
    /// All about it that changes.
    pub(super) knowledge: Knowledge,
}

/// What is known of a credential by now.
#[derive(Debug)]
pub(super) struct Knowledge {
    state: Mutex<State>,
    vouching: AtomicBool,
    succession: AtomicBool,
    /// Whether its owner's uses are known not to be counted.
    countless: AtomicBool,
}

/// The upstream token that a credential was issued to, and dies with.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    /// The token.
    pub(super) credential: Arc<Credential>,
    /// The same as a header.
    pub(super) header: HeaderValue,
    /// Where it is, or was, the shared login.
    pub(super) slot: Option<Arc<Slot>>,
    /// When the token dies, as far as that was known.
    pub(super) ends: Time,
}

impl Holder {
    /// What stands for the token.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.credential.fingerprint
    }
}

#[derive(Debug)]
struct State {
    life: Life,
    /// As last known.
    owner_ends: Time,
    /// When it was last known to be good.
    confirmed: Seen,
    /// When its owner was last known to have the right to it; `None`: it has lost it.
    proven: Option<Seen>,
    /// Who has it, by what they brought, and until when they were told that it lives.
    borrowers: HashMap<Fingerprint, Time>,
    /// Whether there were more than could be noted.
    crowded: bool,
}

/// The same at an instant.
pub(super) struct Snapshot {
    pub(super) life: Life,
    pub(super) owner_ends: Time,
    /// `None`: that is in doubt.
    pub(super) confirmed: Option<Time>,
    /// The same.
    pub(super) proven: Option<Time>,
    pub(super) borrowers: HashMap<Fingerprint, Time>,
}

/// More than this borrow one credential on one node only where something is wrong; it is then never
/// revoked because the last one is gone.
const MOST_BORROWERS: usize = 4096;

impl Knowledge {
    /// Of one that was good when it was asked for, in `seen`, with a token that dies at `owner_ends`.
    pub(super) fn new(life: Life, owner_ends: Time, seen: Seen) -> Self {
        let state = State {
            life,
            owner_ends,
            confirmed: seen,
            proven: Some(seen),
            borrowers: HashMap::new(),
            crowded: false,
        };
        let (vouching, succession, countless) = Default::default();
        Self { state: Mutex::new(state), vouching, succession, countless }
    }
}

impl Lease {
    /// When it ends, by its lease or with the token it was issued to.
    pub(super) fn ends(&self) -> Time {
        let state = self.state();
        state.life.expires().min(state.owner_ends)
    }

    /// When its lease ends.
    pub(super) fn expires(&self) -> Time {
        self.state().life.expires()
    }

    /// Whether another has its place.
    pub(super) fn retired(&self) -> bool {
        self.state().life.retired()
    }

    /// Lets it live to its end, and no longer.
    pub(super) fn retire(&self) {
        self.state().life.retire();
    }

    /// Takes in when the token ends that it was issued to.
    pub(super) fn owner_ends(&self, ends: Time) {
        self.state().owner_ends = ends;
    }

    /// When it was last known to be there.
    pub(super) fn confirmed(&self) -> Time {
        self.state().confirmed.at
    }

    /// What is to be asked before it is handed out at `now`, if it lives.
    pub(super) fn lacks(&self, now: Time, windows: Windows) -> Lack {
        let state = self.state();
        let old =
            |seen: Seen, window| self.doubted(seen, windows.doubts) || now.since(seen.at) > window;
        Lack {
            right: state.proven.is_none_or(|proven| old(proven, windows.right)),
            confirmation: self.id.is_some() && old(state.confirmed, windows.confirmation),
        }
    }

    /// Whether something has happened since that may concern it. `doubts`: those of now.
    fn doubted(&self, seen: Seen, doubts: Doubts) -> bool {
        seen.doubts.all != doubts.all || self.holder.slot.is_none() && seen.doubts.own != doubts.own
    }

    /// Takes it that its owner has the right to it.
    pub(super) fn prove(&self, seen: Seen) {
        let mut state = self.state();
        if state.proven.is_none_or(|before| before.at <= seen.at) {
            state.proven = Some(seen);
        }
    }

    /// Its owner has lost the right to it: nobody looks after it any more.
    pub(super) fn disprove(&self, now: Time) {
        let mut state = self.state();
        state.proven = None;
        state.life.unwanted(now);
    }

    /// It may have ended: to be asked before it is handed out again.
    pub(super) fn doubt(&self) {
        self.state().confirmed.doubts = Doubts::OTHER;
    }

    /// Takes it that it is there; `left`: and for how much longer. Says whether that was news.
    pub(super) fn confirm(&self, seen: Seen, left: Option<Duration>) -> bool {
        let mut state = self.state();
        if state.confirmed.at > seen.at {
            return false;
        }
        state.confirmed = seen;
        // Whole seconds are what the upstream counts in: a difference of less is none.
        let off = |left: Duration| {
            let (ends, known) = (seen.at.plus(left), state.life.expires());
            ends.since(known).max(known.since(ends)) > Duration::from_secs(2)
        };
        let news = left.filter(|left| off(*left));
        if let Some(left) = news {
            state.life.ends(seen.at, left, None);
        }
        news.is_some()
    }

    /// A renewal was given `left` from `seen`; `requested` where it was ours. The longest life of its
    /// kind, if it is known by now.
    pub(super) fn renewed(
        &self,
        seen: Seen,
        left: Duration,
        requested: Option<Duration>,
    ) -> Option<Duration> {
        let mut state = self.state();
        state.life.ends(seen.at, left, requested);
        state.confirmed = seen;
        state.life.longest()
    }

    /// Runs what changes its life.
    pub(super) fn with_life<T>(&self, change: impl FnOnce(&mut Life) -> T) -> T {
        change(&mut self.state().life)
    }

    /// Whether its owner has another token by now than the one it was issued to.
    pub(super) fn succeeded(&self, now: Time) -> bool {
        let current = self.holder.slot.as_ref().and_then(|slot| slot.good(now));
        current.is_some_and(|shared| shared.credential.fingerprint != self.holder.fingerprint())
    }

    /// What is to be done for it.
    pub(super) fn step(&self, now: Time, succeeded: bool) -> Step {
        let state = self.state();
        state.life.step(now, OwnerLife { ends: state.owner_ends, succeeded })
    }

    /// Whether it is the lease `prefix` of that namespace, or below it.
    pub(super) fn below(&self, namespace: &str, prefix: &str) -> bool {
        let request = &self.key.request;
        let own = request.path[..request.namespace].trim_end_matches('/');
        let Some(rest) = self.id.as_ref().and_then(|id| id.strip_prefix(prefix)) else {
            return false;
        };
        own == namespace && (rest.is_empty() || rest.starts_with('/') || prefix.is_empty())
    }

    /// Lends it to whoever brought `borrower`, for as long as it lives: returned. Also whether it had
    /// been left to end.
    pub(super) fn lend(&self, borrower: Fingerprint, now: Time) -> (Duration, bool) {
        let mut state = self.state();
        let ends = state.life.expires().min(state.owner_ends);
        let full = state.borrowers.len() >= MOST_BORROWERS;
        if full && !state.borrowers.contains_key(&borrower) {
            state.borrowers.retain(|_, until| now < *until);
        }
        if state.borrowers.len() < MOST_BORROWERS || state.borrowers.contains_key(&borrower) {
            state.borrowers.insert(borrower, ends);
        } else {
            state.crowded = true;
        }
        (ends.since(now), state.life.handed_out(now))
    }

    /// Whether others than `borrower` have it.
    pub(super) fn others(&self, borrower: Fingerprint, now: Time) -> bool {
        let mut state = self.state();
        state.borrowers.retain(|_, until| now < *until);
        state.crowded || state.borrowers.keys().any(|other| *other != borrower)
    }

    /// Takes it back from `borrower`.
    pub(super) fn give_back(&self, borrower: Fingerprint) {
        self.state().borrowers.remove(&borrower);
    }

    /// Whether somebody who is to look after it does: it is wanted, and not succeeded.
    pub(super) fn looked_after(&self, now: Time) -> bool {
        self.state().life.looked_after(now)
    }

    /// Whether the caller is the first to see that its owner's uses are not counted.
    pub(super) fn claim_known(&self) -> bool {
        !self.knowledge.countless.swap(true, Ordering::AcqRel)
    }

    /// It is seen; so, `true`.
    pub(super) fn learn_known(&self) -> bool {
        self.knowledge.countless.store(true, Ordering::Release);
        true
    }

    /// Whether that was seen.
    pub(super) fn known(&self) -> bool {
        self.holder.slot.is_some() || self.knowledge.countless.load(Ordering::Acquire)
    }

    /// Whether the caller is the one to have it vouched for in the background: the first to ask.
    pub(super) fn claim_vouching(&self) -> bool {
        !self.knowledge.vouching.swap(true, Ordering::AcqRel)
    }

    /// Lets the next caller do so.
    pub(super) fn release_vouching(&self) {
        self.knowledge.vouching.store(false, Ordering::Release);
    }

    /// Whether the caller is the first to see that its owner has another token.
    pub(super) fn claim_succession(&self) -> bool {
        !self.knowledge.succession.swap(true, Ordering::AcqRel)
    }

    /// What is known of it beyond doubt. `doubts`: those of now.
    pub(super) fn snapshot(&self, doubts: Doubts) -> Snapshot {
        let state = self.state();
        let known = |seen: Seen| (!self.doubted(seen, doubts)).then_some(seen.at);
        Snapshot {
            life: state.life.clone(),
            owner_ends: state.owner_ends,
            confirmed: known(state.confirmed),
            proven: state.proven.and_then(known),
            borrowers: state.borrowers.clone(),
        }
    }

    /// What was known of it in an earlier process. What that cannot tell is to be asked; whether it is
    /// there, in any case.
    pub(super) fn recall(&self, confirmed: Option<Time>, proven: Option<Time>, doubts: Doubts) {
        let mut state = self.state();
        let seen = |at| Seen { at, doubts };
        let never = Seen { at: self.asked, doubts: Doubts::OTHER };
        state.confirmed = confirmed.map_or(never, seen);
        state.proven = proven.map(seen);
    }

    /// `borrower` was told in an earlier process that it lives until then.
    pub(super) fn borrowed(&self, borrower: Fingerprint, until: Time) {
        self.state().borrowers.insert(borrower, until);
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.knowledge.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
