//! Paths with places for values: cases 73 to 77.

use super::*;

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn identity() -> Identity {
    let group = |id: &str, name: &str, namespace: &str| Group {
        id: id.into(),
        name: name.into(),
        namespace: namespace.into(),
        metadata: map(&[("colour", "blue")]),
    };
    Identity {
        id: "e-1".into(),
        name: "entity".into(),
        metadata: map(&[
            ("team", "red"),
            ("empty", ""),
            ("star", "a*"),
            ("plus", "x+"),
            ("slash", "a/b"),
            ("a.b", "dot"),
        ]),
        aliases: vec![Alias {
            mount_accessor: "auth_1".into(),
            id: "a-1".into(),
            name: "alias".into(),
            metadata: map(&[("service", "api")]),
            custom_metadata: map(&[("tier", "gold")]),
        }],
        groups: vec![group("g-1", "devs", ""), group("g-2", "devs", "ns1/")],
    }
}

fn said(rule: &str, path: &str, selectors: Selectors<'_>) -> &'static str {
    let policy = parse("p", "", &format!("path \"{rule}\" {{ capabilities = [\"read\"] }}"));
    assert_eq!(policy.opaque(), None, "{rule}");
    let acl = Acl::new(&[Arc::new(policy)], selectors, Dialect::Current, NOW);
    decides(&acl, Operation::Read, path)
}

#[test]
fn values_are_filled_in() {
    let identity = identity();
    for (rule, path) in [
        ("k/{{identity.entity.id}}", "k/e-1"),
        ("k/{{ identity.entity.name }}/*", "k/entity/x"),
        ("k/{{identity.entity.metadata.team}}", "k/red"),
        ("k/{{identity.entity.metadata.a.b}}", "k/dot"),
        ("k/{{identity.entity.metadata.empty}}", "k/"),
        ("k/{{identity.entity.aliases.auth_1.id}}", "k/a-1"),
        ("k/{{identity.entity.aliases.auth_1.name}}", "k/alias"),
        ("k/{{identity.entity.aliases.auth_1.metadata.service}}", "k/api"),
        ("k/{{identity.entity.aliases.auth_1.custom_metadata.tier}}", "k/gold"),
        ("k/{{identity.groups.names.devs.id}}", "k/g-1"),
        ("k/{{identity.groups.ids.g-2.name}}", "k/devs"),
        ("k/{{identity.groups.ids.g-2.metadata.colour}}", "k/blue"),
        ("k/{{identity.entity.name}}/{{identity.entity.id}}", "k/entity/e-1"),
        ("{{identity.entity.name}}/+/x", "entity/any/x"),
    ] {
        assert_eq!(said(rule, path, Selectors::Identity(&identity)), "allow", "{rule}");
    }
}

#[test]
fn what_cannot_be_filled_in_is_no_rule_and_a_denial_neither() {
    let identity = identity();
    for rule in [
        "identity.entity.metadata.none",
        "identity.entity.metadata",
        "identity.entity.groups.names",
        "identity.entity.aliases.auth_2.name",
        "identity.entity.aliases.auth_1.metadata.none",
        "identity.groups.names.ops.id",
        "identity.groups.ids.g-3.id",
        "identity.groups.names.devs.metadata.none",
        "identity.groups.names",
        "identity.nothing",
        "",
    ] {
        assert_eq!(
            said(&format!("k/{{{{{rule}}}}}*"), "k/x", Selectors::Identity(&identity)),
            "deny",
            "{rule}"
        );
    }
    let text = r#"path "k/{{identity.entity.metadata.none}}*" { capabilities = ["deny"] }
                  path "*" { capabilities = ["read"] }"#;
    let policy = [Arc::new(parse("p", "", text))];
    for selectors in [Selectors::Identity(&identity), Selectors::NoIdentity] {
        let acl = Acl::new(&policy, selectors, Dialect::Current, NOW);
        assert_eq!(decides(&acl, Operation::Read, "k/x"), "allow");
    }
}

#[test]
fn groups_are_those_of_the_policys_namespace() {
    let identity = identity();
    let text = r#"path "k/{{identity.groups.names.devs.id}}" { capabilities = ["read"] }"#;
    let policy = [Arc::new(parse("p", "ns1", text))];
    let acl = Acl::new(&policy, Selectors::Identity(&identity), Dialect::Current, NOW);
    assert_eq!(decides(&acl, Operation::Read, "ns1/k/g-2"), "allow");
    assert_eq!(decides(&acl, Operation::Read, "ns1/k/g-1"), "deny");
}

#[test]
fn a_value_that_would_rewrite_the_path_leaves_everything_to_the_server() {
    let identity = identity();
    for key in ["star", "plus", "slash"] {
        let rule = format!("k/{{{{identity.entity.metadata.{key}}}}}");
        assert_eq!(said(&rule, "elsewhere", Selectors::Identity(&identity)), "ask", "{key}");
    }
    assert_eq!(said("k/{{time.now}}", "k/1", Selectors::Identity(&identity)), "ask");
    // Only when it is filled in does a star stand behind the plus.
    assert_eq!(
        said("k/+{{identity.entity.metadata.empty}}*", "x", Selectors::Identity(&identity)),
        "ask"
    );
}

#[test]
fn values_of_parameters_are_not_filled_in() {
    let identity = identity();
    let text = r#"path "k" { capabilities = ["read"] allowed_parameters = { x = ["{{identity.entity.name}}"] } }"#;
    let acl = Acl::new(
        &[Arc::new(parse("p", "", text))],
        Selectors::Identity(&identity),
        Dialect::Current,
        NOW,
    );
    for (query, expected) in [("x=entity", "deny"), ("x={{identity.entity.name}}", "allow")] {
        let parameters = Parameters::of_query(query.as_bytes());
        assert_eq!(says(acl.decide(&kv(Operation::Read, "k", &parameters))), expected, "{query}");
    }
}

#[test]
fn local_files_have_words_of_their_own() {
    let caller = Caller { namespace: "payments", service_account: "api", pod: None };
    let selectors = Selectors::Caller(&caller);
    assert_eq!(
        said("kv/{{namespace}}/{{ service_account }}/*", "kv/payments/api/x", selectors),
        "allow"
    );
    assert_eq!(said("kv/{{pod}}*", "kv/x", selectors), "deny", "there is no pod: no rule");
    assert_eq!(
        said("kv/{{identity.entity.name}}", "kv/x", selectors),
        "ask",
        "a word of the server's"
    );
    for value in ["a*", "+", "a/b", ""] {
        let caller = Caller { namespace: value, ..caller };
        let said = said("kv/{{namespace}}*", "kv/other", Selectors::Caller(&caller));
        assert_ne!(said, "allow", "{value}");
    }
}

#[test]
fn identity_data_is_not_printed() {
    assert_eq!(format!("{:?}", identity()), "Identity(..)");
}
