//! For how long is the credential in an answer good, and where does the answer say so?
//!
//! An answer that is given out again must not promise the time that has passed since: a
//! [`Countdown`] gives it with what is left, and otherwise byte for byte as it came.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::secret::wiped;

/// What an answer turned out to be.
#[derive(Debug, Eq, PartialEq)]
pub enum Reading {
    /// It cannot be told whether there is a lease: what is wrong with the answer.
    Garbage(&'static str),
    /// A credential with a lease.
    Leased(Terms),
    /// No lease, but a credential that names its own end. Whether that counts is for a rule to
    /// say, as a lookup of an old certificate names one too.
    OwnEnd {
        /// Until that end; zero once it has passed.
        left: Duration,
        /// From its beginning to its end, if it says so.
        whole: Option<Duration>,
        /// Whether the answer gives its end as what is left, so that it is wrong a second later.
        counts_down: bool,
    },
    /// Neither. Also a login, and a wrapped answer, which can be opened only once.
    Unleased,
}

/// What the server promises with a lease.
#[derive(Eq, PartialEq)]
pub struct Terms {
    /// `lease_id`, not empty. Whoever knows it may have the lease renewed.
    pub id: Box<str>,
    /// From the moment of the answer.
    pub duration: Duration,
    /// Whether the server would prolong it.
    pub renewable: bool,
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id: _, duration, renewable } = self;
        write!(f, "Terms({duration:?}, renewable: {renewable})")
    }
}

/// Reads the body of an answer with status 200 that calls itself JSON. `now_unix`: whole seconds
/// since the Unix epoch, as a certificate names its end.
pub fn read(body: &[u8], now_unix: i64) -> Reading {
    Frame::parse(body).and_then(|frame| frame.read(now_unix)).unwrap_or_else(Reading::Garbage)
}

/// An answer whose countdowns can be set: `lease_duration` of a leased one, and its `data.ttl` if
/// it is the same number (`aws/sts`); `data.ttl` of a static role's.
pub struct Countdown {
    body: Bytes,
    /// Where those numbers are, in their order.
    places: Vec<Range<usize>>,
}

impl Countdown {
    /// Finds the countdowns in `body`. There may be none: a certificate names an instant.
    pub fn new(body: Bytes) -> Self {
        let mut places: Vec<_> = Frame::parse(&body)
            .map(|frame| frame.countdowns())
            .unwrap_or_default()
            .into_iter()
            .map(|number| {
                // A borrowed raw value is a part of the body itself.
                let start = number.get().as_ptr().addr() - body.as_ptr().addr();
                start..start + number.get().len()
            })
            .collect();
        places.sort_unstable_by_key(|place| place.start);
        Self { body, places }
    }

    /// The same, but that nothing in `data` is taken for one: it is what somebody has written there.
    pub fn of_lease(body: Bytes) -> Self {
        let whole = Self::new(body);
        let frame = Frame::parse(&whole.body).ok().and_then(|frame| frame.lease_duration);
        let start = frame.map(|number| number.get().as_ptr().addr() - whole.body.as_ptr().addr());
        let places = whole.places.into_iter().filter(|place| Some(place.start) == start).collect();
        Self { body: whole.body, places }
    }

    /// The answer as it came.
    pub fn as_it_came(&self) -> &Bytes {
        &self.body
    }

    /// The answer with `left` in the place of what it promised, in whole seconds, rounded down.
    /// Wiped when its last clone is dropped, if the body it was made from is.
    pub fn with_left(&self, left: Duration) -> Bytes {
        let left = left.as_secs().to_string();
        if self.places.iter().all(|place| self.body[place.clone()] == *left.as_bytes()) {
            return self.body.clone();
        }
        // Large enough from the start: a vector that grows leaves copies behind.
        let mut body = Vec::with_capacity(self.body.len() + self.places.len() * left.len());
        let mut copied = 0;
        for place in &self.places {
            body.extend_from_slice(&self.body[copied..place.start]);
            body.extend_from_slice(left.as_bytes());
            copied = place.end;
        }
        body.extend_from_slice(&self.body[copied..]);
        wiped(body)
    }
}

impl fmt::Debug for Countdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Countdown(..)")
    }
}

/// What counts of the frame around every answer (OpenBao `sdk/logical/response.go`,
/// `HTTPResponse`). A name that comes twice is an error, as two parsers would read two things.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Frame<'a> {
    #[serde(borrow)]
    lease_id: Option<&'a RawValue>,
    #[serde(borrow)]
    lease_duration: Option<&'a RawValue>,
    #[serde(borrow)]
    renewable: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    wrap_info: Option<IgnoredAny>,
    auth: Option<IgnoredAny>,
}

impl<'a> Frame<'a> {
    /// Whatever else is JSON is nobody's credential, and has nothing in its frame.
    fn parse(body: &'a [u8]) -> Result<Self, &'static str> {
        let whole: &RawValue =
            serde_json::from_slice(body).map_err(|_| "a success that is not JSON")?;
        if !whole.get().starts_with('{') {
            return Ok(Self::default());
        }
        serde_json::from_str(whole.get()).map_err(|_| "a success that says one thing twice")
    }

    fn read(&self, now_unix: i64) -> Result<Reading, &'static str> {
        Ok(match self.terms()? {
            Some(terms) => Reading::Leased(terms),
            None => self.end().and_then(|end| end.read(now_unix)).unwrap_or(Reading::Unleased),
        })
    }

    /// A login or a wrapped answer: they have an end, and are for one caller.
    fn personal(&self) -> bool {
        self.wrap_info.is_some() || self.auth.is_some()
    }

    fn terms(&self) -> Result<Option<Terms>, &'static str> {
        let Some(id) = self.lease_id.filter(|_| !self.personal()) else { return Ok(None) };
        let id: Box<str> =
            serde_json::from_str(id.get()).map_err(|_| "a lease whose id is not text")?;
        if id.is_empty() {
            return Ok(None);
        }
        let duration = self.lease_duration.and_then(seconds).ok_or("a lease without a duration")?;
        let renewable = match self.renewable.map(RawValue::get) {
            Some("true") => true,
            Some("false") => false,
            _ => return Err("a lease that does not say whether it can be renewed"),
        };
        Ok(Some(Terms { id, duration, renewable }))
    }

    fn end(&self) -> Option<End<'a>> {
        let data = self.data.filter(|data| !self.personal() && data.get().starts_with('{'))?;
        serde_json::from_str(data.get()).ok()
    }

    fn countdowns(&self) -> Vec<&'a RawValue> {
        let ttl = self.end().and_then(|end| end.ttl);
        match self.terms() {
            Ok(Some(_)) => {
                let same = |ttl: &&RawValue| {
                    self.lease_duration.is_some_and(|duration| duration.get() == ttl.get())
                };
                self.lease_duration.into_iter().chain(ttl.filter(same)).collect()
            }
            Ok(None) if self.end().is_some_and(|end| end.counts_down()) => {
                ttl.into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What `data` says of its end.
#[derive(Deserialize)]
struct End<'a> {
    /// A certificate's (OpenBao `builtin/logical/pki/path_issue_sign.go`): an instant of the wall
    /// clock.
    #[serde(borrow)]
    expiration: Option<&'a RawValue>,
    certificate: Option<IgnoredAny>,
    serial_number: Option<IgnoredAny>,
    /// A static role's (OpenBao `builtin/logical/database/path_creds_create.go`): seconds until
    /// the password is rotated; 0 while it is.
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
    last_vault_rotation: Option<IgnoredAny>,
    /// Seconds. Roles that rotate by the calendar have none.
    #[serde(borrow)]
    rotation_period: Option<&'a RawValue>,
}

impl End<'_> {
    fn read(&self, now_unix: i64) -> Option<Reading> {
        if self.counts_down() {
            let (left, whole) =
                (self.ttl.and_then(seconds)?, self.rotation_period.and_then(seconds));
            return Some(Reading::OwnEnd { left, whole, counts_down: true });
        }
        let certificate = self.certificate.is_some() || self.serial_number.is_some();
        let end: i64 = self.expiration.filter(|_| certificate)?.get().parse().ok()?;
        let left = u64::try_from(end.saturating_sub(now_unix)).unwrap_or_default();
        let left = Duration::from_secs(left);
        Some(Reading::OwnEnd { left, whole: None, counts_down: false })
    }

    fn counts_down(&self) -> bool {
        self.last_vault_rotation.is_some() && self.ttl.and_then(seconds).is_some()
    }
}

/// A number of whole seconds, not negative.
fn seconds(number: &RawValue) -> Option<Duration> {
    number.get().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
