//! Does a token that is read say what it says to somebody who reads it as plain JSON, and is nobody
//! taken for a service account whose name could be anything else?
//!
//! Two lines are a header and claims, which are encoded; anything else is a token as it is.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use vaultlet::config::{Kubernetes, Source};
use vaultlet::kubernetes::token::Jwt;

const NOW: i64 = 1_700_000_000;

/// A cluster as most are, whose leeway is a second.
static CLUSTER: LazyLock<Kubernetes> = LazyLock::new(|| {
    let sets = [
        "upstream.address=http://127.0.0.1:1",
        "auth.kubernetes.issuer=https://c",
        "auth.kubernetes.audiences=[vaultlet]",
        "auth.kubernetes.leeway=1s",
        "auth.kubernetes.node=node-1",
    ];
    let source = Source { sets: sets.map(str::to_owned).into(), ..Source::default() };
    source.load().expect("it is a configuration").auth.kubernetes.remove(0)
});

fuzz_target!(|input: &[u8]| {
    let token = match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => {
            let (header, claims) = (&input[..at], &input[at + 1..]);
            let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
            format!("{}.{}.c2ln", encode(header), encode(claims)).into_bytes()
        }
        None => input.to_vec(),
    };
    let Ok(jwt) = Jwt::read(&token) else { return };

    let parts: Vec<_> = token.split(|byte| *byte == b'.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{} parts", parts.len()) };
    assert_eq!(jwt.signed, [header, claims].join(&b'.'));
    assert_eq!(jwt.signature.as_bytes(), signature);
    let plain = |part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("it was read");
        // A number that no full parser takes, in a claim nobody looks at, says nothing.
        serde_json::from_slice::<Value>(&bytes).ok()
    };
    let (Some(header), Some(claims)) = (plain(header), plain(claims)) else { return };
    assert_eq!(header["alg"], jwt.header.alg);
    assert_eq!(header["kid"], jwt.header.kid);
    let known = ["alg", "kid", "typ"];
    let names = || header.as_object().expect("it was read").keys();
    assert!(names().all(|name| known.contains(&name.as_str())), "{header}");
    assert_eq!(claims["iss"], jwt.claims.iss);
    let audiences = match &claims["aud"] {
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    };
    assert_eq!(jwt.claims.for_any(&CLUSTER.audiences), audiences.contains(&"vaultlet".into()));

    let Ok(subject) = jwt.claims.subject(0, &CLUSTER, NOW) else { return };
    let (account, bound) = (&subject.account, &claims["kubernetes.io"]);
    assert_eq!(
        claims["sub"],
        format!("system:serviceaccount:{}:{}", account.namespace, account.name)
    );
    assert_eq!(bound["namespace"], *account.namespace);
    assert_eq!(bound["serviceaccount"]["name"], *account.name);
    assert_eq!(bound["serviceaccount"]["uid"], *account.uid);
    assert_eq!(bound["pod"]["name"].as_str(), subject.pod.as_ref().map(|pod| &*pod.name));
    assert!(bound["node"].is_null() || bound["node"]["name"] == "node-1");
    let pods = subject.pod.iter().map(|pod| &pod.name);
    for name in pods.chain([&account.namespace, &account.name]) {
        let odd = |byte: u8| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        assert!(!name.is_empty() && !name.bytes().any(odd) && !name.contains(".."), "{name:?}");
    }
    assert!(!account.namespace.contains('.'));
    assert_eq!(claims["exp"].as_i64(), Some(subject.expires));
    assert!(subject.expires > NOW - 1, "it has ended");
    assert!(claims["nbf"].as_i64().is_some_and(|begins| begins <= NOW + 1), "it has not begun");
});
