//! Are planted violations found, and is nothing else?

use super::*;
use crate::history::record::Reader;

const PATH: Path = Path { group: 1, number: 2 };
const READER: Reader = Reader { group: 1, number: 7 };

const PROMISES: Promises = Promises {
    window: Duration::from_secs(2),
    ttl: Duration::from_secs(3),
    stale: Duration::from_secs(20),
    slack: Duration::from_secs(1),
};

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A read of version 1 of [`PATH`], which takes a tenth of a second.
fn read(began: f64, version: u64) -> Read {
    let told = Told::Value { path: PATH.name(), rank: Rank::there(version) };
    let (began, ended) = (at(began), at(began + 0.1));
    Read { reader: READER, path: PATH, began, ended, told, age: None, port: 1 }
}

fn change(acked: f64, what: What) -> Change {
    Change { began: at(acked - 0.1), acked: at(acked), what }
}

fn write(acked: f64, rank: Rank, through_vaultlet: bool) -> Change {
    change(acked, What::Wrote { path: PATH, rank, through_vaultlet })
}

/// What is found in a history whose audit log is as it should be.
fn found(reads: Vec<Read>, changes: Vec<Change>, outages: &[(f64, f64)]) -> Vec<Property> {
    let audited = reads.iter().filter(|read| matches!(read.told, Told::Value { .. }));
    let audited = audited.map(|read| Audited { port: read.port, path: read.path.name() }).collect();
    let outages = outages.iter().map(|(from, to)| Span { from: at(*from), to: at(*to) }).collect();
    let history = History { reads, changes, outages, audited, broken_chain: None };
    check(&history, &PROMISES).into_iter().map(|violation| violation.property).collect()
}

#[test]
fn p1_rights_that_were_lost() {
    for lost in [What::Denied(1), What::Revoked(READER)] {
        let lost = || vec![change(10.0, lost)];

        assert_eq!(found(vec![read(13.1, 1)], lost(), &[]), [Property::P1]);
        // Within the window, and the second on top of it.
        assert_eq!(found(vec![read(12.9, 1)], lost(), &[]), []);
        // Nobody could know.
        assert_eq!(found(vec![read(30.0, 1)], lost(), &[(9.0, 31.0)]), []);
        assert_eq!(found(vec![read(30.0, 1)], lost(), &[(11.0, 28.0)]), []);
        // They could, before or after.
        assert_eq!(found(vec![read(30.0, 1)], lost(), &[(13.5, 31.0)]), [Property::P1]);
        assert_eq!(found(vec![read(30.0, 1)], lost(), &[(9.0, 26.5)]), [Property::P1]);
    }
}

#[test]
fn p1_rights_that_never_were() {
    let mut stranger = read(5.0, 1);
    stranger.reader.group = 0;

    assert_eq!(found(vec![stranger], vec![], &[]), [Property::P1]);
}

#[test]
fn p1_rights_that_were_given_back() {
    let regained = vec![change(10.0, What::Denied(1)), change(15.0, What::Granted(1))];

    assert_eq!(found(vec![read(15.0, 1)], regained.clone(), &[]), []);
    assert_eq!(found(vec![read(14.0, 1)], regained, &[]), [Property::P1]);
    // A token that was revoked has none to be given back.
    let revoked = vec![change(10.0, What::Revoked(READER)), change(15.0, What::Granted(1))];
    assert_eq!(found(vec![read(20.0, 1)], revoked, &[]), [Property::P1]);
    // Somebody else's loss.
    let other = change(10.0, What::Revoked(Reader { number: 8, ..READER }));
    assert_eq!(found(vec![read(20.0, 1)], vec![other, change(10.0, What::Denied(0))], &[]), []);
}

#[test]
fn p2_changes_that_go_unseen() {
    let newer = || vec![write(10.0, Rank::there(2), false)];

    assert_eq!(found(vec![read(14.1, 1)], newer(), &[]), [Property::P2]);
    assert_eq!(found(vec![read(14.1, 2)], newer(), &[]), []);
    assert_eq!(found(vec![read(13.9, 1)], newer(), &[]), []);
    assert_eq!(found(vec![read(29.0, 1)], newer(), &[(9.0, 30.0)]), []);
    assert_eq!(found(vec![read(29.0, 1)], newer(), &[(15.0, 30.0)]), [Property::P2]);
    let deleted = vec![write(10.0, Rank::deleted(1), false)];
    assert_eq!(found(vec![read(14.1, 1)], deleted, &[]), [Property::P2]);
}

#[test]
fn p2_answers_that_are_too_old() {
    let mut old = read(50.0, 1);
    old.age = Some(at(24.5));

    assert_eq!(found(vec![old.clone()], vec![], &[(0.0, 60.0)]), [Property::P2]);
    old.age = Some(at(23.5));
    assert_eq!(found(vec![old], vec![], &[(0.0, 60.0)]), []);
}

#[test]
fn p3_versions_that_go_back() {
    assert_eq!(found(vec![read(1.0, 2), read(2.0, 1)], vec![], &[]), [Property::P3]);
    assert_eq!(found(vec![read(1.0, 1), read(2.0, 2)], vec![], &[]), []);
    // At the same time, neither is before the other.
    assert_eq!(found(vec![read(1.0, 2), read(1.05, 1)], vec![], &[]), []);
    // However long ago it was, and whatever was asked between.
    let long = vec![read(1.0, 3), read(2.0, 3), read(9.0, 2)];
    assert_eq!(found(long, vec![], &[]), [Property::P3]);
    // What is deleted is not there again.
    let mut gone = read(1.0, 1);
    gone.told = Told::Deleted { rank: Rank::deleted(1) };
    assert_eq!(found(vec![gone, read(2.0, 1)], vec![], &[]), [Property::P3]);
}

#[test]
fn p4_own_writes_that_go_unseen() {
    let newer = || vec![write(10.0, Rank::there(2), true)];

    assert_eq!(found(vec![read(10.1, 1)], newer(), &[]), [Property::P4]);
    assert_eq!(found(vec![read(9.9, 1)], newer(), &[]), []);
    // No outage excuses it: what is older was thrown away.
    assert_eq!(found(vec![read(10.1, 1)], newer(), &[(10.05, 30.0)]), [Property::P4]);
}

#[test]
fn p5_values_of_other_paths() {
    let mut mistaken = read(1.0, 1);
    mistaken.told = Told::Value { path: "g1/3".to_owned(), rank: Rank::there(1) };

    assert_eq!(found(vec![mistaken], vec![], &[]), [Property::P5]);
    let nonsense = Read { told: Told::Nonsense, ..read(1.0, 1) };
    assert_eq!(found(vec![nonsense], vec![], &[]), [Property::P5]);
}

#[test]
fn p6_records_that_are_missing_or_too_many() {
    let record = || Audited { port: 1, path: PATH.name() };
    let lost = || Read { told: Told::Lost, ..read(3.0, 1) };
    for (reads, records, wrong) in [
        (vec![read(1.0, 1)], 1, 0),
        (vec![read(1.0, 1)], 0, 1),
        (vec![read(1.0, 1)], 2, 1),
        (vec![read(1.0, 1), read(2.0, 1)], 1, 1),
        // It may have been answered, or not.
        (vec![read(1.0, 1), lost()], 1, 0),
        (vec![read(1.0, 1), lost()], 2, 0),
        (vec![read(1.0, 1), lost()], 3, 1),
    ] {
        let audited = (0..records).map(|_| record()).collect();
        let mut history = History { reads, audited, ..History::default() };
        assert_eq!(check(&history, &PROMISES).len(), wrong, "{history:?}");

        history.broken_chain = Some("seq 3 is missing".to_owned());
        assert_eq!(check(&history, &PROMISES).len(), wrong + 1);
    }
}

#[test]
fn a_history_of_many_reads_is_looked_at_soon() {
    let reads = (0..100_000_u32).map(|n| read(f64::from(n) / 1000.0, 1)).collect();
    let changes = (1..500_u32).map(|n| write(f64::from(n) / 10.0, Rank::there(1), true)).collect();

    assert_eq!(found(reads, changes, &[(5.0, 9.0)]), []);
}
