//! Does each effect do what it is called, and is it counted?

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::{Effect, Injector, Toxic};
use crate::http1::Reader;

const BODY: usize = 200;

const MS: Duration = Duration::from_millis(1);

/// Answers everything with [`BODY`] bytes.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (from, mut to) = stream.into_split();
                let mut from = Reader::new(from);
                while let Ok(Some(head)) = from.head().await {
                    let _ = from.content(head.of_request()).await;
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
                    let body = "x".repeat(BODY);
                    let _ = to.write_all(format!("{head}{body}").as_bytes()).await;
                }
            });
        }
    });
    address
}

struct Bench {
    injector: Injector,
    stream: Option<TcpStream>,
}

impl Bench {
    async fn new() -> Self {
        Self { injector: Injector::start(upstream().await).unwrap(), stream: None }
    }

    fn set(&self, effect: Effect) {
        self.injector.switch.set(vec![Toxic::new(effect)]);
    }

    fn fired(&self, name: &str) -> u64 {
        self.injector.switch.fired(name)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.injector.port())).await
    }

    /// Status and body of the answer to a request, on one connection for all of them.
    async fn get(&mut self, target: &str) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await?;
        let mut reader = Reader::new(&mut stream);
        let head = reader.head().await?.ok_or(ErrorKind::UnexpectedEof)?;
        let body = reader.content(head.of_answer("GET")).await?;
        self.stream = Some(stream);
        Ok((head.status(), body))
    }

    /// What is different with an effect on, and how long it took.
    async fn with(&mut self, effect: Effect) -> (io::Result<(u16, Vec<u8>)>, Duration) {
        assert_eq!(self.get("/v1/a").await.unwrap().1.len(), BODY);
        assert_eq!(self.fired(effect.name()), 0);
        self.set(effect);
        let began = Instant::now();
        let answer = timeout(10_000 * MS, self.get("/v1/a")).await.unwrap();
        (answer, began.elapsed())
    }
}

#[tokio::test]
async fn what_only_takes_longer_arrives_whole() {
    for (effect, least) in [
        (Effect::Latency { delay: 60 * MS, jitter: 10 * MS }, 100 * MS),
        (Effect::Bandwidth { bytes_per_second: 500 }, 300 * MS),
        (Effect::Slicer { size: 20, delay: 10 * MS }, 100 * MS),
        (Effect::Drip { every: MS }, 200 * MS),
    ] {
        let mut bench = Bench::new().await;

        let (answer, took) = bench.with(effect).await;

        assert_eq!(answer.unwrap(), (200, vec![b'x'; BODY]), "{effect:?}");
        assert!(took >= least, "{effect:?} took {took:?}");
        assert_eq!(bench.fired(effect.name()), 1);
    }
}

#[tokio::test]
async fn what_cuts_connections_leaves_no_whole_answer() {
    for (effect, kind) in [
        (Effect::Timeout { after: 50 * MS }, ErrorKind::UnexpectedEof),
        (Effect::ResetPeer { after: MS, within: 150 }, ErrorKind::ConnectionReset),
        (Effect::LimitData { bytes: 350 }, ErrorKind::UnexpectedEof),
        (Effect::Truncated, ErrorKind::UnexpectedEof),
    ] {
        let mut bench = Bench::new().await;

        let (answer, _) = bench.with(effect).await;

        assert_eq!(answer.unwrap_err().kind(), kind, "{effect:?}");
        assert_eq!(bench.fired(effect.name()), 1);
        bench.injector.switch.clear();
        assert_eq!(bench.get("/v1/a").await.unwrap().0, 200);
    }
}

#[tokio::test]
async fn what_is_said_instead_is_not_the_upstreams() {
    let errors = |body: &[u8]| String::from_utf8_lossy(body).contains("errors");
    for (effect, status) in
        [(Effect::Status(500), 500), (Effect::Status(429), 429), (Effect::Sealed, 503)]
    {
        let mut bench = Bench::new().await;

        let (answer, _) = bench.with(effect).await;

        let (said, body) = answer.unwrap();
        assert_eq!(said, status);
        assert!(errors(&body), "{effect:?}");
        assert_eq!(bench.fired(effect.name()), 1);
    }
    let mut bench = Bench::new().await;
    assert!(bench.with(Effect::Html).await.0.unwrap().1.starts_with(b"<html>"));
    let mut bench = Bench::new().await;
    assert!(bench.with(Effect::Garbage).await.0.is_err());
    assert_eq!(bench.fired("garbage"), 1);
    let mut bench = Bench::new().await;
    let (download, _) = bench.with(Effect::Download { bytes: 1 << 20 }).await;
    assert_eq!(download.unwrap().1.len(), 1 << 20);
}

#[tokio::test]
async fn down_refuses_new_connections_and_ends_old_ones() {
    let mut bench = Bench::new().await;

    let (answer, _) = bench.with(Effect::Down).await;

    assert!(answer.is_err());
    assert_eq!(bench.connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // The connection that was open, and an attempt to make one if that came to us.
    assert!((1..=2).contains(&bench.fired("down")));
    bench.injector.switch.clear();
    while bench.get("/v1/a").await.is_err() {}
}

#[tokio::test]
async fn a_black_hole_answers_nobody() {
    let mut bench = Bench::new().await;
    bench.get("/v1/a").await.unwrap();

    bench.set(Effect::BlackHole);
    while bench.fired("black_hole") == 0 {
        tokio::time::sleep(10 * MS).await;
    }

    assert!(timeout(200 * MS, bench.connect()).await.is_err());
    let mut old = bench.stream.take().unwrap();
    old.write_all(b"GET /v1/a HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(timeout(200 * MS, old.read_u8()).await.is_err());
    assert_eq!(bench.fired("black_hole"), 2);
    bench.injector.switch.clear();
    while bench.get("/v1/a").await.is_err() {}
}

#[tokio::test]
async fn a_connection_closes_late() {
    let mut bench = Bench::new().await;
    bench.get("/v1/a").await.unwrap();
    bench.set(Effect::SlowClose { delay: 100 * MS });

    let mut stream = bench.stream.take().unwrap();
    let began = Instant::now();
    stream.shutdown().await.unwrap();
    assert!(stream.read_u8().await.is_err());

    assert!(began.elapsed() >= 100 * MS);
    assert_eq!(bench.fired("slow_close"), 1);
}

#[tokio::test]
async fn an_effect_is_for_what_it_was_set_for() {
    let mut bench = Bench::new().await;
    let toxic = Toxic { prefix: "/v1/secret", spares_health: true, ..Toxic::new(Effect::Sealed) };
    bench.injector.switch.set(vec![toxic]);

    assert_eq!(bench.get("/v1/secret/data/a").await.unwrap().0, 503);
    assert_eq!(bench.get("/v1/auth/token/lookup-self").await.unwrap().0, 200);

    let half = Toxic { share: 0.5, spares_health: true, ..Toxic::new(Effect::Status(500)) };
    bench.injector.switch.set(vec![half]);
    let mut failed = 0;
    for _ in 0..200 {
        failed += u32::from(bench.get("/v1/a").await.unwrap().0 == 500);
        assert_eq!(bench.get("/v1/sys/health").await.unwrap().0, 200);
    }
    assert!((50..150).contains(&failed), "{failed}");
    // Health checks are not among them.
    assert_eq!(bench.injector.switch.requests(), 202);
}
