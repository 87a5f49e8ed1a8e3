//! What do callers ask? Requests on the keys that rules speak of, with and without parameters.

use serde_json::{Value, json};
use vaultlet::policy::{Operation, Parameters};

use crate::client::Call;
use crate::differential::random::Random;

const KEYS: [&str; 8] = ["a", "b", "ab", "a/b", "a/ab", "b/a/c", "c/a", "a+/b"];

/// A request, and what the evaluator is told of it.
#[derive(Clone, Debug)]
pub struct Question {
    pub operation: Operation,
    /// Below `/v1/`, without a query.
    pub path: String,
    query: String,
    body: Option<String>,
    pub call: Call,
}

impl Question {
    pub fn parameters(&self) -> Parameters<'_> {
        match &self.body {
            Some(body) => Parameters::of_json(body.as_bytes()),
            None => Parameters::of_query(self.query.as_bytes()),
        }
    }
}

/// A path for `sys/capabilities`, of any mount or none.
pub fn path(random: &mut Random) -> String {
    let start = random.pick(&[
        "",
        "",
        "/",
        "kv1/",
        "kv1/",
        "secret/data/",
        "secret/data/",
        "secret/metadata/",
        "ns1/kv1/",
        "other/",
        "sys/",
    ]);
    let mut path = start.to_owned();
    for _ in 0..random.below(4) {
        path.push_str(random.pick(&["a", "a", "b", "ab", "abc", "c", "", "+", "a+", "*", "root"]));
        path.push_str(random.pick(&["/", "/", "/", "", "//"]));
    }
    if random.per_mille(500) && path.ends_with('/') {
        path.pop();
    }
    // An empty path is not asked for.
    if path.is_empty() { "a".to_owned() } else { path }
}

pub fn any(random: &mut Random, namespace: &str) -> Question {
    let mount = match (namespace, random.below(10)) {
        ("", 0..4) => "kv1/",
        ("", 4..8) => "secret/data/",
        ("", 8) => "secret/metadata/",
        _ => "ns1/kv1/",
    };
    let key = KEYS[random.skewed(KEYS.len())];
    match random.below(100) {
        0..35 => read(random, mount, key),
        35..55 => list(random, mount, key),
        55..85 => write(random, mount, key),
        85..88 if mount == "secret/data/" => {
            let action = random.pick(&["delete", "undelete", "destroy"]);
            let body = json!({"versions": [1]});
            // Nobody looks whether it is there.
            sent(Operation::Update, "POST", &format!("secret/{action}/{key}"), Some(&body))
        }
        85..90 => patch(random, mount, key),
        90..97 => {
            let slash = if mount == "kv1/" { random.pick(&["", "/"]) } else { "" };
            sent(
                Operation::Delete,
                "DELETE",
                &format!("{mount}{key}{slash}?{}", query(random)),
                None,
            )
        }
        97 => sent(Operation::Head, "HEAD", &format!("{mount}{key}"), None),
        _ => sent(Operation::Help, "GET", &format!("{mount}{key}?help=1"), None),
    }
}

fn read(random: &mut Random, mount: &str, key: &str) -> Question {
    let slash = if mount == "kv1/" && random.per_mille(100) { "/" } else { "" };
    sent(Operation::Read, "GET", &format!("{mount}{key}{slash}?{}", query(random)), None)
}

fn list(random: &mut Random, mount: &str, key: &str) -> Question {
    let directory = random.pick(&[key, "a", "b", ""]);
    let slash = if directory.is_empty() { "" } else { random.pick(&["", "/"]) };
    let path = format!("{mount}{directory}{slash}");
    let path = if random.per_mille(500) { path.as_str() } else { path.trim_end_matches('/') };
    match random.below(4) {
        0 => sent(Operation::List, "GET", &format!("{path}?list=true&x=1"), None),
        1 => sent(Operation::List, "LIST", path, None),
        2 => sent(Operation::Scan, "SCAN", path, None),
        _ => sent(Operation::Scan, "GET", &format!("{path}?scan=1"), None),
    }
}

fn write(random: &mut Random, mount: &str, key: &str) -> Question {
    let verb = random.pick(&["POST", "PUT"]);
    sent(Operation::Write, verb, &format!("{mount}{key}"), Some(&body(random, mount)))
}

fn patch(random: &mut Random, mount: &str, key: &str) -> Question {
    let body = body(random, mount);
    let mut question = sent(Operation::Patch, "PATCH", &format!("{mount}{key}"), Some(&body));
    question.call = question.call.with("Content-Type", "application/merge-patch+json");
    question
}

/// What the backend makes of it does not matter: it is asked only after the policies.
fn body(random: &mut Random, mount: &str) -> Value {
    let mut body = match mount {
        "secret/data/" => json!({"data": {"value": "1"}}),
        "secret/metadata/" => json!({}),
        _ => json!({"value": random.pick(&["1", "2", "21"])}),
    };
    for _ in 0..random.below(3) {
        let name = random.pick(&["x", "y", "X", "version"]);
        body[name] = random.pick(&[
            json!("1"),
            json!("12"),
            json!("21"),
            json!(1),
            json!(true),
            json!(null),
            json!(["1"]),
            json!({"1": "1"}),
            json!("{{identity.entity.name}}"),
        ]);
    }
    body
}

fn query(random: &mut Random) -> String {
    let pairs = (0..random.below(5).saturating_sub(2)).map(|_| {
        random.pick(&[
            "version=1",
            "version=01",
            "x=1",
            "x=12",
            "x=21",
            "X=1",
            "%78=1",
            "y=%31",
            "x",
            "x=",
            "y=2",
            "x=%zz",
            "y=1;z=1",
            "x=1+",
            "help=",
            "data=1",
            "value=2",
        ])
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn sent(operation: Operation, verb: &str, target: &str, body: Option<&Value>) -> Question {
    let target = target.trim_end_matches('?');
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = body.map(Value::to_string);
    let mut call = Call::new(verb, target);
    if let Some(body) = &body {
        call = call.body(body.clone());
    }
    Question { operation, path: path.to_owned(), query: query.to_owned(), body, call }
}
