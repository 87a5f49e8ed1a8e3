//! The server's answers, as they were seen on a real OpenBao, and the evaluator's beside them.
//!
//! Rules are written short: `a/*:RL, b:{}` are two blocks, of read and list, and of nothing; `|`
//! is between policies. `tests/e2e/policies.rs` holds the evaluator against a running server.

mod constraints;
mod guardrails;
mod matching;
mod operations;
mod properties;
mod templates;
mod texts;

use std::sync::Arc;

use super::*;

/// Long before anything expires.
const NOW: i64 = 1_700_000_000;

/// The ACL of these short policies.
fn short(policies: &str) -> Acl {
    let texts: Vec<_> = policies.split('|').map(hcl).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    acl(&texts)
}

/// The text that a short policy stands for.
fn hcl(policy: &str) -> String {
    let block = |rule: &str| {
        let (path, letters) = rule.trim().rsplit_once(':').expect("path:capabilities");
        let capabilities: Vec<_> = letters.chars().filter_map(capability).collect();
        format!("path \"{path}\" {{ capabilities = {capabilities:?} }}\n")
    };
    policy.split(',').map(block).collect()
}

fn capability(letter: char) -> Option<&'static str> {
    Some(match letter {
        'C' => "create",
        'D' => "deny",
        'E' => "delete",
        'L' => "list",
        'P' => "patch",
        'R' => "read",
        'S' => "sudo",
        'U' => "update",
        'X' => "scan",
        _ => return None,
    })
}

/// The ACL of these texts, for a token without an entity.
fn acl(texts: &[&str]) -> Acl {
    acl_in(Dialect::Current, texts)
}

fn acl_in(dialect: Dialect, texts: &[&str]) -> Acl {
    let policies = texts.iter().enumerate().map(|(index, text)| {
        let policy = parse(&format!("p{index}"), "", text);
        assert_eq!(policy.opaque(), None, "{text}");
        Arc::new(policy)
    });
    Acl::new(&policies.collect::<Vec<_>>(), Selectors::NoIdentity, dialect, NOW)
}

/// A request for KV.
fn kv<'a>(operation: Operation, path: &'a str, parameters: &'a Parameters<'a>) -> Request<'a> {
    Request { operation, path, mount: Mount::Kv, parameters, now: NOW }
}

/// `allow`, `deny` or `ask`.
fn says(decision: Decision<'_>) -> &'static str {
    match decision {
        Decision::Allow(_) => "allow",
        Decision::Ask(_) => "ask",
        Decision::Deny(_) => "deny",
    }
}

fn decides(acl: &Acl, operation: Operation, path: &str) -> &'static str {
    says(acl.decide(&kv(operation, path, Parameters::none())))
}
