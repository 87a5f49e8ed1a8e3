//! Asking the upstream for a credential, and holding what comes.
//!
//! In a task of its own, so that a caller who hangs up neither stops nor repeats it; and once: an
//! upstream that breaks off may have issued one, and is not asked again (S7 of the design). What it
//! issued then is nobody's, and ends by itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::CONTENT_ENCODING;
use hyper::{Method, StatusCode};
use tokio::sync::oneshot;
use tracing::warn;

use super::answer::{Countdown, Reading, read};
use super::failures::What;
use super::headers::{PERSONAL, impersonal};
use super::held::{Holder, Knowledge, Lease};
use super::keeper::NAP;
use super::key::Key;
use super::life::{Life, Step};
use super::reply::Said;
use super::seen::Seen;
use super::stored::Intended;
use super::vouch::token;
use super::{KV, Leases, Wish};
use crate::body::Response;
use crate::cache::generations::Stamp;
use crate::clock::{Clock, Time};
use crate::error::Error;
use crate::flight::Pilot;
use crate::metrics::Operation;
use crate::tenant::{Charge, Errand};
use crate::upstream::headers::{json, sign, to_keep, to_upstream};
use crate::upstream::{Ask, Whole, trouble};

/// Answers with credentials are kilobytes; larger ones pass through.
const LARGEST: usize = 1024 * 1024;

/// A refusal is a line or two; one that is larger is not remembered word for word.
const LARGEST_REFUSAL: usize = 4096;

/// Of which there is something to be handed out again: the last second of a lease counts for nothing.
const SHORTEST: Duration = Duration::from_secs(2);

/// How long an answer waits for a disk.
const DISK: Duration = Duration::from_secs(1);

/// A request for a credential, owning all it needs.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) key: Key,
    engine: &'static str,
    pub(super) ask: Ask,
    pub(super) holder: Holder,
    /// What it is a part of.
    pub(super) errand: Option<Errand>,
    /// On whose account what comes is held; `None`: there is no room there.
    charge: Option<Arc<Charge>>,
    /// Until when what it succeeds was to be looked after; `None`: it succeeds nothing.
    wanted: Option<Time>,
}

/// What became of a flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flown {
    /// What came is held.
    Held,
    /// What came is not.
    Unheld,
    /// Nothing came.
    Failed,
}

/// What became of it, for whoever ordered it.
pub(super) enum Issued {
    /// A credential, and whether it is held.
    Lease(Arc<Lease>, bool),
    /// No credential: what the upstream said.
    Said(Said),
    /// The same, too large to be looked at.
    Oversize(Response),
    /// No answer.
    Failed(Error),
}

impl Issued {
    /// The upstream's trouble, if that is what became of it.
    pub(super) fn trouble(&self) -> Option<Error> {
        match self {
            Self::Said(said) => {
                let trouble = trouble(said.status, &said.body)?;
                Some(Error::Failing(said.status, trouble))
            }
            Self::Failed(error) => error.trouble().map(|_| error.clone()),
            Self::Lease(..) | Self::Oversize(_) => None,
        }
    }
}

/// The same for those who waited.
#[derive(Clone, Debug)]
pub(super) enum Landing {
    /// There is one to look at.
    Held,
    /// The answer was for one caller: ask for yourself.
    Private,
    /// The upstream refused, as it would refuse all who ask with this token.
    Said(Said),
    /// The upstream could not be asked, and asking again at once will not help it.
    Failed(Error),
}

impl Leases {
    pub(super) fn order(
        &self,
        wish: &Wish<'_>,
        key: Key,
        engine: &'static str,
        body: Bytes,
    ) -> Result<Order, Error> {
        let question = wish.question;
        let header = token(question)?;
        let mut headers = question.headers.clone();
        to_upstream(&mut headers, &self.namespace);
        sign(&mut headers, &header);
        // What comes is for others as well, in whole and as it is.
        for own in PERSONAL {
            headers.remove(own);
        }
        let tenant = question.visit.tenant();
        let method = if wish.writes { Method::POST } else { Method::GET };
        let credential = self.logins.credential(question.token, question.fingerprint);
        Ok(Order {
            key,
            engine,
            ask: Ask { method, body, ..Ask::get(question.target.clone(), headers, tenant) },
            holder: Holder {
                ends: self.owner_end(wish.slot, question.fingerprint),
                credential,
                header,
                slot: wish.slot.cloned(),
            },
            errand: None,
            charge: self.tenants.charge(tenant).map(Arc::new),
            wanted: None,
        })
    }

    /// The same request again, for a successor; `None` where its owner has no token any more.
    pub(super) fn order_again(lease: &Lease, now: Time) -> Option<Order> {
        let mut holder = lease.holder.clone();
        let mut ask = lease.request.clone();
        if let Some(slot) = &lease.holder.slot {
            let shared = slot.good(now)?;
            holder.credential = Arc::clone(&shared.credential);
            holder.header = shared.header.clone();
            holder.ends = shared.expires;
            sign(&mut ask.headers, &holder.header);
        }
        let (key, engine, charge) = (lease.key.clone(), lease.engine, lease.charge.clone());
        let wanted = Some(lease.with_life(|life| life.wanted()));
        Some(Order { key, engine, ask, holder, errand: None, charge, wanted })
    }

    /// Makes the request in a task of its own: holds the credential, hands it to who ordered it,
    /// and lets the others have it.
    pub(super) async fn fly(
        &self,
        order: Order,
        pilot: Pilot<Key, (), Landing>,
        hand_over: Option<oneshot::Sender<Issued>>,
    ) -> Flown {
        let issued = self.issue(&order).await;
        let landing = match &issued {
            Issued::Lease(_, true) => Landing::Held,
            Issued::Said(said) if said.status.as_u16() >= 400 => Landing::Said(said.clone()),
            Issued::Lease(_, false) | Issued::Said(_) | Issued::Oversize(_) => Landing::Private,
            Issued::Failed(error) => Landing::Failed(error.clone()),
        };
        let flown = match &landing {
            Landing::Held => Flown::Held,
            Landing::Private => Flown::Unheld,
            Landing::Said(_) | Landing::Failed(_) => Flown::Failed,
        };
        // The caller may have hung up; the others have not.
        if let Some(hand_over) = hand_over {
            hand_over.send(issued).ok();
        }
        pilot.land(landing);
        flown
    }

    async fn issue(&self, order: &Order) -> Issued {
        match self.failures.recent(&order.key, self.clock.now()) {
            Some(What::Said(said, _)) => return Issued::Said(Said::clone(&said)),
            Some(What::Error(error)) => return Issued::Failed(error),
            None => (),
        }
        let stamp = (order.engine == KV).then(|| self.store.stamp(&order.key.request.path));
        let seen = self.seen_now();
        let intent = self.intend(&order.key, seen.at);
        let answer = self.ask_for(order).await;
        let (status, headers, body) = match answer {
            Ok(Whole::Answer { status, headers, body }) => (status, headers, body),
            Ok(Whole::Oversize(response)) => return Issued::Oversize(response),
            Err(error) => {
                if error.arrived() {
                    self.lost(order, &error);
                }
                return Issued::Failed(error);
            }
        };
        let said = Said { status, headers, body };
        if let Some(trouble) = trouble(status, &said.body) {
            self.metrics.lease_issued(order.engine, false);
            if status != StatusCode::TOO_MANY_REQUESTS {
                let others = Error::Failing(status, trouble);
                let what = if said.body.len() <= LARGEST_REFUSAL {
                    What::Said(Arc::new(said.clone()), others)
                } else {
                    What::Error(others)
                };
                self.failures.note(&order.key, self.clock.now(), what);
            }
            return Issued::Said(said);
        }
        let encoded = said.headers.contains_key(CONTENT_ENCODING);
        if said.status != StatusCode::OK || encoded || !json(&said.headers) {
            return Issued::Said(said);
        }
        self.failures.over(&order.key);
        let reading = read(&said.body, Clock::unix());
        match &reading {
            // Remembered, so that those who ask for this do not wait for each other.
            Reading::Unleased => {
                self.unleased.insert(order.key.request.clone(), self.clock.now());
            }
            Reading::Garbage(what) => {
                warn!(what, engine = order.engine, "an answer with a lease that cannot be kept");
            }
            Reading::Leased(_) | Reading::OwnEnd { .. } => (),
        }
        let Some(lease) = self.credential(order, &said, reading, (seen, stamp)) else {
            return Issued::Said(said);
        };
        self.metrics.lease_issued(order.engine, true);
        let lease = Arc::new(lease);
        let kept = lease.charge.is_some() && self.hold(&lease, seen, intent).await;
        Issued::Lease(lease, kept)
    }

    /// The request itself. Where credentials outlive the process, that it is made is put down
    /// meanwhile, so that the next process can tell what this one may have left behind.
    async fn ask_for(&self, order: &Order) -> Result<Whole, Error> {
        let asked = self.upstream.ask_once(Operation::LeaseIssue, &order.ask, LARGEST);
        let Some(writer) = self.changes.writer() else { return asked.await };
        let put_down = tokio::time::timeout(DISK, writer.commit());
        let (answer, _) = tokio::join!(asked, put_down);
        answer
    }

    /// The credential in an answer; `None`: it has none that can be kept.
    fn credential(
        &self,
        order: &Order,
        said: &Said,
        reading: Reading,
        (seen, stamp): (Seen, Option<Stamp>),
    ) -> Option<Lease> {
        let path = &order.key.request.path;
        let rules = self.kv.rules();
        let (id, life, renewable, read_again) = match reading {
            Reading::Leased(terms) => {
                // Not every KV's renewals work, and it is read again before it comes to that.
                let kv = order.engine == KV;
                (Some(terms.id), terms.duration, terms.renewable && !kv, kv)
            }
            Reading::OwnEnd { left, counts_down, .. } if rules.own_end(path) => {
                (None, left, false, counts_down)
            }
            Reading::Garbage(_) | Reading::OwnEnd { .. } | Reading::Unleased => return None,
        };
        // A static role's says so while it is being rotated.
        if life.is_zero() || id.is_some() && life < SHORTEST {
            return None;
        }
        let (asked, now) = (seen.at, self.clock.now());
        let longest = self.table.longest(&order.key.request, now);
        let life = Life::new(self.plan(read_again), asked, life, renewable, longest);
        let mut headers = said.headers.clone();
        to_keep(&mut headers);
        Some(Lease {
            serial: self.table.serial(),
            key: order.key.clone(),
            id,
            engine: order.engine,
            asked,
            answered: now,
            headers,
            body: countdown(order.engine, said.body.clone()),
            holder: order.holder.clone(),
            request: impersonal(&order.ask),
            fresh: if read_again { asked.plus(rules.ttl(path)) } else { Time::NEVER },
            stamp,
            charge: order.charge.clone(),
            knowledge: Knowledge::new(life.wanted_until(order.wanted), order.holder.ends, seen),
        })
    }

    /// Holds a credential, before anybody has it. What was intended is done then, and not sooner.
    async fn hold(&self, lease: &Arc<Lease>, seen: Seen, intent: Intended<'_>) -> bool {
        let now = self.clock.now();
        self.see_owner(lease, now);
        // Nobody can be asked about one without an id: whether it is of before or after.
        if lease.id.is_none() && seen.doubts != self.doubts() {
            return false;
        }
        let due = match lease.step(now, lease.succeeded(now)) {
            Step::Wait(next) => next,
            Step::End | Step::Renew(_) | Step::Succeed => now,
        };
        let kept = self.table.put(lease, due);
        drop(intent);
        // Somebody waits: the keeper is woken for what it would not see by itself in time.
        if due.since(now) < NAP {
            self.sooner.notify_one();
        }
        // A disk that fails costs what a restart would have found, and no answer.
        if let Some(writer) = self.changes.writer() {
            tokio::time::timeout(DISK, writer.commit()).await.ok();
        }
        kept
    }

    /// The upstream broke off, or was late: there may be a credential that nobody has.
    fn lost(&self, order: &Order, error: &Error) {
        self.metrics.lease_issued(order.engine, false);
        self.metrics.lease_orphaned();
        let engine = order.engine;
        warn!(%error, engine, "the answer to a request for a credential was lost: there may be one that nobody has, until its lease ends");
        self.failures.note(&order.key, self.clock.now(), What::Error(error.clone()));
    }
}

/// The countdowns in an answer of this engine. In a KV secret `ttl` is whatever its writer meant by it.
pub(super) fn countdown(engine: &str, body: Bytes) -> Countdown {
    if engine == KV { Countdown::of_lease(body) } else { Countdown::new(body) }
}
