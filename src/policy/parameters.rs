//! Which parameters does a request bring, as the server reads them?

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroize as _;

/// With more of them than this, nobody looks: to compare each with each takes too long.
const MOST: usize = 256;

/// The parameters of a request: its query for reads, lists and deletions, its body for writes.
///
/// A body holds secrets: this borrows what it can, wipes what it had to copy, and prints nothing.
pub struct Parameters<'a>(Option<Vec<(Cow<'a, str>, Given<'a>)>>);

/// A value, as far as a rule can tell values apart.
pub(super) enum Given<'a> {
    Bool(bool),
    /// A number, null, a list or an object: equal to nothing that a rule can list.
    Other,
    Text(Cow<'a, str>),
}

impl<'a> Parameters<'a> {
    /// A request without parameters.
    pub fn none() -> &'static Parameters<'static> {
        static NONE: Parameters<'static> = Parameters(Some(Vec::new()));
        &NONE
    }

    /// A request whose parameters cannot be read, or were not looked at.
    pub fn unknown() -> &'static Parameters<'static> {
        static UNKNOWN: Parameters<'static> = Parameters(None);
        &UNKNOWN
    }

    /// Reads a query, without its question mark, as Go's `url.ParseQuery` and OpenBao's
    /// `internal/http/logical.go`, `parseQuery`, do: a pair with a `;` or a bad escape is left out,
    /// `help` does not count, and a name that comes several times has a list as its value.
    ///
    /// Unknown where the decoded bytes are not UTF-8, or there are more than 256.
    pub fn of_query(query: &'a [u8]) -> Self {
        let mut pairs: Vec<(Cow<'a, str>, Given<'a>)> = Vec::new();
        for (name, value) in self::pairs(query) {
            let (Ok(name), Ok(value)) = (utf8(name), utf8(value)) else { return Self(None) };
            let full = pairs.len() == MOST;
            match pairs.iter_mut().find(|(known, _)| *known == name) {
                _ if name == "help" => (),
                Some((_, known)) => *known = Given::Other,
                None if full => return Self(None),
                None => pairs.push((name, Given::Text(value))),
            }
        }
        Self(Some(pairs))
    }

    /// Reads a body of JSON; of a name that comes twice, the last value counts. Unknown where the
    /// body is not one JSON object, or one with more than 256 members.
    pub fn of_json(body: &'a [u8]) -> Self {
        if body.is_empty() {
            return Self(Some(Vec::new()));
        }
        serde_json::from_slice(body).unwrap_or(Self(None))
    }

    /// Name and value of each, unless they are not known.
    pub(super) fn known(&self) -> Option<&[(Cow<'a, str>, Given<'a>)]> {
        self.0.as_deref()
    }
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        if let Self::Text(Cow::Owned(text)) = self {
            text.zeroize();
        }
    }
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameters(..)")
    }
}

/// The pairs of a query, decoded, without those that Go leaves out.
pub(super) fn pairs(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    let whole = query.split(|byte| *byte == b'&');
    let whole = whole.filter(|pair| !pair.is_empty() && !pair.contains(&b';'));
    whole.filter_map(|pair| {
        let cut = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = cut.map_or((pair, &pair[..0]), |cut| (&pair[..cut], &pair[cut + 1..]));
        Some((unescape(name)?, unescape(value)?))
    })
}

/// Percent escapes and `+`; `None` for what Go would refuse.
fn unescape(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' => b' ',
            other => *other,
        });
    }
    Some(Cow::Owned(plain))
}

fn utf8(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, ()> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(drop),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(drop),
    }
}

impl<'de> Deserialize<'de> for Parameters<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Parameters<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs: Vec<(Cow<'de, str>, Given<'de>)> = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            pairs.retain(|(known, _)| *known != name);
            if pairs.len() == MOST {
                return Err(serde::de::Error::custom("too many members"));
            }
            pairs.push((name, value));
        }
        Ok(Parameters(Some(pairs)))
    }
}

struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text).map(Self)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Given<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Value)
    }
}

struct Value;

impl<'de> Visitor<'de> for Value {
    type Value = Given<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Given::Bool(flag))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Given::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Given::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Given::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Given::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Given::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Given::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }
}
