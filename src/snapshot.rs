//! May this class read that, by the upstream's own policies of at most W ago?
//!
//! Where `policy.source` is `local`, vaultlet reads the upstream's policies, and the identity data
//! that they name, with a token of its own (`reader` says what it is used for, and that is all).
//! What it has read is one [`Snapshot`], replaced whole, and only by what two readings in a row have
//! found: so it is what the upstream held at one instant. From then on it decides for W.
//!
//! Its *no* is never the answer: it only means that the upstream is asked, which is the case too
//! where the evaluator is in doubt, where a policy is not understood, or where anything is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::clock::{Clock, Time};
use crate::config::OwnIdentity;
use crate::identity::{Class, Login, Logins};
use crate::metrics::Metrics;
use crate::policy::{Decision, Mount, Operation, Parameters, Request};
use crate::upstream::Upstream;

mod answers;
mod content;
mod own;
mod reader;
mod refresh;
mod wanted;

use content::{Content, Lack};
use wanted::Wanted;

/// The upstream's policies, as far as vaultlet knows them.
#[derive(Debug)]
pub struct Policies {
    current: ArcSwapOption<Snapshot>,
    wanted: Wanted,
    /// How often the upstream has contradicted a snapshot.
    doubts: AtomicU64,
    /// Rung by who could not decide for want of a newer snapshot.
    wake: Notify,
    identity: OwnIdentity,
    logins: Arc<Logins>,
    upstream: Arc<Upstream>,
    window: Duration,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What the upstream's policies were at one instant.
#[derive(Debug)]
struct Snapshot {
    /// That instant: when the first request of the reading that confirmed it left.
    asked: Time,
    fence: Fence,
    content: Arc<Content>,
}

/// What must not have happened since a reading began, if it is to count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Fence {
    /// Times all logins were doubted: policies or identities were written through this node, or
    /// the upstream is another cluster.
    changes: u64,
    doubts: u64,
}

/// What a snapshot says of a read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The class could do this then.
    Allow(Time),
    /// The upstream knows.
    Ask,
    /// The upstream will say no, unless something has changed.
    Deny,
    /// It can be said once the login has been looked up again: it was so last before the policies
    /// became what they are, or not at all since it was issued.
    LookUp,
}

/// What a snapshot is, for operators.
#[derive(Debug)]
pub struct Summary {
    /// Since it was true; `None`: there is none yet.
    pub age: Option<Duration>,
    /// Policies that were understood.
    pub read: usize,
    /// Those that were not, and why: namespace and name, line, reason.
    pub opaque: Vec<String>,
}

impl Policies {
    /// Has read nothing yet. `home`: the namespace of requests that name none.
    pub fn new(
        identity: OwnIdentity,
        home: &str,
        parts: (Arc<Logins>, Arc<Upstream>),
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (logins, upstream) = parts;
        let home = if home.is_empty() { String::new() } else { format!("{home}/") };
        Self {
            current: ArcSwapOption::empty(),
            wanted: Wanted::new(&home),
            doubts: AtomicU64::new(0),
            wake: Notify::new(),
            identity,
            window: logins.window(),
            logins,
            upstream,
            clock,
            metrics,
        }
    }

    /// Whether a login of `class` may read a KV secret. `path`: namespace and path as policies see
    /// them. `version`: of `?version=`, the one parameter of cacheable reads.
    pub fn judge(&self, login: &Login, class: Class, path: &str, version: Option<u32>) -> Verdict {
        let Some(rights) = &login.rights else { return Verdict::Ask };
        let now = self.clock.now();
        if self.wanted.space(&rights.namespace, now) {
            self.wake.notify_one();
        }
        let current = self.current.load();
        let Some(snapshot) = current.as_ref().filter(|it| it.fence == self.fence()) else {
            self.wake.notify_one();
            return Verdict::Ask;
        };
        // Enterprise servers have Sentinel policies besides, which nobody can judge here.
        if now.since(snapshot.asked) > self.window || self.upstream.enterprise() {
            return Verdict::Ask;
        }
        if login.issued_only() {
            return Verdict::LookUp;
        }
        if rights.foreign {
            return Verdict::Ask;
        }
        let judge = match snapshot.content.judge(class, rights, now) {
            Ok(judge) => judge,
            Err(lack) => {
                if lack == Lack::Person
                    && self.wanted.person(&rights.entity, &rights.namespace, now)
                {
                    self.wake.notify_one();
                }
                return Verdict::Ask;
            }
        };
        if judge.personal {
            self.wanted.person(&rights.entity, &rights.namespace, now);
        }
        // A token's own policies never change, but which ones its entity adds does. Those of then
        // are not to be read in the words of now.
        if !rights.entity.is_empty() && login.asked < judge.since {
            return Verdict::LookUp;
        }
        let query = version.map(|version| format!("version={version}"));
        let given = query.as_ref().map(|query| Parameters::of_query(query.as_bytes()));
        let decision = judge.acl.decide(&Request {
            operation: Operation::Read,
            path,
            mount: Mount::Kv,
            parameters: given.as_ref().unwrap_or(Parameters::none()),
            now: Clock::unix(),
        });
        match decision {
            Decision::Allow(_) => Verdict::Allow(snapshot.asked),
            Decision::Ask(_) => Verdict::Ask,
            Decision::Deny(_) => Verdict::Deny,
        }
    }

    /// Lets the snapshot decide nothing more: the upstream has refused what it allows.
    pub fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// What is known now.
    pub fn summary(&self) -> Summary {
        let current = self.current.load();
        let content = current.as_ref().map(|snapshot| &snapshot.content);
        let opaque: Vec<_> = content.map(|content| content.opaque()).unwrap_or_default();
        Summary {
            age: current.as_ref().map(|snapshot| self.clock.now().since(snapshot.asked)),
            read: content.map_or(0, |content| content.len() - opaque.len()),
            opaque: opaque.iter().map(ToString::to_string).collect(),
        }
    }

    /// Forgets namespaces and entities nobody has asked about, and refreshes the gauges.
    pub fn tidy(&self) {
        self.wanted.tidy(self.clock.now(), self.window * 3);
        if let Some(age) = self.summary().age {
            self.metrics.policy_age(age);
        }
    }

    fn fence(&self) -> Fence {
        let doubts = self.doubts.load(Ordering::SeqCst);
        Fence { changes: self.logins.changes(), doubts }
    }
}
