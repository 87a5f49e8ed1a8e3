//! Large and slow bodies: streamed, bounded, and never kept.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::{Call, Client};
use crate::raw::exchange;
use crate::stub::{Reply, Stub, json as answer};
use crate::vaultlet::Vaultlet;

const MIB: usize = 1024 * 1024;
/// What eight bodies of 32 MiB may add to the memory of a process that streams them.
const ROOM: u64 = 48 * 1024 * 1024;

async fn before(
    rule: impl Fn(&crate::stub::Seen) -> Reply + Send + Sync + 'static,
) -> (Stub, Vaultlet) {
    let stub = Stub::alone(rule).await;
    let vaultlet = Vaultlet::start(&stub.address(), json!({})).await;
    (stub, vaultlet)
}

fn accept(seen: &crate::stub::Seen) -> Reply {
    match (seen.method.as_str(), seen.target.as_str()) {
        ("PUT" | "POST", _) => Reply::Answer(answer(200, "{\"data\":{}}")),
        (_, "/v1/opaque/down") => Reply::Download(32 * MIB),
        _ => Reply::Forward,
    }
}

/// The most memory that the process has while `work` runs, above what it has before.
async fn growth(vaultlet: &Vaultlet, work: impl Future<Output = ()>) -> u64 {
    let before = vaultlet.resident_bytes();
    let mut most = before;
    let watch = async {
        loop {
            most = most.max(vaultlet.resident_bytes());
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! { () = watch => unreachable!(), () = work => {} }
    most - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_uploads_of_32_mib_pass_without_being_held() {
    let (stub, vaultlet) = before(accept).await;
    let client = vaultlet.client().token("any");
    let body = Bytes::from(vec![b'u'; 32 * MIB]);

    let grown = growth(&vaultlet, async {
        let mut uploads = JoinSet::new();
        for number in 0..8 {
            let (client, body) = (client.clone(), body.clone());
            uploads.spawn(async move {
                let call = Call::new("PUT", &format!("opaque/up{number}")).body(body);
                client.send(&call).await.expect(200);
            });
        }
        uploads.join_all().await;
    })
    .await;
    let uploads: Vec<_> = stub.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!(uploads.len(), 8);
    assert!(uploads.iter().all(|seen| seen.body.len() == 32 * MIB));
    assert!(grown < ROOM, "grew by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_slow_readers_of_32_mib_do_not_make_vaultlet_hold_it() {
    let (_stub, vaultlet) = before(accept).await;
    let client = vaultlet.client().token("any");

    let grown = growth(&vaultlet, async {
        let mut downloads = JoinSet::new();
        for _ in 0..8 {
            let client = client.clone();
            downloads.spawn(async move {
                let begun = client.begin(&Call::get("opaque/down")).await.unwrap();
                sleep(Duration::from_secs(2)).await;
                let body = begun.2.collect().await.unwrap().to_bytes();
                assert_eq!(body.len(), 32 * MIB);
            });
        }
        downloads.join_all().await;
    })
    .await;
    assert!(grown < ROOM, "grew by {grown} bytes");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let (stub, vaultlet) = before(accept).await;
    let head = |framing: &str| {
        format!("PUT /v1/opaque/up HTTP/1.1\r\nHost: a\r\nX-Vault-Token: any\r\n{framing}\r\n\r\n")
    };

    let declared = head(&format!("Content-Length: {}", 33 * MIB));
    let answer = exchange(vaultlet.address(), declared.as_bytes()).await;
    assert_eq!(answer.status(), Some(413), "{}", answer.text());
    assert!(answer.text().contains("{\"errors\":[\"vaultlet: "), "{}", answer.text());

    let mut chunked = head("Transfer-Encoding: chunked").into_bytes();
    for _ in 0..33 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.extend(std::iter::repeat_n(b'c', MIB));
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = exchange(vaultlet.address(), &chunked).await;
    assert!(matches!(answer.status(), Some(413) | None), "{}", answer.text());
    assert_eq!(stub.count("PUT", "/v1/opaque/up"), 0, "the upstream got a whole body");
}

#[tokio::test]
async fn a_slow_client_is_given_its_time() {
    let (stub, vaultlet) = before(accept).await;
    let mut stream = TcpStream::connect(vaultlet.address()).await.unwrap();
    let head =
        "PUT /v1/opaque/up HTTP/1.1\r\nHost: a\r\nX-Vault-Token: any\r\nContent-Length: 20\r\n\r\n";

    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..20 {
        sleep(Duration::from_millis(150)).await;
        stream.write_all(b"s").await.unwrap();
    }
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    assert_eq!(stub.seen().last().unwrap().body, [b's'; 20]);
}

#[tokio::test]
async fn an_upload_may_take_longer_than_an_answer() {
    let stub = Stub::alone(accept).await;
    let settings = json!({"upstream": {"timeout": "1s"}});
    let vaultlet = Vaultlet::start(&stub.address(), settings).await;
    let upload = async |piece: usize| {
        let mut stream = TcpStream::connect(vaultlet.address()).await.unwrap();
        let head =
            "PUT /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: a\r\nX-Vault-Token: any\r\n";
        let head = format!("{head}Content-Length: {}\r\n\r\n", 10 * piece);
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..10 {
            sleep(Duration::from_millis(300)).await;
            // It may have been cut already.
            stream.write_all(&vec![b's'; piece]).await.ok();
        }
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        String::from_utf8_lossy(&start).into_owned()
    };

    assert_eq!(upload(4096).await, "HTTP/1.1 200");
    // One that only trickles holds a place that others wait for.
    assert_eq!(upload(1).await, "HTTP/1.1 504");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_to_an_upload_leaves_no_connection_behind() {
    // The upstream answers at once, reads nothing and keeps the connection: hyper#4176.
    let (_stub, vaultlet) = before(|seen| match seen.method.as_str() {
        "PUT" => Reply::Stuck(answer(413, r#"{"errors":["too large"]}"#)),
        _ => Reply::Forward,
    })
    .await;
    let sockets = || std::fs::read_dir(format!("/proc/{}/fd", vaultlet.pid())).unwrap().count();
    vaultlet.client().token("any").get("opaque/x").await;
    let before = sockets();

    let mut upload = format!(
        "PUT /v1/opaque/up HTTP/1.1\r\nHost: a\r\nX-Vault-Token: any\r\nContent-Length: {}\r\n\r\n",
        8 * MIB
    )
    .into_bytes();
    upload.resize(upload.len() + 8 * MIB, b'u');
    let mut passed_on = 0;
    for _ in 0..200 {
        let answer = exchange(vaultlet.address(), &upload).await;
        // A client that is still writing may miss the answer; that is TCP, not vaultlet.
        passed_on += usize::from(answer.status() == Some(413));
    }
    assert!(passed_on > 100, "only {passed_on} of 200 got the upstream's 413");
    let began = Instant::now();
    while sockets() > before + 32 {
        let now = sockets();
        assert!(began.elapsed() < Duration::from_secs(10), "{before} sockets became {now}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_large_secret_is_cached_or_not_but_always_whole() {
    let world = crate::world::World::new(json!({"cache": {"max_bytes": "4MiB"}})).await;
    let reader = world.caller_with(&["reader"]).await;
    for size in [1000, 100_000, 900_000] {
        let value = "v".repeat(size);
        world.put("large", &value).await;
        let again = Call::get("secret/data/large").with("Cache-Control", "no-cache");
        crate::world::reads(&reader.send(&again).await, &value);
        for _ in 0..3 {
            crate::world::reads(&reader.get("secret/data/large").await, &value);
        }
    }
    let direct = Client::tcp(&world.bao.address()).token("root").get("secret/data/large").await;
    assert_eq!(direct.value().map(|value| value.len()), Some(900_000));
}
