//! How long does a leased credential live, and what is to be done for it next?
//!
//! A state machine without I/O. A credential has three ends: that of its lease, which a renewal
//! moves; its *ceiling*, which none does (the longest life of its role, counted from its issue); and
//! that of the token it was issued to. The ceiling is not in any answer: it shows when a renewal is
//! given less than it asked for, and is then remembered for the role.

use std::time::Duration;

use super::agenda::{back_off, renewal};
use crate::clock::Time;

/// What is configured about all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Share of a lease after which it is renewed.
    pub(super) renew_at: f64,
    /// Share of the longest life below which a successor is fetched.
    pub(super) min_remaining: f64,
    /// How long after it was last handed out a credential is looked after.
    pub(super) idle: Duration,
}

/// One credential's.
#[derive(Clone, Debug)]
pub(super) struct Life {
    plan: Plan,
    issued: Time,
    /// What its lease was given at first, and is asked for again.
    term: Duration,
    expires: Time,
    renewable: bool,
    ceiling: Option<Time>,
    /// Whether it has shown that end itself, and not another like it.
    shown: bool,
    /// When to renew next.
    renew: Time,
    /// Until when it is looked after.
    wanted: Time,
    /// In a row.
    failures: u32,
    /// Nothing is tried before this.
    later: Time,
    phase: Phase,
}

/// What it is to its owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// It is handed out.
    Live,
    /// The same, but what the upstream says of it makes a successor the better choice.
    Doubtful,
    /// Another has taken its place, or will when somebody asks: it lives to its end.
    Retired,
}

/// The end of the token it was issued to, and whether its owner has another by now.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnerLife {
    /// When that token dies.
    pub(super) ends: Time,
    /// Whether the owner has a younger one.
    pub(super) succeeded: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Nothing until then.
    Wait(Time),
    /// Ask for this much more, from now.
    Renew(Duration),
    /// Fetch another in its place.
    Succeed,
    /// It has ended.
    End,
}

/// Leases are counted in whole seconds: what is this close is the same.
const SECOND: Duration = Duration::from_secs(1);

impl Life {
    /// Asked for at `issued`; its lease is for `term`. `longest`: the longest life of others like it,
    /// if that is known.
    pub(super) fn new(
        plan: Plan,
        issued: Time,
        term: Duration,
        renewable: bool,
        longest: Option<Duration>,
    ) -> Self {
        let expires = issued.plus(term);
        let longest = longest.filter(|longest| renewable && *longest >= term);
        Self {
            plan,
            issued,
            term,
            expires,
            renewable,
            ceiling: if renewable { longest.map(|it| issued.plus(it)) } else { Some(expires) },
            shown: false,
            renew: renewed_by(issued, term, plan),
            wanted: issued.plus(plan.idle),
            failures: 0,
            later: issued,
            phase: Phase::Live,
        }
    }

    /// The same, looked after no longer than what it succeeds was to be.
    pub(super) fn wanted_until(mut self, wanted: Option<Time>) -> Self {
        self.wanted = wanted.unwrap_or(self.wanted);
        self
    }

    /// As it was in an earlier process: `span` from its issue to the end of its lease; until when
    /// it is `wanted`, and whether another had its place.
    pub(super) fn restored(
        plan: Plan,
        span: (Time, Time),
        term: Duration,
        renewable: bool,
        ceiling: Option<Time>,
        (wanted, retired): (Time, bool),
    ) -> Self {
        let (issued, expires) = span;
        Self {
            expires,
            ceiling,
            // As if it had been renewed a term before its end: soon, where that is not far.
            renew: issued.max(renewed_by(expires.minus(term), term, plan)),
            wanted,
            phase: if retired { Phase::Retired } else { Phase::Live },
            ..Self::new(plan, issued, term, renewable, None)
        }
    }

    /// The end that no renewal moves, if it is known.
    pub(super) fn ceiling(&self) -> Option<Time> {
        self.ceiling
    }

    /// Until when it is looked after.
    pub(super) fn wanted(&self) -> Time {
        self.wanted
    }

    /// Whether the upstream would renew it.
    pub(super) fn renewable(&self) -> bool {
        self.renewable
    }

    /// For how long it was issued.
    pub(super) fn term(&self) -> Duration {
        self.term
    }

    /// When its lease ends.
    pub(super) fn expires(&self) -> Time {
        self.expires
    }

    /// The longest life of its kind, where this one has shown it.
    pub(super) fn longest(&self) -> Option<Duration> {
        self.ceiling
            .filter(|_| self.renewable && self.shown)
            .map(|ceiling| ceiling.since(self.issued))
    }

    /// Whether another has its place.
    pub(super) fn retired(&self) -> bool {
        self.phase == Phase::Retired
    }

    /// It was handed out; says whether it had been left to end, so that its next step is another.
    pub(super) fn handed_out(&mut self, now: Time) -> bool {
        let forsaken = !self.plan.idle.is_zero() && now >= self.wanted;
        self.wanted = now.plus(self.plan.idle);
        forsaken
    }

    /// Its lease was found, or renewed, to end `left` after `asked`. `requested`: what a renewal
    /// of ours asked for.
    pub(super) fn ends(&mut self, asked: Time, left: Duration, requested: Option<Duration>) {
        self.expires = asked.plus(left);
        if requested.is_some_and(|requested| left.saturating_add(SECOND) < requested) {
            (self.ceiling, self.shown) = (Some(self.expires), true);
        }
        self.ceiling = self.ceiling.map(|ceiling| ceiling.max(self.expires));
        self.renew = renewed_by(asked, left, self.plan);
        if requested.is_some() {
            self.failures = 0;
            self.settle();
        }
    }

    fn settle(&mut self) {
        if self.phase == Phase::Doubtful {
            self.phase = Phase::Live;
        }
    }

    /// The upstream will not renew it.
    pub(super) fn not_renewed(&mut self) {
        self.renewable = false;
        self.ceiling = Some(self.expires);
    }

    /// An attempt to renew or to replace it came to nothing. `about_it`: the upstream answered, and
    /// what it said may be about this credential. Once may be the database; a second time, and
    /// another credential is asked for.
    pub(super) fn failed(&mut self, now: Time, about_it: bool) {
        self.failures += 1;
        if about_it && self.failures > 1 && self.phase == Phase::Live {
            self.phase = Phase::Doubtful;
        }
        self.later = now.plus(back_off(self.failures, self.expires.since(now)));
    }

    /// Whether it is looked after.
    pub(super) fn looked_after(&self, now: Time) -> bool {
        !self.retired() && now < self.wanted
    }

    /// Nobody is known to want it.
    pub(super) fn unwanted(&mut self, now: Time) {
        self.wanted = self.wanted.min(now);
    }

    /// Nothing is done for it any more.
    pub(super) fn retire(&mut self) {
        self.phase = Phase::Retired;
    }

    /// What is to be done `now`.
    pub(super) fn step(&self, now: Time, owner: OwnerLife) -> Step {
        let end = self.expires.min(owner.ends);
        if now >= end {
            return Step::End;
        }
        if self.retired() || now >= self.wanted {
            return Step::Wait(end);
        }
        let renew = if self.renews() { self.renew } else { Time::NEVER };
        let succeed =
            if owner.succeeded || self.phase == Phase::Doubtful { now } else { self.succession() };
        let due = renew.min(succeed);
        if now < due || now < self.later {
            let next = due.max(self.later).min(owner_check(now, owner.ends));
            return Step::Wait(next.min(end));
        }
        if now >= succeed { Step::Succeed } else { Step::Renew(self.increment(now)) }
    }

    /// When a successor is to be fetched: what is left of the longest life is too little then.
    fn succession(&self) -> Time {
        let Some(ceiling) = self.ceiling else { return Time::NEVER };
        let share = 1.0 - self.plan.min_remaining;
        self.issued.plus(ceiling.since(self.issued).mul_f64(share))
    }

    /// Whether a renewal would gain anything.
    fn renews(&self) -> bool {
        self.renewable && self.ceiling.is_none_or(|ceiling| self.expires.plus(SECOND) < ceiling)
    }

    /// As much as the first lease, so that it does not outlive vaultlet by more; and what is left
    /// of the longest life in one piece, where that is hardly more.
    fn increment(&self, now: Time) -> Duration {
        let rest = self.ceiling.map(|ceiling| ceiling.since(now));
        let ask = rest.filter(|rest| *rest < self.term.mul_f64(1.5)).unwrap_or(self.term);
        Duration::from_secs(ask.as_secs() + u64::from(ask.subsec_nanos() > 0)).max(SECOND)
    }
}

/// When to renew what was given `life` from `from` on: so that there is always something left to hand
/// out, of the shortest leases too, whose last second counts for nothing.
fn renewed_by(from: Time, life: Duration, plan: Plan) -> Time {
    let latest = from.plus(life).minus(SECOND.mul_f64(1.5)).max(from.plus(life / 4));
    renewal(from, life, plan.renew_at).min(latest)
}

/// When to look again whether the owner has another token: ever more often towards its end.
fn owner_check(now: Time, ends: Time) -> Time {
    if ends == Time::NEVER {
        return Time::NEVER;
    }
    now.plus(ends.since(now).mul_f64(0.7).max(SECOND))
}

#[cfg(test)]
mod tests;
