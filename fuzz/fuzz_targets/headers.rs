//! Is every set of headers taken or refused, and never two credentials for one?
//!
//! The input is lines of `name: value`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vaultlet::request::{Headers, NAMESPACE, Namespace, ROLE, TOKEN};

fuzz_target!(|bytes: &[u8]| {
    let mut map = hyper::HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = hyper::header::HeaderName::from_bytes(&line[..colon]);
        let value = hyper::header::HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    let Ok(headers) = Headers::parse(&map) else { return };
    assert!(map.get_all(TOKEN).iter().count() <= 1);
    assert!(map.get_all(NAMESPACE).iter().count() <= 1);
    assert!(map.get_all(ROLE).iter().count() <= 1);
    if let Namespace::Exact(path) = headers.namespace {
        assert!(path.split('/').all(|segment| !matches!(segment, "" | "." | ".." | "root")));
    }
    let foreign = |name: &str| {
        let known = [
            "x-vault-token",
            "x-vault-namespace",
            "x-vault-request",
            "x-vault-role",
            "x-vault-cache-control",
        ];
        name.starts_with("x-vault-") && !known.contains(&name)
    };
    if headers.plain {
        assert!(!map.keys().any(|name| foreign(name.as_str())));
    }
});
