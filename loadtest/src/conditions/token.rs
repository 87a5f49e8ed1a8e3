//! Which words, numbers and signs is a condition made of?

use super::read::Problem;

/// One of them, and at which character it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) is: Is,
}

/// What it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Is {
    /// A name, an operator in letters, a unit; `"in quotes"`, it may have any characters.
    Word(String),
    Number(f64),
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 15] =
    [">=", "<=", "==", "!=", ">", "<", "(", ")", ",", ".", "+", "-", "*", "/", "%"];

/// All of them, and an end.
pub(super) fn all(text: &str) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.chars().count() - rest.chars().count();
        let Some(first) = rest.chars().next() else {
            tokens.push(Token { at, is: Is::End });
            return Ok(tokens);
        };
        let (is, length) = if first == '"' {
            quoted(rest, at)?
        } else if first.is_ascii_digit() {
            number(rest, at)?
        } else if first.is_alphabetic() {
            let length = length_while(rest, |c| c.is_alphanumeric() || c == '-' || c == '_');
            (Is::Word(rest[..length].to_owned()), length)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| Problem {
                at,
                what: format!("{first:?} means nothing here; write names in quotes if need be"),
            })?;
            (Is::Sign(sign), sign.len())
        };
        tokens.push(Token { at, is });
        rest = &rest[length..];
    }
}

fn quoted(text: &str, at: usize) -> Result<(Is, usize), Problem> {
    let end = text[1..].find('"').ok_or_else(|| Problem {
        at,
        what: "this quote does not end; expected another \"".to_owned(),
    })?;
    Ok((Is::Word(text[1..=end].to_owned()), end + 2))
}

fn number(text: &str, at: usize) -> Result<(Is, usize), Problem> {
    let length = length_while(text, |c| c.is_ascii_digit() || c == '.');
    let number = text[..length].parse().map_err(|_| Problem {
        at,
        what: format!("{:?} is no number; write it as 12 or 0.5", &text[..length]),
    })?;
    Ok((Is::Number(number), length))
}

fn length_while(text: &str, holds: impl Fn(char) -> bool) -> usize {
    text.find(|c| !holds(c)).unwrap_or(text.len())
}
