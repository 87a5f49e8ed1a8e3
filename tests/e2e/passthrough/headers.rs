//! Paths, queries, headers and trailers: what arrives at the upstream, and what comes back.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Call;
use crate::raw::exchange;
use crate::stub::{Reply, Seen, Stub, json as answer};
use crate::vaultlet::Vaultlet;

fn say_ok(seen: &Seen) -> Reply {
    let own = ["/v1/sys/health", "/v1/auth/token/lookup-self", "/v1/sys/internal/"];
    if own.iter().any(|path| seen.target.starts_with(path)) {
        return Reply::Forward;
    }
    Reply::Answer(answer(200, "{\"data\":{}}"))
}

async fn scene() -> (Stub, Vaultlet) {
    let stub = Stub::alone(say_ok).await;
    let vaultlet = Vaultlet::start(&stub.address(), json!({})).await;
    (stub, vaultlet)
}

fn request(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: vault.test\r\nX-Vault-Token: any\r\n{headers}\r\n")
        .into_bytes()
}

#[tokio::test]
async fn path_and_query_arrive_byte_for_byte() {
    let (stub, vaultlet) = scene().await;
    let plain = [
        "/v1/opaque/a%2Fb",
        "/v1/opaque/a%2fb",
        "/v1/opaque/a%20b?x=%7E&y=+",
        "/v1/opaque/x?",
        "/v1/opaque/x/",
        "/v1/opaque/caf%C3%A9",
        "/v1/opaque/%66oo",
        "/v1/opaque/~!$&'()*,;=:@-._",
        "/v1/opaque/x?b=2&a=1&b=1",
        "/v1/opaque/x?a=b=c&&d",
        "/v1/opaque/x??y",
        "/v1/%6fpaque/x",
        "/v1/secret/data/app?Version=1",
        "/v1/secret/data/%61pp",
        "/v1/opaque/x?a=%2F%3f%23",
        "/ui/vault/secrets?x=1",
    ];
    // These vaultlet may refuse; if it passes them on, then as they are.
    let unclean = [
        "/v1/opaque//x",
        "/v1/opaque/./x",
        "/v1/opaque/../x",
        "/v1/opaque/%2e%2e/x",
        "/v1/opaque/%ff",
    ];

    for (target, refusable) in
        plain.map(|t| (t, false)).into_iter().chain(unclean.map(|t| (t, true)))
    {
        let answer = exchange(vaultlet.address(), &request(target, "")).await;
        let arrived = stub.count("GET", target);
        if refusable && answer.status() == Some(400) {
            assert_eq!(arrived, 0, "{target} was refused and passed on");
        } else {
            assert_eq!((answer.status(), arrived), (Some(200), 1), "{target}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn every_verb_arrives_as_it_is() {
    let (stub, vaultlet) = scene().await;
    let client = vaultlet.client().token("any");

    for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "LIST", "SCAN", "OPTIONS", "HEAD"] {
        client.send(&Call::new(method, "opaque/verb")).await.expect(200);
        assert_eq!(stub.count(method, "/v1/opaque/verb"), 1, "{method}");
    }
}

#[tokio::test]
async fn headers_for_one_hop_stay_on_it_in_both_directions() {
    let back = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Back-Hop\r\nX-Back-Hop: 1\r\n\
        Keep-Alive: timeout=5\r\nX-Vault-Index: abc\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
        Content-Length: 2\r\n\r\n{}";
    let stub = Stub::alone(move |seen| match seen.target.as_str() {
        "/v1/opaque/hops" => Reply::Answer(back.into()),
        _ => Reply::Forward,
    })
    .await;
    let vaultlet = Vaultlet::start(&stub.address(), json!({})).await;
    let forth = "Connection: keep-alive, X-Forth-Hop\r\nX-Forth-Hop: 1\r\nKeep-Alive: x\r\n\
        Proxy-Connection: x\r\nTE: gzip\r\nX-Vault-Unheard-Of: kept\r\nX-Twice: 1\r\nX-Twice: 2\r\n";

    let answer = exchange(vaultlet.address(), &request("/v1/opaque/hops", forth)).await;
    let seen = stub.seen().into_iter().find(|seen| seen.target == "/v1/opaque/hops").unwrap();
    for name in ["x-forth-hop", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen.header(name), None, "{name} went on");
    }
    assert_eq!(seen.header("x-vault-unheard-of"), Some("kept"));
    assert_eq!(seen.header("x-vault-token"), Some("any"));
    assert_eq!(seen.head.to_ascii_lowercase().matches("x-twice:").count(), 2);
    let host = stub.address();
    assert_eq!(seen.header("host"), Some(host.trim_start_matches("http://")));

    let text = answer.text().to_ascii_lowercase();
    for name in ["x-back-hop", "keep-alive"] {
        assert!(!text.contains(&format!("\r\n{name}:")), "{name} came back: {text}");
    }
    assert!(text.contains("\r\nx-vault-index: abc\r\n"), "{text}");
    assert_eq!(text.matches("\r\nset-cookie:").count(), 2, "{text}");
}

#[tokio::test]
async fn a_connection_header_cannot_strip_what_decides() {
    let (stub, vaultlet) = scene().await;

    for name in ["X-Vault-Namespace", "X-Vault-Token", "x-vault-wrap-ttl", "Authorization"] {
        let headers = format!("Connection: {name}\r\nX-Vault-Namespace: ns1\r\n");
        let answer = exchange(vaultlet.address(), &request("/v1/opaque/strip", &headers)).await;
        assert_eq!(answer.status(), Some(400), "{name}: {}", answer.text());
        assert!(answer.text().contains("vaultlet: "), "{}", answer.text());
    }
    assert_eq!(stub.count("GET", "/v1/opaque/strip"), 0);
}

#[tokio::test]
async fn what_is_ambiguous_is_refused_and_never_sent() {
    let (stub, vaultlet) = scene().await;
    let ambiguous = [
        "X-Vault-Token: other\r\n",
        "X-Vault-Namespace: a\r\nX-Vault-Namespace: b\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Transfer-Encoding: gzip\r\n",
    ];

    for headers in ambiguous {
        let answer = exchange(vaultlet.address(), &request("/v1/opaque/two", headers)).await;
        assert!(matches!(answer.status(), Some(400 | 501)), "{headers:?}: {}", answer.text());
    }
    assert_eq!(stub.count("GET", "/v1/opaque/two"), 0);
}

#[tokio::test]
async fn trailers_of_a_request_arrive() {
    let (stub, vaultlet) = scene().await;
    let upload = "PUT /v1/opaque/trailers HTTP/1.1\r\nHost: a\r\nX-Vault-Token: any\r\n\
        Transfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n4\r\nbody\r\n0\r\nX-Check: sum\r\n\r\n";

    let answer = exchange(vaultlet.address(), upload.as_bytes()).await;
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    let seen = stub.seen().into_iter().find(|seen| seen.method == "PUT").unwrap();
    let body = String::from_utf8(seen.body).unwrap().to_ascii_lowercase();
    assert!(body.contains("body\r\n") && body.contains("x-check: sum\r\n"), "{body:?}");
}

#[tokio::test]
async fn a_websocket_goes_through() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let stub = Stub::alone(move |seen| match seen.target.as_str() {
        "/v1/sys/events/subscribe/kv-v2" => Reply::Echo(switch.into()),
        _ => Reply::Forward,
    })
    .await;
    // What a websocket carries is no request head that trickles in.
    let limits = json!({"header_timeout": "1s", "idle_timeout": "1s"});
    let listeners = json!([{"address": "127.0.0.1:0", "limits": limits}]);
    let vaultlet = Vaultlet::start(&stub.address(), json!({"listeners": listeners})).await;
    let headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut stream = TcpStream::connect(vaultlet.address()).await.unwrap();

    let ask = request("/v1/sys/events/subscribe/kv-v2", headers);
    stream.write_all(&ask).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    for frame in [b"\x81\x05hello".to_vec(), vec![0x82; 70_000]] {
        stream.write_all(&frame).await.unwrap();
        let mut echo = vec![0; frame.len()];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, frame);
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    }
}

#[tokio::test]
async fn a_switch_nobody_asked_for_is_no_answer() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n";
    let stub = Stub::alone(move |seen| match seen.target.as_str() {
        "/v1/sys/mounts" => Reply::Echo(switch.into()),
        _ => Reply::Forward,
    })
    .await;
    let vaultlet = Vaultlet::start(&stub.address(), json!({})).await;

    for headers in ["", "Upgrade: websocket\r\nConnection: Upgrade\r\n"] {
        let answer = exchange(vaultlet.address(), &request("/v1/sys/mounts", headers)).await;
        assert_eq!(answer.statuses(), [502], "{headers:?}: {}", answer.text());
    }
}
