//! The configuration as written: values with their positions, and nothing interpreted.
//!
//! serde would stop at the first value of the wrong type. So the YAML is read into this tree, what
//! the command line and the environment say is laid over it, and `reader` then looks at every key.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Spanned, budget, options};

use super::problem::Origin;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// What YAML can say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing, or `null`: as if the key were absent.
    Null,
    Bool(bool),
    /// As Rust writes it.
    Number(String),
    Text(String),
    /// From a command line or the environment, where everything is text: whoever reads it knows
    /// what it should be.
    Word(String),
    List(Vec<Node>),
    /// In the order of the file, repeated keys included.
    Map(Vec<Entry>),
}

/// A key of a mapping, where it was written, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) node: Node,
}

/// Why a text is not YAML. Says nothing of what the text contains.
#[derive(Debug)]
pub(super) struct NotYaml {
    pub(super) origin: Origin,
    pub(super) reason: String,
}

impl Node {
    /// Reads one YAML document. Size, depth and the growth of aliases are bounded.
    pub(super) fn parse(text: &str) -> Result<Self, NotYaml> {
        let options = options! {
            budget: budget! { max_depth: 32, max_nodes: 50_000 },
            // Reported like any other problem, with both positions, instead of ending the reading.
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            // `mode: 0660` must not silently become the decimal 660.
            leading_zero_numbers_as_strings: true,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            strict_booleans: true,
            // A snippet would print the lines around the error, whatever they hold.
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let at = error.location().unwrap_or(serde_saphyr::Location::UNKNOWN);
            let origin = Origin::File { line: at.line().max(1), column: at.column().max(1) };
            let place = format!(" at line {}, column {}", at.line(), at.column());
            let reason = match error {
                // Its own message recommends functions of the library.
                serde_saphyr::Error::MultipleDocuments { .. } => "a second document".to_owned(),
                error => error.to_string().replace(&place, ""),
            };
            NotYaml { origin, reason }
        })
    }

    /// As if all of it had been written at `origin`.
    pub(super) fn move_to(&mut self, origin: &Origin) {
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.move_to(origin)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.origin = origin.clone();
                entry.node.move_to(origin);
            }),
            _ => {}
        }
        self.origin = origin.clone();
    }
}

impl Value {
    /// What was found, for a message; never text that may be a secret.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(text) => text.clone(),
            Self::Text(text) | Self::Word(text) => super::problem::shown(text),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let origin = position(&spanned);
        Ok(Self { value: spanned.value, origin })
    }
}

/// Where a value is used; for an alias that is the alias, not its anchor.
fn position<T>(spanned: &Spanned<T>) -> Origin {
    Origin::File { line: spanned.referenced.line(), column: spanned.referenced.column() }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let (origin, node) = (position(&key), map.next_value()?);
            entries.push(Entry { key: key.value, origin, node });
        }
        Ok(Value::Map(entries))
    }
}
