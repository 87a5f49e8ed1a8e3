//! What it costs to say what kind of request one is.
//!
//! A cached read is routed by its mount alone; what is forwarded, by its path, beside a request to
//! the upstream that takes a thousand times as long. Floors: 250 ns for a cacheable read, 2 µs for
//! anything else, with 32 mounts known.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use hyper::StatusCode;
use vaultlet::clock::Clock;
use vaultlet::kv::mounts::Mounts;
use vaultlet::metrics::Route;
use vaultlet::request::Call;
use vaultlet::route;

mod typical;

fn route(c: &mut Criterion) {
    let mounts = Mounts::new(Duration::from_mins(1), Clock::default());
    let names = (1..32).map(|team| format!("kv-team-{team}/")).chain(["secret/".to_owned()]);
    for mount in names {
        let body = serde_json::json!({"data": {
            "path": mount, "type": "kv", "uuid": mount, "options": {"version": "2"},
        }});
        let path = format!("{mount}data/app");
        mounts.learn("", &path, StatusCode::OK, body.to_string().as_bytes()).unwrap();
    }

    let mut group = c.benchmark_group("route");
    let (head, ()) = typical::request("GET", typical::TARGET).body(()).unwrap().into_parts();
    let read = Call::parse(&head).unwrap().read("").unwrap();
    group.bench_function("cacheable", |b| {
        b.iter(|| assert_eq!(route::of_read(black_box(&read), &mounts), Route::KvRead));
    });
    for (name, method, target, expected) in [
        ("write", "PUT", typical::TARGET, Route::KvWrite),
        ("login", "PUT", "/v1/auth/kubernetes/login", Route::Login),
        ("other", "GET", "/v1/transit/keys/orders", Route::Passthrough),
    ] {
        let (head, ()) = typical::request(method, target).body(()).unwrap().into_parts();
        let call = Call::parse(&head).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| assert_eq!(route::of(black_box(&call), "", &mounts), expected));
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = typical::criterion(); targets = route);
criterion_main!(benches);
