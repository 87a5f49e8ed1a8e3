use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn form(body: &str) -> Option<String> {
    canonical(body.as_bytes()).map(|form| String::from_utf8(form.to_vec()).unwrap())
}

#[test]
fn what_the_server_does_not_see_is_dropped() {
    let table = [
        ("", "{}"),
        (" {\n\t} \r\n", "{}"),
        (r#"{"b" : 1 , "a" : [ 2 , { } ] }"#, r#"{"a":[2,{}],"b":1}"#),
        (r#"{"\u0061\/\u000a\u00e9\ud83d\ude00":"\u0022\u0001"}"#, r#"{"a/\né😀":"\"\u0001"}"#),
        (r#"{"é":true,"z":false,"\u0041":null}"#, r#"{"A":null,"z":false,"é":true}"#),
    ];

    for (body, canonical) in table {
        assert_eq!(form(body).as_deref(), Some(canonical), "{body}");
    }
}

#[test]
fn what_the_server_sees_is_kept() {
    let table = [
        (r#"{"ttl":1}"#, r#"{"ttl":1.0}"#),
        (r#"{"ttl":1}"#, r#"{"ttl":"1"}"#),
        (r#"{"ttl":1e2}"#, r#"{"ttl":1E2}"#),
        (r#"{"n":100000000000000000001}"#, r#"{"n":100000000000000000002}"#),
        (r#"{"n":0}"#, r#"{"n":-0}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        (r#"{"a":null}"#, "{}"),
        (r#"{"a":1}"#, r#"{"A":1}"#),
        (r#"{"a":"x "}"#, r#"{"a":"x"}"#),
        (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
    ];

    for (one, other) in table {
        assert!(form(one).is_some() && form(other).is_some(), "{one} {other}");
        assert_ne!(form(one), form(other));
    }
}

#[test]
fn what_may_be_read_in_two_ways_has_no_form() {
    let bodies: [&[u8]; 20] = [
        b" ",
        b"null",
        b"[]",
        b"\"a\"",
        b"1",
        b"{",
        b"{}x",
        b"{}{}",
        b"{\"a\":1,}",
        b"{\"a\":01}",
        b"{\"a\":'1'}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\\ud800\"}",
        b"{\"\\udc00\":1}",
        b"{\"a\":\"\n\"}",
        b"{\"a\":1,\"a\":1}",
        b"{\"a\":1,\"\\u0061\":2}",
        b"{\"b\":[{\"a\":1,\"a\":2}]}",
        b"a=b",
    ];

    for body in bodies {
        assert_eq!(canonical(body), None, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn what_is_nested_too_deeply_has_no_form() {
    let nested = |lists: usize| format!("{{\"a\":{}{}}}", "[".repeat(lists), "]".repeat(lists));

    assert!(form(&nested(31)).is_some());
    assert_eq!(form(&nested(32)), None);
    assert_eq!(form(&nested(100_000)), None);
}

/// OpenBao 2.7.2 takes this, sent as a form, for a form, whose one parameter is the whole text.
#[test]
fn an_object_that_begins_too_late_has_no_form() {
    let indented = |blanks: usize| format!("{}{{}}", " ".repeat(blanks));

    assert_eq!(form(&indented(511)).as_deref(), Some("{}"));
    assert_eq!(form(&indented(512)), None);
}

/// A value, apart from how it is spelled.
#[derive(Clone, Debug, PartialEq)]
enum Json {
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
    Plain(&'static str),
    Text(String),
}

const PLAIN: [&str; 10] =
    ["null", "true", "false", "0", "-0", "1", "1.0", "1e400", "90071992547409931", "0.10"];

fn json() -> impl Strategy<Value = Json> {
    let text = prop_oneof!["[a-c]{0,2}", any::<String>()];
    let leaf = prop_oneof![
        proptest::sample::select(&PLAIN[..]).prop_map(Json::Plain),
        text.clone().prop_map(Json::Text),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::List),
            proptest::collection::btree_map(text.clone(), inner, 0..4).prop_map(Json::Object),
        ]
    })
}

fn object() -> impl Strategy<Value = Json> {
    proptest::collection::btree_map("[a-c]{1,2}", json(), 0..4).prop_map(Json::Object)
}

/// One of the many ways to write it down.
fn spelled(json: &Json, rng: &mut fastrand::Rng) -> String {
    let text = match json {
        Json::Plain(text) => (*text).to_owned(),
        Json::Text(text) => quoted(text, rng),
        Json::List(elements) => {
            let parts: Vec<_> = elements.iter().map(|element| spelled(element, rng)).collect();
            format!("[{}{}]", blanks(rng), parts.join(","))
        }
        Json::Object(members) => {
            let mut member = |(name, value): (&String, &Json)| {
                let name = quoted(name, rng);
                format!("{}{name}{}:{}", blanks(rng), blanks(rng), spelled(value, rng))
            };
            let mut parts: Vec<_> = members.iter().map(&mut member).collect();
            rng.shuffle(&mut parts);
            format!("{{{}{}}}", blanks(rng), parts.join(","))
        }
    };
    format!("{}{text}{}", blanks(rng), blanks(rng))
}

fn blanks(rng: &mut fastrand::Rng) -> String {
    (0..rng.usize(..3)).map(|_| [' ', '\t', '\n', '\r'][rng.usize(..4)]).collect()
}

fn quoted(text: &str, rng: &mut fastrand::Rng) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        let must = character < ' ' || matches!(character, '"' | '\\');
        match character {
            '\n' if rng.bool() => out.push_str("\\n"),
            '/' if rng.bool() => out.push_str("\\/"),
            _ if must || rng.u8(..4) == 0 => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let hex = format!("{unit:04x}");
                    out.push_str("\\u");
                    out.push_str(&if rng.bool() { hex.to_uppercase() } else { hex });
                }
            }
            _ => out.push(character),
        }
    }
    out + "\""
}

/// The same with one thing about it different.
fn changed(json: &Json, rng: &mut fastrand::Rng) -> Json {
    let mut json = json.clone();
    match &mut json {
        Json::Plain(text) => {
            let others: Vec<_> = PLAIN.into_iter().filter(|other| other != text).collect();
            *text = others[rng.usize(..others.len())];
        }
        Json::Text(text) => text.push(rng.char('a'..='c')),
        Json::List(elements) if elements.is_empty() || rng.bool() => {
            elements.push(Json::Plain("null"));
        }
        Json::List(elements) => {
            let index = rng.usize(..elements.len());
            elements[index] = changed(&elements[index], rng);
        }
        Json::Object(members) if members.is_empty() || rng.u8(..3) == 0 => {
            let longest = members.keys().map(String::len).max().unwrap_or_default();
            members.insert("x".repeat(longest + 1), Json::Plain("null"));
        }
        Json::Object(members) => {
            let name = members.keys().nth(rng.usize(..members.len())).unwrap().clone();
            let value = members.remove(&name).unwrap();
            if rng.bool() {
                members.insert(name, changed(&value, rng));
            }
        }
    }
    json
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn spelling_never_changes_the_form(object in object(), seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (one, other) = (spelled(&object, &mut rng), spelled(&object, &mut rng));

        let first = form(&one);

        prop_assert!(first.is_some(), "{}", one);
        prop_assert_eq!(&first, &form(&other));
        let first = first.unwrap();
        prop_assert_eq!(form(&first), Some(first.clone()), "not its own form");
        prop_assert!(first.len() <= one.len());
        if !one.contains("1e400") {
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            prop_assert_eq!(read(&first), read(&one), "means something else");
        }
    }

    #[test]
    fn a_change_always_changes_the_form(object in object(), seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let different = changed(&object, &mut rng);

        prop_assert_ne!(form(&spelled(&object, &mut rng)), form(&spelled(&different, &mut rng)));
    }

    #[test]
    fn any_bytes_come_to_an_end(body: Vec<u8>) {
        canonical(&body);
    }
}
