//! Is this the token of a service account of ours? What a pod brings that needs no Vault login.
//!
//! A token is verified here, against its cluster's keys ([`keys`], fetched by [`source`]), and
//! everything it says is held together ([`token`], [`claims`]). Where the configuration names an
//! API server, that one is asked as well ([`review`]): when the token is first seen, and every W
//! while it is in use, so that a deleted pod is noticed before its token expires.
//!
//! A verdict is remembered by the digest of the *whole* token (RUSTSEC-2026-0224: one that is
//! remembered by an id covers forgeries), at most until the token expires. So is a refusal, for a
//! few seconds, unless it may be the fault of missing keys or of an API server that does not answer.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::clock::{Clock, Time};
use crate::config;
use crate::error::{BoxError, Error};
use crate::flight::{Flights, Pilot, Seat};
use crate::metrics::{self, Metrics};
use crate::secret::{Fingerprint, Secret};
use crate::watch::Watched;

pub mod claims;
pub mod keys;
mod review;
mod source;
pub mod token;
mod verdict;
mod web;

#[cfg(test)]
mod tests;

use review::{Doubt, Reviewer};
use source::{Missing, Source};
use token::Jwt;
pub use verdict::{Pod, Refusal, ServiceAccount, Verified};

/// Verdicts kept. The least used give way; their tokens are verified again when they come back.
const MOST_VERDICTS: usize = 5_000;

/// Refusals kept, in a table of their own: those who are refused push out nobody who is not.
const MOST_REFUSALS: usize = 5_000;

/// How long a refusal is kept.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// After which an API server that did not answer is asked again about a token in use.
const RETRY: Duration = Duration::from_secs(1);

/// The clusters whose service accounts may ask.
#[derive(Debug)]
pub struct Issuers {
    clusters: Vec<Cluster>,
    verdicts: Cache<Fingerprint, Arc<Verified>>,
    refusals: Cache<Fingerprint, (Time, Refusal)>,
    examinations: Flights<Fingerprint, (), Result<Arc<Verified>, Refusal>>,
    window: Duration,
    clock: Clock,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Cluster {
    config: config::Kubernetes,
    keys: Arc<Source>,
    reviewer: Option<Reviewer>,
}

impl Issuers {
    /// Those of the configuration. `window` is W, after which a token in use is reviewed again.
    ///
    /// # Errors
    /// A file of authorities cannot be used. Keys that cannot be had are logged and tried again.
    pub fn new(
        config: &[config::Kubernetes],
        window: Duration,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BoxError> {
        let cluster = |config: &config::Kubernetes| {
            let reviewer = config.review.as_ref();
            let reviewer = reviewer.map(|review| Reviewer::new(review, &config.audiences));
            Ok::<_, BoxError>(Cluster {
                keys: Arc::new(Source::new(config, clock.clone(), Arc::clone(&metrics))?),
                reviewer: reviewer.transpose()?,
                config: config.clone(),
            })
        };
        Ok(Self {
            clusters: config.iter().map(cluster).collect::<Result<_, _>>()?,
            verdicts: Cache::new(MOST_VERDICTS),
            refusals: Cache::new(MOST_REFUSALS),
            examinations: Flights::default(),
            window,
            clock,
            metrics,
        })
    }

    /// Whether no cluster is configured.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    /// Whether a credential looks like a JSON Web Token, whole or cut off: it begins as an encoded
    /// `{` does, and has a dot. Vault's own tokens begin with `hv`, `s.`, `b.` or `r.`.
    pub fn shaped(credential: &[u8]) -> bool {
        matches!(credential, [b'e', b'w'..=b'z' | b'0'..=b'9' | b'-' | b'_', ..])
            && credential.contains(&b'.')
    }

    /// The hit path: a verdict that needs no asking now. The first to notice that it soon will
    /// has it asked for in the background. `own` is the fingerprint of the whole token.
    pub fn known(self: &Arc<Self>, own: Fingerprint) -> Option<Arc<Verified>> {
        let verified = self.verdicts.get(&own)?;
        let now = self.clock.now();
        if now >= verified.expires || now >= verified.settled {
            return None;
        }
        if now >= verified.due && verified.claim_review() {
            self.review_soon(own, &verified);
        }
        Some(verified)
    }

    /// Verifies a token, and waits for keys or a review if it must; once, however many wait for it.
    ///
    /// # Errors
    /// It is not good, or that cannot be found out.
    pub async fn verify(
        self: &Arc<Self>,
        token: &[u8],
        own: Fingerprint,
    ) -> Result<Arc<Verified>, Refusal> {
        if let Some(verified) = self.known(own) {
            return Ok(verified);
        }
        if let Some((until, refusal)) = self.refusals.get(&own)
            && self.clock.now() < until
        {
            return Err(refusal);
        }
        let lost = || Refusal::Unavailable(Error::unverifiable("the verification was lost"));
        match self.examinations.board(&own, (), |()| true) {
            Seat::Passenger(passenger) => passenger.wait().await.unwrap_or_else(|| Err(lost())),
            Seat::Pilot(pilot) => {
                let token = Arc::new(Secret::new(token.to_vec()));
                let issuers = Arc::clone(self);
                let task = tokio::spawn(async move { issuers.examine(token, own, pilot).await });
                task.await.unwrap_or_else(|_| Err(lost()))
            }
        }
    }

    /// What has to be done as long as the process lives, each in a task of its own.
    pub fn look_after(self: &Arc<Self>) -> Vec<impl Future<Output = ()> + Send + use<>> {
        self.clusters.iter().map(|cluster| Arc::clone(&cluster.keys).look_after()).collect()
    }

    /// The files that are read again when they change.
    pub fn watched(self: &Arc<Self>) -> Vec<Watched> {
        let files = |cluster: &Cluster| {
            [cluster.keys.watched(), cluster.reviewer.as_ref().and_then(Reviewer::watched)]
        };
        self.clusters.iter().flat_map(files).flatten().collect()
    }

    /// Forgets verdicts and refusals whose time is over, by the wall clock too: it may have been
    /// set right since. To be called every second.
    pub fn tidy(&self) {
        let now = self.clock.now();
        self.verdicts.retain(|_, verified| {
            now < verified.expires && self.clock.until_unix(verified.expires_unix).is_some()
        });
        self.refusals.retain(|_, (until, _)| now < *until);
        for cluster in &self.clusters {
            cluster.keys.tidy();
        }
    }

    /// How many tokens are known to be good.
    pub fn tokens(&self) -> usize {
        self.verdicts.len()
    }

    /// Tries to fetch each cluster's keys and to ask its API server; one line each for people.
    pub async fn attempt(self: &Arc<Self>) -> Vec<Result<String, String>> {
        let mut tried = Vec::new();
        for Cluster { config, keys, reviewer } in &self.clusters {
            let issuer = &config.issuer;
            tried.push(match keys.attempt().await {
                Ok(count) => Ok(format!("issuer {issuer}: {count} keys")),
                Err(error) => Err(format!("issuer {issuer}: {}", crate::error::chain(&error))),
            });
            if let Some(reviewer) = reviewer {
                let uri = reviewer.uri();
                tried.push(match reviewer.attempt().await {
                    Ok(()) => Ok(format!("issuer {issuer}: {uri} answers")),
                    Err(error) => Err(format!("issuer {issuer}: {}", crate::error::chain(&error))),
                });
            }
        }
        tried
    }

    /// Has a token in use reviewed, in a task of its own.
    fn review_soon(self: &Arc<Self>, own: Fingerprint, verified: &Verified) {
        if let Seat::Pilot(pilot) = self.examinations.board(&own, (), |()| true) {
            let (issuers, token) = (Arc::clone(self), Arc::clone(&verified.token));
            tokio::spawn(async move { drop(issuers.examine(token, own, pilot).await) });
        }
    }

    /// Finds out, remembers it and tells those who wait.
    async fn examine(
        &self,
        token: Arc<Secret>,
        own: Fingerprint,
        pilot: Pilot<Fingerprint, (), Result<Arc<Verified>, Refusal>>,
    ) -> Result<Arc<Verified>, Refusal> {
        let now = self.clock.now();
        let known = self.verdicts.get(&own).filter(|known| now < known.expires);
        let verdict = match known {
            // Its signature was good, and still is; whether its pod is there may have changed.
            Some(known) => self.reviewed(&known, true).await,
            None => match self.judge(token).await {
                Ok(verified) => self.reviewed(&verified, false).await,
                Err(refusal) => Err(refusal),
            },
        };
        let verdict = verdict.map(Arc::new);
        self.metrics.token(match &verdict {
            Ok(_) => metrics::Token::Verified,
            Err(Refusal::Foreign(_)) => metrics::Token::Foreign,
            Err(Refusal::Invalid(_)) => metrics::Token::Invalid,
            Err(Refusal::Unavailable(_)) => metrics::Token::Unavailable,
        });
        match &verdict {
            Ok(verified) => self.verdicts.insert(own, Arc::clone(verified)),
            Err(refusal) => self.refuse(own, refusal),
        }
        pilot.land(verdict.clone());
        verdict
    }

    /// What a token is by itself and by its cluster's keys.
    async fn judge(&self, token: Arc<Secret>) -> Result<Verified, Refusal> {
        let (subject, now) = {
            let jwt = Jwt::read(token.expose()).map_err(Refusal::Invalid)?;
            let (index, cluster) = self.choose(&jwt)?;
            // What costs nothing comes first: a token that is over causes no fetch of keys.
            let (now, unix) = (self.clock.now(), Clock::unix());
            let subject =
                jwt.claims.subject(index, &cluster.config, unix).map_err(Refusal::Invalid)?;
            let keys =
                cluster.keys.holding(&jwt.header.kid).await.map_err(|missing| match missing {
                    Missing::Unknown => Refusal::Invalid(UNKNOWN_KEY),
                    Missing::Unavailable(cause) => Refusal::Unavailable(Error::Unverifiable(cause)),
                })?;
            if !keys.verify(&jwt.header.kid, &jwt.header.alg, jwt.signed, jwt.signature) {
                return Err(Refusal::Invalid(
                    "the service-account token's signature is not the cluster's",
                ));
            }
            (subject, now)
        };
        let life = self.clock.until_unix(subject.expires).unwrap_or_default();
        Ok(Verified::new(subject, token, now.plus(life)))
    }

    /// The first cluster whose issuer and audience the token names; that it may is not yet clear.
    fn choose(&self, jwt: &Jwt<'_>) -> Result<(usize, &Cluster), Refusal> {
        let ours = |cluster: &Cluster| cluster.config.issuer == jwt.claims.iss;
        let mut ours =
            self.clusters.iter().enumerate().filter(|(_, cluster)| ours(cluster)).peekable();
        if ours.peek().is_none() {
            return Err(Refusal::Foreign("the service-account token is another cluster's"));
        }
        ours.find(|(_, cluster)| jwt.claims.for_any(&cluster.config.audiences)).ok_or(
            Refusal::Foreign(
                "the service-account token is for another audience; mount one for ours",
            ),
        )
    }

    /// The verdict as the API server has it, where one is configured.
    async fn reviewed(&self, token: &Verified, known: bool) -> Result<Verified, Refusal> {
        let Some(reviewer) = &self.clusters[token.account.cluster].reviewer else {
            return Ok(token.until(token.expires, Time::NEVER));
        };
        let asked = self.clock.now();
        match reviewer.review(token).await {
            Ok(()) => {
                self.metrics.review(metrics::Review::Confirmed);
                Ok(token.until(asked.plus(self.window), asked.plus(self.window.mul_f64(0.8))))
            }
            Err(Doubt::No(why)) => {
                self.metrics.review(metrics::Review::Denied);
                Err(Refusal::Invalid(why))
            }
            // Nobody waits for the same failure twice in W, but it is tried again before long.
            Err(Doubt::Unasked(cause)) => {
                self.metrics.review(metrics::Review::Unavailable);
                if known || reviewer.accept_when_down {
                    let now = self.clock.now();
                    Ok(token.until(now.plus(self.window), now.plus(RETRY)))
                } else {
                    Err(Refusal::Unavailable(Error::Unverifiable(cause)))
                }
            }
        }
    }

    fn refuse(&self, own: Fingerprint, refusal: &Refusal) {
        self.verdicts.remove(&own);
        let lasting = match refusal {
            Refusal::Unavailable(_) => false,
            Refusal::Invalid(why) => *why != UNKNOWN_KEY,
            Refusal::Foreign(_) => true,
        };
        if lasting {
            let until = self.clock.now().plus(REFUSED_FOR);
            self.refusals.insert(own, (until, refusal.clone()));
        }
    }
}

/// The one refusal that the next fetch of keys may turn into a yes.
const UNKNOWN_KEY: &str = "the service-account token's key is not one of the cluster's";
