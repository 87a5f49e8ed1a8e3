//! Is a credential still good: is its lease there, and may its owner have it?

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;

use super::Leases;
use super::ask::{self, Found};
use super::held::Lease;
use super::seen::{Lack, Seen, Windows};
use crate::clock::Time;
use crate::error::Error;
use crate::flight::Seat;
use crate::identity::{Login, sensitive};
use crate::kv::Question;
use crate::metrics::{Cause, Revocation};
use crate::snapshot::Verdict;

/// What came of asking.
#[derive(Clone, Debug)]
pub(super) enum Vouched {
    /// It is good.
    Good,
    /// There is none any more, or none that may be handed out without asking for it.
    Gone,
    /// Its owner may not have it.
    Denied,
    /// The upstream could not be asked.
    Failed(Error),
}

impl Leases {
    /// What is to be asked before a credential is handed out; `None`: nothing.
    pub(super) fn lacks(&self, question: &Question<'_>, lease: &Lease, now: Time) -> Option<Lack> {
        let mut lack = lease.lacks(now, self.windows());
        if lack.right
            && let Some(at) = self.decide(question, lease)
        {
            lease.prove(Seen { at, doubts: self.doubts() });
            lack = lease.lacks(now, self.windows());
        }
        Some(lack).filter(|lack| lack.any())
    }

    /// As of when the policies known here allow the request, if they say so beyond doubt.
    fn decide(&self, question: &Question<'_>, lease: &Lease) -> Option<Time> {
        let request = &lease.key.request;
        if request.writes || !request.query.is_empty() {
            return None;
        }
        let login = self.logins.get(question.fingerprint)?;
        match self.policies.as_ref()?.judge(&login, login.class?, &request.path, None) {
            Verdict::Allow(at) => Some(at),
            Verdict::Ask | Verdict::Deny | Verdict::LookUp => None,
        }
    }

    /// Has what is about to run out asked in the background, by the first who comes by.
    pub(super) fn keep_warm(
        self: &Arc<Self>,
        question: &Question<'_>,
        login: &Arc<Login>,
        lease: &Arc<Lease>,
        now: Time,
    ) {
        if self.logins.due(login, now) {
            self.kv.look_up_soon(question);
        }
        if lease.succeeded(now) && lease.claim_succession() {
            self.see_to(lease, now);
        }
        let Windows { right, confirmation, doubts } = self.windows();
        let early = |window: Duration| window.mul_f64(0.8);
        let windows = Windows { right: early(right), confirmation: early(confirmation), doubts };
        if lease.lacks(now, windows).any()
            && lease.claim_vouching()
            && let Ok(token) = token(question)
        {
            let (leases, lease) = (Arc::clone(self), Arc::clone(lease));
            tokio::spawn(async move {
                leases.vouch_with(&lease, windows, token).await;
                lease.release_vouching();
            });
        }
    }

    /// Asks what is to be asked, once for all who wait.
    pub(super) async fn vouch(
        self: &Arc<Self>,
        question: &Question<'_>,
        lease: &Arc<Lease>,
    ) -> Vouched {
        let token = match token(question) {
            Ok(token) => token,
            Err(error) => return Vouched::Failed(error),
        };
        self.vouch_with(lease, self.windows(), token).await
    }

    async fn vouch_with(
        self: &Arc<Self>,
        lease: &Arc<Lease>,
        windows: Windows,
        token: HeaderValue,
    ) -> Vouched {
        let passenger = match self.vouchings.board(&lease.serial, (), |()| true) {
            Seat::Passenger(passenger) => passenger,
            Seat::Pilot(pilot) => {
                let (leases, lease) = (Arc::clone(self), Arc::clone(lease));
                let task = tokio::spawn(async move {
                    let vouched = leases.ask_about(&lease, windows, &token).await;
                    pilot.land(vouched.clone());
                    vouched
                });
                return task.await.unwrap_or_else(|_| Vouched::Failed(lost()));
            }
        };
        passenger.wait().await.unwrap_or_else(|| Vouched::Failed(lost()))
    }

    async fn ask_about(
        &self,
        lease: &Arc<Lease>,
        windows: Windows,
        token: &HeaderValue,
    ) -> Vouched {
        let seen = self.seen_now();
        let lack = lease.lacks(seen.at, windows);
        let right = async {
            if !lack.right {
                return Ok(Some(true));
            }
            ask::capable(&self.upstream, lease, token).await
        };
        let there = async {
            match &lease.id {
                Some(id) if lack.confirmation => {
                    ask::look_up(&self.upstream, lease, id, token).await.map(Some)
                }
                _ => Ok(None),
            }
        };
        let (right, there) = tokio::join!(right, there);
        // A no counts, whatever became of the other question.
        let dead = matches!(there, Ok(Some(Found::Dead)));
        if dead || matches!(right, Ok(Some(false))) {
            lease.disprove(self.clock.now());
            self.changed();
            return Vouched::Denied;
        }
        match there {
            Err(error) => return Vouched::Failed(error),
            Ok(Some(Found::Gone)) => {
                self.metrics.lease_revoked(lease.engine, Revocation::Noticed);
                self.let_go(lease, Cause::Invalidated);
                self.changed();
                return Vouched::Gone;
            }
            // Who may not ask is not told; the next renewal is.
            Ok(Some(Found::Unasked)) => {
                lease.confirm(seen, None);
            }
            Ok(Some(Found::For(left))) => {
                if lease.confirm(seen, Some(left)) {
                    self.see_to(lease, seen.at);
                }
            }
            Ok(Some(Found::Dead) | None) => (),
        }
        match right {
            Err(error) => Vouched::Failed(error),
            Ok(Some(_)) => {
                if lack.right {
                    lease.prove(seen);
                }
                Vouched::Good
            }
            // Nobody can tell but the upstream, by issuing another.
            Ok(None) => {
                self.table.retire(lease);
                Vouched::Gone
            }
        }
    }
}

/// The token a question is asked with, as a header.
pub(super) fn token(question: &Question<'_>) -> Result<HeaderValue, Error> {
    question.signature.cloned().map_or_else(|| sensitive(question.token), Ok)
}

fn lost() -> Error {
    Error::silent("a question about a lease was lost")
}
