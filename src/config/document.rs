//! A YAML file of ours, read key by key: every problem at once, each with its place and a way out.
//!
//! The configuration is one. Others are read with [`read`], and fail in the same words.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::problem::Report;
use super::reader::Context;
use super::tree::Node;
use super::{Origin, Problem, Problems};

pub use super::problem::nearest;
pub use super::reader::{Field, Section};
pub use super::units::{duration_text, size_text};

/// No file of ours is this large; what is larger is something else.
const LARGEST: u64 = 1 << 20;

/// What `keys` makes of the file's keys. `first` is one that a document should have.
///
/// # Errors
///
/// All that is wrong at once; only a file that cannot be read as YAML is reported alone.
pub fn read<T>(
    file: &Path,
    first: &str,
    keys: impl FnOnce(&Section<'_>) -> T,
) -> Result<T, Problems> {
    let root = parse(file)?;
    let report = Report::default();
    let directory = file.parent().unwrap_or(Path::new(""));
    let context = Context { report: &report, directory, later: &[], first };
    let value = Field::root(&root, &context).section(keys);
    report.into_result(value, Some(file.to_owned()))
}

/// The file as a tree.
pub(super) fn parse(file: &Path) -> Result<Node, Problems> {
    let problem = |origin, what, hint: &str| {
        let problem = Problem { origin, key: String::new(), what, hint: hint.to_owned() };
        Problems { file: Some(file.to_owned()), list: vec![problem] }
    };
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    if let Err(error) = read {
        let hint = "name a YAML file that this user can read";
        return Err(problem(Origin::Default, format!("cannot be read: {error}"), hint));
    }
    if text.len() as u64 > LARGEST {
        let hint = "name the right file, which is far smaller";
        return Err(problem(Origin::Default, "is larger than 1 MiB".to_owned(), hint));
    }
    Node::parse(&text).map_err(|error| {
        let hint = "check the indentation, and put text with special characters in quotes";
        problem(error.origin, format!("not YAML: {}", error.reason), hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T>(text: &str, keys: impl FnOnce(&Section<'_>) -> T) -> Result<T, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f.yaml");
        std::fs::write(&file, text).unwrap();
        let here = format!("{}:", file.display());
        read(&file, "first", keys).map_err(|problems| problems.to_string().replace(&here, ""))
    }

    #[test]
    fn keys_may_be_free_and_values_plain() {
        let text = "list: [{name: a}, {}]\none: 5\nfree: {a.b: 1, c: yes please, d: true}\n";
        let read = said(text, |root| {
            let names: Vec<_> =
                root.field("list").list().iter().map(|field| field.peek("name")).collect();
            root.field("list").list()[0].section(|entry| entry.field("name").text());
            let one: Vec<_> = root.field("one").plain_list();
            let one = one.iter().map(|field| field.decimal(0.0..=9.0, "")).collect();
            let entries = root.field("free").entries();
            let free = entries.iter().map(|(key, field)| Some(format!("{key}={}", field.plain()?)));
            (format!("{names:?}"), one, free.collect())
        });
        let (names, one, free): (String, Vec<Option<f64>>, Vec<Option<String>>) = read.unwrap();
        assert_eq!(names, r#"[Some("a"), None]"#);
        assert_eq!(one, [Some(5.0)]);
        let free: Vec<String> = free.into_iter().flatten().collect();
        assert_eq!(free, ["a.b=1", "c=yes please", "d=true"]);
    }

    #[test]
    fn what_is_promised_for_the_configuration_is_unknown_elsewhere() {
        let problem = said("feed: []", |root| root.field("fee").given()).unwrap_err();
        assert_eq!(problem, "1:1: feed: unknown key; did you mean `fee`?");
        let problem = said("5", |_| ()).unwrap_err();
        let hint = "begin with a section, for example `first:`";
        assert_eq!(problem, format!("1:1: expected keys with values, found 5; {hint}"));
    }
}
