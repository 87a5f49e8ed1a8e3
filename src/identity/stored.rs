//! Logins of callers as they outlive the process, in memory only: they are asked about again soon.

use std::sync::atomic::{AtomicBool, Ordering};

use super::login::{Class, Login, Rights};
use super::{Logins, Standing};
use crate::clock::Moment;
use crate::sealed::content::{StoredIdentity, StoredRights};
use crate::sealed::{At, Times};
use crate::secret::Fingerprint;
use crate::twin::News;

impl Logins {
    /// Those that count.
    pub fn stored(&self, now: &Moment) -> Vec<StoredIdentity> {
        let known = self.known.iter();
        let counting = known.filter(|(_, login)| self.standing(login, now.time) != Standing::Void);
        counting.map(|(own, login)| login.stored(own, now)).collect()
    }

    /// Takes one in again.
    pub fn restore(&self, stored: StoredIdentity, times: &Times) -> Option<()> {
        let StoredIdentity { own, rights, .. } = stored;
        let login = Login {
            class: stored.class.map(Class::of_bytes),
            counted: stored.counted.map(Class::of_bytes),
            rights: rights.map(|rights| Box::new(rights.into())),
            service_account: stored.service_account.map(Box::new),
            dead: stored.dead,
            asked: times.past(stored.asked)?,
            expires: times.end(stored.expires),
            accessor: stored.accessor.into(),
            orphan: stored.orphan,
            epoch: self.epoch(),
            issued_only: stored.issued_only,
            renewing: AtomicBool::new(false),
            owed: AtomicBool::new(false),
        };
        self.known.insert(own, login.into());
        Some(())
    }

    /// Takes in what the other process has found out.
    pub fn heed(&self, news: &News) {
        match news {
            News::Login(own) => {
                if let Some(own) = Fingerprint::of_bytes(own) {
                    self.known.remove(&own);
                }
            }
            News::Logins => {
                self.epochs.all.fetch_add(1, Ordering::SeqCst);
            }
            News::Children => {
                self.epochs.children.fetch_add(1, Ordering::SeqCst);
            }
            _ => (),
        }
    }
}

impl Login {
    /// An answer that is owed stays owed here: two processes would pay it twice.
    fn stored(&self, own: Fingerprint, now: &Moment) -> StoredIdentity {
        StoredIdentity {
            own,
            class: self.class.map(Class::to_bytes),
            counted: self.counted.map(Class::to_bytes),
            rights: self.rights.as_deref().map(StoredRights::from),
            service_account: self.service_account.as_deref().cloned(),
            dead: self.dead,
            asked: At::of(self.asked, now),
            expires: At::of(self.expires, now),
            accessor: self.accessor.to_string(),
            orphan: self.orphan,
            issued_only: self.issued_only,
        }
    }
}

impl From<&Rights> for StoredRights {
    fn from(rights: &Rights) -> Self {
        Self {
            policies: rights.policies.iter().map(ToString::to_string).collect(),
            entity: rights.entity.to_string(),
            namespace: rights.namespace.to_string(),
            display_name: rights.display_name.to_string(),
            foreign: rights.foreign,
        }
    }
}

impl From<StoredRights> for Rights {
    fn from(rights: StoredRights) -> Self {
        Self {
            policies: rights.policies.into_iter().map(Into::into).collect(),
            entity: rights.entity.into(),
            namespace: rights.namespace.into(),
            display_name: rights.display_name.into(),
            foreign: rights.foreign,
        }
    }
}
