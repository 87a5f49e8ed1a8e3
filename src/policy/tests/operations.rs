//! Which capability an operation needs, and what else: cases 38, 39, 53 to 59 and 80 to 84.

use super::*;

#[test]
fn each_operation_needs_its_own_capability() {
    let all = [
        (Operation::Create, 'C'),
        (Operation::Delete, 'E'),
        (Operation::List, 'L'),
        (Operation::Patch, 'P'),
        (Operation::Read, 'R'),
        (Operation::Scan, 'X'),
        (Operation::Update, 'U'),
    ];
    for (_, granted) in all {
        let acl = short(&format!("a*:{granted}"));
        for (operation, needed) in all {
            let expected = if needed == granted { "allow" } else { "deny" };
            assert_eq!(decides(&acl, operation, "a"), expected, "{granted}: {operation:?}");
        }
    }
}

#[test]
fn a_write_of_unknown_kind_is_decided_where_both_kinds_agree() {
    for (rules, expected) in [("a:CU", "allow"), ("a:C", "ask"), ("a:U", "ask"), ("a:RP", "deny")] {
        assert_eq!(decides(&short(rules), Operation::Write, "a"), expected, "{rules}");
    }
}

#[test]
fn help_is_everybodys() {
    let acl = short("a:D");
    for path in ["a", "b", "sys/auth/userpass"] {
        assert_eq!(decides(&acl, Operation::Help, path), "allow", "{path}");
    }
}

#[test]
fn head_and_unknown_verbs_are_nobodys() {
    let acl = short("a:CDELPRSUX|b:CELPRSUX");
    for operation in [Operation::Head, Operation::Other] {
        assert_eq!(decides(&acl, operation, "b"), "deny");
    }
}

#[test]
fn old_words_for_capabilities() {
    let held = |block: &str| {
        acl(&[&format!("path \"a\" {{ {block} }}")]).capabilities("a", NOW).unwrap().join(" ")
    };
    assert_eq!(held(r#"policy = "read" capabilities = ["update"]"#), "list read update");
    assert_eq!(held(r#"policy = "write""#), "create delete list read update");
    assert_eq!(held(r#"policy = "sudo""#), "create delete list read sudo update");
    assert_eq!(held(r#"policy = "deny" capabilities = ["read"]"#), "deny");
    assert_eq!(held(r#"capabilities = ["read", "deny"]"#), "deny");
    assert_eq!(held(r#"capabilities = ["deny", "no such thing"]"#), "deny");
    assert_eq!(held(""), "deny");
}

#[test]
fn what_a_backend_asks_for_besides() {
    let acl = short(
        "sys/auth/*:R, sys/auth:R, sys/audit:RS, ns1/sys/raw/*:R, sys/health:R, pki/*:RU, pki/root:RS",
    );
    for (path, mount, expected) in [
        ("sys/auth/userpass", Mount::System, "deny"),
        ("sys/auth", Mount::System, "allow"),
        ("sys/audit", Mount::System, "allow"),
        ("sys/remount", Mount::System, "deny"),
        ("sys/policies/acl/x", Mount::System, "deny"),
        ("ns1/sys/raw/x", Mount::System, "deny"),
        // Answered without a token.
        ("sys/health", Mount::System, "ask"),
        ("sys/seal-status", Mount::System, "ask"),
        ("pki/ca", Mount::Other, "ask"),
        ("pki/root", Mount::Other, "allow"),
        ("elsewhere", Mount::Other, "ask"),
        ("elsewhere", Mount::Kv, "deny"),
    ] {
        let request = Request {
            operation: Operation::Read,
            path,
            mount,
            parameters: Parameters::none(),
            now: NOW,
        };
        assert_eq!(says(acl.decide(&request)), expected, "{path}");
    }
}

#[test]
fn root_may_do_everything_below_its_namespace() {
    let with = |names: &[(&str, &str)]| {
        let policies = names.iter().map(|(name, namespace)| Arc::new(parse(name, namespace, "")));
        let policies: Vec<_> = policies.collect();
        Acl::new(&policies, Selectors::NoIdentity, Dialect::Current, NOW)
    };
    let root = with(&[("Root ", "")]);
    assert_eq!(decides(&root, Operation::Delete, "ns1/kv/x"), "allow");
    assert_eq!(root.capabilities("a", NOW), Ok(vec!["root"]));
    assert_eq!(decides(&root, Operation::Head, "a"), "ask");
    let inside = with(&[("root", "ns1")]);
    assert_eq!(decides(&inside, Operation::Read, "ns1/kv/x"), "allow");
    assert_eq!(decides(&inside, Operation::Read, "kv/x"), "deny");
    assert_eq!(decides(&inside, Operation::Read, "ns1/../kv/x"), "ask");
    let both = with(&[("root", ""), ("default", "")]);
    assert_eq!(decides(&both, Operation::Read, "kv/x"), "ask");
    // A name inside a text is not the policy's name.
    assert_eq!(decides(&acl(&["name = \"root\""]), Operation::Read, "a"), "deny");
}

#[test]
fn blocks_and_policies_end() {
    let text = r#"path "a" { capabilities = ["read"] }
                  path "a/*" { capabilities = ["deny"] expiration = "2023-11-14T23:13:20Z" }
                  path "*" { capabilities = ["read"] expiration = "1700007200" }"#;
    let end = 1_700_003_600;
    let policy = Arc::new(parse("p", "", text));
    let at = |built: i64, asked: i64| {
        let acl =
            Acl::new(std::slice::from_ref(&policy), Selectors::NoIdentity, Dialect::Current, built);
        let request = Request { now: asked, ..kv(Operation::Read, "a/b", Parameters::none()) };
        says(acl.decide(&request))
    };
    assert_eq!(at(NOW, NOW), "deny");
    assert_eq!(at(NOW, end - 11), "deny");
    assert_eq!(at(NOW, end - 10), "ask", "the server's clock may be ahead");
    assert_eq!(at(NOW, end + 3600), "ask", "built before the end, asked after it");
    assert_eq!(at(end + 10, end + 10), "ask", "the server's clock may be behind");
    assert_eq!(at(end + 11, end + 11), "allow", "a denial ends too");
    assert_eq!(at(end + 3611, end + 3611), "deny");

    let whole = Arc::new(parse("p", "", &hcl("a:R")).until(end));
    let acl = |built| {
        let policies = std::slice::from_ref(&whole);
        Acl::new(policies, Selectors::NoIdentity, Dialect::Current, built)
    };
    assert_eq!(decides(&acl(NOW), Operation::Read, "a"), "allow");
    assert_eq!(decides(&acl(end + 11), Operation::Read, "a"), "deny");
}

#[test]
fn what_a_server_does_after_its_yes_is_not_decided_here() {
    let group = r#"path "a" { capabilities = ["read"] control_group = { ttl = "1h" factor "f" { controlled_capabilities = ["read"] identity { group_names = ["g"] approvals = 1 } } } }"#;
    let mfa = r#"path "a" { capabilities = ["read"] mfa_methods = ["m"] }"#;
    for text in [group, mfa] {
        assert_eq!(decides(&acl(&[text]), Operation::Read, "a"), "ask", "{text}");
        assert_eq!(decides(&acl(&[text]), Operation::List, "a"), "deny", "{text}");
    }
}
