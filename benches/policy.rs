//! What it costs to decide by the rules of a token with 50 policies.
//!
//! 400 rules: exact paths, prefixes within prefixes and, as in OpenBao's own `default`, some with
//! `+`. Floor: 1 µs for a decision. Reading the texts and merging them happens once for each token
//! and each change of its policies; floor: 1 ms for all 50.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use vaultlet::policy::{
    Acl, Decision, Dialect, Mount, Operation, Parameters, Policy, Request, Selectors, parse,
};

#[expect(dead_code, reason = "nothing is sent here")]
mod typical;

/// What one team may do.
fn text(team: usize) -> String {
    let mut text = format!(
        r#"
path "secret/data/team-{team}/*"        {{ capabilities = ["create", "read", "update"] }}
path "secret/data/team-{team}/locked/*" {{ capabilities = ["deny"] }}
path "secret/metadata/team-{team}/*"    {{ capabilities = ["read", "list"] }}
path "secret/data/shared/team-{team}"   {{ capabilities = ["read"] }}
path "kv-{team}/*"                      {{ capabilities = ["read", "list"] }}
path "kv-{team}/config"                 {{ capabilities = ["read", "update"] }}
path "secret/data/bounded-{team}"       {{ capabilities = ["read"] required_parameters = ["version"] }}
"#
    );
    let last = match team % 5 {
        0 => format!(r#"path "secret/data/+/public-{team}/*" {{ capabilities = ["read"] }}"#),
        _ => format!(r#"path "auth/token/roles/team-{team}"  {{ capabilities = ["read"] }}"#),
    };
    text.push_str(&last);
    text
}

fn policies() -> Vec<Arc<Policy>> {
    (0..50).map(|team| Arc::new(parse(&format!("team-{team}"), "", &text(team)))).collect()
}

fn build(policies: &[Arc<Policy>]) -> Acl {
    let acl = Acl::new(policies, Selectors::NoIdentity, Dialect::Current, 0);
    assert_eq!(acl.doubt(), None);
    acl
}

fn decide(c: &mut Criterion) {
    let acl = build(&policies());
    let version = Parameters::of_query(b"version=3");
    let mut group = c.benchmark_group("policy");
    for (name, operation, path, parameters, allowed) in [
        ("exact", Operation::Read, "kv-31/config", Parameters::none(), true),
        ("prefix", Operation::Read, "secret/data/team-31/db/main", Parameters::none(), true),
        ("segments", Operation::Read, "secret/data/any/public-30/db", Parameters::none(), true),
        ("parameters", Operation::Read, "secret/data/bounded-7", &version, true),
        ("list", Operation::List, "secret/metadata/team-31/db", Parameters::none(), true),
        ("denied", Operation::Read, "secret/data/team-31/locked/db", Parameters::none(), false),
        ("nothing", Operation::Read, "elsewhere/data/team-31/db", Parameters::none(), false),
    ] {
        let request = Request { operation, path, mount: Mount::Kv, parameters, now: 0 };
        group.bench_function(name, |b| {
            b.iter(|| {
                let decision = acl.decide(black_box(&request));
                assert_eq!(matches!(decision, Decision::Allow(_)), allowed, "{decision:?}");
            });
        });
    }
    group.bench_function("parse and merge 50", |b| b.iter(|| build(&policies())));
    group.finish();
}

criterion_group!(name = benches; config = typical::criterion(); targets = decide);
criterion_main!(benches);
