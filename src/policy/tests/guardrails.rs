//! Local rules that can only take away.

use super::*;

fn guards(acl: &Acl, operation: Operation, path: &str) -> Option<&'static str> {
    let request = Request { mount: Mount::Other, ..kv(operation, path, Parameters::none()) };
    acl.guard(&request).map(says)
}

#[test]
fn what_no_rule_governs_is_left_alone() {
    let acl = short("kv/*:R, kv/locked/*:D, sys/auth/*:R");
    assert_eq!(guards(&acl, Operation::Read, "elsewhere"), None);
    assert_eq!(guards(&acl, Operation::Read, "kv/a"), Some("allow"));
    assert_eq!(guards(&acl, Operation::Update, "kv/a"), Some("deny"));
    assert_eq!(guards(&acl, Operation::Head, "kv/a"), Some("deny"));
    assert_eq!(guards(&acl, Operation::Read, "kv/locked/a"), Some("deny"));
    assert_eq!(guards(&acl, Operation::List, "kv/locked"), Some("deny"));
    assert_eq!(guards(&acl, Operation::Help, "kv/locked/a"), None);
    assert_eq!(guards(&acl, Operation::Read, "sys/auth/userpass"), Some("allow"), "no `sudo` here");
}

#[test]
fn a_guardrail_that_is_not_understood_cannot_be_decided() {
    let broken = Arc::new(parse("p", "", "path \"kv/*\" {"));
    let acl = Acl::new(&[broken], Selectors::NoIdentity, Dialect::Current, NOW);
    assert_eq!(acl.doubt(), Some("a block that does not end"));
    assert_eq!(guards(&acl, Operation::Read, "elsewhere"), Some("ask"));
}
