use super::*;

const RIGHTS: [&str; 2] = ["default", "reader"];

fn rights(policies: &[&str], entity: &str) -> Rights {
    Rights {
        policies: policies.iter().map(|name| (*name).into()).collect(),
        entity: entity.into(),
        namespace: "".into(),
        display_name: "".into(),
        foreign: false,
    }
}

fn document(text: &str, more: &serde_json::Value) -> Document {
    let mut all = serde_json::json!({"policy": text, "version": 1, "modified": "2026-01-01"});
    for (key, value) in more.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    serde_json::from_value(all).unwrap()
}

fn reading(policies: &[(&str, &str)]) -> Reading {
    let none = serde_json::Value::Null;
    let all = policies.iter().map(|(name, text)| ((*name).into(), document(text, &none)));
    Reading { spaces: [("".into(), all.collect())].into(), people: BTreeMap::new() }
}

fn with_person(mut reading: Reading, name: &str) -> Reading {
    let identity = Identity { id: "e1".into(), name: name.into(), ..Identity::default() };
    reading.people.insert("e1".into(), Some(identity));
    reading
}

const READ: &str = r#"path "secret/data/x" { capabilities = ["read"] }"#;
const OWN: &str = r#"path "secret/data/{{identity.entity.name}}" { capabilities = ["read"] }"#;
const DEFAULT: &str =
    r#"path "identity/entity/id/{{identity.entity.id}}" { capabilities = ["read"] }"#;

#[test]
fn what_stays_as_it_was_has_been_so_for_longer() {
    let clock = Clock::manual();
    let start = clock.now();
    let mut content = Content::new(reading(&[("default", DEFAULT), ("reader", READ)]), None, start);
    let class = Class::for_tests("c");
    let mut next = |reading| {
        clock.advance(Duration::from_secs(1));
        content = Content::new(reading, Some(&content), clock.now());
        let since = |names: &[&str], entity| {
            let judge = content.judge(class, &rights(names, entity), clock.now()).unwrap();
            content.judges.clear();
            judge.since.since(start).as_secs()
        };
        (since(&["default"], ""), since(&RIGHTS, ""), since(&RIGHTS, "e1"))
    };

    let both = |text| reading(&[("default", DEFAULT), ("reader", text)]);
    assert_eq!(next(both(READ)), (0, 0, 0));
    assert_eq!(next(with_person(both(OWN), "u")), (0, 2, 2));
    assert_eq!(next(with_person(both(OWN), "u")), (0, 2, 2));
    assert_eq!(next(with_person(both(OWN), "v")), (0, 2, 4));
    let mut rewritten = both(READ);
    let same_text = document(DEFAULT, &serde_json::json!({"version": 2}));
    rewritten.spaces.get_mut("").unwrap().insert("default".into(), same_text);
    assert_eq!(next(rewritten), (5, 5, 5));
}

#[test]
fn whatever_is_missing_is_left_to_the_upstream() {
    let now = Clock::manual().now();
    let policies = [("default", DEFAULT), ("own", OWN), ("odd", "path {"), ("reader", READ)];
    let mut read = reading(&policies);
    let ends = |when: &str| document(READ, &serde_json::json!({"expiration": when}));
    let documents = read.spaces.get_mut("").unwrap();
    documents.insert("vague".into(), ends("tomorrow"));
    read.people.insert("e2".into(), None);
    let content = Content::new(with_person(read, "u"), None, now);
    let judged = |names: &[&str], entity: &str| {
        let class = Class::for_tests(&format!("{names:?}{entity}"));
        content.judge(class, &rights(names, entity), now).map(|judge| judge.personal)
    };

    assert_eq!(judged(&RIGHTS, ""), Ok(false));
    assert_eq!(judged(&RIGHTS, "e9"), Ok(false), "the default policy is about no secret");
    assert_eq!(judged(&["own"], ""), Ok(false));
    assert_eq!(judged(&["own"], "e1"), Ok(true));
    assert_eq!(judged(&["own"], "e2"), Err(Lack::Policy), "groups of elsewhere");
    assert_eq!(judged(&["own"], "e9"), Err(Lack::Person));
    assert_eq!(judged(&["reader", "unheard-of"], ""), Err(Lack::Policy));
    assert_eq!(judged(&["vague"], ""), Err(Lack::Policy));
    assert_eq!(judged(&[], ""), Err(Lack::Policy));
    let elsewhere = Rights { namespace: "ns1/".into(), ..rights(&RIGHTS, "") };
    assert_eq!(content.judge(Class::for_tests("n"), &elsewhere, now).err(), Some(Lack::Space));
    let opaque: Vec<_> = content.opaque().iter().map(ToString::to_string).collect();
    assert_eq!(opaque.len(), 2, "{opaque:?}");
    assert!(opaque[0].starts_with("odd, line 1: "), "{opaque:?}");
    assert_eq!(opaque[1], "vague, line 0: an expiration that is no time");
}

#[test]
fn a_policy_that_has_ended_grants_nothing() {
    use crate::policy::{Decision, Mount, Operation, Parameters, Request};
    let now = Clock::manual().now();
    for (ends, granted) in [("2020-01-01T00:00:00Z", false), ("2120-01-01T00:00:00Z", true)] {
        let mut read = reading(&[]);
        let it = document(READ, &serde_json::json!({"expiration": ends}));
        read.spaces.get_mut("").unwrap().insert("brief".into(), it);
        let content = Content::new(read, None, now);
        let judge = content.judge(Class::for_tests("c"), &rights(&["brief"], ""), now).unwrap();
        let decision = judge.acl.decide(&Request {
            operation: Operation::Read,
            path: "secret/data/x",
            mount: Mount::Kv,
            parameters: Parameters::none(),
            now: Clock::unix(),
        });
        assert_eq!(matches!(decision, Decision::Allow(_)), granted, "{ends}: {decision:?}");
    }
}
