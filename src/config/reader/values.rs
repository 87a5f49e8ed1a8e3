//! Words, numbers, durations and sizes, each within its bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::problem::nearest;
use super::super::tree::Value;
use super::super::units;
use super::{Field, word};

impl<'a> Field<'a> {
    /// Text.
    pub fn text(&self) -> Option<&'a str> {
        let hint = match self.value {
            Value::List(_) | Value::Map(_) => "write one value",
            _ => "put it in quotes",
        };
        self.read("text", hint, |value| match value {
            Value::Text(text) | Value::Word(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// True or false.
    pub fn flag(&self) -> Option<bool> {
        let hint = "write true or false, without quotes";
        self.read("true or false", hint, |value| match value {
            Value::Bool(flag) => Some(*flag),
            Value::Word(text) => text.parse().ok(),
            _ => None,
        })
    }

    /// A whole number.
    pub fn number(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(&expected, "write it without quotes or a unit", |value| match value {
            Value::Number(text) | Value::Word(text) => {
                text.parse().ok().filter(|number| range.contains(number))
            }
            _ => None,
        })
    }

    /// A share of a whole, more than 0 and at most 1.
    pub fn share(&self) -> Option<f64> {
        let expected = "a number above 0 and up to 1";
        self.read(expected, "0.8 is four fifths, 1 turns it off", |value| match value {
            Value::Number(text) | Value::Word(text) => {
                text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0)
            }
            _ => None,
        })
    }

    /// A share of a whole within bounds.
    pub fn share_in(&self, range: RangeInclusive<f64>) -> Option<f64> {
        self.decimal(range, "0.5 is a half")
    }

    /// Any number within bounds.
    pub fn decimal(&self, range: RangeInclusive<f64>, hint: &str) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.read(&expected, hint, |value| match value {
            Value::Number(text) | Value::Word(text) => {
                text.parse().ok().filter(|number| range.contains(number))
            }
            _ => None,
        })
    }

    /// One value as `--set` would be given it, whatever it is.
    pub fn plain(&self) -> Option<String> {
        self.read("one value", "write it on the line of its key", |value| match value {
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(text) | Value::Text(text) | Value::Word(text) => Some(text.clone()),
            Value::List(_) | Value::Map(_) | Value::Null => None,
        })
    }

    /// A duration of at least `least`.
    pub fn duration(&self, least: Duration) -> Option<Duration> {
        self.duration_in(least..=units::LONGEST)
    }

    /// A duration from nothing to `most`.
    pub fn duration_up_to(&self, most: Duration) -> Option<Duration> {
        self.duration_in(Duration::ZERO..=most)
    }

    /// A duration within bounds.
    pub fn duration_in(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let hint = "write a number and a unit: 250ms, 30s, 15m, 24h, 7d";
        let duration = self.read("a duration", hint, |value| units::duration(word(value)?))?;
        self.within(duration, range, units::duration_text)
    }

    /// A number of bytes.
    pub fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let hint = "write a number and a unit: 512B, 64KiB, 256MiB, 2GiB";
        let size = self.read("a size", hint, |value| units::size(word(value)?))?;
        self.within(size, range, units::size_text)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = words.join(" or ");
        let found = word(self.value).map(str::to_ascii_lowercase);
        let near = found.and_then(|found| nearest(&found, &words));
        let hint = near.map_or_else(
            || "leave it out for the default".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.read(&expected, &hint, |value| {
            let found = word(value)?;
            choices.iter().find(|(word, _)| *word == found).map(|(_, choice)| *choice)
        })
    }

    /// The permission bits of a file.
    pub fn mode(&self) -> Option<u32> {
        let hint = r#"write four digits from 0 to 7 in quotes: "0660""#;
        self.read("an octal file mode", hint, |value| units::mode(word(value)?))
    }

    fn within<T: Copy + PartialOrd>(
        &self,
        value: T,
        range: RangeInclusive<T>,
        text: impl Fn(T) -> String,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let what = format!("{} is out of range", text(value));
        let hint = format!("at least {}, at most {}", text(*range.start()), text(*range.end()));
        self.complain(what, hint);
        None
    }
}
