//! How do the tests send what no HTTP client would? Bytes on a socket, and the answers as they came.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest one read may take.
const QUIET: Duration = Duration::from_secs(10);

/// Everything a server sent on one connection.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    pub bytes: Vec<u8>,
    /// The server closed the connection.
    pub closed: bool,
    /// The request was a HEAD: its answer's length says nothing about a body.
    bodiless: bool,
}

impl Exchange {
    /// The first answer's status; `None`: the connection ended without one.
    pub fn status(&self) -> Option<u16> {
        self.statuses().first().copied()
    }

    /// The status of every final answer on the connection, in order.
    pub fn statuses(&self) -> Vec<u16> {
        let mut statuses = Vec::new();
        let mut rest = &self.bytes[..];
        while let Some(head) = Head::parse(rest) {
            if head.status >= 200 {
                statuses.push(head.status);
            }
            rest = &rest[self.end(&head, rest).unwrap_or(rest.len())..];
        }
        statuses
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn end(&self, head: &Head, rest: &[u8]) -> Option<usize> {
        if self.bodiless { Some(head.length) } else { head.end(rest) }
    }

    /// Whether `answers` final answers have arrived whole.
    fn complete(&self, answers: usize) -> bool {
        let mut rest = &self.bytes[..];
        let mut seen = 0;
        while let Some(head) = Head::parse(rest) {
            let Some(end) = self.end(&head, rest) else { return false };
            seen += usize::from(head.status >= 200);
            rest = &rest[end..];
        }
        seen >= answers
    }
}

/// Sends `bytes` and reads until one answer is whole, the server closes, or nothing comes.
pub async fn exchange(address: &str, bytes: &[u8]) -> Exchange {
    exchange_many(address, bytes, 1).await
}

/// As [`exchange`], for bytes that hold `answers` requests, or might be taken for so many.
pub async fn exchange_many(address: &str, bytes: &[u8], answers: usize) -> Exchange {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
    // The server may answer and close before it has read everything: that is not a failure here.
    let (mut reader, mut writer) = stream.split();
    let bodiless = bytes.starts_with(b"HEAD ");
    let mut exchange = Exchange { bodiless, ..Exchange::default() };
    let writing = async {
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let reading = read_answers(&mut reader, &mut exchange, answers);
    tokio::select! { () = writing => {}, () = reading => {} }
    exchange
}

/// Reads until `answers` are whole, the server closes, or nothing comes for a while.
async fn read_answers(
    reader: &mut (impl AsyncReadExt + Unpin),
    exchange: &mut Exchange,
    answers: usize,
) {
    let mut buffer = vec![0; 65536];
    while !exchange.complete(answers) {
        // After the first answer a second one that is not coming must not cost ten seconds.
        let quiet = if exchange.complete(1) { Duration::from_millis(400) } else { QUIET };
        match timeout(quiet, reader.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => {
                exchange.closed = true;
                return;
            }
            Ok(Ok(count)) => exchange.bytes.extend_from_slice(&buffer[..count]),
            Err(_) => return,
        }
    }
}

/// As much of an answer's head as is needed to find its end.
struct Head {
    status: u16,
    length: usize,
    body: Body,
}

enum Body {
    Chunked,
    Sized(usize),
    UntilClose,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let length = find(bytes, b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&bytes[..length]).to_ascii_lowercase();
        let status = text.split(' ').nth(1)?.get(..3)?.parse().ok()?;
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line[name.len()..].trim().to_owned())
        };
        let body = if status < 200 || status == 204 || status == 304 {
            Body::Sized(0)
        } else if field("transfer-encoding:").is_some_and(|coding| coding.contains("chunked")) {
            Body::Chunked
        } else {
            let size = field("content-length:").and_then(|size| size.parse().ok());
            size.map_or(Body::UntilClose, Body::Sized)
        };
        Some(Self { status, length, body })
    }

    /// Where the answer ends in `bytes`; `None`: not yet there.
    fn end(&self, bytes: &[u8]) -> Option<usize> {
        match self.body {
            Body::Sized(size) => (bytes.len() >= self.length + size).then_some(self.length + size),
            Body::Chunked => {
                Some(self.length + find(&bytes[self.length - 2..], b"\r\n0\r\n\r\n")? + 5)
            }
            Body::UntilClose => None,
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
