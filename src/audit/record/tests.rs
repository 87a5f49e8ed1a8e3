use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::*;
use crate::audit::chain::LONGEST;
use crate::audit::tests::{plain, sample};

/// A whole line, at the very end of a second.
fn line(encoder: &Encoder, record: &Record<'_>) -> String {
    let unplaced = encoder.line(record, UNIX_EPOCH + Duration::from_millis(1_795_335_743_990));
    let mut line = Vec::new();
    chain::Head::NONE.link(&unplaced, &mut line);
    String::from_utf8(line).unwrap()
}

fn json(encoder: &Encoder, record: &Record<'_>) -> Value {
    serde_json::from_str(&line(encoder, record)).unwrap()
}

fn keyed(paths: AuditPaths) -> Encoder {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "0123456789abcdef0123456789abcdef").unwrap();
    Encoder::new(paths, Digester::new(Some(file.path())).unwrap())
}

#[test]
fn a_record_is_vaults_and_what_only_a_cache_knows() {
    let record = Record {
        query: b"version=3",
        login: Login {
            accessor: Some("k7Xh2pQ"),
            display_name: Some("kubernetes-payments-api"),
            policies: vec!["default", "payments"],
            entity_id: Some("5b2c"),
            token_type: Some("service"),
        },
        service_account: Some(ServiceAccount {
            issuer: "https://kubernetes.default.svc",
            namespace: "payments",
            name: "api",
            uid: "0a1b",
            pod: Some(("api-7d9f", "2c3d")),
            node: Some("node-7"),
        }),
        credential: CredentialKind::ServiceAccount,
        policy: Some("payments"),
        age: Some(Duration::from_millis(12_900)),
        request_id: Some("b46385af-5ece-6d5b-f158-898c47067d9b"),
        ..sample(b"secret/data/app")
    };

    assert_eq!(
        line(&keyed(AuditPaths::Plain), &record),
        concat!(
            r#"{"time":"2026-11-22T08:22:23.99Z","type":"response","#,
            r#""auth":{"accessor":"hmac-sha256:a49af4d892aec1f89671081f3e2cd0d5519ad84170896fe33492741f95c90f89","#,
            r#""display_name":"kubernetes-payments-api","policies":["default","payments"],"#,
            r#""policy_results":{"allowed":true,"granting_policies":"#,
            r#"[{"name":"payments","type":"acl"}]},"entity_id":"5b2c","token_type":"service"},"#,
            r#""request":{"id":"b46385af-5ece-6d5b-f158-898c47067d9b","operation":"read","#,
            r#""namespace":{"id":"root"},"path":"secret/data/app","#,
            r#""remote_address":"192.0.2.7","remote_port":35990},"#,
            r#""vaultlet":{"method":"GET","query":"hmac-sha256:0d17e3343ba31ee5c051672da072488d7a77e96bacd7f21f183e226e196c916c","#,
            r#""credential":"service_account","service_account":"#,
            r#"{"issuer":"https://kubernetes.default.svc","namespace":"payments","#,
            r#""name":"api","uid":"0a1b"},"pod":{"name":"api-7d9f","uid":"2c3d"},"#,
            r#""node":"node-7","route":"kv_read","cache":"hit","age":12,"status":200,"#,
            r#""seq":1,"prev":"#,
            r#""0000000000000000000000000000000000000000000000000000000000000000"}}"#,
        )
    );
}

#[test]
fn a_denial_says_so_in_vaults_words_or_in_ours() {
    let denied = Record {
        allowed: false,
        policy: Some("never shown as the one that granted"),
        status: StatusCode::FORBIDDEN,
        outcome: Outcome::Denied,
        ..sample(b"secret/data/app")
    };
    let error = Error::Malformed("two readings");
    let refused = Record { error: Some(&error), ..denied.clone() };

    let denied = json(&plain(), &denied);
    assert_eq!(denied["error"], "permission denied");
    assert_eq!(denied["auth"]["policy_results"], serde_json::json!({"allowed": false}));
    assert_eq!(denied["vaultlet"]["status"], 403);
    assert_eq!(json(&plain(), &refused)["error"], "request refused: two readings");
}

#[test]
fn little_is_known_of_some() {
    let record = Record { remote: None, ..sample(b"sys/health") };
    let record = Record { namespace: "team/a", credential: CredentialKind::None, ..record };

    let line = json(&plain(), &record);

    let request = serde_json::json!({
        "operation": "read", "namespace": {"path": "team/a"}, "path": "sys/health",
    });
    assert_eq!(line["request"], request);
    assert_eq!(line["auth"], serde_json::json!({"policy_results": {"allowed": true}}));
}

#[test]
fn whatever_a_name_holds_a_record_is_one_line_that_reads_back() {
    for name in [
        "quote\" and backslash\\",
        "line\nfeed\r\nand \u{2028} and \u{85}",
        "\u{1b}[2J\u{9b}31m\u{7f}\0",
        "\u{202e}txt.drowssap",
        "\"}},\"seq\":9}",
        "é 😀",
    ] {
        let record = Record {
            login: Login { display_name: Some(name), policies: vec![name], ..Login::default() },
            ..sample(name.as_bytes())
        };

        let line = line(&plain(), &record);

        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        let json: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["request"]["path"], name);
        assert_eq!(json["auth"]["display_name"], name);
        assert_eq!(json["auth"]["policies"][0], name);
        assert_eq!(json["vaultlet"]["seq"], 1);
        assert_eq!(json["vaultlet"].get("path_escaped"), None);
    }
}

#[test]
fn what_cannot_be_a_namespace_is_not_written_down() {
    let namespace = |path| {
        let record = Record { namespace: path, ..sample(b"secret/data/app") };
        json(&plain(), &record)["request"]["namespace"]["path"].as_str().unwrap().to_owned()
    };
    for path in ["team", "team-1/Sub_2"] {
        assert_eq!(namespace(path), path);
    }
    for path in ["s.mbtvkWdLu5zPMKg8SLJboFd9", "eyJh.eyJp.c2ln", "team a", "\u{9b}31m"] {
        assert!(namespace(path).starts_with("hmac-sha256:"), "{path}");
    }
}

#[test]
fn a_path_that_is_not_utf_8_is_told_from_one_that_only_looks_escaped() {
    let odd = json(&plain(), &sample(b"secret/data/%41\xff"));
    let even = json(&plain(), &sample(b"secret/data/%2541%FF"));

    assert_eq!(odd["request"]["path"], even["request"]["path"]);
    assert_eq!(odd["vaultlet"]["path_escaped"], true);
    assert_eq!(even["vaultlet"].get("path_escaped"), None);
}

#[test]
fn a_hidden_path_is_known_to_those_who_have_the_key() {
    let one = json(&keyed(AuditPaths::Hmac), &sample(b"secret/data/app"));
    let same = json(&keyed(AuditPaths::Hmac), &sample(b"secret/data/app"));
    let odd = line(&keyed(AuditPaths::Hmac), &sample(b"secret/data/\xff"));

    // As openssl says in digest.rs.
    assert_eq!(
        one["request"]["path"],
        "hmac-sha256:eabd7683e9ac4e2aaeb3d44785cf91adc5355fc387dcf1e5de8ca91775d29ee6"
    );
    assert_eq!(one, same);
    assert!(!odd.contains("secret") && !odd.contains("path_escaped"), "{odd}");
}

#[test]
fn the_longest_record_is_shorter_than_what_a_reader_takes() {
    let name = "\u{1}".repeat(100_000);
    let names: Vec<_> = std::iter::repeat_n(name.as_str(), 1000).collect();
    let method = Method::from_bytes("A".repeat(100_000).as_bytes()).unwrap();
    let known = Some(name.as_str());
    let record = Record {
        method: &method,
        namespace: &name,
        query: name.as_bytes(),
        login: Login {
            accessor: known,
            display_name: known,
            policies: names,
            entity_id: known,
            token_type: known,
        },
        service_account: Some(ServiceAccount {
            issuer: &name,
            namespace: &name,
            name: &name,
            uid: &name,
            pod: Some((&name, &name)),
            node: known,
        }),
        policy: known,
        request_id: known,
        ..sample(name.as_bytes())
    };

    let line = line(&plain(), &record);

    assert!(line.len() < LONGEST, "{}", line.len());
    let json: Value = serde_json::from_str(&line).unwrap();
    let path = json["request"]["path"].as_str().unwrap();
    assert!(path.ends_with("\u{1}...and 95904 bytes more"), "{}", path.escape_debug());
    assert_eq!(json["auth"]["policies"][64], "...and 936 more");
}
