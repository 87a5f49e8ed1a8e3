//! Who is let in? Everybody, nobody, or nobody without being told.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// As short as a queue can be. The kernel drops attempts to connect while it is full, as a network
/// does that loses packets.
const SHORTEST: u32 = 1;

/// Longer than it takes to connect to this machine; shorter than the kernel's second attempt.
const UNANSWERED: Duration = Duration::from_millis(300);

/// A listener that takes nobody in, whose queue is full.
#[derive(Debug)]
pub(super) struct Full {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

/// A listener on `port`, or on any where that is 0.
pub(super) async fn open(port: u16, queue: u32) -> io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        let socket = TcpSocket::new_v4()?;
        // The connections of the listener before it are still there.
        socket.set_reuseaddr(true)?;
        let listens = socket
            .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .and_then(|()| socket.listen(queue));
        match listens {
            // Somebody's outgoing connection may have the port for a moment while nobody listens.
            Err(_) if tries < 50 => tries += 1,
            listens => return listens,
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// A listener on `port` that lets attempts to connect go unanswered.
pub(super) async fn shut(port: u16) -> io::Result<Full> {
    let listener = open(port, SHORTEST).await?;
    let mut waiting = Vec::new();
    while let Ok(stream) =
        timeout(UNANSWERED, TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await
    {
        waiting.push(stream?);
    }
    Ok(Full { _listener: listener, _waiting: waiting })
}

/// Whether attempts to connect to `port` are refused.
pub(super) async fn refuses(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err()
}
