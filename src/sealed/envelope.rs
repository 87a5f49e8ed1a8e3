//! The file's format: a header in the clear, and what only the key opens.
//!
//! | bytes | |
//! |---|---|
//! | 8 | `vlt-seal` |
//! | 1 | version: 1 |
//! | 2 | length of the wrapped key, big-endian; 0: the key is in a file |
//! | that many | the wrapped key, as Transit gave it |
//! | 32 | salt, random |
//! | 12 | nonce, random |
//! | the rest | AES-256-GCM of the content, its tag at the end |
//!
//! Everything before the rest is authenticated with it. The key of a write is HKDF-SHA-256 of the
//! store's key and the salt (RFC 5869): random nonces under one key are good for 2^32 writes (NIST
//! SP 800-38D, 8.3), and a key file is used for years.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::{Key, Reject};

const MAGIC: &[u8; 8] = b"vlt-seal";
const VERSION: u8 = 1;
const SALT: usize = 32;
const TAG: usize = 16;
const PURPOSE: &[u8] = b"vaultlet sealed store";

/// A file as it is found. Nothing in it is to be believed before it is opened.
struct Parts<'a> {
    header: &'a [u8],
    wrapped: &'a [u8],
    salt: &'a [u8; SALT],
    nonce: &'a [u8; NONCE_LEN],
    sealed: &'a [u8],
}

/// The file that holds `plaintext`.
pub(super) fn seal(key: &Key, plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let wrapped = key.wrapped().unwrap_or_default().as_bytes();
    let length = u16::try_from(wrapped.len()).map_err(|_| Unspecified)?;
    let mut random = [0; SALT + NONCE_LEN];
    SystemRandom::new().fill(&mut random)?;
    let header = [MAGIC, &[VERSION][..], &length.to_be_bytes(), wrapped, &random].concat();
    // In one piece from the start: where it grew, plaintext would stay behind.
    let mut file = Vec::with_capacity(header.len() + plaintext.len() + TAG);
    file.extend_from_slice(&header);
    file.extend_from_slice(plaintext);
    let (salt, nonce) = random.split_at(SALT);
    let nonce = Nonce::try_assume_unique_for_key(nonce)?;
    let own = of_write(key, salt)?;
    let body = &mut file[header.len()..];
    let tag = own.seal_in_place_separate_tag(nonce, Aad::from(&header), body)?;
    file.extend_from_slice(tag.as_ref());
    Ok(file)
}

/// What `file` holds, if it is what was sealed under `key`, to the last bit.
///
/// # Errors
/// It is anything else.
pub fn unseal(key: &Key, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, Reject> {
    let Parts { header, salt, nonce, sealed, .. } = parts(file)?;
    let mut bytes = Zeroizing::new(sealed.to_vec());
    let own = of_write(key, salt).map_err(|_| Reject::Tampered)?;
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = own.open_in_place(nonce, Aad::from(header), &mut bytes);
    let length = opened.map_err(|_| Reject::Tampered)?.len();
    bytes.truncate(length);
    Ok(bytes)
}

/// The wrapped key that `file` claims to be under; empty: none.
pub(super) fn wrapped(file: &[u8]) -> Result<&str, Reject> {
    std::str::from_utf8(parts(file)?.wrapped).map_err(|_| Reject::Tampered)
}

fn parts(file: &[u8]) -> Result<Parts<'_>, Reject> {
    let rest = file.strip_prefix(MAGIC).ok_or(Reject::NotOurs)?;
    let (version, rest) = rest.split_first().ok_or(Reject::Tampered)?;
    if *version != VERSION {
        return Err(Reject::Version(*version));
    }
    let cut = || {
        let (length, rest) = rest.split_first_chunk()?;
        let (wrapped, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (nonce, sealed) = rest.split_first_chunk()?;
        let header = &file[..file.len() - sealed.len()];
        Some(Parts { header, wrapped, salt, nonce, sealed })
    };
    cut().ok_or(Reject::Tampered)
}

/// The key of one write.
fn of_write(key: &Key, salt: &[u8]) -> Result<LessSafeKey, Unspecified> {
    let own = Salt::new(HKDF_SHA256, salt).extract(key.expose());
    Ok(LessSafeKey::new(UnboundKey::from(own.expand(&[PURPOSE], &AES_256_GCM)?)))
}
