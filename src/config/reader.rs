//! Reads keys of the tree as what they should be, and reports those that are not.
//!
//! A reader never fails: what is wrong is reported and read as absent, so that reading goes on and
//! finds the next problem. The keys a section is asked for are the keys it knows; the others are
//! reported when the section has been read.

mod files;
mod values;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use super::problem::{Origin, Report, nearest};
use super::tree::{Entry, Node, Value};

/// What every reader needs besides the tree.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// Where problems go.
    pub(super) report: &'a Report,
    /// The directory of the file; paths in the file are relative to it.
    pub(super) directory: &'a Path,
    /// Keys that are promised and not there yet.
    pub(super) later: &'a [&'a str],
    /// A key of the document itself, to name where there is none.
    pub(super) first: &'a str,
}

/// A key, and its value if it has one.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// With dots, from the document down: `listeners.0.address`.
    pub key: String,
    /// Where the value is written; if there is none, where the section is that lacks it.
    pub origin: &'a Origin,
    value: &'a Value,
    context: &'a Context<'a>,
}

/// A mapping whose keys are being read.
#[derive(Debug)]
pub struct Section<'a> {
    field: Field<'a>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    /// Reads the key `name`.
    pub fn field(&self, name: &'static str) -> Field<'a> {
        self.asked.borrow_mut().insert(name);
        let key = self.key_of(name);
        let (value, origin) = match self.field.value {
            Value::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == name)
                .map_or((&Value::Null, self.field.origin), |entry| {
                    (&entry.node.value, &entry.node.origin)
                }),
            _ => (&Value::Null, self.field.origin),
        };
        Field { key, origin, value, context: self.field.context }
    }

    /// Reports a problem of the section as a whole.
    pub fn complain(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.field.complain(what, hint);
    }

    fn key_of(&self, name: &str) -> String {
        if self.field.key.is_empty() {
            return name.to_owned();
        }
        format!("{}.{name}", self.field.key)
    }

    /// Reports the keys that nobody asked for, and those given twice.
    fn finish(self) {
        let Value::Map(entries) = self.field.value else { return };
        let known: Vec<&str> = self.asked.into_inner().into_iter().collect();
        for (index, entry) in entries.iter().enumerate() {
            let name = if entry.key.chars().count() <= 40 { &entry.key } else { "…" };
            let key = match self.field.key.as_str() {
                "" => name.escape_debug().to_string(),
                section => format!("{section}.{}", name.escape_debug()),
            };
            let report = self.field.context.report;
            if entries[..index].iter().any(|earlier| earlier.key == entry.key) {
                report.add(&entry.origin, &key, "given a second time", "remove one of the two");
            } else if self.field.context.later.contains(&key.as_str()) {
                let hint = "remove it, or use the version whose changelog names it";
                report.add(&entry.origin, &key, "this version does not have it yet", hint);
            } else if !known.contains(&entry.key.as_str()) {
                let hint = nearest(&entry.key, &known).map_or_else(
                    || format!("known keys here: {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                report.add(&entry.origin, &key, "unknown key", hint);
            }
        }
    }
}

impl<'a> Field<'a> {
    /// The document itself.
    pub(super) fn root(node: &'a Node, context: &'a Context<'a>) -> Self {
        Self { key: String::new(), origin: &node.origin, value: &node.value, context }
    }

    /// Reports a problem of this key.
    pub fn complain(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.context.report.add(self.origin, &self.key, what, hint);
    }

    /// Whether something is written here, right or wrong.
    pub fn given(&self) -> bool {
        *self.value != Value::Null
    }

    /// Whether nothing is written here, or a list of nothing.
    pub fn empty(&self) -> bool {
        !self.given() || matches!(self.value, Value::List(items) if items.is_empty())
    }

    /// Whether this is `text` and nothing else.
    pub fn says(&self, text: &str) -> bool {
        word(self.value) == Some(text)
    }

    /// Reads a section. Absent or empty it is read all the same: all its keys are then absent.
    pub fn section<T>(&self, read: impl FnOnce(&Section<'a>) -> T) -> T {
        if !matches!(self.value, Value::Map(_) | Value::Null) {
            let first = self.context.first;
            let hint = match self.key.as_str() {
                "" => format!("begin with a section, for example `{first}:`"),
                _ => "put its keys below it, indented".to_owned(),
            };
            self.unexpected("keys with values", &hint);
        }
        let section = Section { field: self.clone(), asked: RefCell::default() };
        let result = read(&section);
        section.finish();
        result
    }

    /// The entries of a list. From a command line: `a,b,c`.
    pub fn list(&self) -> Vec<Self> {
        let entry = |index: usize, value: &'a Value, origin: &'a Origin| {
            let key = format!("{}.{index}", self.key);
            Self { key, origin, value, context: self.context }
        };
        match self.value {
            Value::Null => vec![],
            Value::List(items) => {
                let items = items.iter().enumerate();
                items.map(|(index, item)| entry(index, &item.value, &item.origin)).collect()
            }
            // One word. Two or more are written as a YAML list: `--set 'a.b=[x, y]'`.
            Value::Word(_) => vec![entry(0, self.value, self.origin)],
            _ => {
                self.unexpected("a list", "write [a, b], or one entry a line, each after `- `");
                vec![]
            }
        }
    }

    /// The text of the key `name` inside, where there is one, without reading the section: for what
    /// must be known before.
    pub fn peek(&self, name: &str) -> Option<&'a str> {
        let Value::Map(entries) = self.value else { return None };
        word(&entries.iter().find(|entry| entry.key == name)?.node.value)
    }

    /// The entries of a mapping whose keys are free, in the order of the file.
    pub fn entries(&self) -> Vec<(&'a str, Self)> {
        let Value::Map(entries) = self.value else {
            if self.given() {
                self.unexpected("keys with values", "put them below it, indented");
            }
            return vec![];
        };
        let entry = |entry: &'a Entry| {
            let (key, node) = (format!("{}.{}", self.key, entry.key.escape_debug()), &entry.node);
            let (origin, value) = (&node.origin, &node.value);
            (entry.key.as_str(), Self { key, origin, value, context: self.context })
        };
        entries.iter().map(entry).collect()
    }

    /// The entries of a list, or the one value that stands for a list of one.
    pub fn one_or_more(&self) -> Vec<Self> {
        match self.value {
            Value::Text(_) | Value::Map(_) => vec![self.clone()],
            _ => self.list(),
        }
    }

    /// The plain values of a list, or the one that stands for a list of one.
    pub fn plain_list(&self) -> Vec<Self> {
        match self.value {
            Value::Bool(_) | Value::Number(_) | Value::Text(_) => vec![self.clone()],
            _ => self.list(),
        }
    }

    /// A list that is not empty where it is given.
    pub fn some_list(&self) -> Vec<Self> {
        if self.given() && self.empty() {
            self.complain("expected at least one entry", "add one, or remove the key");
        }
        self.list()
    }

    /// Reports that something else is written here.
    pub fn unexpected(&self, expected: &str, hint: &str) {
        self.complain(format!("expected {expected}, found {}", self.value.describe()), hint);
    }

    fn read<T>(
        &self,
        expected: &str,
        hint: &str,
        parse: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        if !self.given() {
            return None;
        }
        let parsed = parse(self.value);
        if parsed.is_none() {
            self.unexpected(expected, hint);
        }
        parsed
    }
}

/// Text, in the file or from a command line.
fn word(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Word(text) => Some(text),
        _ => None,
    }
}
