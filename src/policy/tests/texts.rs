//! Which texts are read, and which are left to the server.

use super::*;

/// Each is a policy that allows to read `a`, and nothing else of it.
#[rustfmt::skip]
const READ: &[&str] = &[
    r#"path "a" { capabilities = ["read"] }"#,
    r#""path" "a" { "capabilities" = ["read",] }"#,
    "path a { capabilities = [\"read\"] }",
    r#"path "a" "b" { capabilities = ["read"] }"#,
    "# c\n// d\n/* e\n * f **/path \"a\" {\r\n\tcapabilities = [ # g\n \"read\" /* h */ ]\r\n}\r\n",
    r#"path "a" { capabilities = ["read"], comment = "x" } path "b" {}, path "c" {}"#,
    r#"path "a" { capabilities = ["read"] min_wrapping_ttl = "" max_wrapping_ttl = 0 }"#,
    r#"path "\x61" { capabilities = ["\u0072ead"] }"#,
    r#"path "${b}" {} path "${x{y}z}*" { } path "a" { capabilities = ["read"] }"#,
    r#"name = "x" path "a" { policy = "" capabilities = ["read"] }"#,
    r#"path "a" { capabilities = ["read"] expiration = "" comment = "höchst → \"x\"" }"#,
    r#"path "a" { capabilities = ["read"] allowed_parameters { x = [1, "b", true, -2, 1.5] "y" = [] } }"#,
    r#"path "a" { capabilities = ["read", "recover", "subscribe"] subscribe_event_types = ["*"] }"#,
    r#" {"path": {"a": {"capabilities": ["read"]}}} "#,
    r#"{"path": [{"a": {"capabilities": ["read"]}}, {"b": {"capabilities": []}}], "name": "x"}"#,
    r#"{"path": {"a": {"capabilities": ["read"]}, "b": {}}}"#,
    r#"{"path": {"a": {"capabilities": []}, "a": {"capabilities": ["read"]}}}"#,
    r#"{"path": {"a": {"capabilities": ["read"], "denied_parameters": {"z": [], "y": ["b"]}}}}"#,
];

#[test]
fn what_both_servers_read_alike_is_read() {
    for text in READ {
        assert_eq!(acl(&[text]).capabilities("a", NOW).unwrap()[..1], ["read"], "{text}");
    }
}

#[test]
fn a_block_without_a_label_is_one_for_its_own_name() {
    let acl = acl(&[r#"path { capabilities = ["read"] }"#]);
    assert_eq!(decides(&acl, Operation::Read, "path"), "allow");
}

#[test]
fn an_empty_text_grants_nothing() {
    for text in ["", "\n", "# nothing", "/**/", "name = \"x\""] {
        assert_eq!(decides(&acl(&[text]), Operation::Read, "a"), "deny", "{text:?}");
    }
}

/// Malformed, hostile, or read differently by two servers; none may say what it holds.
fn opaque() -> Vec<(&'static str, String)> {
    let inside = |attributes: &str| format!("path \"CANARY\" {{ {attributes} }}");
    let named = [
        ("a string that does not end", "path \"CANARY".to_owned()),
        ("a newline in a string", "path \"CANARY\n\" {}".into()),
        ("a comment that does not end", "/* CANARY".into()),
        ("a block that does not end", "path \"CANARY\" {".into()),
        ("too many closing braces", "path \"CANARY\" {} }".into()),
        ("a list that does not end", inside("capabilities = [\"read\"")),
        ("a list without commas", inside("capabilities = [\"read\" \"list\"]")),
        ("deep braces", "a {".repeat(100_000)),
        ("deep brackets in JSON", "{\"path\":".to_owned() + &"[".repeat(100_000)),
        ("a megabyte of braces", "{".repeat(1 << 20)),
        ("a megabyte of closing braces", "}".repeat(1 << 20)),
        ("NUL", "path \"CANARY\0\" {}".into()),
        ("NUL in a comment", "# CANARY\0".into()),
        ("a byte order mark", "\u{feff}path \"CANARY\" {}".into()),
        ("a blank that is not ASCII", "\u{a0}{\"path\": {}}".into()),
        ("a character that the scanner reserves", "# CANARY \u{e123}".into()),
        ("plus and star", "path \"CANARY/+*\" {}".into()),
        ("an unknown attribute", inside("canary_ttl = \"CANARY\"")),
        ("an unknown key at the top", "canary \"CANARY\" {}".into()),
        ("another case", inside("Capabilities = [\"read\"]")),
        ("an unknown capability", inside("capabilities = [\"CANARY\", \"deny\"]")),
        ("root as a capability", inside("capabilities = [\"root\"]")),
        ("capabilities that are a string", inside("capabilities = \"CANARY\"")),
        ("single quotes", "path 'CANARY' {}".into()),
        ("a path by assignment", "path = { \"CANARY\" = {} }".into()),
        ("a label and an assignment", "path \"CANARY\" = {}".into()),
        ("a bad escape", "path \"CANARY\\q\" {}".into()),
        ("half a surrogate", "path \"CANARY\\ud800\" {}".into()),
        ("a byte that is no text", "path \"CANARY\\xff\" {}".into()),
        ("a quote in an interpolation", "path \"${CANARY(\"x\")}\" {}".into()),
        ("a heredoc", inside("comment = <<CANARY\nx\nCANARY\n")),
        ("an attribute twice", inside("capabilities = [\"read\"] capabilities = [\"list\"]")),
        ("a parameter twice", inside("denied_parameters = { canary = [], CANARY = [] }")),
        ("a parameter that is not ASCII", inside("required_parameters = [\"CANARY\u{212a}\"]")),
        ("parameters that are a list", inside("allowed_parameters = [\"CANARY\"]")),
        (
            "a parameter's value that is a list",
            inside("allowed_parameters = { x = [[\"CANARY\"]] }"),
        ),
        (
            "times that exclude each other",
            inside("min_wrapping_ttl = \"2h\" max_wrapping_ttl = \"90m\""),
        ),
        ("an octal number", inside("min_wrapping_ttl = 010")),
        ("a negative time", inside("min_wrapping_ttl = -5")),
        ("half a second", inside("min_wrapping_ttl = 0.5")),
        ("a time that is too long", inside("min_wrapping_ttl = 99999999999999999999")),
        ("a filter without list", inside("list_scan_response_keys_filter_path = \"CANARY\"")),
        ("a bad expiration", inside("expiration = \"CANARY\"")),
        ("an unknown old word", inside("policy = \"CANARY\"")),
        ("a template that does not end", "path \"CANARY/{{identity.entity.id\" {}".into()),
        ("a template that does not begin", "path \"CANARY/}}\" {}".into()),
        ("text after a JSON object", "{\"path\": {\"a\": {}}} path \"CANARY\" {}".into()),
        ("a comma at the end in JSON", "{\"path\": {\"CANARY\": {}},,}".into()),
        ("null in JSON", "{\"path\": null}".into()),
        ("a path that is a list in JSON", "{\"path\": {\"CANARY\": [{}]}}".into()),
        ("no paths in JSON", "{\"path\": {}}".into()),
        ("only objects in JSON", "{\"path\": {\"CANARY\": {\"allowed_parameters\": {}}}}".into()),
        ("path twice in JSON", "{\"path\": {\"CANARY\": {}}, \"path\": {\"b\": {}}}".into()),
    ];
    named.into()
}

#[test]
fn what_is_not_understood_is_left_to_the_server() {
    for (name, text) in opaque() {
        let policy = Arc::new(parse("p", "", &text));
        assert!(policy.opaque().is_some(), "{name} was read");
        let broad = Arc::new(parse("broad", "", &hcl("*:R")));
        let acl = Acl::new(&[policy.clone(), broad], Selectors::NoIdentity, Dialect::Current, NOW);
        let decision = acl.decide(&kv(Operation::Read, "a", Parameters::none()));
        assert!(matches!(decision, Decision::Ask(_)), "{name}: {decision:?}");
        let said = format!("{:?} {decision:?} {:?}", policy.opaque(), acl.doubt());
        assert!(!said.to_lowercase().contains("canary"), "{name} tells: {said}");
    }
}

#[test]
fn the_line_is_said() {
    let line = |text: &str| parse("p", "", text).opaque().map(|opaque| opaque.line);
    assert_eq!(line("path \"a\" {}\n\npath \"b\" { x = 1 }"), Some(3));
    assert_eq!(line("/*\n\n*/ path \"a\" {\n capabilities = 1\n}"), Some(4));
    assert_eq!(line("{\n \"path\": {\n  \"a\": {\"capabilities\": [\"x\"]}}}"), Some(3));
}
