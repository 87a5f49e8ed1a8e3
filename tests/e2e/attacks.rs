//! Is vaultlet ever laxer than the server it stands before? Twelve classes of attacks with 24 named
//! inputs each, kept as data beside this module; an input is one or more spellings of one idea.
//!
//! What is sent goes byte for byte to vaultlet and straight to a real server. vaultlet's answer must
//! be the server's, or a stricter one; never a secret that the server did not give, and none in any
//! log, audit record or metric; and a clean read afterwards gets what it should (`scene`).

mod answers;
mod policies;
mod requests;
mod scene;
mod store;
mod tokens;

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One file each: the twelve classes.
const CLASSES: [&str; 12] = [
    "k01_paths",
    "k02_namespaces",
    "k03_credentials",
    "k04_framing",
    "k05_tokens",
    "k06_policies",
    "k07_queries",
    "k08_methods",
    "k09_logs",
    "k10_sizes",
    "k11_answers",
    "k12_store",
];

/// Inputs of a class.
const EACH: usize = 24;

#[test]
fn each_class_has_24_inputs_and_each_input_its_own_name() {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let mut names = HashSet::new();
    for class in CLASSES {
        let inputs: Vec<Named> = read(class);
        assert_eq!(inputs.len(), EACH, "{class}");
        for Named { name } in inputs {
            assert!(names.insert(name.clone()), "{class}: {name:?} is there already");
        }
    }
    assert_eq!(names.len(), 288);
    let files = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let data = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).count();
    assert_eq!(data, CLASSES.len(), "a file that no test reads");
}

/// The inputs of a class.
fn read<T: DeserializeOwned>(class: &str) -> Vec<T> {
    let file = directory().join(format!("{class}.yaml"));
    let text = std::fs::read_to_string(&file).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{class}: {error}"))
}

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/attacks"))
}

/// `{1000*x}` in `text`, a thousand times `x`. Of a text that ends in `}` that is the last letter.
fn repeated(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((count, what, after)) = repeat(rest) {
            out.push_str(&what.repeat(count));
            rest = after;
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out + rest
}

/// How often, what, and what follows.
fn repeat(text: &str) -> Option<(usize, &str, &str)> {
    let (count, rest) = text.strip_prefix('{')?.split_once('*')?;
    let count = count.parse().ok()?;
    let first = rest.chars().next()?.len_utf8();
    let end = first + rest[first..].find('}')?;
    Some((count, &rest[..end], &rest[end + 1..]))
}

/// What of each class the server took and what it refused: a harness that sends nothing, or one
/// that the server does not understand, finds no fault either.
#[derive(Debug, Default)]
struct Tally {
    spellings: usize,
    accepted: usize,
    refused: usize,
    stricter: usize,
}

impl Tally {
    /// Fails the test unless there was something of both.
    fn judge(&self, class: &str, faults: &[String]) {
        println!("{class}: {self:?}");
        assert!(faults.is_empty(), "{class}: {} faults\n{}", faults.len(), faults.join("\n\n"));
        assert!(self.spellings >= EACH, "{class}: {self:?}");
        assert!(self.accepted > 0 && self.refused > 0, "{class}: {self:?}");
    }
}

fn cut(text: &str) -> String {
    text.chars().take(600).collect()
}
