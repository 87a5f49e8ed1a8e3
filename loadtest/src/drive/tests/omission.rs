//! Does a generator that was held up itself count what its requests would have seen?

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::theatre::scenario_of;
use crate::cluster::Cluster;
use crate::drive::{Options, Time, play, runtime};
use crate::given::Given;
use crate::progress::Progress;
use crate::record::Recorder;
use crate::wire::{Address, Pool, TIMEOUT};

const STALL: Duration = Duration::from_millis(200);

/// A server on the generator's own thread, which once a second stops everything for 200 ms.
async fn serve(listener: TcpListener) {
    let stalls = Rc::new(Cell::new(Instant::now()));
    let connections = tokio::task::LocalSet::new();
    connections
        .run_until(async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let stalls = stalls.clone();
                let answer = service_fn(move |_: Request<Incoming>| {
                    if stalls.get().elapsed() > Duration::from_secs(1) {
                        stalls.set(Instant::now());
                        std::thread::sleep(STALL);
                    }
                    async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("{}")))) }
                });
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                drop(tokio::task::spawn_local(serving));
            }
        })
        .await;
}

#[test]
fn latency_counts_from_the_intended_time_and_lateness_is_told() {
    let scenario = Rc::new(scenario_of(
        "
name: test
world:
  nodes: 1
  credential: token
  secrets: [{name: app, engine: kv2, count: 10, bytes: 100B}]
  deployments: [{name: api, pods: 1, reads: [{secrets: app, every: 1s}]}]
phases: [{name: rate, duration: 4s, arrivals: {rate: 250, spacing: even}}]
",
    ));
    let recorder = Rc::new(Recorder::new("server", &scenario, Time::Real));

    runtime(Time::Real).unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let pool = Pool::new(vec![Address::url(&address, None).unwrap()], TIMEOUT);
        let stage = Rc::new(Given::new(pool, Zeroizing::new("t".to_owned())));
        let cluster = Rc::new(Cluster::new(&scenario));
        let options = Options { time: Time::Real, pods: false };
        let (progress, stop) = (Progress::silent(), CancellationToken::new());
        tokio::select! {
            played = play(&scenario, &cluster, &stage, options, &recorder, &progress, &stop) => {
                played.unwrap();
            }
            () = serve(listener) => {}
        }
    });

    let target = recorder.target();
    let read = &target.phases[0].kinds["read"];
    assert_eq!((read.intended, read.answered), (1_000, 1_000));
    // Three or four stalls of 50 requests each: were they counted from when they were sent, only
    // the one in whose answer it stalled would have taken that long.
    let latency = read.latency;
    assert!(latency.p90 >= 50_000.0, "{latency:?}");
    assert!(latency.p99 >= 150_000.0, "{latency:?}");
    let generator = target.generator;
    assert!(generator.late.p99 >= 100_000.0, "{generator:?}");
    assert!(generator.bottleneck.unwrap().contains("in rate one of a hundred requests left"));
}
