//! A workload: one token, one kept-alive connection, and what it sees of each answer.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::dial;
use crate::error::BoxError;

/// Longer than any answer here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who makes requests. Not `Debug`: it holds a token.
pub(super) struct Caller {
    /// For people.
    pub(super) name: &'static str,
    token: String,
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An answer, as far as the tour looks at it.
pub(super) struct Seen {
    pub(super) status: StatusCode,
    /// `X-Cache`.
    pub(super) cache: Option<String>,
    /// `Cache-Status`.
    pub(super) detail: Option<String>,
    pub(super) body: Value,
    /// From the request's first byte to the answer's last, on a connection that was there.
    pub(super) took: Duration,
}

impl Caller {
    /// An empty `token` is none.
    pub(super) fn new(name: &'static str, token: &str, address: SocketAddr) -> Self {
        Self { name, token: token.to_owned(), address, connection: None }
    }

    /// Uses this token from now on.
    pub(super) fn present(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// Makes the connection, and nothing more.
    ///
    /// # Errors
    /// Nobody accepts it; for people.
    pub(super) async fn connect_first(&mut self) -> Result<(), String> {
        let connected = self.connect().await;
        connected.map(drop).map_err(|error| format!("the connection of {}: {error}", self.name))
    }

    /// # Errors
    /// There was no answer; for people.
    pub(super) async fn read(&mut self, path: &str) -> Result<Seen, String> {
        self.send(Method::GET, path, String::new()).await
    }

    /// # Errors
    /// There was no answer; for people.
    pub(super) async fn write(&mut self, path: &str, body: &Value) -> Result<Seen, String> {
        self.send(Method::POST, path, body.to_string()).await
    }

    async fn send(&mut self, method: Method, path: &str, body: String) -> Result<Seen, String> {
        let what = format!("{method} /v1/{path} of {}", self.name);
        let answer = timeout(PATIENCE, self.exchange(method, path, body)).await;
        match answer {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(error)) => {
                self.connection = None;
                Err(format!("{what}: {error}"))
            }
            Err(_) => {
                self.connection = None;
                Err(format!("{what}: no answer within {PATIENCE:?}"))
            }
        }
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Seen, BoxError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header(HOST, self.address.to_string())
            .header("x-vault-request", "true");
        if !self.token.is_empty() {
            request = request.header("x-vault-token", &self.token);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let connection = self.connect().await?;
        let begun = Instant::now();
        let (head, body) = connection.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let took = begun.elapsed();
        let header = |name| {
            let value = head.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(Seen {
            status: head.status,
            cache: header("x-cache"),
            detail: header("cache-status"),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            took,
        })
    }

    /// The connection of the request before, or a new one.
    async fn connect(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, BoxError> {
        let mut kept = self.connection.take();
        if let Some(connection) = &mut kept
            && connection.ready().await.is_err()
        {
            kept = None;
        }
        let connection = if let Some(connection) = kept {
            connection
        } else {
            dial::connect(self.address).await?
        };
        Ok(self.connection.insert(connection))
    }
}

impl Seen {
    /// The sample's password: of KV v2, which wraps it once more, or of KV v1.
    pub(super) fn password(&self) -> Option<&str> {
        let data = &self.body["data"];
        data["data"]["password"].as_str().or_else(|| data["password"].as_str())
    }

    pub(super) fn hit(&self) -> bool {
        self.cache.as_deref() == Some("HIT")
    }
}

impl fmt::Display for Seen {
    /// `200  HIT   vaultlet; hit; ttl=59  password=…`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cache = self.cache.as_deref().unwrap_or("-");
        write!(f, "{}  {cache:4}  ", self.status.as_u16())?;
        write!(f, "{:34}", self.detail.as_deref().unwrap_or("-"))?;
        write!(f, "{:>9} us", self.took.as_micros())?;
        match self.password() {
            Some(password) => write!(f, "  password={password}"),
            None => Ok(()),
        }
    }
}
