//! Accepting connections, bounding what they may cost, and letting them end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::config::{Bind, Listener};
use crate::error::BoxError;

mod bind;
mod connection;
mod line;
mod patience;
pub mod tls;

use connection::End;
pub use connection::{Arrival, Service};
use patience::Patient;
use tls::Certificates;

/// A bound listener. Binding is separate from serving so that a port conflict fails at start,
/// before the process has claimed to be ready.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    listener: Arc<Listener>,
    certificates: Option<Arc<Certificates>>,
    /// Connections served at once. A place is taken *before* `accept`, so a full node leaves the
    /// next connection in the kernel's queue instead of accepting it only to ignore it.
    places: Arc<Semaphore>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, Path),
}

/// The file of a unix socket, which goes with it unless another process listens there: by then, or
/// still.
#[derive(Debug)]
struct Path(PathBuf, Arc<AtomicBool>);

impl Server {
    /// Binds the socket and reads the certificate.
    ///
    /// # Errors
    /// The address is taken or not ours, or a file cannot be used; the message names it.
    pub async fn bind(listener: Listener) -> Result<Self, BoxError> {
        let certificates = certificates(&listener)?;
        let socket = match &listener.bind {
            Bind::Tcp(address) => {
                let socket = bind::tcp(*address, listener.reuse_port);
                Socket::Tcp(socket.map_err(|error| format!("cannot listen on {address}: {error}"))?)
            }
            Bind::Unix { path, mode } => {
                let socket = bind::unix(path, *mode).await;
                let problem = |error| format!("cannot listen on {}: {error}", path.display());
                Socket::Unix(socket.map_err(problem)?, Path(path.clone(), Arc::default()))
            }
        };
        Ok(Self::on(socket, listener, certificates))
    }

    /// Listens on a socket that another process has given, and reads the certificate. Until this
    /// one answers there ([`own`](Self::own)), its file is the other's affair.
    ///
    /// # Errors
    /// It is none for this listener, or a file cannot be used.
    pub fn adopt(listener: Listener, socket: OwnedFd) -> Result<Self, BoxError> {
        let certificates = certificates(&listener)?;
        let socket = match &listener.bind {
            Bind::Tcp(address) => {
                let socket = bind::adopt_tcp(socket, *address);
                Socket::Tcp(socket.map_err(|error| {
                    format!("what was given for {address} cannot be listened on: {error}")
                })?)
            }
            Bind::Unix { path, .. } => {
                let problem = |error| {
                    format!("what was given for {} cannot be listened on: {error}", path.display())
                };
                let socket = bind::adopt_unix(socket, path).map_err(problem)?;
                Socket::Unix(socket, Path(path.clone(), Arc::new(AtomicBool::new(true))))
            }
        };
        Ok(Self::on(socket, listener, certificates))
    }

    fn on(socket: Socket, listener: Listener, certificates: Option<Arc<Certificates>>) -> Self {
        let places = Arc::new(Semaphore::new(listener.limits.max_connections));
        Self { socket, listener: Arc::new(listener), certificates, places }
    }

    /// This process begins to answer here: a file that came with the socket is its affair now.
    pub fn own(&self) {
        if let (Socket::Unix(_, Path(path, given)), Bind::Unix { mode, .. }) =
            (&self.socket, &self.listener.bind)
            && given.swap(false, Ordering::SeqCst)
            && let Err(error) = bind::set_mode(path, *mode)
        {
            warn!(%error, listener = self.name(), "cannot set the mode of the socket");
        }
    }

    /// What another process needs to listen here as well.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn legacy(&self) -> io::Result<Legacy> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let socket = socket.as_fd().try_clone_to_owned()?;
                Ok(Legacy { bind: self.listener.bind.clone(), socket, given: None })
            }
            Socket::Unix(socket, Path(_, given)) => {
                let socket = socket.as_fd().try_clone_to_owned()?;
                let given = Some(Arc::clone(given));
                Ok(Legacy { bind: self.listener.bind.clone(), socket, given })
            }
        }
    }

    /// The TCP address in use, where it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// Where it listens, for people.
    pub fn name(&self) -> String {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(|at| at.to_string()).unwrap_or_default(),
            Socket::Unix(_, Path(path, _)) => format!("unix:{}", path.display()),
        }
    }

    /// The serving certificate, to be reloaded when its files change.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.clone()
    }

    /// Serves until `stop` is cancelled and every connection has finished or `grace` is over.
    pub async fn run<S: Service>(self, service: S, stop: CancellationToken, grace: Duration) {
        let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
        let end = End { stop: stop.clone(), cut: cut.clone() };
        while let Some((io, remote, place)) = stop.run_until_cancelled(self.accept()).await {
            let (listener, service) = (Arc::clone(&self.listener), service.clone());
            let (tls, end) = (self.certificates.clone(), end.clone());
            connections.spawn(async move {
                let io = Patient::new(io, listener.limits.stall_timeout);
                match tls {
                    None => connection::serve(io, remote, false, listener, service, end).await,
                    Some(tls) => {
                        let handshake = TlsAcceptor::from(tls.current()).accept(io);
                        let timed = timeout(listener.limits.header_timeout, handshake);
                        match end.cut.run_until_cancelled(timed).await {
                            Some(Ok(Ok(io))) => {
                                let http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
                                connection::serve(io, remote, http2, listener, service, end).await;
                            }
                            Some(Ok(Err(error))) => debug!(%error, "TLS handshake failed"),
                            Some(Err(_)) => debug!("TLS handshake took too long"),
                            None => (),
                        }
                    }
                }
                drop(place);
            });
        }
        // The port goes first: a restarted proxy can bind it while this one drains.
        let name = self.name();
        drop(self.socket);
        connections.close();
        info!(listener = name, open = connections.len(), ?grace, "draining");
        if timeout(grace, connections.wait()).await.is_err() {
            warn!(listener = name, open = connections.len(), "cutting what is left");
            cut.cancel();
            connections.wait().await;
        }
    }

    /// The next connection, once there is room for it. `accept` fails when, say, the process has
    /// run out of file descriptors; that passes, so it is no reason to drop what we have.
    async fn accept(&self) -> (Io, Option<SocketAddr>, OwnedSemaphorePermit) {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = place.await.expect("the semaphore is never closed");
        let mut said = false;
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(socket) => socket.accept().await.map(|(stream, remote)| {
                    // Without it a kept-alive answer can wait 40 ms for the peer's next packet.
                    if let Err(error) = stream.set_nodelay(true) {
                        debug!(%error, "cannot set TCP_NODELAY");
                    }
                    (Either::Left(stream), Some(remote))
                }),
                Socket::Unix(socket, _) => {
                    socket.accept().await.map(|(stream, _)| (Either::Right(stream), None))
                }
            };
            match accepted {
                Ok((io, remote)) => return (io, remote, place),
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        warn!(%error, "cannot accept, trying again");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// What a connection is made of.
type Io = Either<TcpStream, UnixStream>;

impl Drop for Path {
    fn drop(&mut self) {
        if !self.1.load(Ordering::SeqCst) {
            // Gone already is as good as removed.
            std::fs::remove_file(&self.0).ok();
        }
    }
}

/// A listening socket that another process may be given.
#[derive(Debug)]
pub struct Legacy {
    /// Where it listens, as configured.
    pub bind: Bind,
    socket: OwnedFd,
    given: Option<Arc<AtomicBool>>,
}

impl Legacy {
    /// Another handle of it.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// The other process listens there: its file stays.
    pub fn give(self) {
        if let Some(given) = self.given {
            given.store(true, Ordering::SeqCst);
        }
    }
}

fn certificates(listener: &Listener) -> Result<Option<Arc<Certificates>>, BoxError> {
    Ok(match &listener.tls {
        Some(tls) => Some(Arc::new(Certificates::load(tls.clone(), listener.http2)?)),
        None => None,
    })
}
