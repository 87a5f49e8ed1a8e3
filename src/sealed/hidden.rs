//! How does a secret get into what is sealed, and out of it, without leaving copies behind?

use std::fmt;
use std::io;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::secret::{Secret, wiped};

/// Secret bytes of what is kept, base64 inside the seal. Wiped when the last clone is dropped, and
/// never printed; a clone is a reference.
#[derive(Clone)]
pub struct Hidden(Bytes);

impl Hidden {
    /// A copy of `bytes`.
    pub fn copy(bytes: &[u8]) -> Self {
        Self(wiped(bytes.to_vec()))
    }

    /// The very bytes of a body that wipes itself, as all that are held do ([`wiped`]).
    pub fn share(body: &Bytes) -> Self {
        Self(body.clone())
    }

    /// The plaintext.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The same as a body, which wipes itself.
    pub fn into_body(self) -> Bytes {
        self.0
    }

    /// The same as a secret.
    pub fn to_secret(&self) -> Secret {
        Secret::new(self.0.to_vec())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

impl Serialize for Hidden {
    /// Straight into the writer, without a text in between.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = Hidden;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            /// Base64 has nothing to unescape, so `text` is a part of what is read.
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hidden, E> {
                // What exactly is wrong with it would show a part of it.
                let bytes = STANDARD.decode(text).map_err(|_| E::custom("not base64"))?;
                Ok(Hidden(wiped(bytes)))
            }
        }

        deserializer.deserialize_str(Base64)
    }
}

/// For `#[serde(with)]` of what stands for a secret.
pub(super) mod fingerprint {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Hidden;
    use crate::secret::Fingerprint;

    pub(in crate::sealed) fn serialize<S: Serializer>(
        own: &Fingerprint,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Hidden::copy(&own.to_bytes()).serialize(serializer)
    }

    pub(in crate::sealed) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Fingerprint, D::Error> {
        let bytes = Hidden::deserialize(deserializer)?;
        Fingerprint::of_bytes(bytes.expose()).ok_or_else(|| D::Error::custom("not a fingerprint"))
    }
}

/// What is kept, as JSON that is wiped.
///
/// # Errors
/// None that is known of: there is nothing in it that JSON cannot say.
pub fn wiped_json(what: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut json = Wiping::default();
    serde_json::to_writer(&mut json, what)?;
    Ok(json.0)
}

/// A buffer that leaves nothing behind where it grows.
#[derive(Default)]
struct Wiping(Zeroizing<Vec<u8>>);

impl io::Write for Wiping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(64 * 1024) * 2));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
