//! Is a namespace that is taken for exact the one that the server would act in, and are two that it
//! tells apart told apart here?
//!
//! Two values of the header, each on a line of its own.
#![no_main]

use hyper::header::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use vaultlet::policy::parse;
use vaultlet::request::{Headers, NAMESPACE, Namespace};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let (one, other) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());

    let found = [one, other].map(exact);

    for (value, found) in [one, other].into_iter().zip(&found) {
        let Some(found) = found else { continue };
        let server = of_server(value);
        assert_eq!(found.as_bytes(), server, "the server acts elsewhere: {value:?}");
        assert!(!server.is_empty(), "the root namespace has no name: {value:?}");
        let policy = parse("p", found, "");
        assert_eq!(policy.namespace().trim_end_matches('/'), found, "policies live elsewhere");
    }
    if let [Some(one_found), Some(other_found)] = &found {
        assert_eq!(one_found == other_found, of_server(one) == of_server(other));
    }
    // What policies are said to live in is cleaned by another hand.
    if let Ok(text) = str::from_utf8(one) {
        let policy = parse("p", text, "");
        if policy.opaque().is_none() {
            let server = of_server(text.as_bytes());
            assert_eq!(policy.namespace().trim_end_matches('/').as_bytes(), server);
        }
    }
});

fn exact(value: &[u8]) -> Option<String> {
    let mut map = HeaderMap::new();
    map.insert(NAMESPACE, HeaderValue::from_bytes(value).ok()?);
    match Headers::parse(&map).ok()?.namespace {
        Namespace::Exact(path) => Some(path.to_owned()),
        Namespace::Absent => panic!("a header that is there is not absent"),
        Namespace::Opaque => None,
    }
}

/// As the server cleans it: Go's `path.Clean`, no slash at either end, and `root` for the root.
fn of_server(value: &[u8]) -> Vec<u8> {
    let mut path: Vec<&[u8]> = Vec::new();
    for segment in value.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => (),
            b".." => drop(path.pop()),
            _ => path.push(segment),
        }
    }
    let path = path.join(&b'/');
    if path == b"root" { Vec::new() } else { path }
}
