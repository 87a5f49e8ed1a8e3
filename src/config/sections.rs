//! The sections of the file: their keys, defaults and bounds.
//!
//! `listen` has the listeners, `kubernetes` the service accounts, `leases` the leased credentials,
//! `audit` the records, `address` the forms of addresses.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::Level;

use super::address;
use super::audit;
use super::kubernetes;
use super::leases;
use super::listen;
use super::reader::{Field, Section};
use super::{
    Admin, Auth, Cache, Config, Kv, Log, LogFormat, OwnIdentity, Policy, PolicySource, Rule,
    Shutdown, TenantLimits, Upgrade, Upstream,
};

/// For what may be turned off.
const ANY: Duration = Duration::ZERO;
/// For what would be meaningless at zero.
const SOME: Duration = Duration::from_millis(1);

/// Reads the whole document.
pub(super) fn config(root: &Section<'_>) -> Config {
    let (listeners, admin) = listen::sockets(root);
    let own = listen::addresses(&listeners, &admin);
    let upstream = root.field("upstream").section(|section| upstream(section, &own));
    Config {
        listeners,
        admin,
        auth: root.field("auth").section(|section| auth(section, &upstream.namespace)),
        policy: root.field("policy").section(policy),
        cache: root.field("cache").section(cache),
        audit: audit::audit(&root.field("audit")),
        log: root.field("log").section(log),
        shutdown: root.field("shutdown").section(|shutdown| Shutdown {
            drain: shutdown.field("drain").duration(ANY).unwrap_or(Duration::from_secs(30)),
        }),
        upgrade: root
            .field("upgrade")
            .section(|upgrade| Upgrade { socket: upgrade.field("socket").path() }),
        upstream,
    }
}

/// The operators' listener; `listen` compares its address with the callers' ones.
pub(super) fn admin(admin: &Section<'_>) -> Admin {
    let address = admin.field("address");
    Admin {
        address: address::socket(&address).unwrap_or(listen::DEFAULT_ADMIN),
        show_paths: admin.field("show_paths").flag().unwrap_or(false),
    }
}

/// `own`: our sockets, which cannot be its address.
fn upstream(upstream: &Section<'_>, own: &[SocketAddr]) -> Upstream {
    let (one, several) = (upstream.field("address"), upstream.field("addresses"));
    Upstream {
        addresses: address::upstreams(&one, &several, own),
        namespace: address::namespace(&upstream.field("namespace")).unwrap_or_default(),
        ca_file: upstream.field("ca_file").readable_file(),
        tls_server_name: address::server_name(&upstream.field("tls_server_name")),
        tls_skip_verify: upstream.field("tls_skip_verify").flag().unwrap_or(false),
        timeout: upstream.field("timeout").duration(SOME).unwrap_or(Duration::from_mins(1)),
        connect_timeout: upstream
            .field("connect_timeout")
            .duration(SOME)
            .unwrap_or(Duration::from_secs(2)),
        first_byte_timeout: upstream
            .field("first_byte_timeout")
            .duration(SOME)
            .unwrap_or(Duration::from_secs(5)),
        retries: upstream.field("retries").number(0..=10).unwrap_or(2),
        max_in_flight: upstream.field("max_in_flight").number(1..=100_000).unwrap_or(256) as usize,
        max_queue: upstream.field("max_queue").number(0..=1_000_000).unwrap_or(1024) as usize,
        recovery_rate: upstream.field("recovery_rate").number(1..=100_000).unwrap_or(200),
    }
}

/// `namespace`: that of the upstream.
fn auth(auth: &Section<'_>, namespace: &str) -> Auth {
    Auth {
        vault_tokens: auth.field("vault_tokens").flag().unwrap_or(true),
        kubernetes: kubernetes::clusters(&auth.field("kubernetes"), namespace),
        limits: auth.field("limits").section(|limits| {
            let count = |name: &'static str, range| limits.field(name).number(range);
            TenantLimits {
                in_flight: count("in_flight", 1..=100_000).unwrap_or(128) as usize,
                misses_per_second: count("misses_per_second", 1..=1_000_000).unwrap_or(1000),
                entries: count("entries", 0..=1_000_000_000).unwrap_or(20_000).into(),
            }
        }),
    }
}

fn policy(policy: &Section<'_>) -> Policy {
    let (source, identity) = (policy.field("source"), policy.field("identity"));
    let sources = [("upstream", PolicySource::Upstream), ("local", PolicySource::Local)];
    let who = source.choice(&sources).unwrap_or(PolicySource::Upstream);
    if who == PolicySource::Local && !identity.given() {
        let hint = "add `identity: {token_file: reader.token}`, a token that may read policies and \
                    identities and nothing else";
        source.complain("`local` needs `identity`, to read the upstream's policies with", hint);
    }
    let guardrails = policy.field("guardrails").list();
    Policy {
        refresh: policy
            .field("refresh")
            .duration(Duration::from_secs(1))
            .unwrap_or(Duration::from_mins(1)),
        source: who,
        identity: identity.given().then(|| identity.section(own_identity)).flatten(),
        guardrails: guardrails.iter().filter_map(Field::readable_file).collect(),
    }
}

fn own_identity(identity: &Section<'_>) -> Option<OwnIdentity> {
    let token_file = identity.field("token_file");
    if !token_file.given() {
        let hint = "add `token_file: reader.token`, the path of a file with a Vault token";
        identity.complain("`token_file` is missing", hint);
    }
    Some(OwnIdentity { token_file: token_file.readable_file()? })
}

fn cache(cache: &Section<'_>) -> Cache {
    let bytes = (64 << 10)..=(1 << 40);
    Cache {
        max_bytes: cache.field("max_bytes").size(bytes).unwrap_or(256 << 20),
        kv: cache.field("kv").section(|kv| Kv {
            ttl: kv.field("ttl").duration(SOME).unwrap_or(Duration::from_mins(1)),
            refresh_ahead: kv.field("refresh_ahead").share().unwrap_or(0.8),
            stale_if_error: kv
                .field("stale_if_error")
                .duration(ANY)
                .unwrap_or(Duration::from_hours(1)),
            stale_if_sealed: kv.field("stale_if_sealed").duration(ANY).unwrap_or(ANY),
            negative_ttl: kv.field("negative_ttl").duration(ANY).unwrap_or(Duration::from_secs(2)),
        }),
        leases: cache.field("leases").section(leases::leases),
        rules: rules(&cache.field("rules")),
    }
}

/// The rules that are right. One that no path can reach is a mistake, and is reported.
fn rules(list: &Field<'_>) -> Vec<Rule> {
    let mut rules: Vec<(usize, Rule)> = Vec::new();
    for (index, field) in list.list().iter().enumerate() {
        let Some(rule) = field.section(rule) else { continue };
        if let Some((earlier, _)) = rules.iter().find(|(_, above)| covers(&above.path, &rule.path))
        {
            let what = format!("never used: rule {earlier} above matches all its paths");
            field.complain(what, "the first match wins: move it up, or remove it");
        }
        rules.push((index, rule));
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn rule(rule: &Section<'_>) -> Option<Rule> {
    let path = rule.field("path");
    let cache = rule.field("cache");
    let ttl = rule.field("ttl");
    let stale_if_error = rule.field("stale_if_error");
    let stale_if_sealed = rule.field("stale_if_sealed");
    let negative_ttl = rule.field("negative_ttl");
    let own_end = rule.field("own_end");

    let cached = cache.flag().unwrap_or(true);
    for lifetime in [&ttl, &stale_if_error, &stale_if_sealed, &negative_ttl, &own_end] {
        if !cached && lifetime.given() {
            lifetime.complain("has no effect beside `cache: false`", "remove one of the two");
        }
    }
    if !path.given() {
        let hint = r#"add `path: "secret/data/app/*"`, a glob of Vault paths"#;
        rule.complain("`path` is missing", hint);
    }
    Some(Rule {
        path: glob(&path)?,
        cache: cached,
        ttl: ttl.duration(SOME),
        stale_if_error: stale_if_error.duration(ANY),
        stale_if_sealed: stale_if_sealed.duration(ANY),
        negative_ttl: negative_ttl.duration(ANY),
        own_end: own_end.flag().unwrap_or(false),
    })
}

/// A glob that some path of a request can match.
fn glob(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let body = text.strip_suffix('*').unwrap_or(text);
    let segments = || body.split('/');
    let problem = if text.is_empty() {
        ("is empty", "write `*` for every path")
    } else if text.starts_with('/') || text.starts_with("v1/") {
        ("matches nothing: paths begin with a mount", "write secret/data/app, without /v1/")
    } else if body.contains('*') {
        ("matches nothing: `*` counts only at the end", "use `+` for one whole segment")
    } else if body.ends_with('+') && body.len() < text.len() {
        ("has `+*`, which Vault refuses", "a final `*` alone matches any rest")
    } else if body.contains("//") || segments().any(|segment| segment == "." || segment == "..") {
        ("matches nothing: no path has empty, `.` or `..` segments", "remove the segment")
    } else if body.contains(['?', '#']) || body.contains(char::is_control) {
        ("matches nothing: a path has no query or control characters", "write the path alone")
    } else {
        return Some(text.to_owned());
    };
    field.complain(problem.0, problem.1);
    None
}

/// Whether `earlier` surely matches every path that `later` matches.
fn covers(earlier: &str, later: &str) -> bool {
    let prefix = earlier.strip_suffix('*');
    earlier == later || prefix.is_some_and(|prefix| later.starts_with(prefix))
}

fn log(log: &Section<'_>) -> Log {
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    Log {
        level: log.field("level").choice(&levels).unwrap_or(Level::INFO),
        format: log.field("format").choice(&formats).unwrap_or(LogFormat::Json),
    }
}
