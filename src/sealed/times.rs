//! When does something that was kept end, as the clocks of this process have it?
//!
//! While the machine has not been started anew, an instant is kept exactly, and no wall clock is
//! asked. After another start there is only the wall clock, in whole seconds, cut so that nothing
//! lasts longer than it did. If that clock has been set back to before the file was written, it
//! says nothing: everything that ends has ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Moment, Time};

/// An instant, as it is kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct At {
    /// Nanoseconds on the clock that windows are measured with; `u64::MAX`: never.
    boottime: u64,
    /// Seconds since the Unix epoch, cut.
    unix: i64,
}

/// When something was kept, and what its instants count from.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Written {
    at: At,
    boot: Option<Box<str>>,
}

/// Reads what was kept.
#[derive(Debug)]
pub struct Times {
    now: Moment,
    basis: Basis,
}

#[derive(Debug, Eq, PartialEq)]
enum Basis {
    /// Nothing can be said: the wall clock is behind what it was.
    Nothing,
    SameBoot,
    WallClock,
}

impl At {
    /// `time`, in the past or the future of `now`.
    pub fn of(time: Time, now: &Moment) -> Self {
        let ahead = i128::from(time.nanos()) - i128::from(now.time.nanos());
        // Never more than 2^64 nanoseconds: they fit.
        let seconds = i64::try_from(ahead.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
        Self { boottime: time.nanos(), unix: now.unix.saturating_add(seconds) }
    }
}

impl Written {
    /// Now.
    pub fn at(now: &Moment) -> Self {
        Self { at: At::of(now.time, now), boot: now.boot.clone() }
    }
}

impl Times {
    /// Of what was `written`, to be used from `now` on.
    pub fn new(written: &Written, now: Moment) -> Self {
        let same_boot = written.boot.is_some()
            && written.boot == now.boot
            // A machine that was put back to an earlier state has the same start.
            && written.at.boottime <= now.time.nanos();
        let basis = match same_boot {
            true => Basis::SameBoot,
            false if written.at.unix <= now.unix => Basis::WallClock,
            false => Basis::Nothing,
        };
        Self { now, basis }
    }

    /// Whether nothing can be said, because the wall clock was set back: worth a line in the log.
    pub fn unknown(&self) -> bool {
        self.basis == Basis::Nothing
    }

    /// The end of something: where this errs, it is early. [`Time::LONG_AGO`]: it has passed.
    pub fn end(&self, at: At) -> Time {
        let end = Time::of_nanos(at.boottime);
        if end == Time::NEVER {
            return end;
        }
        match self.basis {
            Basis::SameBoot => end,
            Basis::Nothing => Time::LONG_AGO,
            Basis::WallClock => match u64::try_from(self.ahead(at)) {
                Ok(left @ 1..) => self.now.time.plus(Duration::from_secs(left)),
                _ => Time::LONG_AGO,
            },
        }
    }

    /// When something was: where this errs, it is early. `None`: before the machine's start, which
    /// no [`Time`] is, or that cannot be told. What was longer ago than any window should not be
    /// mistaken for something of a moment ago.
    pub fn past(&self, at: At) -> Option<Time> {
        let then = match self.basis {
            Basis::SameBoot => at.boottime,
            Basis::Nothing => return None,
            Basis::WallClock => {
                let ago = u64::try_from(-self.ahead(at)).ok()?;
                self.now.time.nanos().checked_sub(ago.checked_mul(1_000_000_000)?)?
            }
        };
        (then <= self.now.time.nanos()).then_some(Time::of_nanos(then))
    }

    /// Seconds until `at` by the wall clock, at least; it may be almost a second later than it says.
    fn ahead(&self, at: At) -> i64 {
        at.unix.saturating_sub(self.now.unix).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn moment(boot: &str, nanos: u64, unix: i64) -> Moment {
        Moment { time: Time::of_nanos(nanos), unix, boot: Some(boot.into()) }
    }

    /// Kept at 500.5 s after a start at 1000 s: what ends 60 s later, and what was 20.25 s before.
    fn kept() -> (Written, Moment, At, At) {
        let now = moment("one", 500_500_000_000, 1500);
        let end = At::of(now.time.plus(60 * SECOND), &now);
        let past = At::of(Time::of_nanos(480_250_000_000), &now);
        (Written::at(&now), now, end, past)
    }

    #[test]
    fn on_the_same_start_times_are_exact_whatever_the_wall_clock_says() {
        let (written, then, end, past) = kept();

        for unix in [0, 1500, 9_000_000_000] {
            let times = Times::new(&written, moment("one", 510_000_000_007, unix));

            assert_eq!(times.end(end), then.time.plus(60 * SECOND));
            assert_eq!(times.past(past), Some(Time::of_nanos(480_250_000_000)));
            // What is to come was not.
            assert_eq!(times.past(end), None);
            assert!(!times.unknown());
        }
    }

    #[test]
    fn on_another_start_the_wall_clock_counts_and_nothing_lasts_longer() {
        let (written, ..) = kept();
        let (_, _, end, past) = kept();
        let now = moment("two", 100_000_000_000, 1510);
        let times = Times::new(&written, now.clone());

        assert_eq!(times.end(end), now.time.plus(49 * SECOND));
        // 20.25 s before 1500, which may have been 1500.99 and now may be 1510.99.
        assert_eq!(times.past(past), Some(Time::of_nanos(68_000_000_000)));

        let times = Times::new(&written, moment("two", 100_000_000_000, 1560));
        assert_eq!(times.end(end), Time::LONG_AGO);
    }

    #[test]
    fn what_was_before_the_machine_started_is_not_taken_for_young() {
        let (written, _, _, past) = kept();
        let times = Times::new(&written, moment("two", 10_000_000_000, 1510));

        assert_eq!(times.past(past), None);
    }

    #[test]
    fn a_wall_clock_set_back_makes_nothing_last_longer() {
        let (written, _, end, past) = kept();
        let times = Times::new(&written, moment("two", 100_000_000_000, 1499));

        assert!(times.unknown());
        assert_eq!(times.end(end), Time::LONG_AGO);
        assert_eq!(times.past(past), None);
    }

    #[test]
    fn a_machine_put_back_to_an_earlier_state_goes_by_the_wall_clock() {
        let (written, _, end, _) = kept();
        let now = moment("one", 400_000_000_000, 1510);
        let times = Times::new(&written, now.clone());

        assert_eq!(times.end(end), now.time.plus(49 * SECOND));
    }

    #[test]
    fn where_starts_cannot_be_told_apart_the_wall_clock_counts() {
        let now = Moment { boot: None, ..moment("", 500_000_000_000, 1500) };
        let end = At::of(now.time.plus(60 * SECOND), &now);
        let times = Times::new(&Written::at(&now), now.clone());

        assert_eq!(times.end(end), now.time.plus(59 * SECOND));
    }

    #[test]
    fn never_stays_never() {
        let (written, then, ..) = kept();
        let never = At::of(Time::NEVER, &then);

        for now in [moment("one", 510_000_000_000, 0), moment("two", 1, 1), moment("two", 1, 1600)]
        {
            assert_eq!(Times::new(&written, now).end(never), Time::NEVER);
        }
    }
}
