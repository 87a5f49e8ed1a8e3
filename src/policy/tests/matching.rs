//! Which rule governs a path: cases 1 to 52 of the acceptance list, without those on parameters.

use super::*;

/// Rules, then paths and what `sys/capabilities` says of them.
const CAPABILITIES: &[(&str, &[(&str, &str)])] = &[
    ("foo*:R", &[("foo", "R"), ("foobar", "R"), ("foo/", "R"), ("fo", "")]),
    ("foo/*:R", &[("foo", ""), ("foo/", "R"), ("foo/x", "R")]),
    ("foo:R", &[("foo", "R"), ("foo/x", ""), ("foo/", "R")]),
    ("foo/:R", &[("foo", ""), ("foo/", "R")]),
    ("a/*/b:R", &[("a/x/b", ""), ("a/*/b", "R")]),
    ("a/+b:R", &[("a/xb", ""), ("a/+b", "R")]),
    ("a/+b*:R", &[("a/+bc", "R"), ("a/xbc", "")]),
    ("a/b+:R", &[("a/bc", ""), ("a/b+", "R")]),
    ("+:R", &[("a", "R"), ("a/", "R"), ("a/b", "")]),
    ("+/b:R", &[("a/b", "R"), ("b", ""), ("/b", "")]),
    ("a/+:R", &[("a/", "R"), ("a", ""), ("a/b", "R"), ("a/b/", "R"), ("a/b/c", "")]),
    ("a/+/b:R", &[("a//b", "R"), ("a/x/b", "R"), ("a/x/y/b", "")]),
    ("a/+/*:R", &[("a/x", ""), ("a/x/", "R"), ("a/x/y/z", "R"), ("a//y", "R")]),
    ("a/+/b*:R", &[("a/x/bc", "R"), ("a/x/bc/d", "R"), ("a/x/b/c", "R"), ("a/x/c", "")]),
    ("/foo:R", &[("foo", "R"), ("//foo", "R")]),
    ("//foo:R", &[("foo", ""), ("/foo", "")]),
    ("*:R", &[("", "R"), ("a", "R"), ("a/b/c", "R")]),
    (":R", &[("a", ""), ("/", "R")]),
    ("Secret/Foo:R", &[("secret/foo", "")]),
    // Precedence.
    ("a/*:R, a/b:{}", &[("a/b", ""), ("a/c", "R")]),
    ("a/*:R, a/b/*:D", &[("a/b/c", ""), ("a/b", "R")]),
    ("a/*:D, a/b:R", &[("a/b", "R")]),
    ("a/+/c:R, a/b*:U", &[("a/b/c", "U"), ("a/x/c", "R")]),
    ("a/*:R, a/+/secret:D", &[("a/x/secret", ""), ("a/x/ok", "R")]),
    ("a/+/c:R, a/+/c*:U", &[("a/b/c", "R"), ("a/b/cd", "U")]),
    ("a/+:R, a/*:U", &[("a/b", "R"), ("a/", "R"), ("a/b/c", "U")]),
    ("a/+/+/d:R, a/+/c/d:U", &[("a/b/c/d", "U"), ("a/b/x/d", "R")]),
    ("a/+/b*:R, a/+/bar*:U", &[("a/x/bar1", "U"), ("a/x/b1", "R")]),
    ("a/+/c/+:R, a/+/+/d:U", &[("a/b/c/d", "R")]),
    ("+/b/c:R, a*:U", &[("a/b/c", "U")]),
    ("+/b:R, *:U", &[("a/b", "R")]),
    ("a+x/+:R, a+x/*:U", &[("a+x/b", "U")]),
    ("a:D, a*:R", &[("a", ""), ("ab", "R")]),
    // Merging.
    ("a:R|a:U", &[("a", "RU")]),
    ("a:R|a:D|a:U", &[("a", "")]),
    ("a*:R, a*:U|a*:L", &[("ab", "LRU")]),
    ("a/+:R|a/+:D", &[("a/b", "")]),
    // Prefixes within prefixes, and stems that sort between a path and its own.
    (
        "a*:R, ab*:U, abd*:L, ac*:P",
        &[("abc", "U"), ("abe", "U"), ("abd", "L"), ("aa", "R"), ("b", "")],
    ),
];

#[test]
fn capabilities_are_the_servers() {
    for (rules, paths) in CAPABILITIES {
        let acl = short(rules);
        for (path, letters) in *paths {
            let mut expected: Vec<_> = letters.chars().filter_map(capability).collect();
            if expected.is_empty() {
                expected.push("deny");
            }
            expected.sort_unstable();
            assert_eq!(acl.capabilities(path, NOW), Ok(expected), "{rules}: {path}");
        }
    }
}

#[test]
fn a_plus_stands_for_one_segment() {
    let acl = short("a/+/secret:D, a/*:R");
    assert_eq!(decides(&acl, Operation::Read, "a/x/secret"), "deny");
    assert_eq!(decides(&acl, Operation::Read, "a/x/y/secret"), "allow");
    let acl = short("kv/+/app:R");
    assert_eq!(decides(&acl, Operation::Read, "kv/team/app"), "allow");
    assert_eq!(decides(&acl, Operation::Read, "kv/+/app"), "allow");
    assert_eq!(decides(&acl, Operation::Read, "kv/team/sub/app"), "deny");
}

#[test]
fn a_denial_shadows_what_is_farther_and_beats_what_is_merged() {
    let acl = short("a/*:R, a/b/*:D, a/c:R|a/c:D");
    assert_eq!(decides(&acl, Operation::Read, "a/b/x"), "deny");
    assert_eq!(decides(&acl, Operation::Read, "a/c"), "deny");
    assert_eq!(decides(&acl, Operation::Read, "a/x"), "allow");
}

/// One line for each step of the order, the farther rule first.
#[test]
fn the_nearest_rule_governs() {
    for (denied, granted, path) in [
        ("a/+/c", "a/b*", "a/b/c"), // the first wildcard stands later
        ("a/+/c/d", "a/b/+/*", "a/b/c/d"),
        ("a/+/c*", "a/+/c", "a/b/c"),       // the path is closed
        ("a/+/+/*", "a/+/b*", "a/x/b/c"),   // fewer segments are wild
        ("a/+/b*", "a/+/bar*", "a/x/bar1"), // the text is longer
        ("a/+/c/+", "a/+/+/dd", "a/b/c/dd"),
        ("a/+/+/d", "a/+/c/+", "a/b/c/d"), // the text is greater
    ] {
        let rules = [format!("{denied}:D, {granted}:R"), format!("{granted}:R, {denied}:D")];
        for rules in rules {
            assert_eq!(decides(&short(&rules), Operation::Read, path), "allow", "{rules}");
        }
        let rules = format!("{denied}:R, {granted}:D");
        assert_eq!(decides(&short(&rules), Operation::Read, path), "deny", "{rules}");
    }
}

/// Rules, the verb, the path, and what servers with the new order and with the old one say.
const LISTS: &[(&str, Operation, &str, &str, &str)] = &[
    ("foo:L, foo/*:D", Operation::List, "foo", "allow", "allow"),
    ("foo:L, foo/*:D", Operation::Read, "foo/", "deny", "deny"),
    ("foo*:L, foo/*:D", Operation::List, "foo", "deny", "allow"),
    ("foo*:R, foo/*:L", Operation::List, "foo", "allow", "deny"),
    ("kv1/+:D, kv1/foo/*:L", Operation::List, "kv1/foo", "allow", "deny"),
    ("foo/*:L", Operation::List, "foo", "allow", "allow"),
    ("foo/*:L", Operation::List, "foo/", "allow", "allow"),
    ("foo/:L", Operation::List, "foo", "allow", "allow"),
    ("foo:L", Operation::List, "foo/", "allow", "allow"),
    ("foo/+:L", Operation::List, "foo/bar", "allow", "allow"),
    ("foo/bar:L", Operation::List, "foo", "deny", "deny"),
];

#[test]
fn lists_look_with_the_slash_first_on_new_servers() {
    for (rules, operation, path, new, old) in LISTS {
        let text = hcl(rules);
        let said = |dialect| decides(&acl_in(dialect, &[&text]), *operation, path);
        assert_eq!(said(Dialect::Current), *new, "{rules}: {path}");
        assert_eq!(said(Dialect::Old), *old, "{rules}: {path}");
        let both = if new == old { *new } else { "ask" };
        assert_eq!(said(Dialect::Unknown), both, "{rules}: {path}");
    }
}

#[test]
fn scans_need_their_own_capability_and_old_servers_are_asked_where_they_differ() {
    let acl = short("foo/*:X");
    assert_eq!(decides(&acl, Operation::Scan, "foo"), "allow");
    assert_eq!(decides(&acl, Operation::List, "foo"), "deny");
    let text = hcl("foo*:X, foo/*:D");
    assert_eq!(decides(&acl_in(Dialect::Current, &[&text]), Operation::Scan, "foo"), "deny");
    for dialect in [Dialect::Old, Dialect::Unknown] {
        assert_eq!(decides(&acl_in(dialect, &[&text]), Operation::Scan, "foo"), "ask");
    }
}

#[test]
fn a_policys_namespace_is_in_front_of_its_paths() {
    let policy = |namespace: &str, text: &str| Arc::new(parse("p", namespace, text));
    let build =
        |policies: &[Arc<Policy>]| Acl::new(policies, Selectors::NoIdentity, Dialect::Current, NOW);
    let inside = build(&[policy("ns1", &hcl("kv/*:R, +:L"))]);
    assert_eq!(decides(&inside, Operation::Read, "ns1/kv/foo"), "allow");
    assert_eq!(decides(&inside, Operation::Read, "kv/foo"), "deny");
    assert_eq!(decides(&inside, Operation::Read, "ns10/kv/foo"), "deny");
    assert_eq!(inside.capabilities("ns1/x", NOW), Ok(vec!["list"]));

    let outside = build(&[policy("", &hcl("kv1/*:R, ns1/kv1/*:L, +/kv1/x:U"))]);
    assert_eq!(outside.capabilities("ns1/kv1/foo", NOW), Ok(vec!["list"]));
    assert_eq!(outside.capabilities("ns1/kv1/x", NOW), Ok(vec!["list"]));
    assert_eq!(outside.capabilities("ns2/kv1/x", NOW), Ok(vec!["update"]));
}

#[test]
fn a_namespace_that_the_server_would_clean_is_not_taken() {
    for namespace in ["ns1/..", "..", "ns1/./x", "ns1//x"] {
        assert!(parse("p", namespace, "").opaque().is_some(), "{namespace}");
    }
    for namespace in ["", "/", "root", "/ns1/", "ns1/sub"] {
        assert_eq!(parse("p", namespace, "").opaque(), None, "{namespace}");
    }
    let acl = short("*:R");
    for path in ["ns1/../kv/x", "kv/..", "./kv", "kv/./x"] {
        assert_eq!(decides(&acl, Operation::Read, path), "ask", "{path}");
    }
    assert_eq!(decides(&acl, Operation::Read, "kv/..x/.y"), "allow");
}

#[test]
fn a_decision_names_the_rule() {
    let texts = [
        "\n\npath \"a\" {\n  capabilities = [\"read\"]\n}\n",
        "# x\npath \"a\" { capabilities = [\"list\"] }\npath \"b/*\" { capabilities = [\"deny\"] }",
    ];
    let acl = acl(&texts);
    let rule = |operation, path| match acl.decide(&kv(operation, path, Parameters::none())) {
        Decision::Allow(rule) | Decision::Deny(rule) => rule.map(|rule| (rule.policy, rule.line)),
        Decision::Ask(reason) => panic!("{reason}"),
    };
    assert_eq!(rule(Operation::Read, "a"), Some(("p0", 3)));
    assert_eq!(rule(Operation::List, "a"), Some(("p1", 2)));
    assert_eq!(rule(Operation::Delete, "a"), Some(("p0", 3)));
    assert_eq!(rule(Operation::Read, "b/c"), Some(("p1", 3)));
    assert_eq!(rule(Operation::Read, "c"), None);
}
