//! What do the upstream's policies say, as they were read here (`policy.source: local`)?
//!
//! A yes becomes a proof like those that the upstream's own answers make, as of the instant at which
//! the policies were read. Anything else means that the upstream is asked.

use super::answer::Kind;
use super::fill::Order;
use super::{Kv, Question};
use crate::clock::Time;
use crate::identity::{Class, Login, Standing};
use crate::metrics::Decision;
use crate::snapshot::Verdict;

impl Kv {
    /// As of when `class` may read this by the policies known here, if they say so beyond doubt.
    pub(super) fn decide(&self, question: &Question<'_>, class: Class, now: Time) -> Option<Time> {
        match self.verdict(question, class, now)? {
            Verdict::Allow(at) => {
                self.metrics.decided(Decision::LocalAllowed);
                Some(at)
            }
            Verdict::Ask | Verdict::Deny | Verdict::LookUp => None,
        }
    }

    /// Counts that the upstream is asked, and why.
    pub(super) fn count_undecided(&self, question: &Question<'_>, class: Option<Class>) {
        let class = class.filter(|_| self.policies.is_some());
        match class.and_then(|class| self.verdict(question, class, self.clock.now())) {
            Some(Verdict::Ask | Verdict::LookUp) => self.metrics.decided(Decision::LocalAsked),
            Some(Verdict::Deny) => self.metrics.decided(Decision::LocalDenied),
            // There was nothing to be read yet, though it may be.
            Some(Verdict::Allow(_)) | None => (),
        }
    }

    fn verdict(&self, question: &Question<'_>, class: Class, now: Time) -> Option<Verdict> {
        let policies = self.policies.as_ref()?;
        let secret = matches!(self.kind(question.read), Some(Kind::V1 | Kind::V2(_)));
        let login = self.logins.get(question.fingerprint).filter(|_| secret)?;
        let its_own = login.class.or(login.counted) == Some(class);
        if !its_own || self.logins.standing(&login, now) != Standing::Fresh {
            return None;
        }
        let verdict = policies.judge(&login, class, &question.read.path, question.read.version);
        // Its uses are the caller's to spend.
        if verdict == Verdict::LookUp && login.counted.is_none() && self.logins.outdated(&login) {
            self.look_up_soon(question);
        }
        Some(verdict)
    }

    /// Lets the policies known here decide nothing more if they allow what the upstream has just
    /// refused.
    pub(super) fn contradicted(&self, order: &Order, login: &Login) {
        let (Some(policies), Some(class)) = (&self.policies, login.class) else { return };
        let key = order.key.to_ref();
        if let Verdict::Allow(_) = policies.judge(login, class, key.path, key.version) {
            policies.doubt();
        }
    }
}
