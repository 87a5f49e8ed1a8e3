//! Reads keys of the tree as what they should be, and reports those that are not.
//!
//! A reader never fails: what is wrong is reported and read as absent, so that reading goes on and
//! finds the next problem. The keys a section is asked for are the keys it knows; the others are
//! reported when the section has been read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{Origin, Report, nearest};
use super::tree::{Node, Value};
use super::units;

/// Keys that the interface promises and this version does not have.
const LATER: [&str; 1] = ["feed"];

/// What every reader needs besides the tree.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// Where problems go.
    pub(super) report: &'a Report,
    /// The directory of the file; paths in the file are relative to it.
    pub(super) directory: &'a Path,
}

/// A key, and its value if it has one.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) key: String,
    /// Where the value is written; if there is none, where the section is that lacks it.
    pub(super) origin: &'a Origin,
    value: &'a Value,
    context: &'a Context<'a>,
}

/// A mapping whose keys are being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    field: Field<'a>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    /// Reads the key `name`.
    pub(super) fn field(&self, name: &'static str) -> Field<'a> {
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
    pub(super) fn complain(&self, what: impl Into<String>, hint: impl Into<String>) {
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
            } else if LATER.contains(&key.as_str()) {
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
    pub(super) fn complain(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.context.report.add(self.origin, &self.key, what, hint);
    }

    /// Whether something is written here, right or wrong.
    pub(super) fn given(&self) -> bool {
        *self.value != Value::Null
    }

    /// Whether nothing is written here, or a list of nothing.
    pub(super) fn empty(&self) -> bool {
        !self.given() || matches!(self.value, Value::List(items) if items.is_empty())
    }

    /// Whether this is `text` and nothing else.
    pub(super) fn says(&self, text: &str) -> bool {
        word(self.value) == Some(text)
    }

    /// Reads a section. Absent or empty it is read all the same: all its keys are then absent.
    pub(super) fn section<T>(&self, read: impl FnOnce(&Section<'a>) -> T) -> T {
        if !matches!(self.value, Value::Map(_) | Value::Null) {
            let hint = match self.key.as_str() {
                "" => "begin with a section, for example `upstream:`",
                _ => "put its keys below it, indented",
            };
            self.unexpected("keys with values", hint);
        }
        let section = Section { field: self.clone(), asked: RefCell::default() };
        let result = read(&section);
        section.finish();
        result
    }

    /// The entries of a list. From a command line: `a,b,c`.
    pub(super) fn list(&self) -> Vec<Self> {
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

    /// The entries of a list, or the one value that stands for a list of one.
    pub(super) fn one_or_more(&self) -> Vec<Self> {
        match self.value {
            Value::Text(_) | Value::Map(_) => vec![self.clone()],
            _ => self.list(),
        }
    }

    /// A list that is not empty where it is given.
    pub(super) fn some_list(&self) -> Vec<Self> {
        if self.given() && self.empty() {
            self.complain("expected at least one entry", "add one, or remove the key");
        }
        self.list()
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        let hint = match self.value {
            Value::List(_) | Value::Map(_) => "write one value",
            _ => "put it in quotes",
        };
        self.read("text", hint, |value| match value {
            Value::Text(text) | Value::Word(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let hint = "write true or false, without quotes";
        self.read("true or false", hint, |value| match value {
            Value::Bool(flag) => Some(*flag),
            Value::Word(text) => text.parse().ok(),
            _ => None,
        })
    }

    /// A whole number.
    pub(super) fn number(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(&expected, "write it without quotes or a unit", |value| match value {
            Value::Number(text) | Value::Word(text) => {
                text.parse().ok().filter(|number| range.contains(number))
            }
            _ => None,
        })
    }

    /// A share of a whole, more than 0 and at most 1.
    pub(super) fn share(&self) -> Option<f64> {
        let expected = "a number above 0 and up to 1";
        self.read(expected, "0.8 is four fifths, 1 turns it off", |value| match value {
            Value::Number(text) | Value::Word(text) => {
                text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0)
            }
            _ => None,
        })
    }

    /// A share of a whole within bounds.
    pub(super) fn share_in(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.read(&expected, "0.5 is a half", |value| match value {
            Value::Number(text) | Value::Word(text) => {
                text.parse().ok().filter(|share| range.contains(share))
            }
            _ => None,
        })
    }

    /// A duration of at least `least`.
    pub(super) fn duration(&self, least: Duration) -> Option<Duration> {
        self.duration_in(least..=units::LONGEST)
    }

    /// A duration from nothing to `most`.
    pub(super) fn duration_up_to(&self, most: Duration) -> Option<Duration> {
        self.duration_in(Duration::ZERO..=most)
    }

    /// A duration within bounds.
    pub(super) fn duration_in(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let hint = "write a number and a unit: 250ms, 30s, 15m, 24h, 7d";
        let duration = self.read("a duration", hint, |value| units::duration(word(value)?))?;
        self.within(duration, range, units::duration_text)
    }

    /// A number of bytes.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let hint = "write a number and a unit: 512B, 64KiB, 256MiB, 2GiB";
        let size = self.read("a size", hint, |value| units::size(word(value)?))?;
        self.within(size, range, units::size_text)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = words.join(" or ");
        let found = word(self.value).map(str::to_ascii_lowercase);
        let near = found.and_then(|found| nearest(&found, &words));
        let hint = near.map_or_else(
            || "leave it out for the default".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.read(&expected, &hint, |value| {
            let found = word(value)?;
            choices.iter().find(|(word, _)| *word == found).map(|(_, choice)| *choice)
        })
    }

    /// The permission bits of a file.
    pub(super) fn mode(&self) -> Option<u32> {
        let hint = r#"write four digits from 0 to 7 in quotes: "0660""#;
        self.read("an octal file mode", hint, |value| units::mode(word(value)?))
    }

    /// A path; in the file, relative to the file.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() || text.contains('\0') {
            self.complain("expected a path, found nothing", "name a file, or remove the key");
            return None;
        }
        if is_secret(text) {
            let what = "expected a path, found what looks like a secret";
            self.complain(what, "put it in a file that only this user can read, and name that");
            return None;
        }
        match self.origin {
            Origin::File { .. } => Some(self.context.directory.join(text)),
            _ => Some(PathBuf::from(text)),
        }
    }

    /// A path of a file that can be read.
    pub(super) fn readable_file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        // Not opened unless it is a plain file: opening a pipe would wait for a writer.
        let error = match std::fs::metadata(&path) {
            Ok(data) if data.is_file() => std::fs::File::open(&path).err(),
            Ok(_) => Some(std::io::Error::other("not a file")),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            let what = format!("{} cannot be read: {error}", path.display());
            self.complain(what, "create the file, let this user read it, or correct the path");
            return None;
        }
        Some(path)
    }

    /// A path at which a file can be made, or is.
    pub(super) fn new_file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        let problem = if !directory.is_dir() {
            (format!("{} is not a directory", directory.display()), "create it")
        } else if path.is_dir() {
            (format!("{} is a directory", path.display()), "name a file in it")
        } else {
            return Some(path);
        };
        self.complain(problem.0, format!("{}, or correct the path", problem.1));
        None
    }

    /// A path at which a directory can be made, or is.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        let path = self.path()?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let wrong = if path.exists() { &path } else { parent };
        if !wrong.is_dir() {
            let what = format!("{} is not a directory", wrong.display());
            self.complain(what, "name one, or a place where one can be made");
            return None;
        }
        Some(path)
    }

    /// Reports that something else is written here.
    pub(super) fn unexpected(&self, expected: &str, hint: &str) {
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

    fn within<T: Copy + PartialOrd>(
        &self,
        value: T,
        range: RangeInclusive<T>,
        text: impl Fn(T) -> String,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let what = format!("{} is out of range", text(value));
        let hint = format!("at least {}, at most {}", text(*range.start()), text(*range.end()));
        self.complain(what, hint);
        None
    }
}

/// Text, in the file or from a command line.
fn word(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Word(text) => Some(text),
        _ => None,
    }
}

/// Whether `text` is less likely a path than what should be in the file: a token of Vault or
/// Kubernetes, or a key. Messages show paths.
fn is_secret(text: &str) -> bool {
    let old = |text: &str| text.len() >= 24 && text.bytes().all(|it| it.is_ascii_alphanumeric());
    ["hvs.", "hvb.", "hvr.", "eyJ"].iter().any(|prefix| text.starts_with(prefix))
        || text.strip_prefix("s.").is_some_and(old)
        || text.contains("-----BEGIN")
}
