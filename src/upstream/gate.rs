//! How many requests may be under way, who of those that wait is next, and how often one may be
//! sent again.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::Error;
use crate::tenant::Tenant;

mod line;

use line::{Line, Ticket};

/// The bound on requests in flight, with a bounded line before it. Whoever is next when a place
/// becomes free is a matter of turns, not of who asked most.
#[derive(Debug)]
pub(super) struct Gate {
    hall: Arc<Mutex<Hall>>,
    patience: Duration,
}

/// Nobody waits while a place is free.
#[derive(Debug)]
struct Hall {
    free: usize,
    line: Line<oneshot::Sender<Place>>,
}

/// One place among the requests in flight; the next one's when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Mutex<Hall>>);

impl Gate {
    /// `places` at once, `max_waiting` in the line, and nobody there for longer than `patience`
    /// or ten seconds: a caller is better told to come back than kept.
    pub(super) fn new(places: usize, max_waiting: usize, patience: Duration) -> Self {
        let hall = Hall { free: places, line: Line::new(max_waiting) };
        Self { hall: Arc::new(Mutex::new(hall)), patience: patience.min(Duration::from_secs(10)) }
    }

    /// A place, once it is `tenant`'s turn. `waits`: told whether it is not yet.
    ///
    /// # Errors
    /// The line is full, whether now or because others who have less in it came later; or it took
    /// too long.
    pub(super) async fn enter(&self, tenant: Tenant, waits: &AtomicBool) -> Result<Place, Error> {
        let (call, called) = oneshot::channel();
        let joined = {
            let mut hall = lock(&self.hall);
            if hall.free > 0 {
                hall.free -= 1;
                return Ok(Place(Arc::clone(&self.hall)));
            }
            hall.line.join(tenant, call)
        };
        let (ticket, displaced) = joined.ok_or(Error::Overloaded)?;
        // Who is not called any more learns it from this.
        drop(displaced);
        waits.store(true, Ordering::Release);
        let _waiting = Waiting { hall: &self.hall, ticket, waits };
        match timeout(self.patience, called).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Error::Overloaded),
        }
    }
}

/// One who stands in the line; a caller who hangs up leaves it.
struct Waiting<'a> {
    hall: &'a Mutex<Hall>,
    ticket: Ticket,
    waits: &'a AtomicBool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Outside the lock: what is dropped wakes somebody.
        let left = lock(self.hall).line.leave(self.ticket);
        drop(left);
        self.waits.store(false, Ordering::Release);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut hall = lock(&self.0);
            let next = hall.line.next();
            hall.free += usize::from(next.is_none());
            next
        };
        if let Some(next) = next {
            // Given to one who has just left, it comes back and is the next one's.
            drop(next.send(Self(Arc::clone(&self.0))));
        }
    }
}

/// Never held across an `await`, and nothing panics while it is held.
fn lock(hall: &Mutex<Hall>) -> MutexGuard<'_, Hall> {
    hall.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many retries the requests of late have earned: one for ten, and ten at most in hand, so
/// that retries never add more than a tenth to the load of an upstream in trouble.
#[derive(Debug)]
pub(super) struct Budget(AtomicI64);

const RETRY_COST: i64 = 10;
const MOST: i64 = 10 * RETRY_COST;

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicI64::new(MOST))
    }
}

impl Budget {
    /// A request was made.
    pub(super) fn earn(&self) {
        if self.0.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether another attempt may be made.
    pub(super) fn spend(&self) -> bool {
        if self.0.fetch_sub(RETRY_COST, Ordering::Relaxed) >= RETRY_COST {
            return true;
        }
        self.0.fetch_add(RETRY_COST, Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests;
