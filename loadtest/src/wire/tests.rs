use std::convert::Infallible;
use std::future::{Future, pending};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

#[tokio::test]
async fn a_request_is_answered_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pool, host) = pool_of(&listener, TIMEOUT);
    drop(tokio::spawn(async move {
        loop {
            echo(listener.accept().await.unwrap().0).await;
        }
    }));

    let answer = pool.send(7, post("/v1/a?b=c", "body")).await.unwrap();

    assert_eq!(answer.status, 202);
    assert_eq!(answer.headers["x-cache"], "HIT");
    assert_eq!(answer.body, format!("POST /v1/a?b=c {host} s.token body"));
}

#[tokio::test]
async fn a_request_is_answered_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    drop(tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await }));
    let pool = Pool::new(vec![Address::unix(&path)], TIMEOUT);

    for body in ["first", "second"] {
        let answer = pool.send(0, post("/v1/a", body)).await.unwrap();

        assert_eq!(answer.body, format!("POST /v1/a localhost s.token {body}"));
    }
}

#[tokio::test]
async fn tls_is_for_whoever_has_the_right_certificate() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut authority = tempfile::NamedTempFile::new().unwrap();
    authority.write_all(cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                drop(tokio::spawn(echo(stream)));
            }
        }
    }));
    let pool = |host: &str| {
        let url = format!("https://{host}:{port}");
        Pool::new(vec![Address::url(&url, Some(authority.path())).unwrap()], TIMEOUT)
    };

    let answer = pool("localhost").send(0, post("/v1/a", "x")).await.unwrap();
    let wrong_name = pool("127.0.0.1").send(0, post("/v1/a", "x")).await.unwrap_err();

    assert_eq!(answer.body, format!("POST /v1/a localhost:{port} s.token x"));
    assert_eq!(wrong_name, Failure::Connect);
    let said = pool("127.0.0.1").probe().await.unwrap_err();
    assert!(said.contains("not valid for name"), "{said}");
}

#[tokio::test]
async fn an_authority_that_is_none_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();

    let refused = Address::url("https://localhost:1", Some(file.path())).unwrap_err();

    assert!(refused.contains("holds no certificate"), "{refused}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pool, host) = pool_of(&listener, TIMEOUT);
    drop(listener);

    assert_eq!(pool.send(0, post("/", "")).await.unwrap_err(), Failure::Connect);
    let said = pool.probe().await.unwrap_err();
    assert!(said.starts_with(&format!("http://{host}: ")), "{said}");
    assert_eq!(pool.exhausted(), None);
}

#[tokio::test]
async fn half_an_answer_is_broken() {
    for half in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "nonsense\r\n\r\n"] {
        let pool = scripted(move |mut stream| async move {
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(half.as_bytes()).await.unwrap();
        })
        .await;

        assert_eq!(pool.send(0, post("/", "")).await.unwrap_err(), Failure::Broken, "{half:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_timed_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pool, _) = pool_of(&listener, Duration::from_millis(50));

    assert_eq!(pool.send(0, post("/", "")).await.unwrap_err(), Failure::TimedOut);
    assert!(pool.nodes[0].idle.borrow().is_empty(), "whose answer would come next is not known");
}

#[tokio::test]
async fn a_body_in_pieces_is_put_together() {
    let pool = scripted(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for piece in ["3\r\none\r\n", "3\r\ntwo\r\n", "5\r\nthree\r\n0\r\n\r\n"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
            stream.write_all(piece.as_bytes()).await.unwrap();
        }
        pending::<()>().await;
    })
    .await;

    assert_eq!(pool.send(0, post("/", "")).await.unwrap().body, "onetwothree");
    assert_eq!(pool.nodes[0].idle.borrow().len(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_not_used_again() {
    let pool = scripted(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        // Not so soon that the answer's reader sees it.
        tokio::time::sleep(Duration::from_millis(10)).await;
    })
    .await;

    for _ in 0..5 {
        assert_eq!(pool.send(0, post("/", "")).await.unwrap().status, 204);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn thousands_of_connections_wait_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pool, _) = pool_of(&listener, TIMEOUT);
    let together = Arc::new(tokio::sync::Barrier::new(2_000));
    drop(tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let together = together.clone();
            let answer = service_fn(move |_: Request<Incoming>| {
                let together = together.clone();
                async move {
                    together.wait().await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                }
            });
            drop(tokio::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            ));
        }
    }));
    let (pool, tasks) = (std::rc::Rc::new(pool), tokio::task::LocalSet::new());
    for _ in 0..2_000 {
        let pool = pool.clone();
        tasks.spawn_local(async move { pool.send(0, post("/", "")).await.unwrap() });
    }

    tasks.await;

    assert_eq!(pool.nodes[0].idle.borrow().len(), 2_000);
}

fn pool_of(listener: &TcpListener, timeout: Duration) -> (Pool, String) {
    let host = listener.local_addr().unwrap().to_string();
    let address = Address::url(&format!("http://{host}"), None).unwrap();
    (Pool::new(vec![address], timeout), host)
}

/// A server that does `script` with each connection, and then closes it.
async fn scripted<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(TcpStream) -> F + Send + 'static,
) -> Pool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pool, _) = pool_of(&listener, TIMEOUT);
    drop(tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            drop(tokio::spawn(script(stream)));
        }
    }));
    pool
}

/// Says what it was asked.
async fn echo(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let answer = service_fn(|request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        let header = |name| head.headers.get(name).map_or("", |it| it.to_str().unwrap_or("?"));
        let said =
            format!("{} {} {} {} ", head.method, head.uri, header("host"), header("x-vault-token"));
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        let mut answer = Response::new(Full::new(Bytes::from([said.as_bytes(), &body].concat())));
        *answer.status_mut() = hyper::StatusCode::ACCEPTED;
        answer.headers_mut().insert("x-cache", "HIT".parse().unwrap());
        Ok::<_, Infallible>(answer)
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

fn post(target: &str, body: &str) -> Request<Bytes> {
    let mut request = Request::new(Bytes::copy_from_slice(body.as_bytes()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.parse().unwrap();
    request.headers_mut().insert("x-vault-token", "s.token".parse().unwrap());
    request
}
