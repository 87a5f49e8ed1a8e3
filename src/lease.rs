//! May a leased credential held here be handed out, and if not, what does the upstream give?
//!
//! [`Leases::answer`] is the whole of it. Each owner has one live credential for each request,
//! however many callers. It is handed out while four things are young enough: the lease and the token
//! it was issued to live; the caller's login was looked up within W; its right to the request was
//! proven within W; and the lease was known to be there within `check_after`. Whatever is missing is
//! asked for first. It is renewed, and succeeded before its longest life is over, by [`keeper`].

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::Cache;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::{self, Body, Response};
use crate::cache::Store;
use crate::clock::{Clock, Time};
use crate::config::{self, LeaseScope};
use crate::error::Error;
use crate::exchange::Slot;
use crate::flight::{Flights, Seat};
use crate::identity::Logins;
use crate::kv::mounts::Engine;
use crate::kv::{CacheStatus, Kv, Question, Serving};
use crate::metrics::{Cause, Metrics, Outcome};
use crate::request::Directive;
use crate::sealed::{Changes, Writer};
use crate::secret::Fingerprint;
use crate::snapshot::Policies;
use crate::tenant::Tenants;
use crate::twin::Twin;
use crate::upstream::Upstream;

pub mod agenda;
pub mod answer;
mod ask;
pub mod canonical;
mod doubt;
mod failures;
mod headers;
mod held;
mod issue;
mod keeper;
mod key;
mod lend;
mod life;
mod operation;
mod reply;
mod seen;
mod shutdown;
mod stored;
mod table;
mod view;
mod vouch;

use failures::Failures;
use held::Lease;
use issue::{Issued, Landing};
use key::{Key, Owner, Request};
use lend::Lent;
use life::Plan;
pub use operation::{Operated, Pending};
use stored::Intents;
use table::Table;
pub use view::{Count, Summary};
use vouch::Vouched;

/// The leased credentials of this node.
#[derive(Debug)]
pub struct Leases {
    table: Table,
    flights: Flights<Key, (), Landing>,
    vouchings: Flights<u64, (), Vouched>,
    failures: Failures,
    intents: Intents,
    /// What makes them outlive the process, where that is configured.
    changes: Changes,
    twin: Twin,
    /// Requests whose answers hold no credential, and when that was seen.
    unleased: Cache<Request, Time>,
    /// How many doubts were cast on all of them, and on those issued to callers' own tokens.
    doubts: (AtomicU64, AtomicU64),
    /// What runs beside requests: to be waited for before the process ends.
    tasks: TaskTracker,
    /// No more is begun.
    closing: CancellationToken,
    /// Told when the next thing to be done may be sooner than was thought.
    sooner: Notify,
    kv: Arc<Kv>,
    store: Arc<Store>,
    logins: Arc<Logins>,
    upstream: Arc<Upstream>,
    tenants: Arc<Tenants>,
    policies: Option<Arc<Policies>>,
    config: config::Leases,
    /// That of requests that name none.
    namespace: String,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// A request that may be answered with a leased credential, and who makes it.
#[derive(Debug)]
pub struct Wish<'r> {
    /// What is asked for, and with which token.
    pub question: &'r Question<'r>,
    /// Where that token is a login that others share.
    pub slot: Option<&'r Arc<Slot>>,
    /// What stands for whoever gets the answer.
    pub borrower: Fingerprint,
    /// Whether it is a write, whose body counts.
    pub writes: bool,
    /// Whether the upstream has been asked in vain what lies at its path: only what is held counts.
    pub unknown: bool,
}

/// What became of a [`Wish`].
pub enum Reply {
    /// It is no wish for a credential, or not one that is kept: the caller's request is to be
    /// forwarded as it came.
    Forward(Body, CacheStatus),
    /// An answer.
    Serve(Response, Outcome),
}

/// A request for a credential is a few words.
const LARGEST_WISH: usize = 64 * 1024;

/// Requests remembered for having no credential for an answer.
const MOST_UNLEASED: usize = 10_000;

/// And for how long: a role may be told to issue leases.
const UNLEASED_FOR: Duration = Duration::from_mins(5);

impl Leases {
    /// Over the given parts; holds none yet.
    pub fn new(
        config: config::Leases,
        namespace: String,
        parts: (Arc<Kv>, Arc<Store>, Arc<Logins>, Arc<Upstream>),
        tenants: Arc<Tenants>,
        policies: Option<Arc<Policies>>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (kv, store, logins, upstream) = parts;
        let (flights, vouchings, failures, doubts, sooner) = Default::default();
        let (intents, changes, twin) = Default::default();
        let (tasks, closing) = Default::default();
        Self {
            table: Table::new(config.renewals_per_second, clock.now()),
            flights,
            vouchings,
            failures,
            intents,
            changes,
            twin,
            tasks,
            closing,
            unleased: Cache::new(MOST_UNLEASED),
            doubts,
            sooner,
            kv,
            store,
            logins,
            upstream,
            tenants,
            policies,
            config,
            namespace,
            clock,
            metrics,
        }
    }

    /// Answers a request with a credential that is held, or with a new one that is then held.
    ///
    /// # Errors
    /// The upstream gave no answer, and nothing held may stand in for it.
    pub async fn answer(self: &Arc<Self>, wish: &Wish<'_>, body: Body) -> Result<Reply, Error> {
        let (question, path) = (wish.question, &wish.question.read.path);
        let off = self.config.scope == LeaseScope::None || !self.kv.may_lease(path);
        if off || question.directive == Directive::Bypass || !self.kv.rules().cached(path) {
            return Ok(Reply::Forward(body, CacheStatus::Silent));
        }
        let (body, key, sent) = match self.key(wish, body).await? {
            (body, Some((key, sent))) => (body, key, sent),
            (body, None) => return Ok(Reply::Forward(body, CacheStatus::Silent)),
        };
        let any = question.directive == Directive::Any;
        let began = self.clock.now();
        // Each turn ends in an answer or in waiting for somebody else's.
        for _ in 0..3 {
            if any && let Some(lease) = self.table.get(&key) {
                match self.lend(wish, &lease, began).await {
                    Lent::Reply(response, outcome) => return Ok(Reply::Serve(response, outcome)),
                    Lent::Pass => return Ok(Reply::Forward(body, CacheStatus::Bypass)),
                    Lent::Failed(error) => return Err(error),
                    Lent::Gone => (),
                }
            }
            // What is issued to a token whose uses are counted is that caller's own affair.
            let login = self.logins.get(question.fingerprint);
            let counted = login.is_some_and(|login| login.counted.is_some());
            let engine = if counted { None } else { self.engine(wish, &key.request).await };
            let Some(engine) = engine else {
                return Ok(Reply::Forward(body, CacheStatus::Silent));
            };
            // Whoever wants a new one wants one of a request that leaves after theirs.
            let passenger = match self.flights.board(&key, (), |()| any) {
                Seat::Passenger(passenger) => passenger,
                Seat::Pilot(pilot) => {
                    // Another flight may have landed since we looked.
                    let lapsed = self.table.get(&key).filter(|_| any);
                    if lapsed.as_ref().is_some_and(|lease| !self.over(lease)) {
                        pilot.land(Landing::Held);
                        continue;
                    }
                    let mut order = self.order(wish, key, engine, sent)?;
                    order.errand = Some(question.visit.errand()?);
                    let (hand_over, issued) = oneshot::channel();
                    let leases = Arc::clone(self);
                    let flight = async move { leases.fly(order, pilot, Some(hand_over)).await };
                    self.tasks.spawn(flight);
                    let lost = |_| Error::silent("a request for a credential was lost");
                    let issued = issued.await.map_err(lost)?;
                    return self.issued(wish, issued, lapsed.as_ref());
                }
            };
            match passenger.wait().await.unwrap_or(Landing::Private) {
                Landing::Held => (),
                Landing::Private => break,
                Landing::Said(said) => return Ok(said.reply()),
                Landing::Failed(error) => return Err(error),
            }
        }
        Ok(Reply::Forward(body, CacheStatus::Silent))
    }

    /// What the wish is found by, and its body as it is to be sent; `None` where it could mean
    /// anything else than what was understood.
    async fn key(
        &self,
        wish: &Wish<'_>,
        body: Body,
    ) -> Result<(Body, Option<(Key, Bytes)>), Error> {
        let (body, sent) = if wish.writes {
            let tasted = body::taste(body, LARGEST_WISH).await;
            tasted.map_err(|_| Error::Malformed("the body ended before it should"))?
        } else {
            (body, Some(Bytes::new()))
        };
        let Some(sent) = sent else { return Ok((body, None)) };
        let sum = if wish.writes { key::sum(&sent) } else { Some(key::Sum::default()) };
        let Some(sum) = sum else { return Ok((body, None)) };
        let (read, query) = (wish.question.read, wish.question.target.query().unwrap_or_default());
        let owner = match (wish.slot, self.config.scope) {
            (Some(slot), LeaseScope::Identity) => Owner::Account(Arc::clone(&slot.place)),
            (Some(slot), _) => Owner::Borrower(Arc::clone(&slot.place), wish.borrower),
            (None, _) => Owner::Credential(wish.question.fingerprint),
        };
        let request = Request {
            writes: wish.writes,
            path: read.path.as_ref().into(),
            namespace: read.namespace,
            query: query.as_bytes().into(),
            body: sum,
        };
        Ok((body, Some((Key { owner, request }, sent))))
    }

    /// The type of the engine that the wish is for, if it may issue credentials that can be kept.
    async fn engine(&self, wish: &Wish<'_>, request: &Request) -> Option<&'static str> {
        let now = self.clock.now();
        let seen = self.unleased.get(request);
        if wish.unknown || seen.is_some_and(|seen| now.since(seen) < UNLEASED_FOR) {
            return None;
        }
        match self.kv.engine(wish.question).await.ok().flatten()? {
            Engine::Other(engine) => Some(engine),
            Engine::Uncached if !wish.writes => Some(KV),
            Engine::Uncached | Engine::Fresh | Engine::KvV1 | Engine::KvV2 => None,
        }
    }

    /// The answer for whoever has asked for a new one. `lapsed`: one that was to be read again.
    fn issued(
        &self,
        wish: &Wish<'_>,
        issued: Issued,
        lapsed: Option<&Arc<Lease>>,
    ) -> Result<Reply, Error> {
        if let (Some(error), Some(lapsed)) = (issued.trouble(), lapsed)
            && let Lent::Reply(response, outcome) = self.stale(wish, lapsed, error)
        {
            return Ok(Reply::Serve(response, outcome));
        }
        let fresh = wish.question.directive == Directive::Fresh;
        match issued {
            Issued::Lease(lease, kept) => {
                let now = self.clock.now();
                lease.lend(wish.borrower, now);
                let serving = match (fresh, kept) {
                    (true, true) => Serving::Refreshed,
                    (false, true) => Serving::Stored,
                    (_, false) => Serving::Passed,
                };
                // As it came: nothing has run off it yet.
                let left = lease.expires().since(lease.asked);
                let namespace = wish.question.namespace;
                let response = reply::reply(&lease, serving, namespace, now, left);
                Ok(Reply::Serve(response, serving.outcome()))
            }
            Issued::Said(said) => Ok(said.reply()),
            Issued::Oversize(response) => Ok(Reply::Serve(response, Outcome::Bypass)),
            Issued::Failed(error) => Err(error),
        }
    }

    /// Takes in until when the token lives that a credential was issued to, where that is known.
    fn see_owner(&self, lease: &Lease, now: Time) {
        let holder = &lease.holder;
        if let Some(ends) = self.known_end(holder.slot.as_ref(), holder.fingerprint(), now) {
            lease.owner_ends(ends);
        }
    }

    /// The same for one that is about to be issued; if it is not known, it may be for ever.
    fn owner_end(&self, slot: Option<&Arc<Slot>>, token: Fingerprint) -> Time {
        self.known_end(slot, token, self.clock.now()).unwrap_or(Time::NEVER)
    }

    fn known_end(&self, slot: Option<&Arc<Slot>>, token: Fingerprint, now: Time) -> Option<Time> {
        match slot {
            Some(slot) => slot
                .good(now)
                .filter(|shared| shared.credential.fingerprint == token)
                .map(|shared| shared.expires),
            None => self
                .logins
                .get(token)
                .filter(|login| login.class.or(login.counted).is_some())
                .map(|login| login.expires),
        }
    }

    /// Has `writer` make them outlive the process, from now on.
    pub fn kept_by(&self, writer: &Arc<Writer>) {
        self.changes.kept_by(writer);
    }

    /// Returns once they are on disk for the last time, where they are kept there.
    pub async fn written(&self) {
        if let Some(writer) = self.changes.writer() {
            writer.stop().await;
        }
    }

    /// Something about them, or about who may have them, has changed: to be on disk soon.
    pub fn changed(&self) {
        self.changes.noted();
    }

    /// Has a credential seen to at `at`.
    fn see_to(&self, lease: &Lease, at: Time) {
        self.table.remind(lease, at);
        self.sooner.notify_one();
    }

    /// `read_again`: of one that is read again rather than looked after.
    fn plan(&self, read_again: bool) -> Plan {
        let config::Leases { renew_at, min_remaining, idle, .. } = self.config;
        Plan { renew_at, min_remaining, idle: if read_again { Duration::ZERO } else { idle } }
    }

    /// Shows how many are held: to be called every second.
    pub fn tidy(&self) {
        for (engine, held) in self.table.count() {
            self.metrics.leases_held(engine, held);
        }
        let (entries, bytes) = self.table.size();
        self.metrics.lease_cache_size(entries, bytes);
    }

    /// Forgets a credential that has ended, or is not to be known any more. `false`: it was not.
    fn let_go(&self, lease: &Arc<Lease>, cause: Cause) -> bool {
        let known = self.table.remove(lease);
        if known {
            self.metrics.lease_evicted(cause);
        }
        known
    }
}

/// What the engine of leased KV secrets is called.
const KV: &str = "kv";
