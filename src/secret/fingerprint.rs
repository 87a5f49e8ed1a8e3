//! What stands for a credential in every table, and cannot be turned back into it.
//!
//! A sum under a secret key instead of a cryptographic hash, because it is made for every request,
//! over a kilobyte where the credential is a service-account token (docs/decisions/0010). It is NH
//! of UMAC, twice (Black, Halevi, Krawczyk, Krovetz, Rogaway, CRYPTO '99; RFC 4418, 5.2.2): each
//! 16 bytes are two numbers, to which two numbers of the key are added modulo 2^64, and what is
//! summed modulo 2^128 are the products. The second sum uses the key moved on by one pair.
//!
//! Two credentials of one length that differ anywhere have the same two sums for at most one key in
//! 2^128, whichever they are (the paper's theorem for the Toeplitz construction); two of different
//! lengths never meet, as the length is a part. That needs a key that is random and stays secret,
//! and so do the sums: they are never printed, sent or derived from, and stored only together with
//! the key, under the seal of `crate::sealed`. All that a stranger can learn is that two credentials
//! of its own are told apart.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// Bytes that are summed. Kubernetes' own tokens are one or two thousand; what is longer is hashed.
const LONGEST: usize = 8 * 1024;

/// Of the key: one for each block, and one to move on by.
const PAIRS: usize = LONGEST / 16 + 1;

/// Bytes of the whole key: the pairs, then that of the hash.
const KEY: usize = 16 * PAIRS + 32;

/// What stands for a credential, under one key. It cannot be turned back into the credential, nor
/// computed outside.
#[derive(Clone, Copy, Eq)]
pub struct Fingerprint {
    length: usize,
    sums: [u128; 2],
}

impl Fingerprint {
    /// For the sealed store, which has the key beside it.
    pub(crate) fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&(self.length as u64).to_le_bytes());
        bytes[8..24].copy_from_slice(&self.sums[0].to_le_bytes());
        bytes[24..].copy_from_slice(&self.sums[1].to_le_bytes());
        bytes
    }

    /// The reverse; `None`: these are not the bytes of one.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, sums) = bytes.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let ([one, two], []) = sums.as_chunks() else { return None };
        Some(Self { length, sums: [one, two].map(|sum| u128::from_le_bytes(*sum)) })
    }
}

impl PartialEq for Fingerprint {
    /// Takes the same time wherever they differ.
    fn eq(&self, other: &Self) -> bool {
        let length = (self.length ^ other.length) as u128;
        length | (self.sums[0] ^ other.sums[0]) | (self.sums[1] ^ other.sums[1]) == 0
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.sums[0]);
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
pub struct Fingerprinter(Arc<Keys>);

struct Keys {
    bytes: Zeroizing<Vec<u8>>,
    pairs: Zeroizing<Vec<[u64; 2]>>,
    long: hmac::Key,
}

impl Fingerprinter {
    /// With a fresh random key.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn new() -> Result<Self, Unspecified> {
        let mut bytes = Zeroizing::new(vec![0; KEY]);
        SystemRandom::new().fill(&mut bytes)?;
        Ok(Self::expand(bytes))
    }

    /// With the [`key`](Self::key) of one before, whose fingerprints it makes again; `None`: that
    /// is not one's key.
    pub fn with_key(key: &[u8]) -> Option<Self> {
        (key.len() == KEY).then(|| Self::expand(Zeroizing::new(key.to_vec())))
    }

    /// What its fingerprints depend on, for the sealed store and nothing else.
    pub fn key(&self) -> &Zeroizing<Vec<u8>> {
        &self.0.bytes
    }

    /// `bytes`: as many as [`KEY`].
    fn expand(bytes: Zeroizing<Vec<u8>>) -> Self {
        let (pairs, long) = bytes.split_at(16 * PAIRS);
        let pairs = Zeroizing::new(pairs.as_chunks().0.iter().map(pair).collect());
        let long = hmac::Key::new(hmac::HMAC_SHA256, long);
        Self(Arc::new(Keys { bytes, pairs, long }))
    }

    /// Of the whole of `bytes`: a credential with anything added or left out is another one.
    pub fn of(&self, bytes: &[u8]) -> Fingerprint {
        let sums = if bytes.len() > LONGEST { self.hashed(bytes) } else { self.summed(bytes) };
        Fingerprint { length: bytes.len(), sums }
    }

    fn summed(&self, bytes: &[u8]) -> [u128; 2] {
        let (blocks, rest) = bytes.as_chunks();
        let (mut one, mut two) = (0, 0);
        let mut add = |block, keys: &[[u64; 2]]| {
            let [left, right] = pair(block);
            one = product([left, right], keys[0]).wrapping_add(one);
            two = product([left, right], keys[1]).wrapping_add(two);
        };
        let keys = self.0.pairs.windows(2);
        blocks.iter().zip(keys).for_each(|(block, keys)| add(block, keys));
        if !rest.is_empty() {
            let mut block = [0; 16];
            block[..rest.len()].copy_from_slice(rest);
            add(&block, &self.0.pairs[blocks.len()..]);
        }
        [one, two]
    }

    fn hashed(&self, bytes: &[u8]) -> [u128; 2] {
        let tag = hmac::sign(&self.0.long, bytes);
        let (halves, _) = tag.as_ref().as_chunks();
        [u128::from_le_bytes(halves[0]), u128::from_le_bytes(halves[1])]
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter(..)")
    }
}

/// Never overflows: each factor is below 2^64.
fn product([left, right]: [u64; 2], key: [u64; 2]) -> u128 {
    u128::from(left.wrapping_add(key[0])) * u128::from(right.wrapping_add(key[1]))
}

fn pair(block: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_le_bytes(*block);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    [whole as u64, (whole >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_one_key() {
        let (here, elsewhere) = (Fingerprinter::new().unwrap(), Fingerprinter::new().unwrap());

        assert!(here.of(b"s.abc") == here.of(b"s.abc"));
        assert!(here.of(b"s.abc") != elsewhere.of(b"s.abc"));
    }

    #[test]
    fn the_key_makes_the_same_fingerprints_again() {
        let before = Fingerprinter::new().unwrap();
        let after = Fingerprinter::with_key(before.key()).unwrap();

        for credential in [&b"s.abc"[..], &[7; LONGEST + 1]] {
            assert!(after.of(credential) == before.of(credential));
            let stored = before.of(credential).to_bytes();
            assert!(Fingerprint::of_bytes(&stored) == Some(after.of(credential)));
            assert!(Fingerprint::of_bytes(&stored[1..]).is_none());
        }
        assert!(Fingerprinter::with_key(&before.key()[1..]).is_none());
    }

    #[test]
    fn a_fingerprint_is_of_the_whole_credential() {
        let fingerprints = Fingerprinter::new().unwrap();
        for length in (0..=70).chain([1000, LONGEST - 1, LONGEST, LONGEST + 1]) {
            let whole: Vec<u8> = (b'a'..=b'w').cycle().take(length).collect();
            let own = fingerprints.of(&whole);
            let another = |other: &[u8]| {
                let other = fingerprints.of(other);
                own != other && own.sums[0] != other.sums[0] && own.sums[1] != other.sums[1]
            };

            for at in 0..length {
                let mut other = whole.clone();
                other[at] ^= 1;
                assert!(another(&other), "{at} of {length}");
            }
            // What is filled up with zeros is told apart by its length.
            assert!(own != fingerprints.of(&[&whole[..], b"\0"].concat()), "{length}");
            assert!(length == 0 || own != fingerprints.of(&whole[..length - 1]), "{length}");
        }
    }

    #[test]
    fn bytes_that_change_places_make_another_fingerprint() {
        let fingerprints = Fingerprinter::new().unwrap();
        let blocks = |order: [u8; 4]| order.map(|byte| [byte; 8]).concat();

        let own = fingerprints.of(&blocks([1, 2, 3, 4]));

        for other in [[2, 1, 3, 4], [3, 4, 1, 2], [1, 3, 2, 4], [4, 3, 2, 1]] {
            assert!(own != fingerprints.of(&blocks(other)), "{other:?}");
        }
    }

    #[test]
    fn the_sums_are_nh_twice() {
        let fingerprints = Fingerprinter::new().unwrap();
        let key = &fingerprints.0.pairs;
        let words = [[3, 5], [7, 11]];
        let bytes: Vec<u8> =
            words.iter().flatten().flat_map(|word: &u64| word.to_le_bytes()).collect();

        let nh = |moved: usize| {
            (0..2).fold(0_u128, |sum, at| {
                let [left, right] =
                    [0, 1].map(|half| words[at][half].wrapping_add(key[at + moved][half]));
                sum.wrapping_add(u128::from(left) * u128::from(right))
            })
        };

        assert_eq!(fingerprints.of(&bytes).sums, [nh(0), nh(1)]);
    }
}
