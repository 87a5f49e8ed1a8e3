//! Which tokens is a policy text made of?
//!
//! HCL 1 and JSON have the same strings, numbers and brackets, so one lexer reads both. It takes
//! the forms that both servers read in the same way, and nothing else.

use super::Opaque;

/// The smallest piece of a text that means something.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Token<'t> {
    /// Nothing is left.
    End,
    /// Digits, with a sign or a fraction; never a leading zero.
    Number(&'t str),
    /// `= { } [ ] , :`
    Symbol(u8),
    /// Between quotes, without its escapes.
    Text(String),
    /// Letters, digits, `_`, `-` and `.`, without quotes.
    Word(&'t str),
}

/// Reads one token after another.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: u32,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The line of the token read last, counted from 1.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Why the text cannot be understood, at the line reached.
    pub(super) fn opaque(&self, reason: &'static str) -> Opaque {
        Opaque { reason, line: self.line }
    }

    pub(super) fn next(&mut self) -> Result<Token<'t>, Opaque> {
        self.skip()?;
        let Some(first) = self.peek() else { return Ok(Token::End) };
        match first {
            b'"' => self.quoted(),
            b'=' | b'{' | b'}' | b'[' | b']' | b',' | b':' => {
                self.at += 1;
                Ok(Token::Symbol(first))
            }
            b'-' | b'0'..=b'9' => self.number(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
                Ok(Token::Word(self.run(inside)))
            }
            _ => Err(self.opaque("a character that does not belong there")),
        }
    }

    /// Blanks and comments.
    fn skip(&mut self) -> Result<(), Opaque> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'\n') => {
                    self.at += 1;
                    self.line += 1;
                }
                Some(b'#') => self.skip_line(),
                Some(b'/') if self.rest().starts_with("//") => self.skip_line(),
                Some(b'/') if self.rest().starts_with("/*") => {
                    let end = self.rest()[2..].find("*/");
                    let end = end.ok_or_else(|| self.opaque("a comment that does not end"))?;
                    let comment = &self.rest()[..end + 4];
                    let lines = comment.bytes().filter(|byte| *byte == b'\n').count();
                    self.line += u32::try_from(lines).unwrap_or(u32::MAX);
                    self.at += comment.len();
                }
                _ => return Ok(()),
            }
        }
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    fn number(&mut self) -> Result<Token<'t>, Opaque> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.run(|byte| byte.is_ascii_digit());
        let zeros = whole.len() > 1 && whole.starts_with('0');
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.run(|byte| byte.is_ascii_digit()).is_empty() {
                return Err(self.opaque("a number of a form that is not read here"));
            }
        }
        let goes_on = self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        if whole.is_empty() || zeros || goes_on {
            return Err(self.opaque("a number of a form that is not read here"));
        }
        Ok(Token::Number(&self.text[start..self.at]))
    }

    /// From one quote to the next. `${…}` stays as it is; the servers would go on over quotes
    /// within it, and such a text is not read here.
    fn quoted(&mut self) -> Result<Token<'t>, Opaque> {
        self.at += 1;
        let mut text = String::new();
        let mut braces = 0_u32;
        loop {
            let character = self.rest().chars().next();
            let character = character.ok_or_else(|| self.opaque("a string that does not end"))?;
            match character {
                '"' if braces == 0 => break,
                '"' | '\\' if braces > 0 => {
                    return Err(self.opaque("a quote or a backslash inside `${…}`"));
                }
                '\\' => {
                    text.push(self.escape()?);
                    continue;
                }
                '$' if braces == 0 && self.rest().starts_with("${") => {
                    braces = 1;
                    text.push_str("${");
                    self.at += 2;
                    continue;
                }
                '{' if braces > 0 => braces += 1,
                '}' if braces > 0 => braces -= 1,
                '\t' => (),
                control if control.is_control() => {
                    return Err(self.opaque("a control character in a string"));
                }
                _ => (),
            }
            text.push(character);
            self.at += character.len_utf8();
        }
        self.at += 1;
        Ok(Token::Text(text))
    }

    /// A backslash and what it stands for. Octal forms are left out, and bytes past ASCII, which
    /// Go would put into the string as they are.
    fn escape(&mut self) -> Result<char, Opaque> {
        let bad = self.opaque("an escape that is not read here");
        let kind = self.rest().as_bytes().get(1).ok_or(bad)?;
        self.at += 2;
        let digits = match kind {
            b'"' => return Ok('"'),
            b'\\' => return Ok('\\'),
            b'a' => return Ok('\u{7}'),
            b'b' => return Ok('\u{8}'),
            b'f' => return Ok('\u{c}'),
            b'n' => return Ok('\n'),
            b'r' => return Ok('\r'),
            b't' => return Ok('\t'),
            b'v' => return Ok('\u{b}'),
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => return Err(bad),
        };
        let number = self.rest().get(..digits).ok_or(bad)?;
        if !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad);
        }
        self.at += digits;
        let number = u32::from_str_radix(number, 16).map_err(|_| bad)?;
        let past_ascii = *kind == b'x' && number > 0x7f;
        char::from_u32(number).filter(|_| !past_ascii).ok_or(bad)
    }

    fn run(&mut self, inside: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.bytes().position(|byte| !inside(byte)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}
