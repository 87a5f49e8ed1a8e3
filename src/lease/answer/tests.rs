use proptest::prelude::*;
use serde_json::Value;

use super::*;

const NOW: i64 = 1_795_347_191;

/// As OpenBao 2.7.2 gives them; shortened.
const DATABASE: &str = r#"{"request_id":"9008cbef","lease_id":"database/creds/app/tjtAnCKK","renewable":true,"lease_duration":3600,"data":{"password":"hunter2","username":"v-app"},"wrap_info":null,"warnings":null,"auth":null}"#;
const STS: &str = r#"{"request_id":"9008cbef","lease_id":"aws/sts/app/tjtAnCKK","renewable":false,"lease_duration":3599,"data":{"access_key":"AK","lease_duration":3599,"ttl":3599},"warnings":["capped"]}"#;
const CERTIFICATE: &str = r#"{"request_id":"d5a33e33","lease_id":"","renewable":false,"lease_duration":0,"data":{"ca_chain":["-----BEGIN"],"certificate":"-----BEGIN","expiration":1795350791,"issuing_ca":"-----BEGIN","not_before":1795347161,"private_key":"-----BEGIN","private_key_type":"rsa","serial_number":"42:86"},"wrap_info":null,"warnings":null,"auth":null}"#;
const STATIC: &str = r#"{"request_id":"d5a33e33","lease_id":"","renewable":false,"lease_duration":0,"data":{"last_vault_rotation":"2026-11-22T11:32:41.1Z","password":"hunter2","rotation_period":86400,"ttl":86396,"username":"app"},"wrap_info":null,"warnings":null,"auth":null}"#;

fn reading(body: &str) -> Reading {
    read(body.as_bytes(), NOW)
}

fn leased(id: &str, seconds: u64, renewable: bool) -> Reading {
    Reading::Leased(Terms { id: id.into(), duration: Duration::from_secs(seconds), renewable })
}

fn own_end(left: u64, whole: Option<u64>, counts_down: bool) -> Reading {
    let whole = whole.map(Duration::from_secs);
    Reading::OwnEnd { left: Duration::from_secs(left), whole, counts_down }
}

#[test]
fn a_lease_is_told_by_its_id() {
    assert_eq!(reading(DATABASE), leased("database/creds/app/tjtAnCKK", 3600, true));
    assert_eq!(reading(STS), leased("aws/sts/app/tjtAnCKK", 3599, false));
    let terse = r#" {"renewable":true,"lease_duration":0,"lease\u005fid":"a\u002fb"} "#;
    assert_eq!(reading(terse), leased("a/b", 0, true));
}

#[test]
fn a_credential_may_name_its_own_end() {
    assert_eq!(reading(CERTIFICATE), own_end(3600, None, false));
    assert_eq!(read(CERTIFICATE.as_bytes(), NOW + 3600), own_end(0, None, false));
    assert_eq!(read(CERTIFICATE.as_bytes(), i64::MAX), own_end(0, None, false));
    assert_eq!(reading(STATIC), own_end(86396, Some(86400), true));
    let by_calendar =
        STATIC.replace(r#""rotation_period":86400"#, r#""rotation_schedule":"@daily""#);
    assert_eq!(reading(&by_calendar), own_end(86396, None, true));
}

#[test]
fn everything_else_has_neither_lease_nor_end() {
    let wrapped = r#""wrap_info":{"token":"s.x"}"#;
    let login = r#""auth":{"client_token":"s.x"}"#;
    let bodies = [
        "[]",
        "[1]",
        "null",
        "{}",
        r#"{"lease_id":"","lease_duration":2764800,"renewable":false,"data":{"a":"b"}}"#,
        r#"{"lease_id":null,"data":null}"#,
        &DATABASE.replace(r#""wrap_info":null"#, wrapped),
        &DATABASE.replace(r#""auth":null"#, login),
        &CERTIFICATE.replace(r#""wrap_info":null"#, wrapped),
        &STATIC.replace(r#""auth":null"#, login),
        // KV: what a tenant wrote is no end.
        r#"{"lease_id":"","data":{"ttl":60,"expiration":1795350791}}"#,
        r#"{"lease_id":"","data":{"certificate":"x","expiration":"2030-01-01"}}"#,
        r#"{"lease_id":"","data":{"certificate":"x","expiration":1795350791.5}}"#,
        r#"{"lease_id":"","data":{"certificate":"x","expiration":1,"expiration":2}}"#,
        r#"{"lease_id":"","data":{"last_vault_rotation":"x","ttl":"1h"}}"#,
        r#"{"lease_id":"","data":{"last_vault_rotation":"x","ttl":-1}}"#,
        r#"{"lease_id":"","data":{"last_vault_rotation":null,"ttl":60}}"#,
        r#"{"lease_id":"","data":[1795350791,"certificate","serial",60,"rotation",60]}"#,
    ];

    for body in bodies {
        assert_eq!(reading(body), Reading::Unleased, "{body}");
        let body = Bytes::from(body.to_owned());
        assert_eq!(Countdown::new(body.clone()).with_left(Duration::from_secs(7)), body);
    }
}

#[test]
fn a_lease_that_cannot_be_understood_is_garbage() {
    let without = "a lease without a duration";
    let renewable = "a lease that does not say whether it can be renewed";
    let twice = "a success that says one thing twice";
    let table = [
        ("", "a success that is not JSON"),
        (r#"{"lease_id":"a""#, "a success that is not JSON"),
        ("{}{}", "a success that is not JSON"),
        (r#"{"lease_id":7}"#, "a lease whose id is not text"),
        (r#"{"lease_id":"a","renewable":true}"#, without),
        (r#"{"lease_id":"a","renewable":true,"lease_duration":null}"#, without),
        (r#"{"lease_id":"a","renewable":true,"lease_duration":-1}"#, without),
        (r#"{"lease_id":"a","renewable":true,"lease_duration":1.5}"#, without),
        (r#"{"lease_id":"a","renewable":true,"lease_duration":1e3}"#, without),
        (r#"{"lease_id":"a","renewable":true,"lease_duration":"60"}"#, without),
        (r#"{"lease_id":"a","renewable":true,"data":{"lease_duration":1}}"#, without),
        (r#"{"lease_id":"a","lease_duration":1}"#, renewable),
        (r#"{"lease_id":"a","lease_duration":1,"renewable":1}"#, renewable),
        (r#"{"lease_id":"","lease_id":"a"}"#, twice),
        (r#"{"lease_id":"a","renewable":true,"lease_duration":1,"lease_duration":1}"#, twice),
        (r#"{"lease_duration":1,"lease\u005fduration":1}"#, twice),
    ];

    for (body, what) in table {
        assert_eq!(reading(body), Reading::Garbage(what), "{body}");
    }
}

#[test]
fn what_is_left_takes_the_place_of_what_was_promised() {
    let with_left =
        |body: &str, left: Duration| Countdown::new(Bytes::from(body.to_owned())).with_left(left);
    let left = Duration::from_millis(59_999);
    let table = [
        (DATABASE, DATABASE.replace("3600", "59")),
        // The one within `data` that is named like that of the frame is not ours.
        (
            STS,
            STS.replace(r#"false,"lease_duration":3599"#, r#"false,"lease_duration":59"#)
                .replace(r#""ttl":3599"#, r#""ttl":59"#),
        ),
        (STATIC, STATIC.replace("86396", "59")),
        (CERTIFICATE, CERTIFICATE.to_owned()),
    ];

    for (body, expected) in table {
        assert_eq!(with_left(body, left), expected);
    }
    let other_ttl = STS.replace(r#""ttl":3599"#, r#""ttl":900"#);
    assert!(str::from_utf8(&with_left(&other_ttl, left)).unwrap().contains(r#""ttl":900"#));
}

#[test]
fn debug_shows_neither_ids_nor_secrets() {
    let shown = format!("{:?} {:?}", reading(DATABASE), Countdown::new(DATABASE.into()));

    assert_eq!(shown, "Leased(Terms(3600s, renewable: true)) Countdown(..)");
}

/// A leased answer with its names in any order and blanks here and there.
fn answer() -> impl Strategy<Value = (String, u64)> {
    let parts = |duration: u64| {
        vec![
            r#""lease_id":"a/b""#.to_owned(),
            format!("\"lease_duration\" :\t{duration}"),
            r#""renewable": true "#.to_owned(),
            format!(
                "\"data\": {{\"lease_duration\":{duration},\"a\": [ 1.0, \"\\u00e9é\" ], \"ttl\": {duration} }}"
            ),
            r#" "warnings":["\"lease_duration\":5"]"#.to_owned(),
            r#""auth":null"#.to_owned(),
        ]
    };
    (any::<u64>(), 0..20_u32).prop_flat_map(move |(duration, shift)| {
        let duration = duration >> (3 * shift);
        (Just(parts(duration)).prop_shuffle(), Just(duration))
            .prop_map(|(parts, duration)| (format!(" {{{}}}\n", parts.join(",")), duration))
    })
}

proptest! {
    #[test]
    fn only_the_countdowns_change((body, duration) in answer(), left: u64) {
        let countdown = Countdown::new(Bytes::from(body.clone()));

        prop_assert_eq!(countdown.with_left(Duration::from_secs(duration)), body.as_bytes());
        let mut expected: Value = serde_json::from_str(&body).unwrap();
        expected["lease_duration"] = left.into();
        expected["data"]["ttl"] = left.into();
        let changed = countdown.with_left(Duration::from_secs(left));
        prop_assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), expected);
        let again = Countdown::new(changed).with_left(Duration::from_secs(duration));
        prop_assert_eq!(again, body.as_bytes());
    }

    #[test]
    fn any_bytes_come_to_an_end(body: Vec<u8>, now: i64) {
        read(&body, now);
        let body = Bytes::from(body);
        prop_assert_eq!(Countdown::new(body.clone()).with_left(Duration::ZERO), body);
    }
}
