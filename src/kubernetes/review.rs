//! Does the API server still stand by a token? The one question that notices a deleted pod or
//! service account before the token expires.
//!
//! `POST /apis/authentication.k8s.io/v1/tokenreviews`, with a credential of our own. An answer that
//! is not about this token's subject, or not for our audiences, is a no.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Uri;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::web::Web;
use super::{Pod, ServiceAccount, Verified};
use crate::config::TokenReview;
use crate::error::{BoxError, SharedError};
use crate::secret::wiped;
use crate::watch::Watched;

/// Reviews under way at one API server.
const MOST: usize = 32;

/// For a place among them and the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer repeats the token and lists the groups; two to ten kilobytes.
const LIMIT: usize = 256 * 1024;

/// An API server that is asked about tokens.
#[derive(Debug)]
pub(super) struct Reviewer {
    uri: Uri,
    audiences: Vec<String>,
    /// Whether tokens never seen before are accepted while it cannot be asked.
    pub accept_when_down: bool,
    web: Arc<Web>,
    places: Semaphore,
    /// Whether it could not be asked, last time.
    down: AtomicBool,
}

/// Why a token is not confirmed.
#[derive(Debug)]
pub(super) enum Doubt {
    /// The API server says no.
    No(&'static str),
    /// It cannot be asked.
    Unasked(SharedError),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    token: &'a str,
    audiences: &'a [String],
}

/// `k8s.io/api/authentication/v1`, `TokenReview`.
#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    pub(super) status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    authenticated: bool,
    error: String,
    audiences: Vec<String>,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    extra: Extra,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extra {
    #[serde(rename = "authentication.kubernetes.io/pod-name")]
    pod_name: Vec<String>,
    #[serde(rename = "authentication.kubernetes.io/pod-uid")]
    pod_uid: Vec<String>,
}

impl Reviewer {
    pub(super) fn new(config: &TokenReview, audiences: &[String]) -> Result<Self, BoxError> {
        let base = config.address.to_string();
        let base = base.trim_end_matches('/');
        Ok(Self {
            uri: format!("{base}/apis/authentication.k8s.io/v1/tokenreviews").parse()?,
            audiences: audiences.to_vec(),
            accept_when_down: config.accept_when_down,
            web: Arc::new(Web::new(config.ca_file.clone(), config.token_file.clone())?),
            places: Semaphore::new(MOST),
            down: AtomicBool::new(false),
        })
    }

    /// Asks about a token whose own content has been verified.
    pub(super) async fn review(&self, token: &Verified) -> Result<(), Doubt> {
        let text = str::from_utf8(token.token.expose()).unwrap_or_default();
        let answer = tokio::time::timeout(PATIENCE, self.ask(text)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer within 5 s".into()));
        let answer = answer.map_err(|error| {
            if !self.down.swap(true, Ordering::Relaxed) {
                let error = crate::error::chain(error.as_ref());
                warn!(uri = %self.uri, error, "the API server cannot be asked about tokens; known \
                    ones go on until they expire; see auth.kubernetes.token_review");
            }
            Doubt::Unasked(error.into())
        })?;
        if self.down.swap(false, Ordering::Relaxed) {
            info!(uri = %self.uri, "the API server answers again");
        }
        answer.status.confirms(&token.account, token.pod.as_deref(), &self.audiences)
    }

    /// Whether it can be asked at all: it is, about a token that is none.
    pub(super) async fn attempt(&self) -> Result<(), SharedError> {
        self.ask("vaultlet-check").await.map(drop).map_err(SharedError::from)
    }

    /// The address of the question, for people.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The files whose change is to be noticed.
    pub(super) fn watched(&self) -> Option<Watched> {
        self.web.watched()
    }

    async fn ask(&self, token: &str) -> Result<Answer, BoxError> {
        let _place = self.places.acquire().await?;
        let question = Question {
            api_version: "authentication.k8s.io/v1",
            kind: "TokenReview",
            spec: Spec { token, audiences: &self.audiences },
        };
        // Room enough from the start, so that no part of the token is left behind by growing.
        let audiences: usize = self.audiences.iter().map(|audience| 2 * audience.len() + 16).sum();
        let mut body = Vec::with_capacity(2 * token.len() + audiences + 256);
        serde_json::to_writer(&mut body, &question)?;
        let answer = self.web.post(&self.uri, wiped(body), LIMIT).await?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Status {
    pub(super) fn confirms(
        &self,
        account: &ServiceAccount,
        pod: Option<&Pod>,
        audiences: &[String],
    ) -> Result<(), Doubt> {
        let same = |said: &[String], ours: &str| said.is_empty() || said == [ours];
        let user = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
        if !self.authenticated || !self.error.is_empty() {
            return Err(Doubt::No(
                "the cluster no longer accepts the service-account token; its pod or service \
                 account may have been deleted",
            ));
        }
        if !self.audiences.iter().any(|audience| audiences.contains(audience)) {
            return Err(Doubt::No("the cluster accepts the service-account token for others only"));
        }
        if self.user.username != user
            || self.user.uid != *account.uid
            || pod.is_some_and(|pod| {
                !same(&self.user.extra.pod_name, &pod.name)
                    || !same(&self.user.extra.pod_uid, &pod.uid)
            })
        {
            return Err(Doubt::No("the cluster says that the service-account token is another's"));
        }
        Ok(())
    }
}
