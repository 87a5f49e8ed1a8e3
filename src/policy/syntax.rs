//! What does a policy text say, before anything is known of policies?
//!
//! Two grammars and one tree. HCL 1 as `hashicorp/hcl` reads it (`hcl/parser/parser.go`), and JSON
//! as its JSON reader does, without the forms on which the servers differ.

use super::Opaque;
use super::lexer::{Lexer, Token};

/// Deepest nesting; a control group, the deepest thing a policy has, needs five.
const DEEPEST: u32 = 12;

/// `key = value`, or a block with its labels.
#[derive(Debug)]
pub(super) struct Item {
    /// Where the first key stands, counted from 1.
    pub(super) line: u32,
    /// At least one; a block's labels follow its type.
    pub(super) keys: Vec<String>,
    /// Written with `=` (in JSON, always).
    pub(super) assigned: bool,
    pub(super) value: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Bool(bool),
    List(Vec<Node>),
    Number(String),
    Object(Vec<Item>),
    Text(String),
}

/// The items of an HCL text.
pub(super) fn hcl(text: &str) -> Result<Vec<Item>, Opaque> {
    let mut parser = Parser::new(text)?;
    let items = parser.items(0)?;
    match parser.token {
        Token::End => Ok(items),
        _ => Err(parser.opaque("a closing brace without an opening one")),
    }
}

/// The items of a JSON text that is one object.
pub(super) fn json(text: &str) -> Result<Vec<Item>, Opaque> {
    let mut parser = Parser::new(text)?;
    parser.expect(b'{', "a JSON text that is not an object")?;
    let items = parser.members(0)?;
    match parser.token {
        Token::End => Ok(items),
        _ => Err(parser.opaque("text after the end of the JSON object")),
    }
}

/// One token ahead.
struct Parser<'t> {
    lexer: Lexer<'t>,
    token: Token<'t>,
    /// Where `token` stands.
    line: u32,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Result<Self, Opaque> {
        let mut parser = Self { lexer: Lexer::new(text), token: Token::End, line: 1 };
        parser.advance()?;
        Ok(parser)
    }

    /// HCL items up to a closing brace or the end, which is left to the caller.
    fn items(&mut self, depth: u32) -> Result<Vec<Item>, Opaque> {
        let mut items = Vec::new();
        while !matches!(self.token, Token::End | Token::Symbol(b'}')) {
            items.push(self.item(depth)?);
            self.take(b',')?;
        }
        Ok(items)
    }

    fn item(&mut self, depth: u32) -> Result<Item, Opaque> {
        let line = self.line;
        let mut keys = Vec::new();
        loop {
            match self.advance()? {
                Token::Text(key) => keys.push(key),
                Token::Word(key) if !matches!(key, "true" | "false") => keys.push(key.to_owned()),
                Token::Symbol(b'{') if !keys.is_empty() => {
                    let value = self.object(depth)?;
                    return Ok(Item { line, keys, assigned: false, value });
                }
                Token::Symbol(b'=') if keys.len() == 1 => {
                    let value = self.value(depth)?;
                    return Ok(Item { line, keys, assigned: true, value });
                }
                _ => return Err(self.opaque("neither an attribute nor a block")),
            }
        }
    }

    fn value(&mut self, depth: u32) -> Result<Node, Opaque> {
        match self.advance()? {
            Token::Symbol(b'{') => self.object(depth),
            Token::Symbol(b'[') => self.list(|parser| {
                let scalar = parser.advance()?;
                parser.scalar(scalar)
            }),
            token => self.scalar(token),
        }
    }

    /// After the opening brace.
    fn object(&mut self, depth: u32) -> Result<Node, Opaque> {
        let depth = self.deeper(depth)?;
        let items = self.items(depth)?;
        self.expect(b'}', "a block that does not end")?;
        Ok(Node::Object(items))
    }

    /// After the opening bracket; a comma may stand before the closing one.
    fn list(
        &mut self,
        element: impl Fn(&mut Self) -> Result<Node, Opaque>,
    ) -> Result<Node, Opaque> {
        let mut list = Vec::new();
        while !self.take(b']')? {
            list.push(element(self)?);
            if !self.take(b',')? {
                self.expect(b']', "a list that does not end, or lacks a comma")?;
                break;
            }
        }
        Ok(Node::List(list))
    }

    fn scalar(&self, token: Token<'t>) -> Result<Node, Opaque> {
        match token {
            Token::Number(number) => Ok(Node::Number(number.to_owned())),
            Token::Text(text) => Ok(Node::Text(text)),
            Token::Word(word @ ("true" | "false")) => Ok(Node::Bool(word == "true")),
            _ => Err(self.opaque("a value of a form that is not read here")),
        }
    }

    /// JSON members after the opening brace, and the closing one.
    fn members(&mut self, depth: u32) -> Result<Vec<Item>, Opaque> {
        let depth = self.deeper(depth)?;
        let mut items = Vec::new();
        while !self.take(b'}')? {
            let line = self.line;
            let Token::Text(key) = self.advance()? else {
                return Err(self.opaque("a JSON key that is not a string"));
            };
            self.expect(b':', "a JSON key without a colon")?;
            let value = self.json_value(depth)?;
            items.push(Item { line, keys: vec![key], assigned: true, value });
            if !self.take(b',')? {
                self.expect(b'}', "a JSON object that does not end, or lacks a comma")?;
                break;
            }
        }
        Ok(items)
    }

    fn json_value(&mut self, depth: u32) -> Result<Node, Opaque> {
        let depth = self.deeper(depth)?;
        match self.advance()? {
            Token::Symbol(b'{') => Ok(Node::Object(self.members(depth)?)),
            Token::Symbol(b'[') => self.list(|parser| parser.json_value(depth)),
            token => self.scalar(token),
        }
    }

    fn deeper(&self, depth: u32) -> Result<u32, Opaque> {
        if depth == DEEPEST {
            return Err(self.opaque("more nesting than a policy has"));
        }
        Ok(depth + 1)
    }

    /// Gives the token at hand and reads the next.
    fn advance(&mut self) -> Result<Token<'t>, Opaque> {
        let next = self.lexer.next()?;
        self.line = self.lexer.line();
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// Whether this symbol was at hand; it is then behind.
    fn take(&mut self, symbol: u8) -> Result<bool, Opaque> {
        let found = self.token == Token::Symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, symbol: u8, otherwise: &'static str) -> Result<(), Opaque> {
        if self.take(symbol)? { Ok(()) } else { Err(self.opaque(otherwise)) }
    }

    fn opaque(&self, reason: &'static str) -> Opaque {
        Opaque { reason, line: self.line }
    }
}
