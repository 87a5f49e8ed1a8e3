//! Is a key found under no id but its own, and does none stand for another algorithm's?
//!
//! The input is a JSON Web Key Set, or becomes one where it is a single key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use vaultlet::kubernetes::keys::KeySet;

const ALGORITHMS: [&str; 14] = [
    "none", "None", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256",
    "ES384", "ES512", "EdDSA", "",
];

fuzz_target!(|input: &[u8]| {
    let one = [b"{\"keys\":[", input, b"]}"].concat();
    for json in [input, &one] {
        let Ok(set) = KeySet::parse(json) else { continue };
        assert!((1..=64).contains(&set.count()), "{} keys", set.count());
        let Ok(plain) = serde_json::from_slice::<Value>(json) else { continue };
        let keys = plain["keys"].as_array().expect("a set has keys");
        let ids: Vec<&str> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
        assert!(ids.iter().filter(|id| set.has(id)).count() >= set.count(), "a key without an id");
        assert!(!set.has(""), "an empty id");
        for id in ids.iter().filter(|id| set.has(id)) {
            let mut named = keys.iter().filter(|key| key["kid"] == **id);
            let symmetric = named.all(|key| key["kty"] == "oct");
            assert!(!symmetric, "a shared secret among public keys");
            for algorithm in ALGORITHMS {
                for signature in ["", "AAAA", "c2lnbmVk"] {
                    let signed = set.verify(id, algorithm, b"signed", signature);
                    assert!(!signed, "{algorithm} by {id:?} with {signature:?}");
                }
            }
        }
    }
});
