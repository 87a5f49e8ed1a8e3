//! What it costs to read a request's head: path, query and headers, into the canonical form.
//!
//! Every request pays this before anything is known of it, hits and refusals alike. Floor: 1 µs
//! for either of the two.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vaultlet::request::Call;

mod typical;

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    let (typical, ()) = typical::request("GET", typical::TARGET).body(()).unwrap().into_parts();
    group.bench_function("typical", |b| {
        b.iter(|| {
            let call = Call::parse(black_box(&typical)).unwrap();
            assert!(black_box(call.read("")).is_some());
        });
    });
    // Every branch that a head can take without being refused: encoded, traced, authorised twice.
    let odd = typical::request("GET", "/v1/secret/data/caf%C3%A9/db?version=01&list=true")
        .header("X-Vault-Namespace", "team-a/")
        .header("Authorization", "Bearer unused")
        .header("Cache-Control", "max-age=0, no-cache")
        .header("Connection", "keep-alive, TE")
        .header("X-Vault-Wrap-TTL", "60s")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let (odd, ()) = odd.body(()).unwrap().into_parts();
    group.bench_function("odd", |b| {
        b.iter(|| {
            let call = Call::parse(black_box(&odd)).unwrap();
            assert!(black_box(call.read("")).is_none());
        });
    });
    group.finish();
}

criterion_group!(name = benches; config = typical::criterion(); targets = read);
criterion_main!(benches);
