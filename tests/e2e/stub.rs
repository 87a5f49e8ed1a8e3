//! What if the upstream is not a well-behaved OpenBao? A server that does what each test says, and
//! writes down every byte it was sent. It can stand in front of a real one and pass requests on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// The request target, byte for byte.
    pub target: String,
    /// Request line and headers, as sent.
    pub head: String,
    /// The body as sent, chunk framing and trailers included; empty unless the reply reads it.
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// What the stub does with a request.
pub enum Reply {
    /// Passes it to the real server and the answer back.
    Forward,
    /// The same after a pause.
    ForwardAfter(Duration),
    /// Passes it to the real server at once, and the answer back after a pause.
    ForwardThenWait(Duration),
    /// Passes it to the real server, and closes when the answer comes.
    ForwardWithoutAnswer,
    /// Passes it to the real server, and half of the answer back, then closes.
    ForwardHalf,
    /// Resets the connection.
    Reset,
    /// Sends these bytes without reading the body, then closes.
    Bytes(Vec<u8>),
    /// Reads the body, sends these bytes, and waits for the next request.
    Answer(Vec<u8>),
    /// Sends these bytes and then leaves the connection open, reading nothing, for ever.
    Stuck(Vec<u8>),
    /// Answers 200 with so many bytes.
    Download(usize),
    /// Sends these bytes, then returns what it is sent: the far end of an upgrade.
    Echo(Vec<u8>),
}

/// Decides per request.
type Rule = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// A running stub; dropping it closes everything.
pub struct Stub {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Stub {
    /// Alone: [`Reply::Forward`] answers what vaultlet itself may ask with a healthy empty server.
    pub async fn alone(rule: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(rule)).await
    }

    /// In front of the server at `upstream`.
    pub async fn before(
        upstream: &str,
        rule: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        Self::start(Some(upstream), Arc::new(rule)).await
    }

    async fn start(upstream: Option<String>, rule: Rule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, accepted) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicUsize>::default());
        let (log, count) = (seen.clone(), accepted.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let connection = Connection {
                    stream,
                    rule: rule.clone(),
                    upstream: upstream.clone(),
                    log: log.clone(),
                };
                connections.spawn(connection.serve());
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, seen, accepted, task }
    }

    /// `http://127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests with this method and target came.
    pub fn count(&self, method: &str, target: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.method == method && seen.target == target).count()
    }

    /// How many requests with this method came whose target begins like this.
    pub fn count_below(&self, method: &str, prefix: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.method == method && seen.target.starts_with(prefix)).count()
    }

    /// How many connections were ever made.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection {
    stream: TcpStream,
    rule: Rule,
    upstream: Option<String>,
    log: Arc<Mutex<Vec<Seen>>>,
}

impl Connection {
    async fn serve(mut self) {
        // An error here is the other side going away, which is its right.
        while self.exchange().await == Some(true) {}
    }

    /// One request; whether another may follow.
    async fn exchange(&mut self) -> Option<bool> {
        let mut buffer = Vec::new();
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let mut words = head.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let mut seen = Seen { method, target, head, body: Vec::new() };
        let reply = (self.rule)(&seen);
        let reads_body = matches!(&reply, Reply::Answer(_) | Reply::Download(_));
        if reads_body {
            seen.body = self.body(&seen, buffer.split_off(end)).await?;
        }
        self.log.lock().unwrap().push(seen.clone());
        self.reply(reply, &seen, &buffer[..], end).await
    }

    async fn reply(
        &mut self,
        reply: Reply,
        seen: &Seen,
        sent: &[u8],
        head_end: usize,
    ) -> Option<bool> {
        match reply {
            Reply::ForwardAfter(pause) => {
                sleep(pause).await;
                self.forward(&seen.head, &sent[head_end..], &seen.target, true).await?;
            }
            Reply::ForwardThenWait(pause) => {
                let answer = self.answer(seen, &sent[head_end..]).await?;
                sleep(pause).await;
                self.stream.write_all(&answer).await.ok()?;
            }
            Reply::ForwardHalf => {
                let answer = self.answer(seen, &sent[head_end..]).await?;
                self.stream.write_all(&answer[..answer.len() - 100]).await.ok()?;
                self.stream.shutdown().await.ok()?;
            }
            Reply::Reset => self.stream.set_zero_linger().ok()?,
            Reply::ForwardWithoutAnswer => {
                self.forward(&seen.head, &sent[head_end..], &seen.target, false).await?;
            }
            Reply::Forward => {
                self.forward(&seen.head, &sent[head_end..], &seen.target, true).await?;
            }
            Reply::Bytes(bytes) => {
                self.stream.write_all(&bytes).await.ok()?;
                self.stream.shutdown().await.ok()?;
            }
            Reply::Answer(bytes) => {
                self.stream.write_all(&bytes).await.ok()?;
                return Some(true);
            }
            Reply::Stuck(bytes) => {
                self.stream.write_all(&bytes).await.ok()?;
                std::future::pending::<()>().await;
            }
            Reply::Download(size) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
                self.stream.write_all(head.as_bytes()).await.ok()?;
                let block = vec![b'd'; 64 * 1024];
                let mut left = size;
                while left > 0 {
                    let count = left.min(block.len());
                    self.stream.write_all(&block[..count]).await.ok()?;
                    left -= count;
                }
                return Some(true);
            }
            Reply::Echo(bytes) => {
                self.stream.write_all(&bytes).await.ok()?;
                let (mut reader, mut writer) = self.stream.split();
                copy(&mut reader, &mut writer).await.ok()?;
            }
        }
        Some(false)
    }

    /// The real server's whole answer to one request.
    async fn answer(&mut self, seen: &Seen, sent: &[u8]) -> Option<Vec<u8>> {
        let body = self.body(seen, sent.to_vec()).await?;
        let mut server = TcpStream::connect(self.upstream.as_ref()?).await.ok()?;
        let head = seen.head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        server.write_all(&[head.as_bytes(), &body].concat()).await.ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await.ok()?;
        Some(answer)
    }

    /// Passes one request on, and closes both connections after its answer: no answer needs
    /// parsing here, so none can be altered.
    async fn forward(
        &mut self,
        head: &str,
        body: &[u8],
        target: &str,
        answers: bool,
    ) -> Option<()> {
        let Some(upstream) = &self.upstream else {
            return self.stream.write_all(&answer_alone(target)).await.ok();
        };
        let (line, headers) = head.split_once("\r\n")?;
        let kept: String = headers
            .split_inclusive("\r\n")
            .filter(|header| !header.to_ascii_lowercase().starts_with("connection:"))
            .collect();
        let mut server = TcpStream::connect(upstream).await.ok()?;
        let head = format!("{line}\r\nConnection: close\r\n{kept}");
        server.write_all(head.as_bytes()).await.ok()?;
        server.write_all(body).await.ok()?;
        if !answers {
            let (mut from_vaultlet, _) = self.stream.split();
            let (mut from_server, mut to_server) = server.split();
            tokio::select! {
                _ = from_server.read_u8() => {}
                _ = copy(&mut from_vaultlet, &mut to_server) => {}
            }
            return None;
        }
        let (mut from_vaultlet, mut to_vaultlet) = self.stream.split();
        let (mut from_server, mut to_server) = server.split();
        // Whoever closes first ends the exchange: the server after its answer, vaultlet when it
        // gave up.
        tokio::select! {
            _ = copy(&mut from_server, &mut to_vaultlet) => Some(()),
            _ = copy(&mut from_vaultlet, &mut to_server) => None,
        }
    }

    /// The rest of a request's body, as sent.
    async fn body(&mut self, seen: &Seen, mut body: Vec<u8>) -> Option<Vec<u8>> {
        if let Some(length) = seen.header("content-length") {
            let length: usize = length.parse().ok()?;
            while body.len() < length {
                if self.stream.read_buf(&mut body).await.ok()? == 0 {
                    return None;
                }
            }
        } else if seen.header("transfer-encoding").is_some() {
            while !ends_chunked(&body) {
                if self.stream.read_buf(&mut body).await.ok()? == 0 {
                    return None;
                }
            }
        }
        Some(body)
    }
}

/// Whether a chunked body, trailers included, is whole. Good enough for bodies without `\n0\r\n`.
fn ends_chunked(body: &[u8]) -> bool {
    let last = body.starts_with(b"0\r\n") || body.windows(5).any(|window| window == b"\r\n0\r\n");
    last && body.ends_with(b"\r\n\r\n")
}

/// An answer with a JSON body that keeps its connection.
pub fn json(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n\
         Cache-Control: no-store\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What a healthy server would say to vaultlet's own questions.
fn answer_alone(target: &str) -> Vec<u8> {
    let body = if target.starts_with("/v1/sys/health") {
        r#"{"initialized":true,"sealed":false,"standby":false,"version":"2.7.2","cluster_name":"stub","cluster_id":"00000000-0000-0000-0000-000000000001"}"#
    } else if target.starts_with("/v1/auth/token/lookup-self") {
        r#"{"request_id":"00000000-0000-0000-0000-000000000002","lease_id":"","renewable":false,"lease_duration":0,"data":{"accessor":"stub","creation_time":1700000000,"creation_ttl":0,"display_name":"stub","entity_id":"","expire_time":null,"explicit_max_ttl":0,"id":"stub","meta":null,"num_uses":0,"orphan":true,"path":"auth/token/create","policies":["default"],"ttl":0,"type":"service"},"wrap_info":null,"warnings":null,"auth":null}"#
    } else {
        return b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 13\r\n\r\n{\"errors\":[]}"
            .to_vec();
    };
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}
