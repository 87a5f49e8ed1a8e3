//! How many requests may be under way, how many may wait, and how often one may be sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// The bound on requests in flight, with a bounded queue before it.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    patience: Duration,
}

/// One place among the requests in flight, free again when dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

impl Gate {
    /// `places` at once, `max_waiting` in the queue, and nobody there for longer than `patience`
    /// or ten seconds: a caller is better told to come back than kept.
    pub(super) fn new(places: usize, max_waiting: usize, patience: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            waiting: AtomicUsize::new(0),
            max_waiting,
            patience: patience.min(Duration::from_secs(10)),
        }
    }

    /// A place, once there is one.
    pub(super) async fn enter(&self) -> Result<Place, Error> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Place(permit));
        }
        let _queued = Queued::join(&self.waiting, self.max_waiting).ok_or(Error::Overloaded)?;
        let permit = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(self.patience, permit).await {
            Ok(Ok(permit)) => Ok(Place(permit)),
            _ => Err(Error::Overloaded),
        }
    }
}

/// One place in the queue; a caller who hangs up gives it back.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn join(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let queued = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < most).then_some(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
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
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_a_long_wait_is_cut() {
        let gate = Gate::new(1, 1, Duration::from_mins(1));
        let inside = gate.enter().await.unwrap();
        let began = tokio::time::Instant::now();

        let (waited, refused) = tokio::join!(gate.enter(), async {
            tokio::task::yield_now().await;
            (gate.enter().await, began.elapsed())
        });

        assert!(matches!(waited, Err(Error::Overloaded)));
        assert!(matches!(refused, (Err(Error::Overloaded), Duration::ZERO)));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        drop(inside);
        assert!(gate.enter().await.is_ok(), "the queue is empty again");
    }

    #[test]
    fn retries_are_a_tenth_of_the_requests() {
        let budget = Budget::default();
        while budget.spend() {}

        (0..9).for_each(|_| budget.earn());
        assert!(!budget.spend());
        budget.earn();
        assert!(budget.spend());
        assert!(!budget.spend());
    }
}
