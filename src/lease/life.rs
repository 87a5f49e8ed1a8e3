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
    /// When to renew next.
    renew: Time,
    /// Until when it is looked after.
    wanted: Time,
    /// In a row.
    failures: u32,
    /// Nothing is tried before this.
    later: Time,
    /// Whether what the upstream says of it makes a successor the better choice.
    doubtful: bool,
    /// Whether another has taken its place, or will when somebody asks: it lives to its end.
    retired: bool,
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
            renew: renewal(issued, term, plan.renew_at),
            wanted: issued.plus(plan.idle),
            failures: 0,
            later: issued,
            doubtful: false,
            retired: false,
        }
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
            plan,
            issued,
            term,
            expires,
            renewable,
            ceiling,
            // As if it had been renewed a term before its end: soon, where that is not far.
            renew: issued.max(renewal(expires.minus(term), term, plan.renew_at)),
            wanted,
            failures: 0,
            later: issued,
            doubtful: false,
            retired,
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
        self.ceiling.filter(|_| self.renewable).map(|ceiling| ceiling.since(self.issued))
    }

    /// Whether another has its place.
    pub(super) fn retired(&self) -> bool {
        self.retired
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
            self.ceiling = Some(self.expires);
        }
        self.ceiling = self.ceiling.map(|ceiling| ceiling.max(self.expires));
        self.renew = renewal(asked, left, self.plan.renew_at);
        if requested.is_some() {
            (self.failures, self.doubtful) = (0, false);
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
        self.doubtful |= about_it && self.failures > 1;
        self.later = now.plus(back_off(self.failures, self.expires.since(now)));
    }

    /// Whether it is looked after.
    pub(super) fn looked_after(&self, now: Time) -> bool {
        !self.retired && now < self.wanted
    }

    /// Nobody is known to want it.
    pub(super) fn unwanted(&mut self, now: Time) {
        self.wanted = self.wanted.min(now);
    }

    /// Nothing is done for it any more.
    pub(super) fn retire(&mut self) {
        self.retired = true;
    }

    /// What is to be done `now`.
    pub(super) fn step(&self, now: Time, owner: OwnerLife) -> Step {
        let end = self.expires.min(owner.ends);
        if now >= end {
            return Step::End;
        }
        if self.retired || now >= self.wanted {
            return Step::Wait(end);
        }
        let renew = if self.renews() { self.renew } else { Time::NEVER };
        let succeed = if owner.succeeded || self.doubtful { now } else { self.succession() };
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

/// When to look again whether the owner has another token: ever more often towards its end.
fn owner_check(now: Time, ends: Time) -> Time {
    if ends == Time::NEVER {
        return Time::NEVER;
    }
    now.plus(ends.since(now).mul_f64(0.7).max(SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const PLAN: Plan =
        Plan { renew_at: 0.66, min_remaining: 0.25, idle: Duration::from_secs(3600) };
    const FOREVER: OwnerLife = OwnerLife { ends: Time::NEVER, succeeded: false };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A role with ttl 10 s, max 30 s, and a credential of it that is kept for as long as it can be:
    /// when it was renewed, and when its successor was asked for.
    fn live(longest: Option<Duration>) -> (Vec<f64>, f64, Life) {
        let clock = Clock::manual();
        let issued = clock.now();
        let mut life = Life::new(PLAN, issued, secs(10), true, longest);
        let mut renewals = Vec::new();
        loop {
            let now = clock.now();
            let age = now.since(issued);
            match life.step(now, FOREVER) {
                Step::Wait(next) => clock.advance(next.since(now)),
                Step::Renew(increment) => {
                    let granted = increment.min(secs(30) - Duration::from_secs(age.as_secs()));
                    renewals.push(age.as_secs_f64());
                    life.ends(now, granted.min(secs(30).saturating_sub(age)), Some(increment));
                }
                Step::Succeed => return (renewals, age.as_secs_f64(), life),
                Step::End => panic!("it ended at {age:?} without a successor"),
            }
        }
    }

    #[test]
    fn it_is_renewed_until_its_longest_life_shows_and_then_succeeded() {
        let (renewals, succeeded, life) = live(None);

        assert!((3..=5).contains(&renewals.len()), "{renewals:?}");
        assert!((19.0..29.0).contains(&succeeded), "{succeeded}");
        let longest = life.longest().unwrap();
        assert!(longest > secs(28) && longest <= secs(30), "{longest:?}");
    }

    #[test]
    fn with_a_known_longest_life_a_quarter_of_it_is_left_to_overlap() {
        let (renewals, succeeded, _) = live(Some(secs(30)));

        assert!((22.5..22.6).contains(&succeeded), "{succeeded}");
        assert!((2..=4).contains(&renewals.len()), "{renewals:?}");
    }

    #[test]
    fn one_that_cannot_be_renewed_is_succeeded_before_its_end() {
        let now = Clock::manual().now();
        let life = Life::new(PLAN, now, secs(100), false, None);

        assert_eq!(life.step(now, FOREVER), Step::Wait(now.plus(secs(75))));
        assert_eq!(life.step(now.plus(secs(75)), FOREVER), Step::Succeed);
        assert_eq!(life.step(now.plus(secs(100)), FOREVER), Step::End);
    }

    #[test]
    fn a_failure_backs_off_and_a_second_about_it_asks_for_another() {
        let now = Clock::manual().now();
        let mut life = Life::new(PLAN, now, secs(100), true, None);
        let due = now.plus(secs(80));
        assert!(matches!(life.step(due, FOREVER), Step::Renew(_)));

        life.failed(due, true);
        let Step::Wait(again) = life.step(due, FOREVER) else { panic!("no back-off") };
        assert!(again > due && matches!(life.step(again, FOREVER), Step::Renew(_)));
        life.failed(again, true);
        let Step::Wait(again) = life.step(again, FOREVER) else { panic!("no back-off") };
        assert_eq!(life.step(again, FOREVER), Step::Succeed);
    }

    #[test]
    fn an_upstream_that_cannot_be_reached_says_nothing_about_it() {
        let now = Clock::manual().now();
        let mut life = Life::new(PLAN, now, secs(1000), true, None);
        let mut at = now.plus(secs(700));
        for _ in 0..5 {
            life.failed(at, false);
            let Step::Wait(again) = life.step(at, FOREVER) else { panic!("no back-off") };
            at = again;
        }
        assert!(matches!(life.step(at, FOREVER), Step::Renew(_)));
    }

    #[test]
    fn nobody_looks_after_what_nobody_wants() {
        let now = Clock::manual().now();
        let plan = Plan { idle: secs(60), ..PLAN };
        let mut life = Life::new(plan, now, secs(100), true, None);
        let due = now.plus(secs(80));

        assert_eq!(life.step(due, FOREVER), Step::Wait(now.plus(secs(100))));
        assert!(life.handed_out(due));
        assert!(matches!(life.step(due, FOREVER), Step::Renew(_)));
        life.retire();
        assert_eq!(life.step(due, FOREVER), Step::Wait(now.plus(secs(100))));
    }

    #[test]
    fn it_ends_with_the_token_it_was_issued_to() {
        let now = Clock::manual().now();
        let life = Life::new(PLAN, now, secs(100), true, None);
        let owner = OwnerLife { ends: now.plus(secs(50)), succeeded: false };

        assert_eq!(life.step(now.plus(secs(50)), owner), Step::End);
        let Step::Wait(check) = life.step(now, owner) else { panic!("due at once") };
        assert_eq!(check, now.plus(secs(35)));
        assert_eq!(life.step(check, OwnerLife { succeeded: true, ..owner }), Step::Succeed);
    }

    #[test]
    fn what_is_left_of_the_longest_life_is_asked_for_in_one_piece() {
        let now = Clock::manual().now();
        let life = Life::new(PLAN, now, secs(60), true, Some(secs(100)));

        assert_eq!(life.increment(now.plus(secs(5))), secs(60));
        assert_eq!(life.increment(now.plus(Duration::from_millis(40_500))), secs(60));
        assert_eq!(life.increment(now.plus(Duration::from_millis(20_500))), secs(80));
    }
}
