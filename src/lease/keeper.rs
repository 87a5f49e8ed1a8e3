//! What keeps credentials alive: renewals, and successors ahead of the end.
//!
//! One task for all of them, woken when the next is due. What it starts runs beside it, so that one
//! slow answer holds up nobody; how many start in a second is the agenda's budget, and those nearest
//! their end come first.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::Semaphore;
use tracing::debug;

use super::Leases;
use super::ask::{self, Renewal};
use super::held::Lease;
use super::life::Step;
use crate::clock::Time;
use crate::error::Error;
use crate::flight::Seat;
use crate::metrics::{self, Revocation};

/// Renewals and successors under way at once.
const AT_ONCE: usize = 64;

/// Longest sleep: the clock that leases are measured by goes on while the machine sleeps, tokio's
/// does not.
const NAP: Duration = Duration::from_secs(1);

impl Leases {
    /// Keeps them alive until the future is dropped.
    pub async fn look_after(self: Arc<Self>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let now = self.clock.now();
            for lease in self.table.due(now) {
                if let Some(step) = self.settle(&lease)
                    && let Ok(place) = Arc::clone(&places).acquire_owned().await
                {
                    let leases = Arc::clone(&self);
                    tokio::spawn(async move {
                        leases.attend(&lease, step).await;
                        drop(place);
                    });
                }
            }
            let now = self.clock.now();
            let nap = self.table.next(now).map_or(NAP, |next| next.since(now).min(NAP));
            tokio::select! {
                () = tokio::time::sleep(nap.max(Duration::from_millis(1))) => (),
                () = self.sooner.notified() => (),
            }
        }
    }

    /// Does what needs no asking; returns what does.
    fn settle(&self, lease: &Arc<Lease>) -> Option<Step> {
        let now = self.clock.now();
        self.see_owner(lease, now);
        match lease.step(now, self.succeeded(lease, now)) {
            Step::Wait(next) => {
                self.table.remind(lease, next);
                None
            }
            Step::End => {
                self.table.remove(lease);
                None
            }
            step => Some(step),
        }
    }

    async fn attend(self: &Arc<Self>, lease: &Arc<Lease>, step: Step) {
        // What it was issued to is in use as long as it is.
        if let Some(slot) = &lease.holder.slot {
            slot.keep(self.clock.now());
        }
        match (step, &lease.id) {
            (Step::Renew(increment), Some(id)) => self.renew(lease, id, increment).await,
            _ => self.succeed(lease).await,
        }
        if let Some(step) = self.settle(lease) {
            // Due again at once: in its turn.
            debug!(?step, "a lease is due again");
            self.table.remind(lease, self.clock.now());
        }
        self.sooner.notify_one();
    }

    async fn renew(&self, lease: &Arc<Lease>, id: &str, increment: Duration) {
        let seen = self.seen_now();
        let result = match ask::renew(&self.upstream, lease, id, increment).await {
            Ok(Renewal::For(left)) => {
                if let Some(longest) = lease.renewed(seen, left, Some(increment)) {
                    self.table.learn_longest(&lease.key.request, longest);
                }
                if left < increment { metrics::Renewal::Capped } else { metrics::Renewal::Ok }
            }
            Ok(Renewal::Gone) => {
                self.metrics.lease_revoked(lease.engine, Revocation::Noticed);
                self.table.remove(lease);
                metrics::Renewal::Gone
            }
            Ok(Renewal::Refused) => {
                lease.with_life(super::life::Life::not_renewed);
                metrics::Renewal::Refused
            }
            Ok(Renewal::Failed) | Err(Error::Failing(StatusCode::INTERNAL_SERVER_ERROR, _)) => {
                self.failed(lease, true);
                metrics::Renewal::Failed
            }
            Err(error) => {
                debug!(%error, engine = lease.engine, "a lease was not renewed");
                self.failed(lease, false);
                metrics::Renewal::Failed
            }
        };
        self.metrics.lease_renewed(lease.engine, result);
    }

    /// Fetches another in its place, and hands that out from then on; the old one lives to its end.
    async fn succeed(self: &Arc<Self>, lease: &Arc<Lease>) {
        let now = self.clock.now();
        let Some(mut order) = self.order_again(lease, now) else {
            return self.failed(lease, false);
        };
        let pilot = match self.flights.board(&lease.key, (), |()| true) {
            Seat::Pilot(pilot) => pilot,
            // Somebody has asked for a new one anyway.
            Seat::Passenger(passenger) => {
                passenger.wait().await;
                if !lease.retired() {
                    self.failed(lease, false);
                }
                return;
            }
        };
        let succeeded = match self.tenants.begin(order.ask.tenant) {
            Ok(errand) => {
                order.errand = Some(errand);
                self.fly(order, pilot, None).await
            }
            Err(_) => false,
        };
        self.metrics.lease_rotated(lease.engine, succeeded);
        if !succeeded {
            self.failed(lease, false);
        }
    }

    fn failed(&self, lease: &Lease, about_it: bool) {
        let now: Time = self.clock.now();
        lease.with_life(|life| life.failed(now, about_it));
    }
}
