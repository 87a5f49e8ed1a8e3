//! When are two answers the same? When they differ only in what each server makes up for itself:
//! ids, tokens and moments. An id of one side must always stand where its twin stands on the other.

use std::collections::HashMap;

use serde_json::Value;

use crate::client::Answer;

/// Headers in which an answer must not differ.
const HEADERS: [&str; 9] = [
    "allow",
    "cache-control",
    "content-type",
    "location",
    "retry-after",
    "strict-transport-security",
    "www-authenticate",
    "x-vault-inline-auth-failed",
    "x-vault-namespace",
];

/// Fields that count seconds; the two servers are asked one after the other.
const CLOCKS: [&str; 6] =
    ["creation_time", "last_renewal_time", "lease_duration", "ttl", "start_time", "creation_ttl"];

/// The pairs of ids that were seen so far.
#[derive(Default)]
pub struct Twins {
    ours: HashMap<String, String>,
    theirs: HashMap<String, String>,
}

impl Twins {
    /// What is different, if anything is. `odd`: vaultlet may have refused what the server failed.
    pub fn difference(&mut self, answer: &Answer, truth: &Answer, odd: bool) -> Option<String> {
        if odd && truth.status >= 300 && refused(answer) {
            return None;
        }
        if answer.status != truth.status {
            return Some(format!("status {}, not {}", answer.status, truth.status));
        }
        for name in HEADERS {
            if answer.header(name) != truth.header(name) {
                let (ours, theirs) = (answer.header(name), truth.header(name));
                return Some(format!("header {name}: {ours:?}, not {theirs:?}"));
            }
        }
        if answer.body == truth.body {
            return None;
        }
        match (serde_json::from_slice(&answer.body), serde_json::from_slice(&truth.body)) {
            (Ok(ours), Ok(theirs)) => self.value("", "", &ours, &theirs),
            _ => self.text("body", &answer.text(), &truth.text()),
        }
    }

    fn value(&mut self, at: &str, key: &str, ours: &Value, theirs: &Value) -> Option<String> {
        match (ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) => {
                if ours.len() != theirs.len() {
                    return Some(format!("{at}: {} fields, not {}", ours.len(), theirs.len()));
                }
                // Some objects are keyed by an id: their order is then not the same.
                ours.iter().zip(theirs).find_map(|((our_key, ours), (their_key, theirs))| {
                    let at = format!("{at}.{their_key}");
                    self.text(&at, our_key, their_key)
                        .or_else(|| self.value(&at, their_key, ours, theirs))
                })
            }
            (Value::Array(ours), Value::Array(theirs)) => {
                if ours.len() != theirs.len() {
                    return Some(format!("{at}: {} items, not {}", ours.len(), theirs.len()));
                }
                let mut pairs = ours.iter().zip(theirs);
                pairs.find_map(|(ours, theirs)| self.value(&format!("{at}[]"), key, ours, theirs))
            }
            (Value::String(ours), Value::String(theirs)) => self.text(at, ours, theirs),
            (Value::Number(ours), Value::Number(theirs)) if CLOCKS.contains(&key) => {
                let apart = ours.as_i64()?.abs_diff(theirs.as_i64()?);
                (apart > 2).then(|| format!("{at}: {ours}, not {theirs}"))
            }
            _ => (ours != theirs).then(|| format!("{at}: {ours}, not {theirs}")),
        }
    }

    fn text(&mut self, at: &str, ours: &str, theirs: &str) -> Option<String> {
        // A cached answer keeps the id of the request that filled it.
        let request = at == ".request_id" && ours.is_empty() == theirs.is_empty();
        if ours == theirs || request || (moment(ours) && moment(theirs)) {
            return None;
        }
        let word = |c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c));
        let (our_words, their_words) = (ours.split(word), theirs.split(word));
        let different = || Some(format!("{at}: {ours:?}, not {theirs:?}"));
        if our_words.clone().count() != their_words.clone().count() {
            return different();
        }
        let same = our_words.zip(their_words).all(|(ours, theirs)| {
            let named =
                at.split('.').next_back() == Some("id") && ours.len() == 6 && theirs.len() == 6;
            let ids = named || (made_up(ours) && made_up(theirs));
            ours == theirs || (ids && self.paired(ours, theirs)) || close(ours, theirs)
        });
        if same { None } else { different() }
    }

    /// Whether the two ids are twins; strangers become twins.
    fn paired(&mut self, ours: &str, theirs: &str) -> bool {
        let our_twin = self.ours.entry(ours.to_owned()).or_insert_with(|| theirs.to_owned());
        let their_twin = self.theirs.entry(theirs.to_owned()).or_insert_with(|| ours.to_owned());
        our_twin == theirs && their_twin == ours
    }
}

/// A 4xx of vaultlet's own making.
fn refused(answer: &Answer) -> bool {
    // The answer to a HEAD has no text; but the server's own would have had this header.
    let own = answer.text().contains("vaultlet: ")
        || (answer.body.is_empty() && answer.header("strict-transport-security").is_none());
    (400..500).contains(&answer.status) && own
}

/// `2026-11-22T05:15:13.1Z` or with an offset.
fn moment(text: &str) -> bool {
    let shape = |(index, byte): (usize, &u8)| match index {
        4 | 7 => *byte == b'-',
        10 => *byte == b'T',
        13 | 16 => *byte == b':',
        _ => byte.is_ascii_digit(),
    };
    text.len() >= 20 && text.as_bytes()[..19].iter().enumerate().all(shape)
}

/// Two durations as Go writes them, `1h59m58s`, that differ by no more than the clock.
fn close(ours: &str, theirs: &str) -> bool {
    let seconds = |text: &str| humantime::parse_duration(text).map(|parsed| parsed.as_secs());
    match (seconds(ours), seconds(theirs)) {
        (Ok(ours), Ok(theirs)) => ours.abs_diff(theirs) <= 2,
        _ => false,
    }
}

/// A uuid, a token, an accessor or a mount's accessor.
fn made_up(word: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let uuid = word.len() == 36 && word.split('-').count() == 5 && word.split('-').all(hex);
    let mount = word.rsplit_once('_').is_some_and(|(kind, id)| {
        id.len() == 8
            && hex(id)
            && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    });
    let long = word.len() >= 24 && word.bytes().any(|byte| byte.is_ascii_uppercase());
    uuid || mount || long
}

#[test]
fn twins_are_told_from_strangers() {
    let mut twins = Twins::default();
    let (a, b) = ("s.AAAAAAAAAAAAAAAAAAAAAAAA", "s.BBBBBBBBBBBBBBBBBBBBBBBB");
    let (c, d) = ("s.CCCCCCCCCCCCCCCCCCCCCCCC", "s.DDDDDDDDDDDDDDDDDDDDDDDD");

    assert_eq!(twins.text("", a, b), None);
    assert_eq!(twins.text("", c, d), None);
    assert_eq!(twins.text("", &format!("is {a}."), &format!("is {b}.")), None);
    assert!(twins.text("", a, d).is_some(), "a token of one became a token of another");
    assert!(twins.text("", "v17", "v18").is_some());
    assert_eq!(twins.text("", "2026-11-22T05:15:13.1Z", "2026-11-22T05:15:14.123Z"), None);
}
