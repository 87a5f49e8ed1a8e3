//! Shared logins as they outlive the process.

use std::sync::Arc;

use hyper::header::HeaderValue;
use serde_json::{Map, Value, json};

use super::Exchange;
use super::slot::{Place, Shared, Slot};
use crate::clock::{Moment, Time};
use crate::config;
use crate::identity::{self, Facts, sensitive};
use crate::kubernetes::ServiceAccount;
use crate::sealed::content::{StoredLogin, StoredPlace};
use crate::sealed::{At, Hidden, Times};

/// The clusters of the configuration, as places name them.
#[derive(Debug)]
pub struct Clusters(Vec<(String, Vec<String>)>);

impl Clusters {
    /// Those of the configuration.
    pub fn new(clusters: &[config::Kubernetes]) -> Self {
        let named = |it: &config::Kubernetes| (it.issuer.clone(), it.audiences.clone());
        Self(clusters.iter().map(named).collect())
    }

    /// A place as it is kept.
    pub fn name(&self, place: &Place) -> StoredPlace {
        let account = &place.account;
        let issuer = self.0.get(account.cluster).map(|(issuer, _)| issuer.clone());
        StoredPlace {
            issuer: issuer.unwrap_or_default(),
            namespace: account.namespace.to_string(),
            name: account.name.to_string(),
            uid: account.uid.to_string(),
            audiences: account.audiences.iter().map(ToString::to_string).collect(),
            mount: place.mount.to_string(),
            role: place.role.to_string(),
        }
    }

    /// The account that it names, if its cluster is still one of ours.
    fn account(&self, place: &StoredPlace) -> Option<ServiceAccount> {
        let cluster = self.0.iter().position(|(issuer, audiences)| {
            *issuer == place.issuer && audiences.iter().any(|it| place.audiences.contains(it))
        })?;
        Some(ServiceAccount {
            cluster,
            namespace: place.namespace.as_str().into(),
            name: place.name.as_str().into(),
            uid: place.uid.as_str().into(),
            audiences: place.audiences.iter().map(|it| it.as_str().into()).collect(),
        })
    }
}

impl Exchange {
    /// The shared logins that count.
    pub fn stored(&self, clusters: &Clusters, now: &Moment) -> Vec<StoredLogin> {
        let slots: Vec<_> = self.locked().values().cloned().collect();
        let logins = slots.into_iter().filter_map(|slot| {
            let shared = slot.good(now.time)?;
            let login = self.logins.get(shared.credential.fingerprint);
            Some(StoredLogin {
                place: clusters.name(&slot.place),
                token: Hidden::copy(shared.credential.token.expose()),
                auth: Hidden::copy(&serde_json::to_vec(&shared.auth).ok()?),
                made: At::of(shared.made, now),
                renewed: At::of(shared.renewed, now),
                expires: At::of(shared.expires, now),
                looked_up: At::of(login.map_or(shared.made, |login| login.asked), now),
                renewable: shared.renewable,
                term: shared.term,
            })
        });
        logins.collect()
    }

    /// The place that was named, if its cluster is still one of ours.
    pub fn slot_named(&self, place: &StoredPlace, clusters: &Clusters) -> Option<Arc<Slot>> {
        let account = Arc::new(clusters.account(place)?);
        self.slot(&account, &place.mount, &place.role).ok()
    }

    /// Takes one in again; `None`: it has ended, or is none of ours any more.
    pub fn restore(&self, login: &StoredLogin, clusters: &Clusters, times: &Times) -> Option<()> {
        let slot = self.slot_named(&login.place, clusters)?;
        let (now, expires) = (self.clock.now(), times.end(login.expires));
        let made = times.past(login.made)?;
        let asked = times.past(login.looked_up)?;
        if now >= expires || slot.good(now).is_some() {
            return None;
        }
        let auth: Map<String, Value> = serde_json::from_slice(login.auth.expose()).ok()?;
        let token = login.token.expose();
        self.learn_again(&slot, &auth, token, (asked, expires))?;
        let fingerprint = self.logins.fingerprint(token);
        let header: HeaderValue = sensitive(token).ok()?;
        slot.set(Arc::new(Shared {
            credential: self.logins.credential(token, fingerprint),
            header,
            auth,
            made,
            renewed: times.past(login.renewed).unwrap_or(made),
            expires,
            renewable: login.renewable,
            term: login.term,
        }));
        slot.keep(now);
        Some(())
    }

    /// What its answer said of its rights, as of then.
    fn learn_again(
        &self,
        slot: &Slot,
        auth: &Map<String, Value>,
        token: &[u8],
        (asked, expires): (Time, Time),
    ) -> Option<()> {
        let mut auth = auth.clone();
        auth.insert("client_token".into(), std::str::from_utf8(token).ok()?.into());
        auth.insert("lease_duration".into(), expires.since(asked).as_secs().into());
        let answer = zeroize::Zeroizing::new(serde_json::to_vec(&json!({"auth": auth})).ok()?);
        let namespace = match self.namespace(slot) {
            "" => String::new(),
            namespace => format!("{namespace}/"),
        };
        let place = identity::Place { namespace, path: slot.login_path().to_owned() };
        let facts = Facts::of_issue(&answer, Some(place))?;
        self.logins.overhear(facts, asked, self.logins.epoch());
        Some(())
    }
}
