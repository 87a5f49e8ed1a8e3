//! Every way a request can fail in vaultlet itself, and what the caller is told about it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};

use crate::body::{self, Response};

/// A cause that is logged and never matched on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The same where several callers wait for one answer and so share one failure.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// What keeps the upstream from being asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// It does not answer, answers with a failure, or turns requests away.
    Failing,
    /// It answers that it is sealed: an operator's act, not an accident.
    Sealed,
}

/// Why a request got no answer from the upstream or the cache.
///
/// There is one variant per outcome *the caller can act on*, not one per library that can fail.
/// `Display` is the body of the answer, so it never names a host, a policy or a path; whatever an
/// operator needs to know travels in `source` and is logged once, in `edge`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The caller may not, as vaultlet itself knows.
    #[error("{0}")]
    Denied(&'static str),
    /// The upstream answered that it could not answer.
    #[error("the upstream answered with a failure, and nothing cached may stand in for it")]
    Failing(StatusCode, Trouble),
    /// The upstream answered, and the answer cannot be what it was asked for.
    #[error(
        "the upstream's answer could not be understood, and nothing cached may stand in for it"
    )]
    Garbage(#[source] SharedError),
    /// A guardrail does not allow it.
    #[error("a guardrail of this node does not allow this; its operator's log says which")]
    Guarded(#[source] SharedError),
    /// The upstream broke off before it answered: what was asked of it may have happened.
    #[error("the upstream broke off, and nothing cached may stand in for its answer")]
    Lost(#[source] SharedError),
    /// The request can be read in two ways, or not at all.
    #[error("request refused: {0}")]
    Malformed(&'static str),
    /// The upstream does not log a service account in.
    #[error("{what}")]
    NoLogin {
        /// What it said, of whom, and what to do.
        what: Arc<str>,
        /// Whether it may be about the token shown, and not about the service account.
        token: bool,
    },
    /// The node has as many requests waiting for the upstream as it accepts.
    #[error("too many requests are waiting for the upstream; try again")]
    Overloaded,
    /// The upstream failed of late, or turned requests away, and is not asked for now; for how long.
    #[error(
        "the upstream fails or turns requests away, so it is left alone for a moment, and nothing \
         cached may stand in for it; try again"
    )]
    Resting(StatusCode, Duration),
    /// The listener asks for a header that web pages cannot make a browser or server send.
    #[error("missing header \"X-Vault-Request: true\"")]
    RequestHeader,
    /// The caller uses more of this node than one caller may.
    #[error("{0}; try again")]
    Throttled(&'static str),
    /// The upstream did not answer in time, and nothing cached may stand in for it.
    #[error("the upstream did not answer within {0:?}, and nothing cached may stand in for it")]
    Timeout(Duration),
    /// The body is larger than the upstream would take.
    #[error("request body is larger than {0} bytes")]
    TooLarge(u64),
    /// A role whose tokens pods cannot share.
    #[error(
        "the tokens of this role have counted uses or bound addresses, which pods cannot share: \
         set token_num_uses of the role to 0"
    )]
    Unshareable,
    /// The record of the answer was not accepted, so the answer may not leave.
    #[error("the audit log does not accept records, and nothing is answered without one")]
    Unaudited,
    /// A service-account token could not be held against its cluster.
    #[error(
        "the service-account token cannot be verified now: the cluster's keys or its API server \
         cannot be reached; try again"
    )]
    Unverifiable(#[source] SharedError),
    /// The upstream could not be reached, and nothing was sent to it; nothing cached may stand in.
    #[error("the upstream cannot be reached, and nothing cached may stand in for it")]
    Unreachable(#[source] SharedError),
}

/// A cause that no library has given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Because(Cow<'static, str>);

impl Error {
    /// An answer that is not one.
    pub fn garbage(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Garbage(Arc::new(cause))
    }

    /// A rule of this node's does not allow it; `why` names the rule, for the log.
    pub fn guarded(why: String) -> Self {
        Self::Guarded(Arc::new(Because(why.into())))
    }

    /// An answer that is not one, for a reason of our own.
    pub fn nonsense(why: &'static str) -> Self {
        Self::garbage(Because(why.into()))
    }

    /// No answer, for a reason of our own.
    pub fn silent(why: &'static str) -> Self {
        Self::unreachable(Because(why.into()))
    }

    /// The upstream is back from an outage, and is asked for no more than it bears.
    pub fn recovering() -> Self {
        Self::Resting(StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO)
    }

    /// No verdict on a token, for a reason of our own.
    pub fn unverifiable(why: &'static str) -> Self {
        Self::Unverifiable(Arc::new(Because(why.into())))
    }

    /// No connection to ask on.
    pub fn unreachable(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unreachable(Arc::new(cause))
    }

    /// Whether the request may have reached the upstream, and done there what it does.
    pub fn arrived(&self) -> bool {
        !matches!(
            self,
            Self::Denied(_)
                | Self::Guarded(_)
                | Self::NoLogin { .. }
                | Self::Overloaded
                | Self::Resting(..)
                | Self::Throttled(_)
                | Self::Unreachable(_)
                | Self::Unshareable
                | Self::Unverifiable(_)
        )
    }

    /// What this says about the upstream; `None` where it is the request that is at fault.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Failing(_, trouble) => Some(*trouble),
            Self::Garbage(_)
            | Self::Lost(_)
            | Self::Resting(..)
            | Self::Timeout(_)
            | Self::Unreachable(_) => Some(Trouble::Failing),
            Self::Denied(_)
            | Self::Guarded(_)
            | Self::Malformed(_)
            | Self::NoLogin { .. }
            | Self::Overloaded
            | Self::RequestHeader
            | Self::Throttled(_)
            | Self::TooLarge(_)
            | Self::Unaudited
            | Self::Unshareable
            | Self::Unverifiable(_) => None,
        }
    }

    /// Whether the upstream has answered, and may have an answer to the caller that it had not to
    /// vaultlet.
    pub fn answered(&self) -> bool {
        matches!(self, Self::Failing(..) | Self::Garbage(_))
    }

    /// A status that Vault's clients already handle.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Failing(status, _) | Self::Resting(status, _) => *status,
            Self::Garbage(_) | Self::Lost(_) | Self::Unreachable(_) => StatusCode::BAD_GATEWAY,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Overloaded | Self::Unaudited | Self::Unverifiable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Denied(_)
            | Self::Guarded(_)
            | Self::NoLogin { .. }
            | Self::RequestHeader
            | Self::Unshareable => StatusCode::FORBIDDEN,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// The answer in Vault's shape: `{"errors":["vaultlet: …"]}`.
    pub fn into_response(self) -> Response {
        let text = serde_json::json!({ "errors": [format!("vaultlet: {self}")] }).to_string();
        let mut response = hyper::Response::new(body::full(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Resting(_, pause) => {
                headers.insert(
                    RETRY_AFTER,
                    HeaderValue::from(
                        pause.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX),
                    ),
                );
            }
            Self::Overloaded | Self::Throttled(_) | Self::Unverifiable(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // Where one request ends and the next begins may be what was ambiguous.
            Self::Malformed(_) | Self::TooLarge(_) => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => (),
        }
        response
    }
}

/// An error and its causes in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn the_cause_is_kept_for_the_log_and_out_of_the_body() {
        let error = Error::silent("dial 192.0.2.7:8200: connection refused");
        let cause = std::error::Error::source(&error).unwrap().to_string();

        let response = error.into_response();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();

        assert!(cause.contains("192.0.2.7"));
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(body.starts_with(br#"{"errors":["vaultlet: the upstream cannot be reached"#));
        assert!(!body.windows(9).any(|w| w == b"192.0.2.7"));
    }

    #[test]
    fn who_is_turned_away_is_told_when_to_come_back() {
        assert_eq!(Error::Overloaded.into_response().headers()[RETRY_AFTER], "1");
        for (millis, seconds) in [(0, "1"), (1000, "1"), (1001, "2")] {
            let resting =
                Error::Resting(StatusCode::SERVICE_UNAVAILABLE, Duration::from_millis(millis));
            assert_eq!(resting.into_response().headers()[RETRY_AFTER], seconds);
        }
    }
}
