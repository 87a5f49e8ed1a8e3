//! Who is asking: which rights does a credential carry?
//!
//! A Vault token is a name for a *login*: policies, entity, namespace, expiry. Two logins that
//! agree in everything that can change the upstream's answer to a read are of one *rights class*,
//! and what the upstream has granted to one of them it grants to the other.
//!
//! A login is learnt from `auth/token/lookup-self`, asked with the caller's own token, and
//! believed for the window W. That question spends a use of a token whose uses are counted, so it
//! is asked only once a caller has read a secret, the use it spends is given back in the form of one
//! answer from the cache (docs/decisions/0007), and tokens seen being issued with counted uses are
//! never asked about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{StatusCode, header};
use quick_cache::sync::Cache;
use tokio::sync::watch;

use crate::clock::{Clock, Time};
use crate::error::Error;
use crate::flight::{Flights, Seat};
use crate::metrics::{self, Metrics, Operation};
use crate::request::{NAMESPACE, TOKEN};
use crate::secret::{Credential, Fingerprint, Fingerprinter, Secret};
use crate::tenant::Tenant;
use crate::twin::{Link, News, Twin};
use crate::upstream::{Ask, Upstream, Whole, trouble};

mod facts;
mod login;
mod renewal;
mod stored;

pub use facts::{Facts, Place};
pub use login::{Class, Login, Rights};
pub use renewal::{Renewal, renew_self};

/// Logins kept. The least used give way; they are looked up again when they come back.
const MOST_LOGINS: usize = 20_000;

/// The upstream's answer about a token is a kilobyte or two.
const LIMIT: usize = 256 * 1024;

/// The logins known.
#[derive(Debug)]
pub struct Logins {
    known: Cache<Fingerprint, Arc<Login>>,
    lookups: Flights<Fingerprint, (), Result<Arc<Login>, Error>>,
    epochs: Epochs,
    fingerprints: Fingerprinter,
    cluster: watch::Receiver<Option<Arc<str>>>,
    upstream: Arc<Upstream>,
    window: Duration,
    aging: Duration,
    twin: Twin,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// Raised when logins known so far must be looked up again before they count.
#[derive(Debug, Default)]
struct Epochs {
    all: AtomicU64,
    /// Of tokens that die with the token that made them.
    children: AtomicU64,
}

/// The epochs a login was learnt in.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    all: u64,
    children: u64,
}

/// Whether a login may be relied on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Looked up within W.
    Fresh,
    /// Good as of its last lookup, which is longer ago.
    Lapsed,
    /// Expired, or perhaps revoked.
    Void,
}

impl Logins {
    /// Knows nobody yet.
    pub fn new(
        upstream: Arc<Upstream>,
        fingerprints: Fingerprinter,
        window: Duration,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            known: Cache::new(MOST_LOGINS),
            lookups: Flights::default(),
            epochs: Epochs::default(),
            fingerprints,
            cluster: upstream.cluster(),
            upstream,
            window,
            aging: window.mul_f64(0.8),
            twin: Twin::default(),
            clock,
            metrics,
        }
    }

    /// What stands for `token`.
    pub fn fingerprint(&self, token: &[u8]) -> Fingerprint {
        self.fingerprints.of(token)
    }

    /// What fingerprints are made with, for those that outlive the process.
    pub fn fingerprint_key(&self) -> &[u8] {
        self.fingerprints.key()
    }

    /// The credential itself, for what outlives the request's head.
    pub fn credential(&self, token: &[u8], fingerprint: Fingerprint) -> Arc<Credential> {
        Arc::new(Credential { token: Secret::new(token.to_vec()), fingerprint })
    }

    /// What is known of a credential, whatever its standing.
    pub fn get(&self, fingerprint: Fingerprint) -> Option<Arc<Login>> {
        self.known.get(&fingerprint)
    }

    /// On whose account a caller with this credential asks: that of its rights class, once the
    /// upstream has vouched for it. So nobody has more than one tenant's share for having made
    /// itself more tokens.
    pub fn tenant(&self, fingerprint: Fingerprint) -> Tenant {
        let login = self.get(fingerprint);
        let class = login.and_then(|login| login.class.or(login.counted));
        class.map_or_else(|| Tenant::stranger(fingerprint), Class::tenant)
    }

    /// Whether `login` may be relied on now.
    pub fn standing(&self, login: &Login, now: Time) -> Standing {
        let current = login.epoch.all == self.epochs.all.load(Ordering::SeqCst)
            && (login.orphan
                || login.epoch.children == self.epochs.children.load(Ordering::SeqCst));
        if !current || now >= login.expires {
            Standing::Void
        } else if now.since(login.asked) <= self.window {
            Standing::Fresh
        } else {
            Standing::Lapsed
        }
    }

    /// Whether what is known of a login needs no asking: it is fresh, or it never shares, so that
    /// the upstream decides each time anyway.
    pub fn settled(&self, login: &Login, now: Time) -> bool {
        match login.class {
            Some(_) => self.standing(login, now) == Standing::Fresh,
            None => now < login.expires,
        }
    }

    /// Now, on the clock that logins are measured by.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The window W.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// From which age on what is good for the window is asked for again.
    pub fn aging(&self) -> Duration {
        self.aging
    }

    /// Whether the caller should have `login` looked up again before it lapses: it is time, and
    /// nobody else does.
    pub fn due(&self, login: &Login, now: Time) -> bool {
        now.since(login.asked) > self.aging && login.claim_renewal()
    }

    /// Whether the caller should have `login` looked up again because of something that became
    /// true after its last lookup, and nobody else does.
    pub fn outdated(&self, login: &Login) -> bool {
        login.claim_renewal()
    }

    /// Asks the upstream about a credential; once, however many wait for the answer, which is why
    /// it is no errand of its own. `tenant`: on whose account.
    ///
    /// # Errors
    /// The upstream could not be asked. That it does not know the token is an answer: a login
    /// without a class.
    pub async fn lookup(
        self: &Arc<Self>,
        credential: &Arc<Credential>,
        tenant: Tenant,
        namespace: Option<&HeaderValue>,
    ) -> Result<Arc<Login>, Error> {
        let passenger = match self.lookups.board(&credential.fingerprint, (), |()| true) {
            Seat::Passenger(passenger) => passenger,
            Seat::Pilot(pilot) => {
                let logins = Arc::clone(self);
                let (credential, namespace) = (Arc::clone(credential), namespace.cloned());
                let task = tokio::spawn(async move {
                    let answer = logins.ask(&credential, tenant, namespace).await;
                    pilot.land(answer.clone());
                    answer
                });
                return task.await.map_err(Error::unreachable)?;
            }
        };
        passenger.wait().await.unwrap_or_else(|| Err(Error::silent("a lookup was lost")))
    }

    async fn ask(
        &self,
        credential: &Credential,
        tenant: Tenant,
        namespace: Option<HeaderValue>,
    ) -> Result<Arc<Login>, Error> {
        let (asked, epoch) = (self.clock.now(), self.epoch());
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN, sensitive(credential.token.expose())?);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(namespace) = namespace {
            headers.insert(NAMESPACE, namespace);
        }
        let target = PathAndQuery::from_static("/v1/auth/token/lookup-self");
        let ask = Ask::get(target, headers, tenant);
        let answer = self.upstream.ask(Operation::LookupSelf, &ask, LIMIT).await;
        match answer {
            Ok(Whole::Answer { status: StatusCode::OK, body, .. }) => {
                let facts = self.facts(&body).map_err(|error| {
                    self.metrics.login(metrics::Lookup::Failed);
                    Error::garbage(error)
                })?;
                let login = self.learn(credential.fingerprint, facts, asked, epoch);
                login.owe_an_answer();
                Ok(login)
            }
            // A dead token, or one whose policies do not let it ask: either way it stays with the
            // upstream to say what it may.
            Ok(Whole::Answer { status: StatusCode::FORBIDDEN, body, .. }) => {
                self.metrics.login(metrics::Lookup::Dead);
                let dead = dead(&body);
                let login = Arc::new(Login::unknown(dead, asked, self.window, epoch));
                self.known.insert(credential.fingerprint, Arc::clone(&login));
                Ok(login)
            }
            Ok(Whole::Answer { status, body, .. }) => {
                self.metrics.login(metrics::Lookup::Failed);
                match trouble(status, &body) {
                    Some(trouble) => Err(Error::Failing(status, trouble)),
                    // About the request's namespace, say, and so nothing to remember of the token;
                    // nor is it an outage, in which the token would be believed for longer.
                    None => Ok(Arc::new(Login::unknown(false, asked, self.window, epoch))),
                }
            }
            Ok(Whole::Oversize(_)) => Err(Error::nonsense("a lookup-self answer over 256 KiB")),
            Err(error) => {
                self.metrics.login(metrics::Lookup::Failed);
                Err(error)
            }
        }
    }

    /// What an answer of `auth/token/lookup-self` says.
    ///
    /// # Errors
    /// It is none.
    pub fn facts(&self, body: &[u8]) -> serde_json::Result<Facts> {
        Facts::of_lookup(body, &self.clock)
    }

    /// Takes in what an answer says of a token: a login, a token created, or a lookup the caller
    /// made for itself.
    pub fn overhear(&self, facts: Facts, asked: Time, epoch: Epoch) {
        let fingerprint = self.fingerprints.of(facts.token.expose());
        // Of what does not tell all, only the one thing is kept that makes asking harmful.
        if facts.complete || facts.limited() {
            self.learn(fingerprint, facts, asked, epoch);
        }
    }

    fn learn(&self, own: Fingerprint, facts: Facts, asked: Time, epoch: Epoch) -> Arc<Login> {
        self.metrics.login(if facts.limited() {
            metrics::Lookup::Limited
        } else {
            metrics::Lookup::Learnt
        });
        let cluster = self.cluster.borrow().clone();
        let login = Arc::new(Login::new(facts, cluster.as_deref(), asked, epoch));
        self.known.insert(own, Arc::clone(&login));
        login
    }

    /// Forgets one login: the upstream has refused its token.
    pub fn forget(&self, fingerprint: Fingerprint) {
        self.known.remove(&fingerprint);
        self.twin.tell(|| News::Login(fingerprint.to_bytes().to_vec()));
    }

    /// Forgets the logins with this accessor, and says which they were and of which classes.
    pub fn forget_accessor(&self, accessor: &str) -> (Vec<Fingerprint>, Vec<Class>) {
        let found = self.known.iter().filter(|(_, login)| *login.accessor == *accessor);
        let (own, classes): (Vec<_>, Vec<_>) = found.map(|(own, login)| (own, login.class)).unzip();
        for own in &own {
            self.forget(*own);
        }
        (own, classes.into_iter().flatten().collect())
    }

    /// Has the other process at `link` told of what is forgotten here, or nobody any more.
    pub fn told_to(&self, link: Option<&Arc<Link>>) {
        link.map_or_else(|| self.twin.part(), |link| self.twin.join(link));
    }

    /// Has every login looked up again before it counts: tokens, entities or auth mounts changed.
    pub fn doubt_all(&self) {
        self.epochs.all.fetch_add(1, Ordering::SeqCst);
        self.twin.tell(|| News::Logins);
    }

    /// How often that was so. It is for whatever else rests on policies and identities.
    pub fn changes(&self) -> u64 {
        self.epochs.all.load(Ordering::SeqCst)
    }

    /// The same for tokens that die with the token that made them: one of those was revoked.
    pub fn doubt_children(&self) {
        self.epochs.children.fetch_add(1, Ordering::SeqCst);
        self.twin.tell(|| News::Children);
    }

    /// Forgets logins whose tokens have expired, and shows how many are left.
    pub fn tidy(&self) {
        let now = self.clock.now();
        self.known.retain(|_, login| login.expires > now);
        self.metrics.logins_known(self.known.len());
    }

    /// How many logins are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The epoch of what is asked now; to be taken before the request leaves.
    pub fn epoch(&self) -> Epoch {
        Epoch {
            all: self.epochs.all.load(Ordering::SeqCst),
            children: self.epochs.children.load(Ordering::SeqCst),
        }
    }
}

/// Whether a refusal says that the token is none (SEMANTICS 1.10). A hint, never a proof.
pub fn dead(body: &[u8]) -> bool {
    says(body, "permission denied")
}

/// Whether it says that policies do not allow it to the token, which is one. A hint too.
pub fn denied(body: &[u8]) -> bool {
    says(body, "1 error occurred:\n\t* permission denied\n\n")
}

fn says(body: &[u8], what: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Refusal<'a> {
        #[serde(borrow)]
        errors: Vec<std::borrow::Cow<'a, str>>,
    }
    let refusal = serde_json::from_slice(body);
    refusal.is_ok_and(|Refusal { errors }| errors == [what])
}

/// A header value that hyper neither prints nor indexes.
pub(crate) fn sensitive(bytes: &[u8]) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_bytes(bytes)
        .map_err(|_| Error::Malformed("the token is not a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
