//! What stands in a record for what must not be in it.

use std::fmt;
use std::path::Path;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::chain::Hash;
use crate::error::BoxError;

/// What HMAC-SHA256 is strong with (RFC 2104, section 3): no fewer bytes than it puts out.
const SHORTEST_KEY: usize = 32;

/// Makes [`Digest`]s.
pub struct Digester(hmac::Key);

/// An HMAC-SHA256, in a record as Vault writes it: `hmac-sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy)]
pub(super) struct Digest(Hash);

impl Digester {
    /// With the key in `file`; without one: with a random key that dies with this process, so that
    /// its digests can be compared with one another and with nothing else.
    ///
    /// # Errors
    /// The file cannot be read, or its key is too short; one paragraph for people.
    pub fn new(file: Option<&Path>) -> Result<Self, BoxError> {
        let key = if let Some(file) = file {
            read(file)?
        } else {
            let mut key = Zeroizing::new(vec![0; SHORTEST_KEY]);
            SystemRandom::new().fill(&mut key)?;
            key
        };
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    pub(super) fn of(&self, bytes: &[u8]) -> Digest {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.0, bytes).as_ref());
        Digest(Hash(digest))
    }
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, BoxError> {
    let shown = file.display();
    let mut key = Zeroizing::new(
        std::fs::read(file)
            .map_err(|error| format!("audit.key_file: {shown} cannot be read: {error}"))?,
    );
    // An editor or `openssl rand -hex 32` ends the line; the key does not depend on that.
    for end in [b'\n', b'\r'] {
        if key.last() == Some(&end) {
            key.pop();
        }
    }
    if key.len() < SHORTEST_KEY {
        return Err(format!(
            "audit.key_file: {shown} has a key of {} bytes and {SHORTEST_KEY} are the fewest; make \
             one with `openssl rand -hex 32`",
            key.len()
        )
        .into());
    }
    Ok(key)
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(..)")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("hmac-sha256:{}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(digester: &Digester, bytes: &[u8]) -> String {
        serde_json::to_string(&digester.of(bytes)).unwrap()
    }

    #[test]
    fn a_digest_under_a_key_of_the_operators_is_the_same_everywhere() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        let key = "0123456789abcdef0123456789abcdef";

        for text in [key.to_owned(), format!("{key}\n"), format!("{key}\r\n")] {
            std::fs::write(&file, text).unwrap();
            let digester = Digester::new(Some(&file)).unwrap();

            // printf secret/data/app | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
            assert_eq!(
                shown(&digester, b"secret/data/app"),
                "\"hmac-sha256:eabd7683e9ac4e2aaeb3d44785cf91adc5355fc387dcf1e5de8ca91775d29ee6\""
            );
        }
    }

    #[test]
    fn a_random_key_is_of_one_process() {
        let (one, other) = (Digester::new(None).unwrap(), Digester::new(None).unwrap());

        assert_eq!(shown(&one, b"a"), shown(&one, b"a"));
        assert_ne!(shown(&one, b"a"), shown(&other, b"a"));
        assert_eq!(format!("{one:?}"), "Digester(..)");
    }

    #[test]
    fn a_short_key_is_refused_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "hunter2-hunter2-hunter2-hunter2\n").unwrap();

        let error = Digester::new(Some(&file)).unwrap_err().to_string();

        assert!(error.contains("has a key of 31 bytes and 32 are the fewest"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let missing = Digester::new(Some(&directory.path().join("none"))).unwrap_err().to_string();
        assert!(missing.contains("none cannot be read"), "{missing}");
    }
}
