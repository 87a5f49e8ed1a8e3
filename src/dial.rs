//! How do our own commands reach a server on this machine? One HTTP/1.1 connection, without the
//! upstream's pool and its rules.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::error::BoxError;

/// Connects, in plain HTTP. The connection ends with what is returned.
///
/// # Errors
/// Nobody accepts it.
pub async fn connect(address: impl ToSocketAddrs) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends with `sender`; what went wrong is what the request reports.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Where to connect to a socket of this machine that listens at `address`: `0.0.0.0` is every
/// interface to who listens, and nobody's address to who connects.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let v4 = address.is_ipv4();
        address.set_ip(if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}
