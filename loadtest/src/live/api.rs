//! How is the upstream told what to hold, and asked what it holds?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use super::words;

/// Longest one answer may take.
const LONGEST: Duration = Duration::from_secs(30);

/// A connection to an OpenBao, with a token. Not `Debug`: it holds one.
pub struct Api {
    port: u16,
    token: Zeroizing<String>,
    connection: Option<SendRequest<Full<Bytes>>>,
    asked: Arc<Asked>,
}

/// What was asked of an OpenBao by the program that measures it, which is none of the load.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// All that it handles as requests.
    pub(super) all: AtomicU64,
    /// Writes below `sys/`.
    pub(super) written: AtomicU64,
}

impl Asked {
    /// Begins anew.
    pub(super) fn forget(&self) {
        self.all.store(0, Ordering::Relaxed);
        self.written.store(0, Ordering::Relaxed);
    }
}

/// A request of ours.
#[derive(Clone)]
pub struct Ask {
    pub(super) method: &'static str,
    /// Below `/v1/`.
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

impl Ask {
    /// Reads what is there.
    pub fn read(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), body: None }
    }

    /// Lists what is below it.
    pub fn list(path: impl Into<String>) -> Self {
        Self { method: "LIST", path: path.into(), body: None }
    }

    /// Deletes what is there.
    pub fn delete(path: impl Into<String>) -> Self {
        Self { method: "DELETE", path: path.into(), body: None }
    }

    /// Writes this there.
    pub fn write(path: impl Into<String>, body: Value) -> Self {
        Self { method: "POST", path: path.into(), body: Some(body) }
    }
}

impl Api {
    pub(super) fn new(port: u16, token: &Zeroizing<String>, asked: &Arc<Asked>) -> Self {
        Self { port, token: token.clone(), connection: None, asked: Arc::clone(asked) }
    }

    /// The body of a whole answer with 2xx; null where there is none.
    ///
    /// # Errors
    /// There was no answer, or one with another status.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Value, String> {
        let (status, body) = self.answer(ask).await?;
        if !status.is_success() {
            let said: Value = serde_json::from_slice(&body).unwrap_or_default();
            let errors = words::harmless(&said["errors"].to_string(), None);
            return Err(format!("OpenBao answered {status} to {}: {errors}", ask.shown()));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body)
            .map_err(|e| format!("OpenBao's answer to {} is no JSON: {e}", ask.shown()))
    }

    /// Asks again until it is answered with 2xx.
    pub async fn insist(&mut self, ask: &Ask) -> Result<Value, String> {
        let began = Instant::now();
        loop {
            match self.ask(ask).await {
                Err(problem) if began.elapsed() > LONGEST => return Err(problem),
                Err(_) => sleep(Duration::from_millis(20)).await,
                answered => return answered,
            }
        }
    }

    /// Any whole answer.
    pub async fn answer(&mut self, ask: &Ask) -> Result<(StatusCode, Bytes), String> {
        let problem =
            |e: &dyn std::fmt::Display| format!("OpenBao did not answer {}: {e}", ask.shown());
        match timeout(LONGEST, self.once(ask)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) => Err(problem(&e)),
            Err(late) => Err(problem(&late)),
        }
    }

    async fn once(&mut self, ask: &Ask) -> Result<(StatusCode, Bytes), String> {
        let said = |e: &dyn std::fmt::Display| e.to_string();
        let mut connection = match self.connection.take().filter(|it| !it.is_closed()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let body = ask.body.as_ref().map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(ask.method)
            .uri(format!("/v1/{}", ask.path))
            .header("host", "127.0.0.1")
            .header("x-vault-token", self.token.as_str())
            .body(Full::new(body))
            .map_err(|e| said(&e))?;
        connection.ready().await.map_err(|e| said(&e))?;
        let answer = connection.send_request(request).await.map_err(|e| said(&e))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|e| said(&e))?.to_bytes();
        self.connection = Some(connection);
        ask.count(&self.asked);
        Ok((status, body))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await;
        let stream = stream.map_err(|e| e.to_string())?;
        // An error is for whoever waits for an answer, who is told it too.
        let (connection, driver) =
            handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(async move { drop(driver.await) });
        Ok(connection)
    }
}

impl Ask {
    /// Where it goes, without what names a secret.
    fn shown(&self) -> String {
        let place: Vec<&str> = self.path.split('/').take(2).collect();
        format!("{} /v1/{}/…", self.method, place.join("/"))
    }

    fn count(&self, asked: &Asked) {
        // These are answered without being handled as a request.
        let unhandled = ["sys/health", "sys/init", "sys/unseal"];
        if self.path.starts_with("sys/metrics") || unhandled.contains(&self.path.as_str()) {
            return;
        }
        asked.all.fetch_add(1, Ordering::Relaxed);
        if self.body.is_some() && self.path.starts_with("sys/") {
            asked.written.fetch_add(1, Ordering::Relaxed);
        }
    }
}
