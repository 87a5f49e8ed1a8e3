//! How long does a request wait for a server that has others to answer?
//!
//! Work comes in and is done at the rate of the cores there are, in the order in which it came. What
//! is simulated may be a part of a cluster only: then each request stands for as many like it, all at
//! the same time, and finds itself in the middle of them.

use std::time::Duration;

use tokio::time::Instant;

/// A server's work.
#[derive(Debug)]
pub(super) struct Queue {
    /// `None`: nobody ever waits.
    cores: Option<f64>,
    /// How many requests each one stands for.
    stands_for: f64,
    /// When all that has come so far is done.
    idle_from: Instant,
}

impl Queue {
    pub(super) fn new(cores: Option<f64>, stands_for: f64) -> Self {
        Self { cores, stands_for, idle_from: Instant::now() }
    }

    /// When a request that comes `now` and takes `cost` of CPU time is answered.
    pub(super) fn answered(&mut self, now: Instant, cost: Duration) -> Instant {
        let Some(cores) = self.cores else { return now + cost };
        let begins = self.idle_from.max(now);
        let all = cost.mul_f64(self.stands_for / cores);
        self.idle_from = begins + all;
        let before_it = cost.mul_f64((self.stands_for - 1.0).max(0.0) / (2.0 * cores));
        begins + before_it + cost
    }

    /// What came is not going to be answered: the server has ended.
    pub(super) fn forget(&mut self, now: Instant) {
        self.idle_from = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn work_waits_for_work() {
        let now = Instant::now();
        for (cores, stands_for, expected) in [
            // One after the other.
            (Some(1.0), 1.0, [10, 20, 30]),
            // Two cores do two in the time of one.
            (Some(2.0), 1.0, [10, 15, 20]),
            // Each brings nine like it, and is in their middle.
            (Some(1.0), 9.0, [50, 140, 230]),
            (None, 9.0, [10, 10, 10]),
        ] {
            let mut queue = Queue::new(cores, stands_for);
            let answered = [0; 3].map(|_| queue.answered(now, 10 * MS).duration_since(now));
            assert_eq!(answered, expected.map(|ms| ms * MS), "{cores:?} {stands_for}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_to_do_begins_at_once() {
        let mut queue = Queue::new(Some(1.0), 1.0);
        queue.answered(Instant::now(), 10 * MS);
        let later = Instant::now() + 500 * MS;

        assert_eq!(queue.answered(later, 10 * MS), later + 10 * MS);
    }
}
