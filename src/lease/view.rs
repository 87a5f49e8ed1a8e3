//! What do operators see of the credentials that are held, and how do they have them forgotten?
//!
//! What is forgotten is not revoked: it lives on upstream until its lease ends.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Leases;
use super::held::Lease;
use crate::metrics::Cause;
use crate::secret::Fingerprint;

/// The credentials that are held.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// How many, by engine.
    pub engines: BTreeMap<&'static str, Count>,
    /// The same by namespace and path, for those who may see paths.
    pub paths: BTreeMap<Box<str>, Count>,
    /// Until the next of those that are handed out ends.
    pub next_end: Option<Duration>,
    /// Since the one of those longest unconfirmed was known to be there.
    pub unconfirmed: Option<Duration>,
}

/// How many credentials.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Those that are handed out.
    pub live: usize,
    /// Those that live to their end, with somebody perhaps.
    pub retired: usize,
}

impl Count {
    fn add(&mut self, retired: bool) {
        *(if retired { &mut self.retired } else { &mut self.live }) += 1;
    }
}

impl Leases {
    /// What is held.
    pub fn summary(&self) -> Summary {
        let now = self.clock.now();
        let mut summary = Summary::default();
        for lease in self.table.select(|_| true) {
            let retired = lease.retired();
            summary.engines.entry(lease.engine).or_default().add(retired);
            summary.paths.entry(lease.key.request.path.clone()).or_default().add(retired);
            if retired {
                continue;
            }
            let left = lease.ends().since(now);
            summary.next_end = Some(summary.next_end.map_or(left, |least| least.min(left)));
            if lease.id.is_some() {
                summary.unconfirmed = summary.unconfirmed.max(Some(now.since(lease.confirmed())));
            }
        }
        summary
    }

    /// Forgets all of them: the upstream is another one, or an operator says so.
    pub fn forget_all(&self) {
        self.forget(|_| true);
    }

    /// Forgets those for this namespace and path; with a `*` at its end, for all that begin so.
    pub fn forget_path(&self, path: &str) {
        match path.strip_suffix('*') {
            Some(prefix) => self.forget(|lease| lease.key.request.path.starts_with(prefix)),
            None => self.forget(|lease| *lease.key.request.path == *path),
        }
    }

    /// Forgets those that were issued to this token.
    pub fn forget_token(&self, token: Fingerprint) {
        self.forget(|lease| lease.holder.credential.fingerprint == token);
    }

    /// Forgets the one with this lease id.
    pub fn forget_lease(&self, id: &str) {
        if let Some(lease) = self.table.find(id) {
            self.let_go(&lease, Cause::Invalidated);
            self.changed();
        }
    }

    pub(super) fn forget(&self, which: impl Fn(&Lease) -> bool) {
        // What is being issued now is doubted as well.
        self.doubt_all();
        for lease in self.table.select(which) {
            self.let_go(&lease, Cause::Invalidated);
        }
        // A path is perhaps cleared because its role issues leases now.
        self.unleased.clear();
    }
}
