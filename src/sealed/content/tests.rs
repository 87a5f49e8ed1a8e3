use super::*;
use crate::clock::{Clock, Time};
use crate::secret::Fingerprinter;

/// One of everything.
fn content() -> Content {
    let (clock, fingerprints) = (Clock::manual(), Fingerprinter::new().unwrap());
    let now = clock.moment();
    let at = |seconds| At::of(now.time.plus(Duration::from_secs(seconds)), &now);
    let place = || StoredPlace {
        vault_namespace: String::new(),
        issuer: "https://kubernetes.default.svc".into(),
        namespace: "team-a".into(),
        name: "app".into(),
        uid: "1".into(),
        audiences: vec!["vaultlet".into()],
        mount: "kubernetes".into(),
        role: "app".into(),
    };
    let answer = || StoredAnswer {
        status: 200,
        headers: vec![("content-type".into(), Hidden::copy(b"application/json"))],
        body: Hidden::copy(br#"{"data":{"password":"hunter2"}}"#),
    };
    let lease = |owner, ceiling| StoredLease {
        owner,
        token: Hidden::copy(b"s.hunter2"),
        login: Some(place()),
        token_ends: At::of(Time::NEVER, &now),
        verb: "GET".into(),
        path: "database/creds/app".into(),
        namespace: 0,
        target: "/v1/database/creds/app".into(),
        headers: vec![("x-vault-namespace".into(), "ns/".into())],
        body: Hidden::copy(b""),
        lease_id: Some("database/creds/app/abc".into()),
        engine: "database".into(),
        answer: answer(),
        asked: at(0),
        answered: at(0),
        expires: at(60),
        ceiling,
        fresh: Some(at(9)),
        countless: true,
        confirmed: Some(at(2)),
        proven: Some(at(2)),
        wanted: at(86_400),
        renewable: true,
        term: Duration::from_millis(60_500),
        retired: false,
        borrowers: vec![StoredBorrower { caller: fingerprints.of(b"jwt"), until: at(60) }],
    };
    Content {
        addresses: vec!["http://127.0.0.1:8200".into()],
        written: Written::at(&now),
        cluster: Some("c1".into()),
        fingerprint_key: Hidden::copy(fingerprints.key()),
        leases: vec![
            lease(Owner::Account(place()), Some(at(600))),
            lease(Owner::Credential(fingerprints.of(b"s.hunter2")), None),
        ],
        logins: vec![StoredLogin {
            place: place(),
            token: Hidden::copy(b"s.hunter2"),
            auth: Hidden::copy(br#"{"policies":["app"]}"#),
            made: at(0),
            renewed: at(1),
            looked_up: Some(at(1)),
            expires: at(600),
            renewable: true,
            term: Duration::from_mins(10),
        }],
        badges: vec![StoredBadge {
            own: fingerprints.of(b"vlt.abc"),
            accessor: "vlt-1".into(),
            jwt: Hidden::copy(b"hunter2.jwt"),
            place: place(),
            made: now.unix,
            term: Duration::from_mins(10),
            expires: at(600),
        }],
        identities: Vec::new(),
        mounts: vec![StoredMount { path: "secret/".into(), version: 2, uuid: "u".into() }],
        entries: vec![StoredEntry {
            path: "secret/data/app".into(),
            namespace: 0,
            version: Some(3),
            scope: StoredScope::Caller(fingerprints.of(b"s.hunter2")),
            answer: answer(),
            asked: at(0),
            answered: at(0),
            refresh: at(48),
            fresh: at(60),
            stale_if_error: at(3660),
            stale_if_sealed: at(60),
            end: At::of(Time::NEVER, &now),
            proofs: vec![StoredProof { class: [9; 16], at: at(0) }],
        }],
        intents: vec![Intent {
            owner: Owner::Account(place()),
            path: "database/creds/app".into(),
            begun: at(0),
        }],
    }
}

#[test]
fn everything_comes_back_as_it_was() {
    let before = content();
    let json = before.to_json().unwrap();

    let after = Content::of_json(&json).unwrap();

    assert_eq!(*after.to_json().unwrap(), *json);
    assert_eq!(after.leases[0].answer.body.expose(), before.leases[0].answer.body.expose());
    let again = Fingerprinter::with_key(after.fingerprint_key.expose()).unwrap();
    assert!(after.badges[0].own == again.of(b"vlt.abc"));
    assert!(
        matches!(after.entries[0].scope, StoredScope::Caller(own) if own == again.of(b"s.hunter2"))
    );
}

#[test]
fn nothing_secret_is_printed() {
    let content = content();

    let shown = format!("{content:?}");

    assert!(shown.contains("database/creds/app") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_a_later_version_adds_is_ignored_and_what_it_may_leave_out_is_not_missed() {
    let json = content().to_json().unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    value["tomorrow"] = true.into();
    value["leases"][0]["tomorrow"] = true.into();
    for optional in ["logins", "badges", "entries", "intents", "cluster"] {
        value.as_object_mut().unwrap().remove(optional);
    }
    for optional in ["login", "headers", "lease_id", "ceiling", "retired", "borrowers"] {
        value["leases"][1].as_object_mut().unwrap().remove(optional);
    }

    let content = Content::of_json(value.to_string().as_bytes()).unwrap();

    assert_eq!((content.leases.len(), content.logins.len()), (2, 0));
}

#[test]
fn what_cannot_be_read_is_told_without_its_values() {
    let json = String::from_utf8(content().to_json().unwrap().to_vec()).unwrap();
    let broken = json.replacen(r#""status":200"#, r#""status":"hunter2""#, 1);
    assert_ne!(broken, json);

    for broken in [&broken, &json[..json.len() / 2], "[]", ""] {
        let reject = Content::of_json(broken.as_bytes()).unwrap_err();

        assert!(matches!(reject, Reject::Garbled { .. }));
        assert!(!format!("{reject} {reject:?}").contains("hunter2"));
    }
    let broken = json.replacen(r#""token":""#, r#""token":"=hunter2="#, 1);
    assert!(!format!("{:?}", Content::of_json(broken.as_bytes()).unwrap_err()).contains("hunter2"));
}

#[test]
fn much_of_it_grows_in_steps_that_are_wiped() {
    let mut content = content();
    let body = vec![b'x'; 300_000];
    content.leases[0].answer.body = Hidden::copy(&body);

    let again = Content::of_json(&content.to_json().unwrap()).unwrap();

    assert_eq!(again.leases[0].answer.body.expose(), body);
}
