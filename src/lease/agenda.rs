//! Which leases are to be seen to, and when?
//!
//! One structure for all leases of a node. What is due is given out within a budget, and if that
//! is too small for all, whatever ends soonest goes first.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::clock::Time;

/// When each lease is due. An id stands for a lease, once at most.
#[derive(Debug)]
pub struct Agenda {
    /// By when they are due.
    later: BTreeSet<(Time, u64)>,
    /// Due, and waiting for the budget: by when they expire.
    waiting: BTreeSet<(Time, u64)>,
    /// Both, to find them again.
    places: HashMap<u64, Place>,
    /// What each costs: its share of a second.
    price: Duration,
    /// How much may be owed.
    credit: Duration,
    /// What `paid` is counted from.
    start: Time,
    /// When all that was given out is paid for. (The generic cell rate algorithm, as in
    /// `Tenants`.)
    paid: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: Time,
    expires: Time,
}

impl Agenda {
    /// Nothing yet. Gives out `per_second`, of which a quarter of a second's worth at once.
    pub fn new(per_second: u32, now: Time) -> Self {
        let price = Duration::from_secs(1) / per_second.max(1);
        Self {
            later: BTreeSet::new(),
            waiting: BTreeSet::new(),
            places: HashMap::new(),
            price,
            credit: price.max(Duration::from_millis(250)),
            start: now,
            paid: Duration::ZERO,
        }
    }

    /// `id` is due at `at`, and of no more use at `expires`. Takes the place of what was said of
    /// it before.
    pub fn put(&mut self, id: u64, at: Time, expires: Time) {
        self.remove(id);
        self.later.insert((at, id));
        self.places.insert(id, Place { at, expires });
    }

    /// Forgets `id`.
    pub fn remove(&mut self, id: u64) {
        if let Some(Place { at, expires }) = self.places.remove(&id) {
            let _ = self.later.remove(&(at, id)) || self.waiting.remove(&(expires, id));
        }
    }

    /// When [`take`](Self::take) will have something, unless something is put or removed
    /// meanwhile: not before `now`. `None` if there is nothing at all.
    pub fn next(&self, now: Time) -> Option<Time> {
        let due = if self.waiting.is_empty() { self.later.first()?.0 } else { now };
        let affordable = self.start.plus((self.paid + self.price).saturating_sub(self.credit));
        Some(due.max(affordable).max(now))
    }

    /// What is due, as far as the budget goes, and forgets it. Soonest to expire first; the rest
    /// waits.
    pub fn take(&mut self, now: Time) -> Vec<u64> {
        while let Some(&(at, id)) = self.later.first().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, id));
            let expires = self.places.get(&id).map_or(at, |place| place.expires);
            self.waiting.insert((expires, id));
        }
        let now = now.since(self.start);
        let mut taken = Vec::new();
        while !self.waiting.is_empty() {
            let paid = self.paid.max(now) + self.price;
            if paid.saturating_sub(now) > self.credit {
                break;
            }
            self.paid = paid;
            let Some((_, id)) = self.waiting.pop_first() else { break };
            self.places.remove(&id);
            taken.push(id);
        }
        taken
    }

    /// One that was given out came to nothing: it costs nothing.
    pub fn refund(&mut self) {
        self.paid = self.paid.saturating_sub(self.price);
    }

    /// How many there are, due or not.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// When to renew what is good for `life` from `from` on: after `share` of that, with ±10 % jitter,
/// so that what was issued together is not renewed together. Never past 0.95 of it.
pub fn renewal(from: Time, life: Duration, share: f64) -> Time {
    let share = share * (0.9 + 0.2 * fastrand::f64());
    from.plus(life.mul_f64(share.clamp(0.0, LATEST)))
}

/// Of a lease's life. A renewal takes a moment, too.
const LATEST: f64 = 0.95;

/// How long to wait after so many `failures` in a row, of what is good for `left`: a second,
/// doubled each time up to a minute, with ±25 % jitter; a third of `left` at most, so that two more
/// attempts fit in; at least 250 ms.
pub fn back_off(failures: u32, left: Duration) -> Duration {
    const SOONEST: Duration = Duration::from_millis(250);
    let seconds = (1 << failures.saturating_sub(1).min(6)).min(60);
    let wait = Duration::from_secs(seconds);
    wait.mul_f64(0.75 + 0.5 * fastrand::f64()).min(left / 3).max(SOONEST)
}

#[cfg(test)]
mod tests;
