//! Does the authoriser find the rule that the server's own words name, read slowly?
//!
//! Up to a NUL the input is rules, one a line: a path, a space, letters for capabilities; an empty
//! line begins another policy. What follows is the path that is asked for.
#![no_main]

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use vaultlet::policy::{
    Acl, Decision, Dialect, Mount, Operation, Parameters, Request, Selectors, parse,
};

const CAPABILITIES: [(char, &str); 8] = [
    ('C', "create"),
    ('D', "deny"),
    ('E', "delete"),
    ('L', "list"),
    ('P', "patch"),
    ('R', "read"),
    ('S', "sudo"),
    ('U', "update"),
];

type Held = BTreeSet<&'static str>;

fuzz_target!(|input: &[u8]| {
    let Ok(input) = str::from_utf8(input) else { return };
    let Some((rules, path)) = input.split_once('\0') else { return };
    let plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n') && !b"\"\\{}$".contains(&byte);
    if !rules.bytes().all(plain) || rules.lines().count() > 40 {
        return;
    }
    let mut policies: Vec<Vec<(&str, Held)>> = vec![Vec::new()];
    for line in rules.lines() {
        match line.rsplit_once(' ') {
            Some((path, letters)) if !path.contains("+*") && !path.is_empty() => {
                let held = |(letter, name)| letters.contains(letter).then_some(name);
                let held = CAPABILITIES.into_iter().filter_map(held).collect();
                policies.last_mut().expect("one").push((path, held));
            }
            _ => policies.push(Vec::new()),
        }
    }
    let read = policies.iter().enumerate().map(|(index, rules)| {
        let block = |(path, held): &(&str, Held)| {
            let held: Vec<_> = held.iter().collect();
            format!("path \"{path}\" {{ capabilities = {held:?} }}\n")
        };
        let text: String = rules.iter().map(block).collect();
        let policy = parse(&format!("p{index}"), "", &text);
        assert_eq!(policy.opaque(), None, "{text}");
        Arc::new(policy)
    });
    let acl = Acl::new(&read.collect::<Vec<_>>(), Selectors::NoIdentity, Dialect::Current, 0);
    assert_eq!(acl.doubt(), None);

    let slow = Rules::of(&policies);
    // As `sys/capabilities` looks, which does not know whether a list is meant.
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let all = slow.exact(path).or_else(|| slow.exact(trimmed));
    let all = all.or_else(|| slow.open(path)).or_else(|| slow.open(trimmed));
    assert_eq!(acl.capabilities(path, 0), Ok(names(all)), "{path:?}");

    let read = names(slow.exact(path).or_else(|| slow.open(path))).contains(&"read");
    let request = Request {
        operation: Operation::Read,
        path,
        mount: Mount::Kv,
        parameters: Parameters::none(),
        now: 0,
    };
    match acl.decide(&request) {
        Decision::Allow(_) => assert!(read, "{path:?}"),
        Decision::Deny(_) => assert!(!read, "{path:?}"),
        Decision::Ask(_) => {
            let dotted = path.split('/').any(|part| matches!(part, "." | ".."));
            assert!(dotted, "asked about {path:?}");
        }
    }
});

/// As `sys/capabilities` names them.
fn names(held: Option<Held>) -> Vec<&'static str> {
    match held {
        Some(held) if !held.is_empty() && !held.contains("deny") => held.into_iter().collect(),
        _ => vec!["deny"],
    }
}

/// All rules, each of which is looked at, and each pair compared.
struct Rules<'r>(Vec<(&'r str, &'r Held)>);

impl<'r> Rules<'r> {
    fn of(policies: &'r [Vec<(&'r str, Held)>]) -> Self {
        let rules = policies.iter().flatten();
        Self(rules.map(|(rule, held)| (rule.strip_prefix('/').unwrap_or(rule), held)).collect())
    }

    /// What a rule for this very path grants.
    fn exact(&self, path: &str) -> Option<Held> {
        let path = path.trim_start_matches('/');
        let mut found = self.0.iter().map(|(rule, _)| *rule);
        self.granted(found.find(|rule| !rule.ends_with('*') && !wild(rule) && *rule == path)?)
    }

    /// What the nearest of the other rules grants.
    fn open(&self, path: &str) -> Option<Held> {
        let path = path.trim_start_matches('/');
        let open = self.0.iter().map(|(rule, _)| *rule);
        let open = open.filter(|rule| (rule.ends_with('*') || wild(rule)) && covers(rule, path));
        self.granted(open.max_by(|one, other| nearer(one, other))?)
    }

    /// What the blocks with this path grant together.
    fn granted(&self, path: &str) -> Option<Held> {
        let blocks = || self.0.iter().filter(|(rule, _)| *rule == path).map(|(_, held)| *held);
        if blocks().any(|held| held.contains("deny")) {
            return Some(Held::from(["deny"]));
        }
        Some(blocks().flatten().copied().collect())
    }
}

/// Whether the server looks at it segment by segment.
fn wild(rule: &str) -> bool {
    rule == "+" || rule.starts_with("+/") || rule.contains("/+")
}

fn covers(rule: &str, path: &str) -> bool {
    let (stem, open) = rule.strip_suffix('*').map_or((rule, false), |stem| (stem, true));
    if !wild(rule) {
        return if open { path.starts_with(stem) } else { path == stem };
    }
    let (parts, given): (Vec<_>, Vec<_>) = (stem.split('/').collect(), path.split('/').collect());
    let last = parts.len() - 1;
    let enough = if open { given.len() >= parts.len() } else { given.len() == parts.len() };
    enough
        && (0..parts.len()).all(|at| match parts[at] {
            "+" => true,
            part if open && at == last => given[at].starts_with(part),
            part => given[at] == part,
        })
}

/// Of two rules that both cover a path, and neither is exact.
fn nearer(one: &str, other: &str) -> Ordering {
    let first = |rule: &str| {
        let stem = rule.strip_suffix('*').unwrap_or(rule);
        if wild(rule) { stem.find('+').expect("it is wild") } else { stem.len() }
    };
    let open = |rule: &str| rule.ends_with('*');
    let count = |rule: &str| {
        let stem = rule.strip_suffix('*').unwrap_or(rule);
        stem.split('/').filter(|part| *part == "+").count()
    };
    let stem = |rule: &str| rule.strip_suffix('*').unwrap_or(rule).to_owned();
    first(one)
        .cmp(&first(other))
        .then_with(|| open(other).cmp(&open(one)))
        .then_with(|| count(other).cmp(&count(one)))
        .then_with(|| stem(one).len().cmp(&stem(other).len()))
        .then_with(|| stem(one).cmp(&stem(other)))
}
