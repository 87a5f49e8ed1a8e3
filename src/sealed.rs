//! What outlives the process, and who can read it?
//!
//! Optional. One file in a directory of vaultlet's own, replaced whole with each write, sealed under
//! a key that is never beside it: `docs/store.md`. It can be lost, stolen or altered without harm to
//! anything but the memory of it: what is not exactly what was written is not loaded, and vaultlet
//! starts with nothing.

use std::io;
use std::path::PathBuf;

use zeroize::Zeroizing;

pub mod content;
mod directory;
mod envelope;
mod hidden;
mod key;
mod times;
pub mod transit;
mod writer;

pub use directory::Directory;
pub use envelope::unseal;
pub use hidden::{Hidden, wiped_json};
pub use key::Key;
pub use times::{At, Times, Written};
pub use writer::{Changes, Writer};

/// A store: a directory and its key.
#[derive(Debug)]
pub struct Sealed {
    directory: Directory,
    key: Key,
}

/// Why there can be no store. Each is one paragraph for whoever configured it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be made, opened or written.
    #[error(
        "cache.leases.store.dir {dir}: {source}; it has to be a directory that the user vaultlet \
         runs as can write"
    )]
    Directory {
        /// As configured.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key is not one, or not well kept.
    #[error("cache.leases.store.key_file {file}: {what}")]
    KeyFile {
        /// As configured.
        file: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Another process has it.
    #[error(
        "cache.leases.store.dir {dir} is in use by another process: each vaultlet needs a \
         directory of its own, and a new one can only start on it once the old one has ended"
    )]
    Locked {
        /// As configured.
        dir: PathBuf,
    },
    /// Anybody could put another file in the place of the store.
    #[error(
        "cache.leases.store.dir {dir} can be written by every user of this machine: take that away \
         (chmod o-w), or name another directory, which vaultlet makes if it is not there"
    )]
    Open {
        /// As configured.
        dir: PathBuf,
    },
}

/// Why nothing was loaded. None of them is fatal; all but the first deserve a line in the log.
#[derive(Debug, thiserror::Error)]
pub enum Reject {
    /// There is no file: the first start, or somebody has deleted it.
    #[error("there is no store yet")]
    NotThere,
    /// It opened, and what is in it is not what this version keeps.
    #[error("the store was written by another program under the same key (byte {column})")]
    Garbled {
        /// How far it could be read.
        column: usize,
    },
    /// It is not a store of vaultlet's.
    #[error("the file is not a store of vaultlet's")]
    NotOurs,
    /// Others can read or write it, or have written it.
    #[error("the store {0}, so somebody else may have written or read it")]
    Permissions(&'static str),
    /// It is not what was written under this key.
    #[error(
        "the store was altered or cut, or written under another key: after a change of the key, \
         delete it"
    )]
    Tampered,
    /// It could not be read.
    #[error("the store could not be read: {0}")]
    Unreadable(io::Error),
    /// Another version of vaultlet wrote it.
    #[error("the store has format {0}, and this version of vaultlet knows format 1 only")]
    Version(u8),
}

impl Sealed {
    /// Under `key`, in `directory`.
    pub fn new(directory: Directory, key: Key) -> Self {
        Self { directory, key }
    }

    /// What was written last.
    ///
    /// # Errors
    /// There is nothing, or nothing that can be believed.
    pub fn load(&self) -> Result<Zeroizing<Vec<u8>>, Reject> {
        unseal(&self.key, &self.directory.read()?)
    }

    /// Puts `plaintext` in the place of what was written last. Once this returns it is there even
    /// if the machine stops; until then, what was there before. Returns the file's bytes.
    ///
    /// # Errors
    /// The disk, or the operating system's randomness; what was there before still is.
    pub fn replace(&self, plaintext: &[u8]) -> io::Result<u64> {
        let sealed = envelope::seal(&self.key, plaintext).map_err(io::Error::other)?;
        self.directory.replace(&sealed)?;
        Ok(sealed.len() as u64)
    }

    /// Where it is.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

#[cfg(test)]
mod tests;
