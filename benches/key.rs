//! What it costs to find things: the fingerprint of a token, its rights class, an entry.
//!
//! A hit takes one fingerprint and one look into the store; a class is made once for each lookup
//! of a token, which is once in `policy.refresh`. Floors: 500 ns for a fingerprint, 2 µs for an
//! entry among 10,000, of which little is in the processor's caches, and 5 µs from a lookup's
//! answer to a login of a class.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use hyper::StatusCode;
use vaultlet::cache::entry::{Entry, Life};
use vaultlet::cache::{KeyRef, Scope, Store};
use vaultlet::clock::Clock;
use vaultlet::config::Source;
use vaultlet::identity::Logins;
use vaultlet::kv::answer::Answer;
use vaultlet::metrics::Metrics;
use vaultlet::request::Call;
use vaultlet::secret::{Fingerprinter, wiped};
use vaultlet::upstream::Upstream;

mod typical;

const ENTRIES: usize = 10_000;

fn fingerprint(c: &mut Criterion) {
    let fingerprints = Fingerprinter::new().unwrap();
    let (head, ()) = typical::request("GET", typical::TARGET).body(()).unwrap().into_parts();
    let token = Call::parse(&head).unwrap().headers.token.unwrap();
    c.bench_function("key/fingerprint", |b| {
        b.iter(|| fingerprints.of(black_box(token)));
    });
}

fn class(c: &mut Criterion) {
    let (clock, metrics) = (Clock::default(), Arc::new(Metrics::new().unwrap()));
    let config = Source::default().load().unwrap();
    let upstream =
        Upstream::new(&config.upstream, None, clock.clone(), Arc::clone(&metrics)).unwrap();
    let fingerprints = Fingerprinter::new().unwrap();
    let window = Duration::from_mins(1);
    let logins = Logins::new(Arc::new(upstream), fingerprints, window, clock, metrics);
    let answer = serde_json::json!({"request_id": "8f2b", "data": {
        "accessor": "0Fs1ZzkwQqgCyy9XkTmNb2sJ", "creation_time": 1_795_000_000, "creation_ttl": 3600,
        "display_name": "kubernetes-payments-api", "entity_id": "7d2e3179-f69b-450c-7179-ac8ee8bd8ca9",
        "expire_time": "2036-11-22T07:00:00.123456789Z", "explicit_max_ttl": 0, "id": typical::TOKEN,
        "identity_policies": ["team-payments"], "issue_time": "2026-11-22T06:00:00.123456789Z",
        "meta": {"role": "payments-api", "service_account_name": "api"}, "num_uses": 0,
        "orphan": true, "path": "auth/kubernetes/login", "policies": ["default", "payments-read"],
        "renewable": true, "ttl": 3600, "type": "service",
    }});
    let answer = answer.to_string();
    c.bench_function("key/class", |b| {
        b.iter(|| {
            let facts = logins.facts(black_box(answer.as_bytes())).unwrap();
            logins.overhear(facts, logins.now(), logins.epoch());
        });
    });
}

fn store(c: &mut Criterion) {
    let (clock, metrics) = (Clock::default(), Arc::new(Metrics::new().unwrap()));
    let store = Store::new(1 << 30, clock.clone(), metrics);
    let paths: Vec<String> = (0..ENTRIES).map(|n| format!("secret/data/team-{n}/db")).collect();
    let key = |path| KeyRef { path, namespace: 0, version: None, scope: Scope::All };
    let now = clock.now();
    let later = now.plus(Duration::from_hours(1));
    let life = Life {
        refresh: later,
        fresh: later,
        stale_if_error: later,
        stale_if_sealed: later,
        end: later,
    };
    for path in &paths {
        let body = wiped(vec![b'x'; 512]);
        let answer = Answer { status: StatusCode::OK, headers: Arc::default(), body };
        let entry = Entry::new(answer, (now, now), life, store.stamp(path), None);
        store.put(key(path).to_key(), &Arc::new(entry));
    }
    store.tidy();
    assert_eq!(store.size().0, ENTRIES as u64);

    // In another order than they were stored, and never the same twice in a row.
    let mut order = (0..ENTRIES).map(|n| &paths[n * 7919 % ENTRIES]).cycle();
    c.bench_function("key/store_hit", |b| {
        b.iter(|| assert!(store.get(key(black_box(order.next().unwrap()))).is_some()));
    });
    let absent: Vec<String> = paths.iter().map(|path| format!("{path}2")).collect();
    let mut order = absent.iter().cycle();
    c.bench_function("key/store_miss", |b| {
        b.iter(|| assert!(store.get(key(black_box(order.next().unwrap()))).is_none()));
    });
}

criterion_group!(name = benches; config = typical::criterion(); targets = fingerprint, class, store);
criterion_main!(benches);
