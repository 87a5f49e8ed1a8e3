//! How are requests sent when they should be, and every answer checked?
//!
//! Open loop: a request is sent when its moment has come, however long the others take, and its
//! latency counts from that moment. So a stall is seen by everybody who would have come meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use serde_json::Value;
use tokio::task::{spawn_local, yield_now};
use tokio::time::Instant;
use vaultlet_loadtest::{Address, Answer, Failure, Pace, Pool, Time};

use crate::stand::{Token, nonce};

/// So many may be sent without a look at what comes in, when they are late.
const AT_ONCE: usize = 16;

/// Longest that anybody waits.
const LONGEST: Duration = Duration::from_secs(15);

/// Where requests go.
pub(crate) fn pool(url: &str) -> Result<Rc<Pool>, String> {
    Ok(Rc::new(Pool::new(vec![Address::url(url, None)?], LONGEST)))
}

/// A read, and what must be in its answer.
#[derive(Clone)]
pub(crate) struct Ask {
    target: Rc<str>,
    token: HeaderValue,
    nonce: Rc<str>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Came {
    /// The value that was asked for.
    Right(Source),
    /// 404: the upstream has nothing there.
    Absent,
    /// An error in Vault's shape, with this status.
    Refused(u16),
    /// An error in no shape that a caller of Vault knows.
    Misshapen(u16),
    /// Another value, or none, with 200.
    Wrong,
    /// No answer.
    Nothing(&'static str),
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Source {
    Hit,
    Miss,
    Passed,
    Stale,
}

/// One request, as it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Went {
    /// When it should have been sent.
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    pub(crate) came: Came,
}

/// What has come of requests.
#[derive(Debug)]
pub(crate) struct Tally {
    state: RefCell<State>,
    /// Sent, and not answered yet.
    open: Cell<u64>,
}

#[derive(Debug)]
struct State {
    came: BTreeMap<Came, u64>,
    latencies: Histogram<u64>,
    /// All of them, where they are few.
    went: Option<Vec<Went>>,
    last_stale: Option<Instant>,
    last_failed: Option<Instant>,
}

impl Ask {
    /// A read of a secret of the stand.
    pub(crate) fn secret(path: &str, token: &Token) -> Self {
        let target = format!("/v1/secret/data/{path}").into();
        // Tokens are printable.
        let token = HeaderValue::from_str(&token.token).unwrap_or(HeaderValue::from_static(""));
        Self { target, token, nonce: format!("\"{}\"", nonce(path)).into() }
    }

    fn request(&self) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.target.parse().unwrap_or_default();
        request.headers_mut().insert("x-vault-token", self.token.clone());
        request
    }

    fn judge(&self, answer: Result<Answer, Failure>) -> Came {
        let answer = match answer {
            Ok(answer) => answer,
            Err(Failure::Connect) => return Came::Nothing("no connection"),
            Err(Failure::Broken) => return Came::Nothing("broken off"),
            Err(Failure::TimedOut) => return Came::Nothing("no answer in time"),
        };
        let body = &answer.body[..];
        match answer.status.as_u16() {
            200..300 if contains(body, self.nonce.as_bytes()) => Came::Right(Source::of(&answer)),
            200..300 => Came::Wrong,
            // The one error whose value may be in a body is a deleted version's: no nonce there.
            _ if contains(body, b"\"nonce\"") => Came::Wrong,
            status => match serde_json::from_slice::<Value>(body) {
                Ok(said) if said["errors"].is_array() && status == 404 => Came::Absent,
                Ok(said) if said["errors"].is_array() => Came::Refused(status),
                _ => Came::Misshapen(status),
            },
        }
    }
}

impl Source {
    fn of(answer: &Answer) -> Self {
        let said = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
        match (said("cache-status"), said("x-cache")) {
            (Some(status), _) if status.contains("stale") => Self::Stale,
            (_, Some("HIT")) => Self::Hit,
            (_, Some(_)) => Self::Miss,
            (_, None) => Self::Passed,
        }
    }
}

impl Came {
    /// Whether it is what somebody wanted who may read what is there.
    pub(crate) fn good(self) -> bool {
        matches!(self, Self::Right(_))
    }

    fn name(self) -> String {
        match self {
            Self::Right(source) => format!("{source:?}").to_lowercase(),
            Self::Absent => "absent".to_owned(),
            Self::Refused(status) => format!("refused {status}"),
            Self::Misshapen(status) => format!("misshapen {status}"),
            Self::Wrong => "wrong".to_owned(),
            Self::Nothing(why) => why.to_owned(),
        }
    }
}

impl Tally {
    /// That keeps every request, or sums only.
    pub(crate) fn new(every: bool) -> Rc<Self> {
        // Without bounds whatever is longer than the longest so far would be cut to that.
        let bounds = (1, 60_000_000);
        let latencies = Histogram::new_with_bounds(bounds.0, bounds.1, 3);
        let latencies = latencies.expect("three digits are allowed");
        let went = every.then(Vec::new);
        let (came, last_stale, last_failed) = (BTreeMap::new(), None, None);
        let state = State { came, latencies, went, last_stale, last_failed };
        Rc::new(Self { state: RefCell::new(state), open: Cell::new(0) })
    }

    pub(crate) fn all(&self) -> u64 {
        self.count(|_| true)
    }

    pub(crate) fn count(&self, of: impl Fn(Came) -> bool) -> u64 {
        self.state.borrow().came.iter().filter(|(came, _)| of(**came)).map(|(_, n)| n).sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.count(|came| !came.good())
    }

    pub(crate) fn hits(&self) -> u64 {
        self.count(|came| matches!(came, Came::Right(Source::Hit | Source::Stale)))
    }

    pub(crate) fn latencies(&self) -> Histogram<u64> {
        self.state.borrow().latencies.clone()
    }

    pub(crate) fn went(&self) -> Vec<Went> {
        self.state.borrow().went.clone().unwrap_or_default()
    }

    pub(crate) fn last_stale(&self) -> Option<Instant> {
        self.state.borrow().last_stale
    }

    pub(crate) fn last_failed(&self) -> Option<Instant> {
        self.state.borrow().last_failed
    }

    /// How many came to what.
    pub(crate) fn shown(&self) -> Value {
        let state = self.state.borrow();
        state.came.iter().map(|(came, count)| (came.name(), Value::from(*count))).collect()
    }

    /// Waits until every request has come to something.
    pub(crate) async fn settled(&self) {
        while self.open.get() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn add(&self, went: Went) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        *state.came.entry(went.came).or_default() += 1;
        let micros = u64::try_from(went.took.as_micros()).unwrap_or(u64::MAX);
        state.latencies.saturating_record(micros);
        let over = went.at + went.took;
        match went.came {
            Came::Right(Source::Stale) => state.last_stale = state.last_stale.max(Some(over)),
            Came::Right(_) => {}
            _ => state.last_failed = state.last_failed.max(Some(over)),
        }
        if let Some(all) = &mut state.went {
            all.push(went);
        }
    }
}

/// Sends one request, now.
pub(crate) async fn send(pool: &Pool, ask: &Ask, at: Instant, tally: &Tally) -> Came {
    tally.open.set(tally.open.get() + 1);
    let came = ask.judge(pool.send(0, ask.request()).await);
    tally.add(Went { at, took: at.elapsed(), came });
    tally.open.set(tally.open.get() - 1);
    came
}

/// Sends `rate` requests a second, as `next` makes them, until it makes no more.
pub(crate) async fn play(
    pool: Rc<Pool>,
    rate: u32,
    tally: impl Fn() -> Rc<Tally>,
    mut next: impl FnMut() -> Option<Ask>,
) -> Result<(), String> {
    let mut pace = Pace::new(Time::Real)?;
    let (mut at, gap) = (Instant::now(), Duration::from_secs(1) / rate);
    let mut at_once = 0;
    while let Some(ask) = next() {
        if pace.until(at).await? {
            at_once = 0;
        } else {
            at_once += 1;
            if at_once == AT_ONCE {
                at_once = 0;
                yield_now().await;
            }
        }
        let (pool, tally) = (pool.clone(), tally());
        spawn_local(async move { send(&pool, &ask, at, &tally).await });
        at += gap;
    }
    Ok(())
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, cache: &str, body: &str) -> Came {
        let token = Token { name: String::new(), token: "t".to_owned() };
        let answer = hyper::Response::builder().status(status).header("x-cache", cache);
        let (head, ()) = answer.body(()).unwrap().into_parts();
        let body = Bytes::from(body.to_owned());
        Ask::secret("a", &token).judge(Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        }))
    }

    #[test]
    fn an_answer_is_right_only_with_its_own_nonce() {
        assert_eq!(judged(200, "HIT", "{\"nonce\":\"[a]\"}"), Came::Right(Source::Hit));
        assert_eq!(judged(200, "HIT", "{\"nonce\":\"[b]\"}"), Came::Wrong);
        assert_eq!(judged(200, "MISS", "<html>"), Came::Wrong);
        assert_eq!(judged(503, "", "{\"errors\":[],\"nonce\":\"[a]\"}"), Came::Wrong);
    }

    #[test]
    fn a_long_wait_is_counted_as_long_as_it_was() {
        let tally = Tally::new(false);
        let took = Duration::from_secs(8);

        tally.add(Went { at: Instant::now(), took, came: Came::Right(Source::Hit) });

        let longest = tally.latencies().max();
        assert!((7_900_000..8_100_000).contains(&longest), "{longest} µs");
    }

    #[test]
    fn an_error_has_the_shape_of_vaults() {
        assert_eq!(judged(503, "", "{\"errors\":[\"x\"]}"), Came::Refused(503));
        assert_eq!(judged(404, "", "{\"errors\":[]}"), Came::Absent);
        assert_eq!(judged(503, "", "upstream connect error"), Came::Misshapen(503));
    }
}
