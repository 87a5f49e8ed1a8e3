//! What is counted of service-account tokens, and of the servers that vouch for them.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Metrics, Series};

/// What came of looking at a service-account token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Token {
    /// It is for another issuer or audience than ours.
    Foreign,
    /// It is malformed, forged, expired or withdrawn.
    Invalid,
    /// The cluster's keys or its API server could not be had.
    Unavailable,
    /// It is good.
    Verified,
}

impl Token {
    const fn label(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::Verified => "verified",
        }
    }
}

/// What an API server said of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Review {
    /// Yes.
    Confirmed,
    /// No.
    Denied,
    /// Nothing.
    Unavailable,
}

impl Review {
    const fn label(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The series.
#[derive(Debug)]
pub(super) struct Kubernetes {
    tokens: IntCounterVec,
    reviews: IntCounterVec,
    refreshes: IntCounterVec,
    ages: IntGaugeVec,
}

impl Kubernetes {
    pub(super) fn new(series: &Series) -> prometheus::Result<Self> {
        let metrics = Self {
            tokens: series.counters(
                "vaultlet_service_account_tokens_total",
                "Service-account tokens looked at, by result; those remembered are not counted again.",
                &["result"],
            )?,
            reviews: series.counters(
                "vaultlet_token_reviews_total",
                "Questions to API servers about tokens, by result.",
                &["result"],
            )?,
            refreshes: series.counters(
                "vaultlet_jwks_refreshes_total",
                "Fetches of the clusters' keys, by result.",
                &["result"],
            )?,
            ages: series.gauges(
                "vaultlet_jwks_age_seconds",
                "Time since the cluster's keys were last fetched, by issuer.",
                &["issuer"],
            )?,
        };
        for token in [Token::Foreign, Token::Invalid, Token::Unavailable, Token::Verified] {
            metrics.tokens.with_label_values(&[token.label()]);
        }
        for review in [Review::Confirmed, Review::Denied, Review::Unavailable] {
            metrics.reviews.with_label_values(&[review.label()]);
        }
        for result in ["ok", "failed"] {
            metrics.refreshes.with_label_values(&[result]);
        }
        Ok(metrics)
    }
}

impl Metrics {
    /// Counts a service-account token that was looked at.
    pub fn token(&self, token: Token) {
        self.kubernetes.tokens.with_label_values(&[token.label()]).inc();
    }

    /// Counts a question to an API server.
    pub fn review(&self, review: Review) {
        self.kubernetes.reviews.with_label_values(&[review.label()]).inc();
    }

    /// Counts a fetch of a cluster's keys.
    pub fn keys_refreshed(&self, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.kubernetes.refreshes.with_label_values(&[result]).inc();
    }

    /// Records how old a cluster's keys are; `issuer` is one of the configuration's.
    pub fn keys_age(&self, issuer: &str, age: Duration) {
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.kubernetes.ages.with_label_values(&[issuer]).set(age);
    }
}
