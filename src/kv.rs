//! May this read be answered from memory, and if not, what does the upstream say?
//!
//! [`Kv::read`] is the whole of it. A hit needs three things that are all young enough: a login
//! for the credential, a proof of its rights class for this request, and the entry. Whatever is
//! missing is asked for upstream with the caller's own credential, once for all who wait.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::body::Response;
use crate::cache::entry::Entry;
use crate::cache::{Key, Scope, Store};
use crate::clock::{Clock, Time};
use crate::config;
use crate::error::Error;
use crate::flight::{Flights, Seat};
use crate::identity::{Class, Login, Logins, Standing};
use crate::metrics::{Decision, Metrics, Outcome};
use crate::request::{Directive, Read, ReadKind};
use crate::snapshot::Policies;
use crate::tenant::Tenants;
use crate::upstream::Upstream;

pub mod answer;
mod detect;
mod fill;
mod local;
pub mod mounts;
mod question;
mod reply;
pub mod rules;

use answer::Kind;
use fill::{Landing, Tag};
use mounts::{Engine, Mounts};
pub use question::{CacheStatus, Question, Reply};
use reply::reply;
pub(crate) use reply::{Serving, kept, label, mark};
use rules::Rules;

/// Reads of KV secrets.
#[derive(Debug)]
pub struct Kv {
    store: Arc<Store>,
    mounts: Arc<Mounts>,
    logins: Arc<Logins>,
    upstream: Arc<Upstream>,
    tenants: Arc<Tenants>,
    /// Those of the upstream, where they are evaluated here.
    policies: Option<Arc<Policies>>,
    flights: Flights<Key, Tag, Landing>,
    /// Questions which mount a path lies in, each of one caller.
    detections: Flights<Key, (), Result<(), Error>>,
    rules: ArcSwap<Rules>,
    /// That of requests that name none.
    namespace: String,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// The rights of a caller, as far as they are known.
enum Rights {
    /// Of this class, as of a lookup within W.
    Class(Class),
    /// Of this class, for one answer.
    Owed(Class, Arc<Login>),
    /// Each request must reach the upstream.
    Own,
    /// Nobody has asked yet.
    Unasked,
    /// The upstream could not be asked.
    Unknown(Error),
}

impl Kv {
    /// Over the given parts.
    pub fn new(
        config: &config::Cache,
        namespace: String,
        parts: (Arc<Store>, Arc<Mounts>, Arc<Logins>, Arc<Upstream>),
        tenants: Arc<Tenants>,
        policies: Option<Arc<Policies>>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (store, mounts, logins, upstream) = parts;
        let (flights, detections) = Default::default();
        let rules = ArcSwap::from_pointee(Rules::new(config));
        Self {
            store,
            mounts,
            logins,
            upstream,
            tenants,
            policies,
            flights,
            detections,
            rules,
            namespace,
            clock,
            metrics,
        }
    }

    /// Applies other lifetimes, and forgets what is kept under those before.
    pub fn set_rules(&self, config: &config::Cache) {
        self.rules.store(Arc::new(Rules::new(config)));
        self.store.forget_all();
    }

    /// The configured lifetimes.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Answers a read, from memory where that is allowed.
    ///
    /// # Errors
    /// The upstream gave no answer, and nothing cached may stand in for it.
    pub async fn read(self: &Arc<Self>, question: &Question<'_>) -> Result<Reply, Error> {
        if let Some(response) = self.hit(question) {
            return Ok(Reply::Serve(response, Outcome::Hit));
        }
        // In a box: each request's future is moved, and a hit's need not have room for the rest.
        Box::pin(self.miss(question)).await
    }

    /// Answers a read that is no hit.
    async fn miss(self: &Arc<Self>, question: &Question<'_>) -> Result<Reply, Error> {
        if question.directive == Directive::Bypass || !self.rules.load().cached(&question.read.path)
        {
            return Ok(Reply::Forward(CacheStatus::Bypass));
        }
        match self.is_secret(question).await {
            Ok(true) => self.ask(question).await,
            Ok(false) => Ok(Reply::Forward(CacheStatus::Silent)),
            Err(error) => Ok(Reply::Unknown(error)),
        }
    }

    /// The hit path: no upstream, no wait, one lookup in each table.
    fn hit(self: &Arc<Self>, question: &Question<'_>) -> Option<Response> {
        if question.directive != Directive::Any {
            return None;
        }
        let now = self.clock.now();
        let login = self.logins.get(question.fingerprint)?;
        let class = login.class?;
        if self.logins.standing(&login, now) != Standing::Fresh {
            return None;
        }
        let (entry, proven) = self.good(question, class, now)?;
        self.keep_warm(question, &login, class, &entry, proven, now);
        Some(reply(&entry, Serving::Hit, question.namespace, now))
    }

    /// The entry, if it is fresh and proven for `class` within W, and when.
    fn good(&self, question: &Question<'_>, class: Class, now: Time) -> Option<(Arc<Entry>, Time)> {
        let entry = self.find(question, class).filter(|entry| now < entry.life.until(None))?;
        let window = self.logins.window();
        let proven = entry.proven(class).filter(|proven| now.since(*proven) <= window);
        if let Some(proven) =
            proven.filter(|proven| self.policies.is_none() || !self.old(*proven, now))
        {
            self.metrics.decided(Decision::Proven);
            return Some((entry, proven));
        }
        let Some(at) = self.decide(question, class, now) else {
            proven.inspect(|_| self.metrics.decided(Decision::Proven));
            return Some((entry, proven?));
        };
        entry.prove(class, at);
        Some((entry, proven.max(Some(at))?))
    }

    /// Whether a proof is near its end.
    fn old(&self, proven: Time, now: Time) -> bool {
        now.since(proven) > self.logins.aging()
    }

    /// The entry for a caller of `class`, whatever its age.
    fn find(&self, question: &Question<'_>, class: Class) -> Option<Arc<Entry>> {
        let key = question.key(Scope::Class(class));
        let found = self.store.get(key);
        if found.is_some() || question.read.kind == ReadKind::Secret {
            return found;
        }
        // What the upstream told the caller before anybody knew its class, it told the class.
        let own = self.store.get(question.key(Scope::Caller(question.fingerprint)))?;
        own.prove(class, own.asked);
        self.store.put(key.to_key(), &own);
        Some(own)
    }

    /// Has what is about to run out renewed in the background, by the first who comes by.
    fn keep_warm(
        self: &Arc<Self>,
        question: &Question<'_>,
        login: &Arc<Login>,
        class: Class,
        entry: &Arc<Entry>,
        proven: Time,
        now: Time,
    ) {
        if self.logins.due(login, now) {
            self.look_up_soon(question);
        }
        if (now >= entry.life.refresh || self.old(proven, now))
            && let Some(kind) = self.kind(question.read)
            && entry.claim_refresh()
        {
            let order = self.order(question, kind, Some(class));
            match self.flights.board(&order.key, order.tag(), |tag| tag.flies_for(class)) {
                Seat::Passenger(_) => entry.release_refresh(),
                Seat::Pilot(pilot) => {
                    let (kv, entry) = (Arc::clone(self), Arc::clone(entry));
                    tokio::spawn(async move {
                        kv.fly(order, pilot, None).await;
                        entry.release_refresh();
                    });
                }
            }
        }
    }

    /// Asks whose the caller's token is.
    pub(crate) async fn look_up(&self, question: &Question<'_>) -> Result<Arc<Login>, Error> {
        let credential = self.logins.credential(question.token, question.fingerprint);
        self.logins.lookup(&credential, question.visit.tenant(), question.namespace).await
    }

    /// The same in the background.
    pub(crate) fn look_up_soon(&self, question: &Question<'_>) {
        let logins = Arc::clone(&self.logins);
        let credential = logins.credential(question.token, question.fingerprint);
        let (tenant, namespace) = (question.visit.tenant(), question.namespace.cloned());
        // What the lookup finds is in the table; a failure shows when the login lapses.
        tokio::spawn(async move {
            drop(logins.lookup(&credential, tenant, namespace.as_ref()).await);
        });
    }

    /// Asks the upstream, alone or with others, or waits for who does.
    async fn ask(self: &Arc<Self>, question: &Question<'_>) -> Result<Reply, Error> {
        let Some(kind) = self.kind(question.read) else {
            return Ok(Reply::Forward(CacheStatus::Silent));
        };
        let began = self.clock.now();
        if let Some(stale) = self.crowded_out(question) {
            return Ok(stale);
        }
        let held = self.store.get(question.key(Scope::All));
        let expired = held.as_ref().is_some_and(|entry| began >= entry.life.until(None));
        let mut rights = self.rights(question, held.is_some()).await;
        let any = question.directive == Directive::Any;
        // Each turn ends in an answer or in waiting for somebody else's; more than one wait means
        // that the others' answers are not for this caller.
        for _ in 0..3 {
            let class = match &rights {
                Rights::Class(class) => Some(*class),
                Rights::Owed(class, login) => {
                    let Some((entry, _)) = self.good(question, *class, self.clock.now()) else {
                        login.owe_again();
                        return Ok(Reply::Forward(CacheStatus::Bypass));
                    };
                    return Ok(self.serve(question, &entry, Serving::Owed));
                }
                Rights::Own => return Ok(Reply::Forward(CacheStatus::Bypass)),
                Rights::Unasked => None,
                Rights::Unknown(error) => {
                    if let Some(stale) = self.stale(question, error) {
                        return Ok(stale);
                    }
                    // The upstream may have an answer to the caller that it had not to us.
                    return match error {
                        error if !error.answered() => Err(error.clone()),
                        _ => Ok(Reply::Forward(CacheStatus::Bypass)),
                    };
                }
            };
            let at_hand = || {
                let class = class.filter(|_| any)?;
                let (entry, _) = self.good(question, class, self.clock.now())?;
                Some(self.serve(question, &entry, Serving::since(began, &entry)))
            };
            if let Some(reply) = at_hand() {
                return Ok(reply);
            }
            let mut order = self.order(question, kind, class);
            // Whoever wants the upstream's answer wants one to a request that leaves after theirs.
            let tenant = question.visit.tenant();
            let shares = |tag: &Tag| any && tag.may_suit(class) && !tag.holds_up(tenant);
            let passenger = match self.flights.board(&order.key, order.tag(), shares) {
                Seat::Passenger(passenger) => passenger,
                Seat::Pilot(pilot) => {
                    // Another flight may have landed since we looked.
                    if let Some(reply) = at_hand() {
                        pilot.land(Landing::Stored);
                        return Ok(reply);
                    }
                    self.count_undecided(question, class);
                    // Without it nobody flies, and those on board try for themselves.
                    order.errand = Some(question.visit.errand()?);
                    let (hand_over, fetched) = oneshot::channel();
                    let kv = Arc::clone(self);
                    tokio::spawn(async move { kv.fly(order, pilot, Some(hand_over)).await });
                    let lost = |_| Error::silent("a read was lost");
                    return self.fetched(question, expired, fetched.await.map_err(lost)?);
                }
            };
            if matches!(rights, Rights::Unasked) {
                rights = self.rights(question, true).await;
            }
            match passenger.wait().await.unwrap_or(Landing::Private(None)) {
                Landing::Stored => (),
                // It was for somebody of another class, or perhaps of none.
                Landing::Private(whose) if whose.is_none() || whose != class => (),
                Landing::Private(_) => break,
                Landing::Failed(error) => {
                    return self.stale(question, &error).ok_or(error);
                }
            }
        }
        Ok(Reply::Forward(CacheStatus::Bypass))
    }

    /// What the caller may, as far as that can be known now. An unknown token is looked up only
    /// where `known` says that an answer is at hand, or about to be, that may then be given to it.
    async fn rights(&self, question: &Question<'_>, known: bool) -> Rights {
        match self.logins.get(question.fingerprint) {
            Some(login) if self.logins.settled(&login, self.clock.now()) => {
                return Rights::of(login);
            }
            // The question which mount a path is in spends no use, so it is no reason to spend one.
            None if !known || question.read.kind == ReadKind::Mount => return Rights::Unasked,
            _ => (),
        }
        match self.look_up(question).await {
            Ok(login) => Rights::of(login),
            Err(error) => Rights::Unknown(error),
        }
    }

    fn serve(&self, question: &Question<'_>, entry: &Entry, serving: Serving) -> Reply {
        let response = reply(entry, serving, question.namespace, self.clock.now());
        Reply::Serve(response, serving.outcome())
    }

    /// An entry past its time, because the upstream cannot be asked: to logins and classes that
    /// were good when it last could, for as long as the entry's path allows. Not to those who want
    /// the upstream's own.
    fn stale(&self, question: &Question<'_>, error: &Error) -> Option<Reply> {
        let trouble = error.trouble().filter(|_| question.directive == Directive::Any)?;
        let now = self.clock.now();
        let login = self.logins.get(question.fingerprint)?;
        let class = login.class?;
        let entry = self.find(question, class)?;
        let window = self.logins.window() + entry.life.grace(trouble);
        let believed = self.logins.standing(&login, now) != Standing::Void
            && now.since(login.asked) <= window
            && entry
                .proven(class)
                .or_else(|| self.decide(question, class, now).inspect(|at| entry.prove(class, *at)))
                .is_some_and(|proven| now.since(proven) <= window);
        if !believed || now >= entry.life.until(Some(trouble)) {
            return None;
        }
        self.metrics.decided(Decision::Proven);
        let response = reply(&entry, Serving::Stale, question.namespace, now);
        Some(Reply::Serve(response, Outcome::Stale))
    }

    /// What a read reads, as far as its mount is known; `None` where that is no secret.
    fn kind(&self, read: &Read<'_>) -> Option<Kind> {
        if read.kind == ReadKind::Mount {
            return Some(Kind::Mount);
        }
        let (mount, engine) = self.mounts.find(&read.path, false)?;
        let rest = &read.path[mount..];
        match engine {
            Engine::KvV1 if !rest.is_empty() => Some(Kind::V1),
            Engine::KvV2 if rest.strip_prefix("data/").is_some_and(|key| !key.is_empty()) => {
                Some(Kind::V2(read.version))
            }
            _ => None,
        }
    }
}

impl Rights {
    fn of(login: Arc<Login>) -> Self {
        match (login.class, login.take_owed()) {
            (Some(class), _) => Self::Class(class),
            (None, Some(class)) => Self::Owed(class, login),
            (None, None) => Self::Own,
        }
    }
}
