//! Do the canonical form of a request's body and the reading of an answer hold together?
//!
//! The whole input is taken for both.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use vaultlet::lease::answer::{Countdown, Reading, read};
use vaultlet::lease::canonical::canonical;

fuzz_target!(|body: &[u8]| {
    if let Some(form) = canonical(body) {
        assert!(form.len() <= body.len().max(2), "the form is longer than the body");
        assert_eq!(canonical(&form).as_ref(), Some(&form), "the form is not its own form");
        // A number too large for the full parser is no reason to refuse a body.
        if let Ok(meant) = serde_json::from_slice::<Value>(body) {
            assert_eq!(serde_json::from_slice::<Value>(&form).ok(), Some(meant));
        }
    }

    let now = 1_795_347_191;
    let countdown = Countdown::new(body.to_vec().into());
    let shorter = Duration::from_secs(7);
    let set = countdown.with_left(shorter);
    match read(body, now) {
        Reading::Leased(terms) => {
            assert_eq!(countdown.with_left(terms.duration), body, "bytes were changed");
            let Reading::Leased(left) = read(&set, now) else { panic!("the lease is lost") };
            assert_eq!((left.id, left.renewable), (terms.id, terms.renewable));
            assert_eq!(left.duration, shorter);
        }
        Reading::OwnEnd { left, whole, counts_down: true } => {
            assert_eq!(countdown.with_left(left), body, "bytes were changed");
            let end = Reading::OwnEnd { left: shorter, whole, counts_down: true };
            assert_eq!(read(&set, now), end);
        }
        Reading::Garbage(_) | Reading::OwnEnd { .. } | Reading::Unleased => {
            assert_eq!(set, body, "what does not count down was changed");
        }
    }
});
