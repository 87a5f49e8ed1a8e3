use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::secret::Fingerprinter;

fn known(number: u8) -> Tenant {
    Tenant::class([number; 16])
}

fn join(line: &mut Line<&'static str>, tenant: Tenant, names: &[&'static str]) -> Vec<Ticket> {
    names.iter().map(|name| line.join(tenant, *name).unwrap().0).collect()
}

fn order(line: &mut Line<&'static str>) -> String {
    std::iter::from_fn(|| line.next()).collect::<Vec<_>>().join(" ")
}

#[test]
fn tenants_take_turns_and_each_ones_waiters_stand_in_order() {
    let mut line = Line::new(100);
    join(&mut line, known(1), &["a1", "a2", "a3", "a4"]);
    join(&mut line, known(2), &["b1"]);
    join(&mut line, known(3), &["c1", "c2"]);

    assert_eq!(line.next(), Some("a1"));
    join(&mut line, known(2), &["b2"]);
    assert_eq!(order(&mut line), "b1 c1 a2 b2 c2 a3 a4");
    assert_eq!(line.waiting, 0);
}

#[test]
fn all_strangers_together_have_one_turn_and_take_turns_in_it() {
    let fingerprints = Fingerprinter::new().unwrap();
    let stranger = |token: &[u8]| Tenant::stranger(fingerprints.of(token));
    let mut line = Line::new(100);
    join(&mut line, stranger(b"1"), &["s1", "s2", "s3"]);
    join(&mut line, stranger(b"2"), &["t1"]);
    join(&mut line, stranger(b"3"), &["u1"]);
    join(&mut line, known(1), &["a1", "a2"]);

    assert_eq!(order(&mut line), "s1 a1 t1 a2 u1 s2 s3");
}

#[test]
fn who_leaves_is_not_called_and_leaves_nothing_behind() {
    let mut line = Line::new(100);
    let a = join(&mut line, known(1), &["a1", "a2"]);
    let b = join(&mut line, known(2), &["b1"]);

    assert_eq!(line.leave(b[0]), Some("b1"));
    assert_eq!(line.leave(b[0]), None);
    assert_eq!(line.leave(a[0]), Some("a1"));
    assert_eq!(order(&mut line), "a2");
    assert_eq!(line.leave(a[1]), None);
    assert!(line.houses.seats.is_empty() && line.houses.turns.is_empty());
}

#[test]
fn a_full_line_is_shared_evenly_and_the_newest_give_way() {
    let mut line = Line::new(6);
    join(&mut line, known(1), &["a1", "a2", "a3", "a4", "a5", "a6"]);

    assert_eq!(line.join(known(1), "a7"), None);
    for (newcomer, gone) in [("b1", "a6"), ("b2", "a5"), ("b3", "a4")] {
        assert_eq!(line.join(known(2), newcomer).unwrap().1, Some(gone));
    }
    assert_eq!(line.join(known(2), "b4"), None, "no more than the other");
    assert!(matches!(line.join(known(3), "c1"), Some((_, Some("a3" | "b3")))));
    assert_eq!(line.waiting, 6);
}

#[test]
fn strangers_give_way_as_one_and_to_each_other() {
    let fingerprints = Fingerprinter::new().unwrap();
    let stranger = |token: &[u8]| Tenant::stranger(fingerprints.of(token));
    let mut line = Line::new(4);
    join(&mut line, stranger(b"1"), &["s1"]);
    join(&mut line, stranger(b"2"), &["t1", "t2", "t3"]);

    assert_eq!(line.join(stranger(b"3"), "u1").unwrap().1, Some("t3"));
    assert_eq!(line.join(stranger(b"4"), "v1").unwrap().1, Some("t2"));
    assert_eq!(line.join(stranger(b"5"), "w1"), None, "all have one");
    for newcomer in ["a1", "a2"] {
        let (_, gone) = line.join(known(1), newcomer).unwrap();
        assert!(gone.is_some_and(|gone| !gone.starts_with('a')), "{gone:?}");
    }
    assert_eq!(line.join(known(1), "a3"), None, "two and two");
}

#[test]
fn a_line_of_nobody_takes_nobody() {
    assert_eq!(Line::new(0).join(known(1), ()), None);
}

#[derive(Clone, Debug)]
enum Step {
    Join(u8),
    Leave(prop::sample::Index),
    Next,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..5_u8).prop_map(Step::Join),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        2 => Just(Step::Next),
    ]
}

proptest! {
    /// Whatever happens: nobody is lost or called twice, a tenant's waiters are called in order,
    /// and no tenant is called twice while another waits for its turn.
    #[test]
    fn turns_are_fair(steps in prop::collection::vec(step(), 1..200)) {
        let mut line = Line::new(16);
        // Who waits: ticket, tenant and number, in the order in which they came.
        let mut waiting: Vec<(Ticket, u8, usize)> = Vec::new();
        // Who has been called since each tenant last had a turn or began to wait.
        let mut called: HashMap<u8, HashSet<u8>> = HashMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Join(of) => {
                    let Some((ticket, displaced)) = line.join(known(of), (of, number)) else {
                        prop_assert_eq!(waiting.len(), 16);
                        continue;
                    };
                    waiting.retain(|(_, of, number)| displaced != Some((*of, *number)));
                    waiting.push((ticket, of, number));
                }
                Step::Leave(index) if !waiting.is_empty() => {
                    let (ticket, of, number) = waiting.remove(index.index(waiting.len()));
                    prop_assert_eq!(line.leave(ticket), Some((of, number)));
                }
                Step::Leave(_) => (),
                Step::Next => {
                    let Some((of, number)) = line.next() else {
                        prop_assert!(waiting.is_empty());
                        continue;
                    };
                    let first = waiting.iter().position(|(_, other, _)| *other == of).unwrap();
                    prop_assert_eq!(waiting.remove(first).2, number);
                    called.remove(&of);
                    for (other, called) in &mut called {
                        prop_assert!(called.insert(of), "{} twice before {}", of, other);
                    }
                }
            }
            called.retain(|of, _| waiting.iter().any(|(_, other, _)| other == of));
            for (_, of, _) in &waiting {
                called.entry(*of).or_default();
            }
            prop_assert_eq!(line.waiting, waiting.len());
        }
    }
}
