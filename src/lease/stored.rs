//! Credentials as they outlive the process.
//!
//! What is restored is a claim of the past: when it was last known to be good, and that its owner
//! had the right to it, counts for as long as it would have counted, and is then asked again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, StatusCode};

use super::held::{Holder, Knowledge, Lease};
use super::issue::countdown;
use super::key::{self, Key, Owner, Request};
use super::life::Life;
use super::seen::{Doubts, Seen};
use super::{KV, Leases};
use crate::clock::{Moment, Time};
use crate::config::LeaseScope;
use crate::exchange::{Clusters, Exchange};
use crate::identity::sensitive;
use crate::kv::mounts::label;
use crate::sealed::content::{
    self, Intent, StoredAnswer, StoredBorrower, StoredLease, read_headers,
};
use crate::sealed::{At, Hidden, Times};
use crate::tenant::Tenant;
use crate::upstream::Ask;
use crate::upstream::headers::sign;

/// Requests for credentials under way.
#[derive(Debug, Default)]
pub(super) struct Intents(Mutex<HashMap<u64, (Key, Time)>>);

/// One of them, until it is dropped.
pub(super) struct Intended<'l> {
    leases: &'l Leases,
    serial: u64,
}

impl Intents {
    /// Never held across an `await`, and nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, (Key, Time)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Intended<'_> {
    fn drop(&mut self) {
        self.leases.intents.lock().remove(&self.serial);
        // Or the next process takes it for one that was under way.
        self.leases.changed();
    }
}

impl Leases {
    /// Those that live.
    pub fn stored(&self, clusters: &Clusters, now: &Moment) -> Vec<StoredLease> {
        let live = self.table.select(|lease| now.time < lease.ends());
        let doubts = self.doubts();
        live.iter().map(|lease| lease.stored(clusters, now, doubts)).collect()
    }

    /// Whether the lease with this id is held.
    pub fn holds(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| self.table.find(id).is_some())
    }

    /// Notes that a credential is being asked for.
    pub(super) fn intend(&self, key: &Key, now: Time) -> Intended<'_> {
        let serial = self.table.serial();
        self.intents.lock().insert(serial, (key.clone(), now));
        Intended { leases: self, serial }
    }

    /// What has been asked for and not been answered.
    pub fn intents(&self, clusters: &Clusters, now: &Moment) -> Vec<Intent> {
        let all: Vec<_> = self.intents.lock().values().cloned().collect();
        let intent = |(key, begun): (Key, Time)| Intent {
            owner: owner(&key.owner, clusters),
            path: key.request.path.into(),
            begun: At::of(begun, now),
        };
        all.into_iter().map(intent).collect()
    }

    /// Takes one in again; `None`: it has ended, or is none of ours any more.
    pub fn restore(
        &self,
        stored: StoredLease,
        exchange: &Exchange,
        clusters: &Clusters,
        times: &Times,
    ) -> Option<()> {
        let now = self.clock.now();
        let slot = match &stored.login {
            Some(place) => Some(exchange.slot_named(place, clusters)?),
            None => None,
        };
        let owner = match &stored.owner {
            content::Owner::Account(place) => {
                Owner::Account(Arc::clone(&exchange.slot_named(place, clusters)?.place))
            }
            content::Owner::Borrower(place, pod) => {
                Owner::Borrower(Arc::clone(&exchange.slot_named(place, clusters)?.place), *pod)
            }
            content::Owner::Credential(own) => Owner::Credential(*own),
        };
        // What the configuration no longer keeps, or no longer so, is not taken over.
        let scope = match &owner {
            Owner::Account(_) => self.config.scope == LeaseScope::Identity,
            Owner::Borrower(..) => self.config.scope == LeaseScope::Token,
            Owner::Credential(_) => self.config.scope != LeaseScope::None,
        };
        let rules = self.kv.rules();
        let own_end = || rules.own_end(&stored.path);
        if !scope || !rules.cached(&stored.path) || stored.lease_id.is_none() && !own_end() {
            return None;
        }
        let token = stored.token.expose();
        let fingerprint = self.logins.fingerprint(token);
        let holder = Holder {
            credential: self.logins.credential(token, fingerprint),
            header: sensitive(token).ok()?,
            slot,
            ends: times.end(stored.token_ends),
        };
        let writes = stored.verb != Method::GET.as_str();
        let target: PathAndQuery = stored.target.parse().ok()?;
        let request = Request {
            writes,
            path: stored.path.into(),
            namespace: stored.namespace,
            query: target.query().unwrap_or_default().as_bytes().into(),
            body: if writes { key::sum(stored.body.expose())? } else { key::Sum::default() },
        };
        let tenant = match &holder.slot {
            Some(slot) => slot.tenant,
            None => Tenant::stranger(fingerprint),
        };
        let sent = stored.headers.iter().map(|(name, value)| (name, value.as_bytes()));
        let mut headers = read_headers(sent)?;
        sign(&mut headers, &holder.header);
        let ask = Ask {
            method: if writes { Method::POST } else { Method::GET },
            body: stored.body.into_body(),
            ..Ask::get(target, headers, tenant)
        };
        // Before the machine's start, perhaps: long ago.
        let asked = times.past(stored.asked).unwrap_or(Time::LONG_AGO);
        let read_again = stored.fresh.is_some();
        let life = Life::restored(
            self.plan(read_again),
            (asked, times.end(stored.expires)),
            stored.term,
            stored.renewable,
            stored.ceiling.map(|ceiling| times.end(ceiling)),
            (times.end(stored.wanted), stored.retired),
        );
        let headers = stored.answer.headers()?;
        let engine = label(&stored.engine);
        let seen = Seen { at: asked, doubts: self.doubts() };
        let lease = Arc::new(Lease {
            serial: self.table.serial(),
            id: stored.lease_id.map(Into::into),
            engine,
            asked,
            answered: times.past(stored.answered).unwrap_or(asked),
            headers,
            body: countdown(engine, stored.answer.body.into_body()),
            knowledge: Knowledge::new(life, holder.ends, seen),
            holder,
            request: ask,
            fresh: stored.fresh.map_or(Time::NEVER, |fresh| times.end(fresh)),
            stamp: (engine == KV).then(|| self.store.stamp(&request.path)),
            charge: Some(Arc::new(self.tenants.charge(tenant)?)),
            key: Key { owner, request },
        });
        let past = |at: At| times.past(at);
        let (confirmed, proven) = (stored.confirmed, stored.proven);
        // It may have been revoked since that was put down: where the upstream can be asked, it is.
        let confirmed = confirmed.and_then(past).map(|at| at.minus(self.config.check_after));
        lease.recall(confirmed, proven.and_then(past), self.doubts());
        if stored.countless {
            lease.learn_known();
        }
        for StoredBorrower { caller, until } in stored.borrowers {
            lease.borrowed(caller, times.end(until));
        }
        if now >= lease.ends() {
            return None;
        }
        self.table.put(&lease, now).then_some(())
    }
}

impl Lease {
    fn stored(&self, clusters: &Clusters, now: &Moment, doubts: Doubts) -> StoredLease {
        let at = |time| At::of(time, now);
        let headers = &self.request.headers;
        let kept = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = value.to_str().ok().filter(|_| !value.is_sensitive())?;
            Some((name.to_string(), value.to_owned()))
        };
        let state = self.snapshot(doubts);
        StoredLease {
            owner: owner(&self.key.owner, clusters),
            token: Hidden::copy(self.holder.credential.token.expose()),
            login: self.holder.slot.as_ref().map(|slot| clusters.name(&slot.place)),
            token_ends: at(state.owner_ends),
            verb: self.request.method.to_string(),
            path: self.key.request.path.to_string(),
            namespace: self.key.request.namespace,
            target: self.request.target.to_string(),
            headers: headers.iter().filter_map(kept).collect(),
            body: Hidden::copy(&self.request.body),
            lease_id: self.id.as_ref().map(ToString::to_string),
            engine: self.engine.to_owned(),
            answer: StoredAnswer::of(StatusCode::OK, &self.headers, self.body.as_it_came()),
            asked: at(self.asked),
            answered: at(self.answered),
            expires: at(state.life.expires()),
            ceiling: state.life.ceiling().map(at),
            fresh: (self.fresh < Time::NEVER).then(|| at(self.fresh)),
            wanted: at(state.life.wanted()),
            confirmed: state.confirmed.map(at),
            proven: state.proven.map(at),
            renewable: state.life.renewable(),
            term: state.life.term(),
            retired: state.life.retired(),
            countless: self.known(),
            borrowers: (state.borrowers.into_iter())
                .map(|(caller, until)| StoredBorrower { caller, until: at(until) })
                .collect(),
        }
    }
}

fn owner(owner: &Owner, clusters: &Clusters) -> content::Owner {
    match owner {
        Owner::Account(place) => content::Owner::Account(clusters.name(place)),
        Owner::Borrower(place, pod) => content::Owner::Borrower(clusters.name(place), *pod),
        Owner::Credential(own) => content::Owner::Credential(*own),
    }
}
