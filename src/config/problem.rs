//! What is wrong with a configuration: where, what was expected, and what to do about it.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the file; both count from 1.
    File {
        /// Line.
        line: u64,
        /// Column, in characters.
        column: u64,
    },
    /// In an environment variable of this name.
    Environment(String),
    /// In a `--set` option.
    Flag,
    /// Nowhere: a default.
    Default,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was written.
    pub origin: Origin,
    /// The dotted key, for example `listeners.0.tls.cert_file`; empty: the file as a whole.
    pub key: String,
    /// What was expected, and what was found where that cannot be a secret.
    pub what: String,
    /// The way out.
    pub hint: String,
}

/// Everything that is wrong, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// At least one.
    pub list: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    /// One problem a line: `FILE:LINE:COLUMN: KEY: WHAT; HINT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match (&problem.origin, &self.file) {
                (Origin::File { line, column }, Some(file)) => {
                    write!(f, "{}:{line}:{column}: ", file.display())?;
                }
                (Origin::File { line, column }, None) => write!(f, "{line}:{column}: ")?,
                (Origin::Environment(name), _) => write!(f, "{name}: ")?,
                (Origin::Flag, _) => write!(f, "--set ")?,
                (Origin::Default, Some(file)) => write!(f, "{}: ", file.display())?,
                (Origin::Default, None) => {}
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            write!(f, "{}; {}", problem.what, problem.hint)?;
        }
        Ok(())
    }
}

/// Collects problems while the configuration is read, so that the first does not hide the others.
#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<Problem>>);

impl Report {
    pub(super) fn add(
        &self,
        origin: &Origin,
        key: &str,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (what, hint) = (what.into(), hint.into());
        let problem = Problem { origin: origin.clone(), key: key.to_owned(), what, hint };
        self.0.borrow_mut().push(problem);
    }

    /// `Err` with everything that was added, in the order of the file.
    pub(super) fn into_result<T>(self, value: T, file: Option<PathBuf>) -> Result<T, Problems> {
        let mut list = self.0.into_inner();
        if list.is_empty() {
            return Ok(value);
        }
        list.sort();
        list.dedup();
        Err(Problems { file, list })
    }
}

/// `text` for a message, escaped. Not shown is what may be a token in the wrong place, which is
/// longer than any value that is expected, or an address with a password.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 20;
    if text.chars().count() <= LONGEST && !text.contains('@') {
        return format!("{text:?}");
    }
    "other text".to_owned()
}

/// The one of `known` that `text` most likely meant, if any is close.
pub fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|candidate| (distance(text, candidate), *candidate));
    let (distance, candidate) = distances.min()?;
    (distance <= 1 + candidate.len() / 4).then_some(candidate)
}

/// Levenshtein's.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    // A key that is far longer than any known one is not a misspelling; the rest need not be read.
    for (i, a) in left.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_close_or_none() {
        let known = ["address", "addresses", "retries", "timeout", "ttl"];

        assert_eq!(nearest("timout", &known), Some("timeout"));
        assert_eq!(nearest("adresses", &known), Some("addresses"));
        assert_eq!(nearest("tll", &known), Some("ttl"));
        assert_eq!(nearest("token", &known), None);
        assert_eq!(nearest(&"timeout".repeat(1000), &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn what_could_be_a_token_is_not_shown() {
        assert_eq!(shown("60"), r#""60""#);
        assert_eq!(shown("a\u{1b}[2J"), r#""a\u{1b}[2J""#);
        assert_eq!(shown("hvs.CAESIJ0123456789abcdef"), "other text");
        assert_eq!(shown("http://u:secret@h"), "other text");
    }
}
