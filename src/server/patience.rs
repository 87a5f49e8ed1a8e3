//! How long may a peer take nothing of what is sent to it?
//!
//! hyper has no limit for that. This one lies below TLS: above it, what is written is taken at
//! once, into TLS's own buffer, and only the socket knows whether the peer reads.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that fails once nothing could be written for too long.
pub(super) struct Patient<I> {
    io: I,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<I> Patient<I> {
    pub(super) fn new(io: I, stall: Duration) -> Self {
        Self { io, stall, stalled: None }
    }

    /// Passes `wrote` on, unless nothing could be written for too long.
    fn unless_stalled<T>(
        &mut self,
        wrote: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let stall = self.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Patient<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Patient<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.io).poll_write(context, bytes);
        this.unless_stalled(wrote, context)
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
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.unless_stalled(wrote, context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::time::timeout;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_cut() {
        let (_peer, io) = duplex(1);
        let mut io = Patient::new(io, 30 * SECOND);

        let stalled = io.write_all(b"answer").await.unwrap_err();

        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn tls_hides_no_peer_that_does_not_read() {
        let (peer, io) = duplex(4096);
        let io = Patient::new(io, 30 * SECOND);
        let (server, client) = configs();
        let client = TlsConnector::from(Arc::new(client));
        let server = TlsAcceptor::from(Arc::new(server));
        let name = "node.test".try_into().unwrap();
        let (server, _peer) = tokio::join!(server.accept(io), client.connect(name, peer));
        let mut server = server.unwrap();

        server.write_all(&[0; 16 * 1024]).await.unwrap();
        let ended = timeout(60 * SECOND, server.shutdown()).await.expect("held for ever");

        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    fn configs() -> (ServerConfig, ClientConfig) {
        let issued = rcgen::generate_simple_self_signed(["node.test".to_owned()]).unwrap();
        let chain = vec![issued.cert.der().clone()];
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (server, client)
    }
}
