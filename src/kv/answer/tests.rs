use serde_json::{Value, json};

use super::*;

fn reading(kind: Kind, status: u16, body: &[u8]) -> Reading {
    Reading::of(kind, status, body, &Clock::default())
}

const V2: Kind = Kind::V2(None);

/// A KV version 2 answer as OpenBao 2.7.2 gives it, changed in one place.
fn found(pointer: &str, value: Value) -> Vec<u8> {
    let mut answer = json!({
        "request_id": "3c", "lease_id": "", "renewable": false, "lease_duration": 0,
        "data": {
            "data": {"a": "1"},
            "metadata": {
                "created_time": "2026-11-22T05:09:44Z", "custom_metadata": null,
                "deletion_time": "", "destroyed": false, "version": 1,
            },
        },
        "wrap_info": null, "warnings": null, "auth": null,
    });
    match answer.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => answer[pointer] = value,
    }
    answer.to_string().into_bytes()
}

fn unchanged() -> Vec<u8> {
    found("/lease_id", json!(""))
}

#[test]
fn a_secret_is_kept() {
    assert_eq!(reading(V2, 200, &unchanged()), Reading::Found(None));
    assert_eq!(reading(Kind::V2(Some(1)), 200, &unchanged()), Reading::Found(None));
}

#[test]
fn a_secret_that_names_its_end_is_kept_until_then() {
    let end = |time: &str| reading(V2, 200, &found("/data/metadata/deletion_time", json!(time)));

    let Reading::Found(Some(left)) = end("2999-01-01T00:00:00Z") else { panic!("no end") };
    assert!(left > Duration::from_hours(24));
    assert_eq!(end("2001-01-01T00:00:00Z"), Reading::Found(Some(Duration::ZERO)));
    assert_eq!(end("soon"), Reading::Other);
}

#[test]
fn what_is_more_than_a_secret_is_not_kept() {
    for (pointer, value) in [
        ("/lease_id", json!("kv/x/1")),
        ("/wrap_info", json!({"token": "s.1"})),
        ("/auth", json!({"client_token": "s.1"})),
        ("/warnings", json!(["Endpoint ignored these unrecognized parameters: [x]"])),
        ("/request_id", json!("")),
        ("/data", Value::Null),
        ("/data/data", Value::Null),
        ("/data/data", json!("text")),
        ("/data/metadata/destroyed", json!(true)),
        ("/data/metadata/version", json!("1")),
        ("/data/metadata", json!({})),
    ] {
        let reading = reading(V2, 200, &found(pointer, value.clone()));
        assert_eq!(reading, Reading::Other, "{pointer} = {value}");
    }
}

#[test]
fn what_contradicts_itself_is_nobodys_secret() {
    let garbage = |reading| matches!(reading, Reading::Garbage(_));

    assert!(garbage(reading(V2, 200, &found("errors", json!(["no"])))));
    assert!(garbage(reading(Kind::V2(Some(2)), 200, &unchanged())), "another version");
    assert!(garbage(reading(V2, 200, b"<html>welcome</html>")));
    assert!(garbage(reading(V2, 200, b"")));
    assert!(garbage(reading(V2, 200, b"[]")));
    assert!(garbage(reading(V2, 200, br#"{"status":"ok"}"#)), "a load balancer's");
    assert!(garbage(reading(V2, 204, b"")), "no secret");
    let whole = unchanged();
    for cut in 1..whole.len() {
        assert!(garbage(reading(V2, 200, &whole[..cut])), "cut at {cut}");
    }
    let twice = br#"{"request_id":"1","data":{},"data":{}}"#;
    assert!(garbage(reading(Kind::V1, 200, twice)));
}

#[test]
fn version_one_names_its_end_in_the_lease_duration() {
    let body = br#"{"request_id":"1","lease_id":"","lease_duration":30,"data":{"ttl":"30s"}}"#;

    assert_eq!(reading(Kind::V1, 200, body), Reading::Found(Some(Duration::from_secs(30))));
}

#[test]
fn only_the_two_absences_of_kv_are_kept() {
    let gone = |destroyed, time| {
        let mut body: Value = serde_json::from_slice(&found("/data/data", Value::Null)).unwrap();
        body["data"]["metadata"]["destroyed"] = json!(destroyed);
        body["data"]["metadata"]["deletion_time"] = json!(time);
        body.to_string().into_bytes()
    };
    for (kind, body, expected) in [
        (V2, br#"{"errors":[]}"#.to_vec(), Reading::Missing),
        (Kind::V1, br#"{"errors":[]}"#.to_vec(), Reading::Missing),
        (V2, gone(false, "2026-11-22T05:09:44Z"), Reading::Missing),
        (V2, gone(true, ""), Reading::Missing),
        (Kind::V1, gone(true, ""), Reading::Other),
        (V2, gone(false, ""), Reading::Other),
        (V2, br#"{"errors":["namespace not found"]}"#.to_vec(), Reading::Other),
        (V2, br#"{"errors":[],"warnings":["x"]}"#.to_vec(), Reading::Other),
        (V2, b"404 page not found".to_vec(), Reading::Other),
        (V2, unchanged(), Reading::Other),
    ] {
        assert_eq!(reading(kind, 404, &body), expected, "{}", body.escape_ascii());
    }
}

#[test]
fn every_other_status_is_passed_on() {
    for status in [301, 307, 400, 403, 412, 429, 500, 503] {
        assert_eq!(reading(V2, status, &unchanged()), Reading::Other, "{status}");
    }
}
