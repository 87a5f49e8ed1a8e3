//! What keeps credentials alive: renewals, and successors ahead of the end.
//!
//! One task for all of them, woken when the next is due. What it starts runs beside it, and one mount
//! has half of the places at most, so that one slow database holds up nobody else; how many start in
//! a second is the agenda's budget, and those nearest their end come first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use tracing::debug;

use super::Leases;
use super::ask::{self, Renewal};
use super::held::Lease;
use super::issue::Flown;
use super::life::{Life, Step};
use crate::error::Error;
use crate::flight::Seat;
use crate::metrics::{self, Cause, Revocation};
use crate::request::NAMESPACE;

/// Renewals and successors under way at once, and those of one mount.
const AT_ONCE: usize = 64;
const OF_ONE_MOUNT: usize = AT_ONCE / 2;

/// Before one is looked at again for which there was no place.
const NO_PLACE: Duration = Duration::from_millis(250);

/// Before one is looked at again of which nothing was heard, whatever happened to its task.
const UNHEARD: Duration = Duration::from_mins(5);

/// Longest sleep: the clock that leases are measured by goes on while the machine sleeps, tokio's
/// does not.
pub(super) const NAP: Duration = Duration::from_secs(1);

/// Between two looks at one that there is nothing to be done for yet.
const SECOND: Duration = Duration::from_secs(1);

/// Between two looks. What falls due meanwhile is seen to in one go, for half of what it costs one by
/// one: a thread that sleeps between any two of thousands of renewals finds its caches cold each time.
const PAUSE: Duration = Duration::from_millis(50);

/// How many are under way for each mount.
type Places = Arc<Mutex<HashMap<Box<str>, usize>>>;

/// One of them.
struct Place {
    places: Places,
    mount: Box<str>,
}

impl Leases {
    /// Keeps them alive until the future is dropped, or they are left to themselves.
    pub async fn look_after(self: Arc<Self>) {
        self.closing.run_until_cancelled(self.keep()).await;
    }

    async fn keep(self: &Arc<Self>) {
        let places = Places::default();
        loop {
            for lease in self.table.due(self.clock.now()) {
                let Some(step) = self.settle(&lease) else { continue };
                let now = self.clock.now();
                let Some(place) = Place::take(&places, &lease) else {
                    self.table.put_off(&lease, now.plus(NO_PLACE));
                    continue;
                };
                self.table.remind(&lease, now.plus(UNHEARD));
                let leases = Arc::clone(self);
                self.tasks.spawn(async move {
                    leases.attend(&lease, step).await;
                    drop(place);
                });
            }
            tokio::time::sleep(PAUSE).await;
            let now = self.clock.now();
            let nap = self.table.next(now).map_or(NAP, |next| next.since(now).min(NAP));
            if nap.is_zero() {
                continue;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(nap) => (),
                () = self.sooner.notified() => (),
            }
        }
    }

    /// Does what needs no asking; returns what does.
    fn settle(&self, lease: &Arc<Lease>) -> Option<Step> {
        let now = self.clock.now();
        // What it was issued to is in use as long as it is.
        if let Some(slot) = lease.holder.slot.as_ref().filter(|_| lease.looked_after(now)) {
            slot.keep(now);
        }
        self.see_owner(lease, now);
        match lease.step(now, lease.succeeded(now)) {
            Step::Wait(next) => {
                self.table.remind(lease, next);
                // Somebody may have come meanwhile who wants it looked after again.
                match lease.step(now, lease.succeeded(now)) {
                    Step::Wait(sooner) if sooner < next => self.table.remind(lease, sooner),
                    Step::Wait(_) => (),
                    _ => self.table.remind(lease, now),
                }
                None
            }
            // The token may have been renewed since it was looked up.
            Step::End
                if self.countless(lease)
                    && lease.holder.slot.is_none()
                    && now < lease.expires() =>
            {
                Some(Step::End)
            }
            Step::End => {
                self.let_go(lease, Cause::Expired);
                None
            }
            // It may be that each use of the token is counted, and these are not ours to spend.
            Step::Renew(_) | Step::Succeed if !self.countless(lease) => {
                let left = lease.ends().since(now);
                self.table.remind(lease, now.plus((left / 4).max(SECOND)));
                None
            }
            step => Some(step),
        }
    }

    /// Whether it is known that the token's uses are not counted.
    fn countless(&self, lease: &Lease) -> bool {
        let looked_up = |holder| self.logins.get(holder).is_some_and(|it| it.class.is_some());
        lease.known() || looked_up(lease.holder.fingerprint()) && lease.learn_known()
    }

    async fn attend(self: &Arc<Self>, lease: &Arc<Lease>, step: Step) {
        match (step, &lease.id) {
            (Step::Renew(increment), Some(id)) => self.renew(lease, id, increment).await,
            (Step::End, _) => self.end_with_owner(lease).await,
            _ => self.succeed(lease).await,
        }
        self.changed();
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
                    self.table.learn_longest(&lease.key.request, longest, seen.at);
                }
                if left < increment { metrics::Renewal::Capped } else { metrics::Renewal::Ok }
            }
            Ok(Renewal::Gone) => {
                self.metrics.lease_revoked(lease.engine, Revocation::Noticed);
                self.let_go(lease, Cause::Invalidated);
                metrics::Renewal::Gone
            }
            Ok(Renewal::Refused) => {
                lease.with_life(Life::not_renewed);
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
        // What cannot be held is not asked for: nobody would have it.
        let order = Self::order_again(lease, self.clock.now()).filter(|_| !self.table.full());
        let Some(mut order) = order else { return self.failed(lease, false) };
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
        let flown = match self.tenants.begin(order.ask.tenant) {
            Ok(errand) => {
                order.errand = Some(errand);
                self.fly(order, pilot, None).await
            }
            Err(_) => Flown::Failed,
        };
        self.metrics.lease_rotated(lease.engine, flown == Flown::Held);
        match flown {
            Flown::Held => (),
            // There are no more like it.
            Flown::Unheld => self.table.retire(lease),
            Flown::Failed => self.failed(lease, false),
        }
    }

    /// Forgets it if the token that it was issued to has really ended.
    async fn end_with_owner(&self, lease: &Arc<Lease>) {
        let namespace = lease.request.headers.get(NAMESPACE);
        let holder = &lease.holder.credential;
        let login = self.logins.lookup(holder, lease.request.tenant, namespace).await;
        let now = self.clock.now();
        let lives = login.is_ok_and(|login| login.class.is_some() && now < login.expires);
        if !lives {
            self.let_go(lease, Cause::Expired);
        }
    }

    fn failed(&self, lease: &Lease, about_it: bool) {
        let now = self.clock.now();
        lease.with_life(|life| life.failed(now, about_it));
    }
}

impl Place {
    /// One for `lease`, if there is any.
    fn take(places: &Places, lease: &Lease) -> Option<Self> {
        let request = &lease.key.request;
        let mount = request.path[request.namespace..].split('/').next().unwrap_or_default();
        let mount: Box<str> = mount.into();
        let mut taken = places.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= AT_ONCE {
            return None;
        }
        let own = taken.entry(mount.clone()).or_default();
        if *own >= OF_ONE_MOUNT {
            return None;
        }
        *own += 1;
        drop(taken);
        Some(Self { places: Arc::clone(places), mount })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let left = taken.get(&self.mount).map_or(0, |own| own - 1);
        if left == 0 {
            taken.remove(&self.mount);
        } else {
            taken.insert(self.mount.clone(), left);
        }
    }
}
