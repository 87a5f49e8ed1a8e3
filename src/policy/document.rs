//! Which rules does a policy text hold?
//!
//! Mirrors OpenBao `internal/vault/policy/policy.go`, `parsePath`. The server has checked every
//! text that it stores, so whatever is unexpected here is something that this reader does not know,
//! and makes the whole text opaque.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Opaque;
use super::capability::Capabilities;
use super::constraint::{Constraints, Expected, Lists};
use super::syntax::{self, Item, Node};
use super::template::Template;

/// One `path` block.
#[derive(Debug)]
pub(super) struct Block {
    /// Where it begins, counted from 1.
    pub(super) line: u32,
    pub(super) path: Template,
    pub(super) capabilities: Capabilities,
    pub(super) constraints: Constraints,
    /// Unix seconds after which the block counts for nothing.
    pub(super) expires: Option<i64>,
}

/// Reads a text of either format; the server tells them apart by the first character.
pub(super) fn read(text: &str) -> Result<Vec<Block>, Opaque> {
    // The server's scanner refuses both wherever they stand.
    if text.contains(['\0', '\u{e123}']) {
        return Err(Opaque { reason: "a character that no policy may hold", line: 1 });
    }
    let json = text.trim_start().starts_with('{');
    let items = if json { syntax::json(text)? } else { syntax::hcl(text)? };
    let mut blocks = Vec::new();
    let mut seen = Vec::new();
    for item in &items {
        let key = item.keys[0].as_str();
        match (key, &item.value) {
            ("path", Node::Object(members)) if !json && !item.assigned => {
                let label = item.keys.get(1).map_or("path", String::as_str);
                blocks.push(Block::read(item.line, label, members)?);
            }
            ("path", value) if json && !seen.contains(&key) => {
                json_paths(value, item, &mut blocks)?;
            }
            ("name", Node::Text(_)) if item.assigned && !seen.contains(&key) => (),
            _ => return Err(at(item, "a key at the top that is not read here")),
        }
        seen.push(key);
    }
    Ok(blocks)
}

/// `{"a": {…}, "b": {…}}`, or a list of such objects.
fn json_paths(value: &Node, item: &Item, blocks: &mut Vec<Block>) -> Result<(), Opaque> {
    let objects = match value {
        Node::Object(members) => vec![members],
        Node::List(list) if !list.is_empty() => list
            .iter()
            .map(|element| match element {
                Node::Object(members) => Ok(members),
                _ => Err(at(item, "a path that is not an object")),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(at(item, "paths that are neither an object nor a list")),
    };
    for members in objects {
        // The server's reader folds objects that hold only objects, and an empty one is then a
        // block without a label.
        if members.is_empty() {
            return Err(at(item, "paths that are empty"));
        }
        for member in members {
            let Node::Object(attributes) = &member.value else {
                return Err(at(member, "a path that is not an object"));
            };
            let folded = attributes.iter().all(|item| matches!(item.value, Node::Object(_)));
            if folded && !attributes.is_empty() {
                return Err(at(member, "a path that holds only objects"));
            }
            blocks.push(Block::read(member.line, &member.keys[0], attributes)?);
        }
    }
    Ok(())
}

impl Block {
    fn read(line: u32, label: &str, items: &[Item]) -> Result<Self, Opaque> {
        // On a second attribute of the same name the servers differ.
        let mut attributes = BTreeMap::new();
        for item in items {
            let [key] = item.keys.as_slice() else {
                return Err(at(item, "a block with labels in a path"));
            };
            if attributes.insert(key.as_str(), item).is_some() {
                return Err(at(item, "the same attribute twice"));
            }
        }
        if label.contains("+*") {
            return Err(Opaque { reason: "a path with `+*`", line });
        }
        let unbalanced = Opaque { reason: "braces of a template that do not match", line };
        let path = Template::read(label).ok_or(unbalanced)?;
        let mut block = Self {
            line,
            path,
            capabilities: Capabilities::default(),
            constraints: Constraints::default(),
            expires: None,
        };
        let mut wrapping = Wrapping::default();
        let mut listed = Vec::new();
        for (key, item) in &attributes {
            let limits = &mut block.constraints;
            match *key {
                "allowed_parameters" => limits.allowed = parameters(item)?,
                "capabilities" => listed = texts(item)?,
                // Read below, and read by nobody.
                "policy" | "comment" => (),
                "control_group" => {
                    let Node::Object(_) = item.value else {
                        return Err(at(item, "a control group that is not a block"));
                    };
                    limits.control_group = true;
                }
                "denied_parameters" => limits.denied = parameters(item)?,
                "expiration" => block.expires = time(item)?,
                "list_scan_response_keys_filter_path" => limits.filter = !text(item)?.is_empty(),
                "max_wrapping_ttl" => wrapping.max = seconds(item)?,
                "mfa_methods" => limits.mfa = !texts(item)?.is_empty(),
                "min_wrapping_ttl" => wrapping.min = seconds(item)?,
                "pagination_limit" => limits.pages = whole(item)? > 0,
                "required_parameters" => {
                    let names = texts(item)?.into_iter().map(|name| lower(item, name));
                    limits.required = names.collect::<Result<_, _>>()?;
                }
                // Vault's alone: it limits subscriptions to events, and nothing that is asked here.
                "subscribe_event_types" => drop(texts(item)?),
                _ => return Err(at(item, "an attribute that is not read here")),
            }
        }
        if let Some(item) = attributes.get("policy") {
            let legacy = Capabilities::legacy(text(item)?);
            let legacy = legacy.ok_or_else(|| at(item, "a `policy` that is not known"))?;
            // It stands before the list where it denies, behind it otherwise: no matter here, as
            // the one thing that order decides is what a denial leaves unread.
            if legacy == Capabilities::DENY {
                listed.clear();
            }
            block.capabilities = legacy;
        }
        for name in listed {
            let known = Capabilities::named(name);
            let known = known.ok_or(Opaque { reason: "a capability that is not known", line })?;
            block.capabilities = block.capabilities.with(known);
            if known == Capabilities::DENY {
                break;
            }
        }
        if block.capabilities.has(Capabilities::DENY) {
            // The server reads nothing behind a denial.
            block.capabilities = Capabilities::DENY;
            block.constraints = Constraints::default();
            return Ok(block);
        }
        if block.constraints.filter && !block.capabilities.has(Capabilities::LIST) {
            return Err(Opaque { reason: "a list filter without the capability to list", line });
        }
        if wrapping.max != 0 && wrapping.max < wrapping.min {
            return Err(Opaque { reason: "wrapping times that exclude each other", line });
        }
        block.constraints.wrapping = wrapping.max != 0 || wrapping.min != 0;
        Ok(block)
    }
}

/// Milliseconds; zero: none.
#[derive(Default)]
struct Wrapping {
    max: u64,
    min: u64,
}

fn text(item: &Item) -> Result<&str, Opaque> {
    match &item.value {
        Node::Text(text) if item.assigned => Ok(text),
        _ => Err(at(item, "a value that is not a string")),
    }
}

fn texts(item: &Item) -> Result<Vec<&str>, Opaque> {
    let Node::List(list) = &item.value else {
        return Err(at(item, "a value that is not a list"));
    };
    let texts = list.iter().map(|node| match node {
        Node::Text(text) => Ok(text.as_str()),
        _ => Err(at(item, "a list that does not hold strings")),
    });
    texts.collect()
}

fn whole(item: &Item) -> Result<i64, Opaque> {
    let number = match &item.value {
        Node::Number(number) => number.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| at(item, "a value that is not a whole number"))
}

/// What the server would make of a duration, in milliseconds.
fn seconds(item: &Item) -> Result<u64, Opaque> {
    let length = match &item.value {
        Node::Number(number) => number.parse().ok().and_then(|whole: u64| whole.checked_mul(1000)),
        Node::Text(text) => duration(text),
        _ => None,
    };
    length.ok_or_else(|| at(item, "a duration of a form that is not read here"))
}

/// `90`, `90s`, `1h30m`, `1d` and nothing finer than milliseconds.
fn duration(text: &str) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1000);
    }
    if let Some(days) = text.strip_suffix('d') {
        return days.parse::<u64>().ok()?.checked_mul(86_400_000);
    }
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number = rest[..digits].parse::<u64>().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|character: char| character.is_ascii_digit());
        let (unit, after) = rest.split_at(letters.unwrap_or(rest.len()));
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = after;
    }
    Some(total)
}

/// RFC 3339 or Unix seconds; the empty string is none.
fn time(item: &Item) -> Result<Option<i64>, Opaque> {
    let text = text(item)?;
    if text.is_empty() {
        return Ok(None);
    }
    let unix = text.parse().ok();
    let time = unix.or_else(|| text.parse().ok().map(Timestamp::as_second));
    time.map(Some).ok_or_else(|| at(item, "a time of a form that is not read here"))
}

fn parameters(item: &Item) -> Result<Lists, Opaque> {
    let Node::Object(members) = &item.value else {
        return Err(at(item, "parameters that are not a map"));
    };
    let mut lists = Lists::new();
    for member in members {
        let ([key], Node::List(values)) = (member.keys.as_slice(), &member.value) else {
            return Err(at(member, "a parameter whose values are not a list"));
        };
        let values = values.iter().map(|value| match value {
            Node::Bool(flag) => Ok(Expected::Bool(*flag)),
            Node::Number(_) => Ok(Expected::Number),
            Node::Text(text) => Ok(Expected::Text(text.as_str().into())),
            Node::List(_) | Node::Object(_) => {
                Err(at(member, "a value of a parameter that is not read here"))
            }
        });
        // Two spellings of one key: the server would take either.
        if lists.insert(lower(member, key)?, values.collect::<Result<_, _>>()?).is_some() {
            return Err(at(member, "the same parameter twice"));
        }
    }
    Ok(lists)
}

/// Only ASCII: beyond it the lower case of Go and of Rust are not the same.
fn lower(item: &Item, name: &str) -> Result<Box<str>, Opaque> {
    if name.is_ascii() {
        Ok(name.to_ascii_lowercase().into())
    } else {
        Err(at(item, "the name of a parameter that is not ASCII"))
    }
}

fn at(item: &Item, reason: &'static str) -> Opaque {
    Opaque { reason, line: item.line }
}
