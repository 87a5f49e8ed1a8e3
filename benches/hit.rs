//! What a cached read costs, from the parsed HTTP head to the answer: the whole of
//! `Proxy::handle`, without sockets and without hyper.
//!
//! The proxy is put together as the program does it, and has read its one entry through a server
//! in this process. Floor: 3 µs. `make bench` measures the same from outside as well, against bare
//! hyper.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use vaultlet::app::{Parts, Surroundings};
use vaultlet::body::{Body, empty};
use vaultlet::config::Source;
use vaultlet::metrics::Outcome;

mod typical;

const MOUNT: &str = r#"{"request_id":"1","data":{"path":"secret/","type":"kv","uuid":"6d8a","options":{"version":"2"}}}"#;
const LOGIN: &str = r#"{"request_id":"2","data":{"id":"x","accessor":"a","policies":["default","payments"],"path":"auth/kubernetes/login","num_uses":0,"orphan":true,"expire_time":null}}"#;
const SECRET: &str = r#"{"request_id":"7f0c6f40-9d5e-3e57-6f1c-1f2e6a5e0b0d","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"password":"correct horse battery staple","username":"payments"},"metadata":{"created_time":"2026-11-22T05:21:09.112357442Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":3}},"wrap_info":null,"warnings":null,"auth":null}"#;

fn hit(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let parts = warm(&runtime);
    let proxy = parts.edge.proxy();
    c.bench_function("hit/handle", |b| {
        b.to_async(&runtime).iter_batched(
            request,
            |request| {
                proxy.handle(request).inspect(|answered| assert_eq!(answered.outcome, Outcome::Hit))
            },
            // Few enough to stay in the processor's caches, as a request just parsed is.
            BatchSize::NumIterations(64),
        );
    });
}

fn request() -> Request<Body> {
    typical::request("GET", typical::TARGET).body(empty()).unwrap()
}

/// A proxy that knows the caller and holds the secret.
fn warm(runtime: &Runtime) -> Parts {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let parts = before(&format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(serve(listener));
        // The first read is answered before the caller's token has been looked up.
        for _ in 0..100 {
            let answered = parts.edge.proxy().handle(request()).await;
            assert_eq!(answered.response.unwrap().status(), StatusCode::OK);
            if answered.outcome == Outcome::Hit {
                return parts;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no hit within a second");
    })
}

/// As the program puts it together, with the defaults.
fn before(upstream: &str) -> Parts {
    let sets = vec![format!("upstream.address={upstream}")];
    let config = Source { sets, ..Source::default() }.load().unwrap();
    Parts::new(&config, None, Surroundings::default()).unwrap()
}

/// A server with one mount, one secret, and the same rights for everyone.
async fn serve(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let connection = http1::Builder::new().serve_connection(
            TokioIo::new(stream),
            service_fn(|request| ready(Ok::<_, Infallible>(answer(&request)))),
        );
        tokio::spawn(connection);
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let body = match request.uri().path() {
        typical::TARGET => SECRET,
        "/v1/auth/token/lookup-self" => LOGIN,
        _ => MOUNT,
    };
    Response::builder()
        .header("Cache-Control", "no-store")
        .header("Content-Type", "application/json")
        .header("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap()
}

criterion_group!(name = benches; config = typical::criterion(); targets = hit);
criterion_main!(benches);
