//! Values that must not outlive their use or reach a log line.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use bytes::Bytes;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

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
    Bytes::from_owner(Zeroizing::new(bytes))
}

/// What stands for a credential in every table: 128 bits of an HMAC under a key that lives as long
/// as the process. It cannot be turned back into the credential, nor computed outside.
#[derive(Clone, Copy, Eq)]
pub struct Fingerprint([u8; 16]);

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for Fingerprint {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Fingerprint {
    /// Redacted too: an identifier in two logs links two callers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

/// Makes [`Fingerprint`]s.
#[derive(Clone)]
pub struct Fingerprinter(Arc<hmac::Key>);

impl Fingerprinter {
    /// With a fresh random key.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(key.as_mut())?;
        Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))))
    }

    /// Of the whole of `bytes`: a credential with anything added or left out is another one.
    pub fn of(&self, bytes: &[u8]) -> Fingerprint {
        let tag = hmac::sign(&self.0, bytes);
        let mut half = [0; 16];
        half.copy_from_slice(&tag.as_ref()[..16]);
        Fingerprint(half)
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter(..)")
    }
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

    #[test]
    fn a_fingerprint_is_of_the_whole_credential_and_of_this_process() {
        let (here, elsewhere) = (Fingerprinter::new().unwrap(), Fingerprinter::new().unwrap());

        assert!(here.of(b"s.abc") == here.of(b"s.abc"));
        assert!(here.of(b"s.abc") != here.of(b"s.abcd"));
        assert!(here.of(b"s.abc") != elsewhere.of(b"s.abc"));
    }
}
