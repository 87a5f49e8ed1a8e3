//! How much memory does an entry take, and an identity, and are a million of them as quick as a
//! thousand?
//!
//! The program without listeners (`app::Embedded`) in front of a server in this process that has a
//! secret of 1 KiB at every path. It reads more and more of them, and after each step says what the
//! process has grown by for each, and how long a read from memory of one of them takes. Not a
//! criterion benchmark: it runs once, for a minute or two, and takes 5 GiB. It fails if an entry
//! takes more than its bound.
#![allow(missing_docs, unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]

use std::convert::Infallible;
use std::future::ready;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tikv_jemallocator::Jemalloc;
use tokio::io::duplex;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};
use vaultlet::app::{Embedded, Surroundings};
use vaultlet::clock::Clock;
use vaultlet::config::Source;
use vaultlet::upstream::Carrier;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What the tokens of all identities begin with.
const TOKEN: &str = "hvs.CAESIJ2dMzZ0bXo0UlJ4eWJZVlhKcnNpN0hTcVhk";

const ENTRIES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const IDENTITIES: [usize; 4] = [10, 100, 1_000, 10_000];
/// Reads that are timed.
const TIMED: usize = 200_000;

fn main() -> ExitCode {
    // `cargo test --benches` runs this too, and asks for nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    Builder::new_current_thread().enable_all().build().unwrap().block_on(measure())
}

async fn measure() -> ExitCode {
    let vaultlet = start();
    let payload = body("0").len();
    // What is made once, whatever comes after, is no entry's.
    fill(&vaultlet, 0..100, |secret| secret, |_| 0).await;
    println!("an answer has {payload} bytes; resident when idle: {} KiB\n", resident() / 1024);
    println!("| identities | bytes each | ns a hit |\n|---|---|---|");
    let (before, mut known) = (resident(), 1);
    for identities in IDENTITIES {
        fill(&vaultlet, known..identities, |_| 0, |own| own).await;
        let each = resident().saturating_sub(before) / (identities - 1);
        known = identities;
        let took = hits(&vaultlet, 100, identities).await;
        println!("| {identities} | {each} | {} |", took.as_nanos());
    }
    println!("\n| entries | bytes each | ns a hit |\n|---|---|---|");
    let (before, mut done, mut each) = (resident(), 100, 0);
    for entries in ENTRIES {
        fill(&vaultlet, done..entries, |secret| secret, |_| 0).await;
        done = entries;
        each = resident().saturating_sub(before) / (entries - 100);
        let took = hits(&vaultlet, entries, 1).await;
        println!("| {entries} | {each} | {} |", took.as_nanos());
    }
    let bound = payload * 135 / 100 + 350;
    println!("\nan entry takes {each} bytes, of at most {bound}");
    if each > bound { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// As it comes, but that nothing ends or is refused meanwhile.
fn start() -> Embedded {
    let sets = [
        "upstream.address=http://upstream.test",
        "cache.max_bytes=8GiB",
        "cache.kv.ttl=1h",
        "policy.refresh=1h",
        "auth.limits.entries=2000000",
        "auth.limits.misses_per_second=1000000",
    ];
    let sets = sets.map(str::to_owned).to_vec();
    let config = Source { sets, ..Source::default() }.load().unwrap();
    let carrier = Carrier::new(|| {
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(http1::Builder::new().serve_connection(
            TokioIo::new(theirs),
            service_fn(|request| ready(Ok::<_, Infallible>(answer(&request)))),
        ));
        ready(Ok(ours))
    });
    let clock = Clock::default();
    Embedded::start(&config, Surroundings { clock, carrier: Some(carrier) }).unwrap()
}

/// Reads secrets, each with the token of `whose`, until each is answered from memory.
async fn fill(
    vaultlet: &Embedded,
    numbers: Range<usize>,
    which: fn(usize) -> usize,
    whose: fn(usize) -> usize,
) {
    for number in numbers {
        let (secret, own) = (which(number), whose(number));
        // A token that nobody knows is looked up after its first read.
        for attempt in 0.. {
            if read(vaultlet, secret, own).await {
                break;
            }
            assert!(attempt < 100, "secret {secret} is not answered from memory");
            if attempt > 1 {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// How long a read from memory takes, in the mean: of any of the secrets, by any of the identities.
async fn hits(vaultlet: &Embedded, secrets: usize, identities: usize) -> Duration {
    let mut lot = fastrand::Rng::with_seed(7);
    let wanted: Vec<_> =
        (0..TIMED).map(|_| (lot.usize(..secrets), lot.usize(..identities))).collect();
    let began = Instant::now();
    for (secret, own) in wanted {
        assert!(read(vaultlet, secret, own).await, "secret {secret} by {own} is no hit");
    }
    began.elapsed() / u32::try_from(TIMED).unwrap()
}

/// Whether the answer came from memory.
async fn read(vaultlet: &Embedded, secret: usize, own: usize) -> bool {
    let request = Request::get(format!("/v1/secret/data/app/{secret}"))
        .header("Host", "vault.test")
        .header("X-Vault-Request", "true")
        .header("X-Vault-Token", format!("{TOKEN}{own}"));
    let answer = vaultlet.answer(request.body(Empty::<Bytes>::new()).unwrap()).await;
    let hit = answer.headers()["x-cache"] == "HIT";
    assert!(answer.status().is_success(), "{}", answer.status());
    drop(answer.into_body().collect().await.unwrap());
    hit
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let body = match path {
        "/v1/sys/health" => r#"{"initialized":true,"sealed":false,"standby":false,"cluster_id":"c"}"#.to_owned(),
        "/v1/auth/token/lookup-self" => {
            let token = request.headers()["x-vault-token"].to_str().unwrap();
            let accessor = &token[TOKEN.len()..];
            format!(r#"{{"request_id":"2","data":{{"id":"x","accessor":"{accessor:0>24}","policies":["default","payments"],"path":"auth/kubernetes/login","display_name":"kubernetes-payments-api","entity_id":"7d2e3179-f69b-450c-7179-ac8ee8bd8ca9","num_uses":0,"orphan":true,"expire_time":null}}}}"#)
        }
        path if path.starts_with("/v1/sys/internal/ui/mounts/") => {
            r#"{"request_id":"1","data":{"path":"secret/","type":"kv","uuid":"6d8a","options":{"version":"2"}}}"#.to_owned()
        }
        path => body(path),
    };
    Response::builder()
        .header("Cache-Control", "no-store")
        .header("Content-Type", "application/json")
        .header("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

/// A KV v2 secret whose value has 1 KiB.
fn body(path: &str) -> String {
    format!(
        r#"{{"request_id":"7f0c6f40-9d5e-3e57-6f1c-1f2e6a5e0b0d","lease_id":"","renewable":false,"lease_duration":0,"data":{{"data":{{"value":"{path:x<1024}"}},"metadata":{{"created_time":"2026-11-22T05:21:09.112357442Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":3}}}},"wrap_info":null,"warnings":null,"auth":null}}"#
    )
}

/// Bytes of this process that are in memory (proc(5), `status`).
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
