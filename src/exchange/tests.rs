use super::*;
use crate::config::Source;
use crate::secret::Fingerprinter;

/// Of an upstream that is never asked.
fn exchange() -> Exchange {
    let sets = vec!["upstream.address=http://127.0.0.1:1".to_owned()];
    let config = Source { sets, ..Source::default() }.load().unwrap();
    let (clock, metrics) = (Clock::manual(), Arc::new(Metrics::new().unwrap()));
    let upstream =
        Upstream::new(&config.upstream, None, clock.clone(), Arc::clone(&metrics)).unwrap();
    let upstream = Arc::new(upstream);
    let prints = Fingerprinter::new().unwrap();
    let (window, counts) = (config.policy.refresh, Arc::clone(&metrics));
    let logins = Logins::new(Arc::clone(&upstream), prints, window, clock.clone(), counts);
    let tenants = Arc::new(Tenants::new(config.auth.limits.clone(), clock.clone()));
    let parts = (Arc::new(logins), upstream, tenants);
    Exchange::new(std::iter::empty(), parts, clock, metrics)
}

#[test]
fn roles_that_a_pod_makes_up_leave_room_for_those_of_others() {
    let exchange = exchange();
    let now = exchange.clock.now();
    let flooder = Arc::clone(&Verified::for_tests(now).account);
    let held = exchange.slot(&flooder, "kubernetes", "held").unwrap();

    for number in 0..MOST_SLOTS + 10 {
        exchange.slot(&flooder, "kubernetes", &format!("made-up-{number}")).unwrap();
        assert!(exchange.len() <= MOST_SLOTS);
    }
    let again = exchange.slot(&flooder, "kubernetes", "held").unwrap();
    assert!(Arc::ptr_eq(&held, &again), "whoever waits for it would wait for another");
}

#[test]
fn a_role_is_a_name_and_no_novel() {
    let exchange = exchange();
    let account = Arc::clone(&Verified::for_tests(exchange.clock.now()).account);

    assert!(exchange.slot(&account, "kubernetes", &"r".repeat(LONGEST_ROLE)).is_ok());
    assert!(exchange.slot(&account, "kubernetes", &"r".repeat(LONGEST_ROLE + 1)).is_err());
    assert_eq!(exchange.len(), 1);
}
