//! Which requests does a rule's path cover, and which of two rules is the nearer one?
//!
//! Mirrors OpenBao `internal/vault/policy/policy.go`, `parsePath`, for the three kinds of paths,
//! and `internal/vault/policy/acl.go`, `CheckAllowedFromNonExactPaths`, for the order among them.

use std::cmp::Reverse;

/// A path as rules are kept: two rules with the same pattern are merged.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Pattern {
    /// This path alone.
    Exact(Box<str>),
    /// Whatever begins so.
    Prefix(Box<str>),
    /// With `+` for a segment, and perhaps a star at the end, both still in it.
    Segments(Box<str>),
}

impl Pattern {
    /// `None` for what the server refuses.
    pub(super) fn new(namespace: &str, path: &str) -> Option<Self> {
        let full = format!("{namespace}{}", path.strip_prefix('/').unwrap_or(path));
        if full.contains("+*") {
            return None;
        }
        if full == "+" || full.contains("/+") || full.starts_with("+/") {
            return Some(Self::Segments(full.into()));
        }
        Some(match full.strip_suffix('*') {
            Some(stem) => Self::Prefix(stem.into()),
            None => Self::Exact(full.into()),
        })
    }
}

/// Which of several rules that cover a request governs it: the greatest.
///
/// The order of the fields is the server's: where the first wildcard stands, whether the path ends
/// openly, how few segments are wild, its length, its text.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Nearness<'p> {
    first: usize,
    closed: bool,
    wild: Reverse<usize>,
    length: usize,
    text: &'p str,
}

impl<'p> Nearness<'p> {
    /// Of a prefix rule.
    pub(super) fn of_prefix(stem: &'p str) -> Self {
        let length = stem.len();
        Self { first: length, closed: false, wild: Reverse(0), length, text: stem }
    }
}

/// A pattern with `+` in it, taken apart.
#[derive(Debug)]
pub(super) struct Segments {
    /// Without the star.
    text: Box<str>,
    /// Of the first `+`, even where it stands for itself.
    first: usize,
    /// It ended in a star.
    open: bool,
    /// How many segments are wild.
    wild: usize,
    parts: Box<[Part]>,
}

#[derive(Debug, Eq, PartialEq)]
enum Part {
    Any,
    Literal(Box<str>),
}

impl Segments {
    pub(super) fn new(pattern: &str) -> Self {
        let text = pattern.strip_suffix('*').unwrap_or(pattern);
        let part = |part: &str| if part == "+" { Part::Any } else { Part::Literal(part.into()) };
        let parts: Box<[_]> = text.split('/').map(part).collect();
        Self {
            text: text.into(),
            first: pattern.find('+').unwrap_or(pattern.len()),
            open: text.len() < pattern.len(),
            wild: parts.iter().filter(|part| **part == Part::Any).count(),
            parts,
        }
    }

    pub(super) fn nearness(&self) -> Nearness<'_> {
        Nearness {
            first: self.first,
            closed: !self.open,
            wild: Reverse(self.wild),
            length: self.text.len(),
            text: &self.text,
        }
    }

    /// `count`: how many segments the path has.
    pub(super) fn covers(&self, path: &str, count: usize) -> bool {
        if count < self.parts.len() || (!self.open && count != self.parts.len()) {
            return false;
        }
        let last = self.parts.len() - 1;
        self.parts.iter().zip(path.split('/')).enumerate().all(
            |(index, (part, given))| match part {
                Part::Any => true,
                Part::Literal(literal) if self.open && index == last => {
                    given.starts_with(&**literal)
                }
                Part::Literal(literal) => given == &**literal,
            },
        )
    }
}

/// The stems of prefix rules, each with what it leads to.
#[derive(Debug, Default)]
pub(super) struct Prefixes(Vec<Stem>);

#[derive(Debug)]
struct Stem {
    text: Box<str>,
    rule: usize,
    /// The longest other stem that this one begins with.
    parent: Option<usize>,
}

impl Prefixes {
    pub(super) fn new(mut stems: Vec<(Box<str>, usize)>) -> Self {
        stems.sort();
        let mut sorted: Vec<Stem> = Vec::with_capacity(stems.len());
        for (text, rule) in stems {
            let mut parent = sorted.len().checked_sub(1);
            while let Some(index) = parent
                && !text.starts_with(&*sorted[index].text)
            {
                parent = sorted[index].parent;
            }
            sorted.push(Stem { text, rule, parent });
        }
        Self(sorted)
    }

    /// The longest stem that the path begins with, and its rule.
    ///
    /// Between a prefix of the path and the path itself lie only texts that begin with that prefix.
    /// So the last stem not after the path is the one, or begins with it.
    pub(super) fn longest(&self, path: &str) -> Option<(&str, usize)> {
        let mut next = self.0.partition_point(|stem| &*stem.text <= path).checked_sub(1);
        while let Some(index) = next {
            let stem = &self.0[index];
            if path.starts_with(&*stem.text) {
                return Some((&stem.text, stem.rule));
            }
            next = stem.parent;
        }
        None
    }
}
