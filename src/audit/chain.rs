//! What holds the lines of an audit log together.
//!
//! Every line is one JSON object whose last member is `vaultlet`, and that ends in the line's
//! place: `"seq":17,"prev":"…"`. `seq` counts lines; `prev` is the SHA-256 of the line before,
//! without its newline, so that a line cannot be changed, taken out, put in or moved without the
//! next one telling. Where a process starts, stops, or begins another file, a line of its own kind
//! says so.

use std::fmt;
use std::time::SystemTime;

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

/// More than the longest line there can be, its newline included; what is longer is no record.
pub(super) const LONGEST: usize = 256 * 1024;

/// A SHA-256.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(super) struct Hash(pub(super) [u8; 32]);

/// The end of a chain: the last line there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: Hash,
}

/// What a line says.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// An answer was given. Vault's name for it.
    Response,
    /// The sink was lost and is back.
    Resume,
    /// This file goes on where another ends.
    Rotate,
    /// A process has started.
    Start,
    /// A process has ended as it should.
    Stop,
    /// A process goes on with the log of another, which still writes to it for some time.
    Takeover,
}

/// A line, as far as the chain is concerned.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    #[serde(rename = "vaultlet")]
    pub(super) place: Place,
}

/// See [`Entry`].
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) prev: Hash,
    /// How many bytes before this line may be what is left of one that was never finished.
    #[serde(default)]
    pub(super) torn: u64,
    /// Where the chain that begins here was written to.
    pub(super) sink: Option<String>,
}

/// A line about the log itself.
#[derive(Serialize)]
pub(super) struct Mark {
    #[serde(serialize_with = "time")]
    pub(super) time: SystemTime,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) vaultlet: Circumstances,
}

/// See [`Mark`].
#[derive(Serialize)]
pub(super) struct Circumstances {
    pub(super) version: &'static str,
    pub(super) sink: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) torn: u64,
}

impl Head {
    /// Before the first line.
    pub(super) const NONE: Self = Self { seq: 0, hash: Hash([0; 32]) };

    /// The head that `line` is.
    pub(super) fn of(seq: u64, line: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, line).as_ref());
        Self { seq, hash: Hash(hash) }
    }

    /// Puts a line that is yet without its place into `lines`, as the one after this.
    pub(super) fn link(self, unplaced: &[u8], lines: &mut Vec<u8>) -> Self {
        let begin = lines.len();
        let seq = self.seq.saturating_add(1);
        lines.extend_from_slice(unplaced);
        lines.extend_from_slice(format!(r#","seq":{seq},"prev":"{}"}}}}"#, self.hash).as_bytes());
        Self::of(seq, &lines[begin..])
    }
}

impl Entry {
    /// Reads a line, which is without its newline; `None`: it is no line of an audit log.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let entry: Self = serde_json::from_slice(line).ok().filter(|_| line.len() < LONGEST)?;
        (entry.place.seq > 0).then_some(entry)
    }

    /// Whether nothing comes before it.
    pub(super) fn first(&self) -> bool {
        let Place { seq, prev, .. } = self.place;
        self.kind == Kind::Start && (seq, prev) == (1, Head::NONE.hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(str::from_utf8(&text).expect("hexadecimal digits are ASCII"))
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "64 lower-case hexadecimal digits are expected";
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(WRONG),
        };
        let mut hash = [0; 32];
        if text.len() != 64 {
            return Err(WRONG);
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(hash))
    }
}

/// As Vault writes it: RFC 3339 in UTC, with as many digits of a nanosecond as there are.
pub(super) fn time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    // A clock set beyond the year 9999 has no text; the epoch is no worse than that clock.
    serializer.collect_str(&Timestamp::try_from(*time).unwrap_or_default())
}

/// A line without its place: `value` as JSON, all but the two braces that end it.
pub(super) fn unplaced(mut json: Vec<u8>) -> Vec<u8> {
    debug_assert!(json.ends_with(b"}}"), "`vaultlet` is a line's last member, and not empty");
    json.truncate(json.len() - 2);
    json
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_linked_to_the_one_before() {
        let mut lines = Vec::new();
        let one = Head::NONE.link(br#"{"type":"start","vaultlet":{"version":"1""#, &mut lines);
        let first = String::from_utf8(std::mem::take(&mut lines)).unwrap();
        let two = one.link(br#"{"type":"response","vaultlet":{"age":1"#, &mut lines);

        let (one_entry, two_entry) =
            (Entry::parse(first.as_bytes()).unwrap(), Entry::parse(&lines).unwrap());
        assert!(one_entry.first() && !two_entry.first());
        assert_eq!((one.seq, two.seq, two_entry.place.seq), (1, 2, 2));
        assert_eq!(two_entry.place.prev, Head::of(1, first.as_bytes()).hash);
        assert_eq!(two, Head::of(2, &lines));
    }

    #[test]
    fn what_has_no_place_is_no_line() {
        let prev = Head::NONE.hash;
        let line = |seq: &str, prev: &str| {
            format!(r#"{{"type":"start","vaultlet":{{"seq":{seq},"prev":"{prev}"}}}}"#)
        };
        let prev = prev.to_string();
        assert!(Entry::parse(line("1", &prev).as_bytes()).is_some());

        for wrong in [
            line("0", &prev),
            line("-1", &prev),
            line("18446744073709551616", &prev),
            line("1", &prev[1..]),
            line("1", &prev.replace('0', "A")),
            line("1", &prev.replace("00", "é")),
            line("1", &prev).replace("start", "begin"),
            line("1", &prev).replace("seq", "sea"),
            format!("{}x", line("1", &prev)),
            format!("{}{}", line("1", &prev), " ".repeat(LONGEST)),
            "null".to_owned(),
            String::new(),
        ] {
            assert!(Entry::parse(wrong.as_bytes()).is_none(), "{wrong:.200}");
        }
    }
}
