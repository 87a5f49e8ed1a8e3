//! May a token with these policies make this request?
//!
//! The server's own policy language, read and judged as OpenBao does it (`internal/vault/policy`),
//! as a pure function of texts, identity data and time. Three answers: [`Decision::Allow`],
//! [`Decision::Deny`], and [`Decision::Ask`] for whatever is not beyond doubt: a text that is not
//! understood, a condition that only the server can judge, a point on which servers differ.
//! `docs/policies.md` says what is modelled and how it is held against the real server.

mod acl;
mod capability;
mod constraint;
mod document;
mod lexer;
mod merge;
mod operation;
mod parameters;
mod pattern;
mod syntax;
mod system;
mod template;

pub use acl::Acl;
use document::Block;
pub use parameters::Parameters;
pub use template::{Alias, Caller, Group, Identity, Selectors};

/// Longest text that is read, in bytes. The server's own bound is that of a request's body; nobody
/// writes policies of this size.
const LONGEST: usize = 512 * 1024;

/// A policy, as far as it was understood.
#[derive(Debug)]
pub struct Policy {
    name: Box<str>,
    namespace: Box<str>,
    content: Result<Vec<Block>, Opaque>,
    expires: Option<i64>,
}

/// Why a text was not understood. Says nothing of what the text holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Opaque {
    /// What was found.
    pub reason: &'static str,
    /// About where, counted from 1.
    pub line: u32,
}

/// Reads a policy. Never fails: a text that is not understood makes the policy opaque, and every
/// decision for a token that holds it an [`Ask`](Decision::Ask).
///
/// `namespace` is the path of the namespace that the policy lives in, such as `ns1/`; empty for the
/// root namespace.
pub fn parse(name: &str, namespace: &str, text: &str) -> Policy {
    let name = name.trim().to_lowercase();
    let namespace = canonical(namespace);
    let content = match &namespace {
        _ if text.len() > LONGEST => Err(Opaque { reason: "a text longer than 512 KiB", line: 1 }),
        None => Err(Opaque { reason: "a namespace that is not in its plain form", line: 1 }),
        // Its text is never looked at.
        Some(_) if name == "root" => Ok(Vec::new()),
        Some(_) => document::read(text),
    };
    let namespace = namespace.unwrap_or_default().into();
    Policy { name: name.into(), namespace, content, expires: None }
}

/// Without a slash in front and with one behind; `None` where the server would have to clean it.
fn canonical(namespace: &str) -> Option<String> {
    let plain = namespace.trim_matches('/');
    if plain.is_empty() || plain == "root" {
        return Some(String::new());
    }
    let odd = plain.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    (!odd).then(|| format!("{plain}/"))
}

impl Policy {
    /// The same policy, that grants and denies nothing after this time, in Unix seconds.
    #[must_use]
    pub fn until(mut self, unix: i64) -> Self {
        self.expires = Some(unix);
        self
    }

    /// Trimmed and in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of its namespace, such as `ns1/`, or nothing.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Why it was not understood, if it was not.
    pub fn opaque(&self) -> Option<Opaque> {
        self.content.as_ref().err().copied()
    }

    /// Whether identity data can decide what it says of secrets: a path of its has a place for a
    /// value, and does not lie below one of the server's own mounts.
    pub fn templated(&self) -> bool {
        let own = ["auth/", "cubbyhole/", "identity/", "sys/"];
        let stems = self.blocks().iter().filter_map(|block| block.path.stem());
        let mut stems = stems.map(|stem| stem.strip_prefix('/').unwrap_or(stem));
        stems.any(|stem| !own.iter().any(|mount| stem.starts_with(mount)))
    }

    fn is_root(&self) -> bool {
        *self.name == *"root" && self.content.is_ok()
    }

    fn expires(&self) -> Option<i64> {
        self.expires
    }

    fn blocks(&self) -> &[Block] {
        self.content.as_deref().unwrap_or_default()
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is to be done.
    pub operation: Operation,
    /// The path below `/v1/`, decoded once, behind the path of the request's namespace:
    /// `ns1/secret/data/app`. A list needs no slash at its end.
    pub path: &'a str,
    /// What answers there.
    pub mount: Mount,
    /// What the request brings: looked at only where a rule looks at it.
    pub parameters: &'a Parameters<'a>,
    /// Unix seconds.
    pub now: i64,
}

/// The operations that the server makes of requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// POST or PUT of what is not there.
    Create,
    /// DELETE.
    Delete,
    /// HEAD: nobody's but root's.
    Head,
    /// HELP, or `?help=…` with any verb.
    Help,
    /// LIST, or GET with `?list=true`.
    List,
    /// Anything else: no rule can grant it.
    Other,
    /// PATCH.
    Patch,
    /// GET.
    Read,
    /// SCAN, or GET with `?scan=true`.
    Scan,
    /// POST or PUT of what is there, or of what the backend cannot look for.
    Update,
    /// POST or PUT: creates or updates, and which of the two is not known.
    Write,
}

/// What answers a path. Some backends ask for `sudo` on some of their paths, or for no token at
/// all, and only they know on which.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mount {
    /// KV, of either version: a policy is all that counts.
    Kv,
    /// Not known, or anything else.
    Other,
    /// `sys/`.
    System,
}

/// How the server's version looks for the rule that governs a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// OpenBao from 2.6.0 on.
    Current,
    /// OpenBao before 2.6.0, and Vault.
    Old,
    /// Not known: what they disagree on is not decided.
    Unknown,
}

/// The answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision<'a> {
    /// By this rule; without one where no rule is needed.
    Allow(Option<Rule<'a>>),
    /// Nobody can say here: let the server decide. Why not.
    Ask(&'static str),
    /// By this rule, or because there is none.
    Deny(Option<Rule<'a>>),
}

/// Where a rule is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule<'a> {
    /// The policy's name.
    pub policy: &'a str,
    /// The path of the policy's namespace.
    pub namespace: &'a str,
    /// The line on which its block begins, counted from 1; 0 for `root`, which has no text.
    pub line: u32,
}

#[cfg(test)]
mod tests;
