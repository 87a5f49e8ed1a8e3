//! On whose account is something done, and how much may one caller have?
//!
//! Everything that is asked of the upstream, and every entry kept, is on the account of a
//! [`Tenant`]. [`Tenants`] holds the accounts to their bounds, and forgets those that nobody uses.
//! What waits for the upstream is served tenant by tenant (`upstream::gate`), so that one who asks
//! for much waits for itself. An answer that is at hand is on nobody's account, and neither is one
//! that somebody else is fetching already: they cost the upstream nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;

use crate::clock::{Clock, Time};
use crate::config::TenantLimits;
use crate::error::Error;
use crate::secret::Fingerprint;

/// Whoever something is done for, as far as that can be told.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Tenant(Kind);

#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Kind {
    /// Callers without a credential: nothing tells one from the other.
    Anonymous,
    /// Tokens of one rights class, which the upstream has vouched for.
    Class([u8; 16]),
    /// A service account, which its cluster has vouched for.
    ServiceAccount([u8; 16]),
    /// A credential that nobody has vouched for. They are free to make up, so their number counts
    /// for nothing: all of them together have one tenant's turn.
    Stranger(Fingerprint),
    /// All of those.
    Strangers,
    /// vaultlet itself.
    Vaultlet,
}

impl Tenant {
    /// Whoever brings no credential.
    pub fn anonymous() -> Self {
        Self(Kind::Anonymous)
    }

    /// Whoever has these rights. `class`: a rights class's digest.
    pub fn class(class: [u8; 16]) -> Self {
        Self(Kind::Class(class))
    }

    /// Whoever runs as this service account. `cluster`: which of the configured ones.
    pub fn service_account(cluster: usize, namespace: &str, name: &str) -> Self {
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(&cluster.to_be_bytes());
        // With its length before it, no namespace can pass for another and a part of the name.
        digest.update(&namespace.len().to_be_bytes());
        digest.update(namespace.as_bytes());
        digest.update(name.as_bytes());
        let mut account = [0; 16];
        account.copy_from_slice(&digest.finish().as_ref()[..16]);
        Self(Kind::ServiceAccount(account))
    }

    /// Whoever brings this credential, of which nothing is known.
    pub fn stranger(credential: Fingerprint) -> Self {
        Self(Kind::Stranger(credential))
    }

    /// vaultlet itself, for what it asks on nobody's behalf.
    pub fn vaultlet() -> Self {
        Self(Kind::Vaultlet)
    }

    /// Whether somebody has said who this is: the upstream, a cluster, or this program.
    pub fn vouched(self) -> bool {
        !matches!(self.0, Kind::Anonymous | Kind::Stranger(_) | Kind::Strangers)
    }

    /// Whoever it shares its turns with: itself, unless it is a stranger.
    #[must_use]
    pub fn house(self) -> Self {
        match self.0 {
            Kind::Stranger(_) => Self(Kind::Strangers),
            _ => self,
        }
    }
}

impl fmt::Debug for Tenant {
    /// No digests: an identifier in two logs links two callers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Anonymous => "Anonymous",
            Kind::Class(_) => "Class(..)",
            Kind::ServiceAccount(_) => "ServiceAccount(..)",
            Kind::Stranger(_) => "Stranger(..)",
            Kind::Strangers => "Strangers",
            Kind::Vaultlet => "Vaultlet",
        })
    }
}

/// The accounts in use.
#[derive(Debug)]
pub struct Tenants {
    accounts: Mutex<HashMap<Tenant, Arc<Account>>>,
    limits: TenantLimits,
    clock: Clock,
}

/// More accounts than this, and further strangers share one: what is made up takes no more room.
const MOST_ACCOUNTS: usize = 5_000;

#[derive(Debug)]
struct Account {
    tenant: Tenant,
    tally: Mutex<Tally>,
}

/// What one tenant has. A further bound is a further field here, with a guard like [`Charge`].
#[derive(Debug)]
struct Tally {
    in_flight: usize,
    entries: u64,
    /// When the errands begun so far are paid for. Each costs its share of a second; up to one
    /// second's worth may be owed. (The generic cell rate algorithm: a token bucket that holds one
    /// second's tokens, kept as the time at which it is full again.)
    paid: Time,
}

/// Something is being done upstream on a tenant's account, until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Errand(Arc<Underway>);

#[derive(Debug)]
struct Underway(Arc<Account>);

/// An entry is kept on a tenant's account, until this is dropped. A clone counts as one more, be
/// there room or not: it is for the entry that takes this one's place.
#[derive(Debug)]
pub struct Charge(Arc<Account>);

impl Tenants {
    /// Nobody yet; each may have `limits`.
    pub fn new(limits: TenantLimits, clock: Clock) -> Self {
        Self { accounts: Mutex::default(), limits, clock }
    }

    /// Begins an errand upstream.
    ///
    /// # Errors
    /// The tenant has too many under way, or has begun too many within a second. That is no
    /// reason to give it a stale answer: it would keep what it has lost the right to for as long
    /// as it asks too often.
    pub fn begin(&self, tenant: Tenant) -> Result<Errand, Error> {
        let account = self.account(tenant);
        let mut tally = account.tally();
        // First: what is refused for this costs nothing.
        if tally.in_flight >= self.limits.in_flight {
            return Err(Error::Throttled("too many requests of this caller are under way"));
        }
        if !tally.pay(self.limits.misses_per_second, self.clock.now()) {
            return Err(Error::Throttled(
                "this caller asks the upstream for too much within a second",
            ));
        }
        tally.in_flight += 1;
        drop(tally);
        Ok(Errand(Arc::new(Underway(account))))
    }

    /// Room for one entry, if the tenant's house has any left: a stranger has none of its own, as
    /// it is known by the time it reads again.
    pub fn charge(&self, tenant: Tenant) -> Option<Charge> {
        let account = self.account(tenant.house());
        let mut tally = account.tally();
        if tally.entries >= self.limits.entries {
            return None;
        }
        tally.entries += 1;
        drop(tally);
        Some(Charge(account))
    }

    /// Forgets the accounts of those who have nothing and owe nothing: to be called every second.
    pub fn tidy(&self) {
        let now = self.clock.now();
        let mut accounts = lock(&self.accounts);
        // Nobody takes one out meanwhile, so one that is here alone is nobody's.
        accounts.retain(|_, account| Arc::strong_count(account) > 1 || account.tally().paid > now);
        if accounts.capacity() > 4 * accounts.len().max(64) {
            accounts.shrink_to_fit();
        }
    }

    fn account(&self, tenant: Tenant) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        let crowded = accounts.len() >= MOST_ACCOUNTS && !accounts.contains_key(&tenant);
        let tenant = if crowded { tenant.house() } else { tenant };
        let account = accounts.entry(tenant).or_insert_with(|| {
            let paid = self.clock.now();
            let tally = Mutex::new(Tally { in_flight: 0, entries: 0, paid });
            Arc::new(Account { tenant, tally })
        });
        Arc::clone(account)
    }
}

impl Account {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }
}

impl Tally {
    /// Whether one more errand fits into the second that begins `now`; if so it is paid for.
    fn pay(&mut self, per_second: u32, now: Time) -> bool {
        const SECOND: Duration = Duration::from_secs(1);
        let price = SECOND / per_second.max(1);
        let paid = self.paid.max(now).plus(price);
        let affordable = paid.since(now) <= SECOND;
        if affordable {
            self.paid = paid;
        }
        affordable
    }
}

impl Errand {
    /// On whose account.
    pub fn tenant(&self) -> Tenant {
        self.0.0.tenant
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.tally().in_flight -= 1;
    }
}

impl Clone for Charge {
    fn clone(&self) -> Self {
        self.0.tally().entries += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.0.tally().entries -= 1;
    }
}

/// One request of a tenant. It begins an errand when it first has to ask the upstream something,
/// and whatever else it has to ask is part of that.
pub struct Visit<'a> {
    tenants: &'a Tenants,
    whose: &'a (dyn Fn() -> Tenant + Sync),
    tenant: OnceLock<Tenant>,
    errand: OnceLock<Errand>,
}

impl<'a> Visit<'a> {
    /// Costs nothing yet: `whose` is asked when it first matters on whose account it is.
    pub fn new(tenants: &'a Tenants, whose: &'a (dyn Fn() -> Tenant + Sync)) -> Self {
        Self { tenants, whose, tenant: OnceLock::new(), errand: OnceLock::new() }
    }

    /// On whose account.
    pub fn tenant(&self) -> Tenant {
        *self.tenant.get_or_init(self.whose)
    }

    /// The errand of this request.
    ///
    /// # Errors
    /// It is the first time, and the tenant may not begin another one.
    pub fn errand(&self) -> Result<Errand, Error> {
        if let Some(errand) = self.errand.get() {
            return Ok(errand.clone());
        }
        let errand = self.tenants.begin(self.tenant())?;
        Ok(self.errand.get_or_init(|| errand).clone())
    }
}

impl fmt::Debug for Visit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, errand, .. } = self;
        f.debug_struct("Visit").field("tenant", tenant).field("errand", errand).finish()
    }
}

/// Never held across an `await`, and nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
