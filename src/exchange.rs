//! How does a service account become a Vault token?
//!
//! Once for all its pods: the first that comes lends its own token for one login upstream, and
//! what comes of it, the *shared login*, takes the place of every pod's credential. The upstream
//! decides whether the service account may have the role; vaultlet decides, each time, that the pod
//! is the service account (`kubernetes`).
//!
//! A shared login is renewed while it is used, and made anew before its longest life is over, with
//! the youngest token that a pod has shown. That it may be made with another pod's token than the
//! caller's is the point; that it is never made with one that is no longer good is the rule.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Time};
use crate::config::KubernetesLogin;
use crate::error::Error;
use crate::flight::{Flights, Pilot, Seat};
use crate::identity::Logins;
use crate::kubernetes::{ServiceAccount, Verified};
use crate::metrics::Metrics;
use crate::sealed::{Changes, Writer};
use crate::tenant::Tenants;
use crate::upstream::Upstream;

mod login;
mod role;
mod roll;
mod slot;
mod stored;

pub use role::Roles;
pub use slot::{Place, Shared, Slot};
pub use stored::Clusters;

/// Slots kept at most. One is a few hundred bytes, and needs a verified token to come about.
const MOST_SLOTS: usize = 20_000;

/// Bytes. Who logs in names the role.
const LONGEST_ROLE: usize = 256;

/// How long a refusal by the upstream is believed, so that a pod that crashes and comes back every
/// second costs one request.
const REFUSED: Duration = Duration::from_secs(10);

/// How long a role whose tokens cannot be shared is taken for one.
const UNSHAREABLE: Duration = Duration::from_mins(5);

/// The shared logins of all service accounts.
#[derive(Debug)]
pub struct Exchange {
    slots: Mutex<HashMap<Arc<Place>, Arc<Slot>>>,
    flights: Flights<Arc<Place>, (), Result<Arc<Shared>, Error>>,
    /// By cluster.
    roles: Vec<Roles>,
    logins: Arc<Logins>,
    upstream: Arc<Upstream>,
    tenants: Arc<Tenants>,
    changes: Changes,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Exchange {
    /// With one set of rules for each cluster, in the order of the configuration.
    pub fn new<'c>(
        clusters: impl IntoIterator<Item = &'c KubernetesLogin>,
        parts: (Arc<Logins>, Arc<Upstream>, Arc<Tenants>),
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (logins, upstream, tenants) = parts;
        let roles = clusters.into_iter().map(Roles::new).collect();
        let (slots, flights, changes) = Default::default();
        Self { slots, flights, roles, logins, upstream, tenants, changes, clock, metrics }
    }

    /// Has `writer` make them outlive the process, from now on.
    pub fn kept_by(&self, writer: &Arc<Writer>) {
        self.changes.kept_by(writer);
    }

    /// How the service accounts of a cluster find their roles.
    pub fn roles(&self, cluster: usize) -> Option<&Roles> {
        self.roles.get(cluster)
    }

    /// All of them, by cluster.
    pub fn all_roles(&self) -> impl Iterator<Item = (usize, &Roles)> {
        self.roles.iter().enumerate()
    }

    /// Where the shared login of `account` is, or will be.
    ///
    /// # Errors
    /// There are too many, or the role's name is too long to be one.
    pub fn slot(
        &self,
        account: &Arc<ServiceAccount>,
        mount: &str,
        role: &str,
    ) -> Result<Arc<Slot>, Error> {
        if role.len() > LONGEST_ROLE {
            return Err(Error::Malformed("the name of a role is longer than 256 bytes"));
        }
        let place = Place { account: Arc::clone(account), mount: mount.into(), role: role.into() };
        let place = Arc::new(place);
        let mut slots = self.locked();
        if let Some(slot) = slots.get(&place) {
            return Ok(Arc::clone(slot));
        }
        let now = self.clock.now();
        if slots.len() >= MOST_SLOTS {
            // One pod can make up as many roles as it likes: what has no login gives way.
            slots.retain(|_, slot| slot.good(now).is_some() || Arc::strong_count(slot) > 1);
        }
        if slots.len() >= MOST_SLOTS {
            return Err(Error::Throttled("too many service accounts and roles on this node"));
        }
        let slot = Arc::new(Slot::new(Arc::clone(&place), now));
        slots.insert(place, Arc::clone(&slot));
        Ok(slot)
    }

    /// The shared login of a slot; made now, with the caller's token, if there is none.
    ///
    /// # Errors
    /// The upstream refuses it, or cannot be asked.
    pub async fn login(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        caller: &Arc<Verified>,
    ) -> Result<Arc<Shared>, Error> {
        let now = self.clock.now();
        slot.used(now, caller);
        if let Some(shared) = slot.good(now)
            && !self.dead(&shared)
        {
            return Ok(shared);
        }
        Box::pin(self.make(slot, caller)).await
    }

    /// The upstream has refused a shared login as unknown: whoever comes next has another made.
    pub fn lost(&self, slot: &Slot, shared: &Arc<Shared>) {
        // One that was made a moment ago is not lost: the upstream refuses something else.
        if self.clock.now().since(shared.made) > Duration::from_secs(1) {
            slot.drop_login(shared);
            self.changes.noted();
            self.logins.forget(shared.credential.fingerprint);
        }
    }

    /// Whether a lookup has shown that the upstream does not know the token any more.
    fn dead(&self, shared: &Arc<Shared>) -> bool {
        let login = self.logins.get(shared.credential.fingerprint);
        login.is_some_and(|login| login.dead && login.asked > shared.made)
    }

    /// Logs in, once for all who wait.
    async fn make(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        caller: &Arc<Verified>,
    ) -> Result<Arc<Shared>, Error> {
        if let Some(refusal) = slot.refusal(caller, self.clock.now()) {
            return Err(refusal);
        }
        let passenger = match self.flights.board(&slot.place, (), |()| true) {
            Seat::Passenger(passenger) => passenger,
            Seat::Pilot(pilot) => {
                // Another flight may have landed since we looked.
                if let Some(shared) = slot.good(self.clock.now()).filter(|it| !self.dead(it)) {
                    pilot.land(Ok(Arc::clone(&shared)));
                    return Ok(shared);
                }
                let errand = self.tenants.begin(slot.tenant)?;
                let (exchange, slot) = (Arc::clone(self), Arc::clone(slot));
                let caller = Arc::clone(caller);
                let task = tokio::spawn(async move {
                    let made = exchange.fly(&slot, &caller, pilot).await;
                    drop(errand);
                    made
                });
                return task.await.map_err(Error::unreachable)?;
            }
        };
        passenger.wait().await.unwrap_or_else(|| Err(Error::silent("a login was lost")))
    }

    /// The login itself, in a task of its own: whoever hangs up, the others have it.
    async fn fly(
        &self,
        slot: &Slot,
        caller: &Arc<Verified>,
        pilot: Pilot<Arc<Place>, (), Result<Arc<Shared>, Error>>,
    ) -> Result<Arc<Shared>, Error> {
        let made = self.ask_login(slot, caller).await;
        match &made {
            Ok(shared) => self.set(slot, Arc::clone(shared)),
            Err(error @ Error::NoLogin { token, .. }) => {
                let whose = token.then(|| Arc::clone(&caller.token));
                slot.refuse(error.clone(), self.clock.now().plus(REFUSED), whose);
            }
            // The role may be changed, but each look at it costs a login.
            Err(error @ Error::Unshareable) => {
                slot.refuse(error.clone(), self.clock.now().plus(UNSHAREABLE), None);
            }
            Err(_) => (),
        }
        pilot.land(made.clone());
        made
    }

    /// Renews what is in use and makes anew what cannot be renewed much longer, for ever.
    pub async fn look_after(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.clock.now();
            let due: Vec<_> = self.tidy(now);
            for slot in due {
                let exchange = Arc::clone(&self);
                tokio::spawn(async move { exchange.renew(&slot).await });
            }
        }
    }

    /// Forgets the slots nobody uses, and names those whose login is to be renewed now.
    fn tidy(&self, now: Time) -> Vec<Arc<Slot>> {
        let mut slots = self.locked();
        // What a badge or a token's memory still names is kept, or there would be two of it.
        slots.retain(|_, slot| !slot.idle(now) || Arc::strong_count(slot) > 1);
        self.metrics.shared_logins(slots.values().filter(|slot| slot.good(now).is_some()).count());
        slots.values().filter(|slot| slot.claim_renewal(now)).cloned().collect()
    }

    /// Keeps one login alive: renewed if that gains time, made anew otherwise.
    async fn renew(self: &Arc<Self>, slot: &Arc<Slot>) {
        let now = self.clock.now();
        let Some(shared) = slot.good(now) else { return };
        if shared.renewable {
            match self.ask_renewal(slot, &shared).await {
                Ok(renewed) if renewed.gained(&shared) => return self.set(slot, Arc::new(renewed)),
                Err(error) if error.trouble().is_some() => return slot.try_later(now),
                // Near its longest life, or refused: only another login helps.
                Ok(_) | Err(_) => (),
            }
        }
        // If nothing comes of it, the old one serves to its end.
        let remade = match slot.youngest(now) {
            Some(caller) => self.remake(slot, &caller).await.is_ok(),
            None => false,
        };
        if !remade {
            slot.try_later(self.clock.now());
        }
    }

    fn set(&self, slot: &Slot, shared: Arc<Shared>) {
        slot.set(shared);
        self.changes.noted();
    }

    /// Makes a login although there is one.
    async fn remake(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        caller: &Arc<Verified>,
    ) -> Result<Arc<Shared>, Error> {
        match self.flights.board(&slot.place, (), |()| true) {
            Seat::Passenger(passenger) => {
                passenger.wait().await.unwrap_or_else(|| Err(Error::silent("a login was lost")))
            }
            Seat::Pilot(pilot) => self.fly(slot, caller, pilot).await,
        }
    }

    /// How many service accounts and roles have a slot.
    pub fn len(&self) -> usize {
        self.locked().len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn locked(&self) -> MutexGuard<'_, HashMap<Arc<Place>, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
