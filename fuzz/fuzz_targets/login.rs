//! Is what is said of a token what the answer says to somebody who reads it as plain JSON?
//!
//! The whole input is taken for a look-up and for a login.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use vaultlet::clock::Clock;
use vaultlet::identity::{Facts, Place};

fuzz_target!(|body: &[u8]| {
    let place = Place { namespace: String::new(), path: "auth/kubernetes/login".into() };
    let read = [
        (Facts::of_lookup(body, &Clock::default()).ok(), "/data/id"),
        (Facts::of_issue(body, None), "/auth/client_token"),
        (Facts::of_issue(body, Some(place)), "/auth/client_token"),
    ];
    let whole = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    for (index, (facts, token)) in read.into_iter().enumerate() {
        let Some(facts) = facts else { continue };
        assert!(whole, "believed, and not JSON");
        // Deeper, or with larger numbers, than the full parser goes.
        let Ok(plain) = serde_json::from_slice::<Value>(body) else { continue };
        let said = plain.pointer(token).and_then(Value::as_str);
        assert_eq!(said.map(str::as_bytes), Some(facts.token.expose()), "another token");
        let block = token.split('/').nth(1).expect("two names");
        let policies = plain[block]["policies"].is_array();
        assert!(!facts.complete || policies, "complete without policies ({index})");
    }
});
