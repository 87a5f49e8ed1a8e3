//! Is every set of headers taken or refused, never two credentials for one, and the one that is
//! found the server's?
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
    assert_eq!(headers.token, of_server(&map), "another credential than the server's");
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

/// The credential that the server takes: the first token that is there and not empty, else the
/// first bearer.
fn of_server(map: &hyper::HeaderMap) -> Option<&[u8]> {
    let token = map.get(TOKEN).map(|value| value.as_bytes().trim_ascii());
    token.filter(|token| !token.is_empty()).or_else(|| {
        let bearer = map.get("authorization")?.as_bytes().strip_prefix(b"Bearer ")?;
        Some(bearer.trim_ascii())
    })
}
