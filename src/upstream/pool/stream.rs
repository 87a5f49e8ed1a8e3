//! A connection to the upstream that can be cut from outside.
//!
//! An upstream that refuses an upload answers before it has read it, and reads no further. hyper
//! then waits for the rest of the upload to be taken, for as long as the upstream keeps the
//! connection open (hyper issue 4176): a caller could use up the process's descriptors with
//! refused uploads. So whoever reads the answer holds a [`Switch`], and when the answer is over
//! while the upload is not, the connection is cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

use crate::upstream::upload::Upload;

trait Io: Read + Write + Connection + Unpin + Send {}
impl<T: Read + Write + Connection + Unpin + Send> Io for T {}

/// Any connection hyper can use.
pub(in crate::upstream) struct Stream {
    io: Box<dyn Io>,
    line: Arc<Line>,
}

#[derive(Debug, Default)]
struct Line {
    cut: AtomicBool,
    /// Bytes are waiting to be taken by the upstream.
    clogged: AtomicBool,
    task: AtomicWaker,
}

/// Reaches a connection from outside: rides on each of its answers, in the extensions.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Switch(Arc<Line>);

/// Cuts its connection when dropped, if that still has something to send.
#[derive(Debug)]
pub(in crate::upstream) struct Cut {
    line: Arc<Line>,
    upload: Upload,
}

impl Switch {
    /// To be held until the answer is over.
    pub(in crate::upstream) fn armed(self, upload: Upload) -> Cut {
        Cut { line: self.0, upload }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if !self.upload.over() || self.line.clogged.load(Ordering::Acquire) {
            self.line.cut.store(true, Ordering::Release);
            self.line.task.wake();
        }
    }
}

impl Stream {
    pub(super) fn new(io: impl Read + Write + Connection + Unpin + Send + 'static) -> Self {
        Self { io: Box::new(io), line: Arc::default() }
    }

    fn intact(&self, context: &Context<'_>) -> io::Result<()> {
        self.line.task.register(context.waker());
        if self.line.cut.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "answered before it was read"));
        }
        Ok(())
    }

    fn note(&self, clogged: bool) {
        self.line.clogged.store(clogged, Ordering::Release);
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().extra(Switch(Arc::clone(&self.line)))
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.intact(context)?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.intact(context)?;
        let wrote = Pin::new(&mut self.io).poll_write(context, bytes);
        self.note(wrote.is_pending());
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.intact(context)?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.intact(context)?;
        let wrote = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.note(wrote.is_pending());
        wrote
    }
}
