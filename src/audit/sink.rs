//! Where the lines go, and what is there already.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::chain::{Entry, Head};
use crate::config::AuditSink;

/// How long a socket's peer may take to read what is in its way, once; see [`Sink::write`].
const PATIENCE: Duration = Duration::from_millis(250);

/// How far back the last record of a file is looked for: past whatever a crash may have left.
const WINDOW: u64 = 1024 * 1024;

/// An open sink.
#[derive(Debug)]
pub(super) enum Sink {
    /// A file, or standard output.
    File(File),
    /// A socket, and whether its peer was last seen not reading.
    Unix(UnixStream, bool),
}

/// The right to write to a file that two processes write to. A lock of the process's, let go when
/// this, like any other handle of the file, is closed.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "it is there to be closed")] File);

/// How what is in a sink already ends.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Tail {
    /// The last line; `None`: there is none.
    pub(super) head: Option<Head>,
    /// Bytes after it that are no line, with the newline that is yet to end them.
    pub(super) torn: u64,
    /// Whether the newline is missing.
    pub(super) open: bool,
}

impl Sink {
    /// Opens the place, which a file's process has for itself.
    ///
    /// # Errors
    /// It cannot be written to; one paragraph for people.
    pub(super) fn open(place: &AuditSink) -> Result<(Self, Tail), String> {
        match place {
            AuditSink::File { path, mode } => {
                let shown = path.display();
                let cannot = |error| {
                    format!(
                        "audit.file: {shown} cannot be used: {error}; its directory must exist, and \
                         the file be readable and writable by vaultlet's user alone"
                    )
                };
                let mut file = open(path, *mode).map_err(cannot)?;
                if !file.metadata().map_err(cannot)?.is_file() {
                    return Ok((Self::File(file), Tail::default()));
                }
                if matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
                    return Err(format!(
                        "audit.file: {shown} is in use by another vaultlet; two cannot continue one \
                         chain of records, so give each a file of its own"
                    ));
                }
                let tail = Tail::of(&mut file).map_err(cannot)?.ok_or_else(|| {
                    format!(
                        "audit.file: {shown} does not end in audit records; name another file, or \
                         move this one away"
                    )
                })?;
                Ok((Self::File(file), tail))
            }
            AuditSink::Stdout => {
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                let stdout = stdout.map_err(|error| format!("audit.stdout: {error}"))?;
                Ok((Self::File(stdout.into()), Tail::default()))
            }
            AuditSink::Unix(path) => {
                let stream = connect(path).map_err(|error| {
                    format!(
                        "audit.unix: nobody accepts connections at {}: {error}; start what listens \
                         there, as a stream socket",
                        path.display()
                    )
                })?;
                Ok((Self::Unix(stream, false), Tail::default()))
            }
        }
    }

    /// What another process writes to as well, as it gave it; and how long it is.
    ///
    /// # Errors
    /// It is not the file at this place.
    pub(super) fn join(file: File, place: &AuditSink) -> Result<(Self, Tail, u64), String> {
        let sink = Self::File(file);
        let cannot = |error| format!("audit.file: what the process before writes to: {error}");
        if sink.moved(place) {
            return Err(cannot(ErrorKind::NotFound.into()));
        }
        let _turn = sink.turn().map_err(cannot)?;
        let length = sink.length().map_err(cannot)?;
        let tail = sink.since(length.saturating_sub(WINDOW)).map_err(cannot)?;
        Ok((sink, tail, length))
    }

    /// The turn to write, until it is dropped, where another process writes too.
    pub(super) fn turn(&self) -> io::Result<Turn> {
        let Self::File(file) = self else { return Err(ErrorKind::Unsupported.into()) };
        let file = file.try_clone()?;
        rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive)?;
        Ok(Turn(file))
    }

    /// A handle for another process, if this is a file on a disk.
    pub(super) fn handle(&self) -> Option<File> {
        let Self::File(file) = self else { return None };
        let regular = file.metadata().is_ok_and(|about| about.is_file());
        regular.then(|| file.try_clone().ok()).flatten()
    }

    /// How long the file is.
    pub(super) fn length(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Unix(..) => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// How what comes after its first `length` bytes ends.
    pub(super) fn since(&self, length: u64) -> io::Result<Tail> {
        let Self::File(file) = self else { return Err(ErrorKind::Unsupported.into()) };
        let more = file.metadata()?.len().checked_sub(length).ok_or(ErrorKind::UnexpectedEof)?;
        let mut bytes = vec![0; usize::try_from(more).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, length)?;
        Ok(Tail::in_bytes(&bytes))
    }

    /// Whether what is at the place now is not this.
    pub(super) fn moved(&self, place: &AuditSink) -> bool {
        let (Self::File(file), AuditSink::File { path, .. }) = (self, place) else { return false };
        let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
        let (ours, theirs) = (file.metadata().map(identity), std::fs::metadata(path).map(identity));
        !matches!((ours, theirs), (Ok(ours), Ok(theirs)) if ours == theirs)
    }

    /// Writes what can be written: how many bytes, and why not more.
    ///
    /// A socket whose peer does not read is waited for once; as long as it does not, later writes
    /// fail at once.
    pub(super) fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        match self {
            Self::File(file) => write(file, bytes),
            Self::Unix(stream, stuck) => {
                let written = write(stream, bytes);
                let blocked =
                    matches!(&written.1, Err(error) if error.kind() == ErrorKind::WouldBlock);
                if blocked != *stuck && stream.set_nonblocking(blocked).is_ok() {
                    *stuck = blocked;
                }
                written
            }
        }
    }
}

impl Tail {
    /// Of a file; `None`: it is long and does not end in lines of ours.
    fn of(file: &mut File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
        file.take(WINDOW).read_to_end(&mut end)?;
        let tail = Self::in_bytes(&end);
        Ok(Some(tail).filter(|tail| tail.head.is_some() || length <= WINDOW))
    }

    pub(super) fn in_bytes(bytes: &[u8]) -> Self {
        let open = bytes.last().is_some_and(|last| *last != b'\n');
        let mut end = if open { bytes.len() } else { bytes.len().saturating_sub(1) };
        let head = loop {
            let begin = bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let line = &bytes[begin..end];
            if let Some(entry) = Entry::parse(line) {
                break Some(Head::of(entry.place.seq, line));
            }
            if begin == 0 {
                break None;
            }
            end = begin - 1;
        };
        let rest = match head {
            Some(_) => bytes.len().saturating_sub(end + 1),
            None => bytes.len(),
        };
        let torn = if rest > 0 { rest + usize::from(open) } else { 0 };
        Self { head, torn: torn as u64, open }
    }
}

fn open(path: &Path, mode: u32) -> io::Result<File> {
    // Without waiting: a pipe that nobody reads, or whose reader is slow, must not hold us.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("the flags of open(2) are an int");
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(mode).custom_flags(flags).open(path)
}

/// Connects without waiting for a peer that has too many connections to accept.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(path)?)?;
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn write(sink: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match sink.write(&bytes[done..]) {
            Ok(0) => return (done, Err(ErrorKind::WriteZero.into())),
            Ok(more) => done += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lines of a log, with their newlines.
    fn lines() -> (Vec<u8>, Head, Vec<u8>, Head) {
        let unplaced = br#"{"type":"start","vaultlet":{"version":"1""#;
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let first = Head::NONE.link(unplaced, &mut one);
        let second = first.link(unplaced, &mut two);
        one.push(b'\n');
        two.push(b'\n');
        (one, first, two, second)
    }

    #[test]
    fn the_last_whole_line_is_found_behind_what_a_crash_left() {
        let (one, first, two, second) = lines();
        let both = [one.as_slice(), &two].concat();
        let whole = |head, open| Tail { head: Some(head), torn: 0, open };
        let torn = |head, torn, open| Tail { head, torn, open };

        for (bytes, tail) in [
            (Vec::new(), Tail::default()),
            (both.clone(), whole(second, false)),
            // A line that lacks its newline only is all there.
            (both[..both.len() - 1].to_vec(), whole(second, true)),
            (both[..both.len() - 2].to_vec(), torn(Some(first), two.len() as u64 - 1, true)),
            ([&both[..], b"{\"ti"].concat(), torn(Some(second), 5, true)),
            ([&both[..], b"\0\0\0\0"].concat(), torn(Some(second), 5, true)),
            ([&both[..], b"a\n\nb\n"].concat(), torn(Some(second), 5, false)),
            ([&both[..], b"\n"].concat(), torn(Some(second), 1, false)),
            (b"a\nb".to_vec(), torn(None, 4, true)),
            (b"\n".to_vec(), torn(None, 1, false)),
        ] {
            assert_eq!(Tail::in_bytes(&bytes), tail, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_long_file_of_something_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.log");
        std::fs::write(&path, "2026-11-22 something else\n".repeat(50_000)).unwrap();

        let error = Sink::open(&AuditSink::File { path, mode: 0o600 }).unwrap_err();

        assert!(error.contains("does not end in audit records"), "{error}");
    }

    #[test]
    fn one_process_writes_to_a_file_and_others_cannot_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let place = AuditSink::File { path: path.clone(), mode: 0o600 };

        let (first, tail) = Sink::open(&place).unwrap();
        let error = Sink::open(&place).unwrap_err();

        assert_eq!(tail, Tail::default());
        assert!(error.contains("is in use by another vaultlet"), "{error}");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        drop(first);
        Sink::open(&place).unwrap();
    }

    #[test]
    fn what_cannot_be_opened_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none/audit.jsonl");
        let file = Sink::open(&AuditSink::File { path, mode: 0o600 }).unwrap_err();
        let unix = Sink::open(&AuditSink::Unix(directory.path().join("none.sock"))).unwrap_err();

        assert!(file.contains("none/audit.jsonl cannot be used: No such file"), "{file}");
        assert!(unix.contains("nobody accepts connections at"), "{unix}");
    }
}
