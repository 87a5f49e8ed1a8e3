//! The configuration from outside: what is read, from where, and what is said when it is wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Bind, Config, LogFormat, OwnIdentity, PolicySource, Source, TenantLimits};

/// A file in a directory of its own, and the rest of a source.
pub(super) struct Given {
    directory: TempDir,
    source: Source,
}

impl Given {
    pub(super) fn new(yaml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f.yaml");
        std::fs::write(&file, yaml).unwrap();
        Self { directory, source: Source { file: Some(file), ..Source::default() } }
    }

    pub(super) fn set(mut self, set: &str) -> Self {
        self.source.sets.push(set.to_owned());
        self
    }

    pub(super) fn variable(mut self, name: &str, value: &str) -> Self {
        self.source.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn config(&self) -> Config {
        self.source.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The path of the file.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.path().join("f.yaml")
    }

    /// What is said, without the name of the directory and the file.
    pub(super) fn problems(&self) -> String {
        let directory = format!("{}/", self.directory.path().display());
        let said = self.source.load().map(|_| ()).unwrap_err().to_string();
        said.replace(&directory, "").replace("f.yaml:", "")
    }
}

fn nothing() -> Given {
    Given::new("")
}

fn seconds(config: &Config) -> u64 {
    config.upstream.timeout.as_secs()
}

#[test]
fn every_mistake_is_named_with_a_way_out() {
    let cases = include_str!("tests/problems.txt").split("\n== ").skip(1);
    let mut count = 0;
    for case in cases {
        let (yaml, expected) = case.split_once('\n').unwrap();
        let yaml = if yaml.contains('"') { yaml.to_owned() } else { yaml.replace("\\n", "\n") };

        assert_eq!(Given::new(&yaml).problems(), expected.trim_end(), "{yaml}");
        count += 1;
    }
    assert!(count > 160, "{count} cases");
}

#[test]
fn no_message_repeats_a_secret() {
    let said = include_str!("tests/problems.txt").lines().filter(|line| !line.starts_with("=="));
    for line in said {
        assert!(!line.contains("hunter2") && !line.contains("CAES"), "{line}");
    }
    let broken = Given::new("upstream:\n  token: hunter2\n  timeout: 'hunter2").problems();
    assert!(broken.contains("not YAML") && !broken.contains("hunter2"), "{broken}");
    for set in [
        "hvs.CAESIJ",
        "upstream.token=hvs.CAESIJ",
        "upstream.address=http://a:CAESIJ@b",
        "upstream.ca_file=hvs.CAESIJ",
        "auth.kubernetes=eyJhbGciOiJSUzI1NiJ9.CAESIJ",
        "auth.kubernetes.issuer=https://CAESIJ@a",
        "auth.kubernetes.audiences=[eyJhbGciOiJSUzI1NiJ9.CAESIJ]",
        "auth.kubernetes.jwks.file=eyJhbGciOiJSUzI1NiJ9.CAESIJ",
        "auth.kubernetes.jwks.file=-----BEGIN PRIVATE KEY-----CAESIJ",
        "auth.kubernetes.login.role={eyJhbGciOiJSUzI1NiJ9.CAESIJ}",
        "policy.identity.token_file=hvs.CAESIJ",
        "policy.guardrails=[hvs.CAESIJ]",
        "cache.leases.store={dir: hvs.CAESIJ, key_file: hvs.CAESIJ}",
        "cache.leases.store.transit={mount: hvs.CAESIJ?, key: hvs.CAESIJ/, token_file: hvs.CAESIJ}",
        "audit=eyJhbGciOiJSUzI1NiJ9.CAESIJ",
        "audit.key_file=hvs.CAESIJ",
        "audit.unix=hvs.CAESIJ",
    ] {
        let said = nothing().set(set).problems();
        assert!(!said.contains("CAESIJ"), "{said}");
    }
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let yaml = "\
upstream:
  timeout: 60
listeners:
  - address: 0.0.0.0:8100
  - unix: v.sock
    tls: {}
cache:
  kv:
    tll: 5s
";
    let given = Given::new(yaml).variable("VAULTLET_LOG__LEVEL", "loud").set("policy.refresh=0s");

    assert_eq!(
        given.problems(),
        "\
2:12: upstream.timeout: expected a duration, found 60; write a number and a unit: 250ms, 30s, \
15m, 24h, 7d
4:14: listeners.0.address: secrets would cross the network unencrypted; add `tls`, or \
`plaintext: true` where something else encrypts
6:10: listeners.1.tls: `cert_file` is missing; TLS needs cert_file and key_file
6:10: listeners.1.tls: `key_file` is missing; TLS needs cert_file and key_file
6:10: listeners.1.tls: a unix socket has no TLS; remove it: `mode` says who may connect
9:5: cache.kv.tll: unknown key; did you mean `ttl`?
VAULTLET_LOG__LEVEL: log.level: expected error or warn or info or debug or trace, found \
\"loud\"; leave it out for the default
--set policy.refresh: 0s is out of range; at least 1s, at most 3650d"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let mut given = nothing();
    given.source.file = Some(PathBuf::from("no/such/file.yaml"));
    assert_eq!(
        given.problems(),
        "no/such/file.yaml: cannot be read: No such file or directory (os error 2); name a YAML file \
         that this user can read"
    );
    let large = Given::new(&"# ".repeat(1 << 20)).problems();
    assert!(large.contains("larger than 1 MiB"), "{large}");
}

#[test]
fn deep_nesting_and_growing_aliases_are_bounded() {
    let aliases = "[*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]";
    let grow = (b'b'..=b'k').fold("a: &a [1, 1]\n".to_owned(), |text, name| {
        let (before, name) = (char::from(name - 1), char::from(name));
        text + &format!("{name}: &{name} {}\n", aliases.replace('a', &before.to_string()))
    });
    let flow = ["[".repeat(100_000), "{a: ".repeat(100_000)];
    for yaml in flow.into_iter().chain(["- ".repeat(40), "- ".repeat(100_000), grow]) {
        let said = Given::new(&yaml).problems();
        assert!(said.contains("not YAML"), "{said}");
    }
}

#[test]
fn the_strongest_source_wins() {
    let file = || Given::new("upstream: {timeout: 1s}");
    assert_eq!(seconds(&nothing().config()), 60);
    assert_eq!(seconds(&file().config()), 1);
    let variable = || file().variable("VAULTLET_UPSTREAM__TIMEOUT", "2s");
    assert_eq!(seconds(&variable().config()), 2);
    let set = || variable().set("upstream.timeout=3s");
    assert_eq!(seconds(&set().config()), 3);
    assert_eq!(seconds(&set().set("upstream.timeout=4s").config()), 4);
}

#[test]
fn overrides_reach_every_kind_of_key() {
    let config = nothing()
        .set("upstream.addresses=[https://a, https://b]")
        .set("upstream.retries=0")
        .set("upstream.namespace=007")
        .set("listeners.0.address=127.0.0.1:0")
        .set("listeners.1.unix=v.sock")
        .set("listeners.1.mode=0600")
        .set("auth.limits={in_flight: 1, misses_per_second: 2}")
        .set("auth.limits.entries=3")
        .set("cache.kv.refresh_ahead=1")
        .set("cache.rules=[{path: 'a/*', cache: false}]")
        .set("cache.rules.1.path=a=b")
        .set("log={level: debug, format: text}")
        .variable("VAULTLET_ADMIN__SHOW_PATHS", "true")
        .variable("VAULTLET_SHUTDOWN", "{drain: 5s}")
        .config();

    assert_eq!(config.upstream.addresses, ["https://a/", "https://b/"]);
    assert_eq!((config.upstream.retries, config.upstream.namespace.as_str()), (0, "007"));
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    assert_eq!(config.listeners[0].bind, Bind::Tcp(free));
    assert_eq!(config.listeners[1].bind, Bind::Unix { path: "v.sock".into(), mode: 0o600 });
    let limits = TenantLimits { in_flight: 1, misses_per_second: 2, entries: 3 };
    assert_eq!(config.auth.limits, limits);
    assert!((config.cache.kv.refresh_ahead - 1.0).abs() < f64::EPSILON);
    assert!(!config.cache.rules[0].cache);
    assert_eq!(config.cache.rules[1].path, "a=b");
    assert_eq!(config.log.format, LogFormat::Text);
    assert!(config.admin.show_paths);
    assert_eq!(config.shutdown.drain, Duration::from_secs(5));
}

#[test]
fn an_override_replaces_the_key_that_says_the_same() {
    let yaml = "{upstream: {addresses: ['https://a', 'https://b']}, listeners: [{unix: v.sock}]}";
    let given = Given::new(yaml).set("upstream.address=https://c");
    let config = given.set("listeners.0.address=127.0.0.1:8100").config();

    assert_eq!(config.upstream.addresses, ["https://c/"]);
    assert!(matches!(config.listeners[0].bind, Bind::Tcp(_)));
}

#[test]
fn a_wrong_override_is_named() {
    let deep = format!("{}=1", "a.".repeat(100_000));
    let cases = [
        ("upstream", "--set expected KEY=VALUE, found no `=`; write --set upstream.timeout=30s"),
        ("upstream.timout=1s", "--set upstream.timout: unknown key; did you mean `timeout`?"),
        (&deep, "--set unknown key; see `vaultlet schema` for the known keys"),
        (
            "listeners.1.http2=false",
            "--set listeners.1.http2: `listeners` has no `1`; entries of a list are numbered from 0; \
             `vaultlet schema` has the keys",
        ),
        (
            "cache.rules=[a",
            "--set cache.rules: begins like a YAML list or mapping and is not one; close every \
             bracket and quote, as in [a, b]",
        ),
        (
            "log.level=",
            "--set log.level: expected error or warn or info or debug or trace, found \"\"; leave \
             it out for the default",
        ),
    ];
    for (set, expected) in cases {
        assert_eq!(nothing().set(set).problems(), expected);
    }
    let blocked = Given::new("upstream: {timeout: 1s}").set("upstream.timeout.x=1");
    assert_eq!(
        blocked.problems(),
        "--set upstream.timeout.x: `upstream.timeout` has no `x`; entries of a list are numbered \
         from 0; `vaultlet schema` has the keys"
    );
    let list = Given::new("listeners: [{}]").set("listeners.address=127.0.0.1:1").problems();
    assert!(list.contains("`listeners` has no `address`"), "{list}");
    let unknown = nothing().variable("VAULTLET_CACHE__TLL", "1s").problems();
    assert!(unknown.starts_with("VAULTLET_CACHE__TLL: cache.tll: unknown key"), "{unknown}");
}

#[test]
fn variables_that_kubernetes_sets_are_not_ours() {
    let given = nothing()
        .variable("VAULTLET_PORT", "tcp://10.0.0.1:8100")
        .variable("VAULTLET_SERVICE_HOST", "10.0.0.1")
        .variable("VAULTLET_PORT_8100_TCP_ADDR", "10.0.0.1");

    assert_eq!(given.config(), nothing().config());
}

/// What OpenBao 2.7.2's own command does with the same variables.
#[test]
fn the_commands_variables_are_read_as_the_commands_do() {
    let address = |given: Given| given.config().upstream.addresses[0].to_string();
    let vault = || nothing().variable("VAULT_ADDR", "http://v:1/");
    assert_eq!(address(vault()), "http://v:1/");
    assert_eq!(address(vault().variable("BAO_ADDR", "http://b:2")), "http://b:2/");
    assert_eq!(address(vault().variable("BAO_ADDR", "")), "https://127.0.0.1:8200/");
    assert_eq!(address(vault().set("upstream.addresses=[http://s]")), "http://s/");

    for (text, skip) in [("1", true), ("True", true), ("true", true), ("", false), ("F", false)] {
        let config = nothing().variable("VAULT_SKIP_VERIFY", text).config();
        assert_eq!(config.upstream.tls_skip_verify, skip, "{text}");
    }
    assert_eq!(
        nothing().variable("VAULT_SKIP_VERIFY", "yes").problems(),
        "VAULT_SKIP_VERIFY: upstream.tls_skip_verify: expected true or false, found \"yes\"; write \
         true or false, without quotes"
    );
    let config = nothing()
        .variable("VAULT_NAMESPACE", "team/a")
        .variable("BAO_TLS_SERVER_NAME", "vault.internal")
        .variable("VAULT_CACERT", "Cargo.toml")
        .config();
    assert_eq!(config.upstream.namespace, "team/a");
    assert_eq!(config.upstream.tls_server_name.as_deref(), Some("vault.internal"));
    assert_eq!(config.upstream.ca_file, Some(PathBuf::from("Cargo.toml")));

    let yaml = "upstream: {address: 'https://f', tls_skip_verify: false, namespace: ''}";
    let given = Given::new(yaml).variable("VAULT_ADDR", "nonsense");
    let several = || Given::new("upstream: {addresses: ['https://a', 'https://b']}");
    let config = several().variable("VAULT_ADDR", "https://v").config();
    assert_eq!(config, several().config());
    let file = given.variable("VAULT_SKIP_VERIFY", "1").variable("VAULT_NAMESPACE", "x").config();
    assert_eq!(file, Given::new(yaml).config(), "the file wins");
}

#[test]
fn paths_in_the_file_are_relative_to_it() {
    let given = Given::new("upstream: {ca_file: ca.pem}\nlisteners: [{unix: v.sock}]");
    let directory = given.directory.path().to_owned();
    std::fs::write(directory.join("ca.pem"), "").unwrap();

    let config = given.config();

    assert_eq!(config.upstream.ca_file, Some(directory.join("ca.pem")));
    let path = directory.join("v.sock");
    assert_eq!(config.listeners[0].bind, Bind::Unix { path, mode: 0o660 });
}

#[test]
fn policies_come_from_the_upstream_and_from_files() {
    let yaml = "policy: {source: local, identity: {token_file: f.yaml}, guardrails: [f.yaml]}";
    let given = Given::new(yaml);
    let policy = given.config().policy;

    assert_eq!(policy.source, PolicySource::Local);
    assert_eq!(policy.identity, Some(OwnIdentity { token_file: given.file() }));
    assert_eq!(policy.guardrails, [given.file()]);
}

#[test]
fn what_is_empty_or_null_is_the_default() {
    for yaml in ["", "---", "# nothing", "upstream:\ncache: {kv: , rules: }\nlog: {level: null}"] {
        assert_eq!(Given::new(yaml).config(), nothing().config(), "{yaml}");
    }
}

#[test]
fn what_only_looks_wrong_is_accepted() {
    for yaml in [
        "{listeners: [{address: '[::1]:0'}, {address: '[::1]:0'}], admin: {address: '[::1]:0'}}",
        "listeners: [{address: '[::ffff:127.0.0.1]:9'}]",
        "listeners: [{address: '10.0.0.1:9', plaintext: true}]",
        "listeners: [{address: '10.0.0.1:9', tls: {cert_file: f.yaml, key_file: f.yaml}}]",
        "{listeners: [{address: '0.0.0.0:9', plaintext: true}], upstream: {address: 'http://10.0.0.1:9'}}",
        "{listeners: [{unix: a.sock}, {unix: b.sock, mode: 0600}], admin: {address: 127.0.0.1:8100}}",
        "cache: {rules: [{path: 'a/+/*'}, {path: 'a/*'}, {path: 'b/x+y'}, {path: 'b/+'}, {path: '*'}]}",
    ] {
        Given::new(yaml).config();
    }
}

#[test]
fn aliases_and_merge_keys_are_plain_yaml() {
    let yaml = "cache:\n  kv: &kv {ttl: 5s}\n  rules: [{path: a, <<: *kv}]\n";

    assert_eq!(Given::new(yaml).config().cache.rules[0].ttl, Some(Duration::from_secs(5)));
}

/// Text that often gets past the YAML parser: known keys, and values of every kind.
fn document() -> impl Strategy<Value = String> {
    let key = "(upstream|listeners|auth|kubernetes|audit|cache|kv|rules|path|address|unix|limits|timeout|[a-z]{1,3})";
    let value = r"([0-9]{1,20}(s|KiB|\.5)?|true|'[^']{0,9}'|\[[a-z, ]{0,9}\]|https?://.{0,9})";
    let line = proptest::string::string_regex(&format!(" {{0,6}}(- )?{key}: ?({value})?")).unwrap();
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), set in any::<String>()) {
        let _ = Given::new(&text).set(&set).source.load();
    }

    #[test]
    fn no_document_panics(text in document(), set in "[a-z_.0-2]{0,20}=.{0,20}") {
        if let Err(problems) = Given::new(&text).set(&set).source.load() {
            prop_assert!(!problems.list.is_empty());
        }
    }
}
