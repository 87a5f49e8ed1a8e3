//! What has happened that may concern credentials that are held?

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Leases;
use super::seen::{Doubts, Seen, Windows};
use crate::twin::{Link, News};

impl Leases {
    pub(super) fn windows(&self) -> Windows {
        Windows {
            right: self.logins.window(),
            confirmation: self.config.check_after,
            doubts: self.doubts(),
        }
    }

    pub(super) fn doubts(&self) -> Doubts {
        let (all, own) = &self.doubts;
        Doubts { all: all.load(Ordering::SeqCst), own: own.load(Ordering::SeqCst) }
    }

    /// What is seen now.
    pub(super) fn seen_now(&self) -> Seen {
        Seen { at: self.clock.now(), doubts: self.doubts() }
    }

    /// Casts doubt on all: something was revoked, or may have been, that may concern any of them.
    /// Each is asked about before it is handed out again.
    pub fn doubt_all(&self) {
        self.heed(&News::Leases);
        self.tell_revocation();
    }

    /// One was revoked, or may have been: the other process, if there is one, asks about all.
    pub(super) fn tell_revocation(&self) {
        self.twin.tell(|| News::Leases);
    }

    /// The same for those that were issued to callers' own tokens: one of those was revoked, and
    /// perhaps others that it had made.
    pub fn doubt_own(&self) {
        self.heed(&News::OwnLeases);
        self.twin.tell(|| News::OwnLeases);
    }

    /// Takes in what the other process has found out.
    pub fn heed(&self, news: &News) {
        match news {
            News::Leases => self.doubts.0.fetch_add(1, Ordering::SeqCst),
            News::OwnLeases => self.doubts.1.fetch_add(1, Ordering::SeqCst),
            News::Mounts => return self.forget(|lease| lease.id.is_none()),
            _ => return,
        };
        self.changed();
    }

    /// Has the other process at `link` told of what is doubted here, or nobody any more.
    pub fn told_to(&self, link: Option<&Arc<Link>>) {
        link.map_or_else(|| self.twin.part(), |link| self.twin.join(link));
    }

    /// Forgets those that nothing upstream vouches for: mounts have changed.
    pub fn forget_unleased(&self) {
        self.heed(&News::Mounts);
        self.twin.tell(|| News::Mounts);
    }

    /// Other rules hold: what was seen under those before is seen anew.
    pub fn rules_changed(&self) {
        self.unleased.clear();
    }
}
