//! Which credentials does this node hold?
//!
//! Each is found by what it was asked for, while it is the one to hand out, and by its lease id for
//! as long as it lives. When something is to be done for it is on the one [`Agenda`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::agenda::Agenda;
use super::held::Lease;
use super::key::{Key, Request};
use crate::clock::Time;

/// More credentials than this are not held on one node; further ones pass through.
pub(super) const MOST_LEASES: usize = 50_000;

/// Longest lives remembered. They are hints: one that is lost is learnt again.
const MOST_LONGEST: usize = 20_000;

/// How long they are believed: a role may be given more.
const BELIEVED: Duration = Duration::from_hours(24);

/// The credentials.
#[derive(Debug)]
pub(super) struct Table(Mutex<Held>);

#[derive(Debug)]
struct Held {
    current: HashMap<Key, Arc<Lease>>,
    all: HashMap<u64, Arc<Lease>>,
    by_id: HashMap<Box<str>, u64>,
    agenda: Agenda,
    /// How long a credential of this kind can live, as others have shown.
    longest: HashMap<Request, (Duration, Time)>,
    serial: u64,
    count: HashMap<&'static str, usize>,
    /// Of the bodies of all of them.
    bytes: u64,
}

impl Table {
    /// Holds none yet; `per_second`: how many may be seen to in a second.
    pub(super) fn new(per_second: u32, now: Time) -> Self {
        let agenda = Agenda::new(per_second, now);
        let (current, all, by_id, longest, count) = Default::default();
        Self(Mutex::new(Held { current, all, by_id, agenda, longest, serial: 0, count, bytes: 0 }))
    }

    /// The one to hand out.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Lease>> {
        self.lock().current.get(key).cloned()
    }

    /// The one with this lease id, in its place or not.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Lease>> {
        let held = self.lock();
        held.all.get(held.by_id.get(id)?).cloned()
    }

    /// A number that no other credential has.
    pub(super) fn serial(&self) -> u64 {
        let mut held = self.lock();
        held.serial += 1;
        held.serial
    }

    /// Takes one in, to be seen to at `at`; the one it succeeds, if there is one, lives to its end.
    /// `false`: there is no room.
    pub(super) fn put(&self, lease: &Arc<Lease>, at: Time) -> bool {
        let mut held = self.lock();
        if held.all.len() >= MOST_LEASES {
            return false;
        }
        if let Some(id) = &lease.id {
            held.by_id.insert(id.clone(), lease.serial);
        }
        held.all.insert(lease.serial, Arc::clone(lease));
        *held.count.entry(lease.engine).or_default() += 1;
        held.bytes += lease.body.as_it_came().len() as u64;
        held.agenda.put(lease.serial, at, lease.expires());
        if lease.retired() {
            return true;
        }
        let before = held.current.insert(lease.key.clone(), Arc::clone(lease));
        drop(held);
        match before {
            // It was read again: there is nothing in the old one that anybody holds on to.
            Some(before) if before.fresh < Time::NEVER => {
                self.remove(&before);
            }
            Some(before) => before.retire(),
            None => (),
        }
        true
    }

    /// The same, for one that could not be seen to, and so cost nothing.
    pub(super) fn put_off(&self, lease: &Lease, at: Time) {
        self.remind(lease, at);
        self.lock().agenda.refund();
    }

    /// Has it seen to at `at`.
    pub(super) fn remind(&self, lease: &Lease, at: Time) {
        let expires = lease.expires();
        let mut held = self.lock();
        if held.all.contains_key(&lease.serial) {
            held.agenda.put(lease.serial, at, expires);
        }
    }

    /// Takes it out of its place: it is not handed out any more, and lives to its end.
    pub(super) fn retire(&self, lease: &Arc<Lease>) {
        lease.retire();
        let mut held = self.lock();
        if held.current.get(&lease.key).is_some_and(|it| it.serial == lease.serial) {
            held.current.remove(&lease.key);
        }
    }

    /// Forgets it: it has ended. `false`: that was known.
    pub(super) fn remove(&self, lease: &Arc<Lease>) -> bool {
        self.retire(lease);
        let mut held = self.lock();
        held.agenda.remove(lease.serial);
        if let Some(id) = &lease.id {
            held.by_id.remove(id);
        }
        let known = held.all.remove(&lease.serial).is_some();
        if let Some(count) = held.count.get_mut(lease.engine).filter(|_| known) {
            *count -= 1;
            held.bytes -= lease.body.as_it_came().len() as u64;
        }
        known
    }

    /// Those that are to be seen to now, as many as may be.
    pub(super) fn due(&self, now: Time) -> Vec<Arc<Lease>> {
        let mut held = self.lock();
        let due = held.agenda.take(now);
        due.into_iter().filter_map(|serial| held.all.get(&serial).cloned()).collect()
    }

    /// When to ask for those next.
    pub(super) fn next(&self, now: Time) -> Option<Time> {
        self.lock().agenda.next(now)
    }

    /// All of which `which` is true.
    pub(super) fn select(&self, which: impl Fn(&Lease) -> bool) -> Vec<Arc<Lease>> {
        self.lock().all.values().filter(|lease| which(lease)).cloned().collect()
    }

    /// How many there are, and the bytes of what callers get of them.
    pub(super) fn size(&self) -> (u64, u64) {
        let held = self.lock();
        (held.all.len() as u64, held.bytes)
    }

    /// How long a credential for this request can live, if one has shown it.
    pub(super) fn longest(&self, request: &Request, now: Time) -> Option<Duration> {
        let held = self.lock();
        let (longest, learnt) = held.longest.get(request)?;
        (now.since(*learnt) < BELIEVED).then_some(*longest)
    }

    /// Whether another would find no room.
    pub(super) fn full(&self) -> bool {
        self.lock().all.len() >= MOST_LEASES
    }

    /// Remembers that.
    pub(super) fn learn_longest(&self, request: &Request, longest: Duration, now: Time) {
        let mut held = self.lock();
        if held.longest.len() >= MOST_LONGEST {
            held.longest.clear();
        }
        held.longest.insert(request.clone(), (longest, now));
    }

    /// How many there are of each engine that there were any of.
    pub(super) fn count(&self) -> Vec<(&'static str, usize)> {
        self.lock().count.iter().map(|(engine, count)| (*engine, *count)).collect()
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
