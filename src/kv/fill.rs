//! Asking the upstream for what is not in the cache, and storing what comes back.
//!
//! A fill runs in a task of its own, with the caller's own credential: whoever hangs up meanwhile,
//! the others get their answer and the entry is stored. What it stores is fenced by a stamp taken
//! before its request leaves, so a write that overtakes it wins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use hyper::http::uri::PathAndQuery;
use tokio::sync::oneshot;

use super::answer::{Answer, Kind, Reading};
use super::reply::{Serving, relay};
use super::{Kv, Question, Reply};
use crate::body::{self, Response};
use crate::cache::entry::Entry;
use crate::cache::{Key, Scope};
use crate::error::Error;
use crate::flight::Pilot;
use crate::identity::{Class, denied};
use crate::metrics::{Decision, Operation, Outcome};
use crate::request::{Directive, NAMESPACE};
use crate::secret::Credential;
use crate::tenant::{Charge, Errand, Tenant};
use crate::upstream::headers::{json, sign, to_keep, to_upstream};
use crate::upstream::{Ask, Whole, trouble};

/// KV secrets are at most a mebibyte in the storages there are; larger answers pass through.
pub(super) const LARGEST: usize = 2 * 1024 * 1024;

/// A read to be made, owning all it needs.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) key: Key,
    pub(super) kind: Kind,
    /// How many bytes of the key's path name the namespace.
    pub(super) namespace: usize,
    ask: Ask,
    credential: Arc<Credential>,
    class: Option<Class>,
    /// What it is a part of; `None` for what nobody waits for.
    pub(super) errand: Option<Errand>,
}

/// What a flight is told by for those who might board it.
#[derive(Debug)]
pub(super) struct Tag {
    class: Option<Class>,
    tenant: Tenant,
    /// Whether it has not left yet, as it is not that tenant's turn.
    waits: Arc<AtomicBool>,
}

impl Tag {
    /// Whether a caller of `class` may get its answer from this flight.
    pub(super) fn may_suit(&self, class: Option<Class>) -> bool {
        class.is_none() || self.class.is_none() || self.class == class
    }

    /// Whether it flies for that very class.
    pub(super) fn flies_for(&self, class: Class) -> bool {
        self.class == Some(class)
    }

    /// Whether a caller would wait for another tenant's turn. It may be behind a flood of that
    /// tenant's own, while the caller's turn is next.
    pub(super) fn holds_up(&self, tenant: Tenant) -> bool {
        self.tenant != tenant && self.waits.load(Ordering::Acquire)
    }
}

/// What became of it, for whoever ordered it.
pub(super) enum Fetched {
    /// An answer that may be kept, and whether it is going to be.
    Answer(Arc<Entry>, bool),
    /// An answer for this caller only.
    Private(Response),
    /// None, or one that says the upstream is in trouble, which is then passed on if nothing
    /// cached may stand in.
    Failed(Error, Option<Response>),
}

/// The same for those who waited.
#[derive(Clone, Debug)]
pub(super) enum Landing {
    /// There is an entry to look at.
    Stored,
    /// The answer was for one caller of this class only: ask for yourself.
    Private(Option<Class>),
    /// The upstream could not be asked, and asking again at once will not help it.
    Failed(Error),
}

impl Order {
    pub(super) fn tag(&self) -> Tag {
        let Ask { tenant, waits, .. } = &self.ask;
        Tag { class: self.class, tenant: *tenant, waits: Arc::clone(waits) }
    }
}

impl Kv {
    pub(super) fn order(&self, question: &Question<'_>, kind: Kind, class: Option<Class>) -> Order {
        let read = question.read;
        let scope = class.map_or(Scope::Caller(question.fingerprint), Scope::Class);
        Order {
            key: question.key(scope).to_key(),
            kind,
            namespace: read.namespace,
            ask: self.ask_as(question, question.target.clone()),
            credential: self.logins.credential(question.token, question.fingerprint),
            class,
            errand: None,
        }
    }

    /// A request for `target` with the headers of the caller's own.
    pub(super) fn ask_as(&self, question: &Question<'_>, target: PathAndQuery) -> Ask {
        let mut headers = question.headers.clone();
        to_upstream(&mut headers, &self.namespace);
        // What is compressed cannot be read here.
        headers.remove(ACCEPT_ENCODING);
        if let Some(token) = question.signature {
            sign(&mut headers, token);
        }
        Ask::get(target, headers, question.visit.tenant())
    }

    /// What is kept, where the upstream has just come back and has as much to answer as it may be
    /// asked. All that is kept is due at once then; what there is no room for yet is served as it
    /// was during the outage, for the window W at the longest.
    pub(super) fn crowded_out(&self, question: &Question<'_>) -> Option<Reply> {
        let crowded = self.upstream.crowded(self.logins.window());
        crowded.then(|| self.stale(question, &Error::recovering())).flatten()
    }

    /// Makes the read, and stores what may be stored.
    pub(super) async fn fill(&self, order: &Order) -> Fetched {
        let stamp = self.store.stamp(order.key.path());
        let asked = self.clock.now();
        let answer = self.upstream.ask(Operation::KvRead, &order.ask, LARGEST).await;
        let (status, mut headers, body) = match answer {
            Ok(Whole::Answer { status, headers, body }) => (status, headers, body),
            Ok(Whole::Oversize(response)) => return Fetched::Private(relay(response)),
            Err(error) => return Fetched::Failed(error, None),
        };
        let reading = match () {
            () if headers.contains_key(CONTENT_ENCODING) => Reading::Other,
            () if status == StatusCode::OK && !json(&headers) => {
                Reading::Garbage("a success that is not JSON")
            }
            () => Reading::of(order.kind, status.as_u16(), &body, &self.clock),
        };
        let end = match reading {
            Reading::Found(end) => end,
            Reading::Missing => None,
            Reading::Garbage(what) => return Fetched::Failed(Error::nonsense(what), None),
            Reading::Other => {
                let trouble = trouble(status, &body);
                let by_policy = denied(&body);
                let mut response = Response::new(body::full(body));
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                let response = relay(response);
                return if let Some(trouble) = trouble {
                    Fetched::Failed(Error::Failing(status, trouble), Some(response))
                } else {
                    self.refused(order, status, by_policy);
                    Fetched::Private(response)
                };
            }
        };
        self.metrics.decided(Decision::UpstreamAllowed);
        self.learn_mount(order, status, &body);
        to_keep(&mut headers);
        let found = matches!(reading, Reading::Found(_));
        let now = self.clock.now();
        let life = self.rules.load().life(order.key.path(), found, asked, now, end);
        let headers = self.store.share(headers);
        let answer = Answer { status, headers, body };
        // One that is too late to be fresh is still newer than what is held for an outage.
        let fresh = now < life.until(None);
        let worth = fresh || self.store.get(order.key.to_ref()).is_some();
        let charge = if worth { self.afford(order) } else { None };
        let keep = charge.is_some();
        let entry = Entry::new(answer, (asked, now), life, stamp, charge);
        Fetched::Answer(Arc::new(entry), keep)
    }

    /// Room for what is fetched, if there is any: on the account of whoever ordered it, or else in
    /// place of what it renews.
    fn afford(&self, order: &Order) -> Option<Charge> {
        let renewed = || self.store.get(order.key.to_ref())?.charge();
        self.tenants.charge(order.ask.tenant).or_else(renewed)
    }

    /// Makes the read in a task of its own: hands the answer to who ordered it, stores it, and
    /// lets the others have it.
    pub(super) async fn fly(
        &self,
        order: Order,
        pilot: Pilot<Key, Tag, Landing>,
        hand_over: Option<oneshot::Sender<Fetched>>,
    ) {
        let fetched = self.fill(&order).await;
        let now = self.clock.now();
        let landing = match &fetched {
            Fetched::Answer(entry, true) if now < entry.life.until(None) => Landing::Stored,
            Fetched::Answer(..) | Fetched::Private(_) => Landing::Private(order.class),
            Fetched::Failed(error, _) => Landing::Failed(error.clone()),
        };
        // Before the caller has it: what it has seen, it must see again.
        let unproven = match &fetched {
            Fetched::Answer(entry, true) => self.keep(&order, entry),
            _ => None,
        };
        // The caller may have hung up; the others have not.
        if let Some(hand_over) = hand_over {
            hand_over.send(fetched).ok();
        }
        if let Some(entry) = unproven {
            self.prove(&order, &entry).await;
        }
        pilot.land(landing);
    }

    /// Stores what was fetched, with the proof that lies in its having been given; gives it back
    /// if it is not known yet whose right it proves.
    fn keep(&self, order: &Order, entry: &Arc<Entry>) -> Option<Arc<Entry>> {
        if let Some(class) = order.class {
            entry.prove(class, entry.asked);
        }
        // Compared again on each hit; here it only saves the room.
        if self.store.current(entry.stamp) {
            self.store.put(order.key.clone(), entry);
        }
        // Asking which mount a path is in spends no use of a token; a lookup would.
        (order.class.is_none() && order.kind != Kind::Mount).then(|| Arc::clone(entry))
    }

    /// Finds out whose right an answer proves, now that the caller's first request is answered.
    async fn prove(&self, order: &Order, entry: &Entry) {
        let namespace = order.ask.headers.get(NAMESPACE);
        // If that cannot be known, the entry proves nothing, and the next reader asks upstream.
        if let Ok(login) = self.logins.lookup(&order.credential, order.ask.tenant, namespace).await
            && let Some(class) = login.class.or(login.counted)
        {
            entry.prove(class, entry.asked);
        }
    }

    /// The upstream answered a proven read with something else than a secret: whatever the reason,
    /// what is known of this caller's rights to it is no longer good. Nor is what is known of its
    /// login, unless the answer says that it is a policy that refuses.
    fn refused(&self, order: &Order, status: StatusCode, by_policy: bool) {
        self.metrics.decided(Decision::UpstreamDenied);
        let version = order.key.to_ref();
        if let (Some(class), Some(entry)) = (order.class, self.store.get(version)) {
            entry.disprove(class);
            self.store.tell_refusal(class);
        }
        if status != StatusCode::FORBIDDEN || order.class.is_none() {
            return;
        }
        if let Some(login) = self.logins.get(order.credential.fingerprint) {
            self.contradicted(order, &login);
        }
        if !by_policy {
            self.logins.forget(order.credential.fingerprint);
        }
    }

    /// Turns what came of an order into the caller's answer. `expired`: an older one was held.
    pub(super) fn fetched(
        &self,
        question: &Question<'_>,
        expired: bool,
        fetched: Fetched,
    ) -> Result<Reply, Error> {
        match fetched {
            Fetched::Answer(entry, stored) => {
                let serving = match question.directive {
                    Directive::Any if expired => Serving::Renewed,
                    Directive::Any if stored => Serving::Stored,
                    Directive::Any => Serving::Passed,
                    Directive::Bypass | Directive::Fresh => Serving::Refreshed,
                };
                Ok(self.serve(question, &entry, serving))
            }
            Fetched::Private(response) => {
                let denied = response.status() == StatusCode::FORBIDDEN;
                let outcome = if denied { Outcome::Denied } else { Outcome::Miss };
                Ok(Reply::Serve(response, outcome))
            }
            Fetched::Failed(error, response) => {
                if let Some(stale) = self.stale(question, &error) {
                    return Ok(stale);
                }
                match response {
                    Some(response) => Ok(Reply::Serve(response, Outcome::Error)),
                    None => Err(error),
                }
            }
        }
    }
}
