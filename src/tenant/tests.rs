use super::*;
use crate::secret::Fingerprinter;

/// Tenants that may each have two requests under way, four errands a second and three entries.
struct Node {
    tenants: Tenants,
    clock: Clock,
    fingerprints: Fingerprinter,
}

impl Node {
    fn new() -> Self {
        let limits = TenantLimits { in_flight: 2, misses_per_second: 4, entries: 3 };
        let (clock, fingerprints) = (Clock::manual(), Fingerprinter::new().unwrap());
        Self { tenants: Tenants::new(limits, clock.clone()), clock, fingerprints }
    }

    fn stranger(&self, token: usize) -> Tenant {
        Tenant::stranger(self.fingerprints.of(&token.to_be_bytes()))
    }

    /// How many errands the tenant may begin now, one after the other.
    fn errands(&self, tenant: Tenant) -> usize {
        (0..100).take_while(|_| self.tenants.begin(tenant).is_ok()).count()
    }

    fn accounts(&self) -> usize {
        lock(&self.tenants.accounts).len()
    }
}

const ALICE: Tenant = Tenant(Kind::Class([1; 16]));
const BOB: Tenant = Tenant(Kind::Class([2; 16]));

#[test]
fn as_many_are_under_way_as_may_be_and_no_more() {
    let node = Node::new();
    let first = node.tenants.begin(ALICE).unwrap();
    let second = node.tenants.begin(ALICE).unwrap();
    let part = second.clone();

    assert!(matches!(node.tenants.begin(ALICE), Err(Error::Throttled(_))));
    drop(second);
    assert!(node.tenants.begin(ALICE).is_err(), "a part of the second goes on");
    assert!(node.tenants.begin(BOB).is_ok(), "another's are another's");
    drop(part);
    assert!(node.tenants.begin(ALICE).is_ok());
    drop(first);
}

#[test]
fn a_quiet_second_pays_for_a_seconds_errands() {
    let node = Node::new();

    assert_eq!(node.errands(ALICE), 4);
    assert_eq!(node.errands(BOB), 4, "another's are another's");
    node.clock.advance(Duration::from_millis(249));
    assert_eq!(node.errands(ALICE), 0);
    node.clock.advance(Duration::from_millis(1));
    assert_eq!(node.errands(ALICE), 1);
    node.clock.advance(Duration::from_mins(1));
    assert_eq!(node.errands(ALICE), 4, "no more is saved up than a second's worth");
}

#[test]
fn what_is_refused_for_what_is_under_way_costs_nothing() {
    let node = Node::new();
    let held = [node.tenants.begin(ALICE).unwrap(), node.tenants.begin(ALICE).unwrap()];
    for _ in 0..100 {
        node.tenants.begin(ALICE).unwrap_err();
    }
    drop(held);

    assert_eq!(node.errands(ALICE), 2);
}

#[test]
fn a_request_begins_one_errand_whatever_it_asks() {
    let node = Node::new();
    let visit = Visit::new(&node.tenants, &|| ALICE);
    assert_eq!(node.errands(ALICE), 4, "a visit alone is no errand");
    node.clock.advance(Duration::from_secs(1));

    for _ in 0..10 {
        visit.errand().unwrap();
    }

    assert_eq!(node.errands(ALICE), 3);
    let other = Visit::new(&node.tenants, &|| ALICE);
    other.errand().unwrap_err();
    node.clock.advance(Duration::from_secs(1));
    assert!(other.errand().is_ok(), "a refusal is not for good");
}

#[test]
fn entries_are_charged_until_they_are_dropped() {
    let node = Node::new();
    let mut kept: Vec<_> = (0..3).map(|_| node.tenants.charge(ALICE).unwrap()).collect();

    assert!(node.tenants.charge(ALICE).is_none());
    assert!(node.tenants.charge(BOB).is_some());
    kept.pop();
    assert!(node.tenants.charge(ALICE).is_some());
}

#[test]
fn strangers_share_the_entries_of_one() {
    let node = Node::new();
    let charge = |token| node.tenants.charge(node.stranger(token));

    let kept: Vec<_> = (0..10).map_while(charge).collect();

    assert_eq!(kept.len(), 3);
}

#[test]
fn accounts_last_as_long_as_something_is_on_them() {
    let node = Node::new();
    let (errand, charge) = (node.tenants.begin(ALICE).unwrap(), node.tenants.charge(BOB).unwrap());
    node.errands(Tenant::anonymous());

    node.tenants.tidy();
    assert_eq!(node.accounts(), 3);
    assert_eq!(node.errands(Tenant::anonymous()), 0, "nobody is rid of a debt by being idle");
    node.clock.advance(Duration::from_secs(1));
    node.tenants.tidy();
    assert_eq!(node.accounts(), 2);
    drop((errand, charge));
    node.tenants.tidy();
    assert_eq!(node.accounts(), 0);
}

#[test]
fn strangers_beyond_counting_share_an_account_and_others_do_not() {
    let node = Node::new();
    for token in 0..10 * MOST_ACCOUNTS {
        drop(node.tenants.begin(node.stranger(token)));
    }

    assert_eq!(node.accounts(), MOST_ACCOUNTS + 1);
    assert_eq!(node.errands(node.stranger(usize::MAX)), 0, "they have had theirs");
    assert_eq!(node.errands(node.stranger(0)), 3, "who has an account keeps it");
    assert_eq!(node.errands(ALICE), 4);
    node.clock.advance(Duration::from_secs(1));
    node.tenants.tidy();
    assert_eq!(node.accounts(), 0);
    assert!(lock(&node.tenants.accounts).capacity() < 1000);
}

#[test]
fn a_service_account_is_told_by_all_its_parts() {
    let usual = Tenant::service_account(0, "team", "app");

    assert_eq!(usual, Tenant::service_account(0, "team", "app"));
    for other in [
        Tenant::service_account(1, "team", "app"),
        Tenant::service_account(0, "tea", "mapp"),
        Tenant::service_account(0, "team", "ap"),
        Tenant::class([0; 16]),
    ] {
        assert_ne!(usual, other);
    }
    assert_eq!(usual.house(), usual);
}

#[test]
fn strangers_are_of_one_house_and_nobody_is_printed() {
    let node = Node::new();

    assert_ne!(node.stranger(1), node.stranger(2));
    assert_eq!(node.stranger(1).house(), node.stranger(2).house());
    assert_ne!(node.stranger(1).house(), Tenant::anonymous().house());
    let shown = format!("{ALICE:?} {:?} {:?}", node.stranger(1), Tenant::vaultlet());
    assert_eq!(shown, "Class(..) Stranger(..) Vaultlet");
}
