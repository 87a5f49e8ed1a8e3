//! Which conditions does a rule put on a request that its capabilities would allow?
//!
//! Mirrors the second half of OpenBao `internal/vault/policy/acl.go`, `AllowOperation`. Conditions
//! that change the answer, or that only the server can judge, are kept as a mark: they make a
//! decision an `Ask`.

use std::collections::BTreeMap;

use super::parameters::{Given, Parameters};

/// The values a policy lists for each parameter, by name in lower case. No values: any.
pub(super) type Lists = BTreeMap<Box<str>, Vec<Expected>>;

/// One listed value.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    Bool(bool),
    /// Never equal to what a request can hold: the server keeps a request's numbers as text of a
    /// type of their own.
    Number,
    Text(Box<str>),
}

/// What a rule demands besides its capabilities.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one mark of its own")]
pub(super) struct Constraints {
    pub(super) allowed: Lists,
    pub(super) denied: Lists,
    /// In lower case.
    pub(super) required: Vec<Box<str>>,
    /// A least or greatest time to wrap the answer for.
    pub(super) wrapping: bool,
    pub(super) mfa: bool,
    pub(super) control_group: bool,
    /// A limit on the length of lists.
    pub(super) pages: bool,
    /// A filter of the keys in lists.
    pub(super) filter: bool,
}

/// What the constraints say of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Ask(&'static str),
    Met,
    Unmet,
}

impl Constraints {
    /// Adds those of another block with the same path.
    pub(super) fn merge(&mut self, other: &Self) {
        merge(&mut self.allowed, &other.allowed);
        merge(&mut self.denied, &other.denied);
        self.required.extend(other.required.iter().cloned());
        self.wrapping |= other.wrapping;
        self.mfa |= other.mfa;
        // The server takes it from the first block alone, in an order that is not always known.
        self.control_group |= other.control_group;
        self.pages |= other.pages;
        self.filter |= other.filter;
    }

    /// What holds for any operation.
    pub(super) fn general(&self) -> Verdict {
        if self.wrapping {
            return Verdict::Ask("the rule limits how long an answer may stay wrapped");
        }
        if self.control_group {
            return Verdict::Ask("the rule needs the approval of a control group");
        }
        if self.mfa {
            return Verdict::Ask("the rule asks for a second factor");
        }
        Verdict::Met
    }

    /// What holds for lists.
    pub(super) fn lists(&self) -> Verdict {
        if self.pages || self.filter {
            return Verdict::Ask("the rule shortens lists");
        }
        Verdict::Met
    }

    /// What holds for operations that the server looks at the parameters of.
    pub(super) fn parameters(&self, given: &Parameters<'_>) -> Verdict {
        if self.allowed.is_empty() && self.denied.is_empty() && self.required.is_empty() {
            return Verdict::Met;
        }
        let Some(given) = given.known() else {
            return Verdict::Ask("the rule looks at parameters, and those are not known");
        };
        if given.iter().any(|(name, _)| !name.is_ascii()) {
            return Verdict::Ask("the rule looks at parameters, and one has an unusual name");
        }
        if self.fulfilled(given) { Verdict::Met } else { Verdict::Unmet }
    }

    fn fulfilled(&self, given: &[(impl AsRef<str>, Given<'_>)]) -> bool {
        let present = |name: &str| given.iter().any(|(given, _)| given.as_ref() == name);
        if !self.required.iter().all(|name| present(name)) {
            return false;
        }
        if given.is_empty() {
            return true;
        }
        if self.denied.contains_key("*") {
            return false;
        }
        let listed = |lists: &Lists, name: &str, value: &Given<'_>| {
            let values = lists.get(name.to_ascii_lowercase().as_str());
            values.map(|values| values.is_empty() || values.iter().any(|one| one.fits(value)))
        };
        if given
            .iter()
            .any(|(name, value)| listed(&self.denied, name.as_ref(), value) == Some(true))
        {
            return false;
        }
        let any = self.allowed.contains_key("*");
        if self.allowed.is_empty() || (any && self.allowed.len() == 1) {
            return true;
        }
        given.iter().all(|(name, value)| listed(&self.allowed, name.as_ref(), value).unwrap_or(any))
    }
}

impl Expected {
    /// The `strutil.GlobbedStringsMatch` of the server for strings, equality of type and value for
    /// anything else.
    fn fits(&self, given: &Given<'_>) -> bool {
        match (self, given) {
            (Self::Bool(expected), Given::Bool(given)) => expected == given,
            (Self::Text(expected), Given::Text(given)) => globbed(expected, given),
            _ => false,
        }
    }
}

/// A star counts at either end, and not where it is all there is.
fn globbed(expected: &str, given: &str) -> bool {
    if expected.len() < 2 {
        return expected == given;
    }
    match (expected.strip_prefix('*'), expected.strip_suffix('*')) {
        (Some(rest), Some(_)) => given.contains(&rest[..rest.len() - 1]),
        (Some(end), None) => given.ends_with(end),
        (None, Some(start)) => given.starts_with(start),
        (None, None) => expected == given,
    }
}

/// An empty list, any value, wins; otherwise the values of both.
fn merge(into: &mut Lists, from: &Lists) {
    for (name, values) in from {
        match into.get_mut(name) {
            None => {
                into.insert(name.clone(), values.clone());
            }
            Some(held) if held.is_empty() || values.is_empty() => held.clear(),
            Some(held) => held.extend(values.iter().cloned()),
        }
    }
}
