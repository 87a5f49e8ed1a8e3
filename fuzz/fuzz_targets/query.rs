//! The same for what follows a path that could be cached: most bytes of `path` never get there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vaultlet::request::Target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Target::parse(&[b"/v1/secret/data/app?", bytes].concat());
});
