//! A caller with one connection of its own, which can hang up at any byte.

use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http1::{Head, Reader};

/// An open connection.
#[derive(Debug)]
pub(crate) struct Caller {
    stream: Reader<TcpStream>,
    /// Its own, as the server sees it.
    pub(crate) port: u16,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// Where a caller hangs up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HangUp {
    /// Having sent so many bytes of its request.
    Asking(usize),
    /// Having read so many bytes of the answer.
    Reading(usize),
}

impl Caller {
    pub(crate) async fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let port = stream.local_addr()?.port();
        Ok(Self { stream: Reader::new(stream), port })
    }

    /// Whether the other side has closed it, or said something that nobody asked for.
    pub(crate) fn is_closed(&self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.stream.try_read(&mut byte), Err(e) if e.kind() == ErrorKind::WouldBlock)
    }

    /// Asks for what is at `target`.
    pub(crate) async fn get(&mut self, target: &str, token: Option<&str>) -> io::Result<Answer> {
        self.send(&request("GET", target, token, b"")).await
    }

    /// Sends a request as it is; the whole answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.stream.write_all(request).await?;
        let method = if request.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        let head = self.stream.head().await?.ok_or(ErrorKind::UnexpectedEof)?;
        let body = self.stream.content(head.of_answer(method)).await?;
        Ok(Answer { head, body })
    }

    /// Sends a request and throws the answer's body away, however long that is; the status, and
    /// whether the connection may be used again. None of its pieces may take longer than `longest`.
    pub(crate) async fn send_and_skip(
        &mut self,
        request: &[u8],
        longest: Duration,
    ) -> io::Result<(u16, bool)> {
        self.stream.stream.write_all(request).await?;
        let head = timeout(longest, self.stream.head()).await??.ok_or(ErrorKind::UnexpectedEof)?;
        let mut rest = head.of_answer("GET");
        while timeout(longest, self.stream.piece(&mut rest)).await??.is_some() {}
        Ok((head.status(), !head.closes()))
    }

    /// Sends some of a request, or all of it and reads some of the answer, and is gone.
    pub(crate) async fn hang_up(mut self, request: &[u8], at: HangUp) -> io::Result<()> {
        match at {
            HangUp::Asking(bytes) => {
                self.stream.stream.write_all(&request[..bytes.min(request.len())]).await
            }
            HangUp::Reading(bytes) => {
                self.stream.stream.write_all(request).await?;
                let mut read = vec![0; bytes];
                self.stream.stream.read_exact(&mut read).await.map(drop)
            }
        }
    }
}

/// A request with a body, or without where that is empty.
pub(crate) fn request(method: &str, target: &str, token: Option<&str>, body: &[u8]) -> Vec<u8> {
    let first = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    let token = token.map(|token| format!("X-Vault-Token: {token}\r\n")).unwrap_or_default();
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    [first.as_bytes(), token.as_bytes(), length.as_bytes(), b"\r\n", body].concat()
}
