//! One leased credential that is held here: what it is, whose, and what is known of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};

use super::answer::Countdown;
use super::key::Key;
use super::life::{Life, OwnerLife, Step};
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
    state: Mutex<State>,
    vouching: AtomicBool,
    succession: AtomicBool,
    _charge: Option<Charge>,
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

/// Something was so, as of a request that left then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// When that was.
    pub(super) at: Time,
    /// How many doubts had been cast on all of them by then.
    pub(super) epoch: u64,
}

/// What has to be asked before it may be handed out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lack {
    /// Whether its owner still has the right to it.
    pub(super) right: bool,
    /// Whether it is still there.
    pub(super) confirmation: bool,
}

impl Lack {
    /// Whether anything has.
    pub(super) fn any(self) -> bool {
        self.right || self.confirmation
    }
}

/// What holds of all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// W: how long a right is believed.
    pub(super) right: Duration,
    /// How long it is believed that it is there.
    pub(super) confirmation: Duration,
    /// How many doubts were cast on all of them so far.
    pub(super) epoch: u64,
}

/// More than this borrow one credential on one node only where something is wrong; it is then never
/// revoked because the last one is gone.
const MOST_BORROWERS: usize = 4096;

/// Everything a [`Lease`] begins with.
pub(super) struct Birth {
    pub(super) serial: u64,
    pub(super) key: Key,
    pub(super) id: Option<Box<str>>,
    pub(super) engine: &'static str,
    pub(super) times: (Time, Time),
    pub(super) headers: HeaderMap,
    pub(super) body: Countdown,
    pub(super) holder: Holder,
    pub(super) request: Ask,
    pub(super) fresh: Time,
    pub(super) stamp: Option<Stamp>,
    pub(super) life: Life,
    pub(super) epoch: u64,
    pub(super) charge: Option<Charge>,
}

impl Lease {
    pub(super) fn new(birth: Birth) -> Self {
        let (asked, answered) = birth.times;
        let seen = Seen { at: asked, epoch: birth.epoch };
        Self {
            serial: birth.serial,
            key: birth.key,
            id: birth.id,
            engine: birth.engine,
            asked,
            answered,
            headers: birth.headers,
            body: birth.body,
            holder: birth.holder,
            request: birth.request,
            fresh: birth.fresh,
            stamp: birth.stamp,
            state: Mutex::new(State {
                life: birth.life,
                owner_ends: Time::NEVER,
                confirmed: seen,
                proven: Some(seen),
                borrowers: HashMap::new(),
                crowded: false,
            }),
            vouching: AtomicBool::new(false),
            succession: AtomicBool::new(false),
            _charge: birth.charge,
        }
    }

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
        let old = |seen: Seen, window| seen.epoch != windows.epoch || now.since(seen.at) > window;
        Lack {
            right: state.proven.is_none_or(|proven| old(proven, windows.right)),
            confirmation: self.id.is_some() && old(state.confirmed, windows.confirmation),
        }
    }

    /// Takes it that its owner has the right to it.
    pub(super) fn prove(&self, seen: Seen) {
        let mut state = self.state();
        if state.proven.is_none_or(|before| before.at <= seen.at) {
            state.proven = Some(seen);
        }
    }

    /// Its owner has lost the right to it.
    pub(super) fn disprove(&self) {
        self.state().proven = None;
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

    /// Takes it back from `borrower`; says whether others have it still.
    pub(super) fn give_back(&self, borrower: Fingerprint, now: Time) -> bool {
        let mut state = self.state();
        state.borrowers.remove(&borrower);
        state.borrowers.retain(|_, until| now < *until);
        state.crowded || !state.borrowers.is_empty()
    }

    /// `borrower` has it no more.
    pub(super) fn detach(&self, borrower: Fingerprint) {
        self.state().borrowers.remove(&borrower);
    }

    /// Whether the caller is the one to have it vouched for in the background: the first to ask.
    pub(super) fn claim_vouching(&self) -> bool {
        !self.vouching.swap(true, Ordering::AcqRel)
    }

    /// Lets the next caller do so.
    pub(super) fn release_vouching(&self) {
        self.vouching.store(false, Ordering::Release);
    }

    /// Whether the caller is the first to see that its owner has another token.
    pub(super) fn claim_succession(&self) -> bool {
        !self.succession.swap(true, Ordering::AcqRel)
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
