//! How do the tests ask? A small HTTP/1.1 client: TCP, TLS or a unix socket, one answer at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest a test waits for one answer, unless it says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One request, before it is sent.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    /// Path and query, with the leading `/v1/`.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Call {
    /// `path` is a Vault path: `secret/data/app`.
    pub fn new(method: &str, path: &str) -> Self {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Self { method, target: format!("/v1/{path}"), headers: Vec::new(), body: Bytes::new() }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.body = Bytes::from(body.to_string());
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The whole request target instead of a Vault path.
    pub fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }
}

impl From<&str> for Call {
    /// A GET of this Vault path.
    fn from(path: &str) -> Self {
        Self::get(path)
    }
}

impl From<&Call> for Call {
    fn from(call: &Call) -> Self {
        call.clone()
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }

    /// `X-Cache`, or the empty string.
    pub fn cache(&self) -> &str {
        self.header("x-cache").unwrap_or_default()
    }

    /// The secret's field `value`, in KV v2's place or v1's.
    pub fn value(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let field = body.pointer("/data/data/value").or_else(|| body.pointer("/data/value"))?;
        Some(field.as_str()?.to_owned())
    }

    /// Fails the test unless the answer has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Fails the test unless the answer has one of these statuses.
    #[track_caller]
    pub fn expect_any(self, statuses: &[u16]) -> Self {
        assert!(statuses.contains(&self.status), "expected one of {statuses:?}: {self:?}");
        self
    }

    /// Fails the test unless the answer is an error in Vault's shape, made by vaultlet itself.
    #[track_caller]
    pub fn expect_own_error(self, statuses: &[u16]) -> Self {
        assert!(statuses.contains(&self.status), "expected one of {statuses:?}: {self:?}");
        let body = self.json();
        let first = body["errors"][0].as_str().unwrap_or_default();
        assert!(first.starts_with("vaultlet: "), "not vaultlet's own error: {self:?}");
        self
    }
}

#[derive(Clone)]
enum Way {
    Tcp(String),
    Tls(String, Arc<ClientConfig>),
    Unix(PathBuf),
}

/// A caller: where it connects, the token it brings, and its open connections.
#[derive(Clone)]
pub struct Client {
    way: Way,
    token: Option<String>,
    namespace: Option<String>,
    patience: Duration,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

impl Client {
    /// `address` is `host:port`, with or without `http://`.
    pub fn tcp(address: &str) -> Self {
        Self::by(Way::Tcp(address.trim_start_matches("http://").to_owned()))
    }

    pub fn tls(address: &str, config: Arc<ClientConfig>) -> Self {
        Self::by(Way::Tls(address.to_owned(), config))
    }

    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::by(Way::Unix(path.into()))
    }

    fn by(way: Way) -> Self {
        Self { way, token: None, namespace: None, patience: PATIENCE, idle: Arc::default() }
    }

    /// The same way to the server, another caller.
    pub fn token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), idle: Arc::default(), ..self.clone() }
    }

    /// The same caller, who asks in this namespace.
    pub fn namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(&Call::get(path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(&Call::new("DELETE", path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(&Call::new("POST", path).json(&body)).await
    }

    pub async fn send(&self, call: &Call) -> Answer {
        self.try_send(call).await.unwrap_or_else(|error| panic!("{call:?}: {error}"))
    }

    /// The answer, or why there is none.
    pub async fn try_send(&self, call: &Call) -> Result<Answer, String> {
        let exchange = async {
            let (mut sender, head, body) = self.begin(call).await?;
            let body = body.collect().await.map_err(|error| format!("body: {error}"))?.to_bytes();
            // Not for long: after an early answer the rest of a large body may never be taken.
            if matches!(timeout(Duration::from_millis(20), sender.ready()).await, Ok(Ok(()))) {
                self.idle.lock().unwrap().push(sender);
            }
            Ok(Answer { status: head.0.as_u16(), headers: head.1, body })
        };
        let none = Err(format!("no answer within {:?}", self.patience));
        timeout(self.patience, exchange).await.unwrap_or(none)
    }

    /// Sends and waits for the head only; the caller reads the body at its own pace.
    pub async fn begin(&self, call: &Call) -> Result<Begun, String> {
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.target.parse().map_err(|error| format!("target: {error}"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("vault.test"));
        if let Some(token) = &self.token {
            headers.insert("x-vault-token", HeaderValue::from_str(token).unwrap());
        }
        if let Some(namespace) = &self.namespace {
            headers.insert("x-vault-namespace", HeaderValue::from_str(namespace).unwrap());
        }
        for (name, value) in &call.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        loop {
            let idle = self.idle.lock().unwrap().pop();
            let reused = idle.is_some();
            let mut sender = match idle {
                Some(sender) => sender,
                None => self.connect().await.map_err(|error| format!("connect: {error}"))?,
            };
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    return Ok((sender, (head.status, head.headers), body));
                }
                // The server closed an idle connection: nothing was sent, another one will do.
                Err(mut error) if reused && error.message().is_some() => {
                    request = error.take_message().unwrap();
                }
                Err(error) => return Err(format!("request: {:?}", error.into_error())),
            }
        }
    }

    async fn connect(&self) -> std::io::Result<SendRequest<Full<Bytes>>> {
        match &self.way {
            Way::Tcp(address) => speak(TcpStream::connect(address).await?).await,
            Way::Unix(path) => speak(UnixStream::connect(path).await?).await,
            Way::Tls(address, config) => {
                let tcp = TcpStream::connect(address).await?;
                let name = ServerName::try_from("localhost").unwrap();
                speak(TlsConnector::from(config.clone()).connect(name, tcp).await?).await
            }
        }
    }
}

/// A request whose answer's body is still to be read.
pub type Begun = (SendRequest<Full<Bytes>>, (StatusCode, HeaderMap), hyper::body::Incoming);

async fn speak<S>(stream: S) -> std::io::Result<SendRequest<Full<Bytes>>>
where
    TokioIo<S>: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
