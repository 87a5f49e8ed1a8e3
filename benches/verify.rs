//! What it costs to know the caller of a cached read that brings a service-account token: the
//! fingerprint of the whole token, and the verdict that is remembered under it.
//!
//! Floor: 150 ns for both, over a token of a kilobyte.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Builder;
use vaultlet::clock::Clock;
use vaultlet::config::{Keys, Kubernetes, KubernetesLogin};
use vaultlet::kubernetes::Issuers;
use vaultlet::metrics::Metrics;
use vaultlet::secret::Fingerprinter;

#[path = "../tests/e2e/mint.rs"]
#[allow(dead_code)]
mod mint;
#[allow(dead_code)]
mod typical;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

fn verify(c: &mut Criterion) {
    let key = mint::Key::rsa("_HJ6D0wbdJFzuN4OZI4yDhPTZpVqLeGXGhEnd9zg-K4");
    let token = key.token(&mint::claims(ISSUER, Duration::from_hours(1)));
    assert!((900..1100).contains(&token.len()), "{}", token.len());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.json");
    std::fs::write(&file, mint::key_set([&key])).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let minute = Duration::from_mins(1);
    let issuers = Issuers::new(&[cluster(Keys::File(file))], minute, Clock::default(), metrics);
    let issuers = Arc::new(issuers.unwrap());
    let fingerprints = Fingerprinter::new().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let verdict = issuers.verify(token.as_bytes(), fingerprints.of(token.as_bytes()));
    runtime.block_on(verdict).unwrap();

    c.bench_function("verify/known_caller", |b| {
        b.iter(|| {
            let own = fingerprints.of(black_box(token.as_bytes()));
            assert!(issuers.known(own).is_some());
        });
    });
    c.bench_function("verify/fingerprint", |b| {
        b.iter(|| fingerprints.of(black_box(token.as_bytes())));
    });
}

fn cluster(keys: Keys) -> Kubernetes {
    Kubernetes {
        issuer: ISSUER.into(),
        audiences: vec!["vaultlet".into()],
        keys,
        ca_file: None,
        token_file: None,
        review: None,
        node: None,
        leeway: Duration::from_secs(10),
        answer_logins: true,
        login: KubernetesLogin {
            namespace: String::new(),
            mount: "kubernetes".into(),
            role: "{namespace}-{service_account}".into(),
            rules: vec![],
        },
    }
}

criterion_group!(name = benches; config = typical::criterion(); targets = verify);
criterion_main!(benches);
