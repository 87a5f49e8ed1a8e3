//! A connection that knows how long things may take, and sees what the HTTP library hides.
//!
//! hyper has one limit for the wait for a request and for its head to arrive; a head that trickles
//! in must end sooner than an idle connection. And it hides what the server does not overlook: a
//! request target ends at a `#`, where the server's goes on, and empty lines before a request are
//! skipped. Such a request must not be taken for another one.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Limits;

/// Where a connection is between two requests. Told by the service, kept by the [`Line`].
#[derive(Debug, Default)]
pub(super) struct Phase {
    now: AtomicU8,
    altered: AtomicBool,
}

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`
const PREFACE: usize = 24;

impl Phase {
    /// A request's head has been read.
    pub(super) fn head_is_read(&self) {
        self.now.store(BUSY, Ordering::Release);
    }

    /// Its answer has begun; what comes next is the next request.
    pub(super) fn answered(&self) {
        self.now.store(IDLE, Ordering::Release);
    }

    /// Whether this connection has carried a request that the HTTP library does not show as it
    /// came.
    pub(super) fn altered(&self) -> bool {
        self.altered.load(Ordering::Acquire)
    }
}

/// The connection.
pub(super) struct Line<I> {
    io: I,
    phase: Arc<Phase>,
    /// How long a request head may take.
    heads: Duration,
    /// What is left of the bytes that open an HTTP/2 connection; `None`: HTTP/1.
    preface: Option<usize>,
    /// Since when the rest of a head is waited for.
    since: Option<Instant>,
    /// Set when a head does not come in one piece, and left to itself when that wait is over.
    timer: Option<Pin<Box<Sleep>>>,
    scan: Scan,
}

impl<I> Line<I> {
    pub(super) fn new(io: I, phase: Arc<Phase>, http2: bool, limits: &Limits) -> Self {
        // HTTP/2 frames its own heads, and asks a silent peer for a sign of life, but not before
        // its preface has come.
        let preface = http2.then_some(PREFACE);
        let heads = limits.header_timeout;
        if http2 {
            phase.now.store(HEAD, Ordering::Release);
        }
        Self { io, phase, heads, preface, since: None, timer: None, scan: Scan::default() }
    }

    /// Nothing has come. Fails once a head has been waited for too long.
    fn waits(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.phase.now.load(Ordering::Acquire) != HEAD || self.preface == Some(0) {
            return Ok(());
        }
        let end = *self.since.get_or_insert_with(Instant::now) + self.heads;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        // It may be set for a wait that is over.
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= end {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the request head took too long",
                ));
            }
            timer.as_mut().reset(end);
        }
        Ok(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Line<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.io).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => (),
            Poll::Pending => {
                this.waits(context)?;
                return Poll::Pending;
            }
            failed @ Poll::Ready(Err(_)) => return failed,
        }
        let new = &buffer.filled()[before..];
        if let Some(preface) = &mut this.preface {
            *preface = preface.saturating_sub(new.len());
            return Poll::Ready(Ok(()));
        }
        let Some(first) = new.first() else { return Poll::Ready(Ok(())) };
        let idle = this.phase.now.compare_exchange(IDLE, HEAD, Ordering::AcqRel, Ordering::Acquire);
        if idle.is_ok() {
            this.since = None;
        }
        let empty_line = idle.is_ok() && matches!(first, b'\r' | b'\n');
        if empty_line || this.scan.fragment(new) {
            this.phase.altered.store(true, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Line<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, slices)
    }
}

/// Looks for lines with a `#` that end as a request line does. A line of a body may look like one;
/// its connection is then refused further requests, which is the safe mistake.
#[derive(Debug, Default)]
struct Scan {
    /// The end of the line so far, once it has held a `#`.
    tail: Option<Vec<u8>>,
}

impl Scan {
    fn fragment(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            if self.tail.is_none() {
                // Several bytes at a time, where `position` takes one.
                if !bytes.contains(&b'#') {
                    return false;
                }
                let Some(hash) = bytes.iter().position(|byte| *byte == b'#') else { return false };
                bytes = &bytes[hash + 1..];
            }
            let tail = self.tail.get_or_insert_default();
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                tail.extend_from_slice(&bytes[bytes.len().saturating_sub(16)..]);
                tail.drain(..tail.len().saturating_sub(16));
                return false;
            };
            tail.extend_from_slice(&bytes[..end]);
            let line = tail.trim_ascii_end();
            if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") {
                return true;
            }
            self.tail = None;
            bytes = &bytes[end + 1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn a_fragment_is_seen_however_the_line_is_cut() {
        let request = b"GET /v1/secret/data/app#x HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 1..request.len() {
            let mut scan = Scan::default();
            let seen = scan.fragment(&request[..cut]) | scan.fragment(&request[cut..]);
            assert!(seen, "cut at {cut}");
        }
    }

    #[test]
    fn a_hash_anywhere_else_is_not_one() {
        for bytes in [
            &b"GET /v1/x HTTP/1.1\r\nX-Note: #1\r\n\r\n"[..],
            b"{\"a\":\"#\"}",
            b"#\n#\n HTTP/1.1\r\n",
        ] {
            assert!(!Scan::default().fragment(bytes), "{}", bytes.escape_ascii());
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// With 10 s for a head.
    fn line(http2: bool) -> (DuplexStream, Line<DuplexStream>, Arc<Phase>) {
        let limits = Limits {
            max_connections: 1,
            idle_timeout: 60 * SECOND,
            header_timeout: 10 * SECOND,
            max_header_bytes: 1024,
            max_body_bytes: 1024,
            stall_timeout: SECOND,
        };
        let (peer, io) = duplex(64);
        let phase = Arc::new(Phase::default());
        (peer, Line::new(io, Arc::clone(&phase), http2, &limits), phase)
    }

    /// After how many seconds reading fails.
    async fn fails_after(line: &mut Line<DuplexStream>) -> u64 {
        let began = Instant::now();
        let late = line.read_u8().await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_is_cut_long_before_an_idle_connection() {
        let (mut peer, mut line, _) = line(false);

        let idle = timeout(50 * SECOND, line.read_u8()).await;
        assert!(idle.is_err(), "nothing was sent, and nothing is late");
        for _ in 0..3 {
            peer.write_all(b"G").await.unwrap();
            line.read_u8().await.unwrap();
            timeout(3 * SECOND, line.read_u8()).await.unwrap_err();
        }
        assert_eq!(fails_after(&mut line).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_is_waited_for_by_itself_and_nothing_else_is() {
        let (mut peer, mut line, phase) = line(false);

        for _ in 0..5 {
            timeout(50 * SECOND, line.read_u8()).await.expect_err("the wait for a request");
            peer.write_all(b"G").await.unwrap();
            line.read_u8().await.unwrap();
            timeout(9 * SECOND, line.read_u8()).await.expect_err("the rest of its head");
            phase.head_is_read();
            timeout(500 * SECOND, line.read_u8()).await.expect_err("the request itself");
            phase.answered();
        }
        peer.write_all(b"G").await.unwrap();
        line.read_u8().await.unwrap();
        assert_eq!(fails_after(&mut line).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_peer_must_begin_and_is_then_left_to_the_library() {
        let (_silent, mut silent, _) = line(true);
        assert_eq!(fails_after(&mut silent).await, 10);

        let (mut peer, mut line, phase) = line(true);
        peer.write_all(&[b'P'; PREFACE]).await.unwrap();
        line.read_exact(&mut [0; PREFACE]).await.unwrap();
        phase.answered();
        timeout(500 * SECOND, line.read_u8()).await.expect_err("no limit of the line's");
    }
}
