//! Holds schema, readers, example and reference page together.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::schema;
use crate::config::Source;

const EXAMPLE: &str = "config/vaultlet.example.yaml";
const PAGE: &str = "docs/configuration.md";
const CLUSTER: &str = "config/kubernetes.example.yaml";
const CLUSTER_PAGE: &str = "docs/kubernetes.md";
const LEASES_PAGE: &str = "docs/leases.md";
/// Where a pod finds what the examples name.
const PLACES: [&str; 4] = [
    "/etc/vaultlet/tls/",
    "/etc/vaultlet/",
    "/var/lib/",
    "/var/run/secrets/kubernetes.io/serviceaccount/",
];

/// A key of the schema: its dotted name, `[]` for the entries of a list.
struct Key {
    name: String,
    schema: Value,
}

impl Key {
    /// The default as `--set` takes it. `None`: there is none, or the key belongs to a list's entry.
    fn default(&self) -> Option<String> {
        let default = self.schema.get("default").filter(|_| !self.name.contains("[]"))?;
        Some(default.as_str().map_or_else(|| default.to_string(), str::to_owned))
    }

    /// What must be there besides this key for its section to be right.
    fn beside(&self) -> Vec<String> {
        let cluster = ["issuer=https://127.0.0.1", "audiences=vaultlet"];
        let cluster = cluster.map(|set| format!("auth.kubernetes.{set}"));
        let store = ["dir=leases", "transit.key=vaultlet", "transit.token_file=Cargo.toml"];
        let store = store.map(|set| format!("cache.leases.store.{set}"));
        match self.name.as_str() {
            name if name.starts_with("cache.leases.store.") => store.to_vec(),
            "audit.stdout" | "audit.mode" => vec!["audit.file=audit.jsonl".to_owned()],
            name if name.starts_with("audit.") => vec!["audit.stdout=true".to_owned()],
            name if name.starts_with("auth.kubernetes.token_review.") => {
                let review = "auth.kubernetes.token_review.address=https://127.0.0.1".to_owned();
                [cluster.as_slice(), &[review]].concat()
            }
            name if name.starts_with("auth.kubernetes.") => cluster.to_vec(),
            _ => vec![],
        }
    }

    fn leaf(&self) -> &str {
        self.name.rsplit(['.', ']']).next().unwrap()
    }
}

/// The form of a schema that has keys, where one has. Of a list that may be one section: that one.
fn section(schema: &Value) -> &Value {
    let mut forms = schema["anyOf"].as_array().into_iter().flatten().map(section);
    forms.find(|form| form.get("properties").is_some()).unwrap_or(schema)
}

/// Every key, sections before what is in them.
fn keys() -> Vec<Key> {
    fn walk(prefix: &str, schema: &Value, keys: &mut Vec<Key>) {
        for (name, schema) in section(schema)["properties"].as_object().into_iter().flatten() {
            let name = format!("{prefix}{name}");
            keys.push(Key { name: name.clone(), schema: schema.clone() });
            walk(&format!("{name}."), schema, keys);
            walk(&format!("{name}[]."), &schema["items"], keys);
        }
    }
    let mut keys = Vec::new();
    walk("", schema().as_value(), &mut keys);
    assert!(keys.len() > 80, "{} keys", keys.len());
    keys
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn load(sets: Vec<String>) -> Result<crate::config::Config, String> {
    Source { sets, ..Source::default() }.load().map_err(|problems| problems.to_string())
}

/// A directory with the files that the example and the page name.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "ca.pem",
        "ca.crt",
        "vault-ca.pem",
        "token",
        "tls.crt",
        "tls.key",
        "clients.pem",
        "cluster.pem",
        "reviewer.token",
        "reader.token",
        "guardrails.hcl",
        "audit.key",
        "store.key",
    ] {
        std::fs::write(directory.path().join(name), "").unwrap();
    }
    directory
}

#[test]
fn the_example_is_the_defaults() {
    let file = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE));

    assert_eq!(Source { file, ..Source::default() }.load(), Source::default().load());
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let example = read(EXAMPLE);
    for key in keys() {
        let mut lines = example.lines().map(|line| line.trim_start_matches([' ', '#', '-', '[']));
        let found = lines.any(|line| line.starts_with(&format!("{}:", key.leaf())));
        assert!(found, "{} is not in {EXAMPLE}", key.name);
    }
}

#[test]
fn what_the_example_has_commented_out_is_right_too() {
    let directory = directory();
    let file = directory.path().join("vaultlet.yaml");
    let example = read(EXAMPLE);
    let empty = [" guardrails: []", " rules: []"];
    let lines = example.lines().filter(|line| !empty.iter().any(|it| line.contains(it)));
    let lines = lines.filter(|line| !line.starts_with("  address: https"));
    let text: Vec<_> = lines
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => line.replacen('#', "", 1),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(&file, text.join("\n")).unwrap();

    let config = Source { file: Some(file), ..Source::default() }.load();

    let config = config.map_err(|problems| problems.to_string()).unwrap();
    assert_eq!(config.upstream.addresses.len(), 2);
    assert_eq!(config.listeners.len(), 2);
    assert!(config.listeners[0].tls.as_ref().unwrap().client_ca_file.is_some());
    assert_eq!(config.auth.kubernetes[0].login.rules.len(), 2);
    assert!(config.policy.identity.is_some());
    assert_eq!(config.policy.guardrails.len(), 1);
    assert_eq!(config.cache.rules.len(), 2);
    assert!(config.cache.rules[1].own_end && config.cache.leases.store.is_some());
    assert!(config.audit.unwrap().key_file.is_some());
}

#[test]
fn the_pages_examples_are_right() {
    let directory = directory();
    let pages = here(&(read(PAGE) + &read(LEASES_PAGE))) + &read(CLUSTER_PAGE);
    let blocks = pages.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // Others are a pod's or the cluster's.
    let ours = ["audit:", "auth:", "cache:", "policy:"];
    let blocks: Vec<_> =
        blocks.filter(|block| ours.iter().any(|key| block.starts_with(key))).collect();
    assert_eq!(blocks.len(), 9);
    for block in blocks {
        let file = directory.path().join("vaultlet.yaml");
        std::fs::write(&file, block).unwrap();
        let config = Source { file: Some(file), ..Source::default() }.load();
        assert_ne!(config.unwrap(), Source::default().load().unwrap(), "{block}");
    }
}

#[test]
fn the_example_of_a_cluster_is_right() {
    let directory = directory();
    let file = directory.path().join("vaultlet.yaml");
    std::fs::write(&file, here(&read(CLUSTER))).unwrap();

    let config = Source { file: Some(file), ..Source::default() }.load();

    let config = config.map_err(|problems| problems.to_string()).unwrap();
    let [cluster] = config.auth.kubernetes.as_slice() else { panic!("one cluster") };
    assert_eq!(cluster.audiences, ["vaultlet"]);
    assert!(cluster.token_file.is_some() && cluster.ca_file.is_some());
    let review = cluster.review.as_ref().unwrap();
    assert!(review.token_file.is_some() && review.ca_file.is_some() && !review.accept_when_down);
    assert!(cluster.answer_logins);
    assert!(config.listeners[0].tls.is_some() && config.listeners[0].require_request_header);
    assert_eq!(config.policy.guardrails.len(), 1);
    assert!(config.audit.is_some_and(|audit| !audit.fail_open));
}

/// A text that names files beside it instead of those of a pod.
fn here(text: &str) -> String {
    PLACES.iter().fold(text.to_owned(), |text, place| text.replace(place, ""))
}

#[test]
fn the_readers_have_the_defaults_of_the_schema() {
    for key in keys() {
        let Some(default) = key.default() else { continue };
        let (set, beside) = (format!("{}={default}", key.name), key.beside());
        let with = [std::slice::from_ref(&set), beside.as_slice()].concat();
        let without = load(beside);
        assert!(without.is_ok(), "{without:?}");
        assert_eq!(load(with), without, "--set {set}");
    }
    for key in keys().iter().filter(|key| key.name.starts_with("listeners[].")) {
        let Some(default) = key.schema.get("default").filter(|_| key.leaf() != "mode") else {
            continue;
        };
        let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        let set = format!("{}={default}", key.name.replace("[]", ".0"));
        assert_eq!(load(vec![set.clone()]), load(vec![]), "--set {set}");
    }
}

#[test]
fn the_readers_have_the_keys_of_the_schema() {
    let all = keys();
    let sections = all.iter().filter(|key| {
        section(&key.schema).get("properties").is_some()
            || key.schema["items"].get("properties").is_some()
    });
    for key in sections {
        let list = key.schema["items"].get("properties").is_some();
        let name = key.name.replace("[]", ".0") + if list { ".0" } else { "" };
        let prefix = key.name.clone() + if list { "[]." } else { "." };
        let inside = all.iter().filter_map(|key| key.name.strip_prefix(&prefix));
        let mut inside: Vec<_> = inside.filter(|name| !name.contains(['.', '['])).collect();
        inside.sort_unstable();

        let problems = load(vec![format!("{name}.qqqqqqqq=1")]).unwrap_err();

        let expected = format!("known keys here: {}", inside.join(", "));
        assert!(problems.lines().any(|line| line.ends_with(&expected)), "{problems}\n{expected}");
    }
}

/// The reference table. To write it to the page: `BLESS=1 cargo test reference`.
#[test]
fn the_reference_page_is_the_schema() {
    const MARKS: [&str; 2] = ["<!-- keys: from the schema -->\n", "<!-- end of keys -->\n"];
    let page = read(PAGE);
    let (before, rest) = page.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    let expected = [before, MARKS[0], &table(), MARKS[1], after].concat();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE), &expected).unwrap();
    }

    assert!(
        read(PAGE) == expected,
        "{PAGE} has old keys: BLESS=1 cargo test reference writes them"
    );
}

fn table() -> String {
    let mut table = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    for Key { name, schema } in keys() {
        let default = schema.get("default").map(|default| format!("`{default}`"));
        let meaning = schema["description"].as_str().unwrap();
        let words = schema["enum"].as_array().map(|words| {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            format!(" One of `{}`.", words.join("`, `"))
        });
        let (default, words) = (default.unwrap_or_default(), words.unwrap_or_default());
        writeln!(table, "| `{name}` | {default} | {meaning}{words} |").unwrap();
    }
    table
}
