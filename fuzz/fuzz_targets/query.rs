//! Does a query that may be answered from the cache ask for what the server would take it for? Most
//! bytes of `path` never get so far.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vaultlet::request::Target;

fuzz_target!(|query: &[u8]| {
    let bytes = [b"/v1/secret/data/app?", query].concat();
    let Ok(target) = Target::parse(&bytes) else { return };
    assert_eq!(target.query(), Some(query));
    let Some((path, version)) = target.exact() else { return };
    assert_eq!(path, "secret/data/app");
    let version = version.expect("a query that asks for nothing is not exact").to_string();
    let asked = of_server(query).expect("the server refuses it");
    assert_eq!(asked, [(b"version".to_vec(), version.into_bytes())]);
});

/// As Go's `url.ParseQuery` reads it; `None` where that is an error.
fn of_server(query: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut pairs = Vec::new();
    for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pair.contains(&b';') {
            return None;
        }
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let value = pair.get(at + 1..).unwrap_or_default();
        pairs.push((unescaped(&pair[..at])?, unescaped(value)?));
    }
    Some(pairs)
}

fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let mut rest = text;
    while let [first, more @ ..] = rest {
        rest = more;
        plain.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, more) = rest.split_at_checked(2)?;
                rest = more;
                u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?
            }
            byte => *byte,
        });
    }
    Some(plain)
}
