//! What does hyper alone cost, answering the same bytes?
//!
//! A server with nothing in it: HTTP/1.1 by hyper, one answer for everything. A cached read cannot
//! be cheaper than this, so `compare` states vaultlet's cost as a multiple of it.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Answers every request with the same bytes, and prints where it listens.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  bare --listen 127.0.0.1:0 --bytes 600")]
struct Options {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A socket to listen on instead
    #[arg(long, value_name = "PATH", conflicts_with_all = ["listen", "cert"])]
    unix: Option<PathBuf>,
    /// Certificate chain, PEM: answer with TLS
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Worker threads; 1 is a runtime of one thread
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Length of the KV body that it makes up
    #[arg(long, default_value_t = 600, conflicts_with = "answer")]
    bytes: usize,
    /// An answer as it came over the wire, head and body, to give with the same headers
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
}

/// What every request gets.
#[derive(Clone, Debug)]
struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "bare: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let answer = match &options.answer {
        Some(file) => {
            let said = |e: &dyn std::fmt::Display| format!("--answer {}: {e}", file.display());
            let wire = std::fs::read(file).map_err(|e| said(&e))?;
            Answer::from_wire(&wire).map_err(|e| said(&e))?
        }
        None => Answer::made_up(options.bytes),
    };
    let mut runtime = match options.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(options.threads.max(1)).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(serve(options, answer))
}

async fn serve(options: &Options, answer: Answer) -> Result<(), String> {
    let acceptor = options.cert.as_deref().zip(options.key.as_deref());
    let acceptor = acceptor.map(|(cert, key)| acceptor_of(cert, key)).transpose()?;
    if let Some(path) = &options.unix {
        let said = |e: io::Error| format!("{}: {e}", path.display());
        let listener = UnixListener::bind(path).map_err(said)?;
        let _ = writeln!(io::stdout(), "listening on {}", path.display());
        loop {
            let (stream, _) = listener.accept().await.map_err(said)?;
            tokio::spawn(connection(stream, answer.clone()));
        }
    }
    let said = |e: io::Error| format!("{}: {e}", options.listen);
    let listener = TcpListener::bind(options.listen).await.map_err(said)?;
    let _ = writeln!(io::stdout(), "listening on {}", listener.local_addr().map_err(said)?);
    loop {
        let (stream, _) = listener.accept().await.map_err(said)?;
        stream.set_nodelay(true).map_err(said)?;
        let answer = answer.clone();
        match acceptor.clone() {
            None => drop(tokio::spawn(connection(stream, answer))),
            Some(acceptor) => drop(tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    connection(stream, answer).await;
                }
            })),
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer) {
    let service = service_fn(move |_: Request<Incoming>| {
        let answer = answer.response();
        async move { Ok::<_, Infallible>(answer) }
    });
    // An error is a connection that went away, and so has nobody to be told.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// TLS as vaultlet speaks it: the same provider, versions and tickets.
fn acceptor_of(cert: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let said = |file: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let chain = CertificateDer::pem_file_iter(cert).map_err(|e| said(cert, &e))?;
    let chain = chain.collect::<Result<_, _>>().map_err(|e| said(cert, &e))?;
    let own = PrivateKeyDer::from_pem_file(key).map_err(|e| said(key, &e))?;
    let provider = Arc::new(default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, own)
        .map_err(|e| said(cert, &e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Answer {
    /// A KV v2 answer whose body is `bytes` long, or as short as one can be.
    fn made_up(bytes: usize) -> Self {
        let (before, after) = (r#"{"request_id":"","data":{"data":{"value":""#, r#""}}}"#);
        let filling = "x".repeat(bytes.saturating_sub(before.len() + after.len()));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { headers, body: Bytes::from([before, &filling, after].concat()) }
    }

    /// The answer that `wire` holds, without what hyper writes by itself.
    fn from_wire(wire: &[u8]) -> Result<Self, String> {
        let end = wire.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no end of a head")?;
        let head = str::from_utf8(&wire[..end]).map_err(|e| e.to_string())?;
        let mut headers = HeaderMap::new();
        for line in head.split("\r\n").skip(1) {
            let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
            let name: HeaderName = name.parse().map_err(|_| "a header's name that is none")?;
            let value = HeaderValue::from_str(value.trim()).map_err(|e| e.to_string())?;
            if !matches!(
                name.as_str(),
                "connection" | "content-length" | "date" | "transfer-encoding"
            ) {
                headers.append(name, value);
            }
        }
        Ok(Self { headers, body: Bytes::copy_from_slice(&wire[end + 4..]) })
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_length_that_was_asked_for() {
        for bytes in [60, 600, 100_000] {
            assert_eq!(Answer::made_up(bytes).body.len(), bytes);
        }
    }

    #[test]
    fn an_answer_from_the_wire_keeps_its_headers_and_body() {
        let wire = b"HTTP/1.1 200 OK\r\nX-Cache: HIT\r\nContent-Length: 2\r\ndate: now\r\n\r\n{}";

        let answer = Answer::from_wire(wire).unwrap();

        assert_eq!(answer.headers.len(), 1);
        assert_eq!(answer.headers["x-cache"], "HIT");
        assert_eq!(&answer.body[..], b"{}");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for wire in [&b"HTTP/1.1 200 OK\r\n"[..], b"HTTP/1.1 200 OK\r\nnone\r\n\r\n"] {
            assert!(Answer::from_wire(wire).is_err());
        }
    }
}
