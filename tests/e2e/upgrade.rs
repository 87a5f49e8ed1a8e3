//! A process takes over from another. Is anything lost, served that is not true any more, or done
//! twice?

mod ending;
mod load;
mod phases;
mod reload;
mod strangers;
mod writes;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::vaultlet::{Vaultlet, merge};

/// Said by the process that has taken over, and by the one that goes on.
const TOOK_OVER: &str = "took over";
const GOES_ON: &str = "another process did not take over; this one goes on";
const LEFT: &str = "another process has taken over: draining";

/// Where processes meet, and where they write.
struct Meeting(TempDir);

impl Meeting {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self(home)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.at("upgrade.sock")
    }

    fn audit(&self) -> PathBuf {
        self.at("audit.jsonl")
    }

    /// What vaultlet is told of it; `over` is laid over that.
    fn settings(&self, over: Value) -> Value {
        let mut settings = json!({
            "upgrade": {"socket": self.socket()},
            "audit": {"file": self.audit()},
            "shutdown": {"drain": "5s"},
        });
        merge(&mut settings, over);
        settings
    }

    /// Fails the test unless the audit log is whole; what is said of it.
    async fn whole_log(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultlet"));
        let output = command.args(["audit", "verify"]).arg(self.audit()).output().await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        text
    }

    /// Says something on the socket, and reads until the other side ends.
    async fn say(&self, words: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        // It may be refused before all of it is said.
        drop(stream.write_all(words).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        let heard = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        // What was not read when it closed is no failure.
        drop(heard.expect("the other side does not end"));
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// What processes say to each other, as bytes: a length, a kind, a body.
mod words {
    pub const HELLO: u8 = 1;
    pub const REFUSED: u8 = 2;
    pub const SOCKETS: u8 = 3;
    pub const STATE: u8 = 4;
    pub const WHOLE: u8 = 6;
    pub const READY: u8 = 7;
    pub const GO: u8 = 8;
    pub const NEWS: u8 = 10;
    pub const HEARD: u8 = 11;
    pub const YOURS: u8 = 12;
    pub const REST: u8 = 13;
}

fn word(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [length.as_slice(), &[kind], body].concat()
}

fn hello(version: u16) -> Vec<u8> {
    let who = json!({"version": "9.9.9", "pid": 1}).to_string();
    let body = [b"vaultlet-upgrade".as_slice(), &version.to_be_bytes(), who.as_bytes()].concat();
    word(words::HELLO, &body)
}

/// A process that takes over, as far as a test lets it.
struct Heir(UnixStream);

impl Heir {
    async fn hello(meeting: &Meeting) -> Self {
        let mut stream = UnixStream::connect(meeting.socket()).await.unwrap();
        stream.write_all(&hello(1)).await.unwrap();
        Self(stream)
    }

    /// Has taken in everything, and not said so.
    async fn informed(meeting: &Meeting) -> Self {
        let mut heir = Self::hello(meeting).await;
        heir.until(words::WHOLE).await;
        heir
    }

    async fn say(&mut self, kind: u8, body: &[u8]) {
        self.0.write_all(&word(kind, body)).await.unwrap();
    }

    async fn next(&mut self) -> (u8, Vec<u8>) {
        let heard = timeout(Duration::from_secs(10), async {
            let length = self.0.read_u32().await.unwrap();
            let kind = self.0.read_u8().await.unwrap();
            let mut body = vec![0; length as usize];
            self.0.read_exact(&mut body).await.unwrap();
            if kind == words::SOCKETS {
                // With the descriptors, which this one does not want.
                self.0.read_u8().await.unwrap();
            }
            (kind, body)
        });
        heard.await.expect("nothing is said")
    }

    /// Takes in what is told until the task has ended; all of it.
    async fn hear<T>(&mut self, until: tokio::task::JoinHandle<T>) -> String {
        let mut heard = String::new();
        while !until.is_finished() {
            if let Ok((kind, body)) = timeout(Duration::from_millis(50), self.next()).await {
                assert_eq!(kind, words::NEWS);
                let news: Vec<Value> = serde_json::from_slice(&body).unwrap();
                self.say(words::HEARD, news.len().to_string().as_bytes()).await;
                heard.push_str(&String::from_utf8(body).unwrap());
            }
        }
        until.await.unwrap();
        heard
    }

    /// The next word of this kind.
    async fn until(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let (said, body) = self.next().await;
            assert_ne!(said, words::REFUSED, "{}", String::from_utf8_lossy(&body));
            if said == kind {
                return body;
            }
        }
    }
}

/// Starts a process that is to take over from this one, and waits until it has, and the other ended.
async fn take_over(vaultlet: &mut Vaultlet) {
    let next = vaultlet.another().await;
    let mut before = std::mem::replace(vaultlet, next);
    assert_eq!(before.ended().await.code(), Some(0), "{}", before.log());
    assert_eq!(vaultlet.events(TOOK_OVER).len(), 1, "{}", vaultlet.log());
}

/// A connection that asks once more only after a whole answer: nothing is tried again.
struct Strict {
    address: String,
    token: String,
    stream: Option<TcpStream>,
}

/// What came: its status, `X-Cache` and its body.
#[derive(Debug)]
struct Came {
    status: u16,
    cache: String,
    body: String,
}

impl Strict {
    fn new(address: &str, token: &str) -> Self {
        Self { address: address.to_owned(), token: token.to_owned(), stream: None }
    }

    /// The same on a connection of its own.
    async fn once(&self, path: &str) -> Result<Came, String> {
        Self::new(&self.address, &self.token).get(path).await
    }

    async fn get(&mut self, path: &str) -> Result<Came, String> {
        let exchange = timeout(Duration::from_secs(10), self.exchange(path));
        exchange.await.map_err(|_| "no answer".to_owned())?
    }

    async fn exchange(&mut self, path: &str) -> Result<Came, String> {
        let failed = |what: &'static str| move |error| format!("{what}: {error}");
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(&self.address).await.map_err(failed("connect"))?,
        };
        let request = format!(
            "GET /v1/{path} HTTP/1.1\r\nhost: vault.test\r\nx-vault-token: {}\r\n\r\n",
            self.token
        );
        stream.write_all(request.as_bytes()).await.map_err(failed("write"))?;
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
            }
            if stream.read_buf(&mut bytes).await.map_err(failed("read"))? == 0 {
                return Err(format!("closed after {} bytes of a head", bytes.len()));
            }
        };
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let length: usize = header("content-length").ok_or("no length")?.parse().unwrap();
        let whole = head.len() + 4 + length;
        while bytes.len() < whole {
            if stream.read_buf(&mut bytes).await.map_err(failed("body"))? == 0 {
                return Err("closed in a body".to_owned());
            }
        }
        if header("connection").as_deref() != Some("close") {
            self.stream = Some(stream);
        }
        Ok(Came {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            cache: header("x-cache").unwrap_or_default(),
            body: String::from_utf8(bytes[head.len() + 4..].to_vec()).unwrap(),
        })
    }
}

/// Waits until `done`, for not too long.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if done().await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("not within ten seconds: {what}");
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}
