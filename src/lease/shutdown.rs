//! What becomes of the credentials when vaultlet ends?
//!
//! `on_shutdown: keep` leaves them to their ends, or to the next process that has the store.
//! `revoke` ends them: those of a shared login with the login, which may always end itself, and
//! others one by one, with the token each was issued to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tracing::{info, warn};

use super::Leases;
use super::ask;
use super::held::Lease;
use crate::config::OnShutdown;
use crate::metrics::{Cause, Revocation};

/// Revocations under way at once.
const AT_ONCE: usize = 16;

/// How long what is under way is waited for.
const UNDERWAY: Duration = Duration::from_secs(5);

/// An end must come to an end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Leases {
    /// Leaves them to themselves, or ends all of them, as configured: to be called when nobody is
    /// answered any more.
    pub async fn shut_down(&self) {
        self.leave().await;
        if self.config.on_shutdown == OnShutdown::Keep {
            return;
        }
        // One whose revocation is not answered may be gone.
        self.doubt_all();
        let all = self.table.select(|lease| lease.id.is_some());
        let mut groups: HashMap<_, Vec<Arc<Lease>>> = HashMap::new();
        for lease in all {
            // One request ends all that were issued to one shared login.
            let whose = match lease.holder.slot {
                Some(_) => (Some(lease.holder.credential.fingerprint), 0),
                None => (None, lease.serial),
            };
            groups.entry(whose).or_default().push(lease);
        }
        let ended = stream::iter(groups.into_values())
            .for_each_concurrent(AT_ONCE, |leases| async move { self.end(&leases).await });
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            let left = self.table.select(|lease| lease.id.is_some()).len();
            warn!(left, "not all leases could be revoked in time; they end by themselves");
        } else {
            info!("leases revoked");
        }
    }

    /// Leaves them to another process: from here on nothing is renewed, and nothing succeeded.
    pub async fn leave(&self) {
        // What is under way may end in another one.
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(UNDERWAY, self.tasks.wait()).await.is_err() {
            warn!("some requests for credentials are not answered yet");
        }
    }

    async fn end(&self, leases: &[Arc<Lease>]) {
        let Some(first) = leases.first() else { return };
        let token = &first.holder.header;
        let ended = match (&first.holder.slot, &first.id) {
            (Some(_), _) => ask::revoke_self(&self.upstream, first, token).await,
            (None, Some(id)) => ask::revoke(&self.upstream, first, id, token).await,
            (None, None) => return,
        };
        let ended = ended.unwrap_or(false);
        // Or it would be picked up again from the store.
        if let Some(slot) = first.holder.slot.as_ref().filter(|_| ended) {
            slot.revoked(first.holder.fingerprint());
        }
        for lease in leases {
            let how = if ended { Revocation::Own } else { Revocation::Failed };
            self.metrics.lease_revoked(lease.engine, how);
            if ended {
                self.let_go(lease, Cause::Invalidated);
            }
        }
    }
}
