//! Is a sealed store that nobody sealed ever loaded, and can any content be read that cannot be
//! written again?
#![no_main]

use libfuzzer_sys::fuzz_target;
use vaultlet::sealed::content::Content;
use vaultlet::sealed::{Key, unseal};

fuzz_target!(|input: &[u8]| {
    let key = Key::from_transit(&[7; 32], "vault:v1:abc").expect("32 bytes");
    assert!(unseal(&key, input).is_err(), "a forgery was loaded");
    if let Ok(content) = Content::of_json(input) {
        let json = content.to_json().expect("what JSON has said");
        let again = Content::of_json(&json).expect("what was just written");
        assert!(again.to_json().expect("the same") == json, "it came back changed");
    }
});
