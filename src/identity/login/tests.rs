use serde_json::Value;

use super::super::facts::Place;
use super::*;
use crate::clock::Clock;

fn lookup(changes: &Value) -> Facts {
    let mut data = serde_json::json!({
        "id": "s.1", "accessor": "a1", "policies": ["default", "reader"], "entity_id": "",
        "path": "auth/token/create", "num_uses": 0, "orphan": true, "expire_time": null,
    });
    for (key, value) in changes.as_object().unwrap() {
        data[key] = value.clone();
    }
    Facts::of_lookup(serde_json::json!({ "data": data }).to_string().as_bytes(), &Clock::default())
        .unwrap()
}

#[test]
fn what_can_change_an_answer_changes_the_class() {
    let class = |changes| lookup(&changes).class(Some("cluster")).unwrap();
    let usual = class(serde_json::json!({}));

    for different in [
        serde_json::json!({"policies": ["default"]}),
        serde_json::json!({"policies": ["default", "reader", "writer"]}),
        serde_json::json!({"policies": ["default,reader"]}),
        serde_json::json!({"identity_policies": ["group"]}),
        serde_json::json!({"entity_id": "e1"}),
        serde_json::json!({"namespace_path": "ns1/"}),
        serde_json::json!({"external_namespace_policies": {"x": ["p"]}}),
    ] {
        assert_ne!(class(different.clone()), usual, "{different}");
    }
    assert_ne!(lookup(&serde_json::json!({})).class(Some("other")).unwrap(), usual);
}

#[test]
fn what_cannot_change_an_answer_does_not() {
    let class = |changes| lookup(&changes).class(None).unwrap();
    let usual = class(serde_json::json!({}));

    for same in [
        serde_json::json!({"id": "s.2", "accessor": "a2"}),
        serde_json::json!({"policies": ["reader", "default", "reader"]}),
        serde_json::json!({"policies": ["reader"], "identity_policies": ["default"]}),
        serde_json::json!({"orphan": false, "path": "auth/approle/login"}),
        serde_json::json!({"bound_cidrs": []}),
    ] {
        assert_eq!(class(same.clone()), usual, "{same}");
    }
}

#[test]
fn tokens_that_must_reach_the_upstream_have_no_class() {
    let epoch = Epoch { all: 0, children: 0 };
    let at = Clock::manual().now();
    for limited in [
        serde_json::json!({"num_uses": 3}),
        serde_json::json!({"num_uses": -1}),
        serde_json::json!({"bound_cidrs": ["192.0.2.0/24"]}),
        serde_json::json!({"path": "identity/oidc/provider/default/token"}),
    ] {
        assert!(Login::new(lookup(&limited), None, at, epoch).class.is_none(), "{limited}");
    }
}

fn login_answer(changes: &Value) -> String {
    let mut auth = serde_json::json!({
        "client_token": "s.1", "accessor": "a", "policies": ["default", "reader"], "entity_id": "",
        "num_uses": 0, "lease_duration": 60, "orphan": true,
    });
    for (key, value) in changes.as_object().unwrap() {
        auth[key] = value.clone();
    }
    serde_json::json!({ "auth": auth }).to_string()
}

fn at(namespace: &str) -> Place {
    Place { namespace: namespace.into(), path: "auth/userpass/login/x".into() }
}

#[test]
fn a_login_teaches_the_class_that_its_lookup_would() {
    for same in [
        serde_json::json!({}),
        serde_json::json!({"policies": ["default"]}),
        serde_json::json!({"entity_id": "e1"}),
        serde_json::json!({"policies": ["default", "group"], "identity_policies": ["group"]}),
    ] {
        let said = Facts::of_issue(login_answer(&same).as_bytes(), Some(at(""))).unwrap();

        assert_eq!(said.class(Some("c")), lookup(&same).class(Some("c")), "{same}");
        assert!(said.class(Some("c")).is_some());
    }
    let elsewhere =
        Facts::of_issue(login_answer(&serde_json::json!({})).as_bytes(), Some(at("ns1/")));
    let looked_up = lookup(&serde_json::json!({"namespace_path": "ns1/"}));
    assert_eq!(elsewhere.unwrap().class(None), looked_up.class(None));
}

#[test]
fn an_answer_that_is_no_login_teaches_only_what_is_harmful() {
    let counted = login_answer(&serde_json::json!({"num_uses": 2}));

    let created = Facts::of_issue(counted.as_bytes(), None).unwrap();
    assert!(created.limited() && !created.complete && created.class(None).is_none());
    let endless = login_answer(&serde_json::json!({"lease_duration": 0}));
    assert!(!Facts::of_issue(endless.as_bytes(), Some(at(""))).unwrap().complete);
    assert!(Facts::of_issue(br#"{"auth":null,"data":{}}"#, Some(at(""))).is_none());
    let epoch = Epoch { all: 0, children: 0 };
    let login = Facts::of_issue(counted.as_bytes(), Some(at(""))).unwrap();
    assert!(Login::new(login, None, Clock::manual().now(), epoch).class.is_none());
}

#[test]
fn metadata_names_a_service_account_only_where_a_login_wrote_it() {
    let meta = serde_json::json!({
        "service_account_namespace": "team-a", "service_account_name": "app"
    });
    let login = |path: &str| {
        let facts = lookup(&serde_json::json!({ "path": path, "meta": meta.clone() }));
        let epoch = Epoch { all: 0, children: 0 };
        Login::new(facts, None, Clock::manual().now(), epoch).service_account
    };

    let expected = ("team-a".to_owned(), "app".to_owned());
    assert_eq!(login("auth/kubernetes/login").as_deref(), Some(&expected));
    assert_eq!(login("auth/token/create"), None);
}
