//! Connections that whoever embeds the proxy makes for it, in the place of TCP and TLS.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;
use crate::error::BoxError;

/// Makes connections to the upstream. Where the runtime's time is paused there must be no others:
/// with nothing to do but to wait for a socket, the runtime lets its time jump to the next timeout.
#[derive(Clone)]
pub struct Carrier(Arc<dyn Fn() -> Carried + Send + Sync>);

pub(super) type Carried = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

impl Carrier {
    /// `connect` gives a connection that carries HTTP/1.1, in plain, whatever the address says; or
    /// it fails as a connection does that nobody accepts.
    pub fn new<F, C, S>(connect: F) -> Self
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self(Arc::new(move || {
            let connecting = connect();
            Box::pin(async move { Ok(Stream::new(TokioIo::new(Plain(connecting.await?)))) })
        }))
    }

    pub(super) fn connect(&self) -> Carried {
        (self.0)()
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

/// A connection of which there is nothing to know.
struct Plain<S>(S);

impl<S> Connection for Plain<S> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Plain<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Plain<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
