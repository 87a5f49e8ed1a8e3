use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const NANO: Duration = Duration::from_nanos(1);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_is_due_is_given_out_once_and_not_before() {
    let now = Clock::manual().now();
    let mut agenda = Agenda::new(500, now);
    agenda.put(1, now.plus(seconds(5)), now.plus(seconds(9)));
    agenda.put(2, now.plus(seconds(7)), now.plus(seconds(8)));

    assert_eq!(agenda.next(now), Some(now.plus(seconds(5))));
    assert!(agenda.take(now.plus(Duration::from_millis(4_999))).is_empty());
    assert_eq!(agenda.take(now.plus(seconds(5))), [1]);
    assert_eq!(agenda.len(), 1);
    assert_eq!(agenda.take(now.plus(seconds(60))), [2]);
    assert!(agenda.is_empty());
    assert_eq!(agenda.next(now.plus(seconds(60))), None);
}

#[test]
fn what_is_put_again_or_removed_leaves_nothing_behind() {
    let now = Clock::manual().now();
    let [soon, late, end] = [1, 5, 9].map(|after| now.plus(seconds(after)));
    let mut agenda = Agenda::new(1, now);
    for id in 0..3 {
        agenda.put(id, soon, end);
    }

    agenda.put(0, late, end);
    agenda.remove(1);
    agenda.remove(7);
    assert_eq!((agenda.len(), agenda.next(now)), (2, Some(soon)));
    assert_eq!(agenda.take(soon), [2]);
    assert_eq!((agenda.len(), agenda.next(soon)), (1, Some(late)));

    // The same while it waits for the budget.
    agenda.put(3, soon, end);
    agenda.put(4, soon, end);
    assert!(agenda.take(soon).is_empty());
    agenda.put(3, now.plus(seconds(8)), end);
    agenda.remove(4);
    assert_eq!(agenda.next(soon), Some(late));
    assert_eq!(agenda.take(late), [0]);
    assert_eq!(agenda.take(now.plus(seconds(8))), [3]);
    assert!(agenda.is_empty());
}

#[test]
fn whatever_ends_soonest_goes_first_when_the_budget_is_too_small() {
    let clock = Clock::manual();
    let now = clock.now();
    let mut agenda = Agenda::new(8, now);
    for id in 0..20 {
        agenda.put(id, now.plus(MILLI * u32::try_from(id).unwrap()), now.plus(seconds(99 - id)));
    }
    clock.advance(SECOND);

    assert_eq!(agenda.take(clock.now()), [19, 18], "a quarter of a second's worth");
    agenda.put(50, now, now.plus(seconds(2)));
    clock.advance(SECOND / 8);
    assert_eq!(agenda.take(clock.now()), [50]);
    clock.advance(SECOND / 8);
    assert_eq!(agenda.take(clock.now()), [17]);
}

#[test]
fn a_long_rest_saves_up_a_quarter_of_a_second() {
    for (per_second, burst) in [(0, 1), (1, 1), (3, 1), (4, 1), (10, 2), (500, 125)] {
        let now = Clock::manual().now();
        let mut agenda = Agenda::new(per_second, now);
        for id in 0..1000 {
            agenda.put(id, now, Time::NEVER);
        }

        assert_eq!(agenda.take(now.plus(seconds(3600))).len(), burst, "{per_second}");
    }
}

#[test]
fn ten_thousand_leases_of_a_minute_are_all_renewed_in_time_and_evenly() {
    fastrand::seed(7);
    let clock = Clock::manual();
    let start = clock.now();
    let (life, leases) = (seconds(60), 10_000_u32);
    let mut agenda = Agenda::new(500, start);
    let mut expires = BTreeMap::new();
    let issue = |agenda: &mut Agenda, expires: &mut BTreeMap<_, _>, id, at: Time| {
        expires.insert(id, at.plus(life));
        agenda.put(id, renewal(at, life, 0.66), at.plus(life));
    };
    for id in 0..leases {
        let at = start.plus(SECOND * id / leases);
        issue(&mut agenda, &mut expires, u64::from(id), at);
    }
    let mut renewals = BTreeMap::<u64, u32>::new();

    while let Some(next) = agenda.next(clock.now()).filter(|next| next.since(start) < 10 * life) {
        clock.advance(next.since(clock.now()));
        let taken = agenda.take(clock.now());
        assert!(!taken.is_empty(), "called for nothing");
        for id in taken {
            assert!(clock.now() < expires[&id], "{id} has expired");
            *renewals.entry(clock.now().since(start).as_secs()).or_default() += 1;
            issue(&mut agenda, &mut expires, id, clock.now());
        }
    }

    assert_eq!(agenda.len(), 10_000);
    let (most, all) = (renewals.values().max().unwrap(), renewals.values().sum::<u32>());
    // Each lease is renewed every 26 to 44 seconds.
    assert!(all > leases * 600 / 44, "{all}");
    assert!(f64::from(*most) <= 3.0 * f64::from(all) / 600.0, "{most} of {all} in one second");
    assert!(expires.values().all(|end| *end > clock.now()));
}

#[test]
fn a_renewal_is_never_too_late() {
    let now = Clock::manual().now();
    let (mut least, mut most) = (1.0_f64, 0.0_f64);
    for _ in 0..1000 {
        let share = renewal(now, seconds(100), 0.5).since(now).as_secs_f64() / 100.0;
        (least, most) = (least.min(share), most.max(share));
        assert!(renewal(now, seconds(100), 0.95) <= now.plus(seconds(95)));
    }

    assert!((0.45..0.46).contains(&least) && (0.54..0.55).contains(&most), "{least} {most}");
    assert_eq!(renewal(now, Duration::ZERO, 0.66), now);
    assert_eq!(renewal(now, Duration::MAX, 0.66), Time::NEVER);
}

#[test]
fn attempts_become_rarer_and_still_fit_in() {
    let hour = seconds(3600);
    for (failures, expected) in
        [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (u32::MAX, 60)]
    {
        let waits: Vec<_> = (0..100).map(|_| back_off(failures, hour)).collect();
        let around = seconds(expected) * 3 / 4..=seconds(expected) * 5 / 4;
        assert!(waits.iter().all(|wait| around.contains(wait)), "{failures}: {waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "without jitter");
    }
    assert_eq!(back_off(7, seconds(9)), seconds(3));
    assert_eq!(back_off(7, Duration::ZERO), MILLI * 250);
}

#[derive(Clone, Debug)]
enum Step {
    Advance(Duration),
    Put(u64, Duration, Duration),
    Remove(u64),
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    let span = || (0..3000_u32).prop_map(|millis| MILLI * millis);
    prop_oneof![
        span().prop_map(Step::Advance),
        (0..12_u64, span(), span()).prop_map(|(id, at, life)| Step::Put(id, at, at + life)),
        (0..12_u64).prop_map(Step::Remove),
        Just(Step::Take),
    ]
}

proptest! {
    /// Against the plainest of agendas: a list.
    #[test]
    fn nothing_is_lost_or_out_of_turn(
        per_second in 1..9_u32,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let clock = Clock::manual();
        let mut agenda = Agenda::new(per_second, clock.now());
        let mut list = BTreeMap::<u64, (Time, Time)>::new();
        for step in steps {
            let now = clock.now();
            match step {
                Step::Advance(span) => clock.advance(span),
                Step::Put(id, at, expires) => {
                    agenda.put(id, now.plus(at), now.plus(expires));
                    list.insert(id, (now.plus(at), now.plus(expires)));
                }
                Step::Remove(id) => {
                    agenda.remove(id);
                    list.remove(&id);
                }
                Step::Take => {
                    let mut due: Vec<_> = list.iter().filter(|(_, (at, _))| *at <= now)
                        .map(|(id, (_, expires))| (*expires, *id)).collect();
                    due.sort_unstable();
                    let next = agenda.next(now);
                    let taken = agenda.take(now);
                    prop_assert_eq!(next == Some(now), !taken.is_empty());
                    let first: Vec<_> = due.iter().take(taken.len()).map(|(_, id)| *id).collect();
                    prop_assert_eq!(&taken, &first);
                    for id in taken {
                        list.remove(&id);
                    }
                }
            }
            prop_assert_eq!(agenda.len(), list.len());
        }
        while let Some(next) = agenda.next(clock.now()) {
            clock.advance(next.since(clock.now()));
            let taken = agenda.take(clock.now());
            prop_assert!(!taken.is_empty(), "called too early");
            for id in taken {
                let due = list.remove(&id);
                prop_assert!(due.is_some_and(|(at, _)| at <= clock.now()));
            }
        }
        prop_assert!(list.is_empty());
    }

    #[test]
    fn next_is_the_first_instant_that_has_something(
        per_second in 1..9_u32,
        dues in proptest::collection::vec(0..2000_u32, 1..20),
    ) {
        let mut now = Clock::manual().now();
        let mut agenda = Agenda::new(per_second, now);
        for (id, due) in (0..).zip(dues) {
            agenda.put(id, now.plus(MILLI * due), Time::NEVER);
        }
        while let Some(next) = agenda.next(now) {
            if next > now {
                let before = now.plus(next.since(now).saturating_sub(NANO));
                prop_assert_eq!(agenda.take(before), Vec::<u64>::new());
                prop_assert_eq!(agenda.next(before), Some(next));
            }
            now = next;
            prop_assert!(!agenda.take(now).is_empty());
        }
    }
}
