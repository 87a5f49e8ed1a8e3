//! Shared logins as they outlive the process.

use std::sync::Arc;

use hyper::header::HeaderValue;
use serde_json::{Map, Value, json};

use super::Exchange;
use super::slot::{Place, Shared, Slot};
use crate::clock::{Moment, Time};
use crate::config;
use crate::identity::{self, Facts, Standing, sensitive};
use crate::kubernetes::ServiceAccount;
use crate::sealed::content::{StoredLogin, StoredPlace};
use crate::sealed::{At, Hidden, Times};

/// The clusters of the configuration, as places name them.
#[derive(Debug)]
pub struct Clusters(Vec<Cluster>);

#[derive(Debug)]
struct Cluster {
    issuer: String,
    audiences: Vec<String>,
    /// That of its auth mounts upstream.
    vault_namespace: String,
    /// Whether logins of its pods are answered here.
    answers: bool,
}

impl Clusters {
    /// Those of the configuration.
    pub fn new(clusters: &[config::Kubernetes]) -> Self {
        let named = |it: &config::Kubernetes| Cluster {
            issuer: it.issuer.clone(),
            audiences: it.audiences.clone(),
            vault_namespace: it.login.namespace.clone(),
            answers: it.answer_logins,
        };
        Self(clusters.iter().map(named).collect())
    }

    /// Whether logins of this cluster's pods are answered here.
    pub fn answers(&self, cluster: usize) -> bool {
        self.0.get(cluster).is_some_and(|cluster| cluster.answers)
    }

    /// A place as it is kept.
    pub fn name(&self, place: &Place) -> StoredPlace {
        let account = &place.account;
        let cluster = self.0.get(account.cluster);
        StoredPlace {
            issuer: cluster.map(|cluster| cluster.issuer.clone()).unwrap_or_default(),
            vault_namespace: cluster.map(|it| it.vault_namespace.clone()).unwrap_or_default(),
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
        let cluster = self.0.iter().position(|cluster| {
            let audience = |it| place.audiences.contains(it);
            cluster.issuer == place.issuer && cluster.audiences.iter().any(audience)
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
            let shared = slot.good(now.time).filter(|shared| !self.dead(shared))?;
            let login = self.logins.get(shared.credential.fingerprint).filter(|login| {
                login.class.is_some() && self.logins.standing(login, now.time) != Standing::Void
            });
            Some(StoredLogin {
                place: clusters.name(&slot.place),
                token: Hidden::copy(shared.credential.token.expose()),
                auth: Hidden::copy(&serde_json::to_vec(&shared.auth).ok()?),
                made: At::of(shared.made, now),
                renewed: At::of(shared.renewed, now),
                expires: At::of(shared.expires, now),
                looked_up: login.map(|login| At::of(login.asked, now)),
                renewable: shared.renewable,
                term: shared.term,
            })
        });
        logins.collect()
    }

    /// The place that was named, if its cluster is still one of ours, and the role one that its
    /// service account still has, in the same Vault namespace.
    pub fn slot_named(&self, place: &StoredPlace, clusters: &Clusters) -> Option<Arc<Slot>> {
        let account = Arc::new(clusters.account(place)?);
        let roles = self.roles(account.cluster)?;
        let as_before = roles.namespace() == place.vault_namespace
            && roles.permits(&account, &place.mount, &place.role);
        if !as_before {
            return None;
        }
        self.slot(&account, &place.mount, &place.role).ok()
    }

    /// Takes one in again; `None`: it has ended, or is none of ours any more.
    pub fn restore(&self, login: &StoredLogin, clusters: &Clusters, times: &Times) -> Option<()> {
        let slot = self.slot_named(&login.place, clusters)?;
        let (now, expires) = (self.clock.now(), times.end(login.expires));
        let made = times.past(login.made).unwrap_or(Time::LONG_AGO);
        if now >= expires || slot.good(now).is_some() {
            return None;
        }
        let auth: Map<String, Value> = serde_json::from_slice(login.auth.expose()).ok()?;
        let token = login.token.expose();
        if let Some(asked) = login.looked_up.and_then(|at| times.past(at)) {
            self.learn_again(&slot, &auth, token, (asked, expires))?;
        }
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

    /// Ends what is known of all of them: the upstream is another one.
    pub fn forget_all(&self) {
        for slot in self.locked().values() {
            slot.forget();
        }
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
