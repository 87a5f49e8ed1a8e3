//! Does the upstream fail, or turn away, what one tenant asks of one mount?
//!
//! A rate limit, a locked namespace or a broken mount is no reason to leave the whole upstream
//! alone, nor may one tenant take it from the others by asking for what fails. So each tenant has a
//! lane to each mount, with a breaker of its own. Only those are kept whose last request failed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use super::Ask;
use super::breaker::{Breaker, Pass, Temper};
use crate::clock::{Clock, Time};
use crate::error::Error;
use crate::request::NAMESPACE;
use crate::tenant::Tenant;

/// A rate limit is counted by the second, so that nobody need wait for long.
const TEMPER: Temper = Temper {
    failures: 5,
    trials: 1,
    first: Duration::from_millis(500),
    longest: Duration::from_secs(4),
    looks: false,
};

/// More than these fail, and the rest is not told apart from what does not.
const MOST: usize = 4096;

/// Not asked for so long, it is forgotten that one failed.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// An upstream that asks for more than this gets this.
const LONGEST_WISH: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Lanes {
    failing: Mutex<HashMap<Lane, Failing>>,
    clock: Clock,
}

/// What a tenant asks of a mount, as far as the request shows. Two that are mixed up share what
/// becomes of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Lane(Tenant, u64);

#[derive(Debug)]
struct Failing {
    breaker: Breaker,
    /// What the upstream said last.
    status: StatusCode,
    /// And when.
    at: Time,
}

/// Leave to ask; given back with what came of it, or dropped without.
#[derive(Debug)]
pub(super) struct Going<'a> {
    lanes: &'a Lanes,
    lane: Lane,
    pass: Option<Pass>,
}

impl Lanes {
    pub(super) fn new(clock: Clock) -> Self {
        Self { failing: Mutex::default(), clock }
    }

    /// Lets in who is about to ask.
    ///
    /// # Errors
    /// What is asked fails, and is to be left alone.
    pub(super) fn enter(&self, ask: &Ask) -> Result<Going<'_>, Error> {
        let lane = Lane::of(ask);
        let pass = match self.lock().get_mut(&lane) {
            None => None,
            Some(failing) => Some(
                failing
                    .breaker
                    .enter(self.clock.now())
                    .map_err(|pause| Error::Resting(resting(failing.status), pause))?,
            ),
        };
        Ok(Going { lanes: self, lane, pass })
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Going<'_> {
    /// Takes in what the upstream answered.
    pub(super) fn over(mut self, status: StatusCode, headers: &HeaderMap, failed: bool) {
        let (pass, now) = (self.pass.take(), self.lanes.clock.now());
        let mut lanes = self.lanes.lock();
        if !failed {
            if let (Some(pass), Entry::Occupied(mut lane)) = (pass, lanes.entry(self.lane)) {
                lane.get_mut().breaker.good(pass);
                if lane.get().breaker.clean() {
                    lane.remove();
                }
            }
            return;
        }
        if lanes.len() >= MOST {
            lanes.retain(|_, failing| now.since(failing.at) <= FORGOTTEN);
        }
        if lanes.len() >= MOST && !lanes.contains_key(&self.lane) {
            return;
        }
        let new = || Failing { breaker: Breaker::new(TEMPER), status, at: now };
        let failing = lanes.entry(self.lane).or_insert_with(new);
        (failing.status, failing.at) = (status, now);
        let Some(pass) = pass.or_else(|| failing.breaker.enter(now).ok()) else { return };
        let limited = (status == StatusCode::TOO_MANY_REQUESTS).then(|| wish(headers));
        failing.breaker.bad(pass, None, limited, now);
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass
            && let Some(failing) = self.lanes.lock().get_mut(&self.lane)
        {
            failing.breaker.void(pass);
        }
    }
}

impl Lane {
    fn of(ask: &Ask) -> Self {
        let mut mount = DefaultHasher::new();
        ask.headers.get(NAMESPACE).map(HeaderValue::as_bytes).hash(&mut mount);
        let path = ask.target.path();
        // What is asked of vaultlet's own accord lies deeper: `sys/internal/...`, `auth/token/...`.
        path.strip_prefix("/v1/").unwrap_or(path).split('/').next().hash(&mut mount);
        Self(ask.tenant.house(), mount.finish())
    }
}

/// What callers are told meanwhile.
fn resting(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::TOO_MANY_REQUESTS => status,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// How long the upstream asks to be left alone. OpenBao does not say.
fn wish(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|wish| wish.to_str().ok()?.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_WISH)
}

#[cfg(test)]
mod tests {
    use hyper::http::uri::PathAndQuery;

    use super::*;

    const LIMITED: StatusCode = StatusCode::TOO_MANY_REQUESTS;

    fn ask(tenant: u8, path: &'static str) -> Ask {
        let target = PathAndQuery::from_static(path);
        Ask::get(target, HeaderMap::new(), Tenant::class([tenant; 16]))
    }

    fn fail(lanes: &Lanes, ask: &Ask, status: StatusCode) {
        lanes.enter(ask).unwrap().over(status, &HeaderMap::new(), true);
    }

    fn refused(lanes: &Lanes, ask: &Ask) -> Option<StatusCode> {
        lanes.enter(ask).err().map(|error| error.status())
    }

    #[test]
    fn a_rate_limit_is_believed_at_once_and_a_failure_after_some() {
        let lanes = Lanes::new(Clock::manual());
        let (one, other) = (ask(1, "/v1/kv/data/a"), ask(1, "/v1/other/data/a"));

        fail(&lanes, &one, LIMITED);
        assert_eq!(refused(&lanes, &one), Some(LIMITED));
        for _ in 0..TEMPER.failures {
            assert_eq!(refused(&lanes, &other), None);
            fail(&lanes, &other, StatusCode::INTERNAL_SERVER_ERROR);
        }
        assert_eq!(refused(&lanes, &other), Some(StatusCode::SERVICE_UNAVAILABLE));
    }

    #[test]
    fn others_and_other_mounts_and_namespaces_are_asked_for_as_before() {
        let lanes = Lanes::new(Clock::manual());
        fail(&lanes, &ask(1, "/v1/kv/data/a"), LIMITED);
        let mut elsewhere = ask(1, "/v1/kv/data/a");
        elsewhere.headers.insert(NAMESPACE, HeaderValue::from_static("team"));

        assert_eq!(refused(&lanes, &ask(1, "/v1/kv/data/b")), Some(LIMITED));
        for ask in [ask(2, "/v1/kv/data/a"), ask(1, "/v1/kv2/data/a"), elsewhere] {
            assert_eq!(refused(&lanes, &ask), None, "{ask:?}");
        }
    }

    #[test]
    fn one_after_the_other_tries_again_and_a_success_is_the_end_of_it() {
        let clock = Clock::manual();
        let lanes = Lanes::new(clock.clone());
        let ask = ask(1, "/v1/kv/data/a");
        fail(&lanes, &ask, LIMITED);

        clock.advance(Duration::from_secs(1));
        let trial = lanes.enter(&ask).unwrap();
        assert_eq!(refused(&lanes, &ask), Some(LIMITED));
        drop(trial);
        let trial = lanes.enter(&ask).unwrap();
        trial.over(StatusCode::OK, &HeaderMap::new(), false);
        assert!(lanes.lock().is_empty());
    }

    #[test]
    fn a_wish_to_be_left_alone_is_granted_within_reason() {
        let clock = Clock::manual();
        let lanes = Lanes::new(clock.clone());
        for (wish, least) in [("7", 7), ("86400", 30)] {
            let ask = ask(least, "/v1/kv/data/a");
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(wish));
            lanes.enter(&ask).unwrap().over(LIMITED, &headers, true);
            let Err(Error::Resting(_, pause)) = lanes.enter(&ask) else { panic!("asked at once") };
            let least = Duration::from_secs(least.into());
            assert!(pause >= least && pause <= least.mul_f64(1.25), "{pause:?}");
        }
    }

    #[test]
    fn failures_take_bounded_room() {
        let clock = Clock::manual();
        let lanes = Lanes::new(clock.clone());
        let asks = |from: usize| {
            (from..from + MOST).map(|number| {
                let target = PathAndQuery::try_from(format!("/v1/{number}/x")).unwrap();
                Ask::get(target, HeaderMap::new(), Tenant::vaultlet())
            })
        };
        asks(0).for_each(|ask| fail(&lanes, &ask, LIMITED));
        asks(MOST).for_each(|ask| fail(&lanes, &ask, LIMITED));
        assert_eq!(lanes.lock().len(), MOST);

        clock.advance(FORGOTTEN + Duration::from_secs(1));
        asks(MOST).for_each(|ask| fail(&lanes, &ask, LIMITED));
        assert_eq!(lanes.lock().len(), MOST);
        assert_eq!(refused(&lanes, &asks(MOST).next().unwrap()), Some(LIMITED));
    }
}
