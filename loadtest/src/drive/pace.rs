//! How does the generator wait for the right moment?
//!
//! The runtime's timers have a millisecond, in which twenty requests may have to be sent. In real
//! time a timer of the kernel's wakes it instead, to some microseconds; it sleeps meanwhile, so that
//! it takes no time from a server that shares its core. In paused time that millisecond is all
//! there is, and nothing is later than that.

use std::io;

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::Time;

/// A way to wait.
#[derive(Debug)]
pub struct Pace(Option<AsyncFd<OwnedFd>>);

impl Pace {
    /// By this clock.
    ///
    /// # Errors
    /// The kernel has no timer left.
    pub fn new(time: Time) -> Result<Self, String> {
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe; an `OwnedFd` is what that demands"
        )]
        let timer = || {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)
        };
        let timer = (time == Time::Real).then(timer).transpose();
        Ok(Self(timer.map_err(|e| no_timer(&e))?))
    }

    /// Waits until `moment`; `false` if it was over already, and nobody waited.
    pub async fn until(&mut self, moment: Instant) -> Result<bool, String> {
        let Some(timer) = &mut self.0 else {
            let waits = Instant::now() < moment;
            sleep_until(moment).await;
            return Ok(waits);
        };
        let mut waited = false;
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(waited);
            }
            waited = true;
            let moment = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec {
                    tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: left.subsec_nanos().into(),
                },
            };
            timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &moment)
                .map_err(|e| no_timer(&e.into()))?;
            timer.readable().await.map_err(|e| no_timer(&e))?.clear_ready();
        }
    }
}

fn no_timer(problem: &io::Error) -> String {
    format!(
        "no timer for sending requests in time: {problem}; try again with fewer descriptors in use"
    )
}
