//! How much may be asked of an upstream that has just come back?
//!
//! After an outage all that has become stale meanwhile is due at once. A state machine without I/O
//! gives each request of vaultlet's own a time to leave, so that the upstream sees no more than a
//! configured rate, until that has been enough for a while.

use std::time::Duration;

use crate::clock::Time;

/// Ends once nobody has had to wait for so long.
const CALM: Duration = Duration::from_secs(5);

/// Nobody waits longer: what is asked for later is better asked for again.
const PATIENCE: Duration = Duration::from_secs(4);

/// Ends in any case: an upstream that has been back for so long can bear what is asked of it.
const LONGEST: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub(super) struct Recovery {
    /// Between two requests.
    gap: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The upstream has been there all the while.
    Calm,
    /// It cannot be asked. `sealed`: by an operator's act.
    Out { sealed: bool },
    /// It is back.
    Back {
        since: Time,
        /// Whether it was sealed until then.
        sealed: bool,
        /// When the next request may leave.
        next: Time,
        /// When somebody last had to wait.
        crowded: Time,
    },
}

impl Recovery {
    /// `rate`: requests a second.
    pub(super) fn new(rate: u32) -> Self {
        Self { gap: Duration::from_secs(1) / rate.max(1), state: State::Calm }
    }

    /// The upstream cannot be asked; `sealed`: as it says that it is sealed.
    pub(super) fn out(&mut self, sealed: bool) {
        self.state = State::Out { sealed };
    }

    /// It can. Nothing new unless it could not before.
    pub(super) fn back(&mut self, now: Time) {
        if let State::Out { sealed } = self.state {
            self.state = State::Back { since: now, sealed, next: now, crowded: now };
        }
    }

    /// Whether who has something that may stand in for the upstream's answer should use that:
    /// there is a wait, and the upstream has been back for less than `window`. Never after a seal,
    /// during which nothing stood in.
    pub(super) fn crowded(&mut self, window: Duration, now: Time) -> bool {
        self.settle(now);
        match &mut self.state {
            State::Back { since, sealed: false, next, crowded }
                if *next > now && now.since(*since) < window =>
            {
                *crowded = now;
                true
            }
            _ => false,
        }
    }

    /// How long the next request has to wait before it leaves; `None`: too long, and nobody should
    /// wait behind those who do already.
    pub(super) fn turn(&mut self, now: Time) -> Option<Duration> {
        self.settle(now);
        let gap = self.gap;
        let State::Back { next, crowded, .. } = &mut self.state else {
            return Some(Duration::ZERO);
        };
        let leaves = (*next).max(now);
        if leaves > now {
            *crowded = now;
        }
        if leaves.since(now) > PATIENCE {
            return None;
        }
        // Never faster than the rate, and the nodes of a cluster do not march in step.
        *next = leaves.plus(gap.mul_f64(1.0 + 0.1 * fastrand::f64()));
        Some(leaves.since(now))
    }

    fn settle(&mut self, now: Time) {
        if let State::Back { since, crowded, .. } = self.state
            && (now.since(crowded) >= CALM || now.since(since) >= LONGEST)
        {
            self.state = State::Calm;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const RATE: u32 = 100;

    fn back() -> (Recovery, Clock) {
        let (mut recovery, clock) = (Recovery::new(RATE), Clock::manual());
        recovery.out(false);
        recovery.back(clock.now());
        (recovery, clock)
    }

    #[test]
    fn nobody_waits_where_there_was_no_outage() {
        let (mut recovery, clock) = (Recovery::new(RATE), Clock::manual());
        recovery.back(clock.now());
        for _ in 0..1000 {
            assert_eq!(recovery.turn(clock.now()), Some(Duration::ZERO));
            assert!(!recovery.crowded(CALM, clock.now()));
        }
    }

    #[test]
    fn after_one_they_leave_at_the_rate() {
        let (mut recovery, clock) = back();
        let waits: Vec<_> = (0..10 * RATE).filter_map(|_| recovery.turn(clock.now())).collect();

        for second in 0..PATIENCE.as_secs() {
            let second = Duration::from_secs(second)..Duration::from_secs(second + 1);
            let count = waits.iter().filter(|wait| second.contains(*wait)).count();
            assert!((90..=100).contains(&count), "{count} in {second:?}");
        }
        assert!(recovery.crowded(CALM, clock.now()));
    }

    #[test]
    fn nobody_waits_behind_a_line_that_is_too_long() {
        let (mut recovery, clock) = back();
        let waits: Vec<_> = (0..100 * RATE).map(|_| recovery.turn(clock.now())).collect();

        assert!(waits.iter().flatten().all(|wait| *wait <= PATIENCE));
        assert_eq!(waits.last(), Some(&None));
        clock.advance(Duration::from_secs(1));
        assert!(recovery.turn(clock.now()).is_some(), "the others have left, and those are gone");
    }

    #[test]
    fn nothing_stands_in_after_a_seal() {
        let (mut recovery, clock) = (Recovery::new(RATE), Clock::manual());
        recovery.out(true);
        recovery.back(clock.now());
        for _ in 0..10 * RATE {
            recovery.turn(clock.now());
        }
        assert!(!recovery.crowded(CALM, clock.now()));
        assert_ne!(
            recovery.turn(clock.now()),
            Some(Duration::ZERO),
            "the rate is kept all the same"
        );
    }

    #[test]
    fn what_stands_in_does_so_for_a_window() {
        let (mut recovery, clock) = back();
        for _ in 0..10 * RATE {
            recovery.turn(clock.now());
        }
        let window = Duration::from_secs(3);
        clock.advance(window.saturating_sub(Duration::from_nanos(1)));
        assert!(recovery.crowded(window, clock.now()));
        clock.advance(Duration::from_nanos(1));
        assert!(!recovery.crowded(window, clock.now()));
        assert_ne!(
            recovery.turn(clock.now()),
            Some(Duration::ZERO),
            "the rate is kept all the same"
        );
    }

    #[test]
    fn it_ends_once_nobody_has_to_wait() {
        let (mut recovery, clock) = back();
        for _ in 0..RATE {
            recovery.turn(clock.now());
        }
        // More than the crowd takes, and less than the calm after it.
        clock.advance(Duration::from_secs(4));
        recovery.turn(clock.now());
        assert!(recovery.turn(clock.now()) > Some(Duration::ZERO));

        clock.advance(CALM);
        for _ in 0..1000 {
            assert_eq!(recovery.turn(clock.now()), Some(Duration::ZERO));
        }
    }

    #[test]
    fn it_ends_in_any_case() {
        let (mut recovery, clock) = back();
        let began = clock.now();
        let mut waited = 0;
        while clock.now().since(began) < LONGEST {
            for _ in 0..2 * RATE {
                waited += u32::from(recovery.turn(clock.now()) != Some(Duration::ZERO));
            }
            clock.advance(Duration::from_secs(1));
        }
        assert!(waited > 100 * RATE, "the crowd was none");
        assert_eq!(recovery.turn(clock.now()), Some(Duration::ZERO));
        assert_eq!(recovery.turn(clock.now()), Some(Duration::ZERO));
    }
}
