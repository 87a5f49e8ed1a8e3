use hyper::Request;
use hyper::http::request::Parts;

use super::*;

const OWN: &str = r#"
# A namespace reads its own secrets and what is shared.
path "secret/data/{{namespace}}/*" { capabilities = ["read"] }
path "secret/metadata/{{namespace}}/*" { capabilities = ["read", "list"] }
path "secret/data/shared/+" { capabilities = ["read"] }
path "secret/data/{{namespace}}/drop" { capabilities = ["create", "update"] }
path "secret/data/{{namespace}}/add" { capabilities = ["create"] }
path "secret/*" { capabilities = ["deny"] }
"#;

fn guardrails(texts: &[&str]) -> Guardrails {
    let home = tempfile::tempdir().unwrap();
    let files: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let file = home.path().join(format!("{index}.hcl"));
            std::fs::write(&file, text).unwrap();
            file
        })
        .collect();
    Guardrails::load(&files).unwrap()
}

fn head(verb: &str, target: &str, namespace: Option<&str>) -> Parts {
    let request = Request::builder().method(verb).uri(target).header("host", "x");
    let request = match namespace {
        Some(namespace) => request.header("x-vault-namespace", namespace),
        None => request,
    };
    request.body(()).unwrap().into_parts().0
}

fn asker(namespace: &str) -> Asker<'_> {
    Asker { namespace, service_account: "app", pod: Some("app-0") }
}

fn allows<'a>(
    rules: &Guardrails,
    asker: impl Into<Option<Asker<'a>>>,
    verb: &str,
    target: &str,
) -> bool {
    let head = head(verb, target, None);
    rules.check(asker.into(), &Call::parse(&head).unwrap(), "").is_ok()
}

#[test]
fn a_governed_request_must_be_granted_and_others_are_left_alone() {
    let rules = guardrails(&[OWN]);

    for (verb, target, expected) in [
        ("GET", "/v1/secret/data/team-a/db", true),
        ("GET", "/v1/secret/data/team-b/db", false),
        ("GET", "/v1/secret/data/shared/ca", true),
        ("GET", "/v1/secret/data/shared/a/b", false),
        ("LIST", "/v1/secret/metadata/team-a", true),
        ("GET", "/v1/secret/metadata/team-a/?list=true", true),
        ("LIST", "/v1/secret/metadata/team-b", false),
        ("POST", "/v1/secret/data/team-a/db", false),
        ("POST", "/v1/secret/data/team-a/drop", true),
        // Whether it creates is not known here.
        ("POST", "/v1/secret/data/team-a/add", false),
        ("GET", "/v1/database/creds/app", true),
        ("GET", "/v1/sys/health", true),
        ("GET", "/ui/", true),
    ] {
        assert_eq!(allows(&rules, asker("team-a"), verb, target), expected, "{verb} {target}");
    }
}

#[test]
fn another_spelling_is_judged_as_the_server_would_read_it() {
    let rules = guardrails(&[OWN]);

    for target in [
        "/v1/secret%2Fdata%2Fteam-b%2Fdb",
        "/%761/secret/data/team-b/db",
        "/v1/secret/data/team-a%2F%2F../db",
        "/v1/secret%2F%2Fdata/team-b/db",
        "/v1/secret/data/shared%2F%2Fx/y",
        "/v1/secret/data//team-b/db",
    ] {
        let head = head("GET", target, None);
        let refused = Call::parse(&head)
            .map_or(true, |call| rules.check(Some(asker("team-a")), &call, "").is_err());
        assert!(refused, "{target}");
    }
}

#[test]
fn places_that_cannot_be_filled_in_grant_nothing() {
    let rules = guardrails(&[OWN]);

    assert!(!allows(&rules, None, "GET", "/v1/secret/data/team-a/db"));
    assert!(allows(&rules, None, "GET", "/v1/secret/data/shared/ca"));
    for hostile in ["*", "+", "team-a/x"] {
        assert!(!allows(&rules, asker(hostile), "GET", "/v1/secret/data/team-a/x/db"), "{hostile}");
    }
}

#[test]
fn a_second_file_cannot_give_back_what_the_first_takes() {
    let all = r#"path "*" { capabilities = ["create", "read", "update", "list", "sudo"] }"#;
    let rules = guardrails(&[OWN, all]);

    assert!(!allows(&rules, asker("team-a"), "GET", "/v1/secret/data/team-b/db"));
    assert!(allows(&rules, asker("team-a"), "GET", "/v1/secret/data/team-a/db"));
    assert!(!allows(&rules, asker("team-a"), "DELETE", "/v1/database/x"));
}

#[test]
fn a_namespace_counts_and_one_without_a_plain_form_is_refused() {
    let rules = guardrails(&[r#"path "ns1/secret/*" { capabilities = ["deny"] }"#]);
    let check = |target: &str, namespace: Option<&str>, default: &str| {
        let head = head("GET", target, namespace);
        rules.check(Some(asker("team-a")), &Call::parse(&head).unwrap(), default).is_ok()
    };

    assert!(!check("/v1/ns1/secret/data/x", None, ""));
    assert!(!check("/v1/secret/data/x", Some("ns1"), ""));
    assert!(!check("/v1/secret/data/x", None, "ns1"));
    assert!(check("/v1/secret/data/x", Some("ns2"), "ns1"));
    for odd in ["ns2/../ns1", "/ns1", "ns1//", "root"] {
        assert!(!check("/v1/secret/data/x", Some(odd), ""), "{odd}");
    }
}

#[test]
fn a_file_that_is_no_policy_is_named_with_its_line_and_not_its_text() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("broken.hcl");
    std::fs::write(&file, "path \"hunter2\" {\n  capabilities = \"read\"\n}\n").unwrap();

    let error = Guardrails::load(std::slice::from_ref(&file)).unwrap_err().to_string();

    assert!(error.contains("broken.hcl is not understood at line 2"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    std::fs::write(&file, r#"path "a/{{identity.entity.id}}" { capabilities = ["read"] }"#)
        .unwrap();
    let error = Guardrails::load(std::slice::from_ref(&file)).unwrap_err().to_string();
    assert!(error.contains("broken.hcl is not understood as a whole"), "{error}");
    let missing = Guardrails::load(&[home.path().join("none.hcl")]).unwrap_err().to_string();
    assert!(missing.contains("none.hcl"), "{missing}");
}

#[test]
fn the_log_learns_the_rule_and_the_caller_does_not() {
    let rules = guardrails(&[OWN]);
    let head = head("GET", "/v1/secret/data/team-b/db", None);

    let error = rules.check(Some(asker("team-a")), &Call::parse(&head).unwrap(), "").unwrap_err();

    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.ends_with("0.hcl:8 does not grant it"), "{cause}");
    assert!(!error.to_string().contains("hcl"), "{error}");
}
