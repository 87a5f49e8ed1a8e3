//! Is every record one line of printable ASCII that says again what was put into it, as far as that
//! may be there, and in which nothing from outside becomes a member of its own?
//!
//! Up to a NUL each: path, namespace, query, name and policy.
#![no_main]

use std::sync::LazyLock;
use std::time::SystemTime;

use hyper::{Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use vaultlet::audit::{CredentialKind, Digester, Encoder, Login, Record};
use vaultlet::config::AuditPaths;
use vaultlet::metrics::{Outcome, Route};

static ENCODERS: LazyLock<[Encoder; 2]> = LazyLock::new(|| {
    [AuditPaths::Plain, AuditPaths::Hmac]
        .map(|paths| Encoder::new(paths, Digester::new(None).expect("a random key")))
});

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(5, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (path, namespace, query, name, policy) = (part(), part(), part(), part(), part());
    let (Ok(namespace), Ok(name), Ok(policy)) =
        (str::from_utf8(namespace), str::from_utf8(name), str::from_utf8(policy))
    else {
        return;
    };
    let record = Record {
        operation: "read",
        method: &Method::GET,
        namespace,
        path,
        query,
        remote: None,
        credential: CredentialKind::VaultToken,
        login: Login {
            accessor: Some(name),
            display_name: Some(name),
            policies: vec![policy],
            ..Login::default()
        },
        service_account: None,
        allowed: true,
        policy: None,
        route: Route::KvRead,
        outcome: Outcome::Hit,
        age: None,
        status: StatusCode::OK,
        error: None,
        request_id: None,
    };
    for (encoder, plain) in ENCODERS.iter().zip([true, false]) {
        let mut line = encoder.line(&record, SystemTime::UNIX_EPOCH);
        // The writer puts the line's place before these.
        line.extend_from_slice(b"}}");
        assert!(line.iter().all(|byte| matches!(byte, b' '..=b'~')), "not printable");
        let json: Value = serde_json::from_slice(&line).expect("one JSON object");
        let members = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
        let (auth, request) = (&json["auth"], &json["request"]);
        assert_eq!((members(&json), members(auth), members(request)), (5, 4, 3), "{json}");
        assert_eq!(json["vaultlet"]["status"], 200);
        if name.len() <= 256 {
            assert_eq!(auth["display_name"], name);
        }
        if policy.len() <= 256 {
            assert_eq!(auth["policies"][0], policy);
        }
        assert!(digest(&auth["accessor"]));
        assert_eq!(digest(&json["vaultlet"]["query"]), !query.is_empty());
        let shown = request["path"].as_str().expect("a path is text");
        if !plain {
            assert!(digest(&request["path"]), "{shown}");
        } else if path.len() <= 1024 {
            assert_eq!(had_again(shown, &json).as_deref(), Some(path), "{shown}");
        }
        match (namespace, &request["namespace"]["path"]) {
            ("", _) => assert_eq!(request["namespace"]["id"], "root"),
            (odd, shown) if odd.contains('.') => assert!(digest(shown), "{shown}"),
            (_, shown) => assert!(digest(shown) || namespace.len() > 256 || shown == namespace),
        }
    }
});

fn digest(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("hmac-sha256:") && text.len() == 76)
}

/// The path's bytes, of what a record shows of it.
fn had_again(shown: &str, json: &Value) -> Option<Vec<u8>> {
    if json["vaultlet"]["path_escaped"] != true {
        return Some(shown.as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    let mut rest = shown.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    Some(bytes)
}
