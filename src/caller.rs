//! Who is calling, and with which upstream token are its requests made?
//!
//! A caller brings a Vault token, which is used as it is; or the token of its Kubernetes service
//! account, or a badge it was given for one. For the latter two the shared login of the service
//! account takes the place of the credential (`exchange`), and everything that follows is the same
//! for all three: the upstream token decides.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderValue};
use quick_cache::sync::Cache;

use crate::badge::{Badge, Badges};
use crate::clock::Time;
use crate::error::Error;
use crate::exchange::{Exchange, Shared, Slot};
use crate::guardrails::Asker;
use crate::identity::Logins;
use crate::kubernetes::{Issuers, Refusal, Verified};
use crate::request::Call;
use crate::secret::Fingerprint;
use crate::tenant::Tenant;
use crate::upstream::headers::sign;

mod door;
mod own;

pub use door::{Door, Login};
pub use own::{OwnLogin, mixes};

/// Service-account tokens whose slot is remembered.
const MOST_SEATS: usize = 10_000;

/// Everyone who may call.
#[derive(Debug)]
pub struct Callers {
    issuers: Arc<Issuers>,
    exchange: Arc<Exchange>,
    badges: Arc<Badges>,
    logins: Arc<Logins>,
    /// Of which slot a service-account token is, where no role is chosen: what the rules say of it
    /// does not change.
    seats: Cache<Fingerprint, (Arc<Slot>, Time)>,
    /// Where logins are answered: by cluster.
    doors: Vec<bool>,
    /// That of requests that name none.
    namespace: String,
}

/// One of them.
#[derive(Debug)]
pub enum Caller {
    /// Brings no credential.
    Nobody,
    /// Brings a Vault token, for which this stands.
    Token(Fingerprint),
    /// Is a pod of a known service account.
    Pod(Pod),
}

/// A pod, and the login it shares.
#[derive(Clone, Debug)]
pub struct Pod {
    /// What its service-account token says.
    pub holder: Arc<Verified>,
    /// Its shared login, now and next.
    pub slot: Arc<Slot>,
    /// Its shared login.
    pub shared: Arc<Shared>,
    /// What it presented, if that was no service-account token.
    pub badge: Option<(Fingerprint, Arc<Badge>)>,
}

impl Callers {
    /// Over the given parts. `doors`: by cluster, whether its logins are answered here.
    /// `namespace`: that of requests that name none.
    pub fn new(
        parts: (Arc<Issuers>, Arc<Exchange>, Arc<Logins>),
        badges: Arc<Badges>,
        doors: Vec<bool>,
        namespace: String,
    ) -> Self {
        let (issuers, exchange, logins) = parts;
        let seats = Cache::new(MOST_SEATS);
        Self { issuers, exchange, badges, logins, seats, doors, namespace }
    }

    /// Who makes this call.
    ///
    /// # Errors
    /// [`Error::Denied`] for a service-account token or a badge that is not good; what the
    /// upstream says, for a service account that it does not log in.
    pub async fn identify(&self, call: &Call<'_>) -> Result<Caller, Error> {
        let Some(token) = call.headers.token else { return Ok(Caller::Nobody) };
        let own = self.logins.fingerprint(token);
        if self.issuers.is_empty() {
            return Ok(Caller::Token(own));
        }
        if Badges::shaped(token) {
            return self.badge(own).await.map(Caller::Pod);
        }
        if !Issuers::shaped(token) {
            return Ok(Caller::Token(own));
        }
        let holder = match self.issuers.known(own) {
            Some(holder) => holder,
            None => match Box::pin(self.issuers.verify(token, own)).await {
                Ok(holder) => holder,
                Err(_) if unwraps(call) => return Ok(Caller::Token(own)),
                Err(refusal) => return Err(refused(refusal)),
            },
        };
        let slot = self.slot(&holder, own, call.headers.role)?;
        let shared = self.exchange.login(&slot, &holder).await?;
        Ok(Caller::Pod(Pod { holder, slot, shared, badge: None }))
    }

    /// The pod that holds a badge.
    async fn badge(&self, own: Fingerprint) -> Result<Pod, Error> {
        let badge = self.badges.get(own).ok_or(Error::Denied(
            "this token has ended, was revoked, or was given out before vaultlet started: log in \
             again",
        ))?;
        let holder = if let Some(holder) = self.issuers.known(badge.jwt) {
            holder
        } else {
            let token = badge.holder.token.expose();
            let verified = Box::pin(self.issuers.verify(token, badge.jwt)).await;
            verified.map_err(|refusal| {
                if !matches!(refusal, Refusal::Unavailable(_)) {
                    self.badges.revoke(own);
                }
                refused(refusal)
            })?
        };
        let slot = Arc::clone(&badge.slot);
        let shared = self.exchange.login(&slot, &holder).await?;
        Ok(Pod { holder, slot, shared, badge: Some((own, badge)) })
    }

    /// Where the shared login of a verified token is.
    fn slot(
        &self,
        holder: &Arc<Verified>,
        own: Fingerprint,
        chosen: Option<&[u8]>,
    ) -> Result<Arc<Slot>, Error> {
        let remembered = if chosen.is_none() { self.seats.get(&own) } else { None };
        if let Some((slot, _)) = remembered {
            return Ok(slot);
        }
        let chosen = chosen.map(std::str::from_utf8).transpose();
        let chosen = chosen.map_err(|_| Error::Malformed("`X-Vault-Role` is not text"))?;
        let roles = self.exchange.roles(holder.account.cluster);
        let roles = roles.ok_or(Error::Denied("no login is configured for this cluster"))?;
        let (mount, role) = roles.of(&holder.account, chosen)?;
        let slot = self.exchange.slot(&holder.account, mount, &role)?;
        if chosen.is_none() {
            self.seats.insert(own, (Arc::clone(&slot), holder.expires));
        }
        Ok(slot)
    }

    /// Tells `ask` which service account a caller is, if that is known: of one that brings a Vault
    /// token, from the login it got it by.
    pub fn with_asker<T>(&self, caller: &Caller, ask: impl FnOnce(Option<Asker<'_>>) -> T) -> T {
        match caller {
            Caller::Nobody => ask(None),
            Caller::Token(own) => {
                let login = self.logins.get(*own);
                let account = login.as_ref().and_then(|login| login.service_account.as_deref());
                ask(account.map(|(namespace, service_account)| Asker {
                    namespace,
                    service_account,
                    pod: None,
                }))
            }
            Caller::Pod(Pod { holder, .. }) => ask(Some(Asker {
                namespace: &holder.account.namespace,
                service_account: &holder.account.name,
                pod: holder.pod.as_ref().map(|pod| &*pod.name),
            })),
        }
    }

    /// What stands for whoever calls: the pod, whatever it brings this time; or else what it
    /// brought. `token`: what stands for the upstream token.
    pub fn borrower(&self, caller: &Caller, token: Fingerprint, call: &Call<'_>) -> Fingerprint {
        let Caller::Pod(pod) = caller else { return token };
        let pod = pod.holder.pod.as_ref().map(|pod| pod.uid.as_bytes());
        pod.or(call.headers.token).map_or(token, |own| self.logins.fingerprint(own))
    }

    /// On whose account a caller asks.
    pub fn tenant(&self, caller: &Caller) -> Tenant {
        match caller {
            Caller::Nobody => Tenant::anonymous(),
            Caller::Token(own) => self.logins.tenant(*own),
            Caller::Pod(pod) => pod.slot.tenant,
        }
    }

    /// The upstream does not know the pod's shared login any more: the one that takes its place,
    /// if there is one.
    ///
    /// # Errors
    /// As [`identify`](Self::identify).
    pub async fn replace(&self, pod: Pod) -> Result<Pod, Error> {
        self.exchange.lost(&pod.slot, &pod.shared);
        let shared = self.exchange.login(&pod.slot, &pod.holder).await?;
        Ok(Pod { shared, ..pod })
    }

    /// Forgets badges that have ended, and slots that nobody else remembers.
    pub fn tidy(&self) {
        self.badges.tidy();
        let now = self.logins.now();
        self.seats.retain(|_, (_, expires)| now < *expires);
    }
}

impl Caller {
    /// What stands for the upstream token its requests are made with.
    pub fn token(&self) -> Option<Fingerprint> {
        match self {
            Self::Nobody => None,
            Self::Token(own) => Some(*own),
            Self::Pod(pod) => Some(pod.shared.credential.fingerprint),
        }
    }

    /// That token, and what stands for it.
    pub fn credential<'c>(&'c self, call: &Call<'c>) -> Option<(&'c [u8], Fingerprint)> {
        match self {
            Self::Nobody => None,
            Self::Token(own) => Some((call.headers.token?, *own)),
            Self::Pod(Pod { shared, .. }) => {
                let credential = &shared.credential;
                Some((credential.token.expose(), credential.fingerprint))
            }
        }
    }

    /// The login it shares, where it does.
    pub fn slot(&self) -> Option<&Arc<Slot>> {
        match self {
            Self::Nobody | Self::Token(_) => None,
            Self::Pod(pod) => Some(&pod.slot),
        }
    }

    /// The header that takes the place of what the caller presented, where something does.
    pub fn signature(&self) -> Option<&HeaderValue> {
        match self {
            Self::Nobody | Self::Token(_) => None,
            Self::Pod(pod) => Some(&pod.shared.header),
        }
    }

    /// Puts it in that place.
    pub fn sign(&self, headers: &mut HeaderMap) {
        if let Some(token) = self.signature() {
            sign(headers, token);
        }
    }
}

/// Whether the credential may be a wrapping token, which can be a JWT of the server's own.
fn unwraps(call: &Call<'_>) -> bool {
    call.target.decoded().is_some_and(|path| path.starts_with(b"sys/wrapping/"))
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Foreign(why) | Refusal::Invalid(why) => Error::Denied(why),
        Refusal::Unavailable(error) => error,
    }
}
