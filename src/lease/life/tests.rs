use super::*;
use crate::clock::Clock;

const PLAN: Plan = Plan { renew_at: 0.66, min_remaining: 0.25, idle: Duration::from_hours(1) };
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
                let granted =
                    increment.min(secs(30).saturating_sub(Duration::from_secs(age.as_secs())));
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
