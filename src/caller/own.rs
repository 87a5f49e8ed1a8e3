//! What a pod asks about its own login, and what a shared login cannot do.
//!
//! `lookup-self`, `renew-self` and `revoke-self` are about the token a request is made with, and
//! that is not the pod's: passed on, their answers would hand out the shared login, or end it for
//! all pods. They are answered here, about what the pod itself presented. What would mix the pods
//! of one login is refused, with the reason.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::Method;
use serde::Deserialize;

use super::{Callers, Pod};
use crate::badge::answers::{self, Subject};
use crate::body::{Body, Response};
use crate::clock::Clock;
use crate::error::Error;
use crate::request::Call;

/// What a pod may ask about its own login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OwnLogin {
    /// `auth/token/lookup-self`
    LookUp,
    /// `auth/token/renew-self`
    Renew,
    /// `auth/token/revoke-self`
    Revoke,
}

/// The body of a renewal is a few words.
const LIMIT: usize = 16 * 1024;

impl OwnLogin {
    /// What the request asks about the login it is made with, if that is what it does. These paths
    /// are of the token's own namespace, whatever the request's.
    pub fn of(call: &Call<'_>) -> Option<Self> {
        let path = call.target.decoded()?;
        let write = call.method() == Method::POST || call.method() == Method::PUT;
        match path.as_slice() {
            b"auth/token/lookup-self" if write || call.method() == Method::GET => {
                Some(Self::LookUp)
            }
            b"auth/token/renew-self" if write => Some(Self::Renew),
            b"auth/token/revoke-self" if write => Some(Self::Revoke),
            _ => None,
        }
    }
}

impl Callers {
    /// Answers what a pod asks about its own login.
    ///
    /// # Errors
    /// It cannot be done for this pod, or is not understood.
    pub async fn answer(
        &self,
        pod: &Pod,
        asked: OwnLogin,
        call: &Call<'_>,
        body: Body,
    ) -> Result<Response, Error> {
        if !call.headers.plain {
            return Err(Error::Malformed(
                "a header asks for what vaultlet, which answers this, does not do: leave out \
                 wrapping and the like",
            ));
        }
        match (asked, &pod.badge) {
            (OwnLogin::LookUp, _) => Ok(answers::lookup(&self.subject(pod, call), &pod.shared)),
            (OwnLogin::Renew, badge) => {
                let increment = increment(body).await?;
                if let Some((_, badge)) = badge {
                    self.badges.renew(badge, increment);
                }
                Ok(answers::auth(&self.subject(pod, call), &pod.shared))
            }
            (OwnLogin::Revoke, Some((own, _))) => {
                self.badges.revoke(*own);
                Ok(answers::done())
            }
            (OwnLogin::Revoke, None) => Err(Error::Denied(
                "a service-account token cannot be revoked here: delete the pod or wait for its end",
            )),
        }
    }

    fn subject<'a>(&self, pod: &'a Pod, call: &'a Call<'_>) -> Subject<'a> {
        let life = pod.holder.expires.since(self.logins.now());
        let path = pod.slot.login_path();
        match &pod.badge {
            Some((_, badge)) => {
                let left = self.badges.left(badge);
                let (made, term) = (badge.made, badge.term);
                Subject {
                    token: call.headers.token,
                    accessor: &badge.accessor,
                    made,
                    term,
                    left,
                    renewable: self.badges.renewable(badge),
                    path,
                }
            }
            None => Subject {
                token: None,
                accessor: "",
                made: Clock::wall(),
                term: life,
                left: life,
                renewable: false,
                path,
            },
        }
    }
}

/// Why a request would mix the pods of one login, if it would. `secret`: whether it is known to be
/// about a secret in a KV mount, whose path may hold any words.
pub fn mixes(call: &Call<'_>, secret: bool) -> Option<&'static str> {
    if secret {
        return None;
    }
    let path = call.target.decoded()?;
    let plain = |segment: &&[u8]| !segment.is_empty() && *segment != b".";
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(plain).collect();
    // A namespace may be part of the path: what counts is where the system path begins.
    let start = segments.iter().position(|segment| matches!(*segment, b"auth" | b"cubbyhole"))?;
    match segments[start..] {
        [b"cubbyhole", ..] => Some(
            "a cubbyhole belongs to one token, and all pods of this service account share theirs: \
             log in for a token of your own on an auth mount that vaultlet does not answer",
        ),
        [b"auth", b"token", b"create", ..] => Some(
            "a token created with the login that all pods of this service account share would end \
             with it: use auth/token/create-orphan, or a login of your own",
        ),
        [b"auth", b"token", b"lookup" | b"lookup-self" | b"renew-self" | b"revoke-self", ..] => {
            Some(
                "this would show or end the login that all pods of this service account share: \
                 ask auth/token/lookup-self, renew-self or revoke-self, as they are written here",
            )
        }
        _ => None,
    }
}

/// How much longer a renewal asks for: seconds, or a number and a unit.
async fn increment(body: Body) -> Result<Option<Duration>, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Increment {
        Seconds(u64),
        Text(String),
    }
    #[derive(Default, Deserialize)]
    struct Renewal {
        increment: Option<Increment>,
    }
    const WRONG: Error = Error::Malformed("a renewal is JSON, its `increment` seconds or like 30m");
    let body = Limited::new(body, LIMIT).collect().await.map_err(|_| WRONG)?.to_bytes();
    let renewal = if body.is_empty() {
        Renewal::default()
    } else {
        serde_json::from_slice(&body).map_err(|_| WRONG)?
    };
    let seconds = match renewal.increment {
        None => return Ok(None),
        Some(Increment::Seconds(seconds)) => seconds,
        Some(Increment::Text(text)) => {
            let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
            let unit = match &text[digits.len()..] {
                "" | "s" => 1,
                "m" => 60,
                "h" => 3600,
                "d" => 86_400,
                _ => return Err(WRONG),
            };
            let number: u64 = digits.parse().map_err(|_| WRONG)?;
            number.saturating_mul(unit)
        }
    };
    // As the server: nothing asked for is the usual.
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}
