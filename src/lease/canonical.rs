//! Which bodies say the same thing to the server?
//!
//! Two requests may get the same credential only if their bodies mean the same to Vault and
//! OpenBao. The canonical form drops what their decoder drops too: blanks, the order of names, the
//! ways to spell a character. Everything else stays, numbers by their digits. A body in which two
//! decoders might read two things has no form.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// A body may have so many objects and lists within each other; the parameters of a credential
/// have two or three.
const DEEPEST: usize = 32;

/// The server looks at so many bytes of what calls itself a form (as curl's `-d` does), to see
/// whether it is an object after all (OpenBao `http/logical.go`, `buildLogicalRequestNoAuth`).
const LOOKED_AT: usize = 512;

/// The canonical form of a request's body: one JSON object. It may hold secrets, as the body may,
/// and is wiped when dropped; it is never longer, except that no body at all is `{}`.
///
/// `None` if the body is not one object, or begins too late to be taken for one; if a name comes
/// twice, or a character that is none (half a surrogate pair, invalid UTF-8); or if it is nested
/// more than 32 deep.
pub fn canonical(body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // The server takes no body for no parameters. Blanks alone are a parameter's name in a form.
    if body.is_empty() {
        return Some(Zeroizing::new(b"{}".to_vec()));
    }
    let indent = body.len() - body.trim_ascii_start().len();
    if indent >= LOOKED_AT {
        return None;
    }
    let whole: &RawValue = serde_json::from_slice(body).ok()?;
    if !whole.get().starts_with('{') {
        return None;
    }
    // Large enough from the start: a vector that grows leaves copies behind that nobody wipes.
    let mut form = Zeroizing::new(Vec::with_capacity(body.len()));
    write(whole, DEEPEST, &mut form)?;
    Some(form)
}

/// `levels`: how many there may still be.
fn write(value: &RawValue, levels: usize, form: &mut Vec<u8>) -> Option<()> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'{' => {
            let levels = levels.checked_sub(1)?;
            let Members(members) = serde_json::from_str(text).ok()?;
            form.push(b'{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    form.push(b',');
                }
                serde_json::to_writer(&mut *form, name).ok()?;
                form.push(b':');
                write(value, levels, form)?;
            }
            form.push(b'}');
        }
        b'[' => {
            let levels = levels.checked_sub(1)?;
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            form.push(b'[');
            for (index, value) in elements.into_iter().enumerate() {
                if index > 0 {
                    form.push(b',');
                }
                write(value, levels, form)?;
            }
            form.push(b']');
        }
        b'"' => {
            let Text(text) = serde_json::from_str(text).ok()?;
            serde_json::to_writer(form, &text).ok()?;
        }
        // The server keeps a number's digits too (`UseNumber`): 1 and 1.0 are two parameters.
        _ => form.extend_from_slice(text.as_bytes()),
    }
    Some(())
}

/// A decoded string; borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object's names and values, in the order of the decoded names.
struct Members<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name comes twice"));
            }
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests;
