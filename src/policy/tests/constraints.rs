//! Parameters, wrapping and shortened lists: cases 40 to 46 and 60 to 72.

use super::*;

/// A block's attributes, then queries of a read and what is said of it.
const QUERIES: &[(&str, Said)] = &[
    (
        r#"required_parameters = ["version"]"#,
        &[
            ("", "deny"),
            ("version=1", "allow"),
            ("Version=1", "deny"),
            ("version=", "allow"),
            ("version", "allow"),
        ],
    ),
    (r#"required_parameters = ["VERSION"]"#, &[("version=1", "allow"), ("VERSION=1", "deny")]),
    (
        "denied_parameters = { version = [] }",
        &[("version=1", "deny"), ("VERSION=1", "deny"), ("other=1", "allow")],
    ),
    (
        r#"denied_parameters = { version = ["1"] }"#,
        &[
            ("version=01", "allow"),
            ("version=1", "deny"),
            ("version=1&version=2", "allow"),
            ("version=1&version=1", "allow"),
        ],
    ),
    (r#"denied_parameters = { "*" = [] }"#, &[("", "allow"), ("x=1", "deny"), ("help=", "allow")]),
    (
        r#"allowed_parameters = { version = ["1*"] }"#,
        &[
            ("", "allow"),
            ("version=1", "allow"),
            ("version=12", "allow"),
            ("version=2", "deny"),
            ("x=2", "deny"),
        ],
    ),
    (r#"allowed_parameters = { "*" = ["nope"] }"#, &[("x=1", "allow"), ("", "allow")]),
    (
        r#"allowed_parameters = { version = ["1"], "*" = [] }"#,
        &[("version=2", "deny"), ("x=2", "allow"), ("version=1&x=2", "allow")],
    ),
    ("allowed_parameters = {}", &[("x=1", "allow")]),
    (
        r#"allowed_parameters = { version = ["*"] }"#,
        &[("version=10", "deny"), ("version=*", "allow")],
    ),
    (
        r#"allowed_parameters = { version = ["**"] }"#,
        &[("version=10", "allow"), ("version=", "allow")],
    ),
    (
        r#"allowed_parameters = { version = ["*a*"] }"#,
        &[("version=bab", "allow"), ("version=b", "deny")],
    ),
    (
        r#"allowed_parameters = { version = ["*a"] }"#,
        &[("version=ba", "allow"), ("version=ab", "deny")],
    ),
    ("allowed_parameters = { version = [1] }", &[("version=1", "deny")]),
    (
        r#"allowed_parameters = { x = ["1"] }"#,
        &[("x=1", "allow"), ("x=1&x=1", "deny"), ("x", "deny")],
    ),
    (
        r#"required_parameters = ["a"]"#,
        &[
            ("a=1;b=2", "deny"),
            ("a=%zz", "deny"),
            ("%61=1", "allow"),
            ("a+=1", "deny"),
            ("a=1&%", "allow"),
            ("&&a", "allow"),
        ],
    ),
    (
        r#"denied_parameters = { a = ["x y"] }"#,
        &[("a=x+y", "deny"), ("a=x%20y", "deny"), ("a=x%2By", "allow")],
    ),
    // A name that Go and Rust may lower differently, bytes that are no text.
    (r"denied_parameters = { k = [] }", &[("%E2%84%AA=1", "ask"), ("a=%ff", "ask")]),
];

fn block(attributes: &str) -> String {
    format!(
        r#"path "kv/*" {{ capabilities = ["create", "delete", "list", "patch", "read", "scan", "update"]
           {attributes} }}"#
    )
}

#[test]
fn a_reads_query_is_its_parameters() {
    for (attributes, queries) in QUERIES {
        let acl = acl(&[&block(attributes)]);
        for (query, expected) in *queries {
            let parameters = Parameters::of_query(query.as_bytes());
            let said = says(acl.decide(&kv(Operation::Read, "kv/a", &parameters)));
            assert_eq!(said, *expected, "{attributes}: {query}");
        }
    }
}

/// What is sent, and what is said of it.
type Said = &'static [(&'static str, &'static str)];

/// The policies' attributes, then bodies of an update.
const BODIES: &[(&[&str], Said)] = &[
    (
        &["", "allowed_parameters = { x = [1] }"],
        &[
            (r#"{"z":"1"}"#, "deny"),
            (r#"{"x":1}"#, "deny"),
            (r#"{"x":"1"}"#, "deny"),
            ("", "allow"),
        ],
    ),
    (
        &[r#"allowed_parameters = { x = ["1"] }"#, ""],
        &[(r#"{"x":"1"}"#, "allow"), (r#"{"z":"1"}"#, "deny")],
    ),
    (
        &[r#"allowed_parameters = { x = ["1"] }"#, r#"allowed_parameters = { x = ["2"], y = [] }"#],
        &[
            (r#"{"x":"1"}"#, "allow"),
            (r#"{"x":"2"}"#, "allow"),
            (r#"{"y":[1]}"#, "allow"),
            (r#"{"x":"3"}"#, "deny"),
            (r#"{"z":1}"#, "deny"),
        ],
    ),
    (
        &[r#"allowed_parameters = { x = ["1"] }"#, "allowed_parameters = { x = [] }"],
        &[(r#"{"x":{"deep":[1,2.5,null]}}"#, "allow")],
    ),
    (
        &[r#"denied_parameters = { x = ["1"] }"#, "denied_parameters = { X = [] }"],
        &[(r#"{"x":"2"}"#, "deny")],
    ),
    (
        &["allowed_parameters = { x = [true] }"],
        &[
            (r#"{"x":true}"#, "allow"),
            (r#"{"x":false}"#, "deny"),
            (r#"{"x":"true"}"#, "deny"),
            (r#"{"x":null}"#, "deny"),
        ],
    ),
    (
        &[r#"required_parameters = ["a"]"#, r#"required_parameters = ["b"]"#],
        &[(r#"{"a":1}"#, "deny"), (r#"{"a":1,"b":2}"#, "allow"), (r#"{"a":1,"B":2}"#, "deny")],
    ),
    (
        &[r#"denied_parameters = { x = ["1"] }"#],
        &[
            (r#"{"x":"1","x":"2"}"#, "allow"),
            (r#"{"x":"2","x":"\u0031"}"#, "deny"),
            ("[]", "ask"),
            ("null", "ask"),
            (r#"{"x":1"#, "ask"),
            (r"{} {}", "ask"),
        ],
    ),
];

#[test]
fn merged_parameters_and_the_body() {
    for (attributes, bodies) in BODIES {
        let texts: Vec<_> = attributes.iter().map(|attributes| block(attributes)).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let acl = acl(&texts);
        for (body, expected) in *bodies {
            let parameters = Parameters::of_json(body.as_bytes());
            for operation in [Operation::Create, Operation::Update, Operation::Patch] {
                let said = says(acl.decide(&kv(operation, "kv/a", &parameters)));
                assert_eq!(said, *expected, "{attributes:?}: {body}");
            }
        }
    }
}

#[test]
fn an_unrestricted_rule_merged_with_a_restricted_one_is_restricted() {
    let (free, bound) = (block(""), block(r#"allowed_parameters = { x = ["1"] }"#));
    for texts in [[free.as_str(), &bound], [&bound, &free]] {
        let parameters = Parameters::of_query(b"y=1");
        assert_eq!(says(acl(&texts).decide(&kv(Operation::Read, "kv/a", &parameters))), "deny");
    }
}

#[test]
fn merging_is_a_union_of_capabilities() {
    let acl = short("a/*:R|a/*:U");
    assert_eq!(decides(&acl, Operation::Read, "a/b"), "allow");
    assert_eq!(decides(&acl, Operation::Update, "a/b"), "allow");
}

#[test]
fn a_denial_forgets_the_parameters_it_is_merged_with() {
    let denied = r#"path "kv/*" { capabilities = ["deny"] }"#;
    for attributes in ["", r"allowed_parameters = { x = [] }", r#"min_wrapping_ttl = "5s""#] {
        let acl = acl(&[&block(attributes), denied]);
        assert_eq!(decides(&acl, Operation::Read, "kv/a"), "deny");
    }
}

#[test]
fn deletions_and_lists_have_no_parameters() {
    let text = block(r#"denied_parameters = { "*" = [] } required_parameters = ["a"]"#);
    let acl = acl(&[&text]);
    let parameters = Parameters::of_query(b"x=1");
    for operation in [Operation::Delete, Operation::List, Operation::Scan] {
        assert_eq!(says(acl.decide(&kv(operation, "kv/a", &parameters))), "allow", "{operation:?}");
    }
}

#[test]
fn parameters_that_nobody_looked_at_leave_it_to_the_server() {
    let bound = block(r"denied_parameters = { x = [] }");
    let request = kv(Operation::Update, "kv/a", Parameters::unknown());
    assert_eq!(says(acl(&[&bound]).decide(&request)), "ask");
    assert_eq!(says(acl(&[&block("")]).decide(&request)), "allow");
    let many: Vec<_> = (0..257).map(|number| format!("p{number}=1")).collect();
    let many = many.join("&");
    let parameters = Parameters::of_query(many.as_bytes());
    assert_eq!(says(acl(&[&bound]).decide(&kv(Operation::Read, "kv/a", &parameters))), "ask");
}

#[test]
fn wrapping_limits_leave_it_to_the_server() {
    for attributes in
        ["min_wrapping_ttl = 10", r#"max_wrapping_ttl = "1h30m""#, r#"min_wrapping_ttl = "1d""#]
    {
        let acl = acl(&[&block(attributes)]);
        for operation in [Operation::Read, Operation::Delete, Operation::List] {
            assert_eq!(decides(&acl, operation, "kv/a"), "ask", "{attributes}");
        }
    }
    for attributes in
        ["min_wrapping_ttl = 0", r#"max_wrapping_ttl = """#, r#"max_wrapping_ttl = "0s""#]
    {
        assert_eq!(decides(&acl(&[&block(attributes)]), Operation::Read, "kv/a"), "allow");
    }
}

#[test]
fn shortened_lists_leave_it_to_the_server() {
    for attributes in
        ["pagination_limit = 2", r#"list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}""#]
    {
        let acl = acl(&[&block(attributes), &block("")]);
        for (operation, expected) in
            [(Operation::List, "ask"), (Operation::Scan, "ask"), (Operation::Read, "allow")]
        {
            assert_eq!(decides(&acl, operation, "kv/a"), expected, "{attributes}");
        }
    }
    assert_eq!(decides(&acl(&[&block("pagination_limit = 0")]), Operation::List, "kv/a"), "allow");
}

#[test]
fn parameters_are_not_printed() {
    let parameters = Parameters::of_json(br#"{"password":"hunter2"}"#);
    assert_eq!(format!("{parameters:?}"), "Parameters(..)");
}
