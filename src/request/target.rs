//! Path and query of a request: is its meaning beyond doubt?
//!
//! The server decodes the path once, splits off the namespace, applies its policies to the bytes
//! and cleans them for some tables and not for others (OpenBao `internal/http/handler.go`,
//! `buildLogicalRequestNoAuth`). A target in the safe subset means the same before and after all
//! of that: no percent sign, no empty, `.` or `..` segment, no slash at the end, no byte that any
//! URL library rewrites. Everything else is forwarded as it came.

use std::str;

use crate::error::Error;

/// A request target that is refused: no reading of it is safe to pass on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed(pub &'static str);

impl From<Malformed> for Error {
    fn from(Malformed(reason): Malformed) -> Self {
        Self::Malformed(reason)
    }
}

/// Path and query, as they came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target<'r> {
    path: &'r [u8],
    query: Option<&'r [u8]>,
    exact: Option<Exact<'r>>,
}

/// The part of a target in the safe subset that names a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Exact<'r> {
    path: &'r str,
    version: Option<u32>,
}

impl<'r> Target<'r> {
    /// Reads the bytes between the verb and `HTTP/1.1`.
    ///
    /// # Errors
    /// [`Malformed`] when a segment is `.` or `..` once decoded. Written plainly, the server
    /// redirects to the cleaned path; encoded, some servers apply their policies to the one and
    /// their storage to the other (CVE-2026-3605).
    pub fn parse(bytes: &'r [u8]) -> Result<Self, Malformed> {
        let mut parts = bytes.splitn(2, |byte| *byte == b'?');
        let path = parts.next().unwrap_or_default();
        let query = parts.next();
        if path.contains(&b'%') && dotted(path) {
            return Err(Malformed("the path holds an encoded `.` or `..` segment"));
        }
        let exact = safe(path).and_then(|path| Some(Exact { path, version: version(query)? }));
        Ok(Self { path, query, exact })
    }

    /// The path below `/v1/` and the version asked for, if both are beyond doubt. `None` in the
    /// pair: the current version.
    pub fn exact(&self) -> Option<(&'r str, Option<u32>)> {
        self.exact.map(|exact| (exact.path, exact.version))
    }

    /// The path below `/v1/`, if it is beyond doubt, whatever the query.
    pub fn plain(&self) -> Option<&'r str> {
        safe(self.path)
    }

    /// The path below `/v1/` as the server's router sees it, decoded once; `None` if it is not
    /// below `/v1/`, or cannot be decoded, which the server refuses.
    pub fn decoded(&self) -> Option<Vec<u8>> {
        Some(decode(self.path)?.strip_prefix(b"/v1/")?.to_vec())
    }

    /// The query as it came, without its question mark.
    pub fn query(&self) -> Option<&'r [u8]> {
        self.query
    }
}

/// The part below `/v1/` of a path in the safe subset.
fn safe(path: &[u8]) -> Option<&str> {
    let path = path.strip_prefix(b"/v1/")?;
    let plain = path.split(|byte| *byte == b'/').all(|segment| {
        !matches!(segment, b"" | b"." | b"..")
            && segment.iter().all(|byte| SAFE[usize::from(*byte)])
    });
    // Every byte of the safe subset is ASCII.
    if plain { str::from_utf8(path).ok() } else { None }
}

/// No query, or `version=` and a number written in the one way that has one meaning: the server
/// takes `01`, `0x1` and an empty value too. The outer `None`: anything else.
#[expect(clippy::option_option, reason = "no version is not the same as no meaning")]
fn version(query: Option<&[u8]>) -> Option<Option<u32>> {
    let Some(query) = query else { return Some(None) };
    let digits = query.strip_prefix(b"version=")?;
    if digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(Some(str::from_utf8(digits).ok()?.parse().ok()?))
}

/// RFC 3986 `pchar` without `%`, and without `;`, which some frameworks cut off.
const SAFE: [bool; 256] = {
    let mut safe = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "byte < 256")]
        let this = byte as u8;
        safe[byte] = this.is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-._~!$&'()*,=:@+";
    let mut mark = 0;
    while mark < marks.len() {
        safe[marks[mark] as usize] = true;
        mark += 1;
    }
    safe
};

fn dotted(path: &[u8]) -> bool {
    decode(path).is_some_and(|path| {
        path.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b".."))
    })
}

/// Go's `path.Clean`, which the KV engines apply to their keys: what is
/// left of these segments of a path, text or bytes.
pub fn clean<'s, T: AsRef<[u8]> + ?Sized>(segments: &[&'s T]) -> Vec<&'s T> {
    let mut clean = Vec::with_capacity(segments.len());
    for segment in segments {
        match segment.as_ref() {
            b"" | b"." => (),
            b".." => drop(clean.pop()),
            _ => clean.push(*segment),
        }
    }
    clean
}

/// Percent-decoding, once; `None` where a `%` is not followed by two hexadecimal digits.
fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            plain => *plain,
        });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
