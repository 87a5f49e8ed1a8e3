//! Which service accounts is a rule for, and which roles may they choose?
//!
//! The same match decides here that a rule can never be reached, and later which one applies.

use super::RoleRule;

impl RoleRule {
    /// Whether it is for this service account.
    pub fn covers(&self, namespace: &str, service_account: &str) -> bool {
        matches(&self.namespace, namespace) && matches(&self.service_account, service_account)
    }

    /// Whether `X-Vault-Role` may choose `role`.
    pub fn permits(&self, role: &str) -> bool {
        !role.is_empty()
            && role.bytes().all(in_role)
            && self.choose.iter().any(|glob| matches(glob, role))
    }

    /// Whether it surely is for every service account that `later` is for.
    ///
    /// Of a glob taken as text, the `*` can only be matched by a `*`, and so by one that matches
    /// whatever it stands for.
    pub(super) fn hides(&self, later: &Self) -> bool {
        self.covers(&later.namespace, &later.service_account)
    }
}

/// Whether a byte may stand in the name of a role (`framework.GenericNameRegex`).
pub(super) fn in_role(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Whether `glob`, in which `*` is any run of characters, matches the whole of `text`.
fn matches(glob: &str, text: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        // The leftmost leaves the most for the others.
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(namespace: &str, service_account: &str, choose: &[&str]) -> RoleRule {
        RoleRule {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            mount: None,
            role: None,
            choose: choose.iter().map(|&glob| glob.to_owned()).collect(),
        }
    }

    #[test]
    fn a_star_is_any_run() {
        for (glob, text) in [
            ("*", ""),
            ("a", "a"),
            ("a*", "a"),
            ("*a", "ba"),
            ("a*b", "ab"),
            ("a*b*c", "a-b-b-c"),
            ("**", "a"),
        ] {
            assert!(matches(glob, text), "{glob} {text}");
        }
        for (glob, text) in [
            ("", "a"),
            ("a", "ab"),
            ("a*", "ba"),
            ("a*a", "a"),
            ("a*b*c", "a-c-b"),
            ("*ab*b", "ab"),
        ] {
            assert!(!matches(glob, text), "{glob} {text}");
        }
    }

    #[test]
    fn a_rule_needs_both_names() {
        let rule = rule("team-*", "app", &[]);

        assert!(rule.covers("team-a", "app"));
        assert!(!rule.covers("team-a", "app2"));
        assert!(!rule.covers("other", "app"));
    }

    #[test]
    fn a_role_is_chosen_where_a_rule_says_so() {
        let some = rule("*", "*", &["app-*", "reader"]);

        assert!(some.permits("app-1") && some.permits("reader"));
        for role in ["", "admin", "readers", "app-1/../admin", "app-\n"] {
            assert!(!some.permits(role), "{role:?}");
        }
        assert!(!rule("*", "*", &[]).permits("app-1"));
        assert!(!rule("*", "*", &["*"]).permits(""));
    }

    proptest! {
        #[test]
        fn as_the_definition_says(glob in "[ab*]{0,6}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches(&glob, &text), by_definition(glob.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_hidden_rule_has_nothing_of_its_own(early in "[ab*]{0,4}", late in "[ab*]{0,4}", text in "[ab]{0,6}") {
            let (early, late) = (rule(&early, "*", &[]), rule(&late, "*", &[]));
            if early.hides(&late) && late.covers(&text, "x") {
                prop_assert!(early.covers(&text, "x"));
            }
        }
    }

    fn by_definition(glob: &[u8], text: &[u8]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some((b'*', glob)) => (0..=text.len()).any(|run| by_definition(glob, &text[run..])),
            Some((byte, glob)) => text.first() == Some(byte) && by_definition(glob, &text[1..]),
        }
    }
}
