//! How text that others chose gets into a line without harm: bounded, and printable ASCII only.
//!
//! JSON leaves DEL, the C1 controls, U+2028 and the marks that reverse the direction of text as
//! they are, and a terminal or a viewer may obey them.

use std::fmt::Write as _;
use std::io;

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

/// A text and the most bytes of it that a record takes; it says how many it leaves out.
#[derive(Clone, Copy)]
pub(super) struct Capped<'a>(pub(super) &'a str, pub(super) usize);

/// A list of texts and the most of them that a record takes.
pub(super) struct List<'a>(pub(super) &'a [&'a str], pub(super) usize);

impl Serialize for Capped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(text, most) = *self;
        if text.len() <= most {
            return serializer.serialize_str(text);
        }
        let (kept, rest) = text.split_at(text.floor_char_boundary(most));
        serializer.collect_str(&format_args!("{kept}...and {} bytes more", rest.len()))
    }
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(texts, most) = *self;
        let more = texts.len().saturating_sub(most);
        let more = (more > 0).then(|| format!("...and {more} more"));
        let texts = texts.iter().copied().take(most).chain(more.as_deref());
        serializer.collect_seq(texts.map(|text| Capped(text, 256)))
    }
}

/// What is not UTF-8, as text from which it can be had again: `%` and every byte that is not
/// printable ASCII as `%` and two hexadecimal digits.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        match byte {
            b'%' | ..b' ' | b'\x7f'.. => {
                write!(text, "%{byte:02X}").expect("a string takes what it is given");
            }
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

/// `value` as JSON in printable ASCII, on one line.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, Ascii);
    value.serialize(&mut serializer).expect("a record has string keys, and memory takes it");
    line
}

struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (at, odd) in fragment.char_indices().filter(|(_, c)| !matches!(c, ' '..='~')) {
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            for unit in odd.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + odd.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(value: &impl Serialize) -> String {
        String::from_utf8(json(value)).unwrap()
    }

    #[test]
    fn what_is_too_long_says_how_much_is_left_out() {
        assert_eq!(shown(&Capped("abcdef", 6)), r#""abcdef""#);
        assert_eq!(shown(&Capped("abcdef", 5)), r#""abcde...and 1 bytes more""#);
        // Never through the middle of a character.
        assert_eq!(shown(&Capped("aéé", 2)), r#""a...and 4 bytes more""#);
        assert_eq!(shown(&List(&["a", "b", "c"], 2)), r#"["a","b","...and 1 more"]"#);
        assert_eq!(shown(&List(&["a", "b"], 2)), r#"["a","b"]"#);
    }

    #[test]
    fn what_is_not_utf_8_can_be_had_again() {
        assert_eq!(escaped(b"a\xff%\n\x7f~ /\0"), "a%FF%25%0A%7F~ /%00");
    }

    proptest! {
        #[test]
        fn every_text_is_printable_ascii_and_reads_back_as_it_was(text in any::<String>()) {
            let line = json(&text);

            prop_assert!(line.iter().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(serde_json::from_slice::<String>(&line).unwrap(), text);
        }
    }
}
