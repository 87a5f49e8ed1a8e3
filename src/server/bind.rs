//! Sockets to listen on: made here, or given by another process.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

/// Connections that wait to be accepted, as the standard library has it.
const BACKLOG: u32 = 1024;

/// Listens on an address; with `shared`, beside others of the same user that ask for it too.
pub(super) fn tcp(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does: not to be kept out by connections that have ended.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Goes on listening on what another process has listened on at `address`.
pub(super) fn adopt_tcp(socket: OwnedFd, address: SocketAddr) -> io::Result<TcpListener> {
    listens(&socket)?;
    let socket = std::net::TcpListener::from(socket);
    let bound = socket.local_addr()?;
    let same =
        bound.ip() == address.ip() && (address.port() == 0 || bound.port() == address.port());
    if !same {
        return Err(io::Error::other(format!("it listens on {bound}")));
    }
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// The same of a unix socket. Its file is left as it is.
pub(super) fn adopt_unix(socket: OwnedFd, path: &Path) -> io::Result<UnixListener> {
    listens(&socket)?;
    let socket = std::os::unix::net::UnixListener::from(socket);
    let bound = socket.local_addr()?;
    if bound.as_pathname() != Some(path) {
        return Err(io::Error::other("it listens elsewhere"));
    }
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("what is there by now is no socket"));
    }
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

fn listens(socket: &OwnedFd) -> io::Result<()> {
    let listens = rustix::net::sockopt::socket_acceptconn(socket)?;
    listens.then_some(()).ok_or_else(|| io::Error::other("it is no listening socket"))
}

/// Binds a unix socket with its file mode, in place of one that nobody listens on any more.
pub(super) async fn unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Ok(found) = std::fs::metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket"));
        }
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            // Its queue is full, say, or it is not ours to connect to: somebody may listen.
            Err(error) => return Err(error),
            Ok(_) => {
                let taken = "another process listens there";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, taken));
            }
        }
    }
    let socket = UnixListener::bind(path)?;
    set_mode(path, mode)?;
    Ok(socket)
}

/// Says who may connect.
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::write(at("file"), "precious").unwrap();
        drop(UnixListener::bind(at("left")).unwrap());
        let _live = UnixListener::bind(at("live")).unwrap();

        assert!(unix(&at("file"), 0o600).await.is_err());
        assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "precious");
        assert!(unix(&at("live"), 0o600).await.is_err());
        assert!(UnixStream::connect(at("live")).await.is_ok(), "it still listens");
        assert!(unix(&at("left"), 0o600).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_given_is_listened_on_only_if_it_is_what_it_should_be() {
        let listener = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (one, other) = (listener(), listener());
        let address = one.local_addr().unwrap();
        let mute = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();

        assert!(adopt_tcp(other.into(), address).is_err());
        assert!(adopt_tcp(mute.into(), any).is_err());
        assert!(adopt_tcp(listener().into(), SocketAddr::from(([127, 0, 0, 2], 0))).is_err());
        assert!(adopt_tcp(one.try_clone().unwrap().into(), address).is_ok());
        assert!(adopt_tcp(one.into(), any).is_ok());
    }

    #[tokio::test]
    async fn an_address_is_shared_only_with_those_who_share_it() {
        let first = tcp(SocketAddr::from(([127, 0, 0, 1], 0)), true).unwrap();
        let address = first.local_addr().unwrap();

        assert!(tcp(address, false).is_err());
        assert!(tcp(address, true).is_ok());
    }
}
