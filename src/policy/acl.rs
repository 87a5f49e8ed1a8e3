//! May this request be made, by a token with these policies?
//!
//! Mirrors OpenBao `internal/vault/policy/acl.go`, `AllowOperation`: exactly one rule governs a
//! request, and nothing else is asked.

use std::collections::HashMap;
use std::sync::Arc;

use super::capability::Capabilities;
use super::merge::{Merged, Merging};
use super::pattern::{Nearness, Pattern, Prefixes, Segments};
use super::system::{self, Need};
use super::template::Selectors;
use super::{Decision, Dialect, Mount, Operation, Policy, Request, Rule};

/// The rules of all policies of a token, ready to decide.
#[derive(Debug)]
pub struct Acl {
    dialect: Dialect,
    /// Why nothing at all can be decided.
    doubt: Option<&'static str>,
    /// Unix seconds from which a rule may have ended since this was built.
    until: i64,
    /// The policy `root`.
    root: Option<Arc<Policy>>,
    rules: Vec<Merged>,
    exact: HashMap<Box<str>, usize>,
    prefixes: Prefixes,
    /// The nearest first.
    segments: Vec<(Segments, usize)>,
}

impl Acl {
    /// `now`, in Unix seconds, decides what has expired.
    pub fn new(
        policies: &[Arc<Policy>],
        selectors: Selectors<'_>,
        dialect: Dialect,
        now: i64,
    ) -> Self {
        let all = Merging::of(policies, selectors, now);
        let (mut exact, mut prefixes, mut segments) = (HashMap::new(), Vec::new(), Vec::new());
        for (pattern, rule) in all.patterns {
            match pattern {
                Pattern::Exact(path) => drop(exact.insert(path, rule)),
                Pattern::Prefix(stem) => prefixes.push((stem, rule)),
                Pattern::Segments(path) => segments.push((Segments::new(&path), rule)),
            }
        }
        segments.sort_by(|(one, _), (other, _)| other.nearness().cmp(&one.nearness()));
        Self {
            dialect,
            doubt: all.doubt,
            until: all.until,
            root: all.root,
            rules: all.rules,
            exact,
            prefixes: Prefixes::new(prefixes),
            segments,
        }
    }

    /// Why every decision is an `Ask`, if it is.
    pub fn doubt(&self) -> Option<&'static str> {
        self.doubt
    }

    /// Whether no rule can have ended since this was built; `now` in Unix seconds.
    pub fn current(&self, now: i64) -> bool {
        now < self.until
    }

    /// Whether the token may make this request. Constant in time but for the number of rules with
    /// a `+`; no allocation for a read without parameters.
    pub fn decide(&self, request: &Request<'_>) -> Decision<'_> {
        if let Some(doubt) = self.doubt_of(request) {
            return Decision::Ask(doubt);
        }
        if let Some(root) = &self.root {
            return Self::decide_root(root, request);
        }
        if request.operation == Operation::Help {
            return Decision::Allow(None);
        }
        let (decision, sudo) = self.judge(request);
        let need = match request.mount {
            Mount::Kv => Need::Capability,
            Mount::Other => Need::Unknown,
            Mount::System => system::need(request.path.trim_start_matches('/')),
        };
        match (need, decision) {
            (_, Decision::Ask(reason)) => Decision::Ask(reason),
            (Need::Capability, decision) => decision,
            // With `sudo` it is granted whether it is needed or not.
            (_, Decision::Allow(rule)) if sudo => Decision::Allow(rule),
            (Need::Sudo, Decision::Allow(rule) | Decision::Deny(rule)) => Decision::Deny(rule),
            (Need::Unknown, _) => {
                Decision::Ask("the path may need `sudo`, or no policy, depending on its backend")
            }
        }
    }

    /// What local rules that can only take away say: nothing of a request that none of them
    /// governs. An `Ask` is a rule whose condition cannot be judged.
    pub fn guard(&self, request: &Request<'_>) -> Option<Decision<'_>> {
        if let Some(doubt) = self.doubt_of(request) {
            return Some(Decision::Ask(doubt));
        }
        if request.operation == Operation::Help {
            return None;
        }
        match self.judge(request).0 {
            Decision::Deny(None) => None,
            decision => Some(decision),
        }
    }

    /// What `sys/capabilities` answers for a path, sorted, or why nobody can say here.
    ///
    /// # Errors
    /// The reason for which [`decide`](Self::decide) would ask.
    pub fn capabilities(&self, path: &str, now: i64) -> Result<Vec<&'static str>, &'static str> {
        if let Some(doubt) = self.doubt_at(now) {
            return Err(doubt);
        }
        let path = path.trim_start_matches('/');
        if let Some(root) = &self.root {
            let held = path.starts_with(root.namespace());
            let held = if held { Capabilities::ROOT } else { Capabilities::default() };
            return Ok(held.names());
        }
        let names = |order| {
            let found = self.find(path, order).map(|rule| rule.capabilities);
            found.unwrap_or_default().names()
        };
        match self.dialect {
            Dialect::Current => Ok(names(Order::FullFirst)),
            Dialect::Old => Ok(names(Order::TrimmedFirst)),
            Dialect::Unknown if names(Order::FullFirst) == names(Order::TrimmedFirst) => {
                Ok(names(Order::FullFirst))
            }
            Dialect::Unknown => Err(ORDERS),
        }
    }

    fn doubt_at(&self, now: i64) -> Option<&'static str> {
        let ended = || (!self.current(now)).then_some("a rule has just expired, or is about to");
        self.doubt.or_else(ended)
    }

    fn doubt_of(&self, request: &Request<'_>) -> Option<&'static str> {
        let cleaned = || dotted(request.path).then_some("the server would clean the path");
        self.doubt_at(request.now).or_else(cleaned)
    }

    /// Root may do everything in its namespace and below.
    fn decide_root<'a>(root: &'a Arc<Policy>, request: &Request<'_>) -> Decision<'a> {
        if matches!(request.operation, Operation::Head | Operation::Other) {
            return Decision::Ask("root may; whether the backend can is not known");
        }
        if request.path.trim_start_matches('/').starts_with(root.namespace()) {
            let rule = Rule { policy: root.name(), namespace: root.namespace(), line: 0 };
            return Decision::Allow(Some(rule));
        }
        Decision::Deny(None)
    }

    /// By the policies alone, whatever the backend: and whether `sudo` comes with it.
    fn judge(&self, request: &Request<'_>) -> (Decision<'_>, bool) {
        let path = request.path.trim_start_matches('/');
        match request.operation {
            Operation::Create => self.check(path, Capabilities::CREATE, request),
            Operation::Delete => self.check(path, Capabilities::DELETE, request),
            // The one is `Allow` for everybody, the others are operations that no rule can grant.
            Operation::Head | Operation::Help | Operation::Other => {
                (Decision::Deny(self.find(path, Order::Plain).map(Merged::denier)), false)
            }
            Operation::List => self.check_list(path, Capabilities::LIST, request),
            Operation::Patch => self.check(path, Capabilities::PATCH, request),
            Operation::Read => self.check(path, Capabilities::READ, request),
            Operation::Scan => self.check_list(path, Capabilities::SCAN, request),
            Operation::Update => self.check(path, Capabilities::UPDATE, request),
            Operation::Write => agreed(
                self.check(path, Capabilities::CREATE, request),
                self.check(path, Capabilities::UPDATE, request),
                "the rule tells creating from updating, and which it is is not known",
            ),
        }
    }

    fn check(
        &self,
        path: &str,
        needed: Capabilities,
        request: &Request<'_>,
    ) -> (Decision<'_>, bool) {
        let Some(rule) = self.find(path, Order::Plain) else {
            return (Decision::Deny(None), false);
        };
        rule.judge(needed, request)
    }

    fn check_list(
        &self,
        path: &str,
        needed: Capabilities,
        request: &Request<'_>,
    ) -> (Decision<'_>, bool) {
        let slashed;
        let path = if path.ends_with('/') {
            path
        } else {
            slashed = format!("{path}/");
            slashed.trim_start_matches('/')
        };
        let by = |order| match self.find(path, order) {
            Some(rule) => rule.judge(needed, request),
            None => (Decision::Deny(None), false),
        };
        match self.dialect {
            Dialect::Current => by(Order::FullFirst),
            _ if needed == Capabilities::SCAN => (
                Decision::Ask("old servers look for a scan's rule otherwise, or know no scan"),
                false,
            ),
            Dialect::Old => by(Order::TrimmedFirst),
            Dialect::Unknown => agreed(by(Order::FullFirst), by(Order::TrimmedFirst), ORDERS),
        }
    }

    /// The one rule that governs a path.
    fn find(&self, path: &str, order: Order) -> Option<&Merged> {
        let exact = |path: &str| self.exact.get(path).copied();
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let index = match order {
            Order::Plain => exact(path).or_else(|| self.nearest(path)),
            Order::FullFirst => exact(path)
                .or_else(|| exact(trimmed))
                .or_else(|| self.nearest(path))
                .or_else(|| self.nearest(trimmed)),
            Order::TrimmedFirst => exact(path)
                .or_else(|| exact(trimmed))
                .or_else(|| self.nearest(trimmed))
                .or_else(|| self.nearest(path)),
        };
        index.map(|index| &self.rules[index])
    }

    /// Among the rules that are not exact.
    fn nearest(&self, path: &str) -> Option<usize> {
        let prefix = self.prefixes.longest(path);
        if self.segments.is_empty() {
            return prefix.map(|(_, rule)| rule);
        }
        let floor = prefix.map(|(stem, _)| Nearness::of_prefix(stem));
        let count = path.bytes().filter(|byte| *byte == b'/').count() + 1;
        for (segments, rule) in &self.segments {
            if floor.as_ref().is_some_and(|floor| segments.nearness() < *floor) {
                break;
            }
            if segments.covers(path, count) {
                return Some(*rule);
            }
        }
        prefix.map(|(_, rule)| rule)
    }
}

const ORDERS: &str = "server versions look for a list's rule in different orders";

/// Which paths to look for, in which order: a list's has a slash at its end.
#[derive(Clone, Copy)]
enum Order {
    /// Only the path itself.
    Plain,
    /// OpenBao from 2.6.0 on (GHSA-xp3c-3jw3-4vcr).
    FullFirst,
    /// OpenBao before, and Vault.
    TrimmedFirst,
}

/// Two ways to look at a request: a decision if they come to the same.
fn agreed<'a>(
    (one, one_sudo): (Decision<'a>, bool),
    (other, other_sudo): (Decision<'a>, bool),
    reason: &'static str,
) -> (Decision<'a>, bool) {
    let decision = match (one, other) {
        (Decision::Allow(rule), Decision::Allow(_)) => Decision::Allow(rule),
        // Of two rules that deny, the one that exists.
        (Decision::Deny(one), Decision::Deny(other)) => Decision::Deny(one.or(other)),
        (Decision::Ask(reason), _) | (_, Decision::Ask(reason)) => Decision::Ask(reason),
        _ => Decision::Ask(reason),
    };
    (decision, one_sudo && other_sudo)
}

/// A `.` or `..` segment: the server cleans it away, or refuses it.
fn dotted(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}
