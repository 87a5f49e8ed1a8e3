//! Would vaultlet take the settings that a scenario gives it?

use vaultlet::config::Source;
use vaultlet::config::document::Field;

/// What the program itself sets: where everybody listens, and who is asked.
const OURS: [&str; 8] = [
    "upstream.address",
    "upstream.addresses",
    "upstream.ca_file",
    "listeners",
    "admin",
    "auth.kubernetes",
    "policy.identity",
    "cache.leases.store",
];

/// A setting from a command line, `KEY=VALUE`: whether vaultlet would take it.
pub(crate) fn setting(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(format!("`{text}` is no KEY=VALUE; write, for example, cache.kv.ttl=5m"));
    };
    if ours(key) {
        return Err(format!("{key} is not to be set here: the program itself does"));
    }
    let source = Source { sets: vec![text.to_owned()], ..Source::default() };
    source.load().map_err(|problems| problems.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

fn ours(key: &str) -> bool {
    OURS.iter().any(|ours| key == *ours || key.starts_with(&format!("{ours}.")))
}

/// The settings, as `--set` takes them; what vaultlet says of them is reported where they are.
pub(super) fn settings(field: &Field<'_>) -> Vec<(String, String)> {
    let entries = field.entries();
    let mut settings: Vec<(String, String)> = Vec::new();
    for (key, value) in &entries {
        if settings.iter().any(|(other, _)| other == key) {
            value.complain("given a second time", "remove one of the two");
        }
        if ours(key) {
            value.complain("is not for a scenario to say", "remove it: the program sets it");
            continue;
        }
        let Some(text) = value.plain() else {
            if !value.given() {
                value.complain("has no value", "write one, or remove the key");
            }
            continue;
        };
        settings.push(((*key).to_owned(), text));
    }
    let sets = settings.iter().map(|(key, text)| format!("{key}={text}")).collect();
    let Err(problems) = (Source { sets, ..Source::default() }).load() else { return settings };
    for problem in problems.list {
        // An unknown key is reported at the section that it would be in, under its own name.
        let meant = |(key, _): &&(&str, Field<'_>)| {
            problem.key == *key
                || problem.key.starts_with(&format!("{key}."))
                || key.starts_with(&format!("{}.", problem.key))
        };
        let at = entries.iter().find(meant).map_or(field, |(_, value)| value);
        let what = if at.key.ends_with(&problem.key) {
            problem.what
        } else {
            format!("{}: {}", problem.key, problem.what)
        };
        at.complain(what, problem.hint);
    }
    settings
}
