//! What does this process leave to the one after it, and what did the one before leave?
//!
//! Everything that would cost the upstream something to have again: shared logins, badges, leased
//! credentials, and, where that is asked for, KV secrets. It is put together and taken in here; how
//! it gets from one to the other is `sealed`'s affair.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tracing::{info, warn};

use crate::badge::Badges;
use crate::cache::Store;
use crate::clock::{Clock, Moment};
use crate::exchange::{Clusters, Exchange};
use crate::identity::{Class, Logins};
use crate::kubernetes::Issuers;
use crate::kv::mounts::Mounts;
use crate::lease::Leases;
use crate::metrics::Metrics;
use crate::sealed::content::{Content, StoredBadge, StoredEntry};
use crate::sealed::{Hidden, Reject, Sealed, Times, Writer, Written};
use crate::secret::Fingerprinter;
use crate::tenant::{Charge, Tenant, Tenants};
use crate::twin::{Link, News};
use crate::upstream::Upstream;

/// The parts that leave something, or have something left to them.
#[derive(Debug)]
pub struct Handover {
    /// Shared logins.
    pub exchange: Arc<Exchange>,
    /// Tokens of vaultlet's own.
    pub badges: Arc<Badges>,
    /// Leased credentials.
    pub leases: Arc<Leases>,
    /// KV secrets.
    pub store: Arc<Store>,
    /// And where they lie.
    pub mounts: Arc<Mounts>,
    /// Whose tokens are good.
    pub issuers: Arc<Issuers>,
    /// What fingerprints are made with.
    pub logins: Arc<Logins>,
    /// On whose account things are kept.
    pub tenants: Arc<Tenants>,
    /// Which cluster all of it is of.
    pub upstream: Arc<Upstream>,
    /// What the configuration calls the clusters.
    pub clusters: Clusters,
    /// Whether KV secrets are left too.
    pub kv: bool,
    /// The clock of all of them.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Service-account tokens verified at once, and for how long a start waits for them.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// What the process before has left in `sealed`; `None`, told once, where that is nothing or cannot
/// be believed.
pub fn load(sealed: &Sealed) -> Option<Content> {
    let loaded = sealed.load().and_then(|json| Content::of_json(&json));
    match loaded {
        Ok(content) => Some(content),
        Err(Reject::NotThere) => {
            info!("nothing is stored yet: starting cold");
            None
        }
        Err(reject) => {
            warn!(%reject, dir = %dir(sealed).display(), "the sealed store is not used: starting cold");
            None
        }
    }
}

fn dir(sealed: &Sealed) -> &Path {
    sealed.directory().path()
}

/// What fingerprints are made with: as before, where something was left that they stand for.
///
/// # Errors
/// The operating system gave no randomness.
pub fn fingerprinter(
    content: Option<&Content>,
) -> Result<Fingerprinter, aws_lc_rs::error::Unspecified> {
    let before =
        content.and_then(|content| Fingerprinter::with_key(content.fingerprint_key.expose()));
    before.map_or_else(Fingerprinter::new, Ok)
}

impl Handover {
    /// Has `writer` told of whatever changes in it, from now on.
    pub fn kept_by(&self, writer: &Arc<Writer>) {
        self.leases.kept_by(writer);
        self.exchange.kept_by(writer);
        self.badges.kept_by(writer);
        if self.kv {
            self.store.kept_by(writer);
        }
    }

    /// All that is left on a disk.
    pub fn collect(&self) -> Content {
        let now = self.clock.moment();
        let (clusters, moment) = (&self.clusters, &now);
        Content {
            mounts: if self.kv { self.mounts.stored() } else { Vec::new() },
            entries: if self.kv { self.store.stored(moment) } else { Vec::new() },
            ..self.rest(clusters, moment)
        }
    }

    /// What another process needs to answer in the place of this one, and the KV secrets, which are
    /// many. It hears of whatever becomes untrue after this was called.
    pub fn living(&self) -> (Content, Vec<StoredEntry>) {
        let now = self.clock.moment();
        let content = Content {
            identities: self.logins.stored(&now),
            mounts: self.mounts.stored(),
            // They may still be answered.
            intents: Vec::new(),
            ..self.rest(&self.clusters, &now)
        };
        (content, self.store.live(&now))
    }

    /// What a process that has drained leaves to the one that has taken over.
    pub fn last(&self) -> Content {
        self.rest(&self.clusters, &self.clock.moment())
    }

    fn rest(&self, clusters: &Clusters, moment: &Moment) -> Content {
        Content {
            written: Written::at(moment),
            addresses: self.upstream.addresses(),
            cluster: self.upstream.cluster().borrow().as_ref().map(ToString::to_string),
            fingerprint_key: Hidden::copy(self.logins.fingerprint_key()),
            leases: self.leases.stored(clusters, moment),
            logins: self.exchange.stored(clusters, moment),
            badges: self.badges.stored(clusters, moment),
            identities: Vec::new(),
            mounts: Vec::new(),
            entries: Vec::new(),
            intents: self.leases.intents(clusters, moment),
        }
    }

    /// When its instants are, if what was left can be believed here.
    fn times(&self, content: &Content) -> Option<Times> {
        let times = Times::new(&content.written, self.clock.moment());
        if times.unknown() {
            warn!("the wall clock was set back since the store was written: starting cold");
            return None;
        }
        // Should it be another behind the same addresses, all of this is forgotten as soon as it
        // says so.
        let same = content.addresses == self.upstream.addresses();
        let Some(cluster) = content.cluster.as_ref().filter(|_| same) else {
            warn!("what was stored is not certain to be of this upstream: starting cold");
            return None;
        };
        self.upstream.presume(cluster);
        Some(times)
    }

    /// Takes in what the process before has left. Nobody has been answered yet. Returns whether
    /// there was anything.
    pub async fn take_over(&self, mut content: Content) -> bool {
        let Some(times) = self.times(&content) else { return false };
        let entries = std::mem::take(&mut content.entries).into_iter();
        let restore = |it| self.store.restore(it, self.charge()?, &times);
        let entries = entries.filter_map(restore).count();
        let (logins, leases) = self.take_in(content, &times).await;
        info!(logins, leases, entries, "went on with what was stored");
        logins + leases + entries > 0
    }

    /// Takes in what a running process knows, but for the KV secrets: those are to be taken in one
    /// by one with what this returns, if it can be believed.
    pub async fn adopt(&self, mut content: Content) -> Option<Times> {
        let times = self.times(&content)?;
        let identities = std::mem::take(&mut content.identities).into_iter();
        let identities = identities.filter_map(|it| self.logins.restore(it, &times)).count();
        let (logins, leases) = self.take_in(content, &times).await;
        info!(identities, logins, leases, "went on with what the process before knew");
        Some(times)
    }

    /// Takes in a KV secret of a running process.
    pub fn adopt_entry(&self, entry: StoredEntry, times: &Times) -> Option<()> {
        let reader = entry.proofs.first().map(|proof| Class::of_bytes(proof.class).tenant());
        let charge = reader.and_then(|reader| self.tenants.charge(reader));
        self.store.adopt(entry, charge.or_else(|| self.charge())?, times)
    }

    /// Takes in what came into being in a process while it drained.
    pub async fn adopt_rest(&self, mut content: Content) {
        let Some(times) = self.times(&content) else { return };
        content.leases.retain(|lease| !self.leases.holds(lease.lease_id.as_deref()));
        self.take_in(content, &times).await;
    }

    /// Takes in what the other process has found untrue.
    pub fn heed(&self, news: &News) {
        if *news == News::Mounts {
            self.mounts.forget_all();
        }
        self.store.heed(news);
        self.logins.heed(news);
        self.leases.heed(news);
    }

    /// Has the other process at `link` told of what is found untrue here, or nobody any more.
    pub fn told_to(&self, link: Option<&Arc<Link>>) {
        self.store.told_to(link);
        self.logins.told_to(link);
        self.leases.told_to(link);
    }

    /// The other process has ended without its last word: what it has changed is not known.
    pub fn doubt_everything(&self) {
        self.store.forget_all();
        self.mounts.forget_all();
        self.leases.forget_unleased();
        self.logins.doubt_all();
        self.leases.doubt_all();
    }

    /// Room for an entry of which it is not known whose it is.
    fn charge(&self) -> Option<Charge> {
        self.tenants.charge(Tenant::vaultlet())
    }

    /// How many logins and leases were taken in.
    async fn take_in(&self, content: Content, times: &Times) -> (usize, usize) {
        let (clusters, exchange) = (&self.clusters, &self.exchange);
        let logins = content.logins.iter();
        let logins = logins.filter_map(|it| exchange.restore(it, clusters, times)).count();
        let leases = content.leases.into_iter();
        let leases =
            leases.filter_map(|it| self.leases.restore(it, exchange, clusters, times)).count();
        if !content.mounts.is_empty() {
            self.mounts.restore(&content.mounts);
        }
        let restore = self.restore_badges(&content.badges, times);
        if tokio::time::timeout(PATIENCE, restore).await.is_err() {
            warn!("not all tokens could be verified again in time; their applications log in anew");
        }
        for intent in &content.intents {
            self.metrics.lease_orphaned();
            warn!(
                mount = mount(&intent.path),
                "a credential was being asked for when the process before ended: there may be one \
                 that nobody has, until its lease ends"
            );
        }
        (logins, leases)
    }

    /// A badge counts no longer than the service-account token it was given for, which is verified
    /// again.
    async fn restore_badges(&self, badges: &[StoredBadge], times: &Times) {
        let restore = |badge| async move { self.restore_badge(badge, times).await };
        stream::iter(badges).for_each_concurrent(AT_ONCE, restore).await;
    }

    async fn restore_badge(&self, badge: &StoredBadge, times: &Times) {
        let jwt = badge.jwt.expose();
        let own = self.logins.fingerprint(jwt);
        if let Ok(holder) = self.issuers.verify(jwt, own).await
            && let Some(slot) = self.exchange.slot_named(&badge.place, &self.clusters)
            && slot.place.account == holder.account
            && self.clusters.answers(holder.account.cluster)
        {
            slot.meet(&holder);
            self.badges.restore(badge, &holder, &slot, times);
        }
    }
}

/// Where a path begins: the rest of it is not for logs.
fn mount(path: &str) -> &str {
    path.split_once('/').map_or(path, |(mount, _)| mount)
}
