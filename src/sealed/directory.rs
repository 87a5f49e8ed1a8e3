//! The directory of a store: one process in it, one file, replaced whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use super::{Problem, Reject, envelope};

/// What was written last.
const STORE: &str = "store.sealed";

/// What is being written, or was when the process died.
const NEXT: &str = "store.sealed.next";

/// Held for as long as the process lives; there is nothing in it.
const LOCK: &str = "lock";

/// A directory that no other process uses.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    real: PathBuf,
    handle: File,
    /// One write at a time.
    turn: Mutex<()>,
    /// Let go when it is closed, however the process ends.
    _lock: File,
}

impl Directory {
    /// Opens it, makes it where only the one above it is there, and clears away what a process that died in the
    /// middle of a write has left.
    ///
    /// # Errors
    /// It cannot be made or written, everybody may write to it, or another process has it.
    pub fn open(dir: &Path) -> Result<Self, Problem> {
        let bad = |source: io::Error| Problem::Directory { dir: dir.to_owned(), source };
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(bad(error)),
            _ => (),
        }
        let handle = File::open(dir).map_err(bad)?;
        let about = handle.metadata().map_err(bad)?;
        if !about.is_dir() {
            return Err(bad(io::ErrorKind::NotADirectory.into()));
        }
        if about.mode() & 0o002 != 0 {
            return Err(Problem::Open { dir: dir.to_owned() });
        }
        let mut lock = OpenOptions::new();
        lock.write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_FOLLOW);
        let lock = lock.open(dir.join(LOCK)).map_err(bad)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Problem::Locked { dir: dir.to_owned() },
            TryLockError::Error(error) => bad(error),
        })?;
        let real = fs::canonicalize(dir).map_err(bad)?;
        let path = dir.to_owned();
        let directory = Self { path, real, handle, turn: Mutex::new(()), _lock: lock };
        directory.clear().map_err(bad)?;
        Ok(directory)
    }

    /// As configured.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The wrapped key that the store there claims to be under, for Transit to unwrap; `None`:
    /// there is no store, or its key is in a file.
    ///
    /// # Errors
    /// There is something, and it cannot be a store.
    pub fn wrapped_key(&self) -> Result<Option<String>, Reject> {
        match self.read() {
            Err(Reject::NotThere) => Ok(None),
            Err(reject) => Err(reject),
            Ok(file) => {
                let wrapped = envelope::wrapped(&file)?;
                Ok((!wrapped.is_empty()).then(|| wrapped.to_owned()))
            }
        }
    }

    pub(super) fn real(&self) -> &Path {
        &self.real
    }

    /// The file as it is, if it can be nobody else's.
    pub(super) fn read(&self) -> Result<Vec<u8>, Reject> {
        let mut open = OpenOptions::new();
        open.read(true).custom_flags(NO_FOLLOW);
        let mut file = match open.open(self.path.join(STORE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Reject::NotThere),
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(Reject::Permissions("is a symlink"));
            }
            Err(error) => return Err(Reject::Unreadable(error)),
        };
        let about = file.metadata().map_err(Reject::Unreadable)?;
        let own = rustix::process::geteuid().as_raw();
        let wrong = wrong(about.is_file(), about.mode(), about.uid() == own);
        if let Some(what) = wrong {
            return Err(Reject::Permissions(what));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Reject::Unreadable)?;
        Ok(bytes)
    }

    /// Puts `bytes` in the place of the file.
    pub(super) fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.write_next(bytes);
        if written.is_err() {
            // It is the write's failure that is told; what is left is cleared before the next one.
            let _ = self.clear();
        }
        written?;
        fs::rename(self.path.join(NEXT), self.path.join(STORE))?;
        self.handle.sync_all()
    }

    fn write_next(&self, bytes: &[u8]) -> io::Result<()> {
        self.clear()?;
        let mut next = OpenOptions::new();
        let mut next = next.write(true).create_new(true).mode(0o600).open(self.path.join(NEXT))?;
        next.write_all(bytes)?;
        next.sync_all()
    }

    fn clear(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(NEXT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What keeps a file from being believed. `own`: it belongs to the user vaultlet runs as.
fn wrong(file: bool, mode: u32, own: bool) -> Option<&'static str> {
    match mode & 0o777 {
        _ if !file => Some("is not a file"),
        _ if !own => Some("belongs to another user"),
        0o600 | 0o400 => None,
        _ => Some("has a mode other than 0600"),
    }
}

#[expect(clippy::cast_possible_wrap, reason = "a flag, in the type that open(2) takes")]
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

#[cfg(test)]
mod tests {
    use super::wrong;

    #[test]
    fn a_store_is_a_file_of_our_own_that_nobody_else_can_read() {
        assert_eq!(wrong(true, 0o100_600, true), None);
        assert_eq!(wrong(true, 0o100_600, false), Some("belongs to another user"));
        assert_eq!(wrong(true, 0o100_640, true), Some("has a mode other than 0600"));
        assert_eq!(wrong(false, 0o100_600, true), Some("is not a file"));
    }
}
