//! Where does the key of the store come from, and is it well kept?

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Directory, Problem};

/// Bytes of a key.
pub(super) const LENGTH: usize = 32;

/// More than any file that holds one has.
const LONGEST_FILE: u64 = 256;

/// The key of a store.
pub struct Key {
    secret: Zeroizing<[u8; LENGTH]>,
    wrapped: Option<Box<str>>,
}

impl Key {
    /// The one in `file`: 32 bytes, as they are or in base64.
    ///
    /// # Errors
    /// It cannot be read, is not a key, lies in `directory`, or others can read it.
    pub fn from_file(file: &Path, directory: &Directory) -> Result<Self, Problem> {
        let bad = |what: String| Problem::KeyFile { file: file.to_owned(), what };
        let unreadable = |error: io::Error| bad(error.to_string());
        // Kubernetes mounts a file as a symlink: what counts is where it leads.
        if fs::canonicalize(file).map_err(unreadable)?.starts_with(directory.real()) {
            let what = "it lies in cache.leases.store.dir, where whoever takes the store takes the \
                        key as well: keep it elsewhere";
            return Err(bad(what.to_owned()));
        }
        let opened = File::open(file).map_err(unreadable)?;
        let about = opened.metadata().map_err(unreadable)?;
        if let Some(what) = exposed(about.mode(), about.uid(), rustix::process::geteuid().as_raw())
        {
            return Err(bad(what));
        }
        let mut text = Zeroizing::new(Vec::with_capacity(512));
        opened.take(LONGEST_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
        match decode(&text) {
            Some(secret) => Ok(Self { secret, wrapped: None }),
            None => Err(bad("it holds no key, which is 32 bytes, as they are or in base64: make \
                             one with `openssl rand -base64 32`"
                .to_owned())),
        }
    }

    /// One that Transit keeps: `wrapped` is what it unwraps to `secret`. `None`: that is not a key.
    pub fn from_transit(secret: &[u8], wrapped: &str) -> Option<Self> {
        // What the file's header has room for.
        let fits = !wrapped.is_empty() && u16::try_from(wrapped.len()).is_ok();
        let secret = Zeroizing::new(secret.try_into().ok()?);
        fits.then(|| Self { secret, wrapped: Some(wrapped.into()) })
    }

    pub(super) fn wrapped(&self) -> Option<&str> {
        self.wrapped.as_deref()
    }

    pub(super) fn expose(&self) -> &[u8] {
        &*self.secret
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What is wrong with who may read a key. As `PostgreSQL` has it for its server's key: a file of our
/// own is for us alone; one of root's may be for our group, as that is how Kubernetes hands a Secret
/// to a process that is not root.
fn exposed(mode: u32, owner: u32, own: u32) -> Option<String> {
    let (allowed, whom) = match owner {
        _ if owner == own => (0o600, "only for the user vaultlet runs as (chmod 600)"),
        0 => (0o640, "at most for its group (chmod 640)"),
        _ => return Some("it belongs to neither the user vaultlet runs as nor root".to_owned()),
    };
    // The owner may have any.
    let open = mode & !allowed & 0o077 != 0;
    let mode = mode & 0o777;
    open.then(|| format!("others can read or write it (mode {mode:04o}): make it readable {whom}"))
}

fn decode(text: &[u8]) -> Option<Zeroizing<[u8; LENGTH]>> {
    if let Ok(raw) = text.try_into() {
        return Some(Zeroizing::new(raw));
    }
    let bytes = Zeroizing::new(STANDARD.decode(text.trim_ascii()).ok()?);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_us_alone() {
        for (mode, owner, good) in [
            (0o100_600, 1000, true),
            (0o100_400, 1000, true),
            (0o100_640, 1000, false),
            (0o100_604, 1000, false),
            (0o100_620, 1000, false),
            (0o100_400, 0, true),
            (0o100_440, 0, true),
            (0o100_640, 0, true),
            (0o100_660, 0, false),
            (0o100_644, 0, false),
            (0o100_600, 2000, false),
        ] {
            assert_eq!(exposed(mode, owner, 1000).is_none(), good, "{mode:o} of {owner}");
        }
        assert!(exposed(0o100_440, 0, 0).is_some());
    }

    #[test]
    fn a_key_is_32_bytes_as_they_are_or_in_base64() {
        let raw = [0xa5; 32];
        let text = STANDARD.encode(raw);

        for good in [&raw[..], text.as_bytes(), format!("{text}\n").as_bytes()] {
            assert!(decode(good).is_some_and(|key| *key == raw));
        }
        for bad in [&raw[1..], &[0xa5; 33], &text.as_bytes()[4..], b"", &[b'a'; 64]] {
            assert!(decode(bad).is_none(), "{}", bad.len());
        }
        assert!(Key::from_transit(&raw, "vault:v1:abc").is_some());
        assert!(Key::from_transit(&raw[1..], "vault:v1:abc").is_none());
        assert!(Key::from_transit(&raw, "").is_none());
    }
}
