//! Have two reads one key in the cache only if the server would take them for the same read?
//!
//! Two requests, each a target and a namespace on a line of its own.
#![no_main]

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use hyper::Request;
use hyper::http::request::Parts;
use libfuzzer_sys::fuzz_target;
use vaultlet::cache::{KeyRef, Scope};
use vaultlet::request::{Call, NAMESPACE, Read};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut head = || head(lines.next()?, lines.next()?);
    let (Some((one, first)), Some((other, second))) = (head(), head()) else { return };
    let (Ok(one), Ok(other)) = (Call::parse(&one), Call::parse(&other)) else { return };
    let (Some(one), Some(other)) = (one.read(""), other.read("")) else { return };

    for read in [&one, &other] {
        let (borrowed, owned) = (key(read), key(read).to_key());
        assert_eq!(owned.to_ref(), borrowed, "what is stored is not what was asked for");
        assert_eq!(owned.path(), read.path);
        assert_eq!(hash(&owned), hash(&borrowed), "stored where nobody looks for it");
    }
    let same = key(&one).to_key() == key(&other).to_key();
    assert_eq!(same, first == second, "{one:?} and {other:?}");
    assert_eq!(same, key(&one) == key(&other));
});

/// A head, and what the server makes of it: namespace, path and version, each by itself.
type Meaning = (Vec<u8>, Vec<u8>, Vec<u8>);

fn head(target: &[u8], namespace: &[u8]) -> Option<(Parts, Meaning)> {
    // The HTTP library takes other forms apart, and hides a fragment, which `server::line` refuses.
    if !target.starts_with(b"/") || target.starts_with(b"//") || target.contains(&b'#') {
        return None;
    }
    let mut request = Request::get(target).header("host", "a");
    if !namespace.is_empty() {
        request = request.header(NAMESPACE, namespace);
    }
    let head = request.body(()).ok()?.into_parts().0;
    let mut meaning = target.splitn(2, |byte| *byte == b'?');
    let path = meaning.next().unwrap_or_default().to_vec();
    let query = meaning.next().unwrap_or_default().to_vec();
    let segments = namespace.trim_ascii().split(|byte| *byte == b'/');
    let segments: Vec<_> = segments.filter(|segment| !segment.is_empty()).collect();
    Some((head, (segments.join(&b'/'), path, query)))
}

fn key<'r>(read: &'r Read<'_>) -> KeyRef<'r> {
    let Read { path, version, namespace, .. } = read;
    KeyRef { path, namespace: *namespace, version: *version, scope: Scope::All }
}

fn hash(key: &impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}
