//! Credentials as they outlive the process.
//!
//! What is restored is a claim of the past: when it was last known to be good, and that its owner
//! had the right to it, counts for as long as it would have counted, and is then asked again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::answer::Countdown;
use super::held::{Birth, Holder, Lease};
use super::key::{self, Key, Owner, Request};
use super::life::{Life, Plan};
use super::{KV, Leases};
use crate::clock::{Moment, Time};
use crate::exchange::{Clusters, Exchange};
use crate::identity::sensitive;
use crate::kv::mounts::label;
use crate::sealed::content::{self, Intent, StoredAnswer, StoredBorrower, StoredLease};
use crate::sealed::{At, Hidden, Times};
use crate::tenant::Tenant;
use crate::upstream::Ask;
use crate::upstream::headers::sign;

/// Requests for credentials under way.
#[derive(Debug, Default)]
pub(super) struct Intents(Mutex<HashMap<u64, (Key, Time)>>);

impl Intents {
    pub(super) fn begin(&self, serial: u64, key: &Key, now: Time) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(serial, (key.clone(), now));
    }

    pub(super) fn over(&self, serial: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&serial);
    }

    fn all(&self) -> Vec<(Key, Time)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Leases {
    /// Those that live.
    pub fn stored(&self, clusters: &Clusters, now: &Moment) -> Vec<StoredLease> {
        let live = self.table.select(|lease| now.time < lease.ends());
        live.iter().map(|lease| lease.stored(clusters, now)).collect()
    }

    /// What has been asked for and not been answered.
    pub fn intents(&self, clusters: &Clusters, now: &Moment) -> Vec<Intent> {
        let all = self.intents.all().into_iter();
        let intent = |(key, begun): (Key, Time)| Intent {
            owner: owner(&key.owner, clusters),
            path: key.request.path.into(),
            begun: At::of(begun, now),
        };
        all.map(intent).collect()
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
        let token = stored.token.expose();
        let fingerprint = self.logins.fingerprint(token);
        let holder = Holder {
            credential: self.logins.credential(token, fingerprint),
            header: sensitive(token).ok()?,
            slot,
            ends: times.end(stored.token_ends),
        };
        let writes = stored.verb != Method::GET.as_str();
        let target: hyper::http::uri::PathAndQuery = stored.target.parse().ok()?;
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
        let mut headers = HeaderMap::new();
        for (name, value) in &stored.headers {
            headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
        }
        sign(&mut headers, &holder.header);
        let ask = Ask {
            method: if writes { Method::POST } else { Method::GET },
            body: stored.body.into_body(),
            ..Ask::get(target, headers, tenant)
        };
        let read_again = stored.fresh.is_some();
        let idle = if read_again { std::time::Duration::ZERO } else { self.config.idle };
        let life = Life::restored(
            Plan { idle, ..self.plan() },
            (times.past(stored.asked)?, times.end(stored.expires)),
            stored.term,
            stored.renewable,
            stored.ceiling.map(|ceiling| times.end(ceiling)),
            (times.end(stored.wanted), stored.retired),
        );
        let mut answer = HeaderMap::new();
        for (name, value) in &stored.answer.headers {
            let value = HeaderValue::from_bytes(value.expose()).ok()?;
            answer.append(HeaderName::try_from(name).ok()?, value);
        }
        let engine = label(&stored.engine);
        let lease = Arc::new(Lease::new(Birth {
            serial: self.table.serial(),
            id: stored.lease_id.map(Into::into),
            engine,
            times: (times.past(stored.asked)?, times.past(stored.answered)?),
            headers: answer,
            body: Countdown::new(stored.answer.body.into_body()),
            holder,
            request: ask,
            fresh: stored.fresh.map_or(Time::NEVER, |fresh| times.end(fresh)),
            stamp: (engine == KV).then(|| self.store.stamp(&request.path)),
            life,
            doubts: self.doubts(),
            charge: self.tenants.charge(tenant).map(Arc::new),
            key: Key { owner, request },
        }));
        let past = |at: At| times.past(at);
        lease.recall(past(stored.confirmed), stored.proven.and_then(past), self.doubts());
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
    fn stored(&self, clusters: &Clusters, now: &Moment) -> StoredLease {
        let at = |time| At::of(time, now);
        let headers = &self.request.headers;
        let kept = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = value.to_str().ok().filter(|_| !value.is_sensitive())?;
            Some((name.to_string(), value.to_owned()))
        };
        let state = self.snapshot();
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
            answer: StoredAnswer {
                status: 200,
                headers: (self.headers.iter())
                    .map(|(name, value)| (name.to_string(), Hidden::copy(value.as_bytes())))
                    .collect(),
                body: Hidden::share(self.body.as_it_came()),
            },
            asked: at(self.asked),
            answered: at(self.answered),
            expires: at(state.life.expires()),
            ceiling: state.life.ceiling().map(at),
            fresh: (self.fresh < Time::NEVER).then(|| at(self.fresh)),
            wanted: at(state.life.wanted()),
            confirmed: at(state.confirmed),
            proven: state.proven.map(at),
            renewable: state.life.renewable(),
            term: state.life.term(),
            retired: state.life.retired(),
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
