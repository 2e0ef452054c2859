//! Splits Lua's text into tokens, without judging it: whatever is typed or
//! loaded has some tokens, also while it is unfinished.
//!
//! Works on bytes. A token always begins and ends where characters do, since
//! only ASCII begins and ends one.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name or a keyword.
    Word,
    /// A number, also a malformed one.
    Number,
    /// A string of either form, with its delimiters. One that is not closed ends
    /// with its line, a long one with the text.
    Text,
    /// A comment, without the line break behind it. `#!` in the first line is one.
    Comment,
    /// A character of its own.
    Sign(u8),
    /// `==`, `~=`, `<=` or `>=`.
    Comparison,
}

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// Where it is, in bytes.
    pub(crate) range: Range<usize>,
    /// The line it begins in, from 1.
    pub(crate) line: u32,
}

/// All tokens of a text, in order.
pub(crate) fn tokens(text: &[u8]) -> impl Iterator<Item = Token> {
    Scanner { text, at: 0, line: 1 }
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    line: u32,
}

impl Iterator for Scanner<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip(|byte| byte.is_ascii_whitespace());
        let byte = *self.text.get(self.at)?;
        let (start, line) = (self.at, self.line);
        let kind = match byte {
            b'-' if self.rest().starts_with(b"--") => self.comment(),
            b'#' if start == 0 && self.rest().starts_with(b"#!") => {
                self.skip(|byte| byte != b'\n');
                TokenKind::Comment
            }
            b'"' | b'\'' => self.quoted(byte),
            b'[' if self.long_bracket().is_some() => {
                self.skip_long_bracket();
                TokenKind::Text
            }
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_some_and(|next| next.is_ascii_digit()) => self.number(),
            _ if is_word(byte) => {
                self.skip(is_word);
                TokenKind::Word
            }
            b'=' | b'~' | b'<' | b'>' if self.peek(1) == Some(b'=') => {
                self.advance(2);
                TokenKind::Comparison
            }
            _ => {
                self.advance(1);
                TokenKind::Sign(byte)
            }
        };
        Some(Token { kind, range: start..self.at, line })
    }
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t [u8] {
        &self.text[self.at.min(self.text.len())..]
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn advance(&mut self, count: usize) {
        let end = (self.at + count).min(self.text.len());
        for &byte in &self.text[self.at..end] {
            self.line += u32::from(byte == b'\n');
        }
        self.at = end;
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = self.rest();
        self.advance(rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len()));
    }

    fn number(&mut self) -> TokenKind {
        let is_hex = self.rest().starts_with(b"0x") || self.rest().starts_with(b"0X");
        let exponents = if is_hex { *b"pP" } else { *b"eE" };
        while let Some(byte) = self.peek(0) {
            let is_sign = matches!(byte, b'+' | b'-');
            let in_exponent = is_sign && exponents.contains(&self.text[self.at - 1]);
            if !byte.is_ascii_alphanumeric() && byte != b'.' && !in_exponent {
                break;
            }
            self.advance(1);
        }
        TokenKind::Number
    }

    fn comment(&mut self) -> TokenKind {
        self.advance(2);
        if self.long_bracket().is_some() {
            self.skip_long_bracket();
        } else {
            self.skip(|byte| byte != b'\n');
        }
        TokenKind::Comment
    }

    fn quoted(&mut self, quote: u8) -> TokenKind {
        self.advance(1);
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' if self.peek(1) == Some(b'z') => {
                    self.advance(2);
                    self.skip(|byte| byte.is_ascii_whitespace());
                }
                b'\\' if self.rest().starts_with(b"\\\r\n") => self.advance(3),
                b'\\' => self.advance(2),
                b'\n' => break,
                _ => self.advance(1),
            }
            if byte == quote {
                break;
            }
        }
        TokenKind::Text
    }

    /// Level of the long bracket that opens here.
    fn long_bracket(&self) -> Option<usize> {
        let rest = self.rest().strip_prefix(b"[")?;
        let level = rest.iter().take_while(|&&byte| byte == b'=').count();
        (rest.get(level) == Some(&b'[')).then_some(level)
    }

    fn skip_long_bracket(&mut self) {
        let Some(level) = self.long_bracket() else { return };
        let close = [b"]".as_slice(), &vec![b'='; level], b"]"].concat();
        let length = self
            .rest()
            .windows(close.len())
            .position(|window| window == close)
            .map_or(self.rest().len(), |position| position + close.len());
        self.advance(length);
    }
}
