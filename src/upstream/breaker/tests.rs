use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

const TEMPER: Temper = Temper {
    failures: 3,
    trials: 2,
    first: Duration::from_secs(1),
    longest: Duration::from_secs(4),
    looks: true,
};

/// Longer than the first pause, and the same for the longest.
const PAST_FIRST: Duration = Duration::from_millis(1300);
const PAST_LONGEST: Duration = Duration::from_millis(5100);

fn open() -> (Breaker, Clock) {
    let (mut breaker, clock) = (Breaker::new(TEMPER), Clock::manual());
    for _ in 0..TEMPER.failures {
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.bad(pass, None, None, clock.now());
    }
    assert_eq!(breaker.position(), Position::Open);
    (breaker, clock)
}

fn half_open() -> (Breaker, Clock) {
    let (mut breaker, clock) = open();
    clock.advance(PAST_FIRST);
    breaker.look(true, clock.now());
    assert_eq!(breaker.position(), Position::HalfOpen);
    (breaker, clock)
}

#[test]
fn failures_in_a_row_open_it_and_others_do_not() {
    let (mut breaker, clock) = (Breaker::new(TEMPER), Clock::manual());
    for _ in 0..5 {
        for _ in 0..TEMPER.failures - 1 {
            let pass = breaker.enter(clock.now()).unwrap();
            breaker.bad(pass, None, None, clock.now());
        }
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.good(pass);
    }
    assert_eq!(breaker.position(), Position::Closed);

    open();
}

#[test]
fn one_tenants_failures_do_not_open_it_for_all() {
    let (mut breaker, now) = (Breaker::new(TEMPER), Clock::manual().now());
    let [one, other] = [[1; 16], [2; 16]].map(Tenant::class);
    for _ in 0..100 {
        let pass = breaker.enter(now).unwrap();
        breaker.bad(pass, Some(one), None, now);
    }
    assert_eq!(breaker.position(), Position::Closed);

    let pass = breaker.enter(now).unwrap();
    breaker.bad(pass, Some(other), None, now);
    assert_eq!(breaker.position(), Position::Open);
}

#[test]
fn nor_do_they_keep_it_open() {
    let (mut breaker, clock) = half_open();
    let one = Tenant::class([1; 16]);
    for _ in 0..100 {
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.bad(pass, Some(one), None, clock.now());
    }
    for _ in 0..TEMPER.trials {
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.good(pass);
    }
    assert_eq!(breaker.position(), Position::Closed);
}

#[test]
fn an_answer_alone_excuses_nothing_but_is_a_trial() {
    let (mut breaker, clock) = (Breaker::new(TEMPER), Clock::manual());
    for _ in 0..TEMPER.failures {
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.bad(pass, None, None, clock.now());
        if let Ok(pass) = breaker.enter(clock.now()) {
            breaker.answered(pass);
        }
    }
    assert_eq!(breaker.position(), Position::Open);

    clock.advance(PAST_FIRST);
    breaker.look(true, clock.now());
    for _ in 0..TEMPER.trials {
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.answered(pass);
    }
    assert_eq!(breaker.position(), Position::Closed);
}

#[test]
fn while_it_is_open_nobody_gets_in_and_is_told_how_long() {
    let (mut breaker, clock) = open();
    let left = breaker.enter(clock.now()).unwrap_err();
    assert!(left >= TEMPER.first && left <= PAST_FIRST, "{left:?}");

    breaker.look(true, clock.now());
    assert_eq!(breaker.position(), Position::Open, "it is too soon");
    clock.advance(PAST_FIRST);
    assert!(breaker.enter(clock.now()).is_err(), "nobody has looked");
    breaker.look(false, clock.now());
    assert!(breaker.enter(clock.now()).is_err(), "the look was bad");
    breaker.look(true, clock.now());
    assert!(breaker.enter(clock.now()).is_ok());
}

#[test]
fn where_nobody_looks_the_pause_is_enough() {
    let (mut breaker, clock) = (Breaker::new(Temper { looks: false, ..TEMPER }), Clock::manual());
    for _ in 0..TEMPER.failures {
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.bad(pass, None, None, clock.now());
    }
    assert!(breaker.enter(clock.now()).is_err());
    clock.advance(PAST_FIRST);
    assert!(breaker.enter(clock.now()).is_ok());
    assert_eq!(breaker.position(), Position::HalfOpen);
}

#[test]
fn trials_come_one_at_a_time_and_close_it() {
    let (mut breaker, clock) = half_open();
    for _ in 0..TEMPER.trials {
        let pass = breaker.enter(clock.now()).unwrap();
        assert!(breaker.enter(clock.now()).is_err(), "one is under way");
        breaker.good(pass);
    }
    assert_eq!(breaker.position(), Position::Closed);
}

#[test]
fn a_trial_that_says_nothing_gives_way() {
    let (mut breaker, clock) = half_open();
    let given_up = breaker.enter(clock.now()).unwrap();
    breaker.void(given_up);
    let silent = breaker.enter(clock.now()).unwrap();
    assert!(breaker.enter(clock.now()).is_err());
    clock.advance(TRIAL);
    assert!(breaker.enter(clock.now()).is_ok());
    breaker.void(silent);
}

#[test]
fn pauses_grow_to_a_bound_and_begin_anew_once_it_has_closed() {
    let (mut breaker, clock) = open();
    for least in [2, 4, 4, 4] {
        clock.advance(PAST_LONGEST);
        breaker.look(true, clock.now());
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.bad(pass, None, None, clock.now());
        let left = breaker.enter(clock.now()).unwrap_err().as_secs_f64();
        assert!((least.into()..=f64::from(least) * 1.25).contains(&left), "{left} after {least}");
    }
    clock.advance(PAST_LONGEST);
    breaker.look(true, clock.now());
    for _ in 0..TEMPER.trials {
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.good(pass);
    }
    for _ in 0..TEMPER.failures {
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.bad(pass, None, None, clock.now());
    }
    assert!(breaker.enter(clock.now()).unwrap_err() <= PAST_FIRST);
}

#[test]
fn who_asks_to_be_left_alone_is_at_once_and_for_so_long() {
    let (mut breaker, now) = (Breaker::new(TEMPER), Clock::manual().now());
    let pass = breaker.enter(now).unwrap();
    breaker.bad(pass, None, Some(Duration::from_secs(20)), now);
    assert!(breaker.enter(now).unwrap_err() >= Duration::from_secs(20));
}

#[test]
fn what_was_asked_before_it_opened_says_nothing_after() {
    let (mut breaker, clock) = (Breaker::new(TEMPER), Clock::manual());
    let early = breaker.enter(clock.now()).unwrap();
    for _ in 0..TEMPER.failures {
        let pass = breaker.enter(clock.now()).unwrap();
        breaker.bad(pass, None, None, clock.now());
    }
    clock.advance(PAST_FIRST);
    breaker.look(true, clock.now());
    let trial = breaker.enter(clock.now()).unwrap();
    breaker.bad(early, None, None, clock.now());
    breaker.void(early);
    assert_eq!(breaker.position(), Position::HalfOpen);
    assert!(breaker.enter(clock.now()).is_err(), "the trial is still under way");
    breaker.good(trial);
}

#[derive(Clone, Debug)]
enum Step {
    Ask { good: bool },
    Look { well: bool },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(|good| Step::Ask { good }),
        1 => any::<bool>().prop_map(|well| Step::Look { well }),
        1 => (0..6000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_has_been_it_closes_within_ten_seconds_of_wellness(
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let (mut breaker, clock) = (Breaker::new(TEMPER), Clock::manual());
        for step in steps {
            match step {
                Step::Ask { good } => if let Ok(pass) = breaker.enter(clock.now()) {
                    if good { breaker.good(pass) } else { breaker.bad(pass, None, None, clock.now()) }
                },
                Step::Look { well } => breaker.look(well, clock.now()),
                Step::Wait(millis) => clock.advance(Duration::from_millis(millis)),
            }
        }
        for _ in 0..20 {
            clock.advance(Duration::from_millis(500));
            breaker.look(true, clock.now());
            while let Ok(pass) = breaker.enter(clock.now()) {
                breaker.good(pass);
                if breaker.clean() { return Ok(()) }
            }
        }
        prop_assert!(false, "{breaker:?}");
    }
}
