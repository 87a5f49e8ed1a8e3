//! What time it is, for everything that runs out.
//!
//! Windows are measured on `CLOCK_BOOTTIME`, which goes on while the machine sleeps and does not
//! jump when the wall clock is set: a paused process serves nothing whose window lapsed meanwhile.
//! A test moves its own clock by hand; a simulation's moves with its runtime. The wall clock is
//! read only where somebody else names an instant (`deletion_time`, `expire_time`, the `exp` of a
//! token), to turn it into a duration from now ([`Clock::until_unix`]), and for the time that an
//! audit record shows. Set back while the process runs, it revives nothing: it counts from the
//! process's start then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// An instant, comparable only with others of the same [`Clock`]. Nanoseconds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Time(u64);

impl Time {
    /// Later than any window ends.
    pub const NEVER: Self = Self(u64::MAX);

    /// Earlier than anything: an end that has passed, by however much.
    pub const LONG_AGO: Self = Self(0);

    /// How long ago `earlier` was; zero if it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant and `span` less; the machine's start instead of what was before it.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(span))
    }

    /// This instant and `span` more; [`Time::NEVER`] instead of an overflow.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span))
    }

    /// Since the machine's start, for what outlives the process: [`crate::sealed`].
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// The reverse of [`nanos`](Self::nanos), on the same start of the machine.
    pub(crate) fn of_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
}

/// One instant as several clocks have it.
#[derive(Clone, Debug)]
pub struct Moment {
    /// As windows are measured.
    pub time: Time,
    /// By the wall clock, in whole seconds since the Unix epoch, cut.
    pub unix: i64,
    /// Which start of the machine `time` counts from; `None` where that cannot be told.
    pub boot: Option<Box<str>>,
}

/// A [`Time`] that several threads may move forward.
#[derive(Debug)]
pub struct LatestTime(AtomicU64);

impl LatestTime {
    /// At `time`.
    pub fn new(time: Time) -> Self {
        Self(AtomicU64::new(time.0))
    }

    /// The latest so far.
    pub fn get(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }

    /// Moves to `time`, unless it is there or later already.
    pub fn reach(&self, time: Time) {
        self.0.fetch_max(time.0, Ordering::Relaxed);
    }
}

/// Where [`Time`] comes from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Machine,
    Manual(Arc<AtomicU64>),
    /// Since that instant; and what the wall clock showed then, since 1970, where it follows.
    Runtime(Instant, Option<Duration>),
}

/// By what a clock that follows the runtime is ahead of the machine's start.
const A_DAY: Duration = Duration::from_hours(24);

/// When the process began, by both clocks.
static START: LazyLock<(Duration, Time)> = LazyLock::new(|| (since_epoch(), Time(boottime())));

impl Default for Clock {
    /// The machine's.
    fn default() -> Self {
        LazyLock::force(&START);
        Self(Source::Machine)
    }
}

impl Clock {
    /// A clock that stands still until [`advance`](Self::advance) moves it. Clones move together.
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(1_000_000_000))))
    }

    /// A clock that the runtime's timers go by: where the runtime's time is paused and moved, it
    /// moves along. Clones agree. Begins late enough for what lies before it to be told apart.
    pub fn of_the_runtime() -> Self {
        Self(Source::Runtime(Instant::now(), None))
    }

    /// The same, and the instants that the upstream names are measured against a wall clock that
    /// moves along: it shows `wall` now.
    pub fn of_the_runtime_at(wall: SystemTime) -> Self {
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Source::Runtime(Instant::now(), Some(wall)))
    }

    /// Moves a manual clock; another cannot be moved, and is left alone.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual(nanos) = &self.0 {
            let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
            nanos.fetch_add(span, Ordering::SeqCst);
        }
    }

    /// Now.
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::Machine => Time(boottime()),
            Source::Manual(nanos) => Time(nanos.load(Ordering::SeqCst)),
            Source::Runtime(begun, _) => Time(0).plus(A_DAY).plus(begun.elapsed()),
        }
    }

    /// Now, by all clocks.
    pub fn moment(&self) -> Moment {
        let boot = match &self.0 {
            Source::Machine => std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok(),
            Source::Manual(_) => Some("moved by hand".to_owned()),
            Source::Runtime(..) => None,
        };
        let boot = boot.map(|boot| boot.trim().into());
        Moment { time: self.now(), unix: Self::unix(), boot }
    }

    /// What people would say the time is. Nothing is measured with it.
    pub fn wall() -> SystemTime {
        SystemTime::now()
    }

    /// In whole seconds since the Unix epoch, as policies and tokens name their ends: by the wall
    /// clock, unless that was set back while the process ran.
    pub fn unix() -> i64 {
        i64::try_from(unrevived().as_secs()).unwrap_or(i64::MAX)
    }

    /// How far ahead an instant lies that is named as [`unix`](Self::unix) names now; `None` once
    /// it has passed.
    pub fn until_unix(&self, seconds: i64) -> Option<Duration> {
        let now = match &self.0 {
            Source::Runtime(begun, Some(wall)) => *wall + begun.elapsed(),
            _ => unrevived(),
        };
        let then = Duration::from_secs(u64::try_from(seconds).ok()?);
        then.checked_sub(now)
    }

    /// By how much the wall clock was set back since the process began.
    pub fn set_back() -> Duration {
        unrevived().saturating_sub(since_epoch())
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// By the wall clock, and no less than what has gone by since the process began: an end that has
/// passed stays passed. A clock set forward is believed for as long as it says so, and no longer.
fn unrevived() -> Duration {
    let (wall, time) = *START;
    later(since_epoch(), wall + Time(boottime()).since(time))
}

/// The later of what two clocks say, if the difference is one that somebody has made.
fn later(wall: Duration, counted: Duration) -> Duration {
    if counted.saturating_sub(wall) < SLACK { wall } else { counted }
}

/// Two clocks are not read at the same instant.
const SLACK: Duration = Duration::from_secs(1);

fn boottime() -> u64 {
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    // Elsewhere (a developer's macOS) the monotonic clock is the nearest there is.
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(id);
    // Both parts are non-negative for these clocks: they count from the machine's start.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_its_clones_with_it() {
        let clock = Clock::manual();
        let start = clock.now();

        clock.clone().advance(Duration::from_secs(5));

        assert_eq!(clock.now().since(start), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_of_the_runtime_moves_with_its_timers() {
        let clock = Clock::of_the_runtime();
        let start = clock.now();

        tokio::time::sleep(Duration::from_hours(1)).await;

        assert_eq!(clock.clone().now().since(start), Duration::from_hours(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_follows_moves_with_the_runtimes_timers() {
        let wall = UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Clock::of_the_runtime_at(wall);
        assert_eq!(clock.until_unix(1_090), Some(Duration::from_secs(90)));

        tokio::time::sleep(Duration::from_mins(1)).await;

        assert_eq!(clock.until_unix(1_090), Some(Duration::from_secs(30)));
        assert_eq!(clock.until_unix(1_059), None);
    }

    #[test]
    fn the_machines_clock_does_not_go_back() {
        let clock = Clock::default();
        let earlier = clock.now();

        assert!(clock.now() >= earlier);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_machines_clock_goes_on_while_it_sleeps_and_is_not_the_one_that_is_set() {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let since = Clock::default().now().since(Time::LONG_AGO);

        assert!(since.as_secs().abs_diff(boot.tv_sec.unsigned_abs()) < 60, "{since:?}");
    }

    #[test]
    fn a_wall_clock_set_back_revives_nothing() {
        let hour = Duration::from_hours(1);
        for (wall, counted, now) in [
            (5 * hour, 5 * hour, 5 * hour),
            // Set forward, and right again.
            (9 * hour, 5 * hour, 9 * hour),
            (5 * hour, 5 * hour + SLACK / 2, 5 * hour),
            (4 * hour, 5 * hour, 5 * hour),
            (Duration::ZERO, 5 * hour, 5 * hour),
        ] {
            assert_eq!(later(wall, counted), now, "{wall:?} {counted:?}");
        }
        assert_eq!(Clock::set_back(), Duration::ZERO);
    }

    #[test]
    fn a_window_never_wraps() {
        let clock = Clock::manual();

        assert_eq!(clock.now().plus(Duration::MAX), Time::NEVER);
        assert_eq!(clock.now().since(Time::NEVER), Duration::ZERO);
    }
}
