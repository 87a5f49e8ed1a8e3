//! What do policies say? Anything that the language has, with few names, so that rules meet.

use serde_json::{Value, json};

use crate::differential::random::Random;

const SEGMENTS: [&str; 7] = ["a", "b", "ab", "c", "a+", "+a", "*"];
const CAPABILITIES: [&str; 8] =
    ["create", "delete", "list", "patch", "read", "scan", "sudo", "update"];

/// Of some callers a value that would rewrite the path, which leaves everything to the server.
const ODD: &str = " identity.entity.metadata.odd ";

/// A path and its attributes, in the order in which they are written.
struct Block {
    path: String,
    attributes: Vec<(&'static str, Value)>,
}

/// A policy's text, in either format. The server refuses some.
pub fn any(random: &mut Random, selectors: &[String]) -> String {
    // The server reads a templated policy anew for every path that it is asked about.
    let selectors = if random.per_mille(200) { selectors } else { &[] };
    let blocks: Vec<_> = (0..=random.below(6)).map(|_| block(random, selectors)).collect();
    if random.per_mille(250) { as_json(random, &blocks) } else { as_hcl(random, &blocks) }
}

fn block(random: &mut Random, selectors: &[String]) -> Block {
    let mut attributes = Vec::new();
    let capabilities = match random.below(100) {
        0..10 => vec!["deny"],
        10..15 => Vec::new(),
        15..18 => vec!["read", "deny", "no such capability"],
        _ => CAPABILITIES.into_iter().filter(|_| random.per_mille(650)).collect(),
    };
    // Without `list` the server refuses a filter.
    let filters = capabilities.contains(&"list") || random.per_mille(100);
    attributes.push(("capabilities", json!(capabilities)));
    let mut sometimes = |per_mille, name, value: &dyn Fn(&mut Random) -> Value| {
        if random.per_mille(per_mille) {
            attributes.push((name, value(random)));
        }
    };
    sometimes(40, "policy", &|random| json!(random.pick(&["read", "write", "sudo", "deny"])));
    sometimes(80, "allowed_parameters", &parameters);
    sometimes(60, "denied_parameters", &parameters);
    sometimes(40, "required_parameters", &|random| {
        json!(random.pick(&[vec!["x"], vec!["X", "version"], vec!["data"], vec![]]))
    });
    sometimes(60, "expiration", &|random| {
        json!(random.pick(&[
            "2001-02-03T04:05:06Z",
            "2101-02-03T04:05:06.7+08:00",
            "999999999",
            "4999999999",
            ""
        ]))
    });
    sometimes(30, "comment", &|_| json!("as \"agreed\" \\ ünder {braces}"));
    // Left to the server, so that there must not be many.
    sometimes(4, "min_wrapping_ttl", &|random| {
        random.pick(&[json!("5s"), json!(10), json!("1m30s"), json!(0), json!("0")])
    });
    sometimes(4, "max_wrapping_ttl", &|random| {
        random.pick(&[json!("5s"), json!("90"), json!("1d"), json!("")])
    });
    sometimes(6, "pagination_limit", &|random| json!(random.below(3)));
    sometimes(2, "mfa_methods", &|_| json!(["m"]));
    if filters {
        sometimes(4, "list_scan_response_keys_filter_path", &|_| json!("{{ .path }}{{ .key }}"));
    }
    Block { path: path(random, selectors), attributes }
}

/// Rules for the mounts that are there, and for any path.
fn path(random: &mut Random, selectors: &[String]) -> String {
    if random.per_mille(120) {
        return random
            .pick(&["*", "kv1/*", "secret/*", "secret/data/*", "+/data/*", "ns1/*"])
            .to_owned();
    }
    let mut path = random
        .pick(&[
            "",
            "",
            "/",
            "+/",
            "kv1/",
            "kv1/",
            "kv1/",
            "/kv1/",
            "secret/data/",
            "secret/data/",
            "secret/data/",
            "secret/metadata/",
            "secret/+/",
            "+/data/",
            "ns1/kv1/",
            "ns1/+/",
            "+/kv1/",
        ])
        .to_owned();
    let parts = random.below(4);
    for part in 0..parts {
        match random.below(100) {
            0..25 if !selectors.is_empty() => {
                let odd = random.per_mille(20);
                let selector = if odd { ODD.to_owned() } else { random.pick(selectors) };
                path.extend(["{{", selector.as_str(), "}}"]);
            }
            0..32 => path.push('+'),
            _ => path.push_str(SEGMENTS[random.skewed(SEGMENTS.len())]),
        }
        if part + 1 < parts {
            path.push('/');
        }
    }
    let end = random.pick(&["", "", "", "*", "*", "/*", "/*", "/"]);
    // Refused; once in a while is enough.
    if path.ends_with('+') && end == "*" && !random.per_mille(20) {
        return path;
    }
    path + end
}

fn parameters(random: &mut Random) -> Value {
    let mut parameters = serde_json::Map::new();
    for _ in 0..random.below(4) {
        let name = random.pick(&["x", "y", "version", "X", "*", "data", "value"]);
        let values: Vec<Value> = (0..random.below(3))
            .map(|_| {
                random.pick(&[
                    json!("1"),
                    json!("2"),
                    json!("1*"),
                    json!("*1"),
                    json!("**"),
                    json!("*"),
                    json!(1),
                    json!(true),
                    json!("{{identity.entity.name}}"),
                ])
            })
            .collect();
        // In both spellings, the server takes one of them, and not always the same.
        if !parameters.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            parameters.insert(name.to_owned(), json!(values));
        }
    }
    Value::Object(parameters)
}

fn as_json(random: &mut Random, blocks: &[Block]) -> String {
    let object = |block: &Block| {
        let members =
            block.attributes.iter().map(|(name, value)| format!("{}: {value}", json!(name)));
        format!("{}: {{{}}}", json!(block.path), members.collect::<Vec<_>>().join(", "))
    };
    let paths: Vec<_> = blocks.iter().map(object).collect();
    if random.per_mille(500) {
        format!("{{\"path\": {{\n{}\n}}}}", paths.join(",\n"))
    } else {
        format!("\n {{\"name\": \"x\", \"path\": [{{{}}}]}}", paths.join("},\n{"))
    }
}

fn as_hcl(random: &mut Random, blocks: &[Block]) -> String {
    let mut text =
        random.pick(&["", "# first\n", "name = \"root\"\n", "/* path \"*\" { */\r\n"]).to_owned();
    for block in blocks {
        let word = random.pick(&["path", "path", "\"path\""]);
        let between = random.pick(&["\n  ", " ", ", ", " # why\n", "\r\n\t"]);
        let attributes: Vec<_> =
            block.attributes.iter().map(|(name, value)| attribute(random, name, value)).collect();
        let label = json!(block.path).to_string();
        text.extend([word, " ", &label, " { ", &attributes.join(between), " }"]);
        text.push_str(random.pick(&["\n", " ", ",\n", " // next\n"]));
    }
    text
}

fn attribute(random: &mut Random, name: &str, value: &Value) -> String {
    let quoted = random.per_mille(100);
    let name = if quoted { json!(name).to_string() } else { name.to_owned() };
    match value {
        Value::Object(members) if !quoted && random.per_mille(500) => {
            format!("{name} {{ {} }}", pairs(members))
        }
        Value::Object(members) => format!("{name} = {{ {}\n}}", pairs(members)),
        Value::Array(list) if !list.is_empty() && random.per_mille(200) => {
            let list: Vec<_> = list.iter().map(Value::to_string).collect();
            format!("{name} = [\n{},\n]", list.join(",\n"))
        }
        value => format!("{name}={value}"),
    }
}

fn pairs(members: &serde_json::Map<String, Value>) -> String {
    let pairs = members.iter().map(|(name, values)| format!("{} = {values}", json!(name)));
    pairs.collect::<Vec<_>>().join("\n")
}
