//! The private socket between two processes of one user: where it is, who may connect, and how
//! listening sockets go through it.

use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

/// Sockets that go through at once; the kernel takes no more than 253.
pub const MOST: usize = 128;

/// What is wrong with the socket, or its place. Each is one paragraph for whoever configured it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Others could put another in its place.
    #[error(
        "upgrade.socket {socket}: its directory {what}, so that somebody else could put another \
         socket there; it has to belong to the user vaultlet runs as and be writable by nobody \
         else (chmod go-w)"
    )]
    Directory {
        /// As configured.
        socket: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// What is there is not ours.
    #[error(
        "upgrade.socket {socket} {what}: a running vaultlet makes it with mode 0600, for the user \
         it runs as; remove it, or name another path"
    )]
    Foreign {
        /// As configured.
        socket: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// It cannot be used.
    #[error("upgrade.socket {socket}: {source}")]
    Unusable {
        /// As configured.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where a running process can be asked to let another take over.
#[derive(Debug)]
pub struct Gate {
    socket: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
    left: bool,
}

impl Gate {
    /// Opens it, in the place of that of a process that has ended or handed over.
    ///
    /// # Errors
    /// Its place is not one of ours alone.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let unusable = |source| Problem::Unusable { socket: path.to_owned(), source };
        if let Some(directory) = parent(path) {
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(unusable(error));
                }
                _ => (),
            }
        }
        check_place(path)?;
        // It is there with its mode, or not at all.
        let mut next = path.as_os_str().to_owned();
        next.push(format!(".{}", std::process::id()));
        let next = PathBuf::from(next);
        match fs::remove_file(&next) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(unusable(error)),
            _ => (),
        }
        let opened = UnixListener::bind(&next).and_then(|socket| {
            fs::set_permissions(&next, fs::Permissions::from_mode(0o600))?;
            let identity = identity(&fs::symlink_metadata(&next)?);
            fs::rename(&next, path)?;
            Ok((socket, identity))
        });
        let (socket, identity) = opened.map_err(unusable)?;
        Ok(Self { socket, path: path.to_owned(), identity, left: false })
    }

    /// Closes it where another process has taken over. The file stays: that one puts its own in its
    /// place, at the same time.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// The next process that connects, and whether it is of our user.
    pub async fn accept(&self) -> (UnixStream, bool) {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    let own = own(&stream);
                    return (stream, own);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on upgrade.socket, pausing");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // Another process may have put its own there.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|it| identity(&it) == self.identity);
        if ours {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// A connection to the process that listens there; `None`: there is none.
///
/// # Errors
/// What is there cannot be trusted.
pub async fn connect(path: &Path) -> Result<Option<UnixStream>, Problem> {
    let foreign = |what| Problem::Foreign { socket: path.to_owned(), what };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Problem::Unusable { socket: path.to_owned(), source }),
        Ok(_) => check_place(path)?,
    }
    match UnixStream::connect(path).await {
        Ok(stream) if own(&stream) => Ok(Some(stream)),
        Ok(_) => Err(foreign("is listened on by another user")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Problem::Unusable { socket: path.to_owned(), source }),
    }
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

/// That nobody else can have put there what is there, or can put something there.
fn check_place(path: &Path) -> Result<(), Problem> {
    let user = rustix::process::geteuid().as_raw();
    let directory = parent(path).unwrap_or(Path::new("."));
    let about = fs::metadata(directory)
        .map_err(|source| Problem::Unusable { socket: path.to_owned(), source })?;
    let wrong = |what| Err(Problem::Directory { socket: path.to_owned(), what });
    if about.uid() != user {
        return wrong("belongs to another user");
    }
    if about.mode() & 0o022 != 0 {
        return wrong("is writable by others");
    }
    let foreign = |what| Err(Problem::Foreign { socket: path.to_owned(), what });
    match fs::symlink_metadata(path) {
        Ok(about) if !about.file_type().is_socket() => foreign("is there, and no socket"),
        Ok(about) if about.uid() != user => foreign("belongs to another user"),
        Ok(about) if about.mode() & 0o777 != 0o600 => foreign("has a mode other than 0600"),
        Err(_) | Ok(_) => Ok(()),
    }
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

/// Whether the process at the other end runs as the same user.
fn own(stream: &UnixStream) -> bool {
    let user = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == user)
}

/// Sends one byte, and these with it.
pub async fn send(stream: &UnixStream, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
                return Err(io::Error::other("too many listeners to hand over"));
            }
            let byte = [IoSlice::new(&[0])];
            rustix::net::sendmsg(stream.as_fd(), &byte, &mut control, SendFlags::NOSIGNAL)?;
            Ok(())
        })
        .await
}

/// Receives one byte, and what came with it.
pub async fn receive(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    stream
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let read = rustix::net::recvmsg(
                stream.as_fd(),
                &mut [IoSliceMut::new(&mut byte)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            if read.bytes == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let mut received = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(sockets) = message {
                    received.extend(sockets);
                }
            }
            Ok(received)
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn private() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        home
    }

    #[tokio::test]
    async fn it_is_ours_alone_and_goes_with_its_process() {
        let home = private();
        let path = home.path().join("run/upgrade.sock");
        assert!(connect(&path).await.unwrap().is_none());

        let gate = Gate::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(home.path().join("run")).unwrap().mode() & 0o777, 0o700);
        assert!(connect(&path).await.unwrap().is_some());
        assert!(gate.accept().await.1);

        let next = Gate::open(&path).unwrap();
        drop(gate);
        assert!(connect(&path).await.unwrap().is_some(), "that of the next process stays");
        next.leave();
        assert!(path.exists(), "whoever took over puts its own there");
        drop(Gate::open(&path).unwrap());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_crash_left_is_nobody() {
        let home = private();
        let path = home.path().join("upgrade.sock");
        drop(UnixListener::bind(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

        assert!(connect(&path).await.unwrap().is_none());
        Gate::open(&path).unwrap();
    }

    #[tokio::test]
    async fn a_place_that_others_can_write_to_is_refused() {
        let home = private();
        let path = home.path().join("upgrade.sock");
        let modes = [(0o770, "writable"), (0o707, "writable")];
        for (mode, what) in modes {
            fs::set_permissions(home.path(), fs::Permissions::from_mode(mode)).unwrap();
            let problem = Gate::open(&path).unwrap_err().to_string();
            assert!(problem.contains(what) && problem.contains("upgrade.socket"), "{problem}");
            assert!(!path.exists());
        }
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();

        fs::write(&path, "precious").unwrap();
        assert!(Gate::open(&path).unwrap_err().to_string().contains("no socket"));
        assert!(connect(&path).await.unwrap_err().to_string().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

        fs::remove_file(&path).unwrap();
        let elsewhere = home.path().join("other.sock");
        let _other = UnixListener::bind(&elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(connect(&path).await.unwrap_err().to_string().contains("no socket"));

        fs::remove_file(&path).unwrap();
        let _open = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(connect(&path).await.unwrap_err().to_string().contains("mode other than 0600"));
        assert!(Gate::open(&path).is_err());
    }

    #[tokio::test]
    async fn a_socket_goes_through_and_is_the_same() {
        let (one, other) = UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        send(&one, &[listener.as_fd(), listener.as_fd()]).await.unwrap();

        let received = receive(&other).await.unwrap();
        assert_eq!(received.len(), 2);
        for socket in received {
            let flags = rustix::io::fcntl_getfd(&socket).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            let same = std::net::TcpListener::from(socket);
            assert_eq!(same.local_addr().unwrap(), listener.local_addr().unwrap());
        }
        drop(one);
        assert!(receive(&other).await.is_err());
    }
}
