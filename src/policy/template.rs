//! Which path does a templated rule stand for, for this caller?
//!
//! Mirrors OpenBao `sdk/helper/identitytpl/templating.go`, `PopulateString`. A rule whose template
//! cannot be filled is left out, a denial too. A value with a `*`, a `+` or a `/` would let its
//! owner rewrite the policy (CVE-2026-5006), and each server version does something else about it:
//! then nothing is decided here.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A path, perhaps with places for values in it.
#[derive(Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Literal(Box<str>),
    /// What stands between the braces, trimmed.
    Selector(Box<str>),
}

/// Where the values of templates come from.
#[derive(Clone, Copy, Debug)]
pub enum Selectors<'a> {
    /// The identity data of a token's entity, for the server's own policies:
    /// `identity.entity.…`, `identity.groups.…`.
    Identity(&'a Identity),
    /// A token without an entity: every template is left out.
    NoIdentity,
    /// The verified caller, for local files: `namespace`, `service_account`, `pod`.
    Caller(&'a Caller<'a>),
}

/// An entity of the server and its groups, as `identity/entity/id/:id` and `identity/group/id/:id`
/// give them.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Identity {
    /// The entity's id.
    pub id: String,
    /// The entity's name.
    pub name: String,
    /// The entity's metadata.
    pub metadata: BTreeMap<String, String>,
    /// In the server's order: of two with the same mount the first counts.
    pub aliases: Vec<Alias>,
    /// Every group, direct and inherited.
    pub groups: Vec<Group>,
}

/// How an entity is known to one auth mount.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Alias {
    /// The accessor of the auth mount.
    pub mount_accessor: String,
    /// The alias's id.
    pub id: String,
    /// The alias's name.
    pub name: String,
    /// What the auth method says of it.
    pub metadata: BTreeMap<String, String>,
    /// What an operator says of it.
    pub custom_metadata: BTreeMap<String, String>,
}

/// A group that an entity belongs to.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Group {
    /// The group's id.
    pub id: String,
    /// The group's name, one of its kind in its namespace.
    pub name: String,
    /// The path of the namespace it lives in, such as `ns1/`; empty for the root namespace.
    pub namespace: String,
    /// The group's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// A service account that asks, and its pod where the token names one.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The Kubernetes namespace.
    pub namespace: &'a str,
    /// The service account's name.
    pub service_account: &'a str,
    /// The pod's name.
    pub pod: Option<&'a str>,
}

/// What becomes of a template.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Rendered<'a> {
    /// Nobody can say here: the whole of the policies is in doubt.
    Doubt(&'static str),
    /// The rule does not exist for this caller.
    Dropped,
    Path(Cow<'a, str>),
}

impl Template {
    /// `None` where braces do not match.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut parts = text.split("{{");
        let first = parts.next().unwrap_or_default();
        if first.contains("}}") {
            return None;
        }
        pieces.push(Piece::Literal(first.into()));
        for part in parts {
            let (selector, literal) = part.split_once("}}")?;
            if literal.contains("}}") {
                return None;
            }
            pieces.push(Piece::Selector(selector.trim().into()));
            pieces.push(Piece::Literal(literal.into()));
        }
        Some(Self(pieces))
    }

    /// What stands before the first place for a value; `None`: there is none.
    pub(super) fn stem(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Literal(stem), _, ..] => Some(stem),
            _ => None,
        }
    }

    /// `home`: the path of the policy's namespace.
    pub(super) fn render(&self, from: Selectors<'_>, home: &str) -> Rendered<'_> {
        if let [Piece::Literal(only)] = self.0.as_slice() {
            return Rendered::Path(Cow::Borrowed(only));
        }
        let mut path = String::new();
        let mut dropped = false;
        for piece in &self.0 {
            let selector = match piece {
                Piece::Literal(literal) => {
                    path.push_str(literal);
                    continue;
                }
                Piece::Selector(selector) => selector,
            };
            match from.value(selector, home) {
                Ok(Some(value)) if value.contains(['*', '+', '/']) => {
                    return Rendered::Doubt(
                        "a name or a metadata value would rewrite a policy's path",
                    );
                }
                Ok(Some(value)) => path.push_str(value),
                Ok(None) => dropped = true,
                Err(doubt) => return Rendered::Doubt(doubt),
            }
        }
        if dropped { Rendered::Dropped } else { Rendered::Path(Cow::Owned(path)) }
    }
}

impl<'a> Selectors<'a> {
    /// `None`: there is no such value.
    fn value(self, selector: &str, home: &str) -> Result<Option<&'a str>, &'static str> {
        match self {
            Self::Caller(caller) => caller.value(selector),
            _ if selector.starts_with("time.") => Err("a policy's path depends on the time"),
            Self::Identity(identity) => Ok(identity.value(selector, home)),
            Self::NoIdentity => Ok(None),
        }
    }
}

impl Caller<'_> {
    /// An empty value is none: `{{pod}}*` must not become `*`.
    fn value(&self, selector: &str) -> Result<Option<&str>, &'static str> {
        let value = match selector {
            "namespace" => Some(self.namespace),
            "service_account" => Some(self.service_account),
            "pod" => self.pod,
            _ => return Err("a local rule has a template that is not known"),
        };
        Ok(value.filter(|value| !value.is_empty()))
    }
}

impl Identity {
    fn value(&self, selector: &str, home: &str) -> Option<&str> {
        if let Some(rest) = selector.strip_prefix("identity.entity.") {
            return match rest.strip_prefix("aliases.") {
                Some(alias) => self.alias(alias),
                None => common(rest, &self.id, &self.name, &self.metadata),
            };
        }
        let rest = selector.strip_prefix("identity.groups.")?;
        let (by, rest) = rest.split_once('.')?;
        let (which, field) = rest.split_once('.')?;
        let group = self.groups.iter().find(|group| match by {
            "ids" => group.id == which,
            "names" => group.namespace == home && group.name == which,
            _ => false,
        })?;
        common(field, &group.id, &group.name, &group.metadata)
    }

    fn alias(&self, selector: &str) -> Option<&str> {
        let (accessor, field) = selector.split_once('.')?;
        let alias = self.aliases.iter().find(|alias| alias.mount_accessor == accessor)?;
        match field.strip_prefix("custom_metadata.") {
            Some(key) => alias.custom_metadata.get(key).map(String::as_str),
            None => common(field, &alias.id, &alias.name, &alias.metadata),
        }
    }
}

/// An empty id or name is none; a metadata value may be empty.
fn common<'a>(
    field: &str,
    id: &'a str,
    name: &'a str,
    metadata: &'a BTreeMap<String, String>,
) -> Option<&'a str> {
    match field {
        "id" => Some(id).filter(|id| !id.is_empty()),
        "name" => Some(name).filter(|name| !name.is_empty()),
        _ => metadata.get(field.strip_prefix("metadata.")?).map(String::as_str),
    }
}

impl std::fmt::Debug for Identity {
    /// Metadata may say more of a person than a log should hold.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}
