//! Is a request target that is taken for exact what the server's router will see, byte for byte?
#![no_main]

use libfuzzer_sys::fuzz_target;
use vaultlet::request::Target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(target) = Target::parse(bytes) else { return };
    let decoded = target.decoded();
    if let Some((path, version)) = target.exact() {
        assert_eq!(decoded.as_deref(), Some(path.as_bytes()), "decoding changed an exact path");
        assert!(path.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
        let spelt = match version {
            None => format!("/v1/{path}"),
            Some(version) => format!("/v1/{path}?version={version}"),
        };
        assert_eq!(spelt.as_bytes(), bytes, "two spellings of one exact target");
    }
});
