//! Does a reader of audit logs take whatever it is given, and find the same in one file as in two?
#![no_main]

use libfuzzer_sys::fuzz_target;
use vaultlet::audit::{Report, Verifier};

fuzz_target!(|bytes: &[u8]| {
    let half = bytes.len() / 2;
    let newline = bytes[half..].iter().position(|byte| *byte == b'\n');
    let (first, second) = bytes.split_at(newline.map_or(bytes.len(), |at| half + at + 1));

    let (one, two) = (verify(&[bytes]), verify(&[first, second]));

    assert_eq!(one.to_string(), two.to_string());
    assert_eq!(one.problems.found.len(), two.problems.found.len());
    assert_eq!(one.notes.found.len(), two.notes.found.len());
});

fn verify(files: &[&[u8]]) -> Report {
    let mut verifier = Verifier::default();
    for file in files {
        verifier.read("log", *file).expect("memory can be read");
    }
    verifier.finish()
}
