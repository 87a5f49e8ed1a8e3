//! Badges as they outlive the process.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::{Badge, Badges};
use crate::clock::{LatestTime, Moment};
use crate::exchange::{Clusters, Slot};
use crate::kubernetes::Verified;
use crate::sealed::content::StoredBadge;
use crate::sealed::{At, Hidden, Times};

impl Badges {
    /// Those that count.
    pub fn stored(&self, clusters: &Clusters, now: &Moment) -> Vec<StoredBadge> {
        let live = self.known.iter().filter(|(_, badge)| now.time < badge.expires.get());
        live.map(|(own, badge)| StoredBadge {
            own,
            accessor: badge.accessor.to_string(),
            jwt: Hidden::copy(badge.holder.token.expose()),
            place: clusters.name(&badge.slot.place),
            made: badge
                .made
                .duration_since(UNIX_EPOCH)
                .map_or(0, |made| made.as_secs().cast_signed()),
            term: badge.term,
            expires: At::of(badge.expires.get(), now),
        })
        .collect()
    }

    /// Takes one in again: for `holder`, whose token has been verified anew, and the login of `slot`.
    pub fn restore(
        &self,
        badge: &StoredBadge,
        holder: &Arc<Verified>,
        slot: &Arc<Slot>,
        times: &Times,
    ) {
        let made = Duration::from_secs(badge.made.max(0).cast_unsigned());
        let expires = times.end(badge.expires).min(holder.expires);
        let restored = Badge {
            accessor: badge.accessor.as_str().into(),
            holder: Arc::clone(holder),
            jwt: self.logins.fingerprint(badge.jwt.expose()),
            slot: Arc::clone(slot),
            made: UNIX_EPOCH + made,
            term: badge.term,
            expires: LatestTime::new(expires),
        };
        self.known.insert(badge.own, Arc::new(restored));
        slot.badges.add(badge.own);
    }
}
