use super::*;
use crate::clock::Clock;
use crate::secret::Fingerprinter;

const MINUTE: Duration = Duration::from_mins(1);

struct World {
    clock: Clock,
    slot: Slot,
}

impl World {
    fn new() -> Self {
        let clock = Clock::manual();
        let account = Arc::clone(&Verified::for_tests(clock.now()).account);
        let place = Place { account, mount: "kubernetes".into(), role: "app".into() };
        let slot = Slot::new(Arc::new(place), clock.now());
        Self { clock, slot }
    }

    fn caller(&self, life: Duration) -> Arc<Verified> {
        Verified::for_tests(self.clock.now().plus(life))
    }

    fn log_in(&self, life: Duration) -> Arc<Shared> {
        let shared = self.shared(life, life);
        self.slot.set(Arc::clone(&shared));
        shared
    }

    fn shared(&self, life: Duration, term: Duration) -> Arc<Shared> {
        let now = self.clock.now();
        let fingerprint = Fingerprinter::new().unwrap().of(b"s.1");
        Arc::new(Shared {
            credential: Arc::new(Credential { token: Secret::new(b"s.1".to_vec()), fingerprint }),
            header: HeaderValue::from_static("s.1"),
            auth: Map::new(),
            made: now,
            renewed: now,
            expires: now.plus(life),
            renewable: true,
            term,
        })
    }

    fn use_it(&self) {
        self.slot.used(self.clock.now(), &self.caller(MINUTE));
    }

    fn claims(&self) -> bool {
        self.slot.claim_renewal(self.clock.now())
    }
}

#[test]
fn a_login_counts_until_its_lease_ends_and_not_a_moment_longer() {
    let world = World::new();
    world.log_in(MINUTE);

    let moment = Duration::from_nanos(1);
    world.clock.advance(MINUTE.saturating_sub(moment));
    assert!(world.slot.good(world.clock.now()).is_some());
    world.clock.advance(moment);
    assert!(world.slot.good(world.clock.now()).is_none());
}

#[test]
fn what_is_used_is_renewed_after_two_thirds_by_one() {
    let world = World::new();
    world.log_in(MINUTE);
    world.clock.advance(MINUTE.mul_f64(0.5));
    world.use_it();
    assert!(!world.claims(), "not before it is due");

    world.clock.advance(MINUTE.mul_f64(0.2));
    assert!(world.claims());
    assert!(!world.claims(), "somebody does already");
    world.log_in(MINUTE);
    world.clock.advance(MINUTE.mul_f64(0.7));
    assert!(!world.claims(), "nobody has used it since");
    world.use_it();
    assert!(world.claims());
}

#[test]
fn a_renewal_that_fails_is_tried_again_and_not_at_once() {
    let world = World::new();
    world.log_in(MINUTE);
    world.clock.advance(MINUTE.mul_f64(0.7));
    world.use_it();
    assert!(world.claims());

    world.slot.try_later(world.clock.now());

    world.clock.advance(Duration::from_secs(4));
    assert!(!world.claims());
    world.clock.advance(Duration::from_secs(7));
    assert!(world.claims());
}

#[test]
fn a_renewal_that_the_longest_life_cuts_short_is_not_worth_having() {
    let world = World::new();
    let first = world.log_in(MINUTE);
    world.clock.advance(Duration::from_secs(40));

    assert!(world.shared(MINUTE, MINUTE).gained(&first));
    assert!(world.shared(MINUTE.mul_f64(0.8), MINUTE).gained(&first));
    assert!(!world.shared(MINUTE.mul_f64(0.7), MINUTE).gained(&first));
    assert!(!world.shared(Duration::from_secs(20), MINUTE).gained(&first), "no later an end");
}

#[test]
fn the_next_login_is_made_with_the_token_that_lives_longest_and_never_a_dead_one() {
    let world = World::new();
    let (short, long) = (world.caller(MINUTE), world.caller(2 * MINUTE));
    for caller in [&short, &long, &short] {
        world.slot.used(world.clock.now(), caller);
    }

    assert!(Arc::ptr_eq(&world.slot.youngest(world.clock.now()).unwrap(), &long));
    world.clock.advance(2 * MINUTE);
    assert!(world.slot.youngest(world.clock.now()).is_none());
}

#[test]
fn a_refusal_is_for_those_it_is_about_and_for_a_while() {
    let world = World::new();
    let (refused, other) = (world.caller(MINUTE), world.caller(MINUTE));
    let until = world.clock.now().plus(Duration::from_secs(10));
    let asked = |caller: &Verified| world.slot.refusal(caller, world.clock.now()).is_some();

    world.slot.refuse(Error::Unshareable, until, Some(Arc::clone(&refused.token)));
    assert!(asked(&refused) && !asked(&other));
    // Two that come in turn do not make each other's refusal forgotten.
    world.slot.refuse(Error::Unshareable, until, Some(Arc::clone(&other.token)));
    assert!(asked(&refused) && asked(&other) && !asked(&world.caller(MINUTE)));
    world.slot.refuse(Error::Unshareable, until, None);
    assert!(asked(&refused) && asked(&other) && asked(&world.caller(MINUTE)));
    world.clock.advance(Duration::from_secs(10));
    assert!(!asked(&refused));
}

#[test]
fn a_login_forgets_the_refusal_before_it() {
    let world = World::new();
    world.slot.refuse(Error::Unshareable, Time::NEVER, None);

    world.log_in(MINUTE);

    assert!(world.slot.refusal(&world.caller(MINUTE), world.clock.now()).is_none());
}

#[test]
fn only_the_login_that_was_lost_is_dropped() {
    let world = World::new();
    let (first, second) = (world.log_in(MINUTE), world.log_in(MINUTE));

    world.slot.drop_login(&first);
    assert!(Arc::ptr_eq(&world.slot.good(world.clock.now()).unwrap(), &second));
    world.slot.drop_login(&second);
    assert!(world.slot.good(world.clock.now()).is_none());
}

#[test]
fn a_slot_is_forgotten_once_its_login_is_over_and_nobody_asks() {
    let world = World::new();
    world.log_in(MINUTE);
    world.clock.advance(Duration::from_secs(59));
    world.use_it();

    world.clock.advance(Duration::from_secs(2));
    assert!(!world.slot.idle(world.clock.now()));
    world.clock.advance(Duration::from_secs(30));
    assert!(world.slot.idle(world.clock.now()));
}
