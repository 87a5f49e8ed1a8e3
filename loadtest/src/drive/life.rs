//! When is a login or a lease to be renewed, and when is it to be replaced?
//!
//! As Vault's own client libraries do it: at two thirds of what is left, and by a new one as soon as
//! a renewal gives much less than asked for, because the longest life is nearly over.

use std::time::Duration;

/// How long something lasts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Life {
    /// As it was got, or renewed at best.
    whole: Duration,
    left: Duration,
    renewable: bool,
}

/// What is to be done before it is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    Renew,
    Replace,
}

impl Life {
    pub(crate) fn new(seconds: u64, renewable: bool) -> Self {
        let whole = Duration::from_secs(seconds);
        Self { whole, left: whole, renewable }
    }

    /// A renewal gave it so much.
    pub(crate) fn renewed(&mut self, seconds: u64) {
        self.left = Duration::from_secs(seconds);
        self.whole = self.whole.max(self.left);
    }

    /// What is next, and how long from now; `None`: it lasts for ever.
    pub(crate) fn next(&self) -> Option<(Duration, Step)> {
        if self.whole.is_zero() {
            return None;
        }
        let what =
            if self.renewable && self.left * 2 >= self.whole { Step::Renew } else { Step::Replace };
        Some((self.left * 2 / 3, what))
    }

    /// Of what is left when it is time for the next step, the time there is for it.
    pub(crate) fn spare(&self) -> Duration {
        self.left.saturating_sub(self.left * 2 / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of a credential of `ttl` and `max` seconds: when each is done, until the first
    /// replacement.
    fn steps(ttl: u64, max: u64) -> Vec<(f64, Step)> {
        let (mut life, mut now, mut steps) = (Life::new(ttl, true), Duration::ZERO, Vec::new());
        while let Some((wait, step)) = life.next() {
            now += wait;
            steps.push((now.as_secs_f64().round(), step));
            if step == Step::Replace {
                break;
            }
            life.renewed(ttl.min(Duration::from_secs(max).saturating_sub(now).as_secs()));
        }
        steps
    }

    #[test]
    fn it_is_renewed_until_its_longest_life_is_near_and_then_replaced() {
        use Step::{Renew, Replace};

        assert_eq!(
            steps(10, 30),
            [(7.0, Renew), (13.0, Renew), (20.0, Renew), (27.0, Renew), (29.0, Replace)]
        );
        assert_eq!(steps(30, 30), [(20.0, Renew), (27.0, Replace)]);
    }

    #[test]
    fn what_cannot_be_renewed_is_replaced() {
        let life = Life::new(60, false);

        assert_eq!(life.next(), Some((Duration::from_secs(40), Step::Replace)));
        assert_eq!(life.spare(), Duration::from_secs(20));
    }

    #[test]
    fn what_never_ends_needs_nothing() {
        assert_eq!(Life::new(0, true).next(), None);
    }
}
