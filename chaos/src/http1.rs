//! Where does a message of HTTP/1.1 end?
//!
//! For both sides that need to know it to the byte: the injector, which cuts answers where it is
//! told to, and callers that hang up in the middle.

use std::io::{self, ErrorKind};
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longer heads are nobody's here.
const LONGEST_HEAD: usize = 256 * 1024;

/// Asked for at once.
const ROOM: usize = 16 * 1024;

/// Bodies of a known length are passed on in pieces of at most this.
const PIECE: usize = 64 * 1024;

/// The first line and the headers.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// With the empty line.
    pub(crate) bytes: Vec<u8>,
}

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rest {
    Chunked,
    Nothing,
    Length(u64),
    UntilClose,
}

/// Some of a body.
#[derive(Debug)]
pub(crate) struct Piece {
    /// As it was sent, sizes of chunks included.
    pub(crate) raw: Vec<u8>,
    /// What of that is content.
    pub(crate) content: Range<usize>,
}

/// Reads messages from a stream.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    pub(crate) stream: R,
    buffer: Vec<u8>,
}

impl Head {
    /// The words of the first line.
    fn words(&self) -> [&str; 3] {
        let line = self.text().lines().next().unwrap_or_default();
        let mut words = line.splitn(3, ' ');
        [(); 3].map(|()| words.next().unwrap_or_default())
    }

    pub(crate) fn method(&self) -> &str {
        self.words()[0]
    }

    pub(crate) fn target(&self) -> &str {
        self.words()[1]
    }

    pub(crate) fn status(&self) -> u16 {
        self.words()[1].parse().unwrap_or(0)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.text().lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Whether the connection ends with this message.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// What follows the head of a request.
    pub(crate) fn of_request(&self) -> Rest {
        self.framed().unwrap_or(Rest::Nothing)
    }

    /// What follows the head of the answer to a request with `method`.
    pub(crate) fn of_answer(&self, method: &str) -> Rest {
        match self.status() {
            _ if method == "HEAD" => Rest::Nothing,
            100..200 | 204 | 304 => Rest::Nothing,
            _ => self.framed().unwrap_or(Rest::UntilClose),
        }
    }

    fn framed(&self) -> Option<Rest> {
        if self.header("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked")) {
            return Some(Rest::Chunked);
        }
        self.header("content-length")?.parse().ok().map(Rest::Length)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }
}

impl Piece {
    pub(crate) fn content(&self) -> &[u8] {
        &self.raw[self.content.clone()]
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The next head; `None` where the stream ends instead of one.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(Some(Head { bytes: self.take(at + 4) }));
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(io::Error::new(ErrorKind::InvalidData, "a head without an end"));
            }
            if self.more().await? == 0 {
                let whole = self.buffer.is_empty();
                return if whole { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The next piece of a body; `None` behind its end.
    pub(crate) async fn piece(&mut self, rest: &mut Rest) -> io::Result<Option<Piece>> {
        match *rest {
            Rest::Nothing | Rest::Length(0) => Ok(None),
            Rest::Length(left) => {
                if self.buffer.is_empty() && self.more().await? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                let raw = self.take(self.buffer.len().min(most));
                *rest = Rest::Length(left - raw.len() as u64);
                Ok(Some(Piece { content: 0..raw.len(), raw }))
            }
            Rest::UntilClose => {
                if self.buffer.is_empty() && self.more().await? == 0 {
                    *rest = Rest::Nothing;
                    return Ok(None);
                }
                let raw = std::mem::take(&mut self.buffer);
                Ok(Some(Piece { content: 0..raw.len(), raw }))
            }
            Rest::Chunked => self.chunk(rest).await.map(Some),
        }
    }

    /// The content of a whole body, at once.
    pub(crate) async fn content(&mut self, mut rest: Rest) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        while let Some(piece) = self.piece(&mut rest).await? {
            content.extend_from_slice(piece.content());
        }
        Ok(content)
    }

    /// A chunk, with its size before it. The last has the trailers and no content.
    async fn chunk(&mut self, rest: &mut Rest) -> io::Result<Piece> {
        let wrong = || io::Error::new(ErrorKind::InvalidData, "no size of a chunk");
        let line = self.line(0).await?;
        let size = std::str::from_utf8(&self.buffer[..line - 2]).map_err(|_| wrong())?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| wrong())?;
        if size > 0 {
            let end = line + size;
            while self.buffer.len() < end + 2 {
                self.must().await?;
            }
            return Ok(Piece { raw: self.take(end + 2), content: line..end });
        }
        *rest = Rest::Nothing;
        let mut end = line;
        loop {
            let next = self.line(end).await?;
            let empty = next == end + 2;
            end = next;
            if empty {
                return Ok(Piece { raw: self.take(end), content: 0..0 });
            }
        }
    }

    /// Where the line that begins at `from` ends.
    async fn line(&mut self, from: usize) -> io::Result<usize> {
        loop {
            if let Some(at) = find(&self.buffer[from..], b"\r\n") {
                return Ok(from + at + 2);
            }
            self.must().await?;
        }
    }

    async fn must(&mut self) -> io::Result<()> {
        match self.more().await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn more(&mut self) -> io::Result<usize> {
        // Without room there would be a system call for every few bytes.
        self.buffer.reserve(ROOM);
        self.stream.read_buf(&mut self.buffer).await
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut reader = Reader::new(bytes);
        let head = reader.head().await?.unwrap();
        reader.content(head.of_answer("GET")).await
    }

    #[tokio::test]
    async fn a_body_ends_where_its_head_says() {
        for (bytes, content) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"[..], &b"abc"[..]),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\nz", b"abc"),
            (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc"),
            (b"HTTP/1.1 204 No Content\r\n\r\nabc", b""),
        ] {
            assert_eq!(read(bytes).await.unwrap(), content);
        }
    }

    #[tokio::test]
    async fn a_body_that_is_cut_short_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
        ] {
            assert!(read(bytes).await.is_err());
        }
    }
}
