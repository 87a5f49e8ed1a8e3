//! Handing out a credential that is held, if it is known to be good for this caller.

use std::sync::Arc;
use std::time::Duration;

use super::held::Lease;
use super::seen::Windows;
use super::vouch::Vouched;
use super::{Leases, Wish, reply};
use crate::body::Response;
use crate::clock::Time;
use crate::error::Error;
use crate::identity::Standing;
use crate::kv::Serving;
use crate::metrics::Outcome;

/// What became of handing out one that is held.
pub(super) enum Lent {
    /// It was.
    Reply(Response, Outcome),
    /// There is none any more, or none that may go out without being read again.
    Gone,
    /// The upstream decides about this caller.
    Pass,
    /// The upstream could not be asked, and it may not go out without.
    Failed(Error),
}

/// Leases are counted in whole seconds: with less than one left, it has ended.
const SECOND: Duration = Duration::from_secs(1);

impl Leases {
    /// Hands out a credential, if it is known to be good for this caller; asks what is not known, and
    /// then looks at all of it again.
    pub(super) async fn lend(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        lease: &Arc<Lease>,
        began: Time,
    ) -> Lent {
        let question = wish.question;
        for _ in 0..4 {
            let now = self.clock.now();
            // First: a token that was renewed lives longer than was known.
            let login = match self.logins.get(question.fingerprint) {
                Some(login) if self.logins.settled(&login, now) => login,
                _ => match self.kv.look_up(question).await {
                    Ok(_) => continue,
                    Err(error) => return self.stale(wish, lease, error),
                },
            };
            self.see_owner(lease, now);
            if self.over(lease) {
                return Lent::Gone;
            }
            let lack = self.lacks(question, lease, now);
            if login.class.is_none() {
                // Its uses are counted, and one answer may be owed for a look-up of ours.
                if login.take_owed().is_none() {
                    return Lent::Pass;
                }
                if lack.is_some() {
                    login.owe_again();
                    return Lent::Pass;
                }
                return self.serve(wish, lease, Serving::Owed);
            }
            if lease.claim_known() {
                self.see_to(lease, now);
            }
            if lack.is_none() {
                self.keep_warm(question, &login, lease, now);
                return self.serve(wish, lease, Serving::of(began, lease.answered));
            }
            match self.vouch(question, lease).await {
                Vouched::Good => (),
                Vouched::Gone => return Lent::Gone,
                Vouched::Denied => return Lent::Pass,
                Vouched::Failed(error) => return self.stale(wish, lease, error),
            }
        }
        Lent::Pass
    }

    /// Whether a credential is not handed out any more, whoever asks: it has ended; another has its
    /// place; it was to be read again by now; something was written below its path; or no rule keeps
    /// it any more.
    pub(super) fn over(&self, lease: &Lease) -> bool {
        let now = self.clock.now();
        let last = if lease.id.is_some() { SECOND } else { Duration::ZERO };
        let written = lease.stamp.is_some_and(|stamp| !self.store.current(stamp));
        let ruled = || self.kv.rules().own_end(&lease.key.request.path);
        now.plus(last) >= lease.ends()
            || lease.retired()
            || now >= lease.fresh
            || written
            || lease.id.is_none() && !ruled()
    }

    /// One whose windows have passed, because the upstream cannot be asked: to logins that were good
    /// when it last could, for as long as the path's rule allows, and never past its end.
    pub(super) fn stale(&self, wish: &Wish<'_>, lease: &Arc<Lease>, error: Error) -> Lent {
        let Some(trouble) = error.trouble() else { return Lent::Failed(error) };
        let (question, now) = (wish.question, self.clock.now());
        let grace = self.kv.rules().grace(&question.read.path, trouble);
        let Windows { right, confirmation, doubts } = self.windows();
        let (right, confirmation) = (right + grace, confirmation + grace);
        let believed = self.logins.get(question.fingerprint).is_some_and(|login| {
            login.class.is_some()
                && self.logins.standing(&login, now) != Standing::Void
                && now.since(login.asked) <= right
        });
        let lack = lease.lacks(now, Windows { right, confirmation, doubts });
        let written = lease.stamp.is_some_and(|stamp| !self.store.current(stamp));
        let ended = now.plus(SECOND) >= lease.ends() || now >= lease.fresh.plus(grace);
        let ruled = lease.id.is_some() || self.kv.rules().own_end(&lease.key.request.path);
        if !believed || lack.any() || ended || written || !ruled || lease.retired() {
            return Lent::Failed(error);
        }
        self.serve(wish, lease, Serving::Stale)
    }

    fn serve(&self, wish: &Wish<'_>, lease: &Arc<Lease>, serving: Serving) -> Lent {
        let now = self.clock.now();
        if self.over(lease) && serving != Serving::Stale {
            return Lent::Gone;
        }
        let (left, forsaken) = lease.lend(wish.borrower, now);
        if forsaken {
            self.see_to(lease, now);
        }
        let response = reply::reply(lease, serving, wish.question.namespace, now, left);
        Lent::Reply(response, serving.outcome())
    }
}
