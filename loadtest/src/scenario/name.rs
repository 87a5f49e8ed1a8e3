//! What is a thing called, and which one is meant?

use vaultlet::config::document::{Field, Section, nearest};

/// Keys that must be there.
pub(super) trait Needed<'a> {
    /// Reads the key `name`, and reports it where it is missing; `hint` says what to add.
    fn needed(&self, name: &'static str, hint: &str) -> Field<'a>;
}

impl<'a> Needed<'a> for Section<'a> {
    fn needed(&self, name: &'static str, hint: &str) -> Field<'a> {
        let field = self.field(name);
        if !field.given() {
            self.complain(format!("`{name}` is missing"), hint);
        }
        field
    }
}

/// A name that fits into paths, policies and conditions.
pub(super) fn name(field: &Field<'_>) -> String {
    const LONGEST: usize = 40;
    let Some(text) = field.text() else { return String::new() };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = text.starts_with('-') || text.ends_with('-');
    if text.is_empty() || text.len() > LONGEST || ends || !text.bytes().all(plain) {
        let hint = "use small letters, digits and hyphens between them, 40 at most";
        field.complain("expected a name, found other text", hint);
    }
    text.to_owned()
}

/// The names of the entries of a list, in their order; what is wrong with one is reported when its
/// section is read, but for names given twice.
pub(super) fn names(list: &[Field<'_>]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in list {
        let name = entry.peek("name").unwrap_or_default();
        if !name.is_empty() && names.iter().any(|other| other == name) {
            let what = format!("a second one is called `{}`", name.escape_debug());
            entry.complain(what, "give it another name: they are told apart by it");
        }
        names.push(name.to_owned());
    }
    names
}

/// Which of `names` is meant; the first where that is reported.
pub(super) fn one_of(field: &Field<'_>, names: &[String], kind: &str) -> usize {
    let Some(text) = field.text() else { return 0 };
    if let Some(index) = names.iter().position(|name| name == text) {
        return index;
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = match (nearest(text, &known), known.len()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, 0) => "the world has none".to_owned(),
        (None, _) => format!("there are {}", known.join(", ")),
    };
    field.complain(format!("no {kind} has this name"), hint);
    0
}

/// Which one of the fields is there; reported where it is not exactly one.
pub(super) fn only_one<'f, 'a>(
    section: &Section<'a>,
    fields: &'f [Field<'a>],
) -> Option<&'f Field<'a>> {
    let mut given = fields.iter().filter(|field| field.given());
    let first = given.next();
    if let (Some(first), Some(second)) = (first, given.next()) {
        let what = format!("cannot stand beside `{}`", last(first));
        second.complain(what, "keep one of the two");
    }
    if first.is_none() {
        let names: Vec<String> = fields.iter().map(|field| format!("`{}`", last(field))).collect();
        section.complain(format!("none of {} is there", names.join(", ")), "add one of them");
    }
    first
}

/// The last part of a field's key.
pub(super) fn last<'f>(field: &'f Field<'_>) -> &'f str {
    field.key.rsplit('.').next().unwrap_or_default()
}
