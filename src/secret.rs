//! Values that must not outlive their use or reach a log line.

use std::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

mod fingerprint;

pub use fingerprint::{Fingerprint, Fingerprinter};

/// Bytes that are wiped when dropped and never printed.
///
/// There is deliberately no `Deref`, `Display`, `Serialize`, `Clone` or `PartialEq`. Every place
/// that needs the plaintext spells out [`expose`](Self::expose), so `git grep 'expose()'` is the
/// whole audit, and sharing a secret means sharing an `Arc`, never copying the bytes.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of `bytes`; the caller keeps no copy to forget about.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The plaintext, for as long as the borrow lasts.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    /// Not even the length: the length of a password is a fact about the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// `bytes` as a body that is wiped when its last clone is dropped.
pub fn wiped(bytes: Vec<u8>) -> Bytes {
    // What has room to spare would be moved to lose it, and what it leaves behind is not wiped.
    if bytes.len() < bytes.capacity() {
        return Bytes::from_owner(Zeroizing::new(bytes));
    }
    Bytes::from_owner(Zeroizing::new(bytes.into_boxed_slice()))
}

/// A caller's Vault token, kept only while a request or an unresolved proof needs it.
#[derive(Debug)]
pub struct Credential {
    /// The token itself.
    pub token: Secret,
    /// What stands for it everywhere else.
    pub fingerprint: Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_reveals_nothing() {
        let fingerprints = Fingerprinter::new().unwrap();
        let credential = Credential {
            token: Secret::new(b"hunter2".to_vec()),
            fingerprint: fingerprints.of(b"hunter2"),
        };

        let shown = format!("{credential:?} {fingerprints:?}");

        assert_eq!(
            shown,
            "Credential { token: Secret(..), fingerprint: Fingerprint(..) } Fingerprinter(..)"
        );
    }
}
