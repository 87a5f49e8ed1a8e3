//! Is a templated rule the rule that it is with its values written out?
//!
//! Up to a NUL the input is a rule's path, up to the next one each the caller's names and metadata,
//! and the rest is the path that is asked for.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use vaultlet::policy::{Acl, Alias, Dialect, Group, Identity, Selectors, parse};

const SELECTORS: [&str; 7] = [
    "identity.entity.id",
    "identity.entity.name",
    "identity.entity.metadata.team",
    "identity.entity.aliases.acc.name",
    "identity.entity.aliases.acc.custom_metadata.tier",
    "identity.groups.names.g.id",
    "identity.groups.ids.gid.metadata.team",
];

fuzz_target!(|input: &[u8]| {
    let Ok(input) = str::from_utf8(input) else { return };
    let mut parts = input.split('\0');
    let mut part = || parts.next().unwrap_or_default();
    let template = part();
    let values: [&str; 7] = std::array::from_fn(|_| part());
    let path = part();
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !b"\"\\$".contains(&byte);
    if template.is_empty() || !template.bytes().all(plain) {
        return;
    }
    let identity = identity(values);
    let text = |path: &str| format!("path \"{path}\" {{ capabilities = [\"read\"] }}\n");
    let build = |text: &str, selectors| {
        let policy = parse("p", "", text);
        let opaque = policy.opaque().is_some();
        (Acl::new(&[Arc::new(policy)], selectors, Dialect::Current, 0), opaque)
    };

    let (ours, opaque) = build(&text(template), Selectors::Identity(&identity));

    match slowly(template, values) {
        Slow::Malformed => assert!(opaque, "{template:?}"),
        _ if opaque => {}
        Slow::Doubt => assert!(ours.doubt().is_some(), "{template:?} {values:?}"),
        Slow::Dropped => {
            assert_eq!(ours.capabilities(path, 0), Ok(vec!["deny"]), "{template:?}");
        }
        Slow::Path(written) => {
            let whole = written.bytes().all(|byte| plain(byte) && !b"{}".contains(&byte));
            if !whole || written.is_empty() {
                return;
            }
            let (plainly, _) = build(&text(&written), Selectors::NoIdentity);
            assert_eq!(ours.doubt(), plainly.doubt(), "{template:?}");
            assert_eq!(ours.capabilities(path, 0), plainly.capabilities(path, 0), "{template:?}");
        }
    }
});

enum Slow {
    /// A value would change the rule's shape, or is the time.
    Doubt,
    /// There is no such value.
    Dropped,
    /// The braces do not match.
    Malformed,
    Path(String),
}

/// One character after the other.
fn slowly(template: &str, values: [&str; 7]) -> Slow {
    let (mut written, mut rest, mut dropped) = (String::new(), template, false);
    let mut doubt = false;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("}}") {
            return Slow::Malformed;
        }
        if !rest.starts_with("{{") {
            written.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let Some(end) = rest[2..].find("}}") else { return Slow::Malformed };
        if rest[2..2 + end].contains("{{") {
            return Slow::Malformed;
        }
        let selector = rest[2..2 + end].trim();
        rest = &rest[end + 4..];
        let index = SELECTORS.iter().position(|known| *known == selector);
        let value = index.map(|index| values[index]);
        // An id or a name that is empty is none; metadata may be.
        let empty_counts = index.is_some_and(|index| matches!(index, 2 | 4 | 6));
        match value.filter(|value| empty_counts || !value.is_empty()) {
            Some(value) if value.contains(['*', '+', '/']) => doubt = true,
            Some(value) => written.push_str(value),
            None if selector.starts_with("time.") => doubt = true,
            None => dropped = true,
        }
    }
    match (doubt, dropped) {
        (true, _) => Slow::Doubt,
        (false, true) => Slow::Dropped,
        (false, false) => Slow::Path(written),
    }
}

/// Who has these values, in the order of the selectors.
fn identity(values: [&str; 7]) -> Identity {
    let [id, name, team, alias, tier, group, group_team] = values.map(str::to_owned);
    let one = |key: &str, value| [(key.to_owned(), value)].into();
    Identity {
        id,
        name,
        metadata: one("team", team),
        aliases: vec![Alias {
            mount_accessor: "acc".into(),
            name: alias,
            custom_metadata: one("tier", tier),
            ..Alias::default()
        }],
        groups: vec![
            Group { id: group, name: "g".into(), ..Group::default() },
            Group { id: "gid".into(), metadata: one("team", group_team), ..Group::default() },
        ],
    }
}
