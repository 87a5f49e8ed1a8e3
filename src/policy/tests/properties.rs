//! What holds for any text and any request.

use proptest::prelude::*;

use super::*;

const OPERATIONS: [Operation; 11] = [
    Operation::Create,
    Operation::Delete,
    Operation::Head,
    Operation::Help,
    Operation::List,
    Operation::Other,
    Operation::Patch,
    Operation::Read,
    Operation::Scan,
    Operation::Update,
    Operation::Write,
];

/// Pieces of policies in any order: far likelier to be read to some depth than any text is.
fn pieces() -> impl Strategy<Value = String> {
    let words = [
        "path",
        "\"a/+/b*\"",
        "\"{{pod}}\"",
        "{",
        "}",
        "[",
        "]",
        "=",
        ",",
        ":",
        "\n",
        "\"",
        "\\",
        "${",
        "capabilities",
        "\"read\"",
        "\"deny\"",
        "allowed_parameters",
        "expiration",
        "\"1\"",
        "12",
        "true",
        "/*",
        "*/",
        "#",
        "\u{e4}",
        "control_group",
        "policy",
        "-",
        ".5",
    ];
    let word = proptest::sample::select(words.to_vec());
    proptest::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

fn paths() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        proptest::sample::select(vec!["a", "b", "ab", "", "+", "*", ".", "sys"]),
        0..5,
    )
    .prop_map(|parts| parts.join("/"))
}

proptest! {
    #[test]
    fn any_text_is_read_or_left(text in ".*") {
        parse("p", "", &text);
    }

    #[test]
    fn any_pieces_and_any_request_come_to_a_decision(
        texts in proptest::collection::vec(pieces(), 1..4),
        path in paths(),
        query in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let caller = Caller { namespace: "n", service_account: "s", pod: Some("p") };
        let policies: Vec<_> = texts.iter().map(|text| Arc::new(parse("p", "ns1", text))).collect();
        let parameters = Parameters::of_query(&query);
        Parameters::of_json(&query);
        for dialect in [Dialect::Current, Dialect::Old, Dialect::Unknown] {
            let acl = Acl::new(&policies, Selectors::Caller(&caller), dialect, NOW);
            for operation in OPERATIONS {
                acl.decide(&kv(operation, &path, &parameters));
                acl.guard(&kv(operation, &path, &parameters));
            }
            let _ = acl.capabilities(&path, NOW);
        }
    }

    /// The prefix that a search finds is the longest of all that fit.
    #[test]
    fn the_longest_prefix_is_found(stems in proptest::collection::hash_set("[ab]{0,5}", 0..12), path in "[abc]{0,8}") {
        let blocks: Vec<_> = stems.iter().map(|stem| format!("path \"{stem}*\" {{ capabilities = [\"read\"] }}\n")).collect();
        let acl = acl(&[&blocks.concat()]);
        let longest = stems.iter().enumerate().filter(|(_, stem)| path.starts_with(stem.as_str())).max_by_key(|(_, stem)| stem.len());
        let expected = longest.map(|(index, _)| index + 1);
        let decision = acl.decide(&kv(Operation::Read, &path, Parameters::none()));
        let line = match decision {
            Decision::Allow(rule) | Decision::Deny(rule) => rule.map(|rule| rule.line as usize),
            Decision::Ask(reason) => panic!("{reason}"),
        };
        prop_assert_eq!(line, expected);
    }
}
