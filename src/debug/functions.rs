//! Finds the functions that a source text defines, by name and line: what a
//! function breakpoint is resolved with.
//!
//! Lua functions have no names, only the places they are assigned to. A scan of
//! the tokens finds the usual ones: `function a.b:c(`, `local function f(`,
//! `x.y = function(` and `{ key = function(`.

/// A function with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// As written: `f`, `M.f` or `C:m`.
    pub(super) name: String,
    /// Line of the word `function` (Lua's `linedefined`).
    pub(super) line: u32,
}

impl Definition {
    /// Whether a user who writes `wanted` means this function: the whole name
    /// (`.` and `:` alike) or its last part.
    pub(super) fn is_called(&self, wanted: &str) -> bool {
        let (name, wanted) = (self.name.replace(':', "."), wanted.replace(':', "."));
        name == wanted || name.strip_suffix(&wanted).is_some_and(|rest| rest.ends_with('.'))
    }
}

/// All named functions of a text, in order.
pub(super) fn definitions(text: &[u8]) -> Vec<Definition> {
    let tokens: Vec<(Token<'_>, u32)> = Scanner { text, at: 0, line: 1 }.collect();
    let mut found = Vec::new();
    for (index, (token, line)) in tokens.iter().enumerate() {
        if *token != Token::Word(b"function") {
            continue;
        }
        let after = dotted_name(tokens[index + 1..].iter().map(|(token, _)| token));
        let name = if after.is_empty() {
            let [before @ .., (Token::Sign(b'='), _)] = &tokens[..index] else { continue };
            let reversed = dotted_name(before.iter().rev().map(|(token, _)| token));
            reversed.split('.').rev().collect::<Vec<_>>().join(".")
        } else {
            after
        };
        if !name.is_empty() {
            found.push(Definition { name, line: *line });
        }
    }
    found
}

/// Reads `word (sep word)*`.
fn dotted_name<'t>(mut tokens: impl Iterator<Item = &'t Token<'t>>) -> String {
    let mut name = String::new();
    while let Some(Token::Word(word)) = tokens.next() {
        name.push_str(&String::from_utf8_lossy(word));
        match tokens.next() {
            Some(Token::Sign(separator @ (b'.' | b':'))) => name.push(char::from(*separator)),
            _ => return name,
        }
    }
    name.trim_end_matches(['.', ':']).to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t [u8]),
    Sign(u8),
    /// A literal, or a sign of more than one character.
    Other,
}

/// Splits Lua into words and signs; strings, comments and numbers are passed
/// over.
struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    line: u32,
}

impl<'t> Iterator for Scanner<'t> {
    type Item = (Token<'t>, u32);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let byte = *self.text.get(self.at)?;
            let line = self.line;
            match byte {
                _ if byte.is_ascii_whitespace() => self.advance(1),
                b'-' if self.rest().starts_with(b"--") => self.skip_comment(),
                b'"' | b'\'' => {
                    self.skip_quoted(byte);
                    return Some((Token::Other, line));
                }
                b'[' if self.long_bracket().is_some() => {
                    self.skip_long_bracket();
                    return Some((Token::Other, line));
                }
                b'0'..=b'9' => {
                    self.take(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
                    return Some((Token::Other, line));
                }
                _ if is_word(byte) => return Some((Token::Word(self.take(is_word)), line)),
                b'=' | b'~' | b'<' | b'>' if self.text.get(self.at + 1) == Some(&b'=') => {
                    self.advance(2);
                    return Some((Token::Other, line));
                }
                _ => {
                    self.advance(1);
                    return Some((Token::Sign(byte), line));
                }
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t [u8] {
        &self.text[self.at.min(self.text.len())..]
    }

    fn advance(&mut self, count: usize) {
        let end = (self.at + count).min(self.text.len());
        for &byte in &self.text[self.at..end] {
            self.line += u32::from(byte == b'\n');
        }
        self.at = end;
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'t [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn skip_comment(&mut self) {
        self.advance(2);
        if self.long_bracket().is_some() {
            self.skip_long_bracket();
        } else {
            self.take(|byte| byte != b'\n');
        }
    }

    fn skip_quoted(&mut self, quote: u8) {
        self.advance(1);
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'\\' => self.advance(2),
                b'\n' => return,
                _ => self.advance(1),
            }
            if byte == quote {
                return;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, u32)]) {
        let found = definitions(text.as_bytes());
        let found: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.line)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn usual_definitions_are_found() {
        check("function f() end", &[("f", 1)]);
        check("local function f() end", &[("f", 1)]);
        check("\nfunction M.a.b(x)\nend\nfunction C:m() end", &[("M.a.b", 2), ("C:m", 4)]);
        check("local f = function() end", &[("f", 1)]);
        check("M.a.b = function() end", &[("M.a.b", 1)]);
        check("return { run = function() end }", &[("run", 1)]);
        check("print(function() end)", &[]);
        check("if a == function() end then end", &[]);
    }

    #[test]
    fn text_that_is_no_code_is_passed_over() {
        check(
            "-- function a() end\n--[==[ function b() end\n]] ]==] function c() end",
            &[("c", 3)],
        );
        check("local s = 'function a() end' .. [[\nfunction b()]] function d() end", &[("d", 2)]);
        check("s = \"\\\"function a()\" function e() end", &[("e", 1)]);
        check("s = [[ never closed function a()", &[]);
    }

    #[test]
    fn names_are_compared_as_users_write_them() {
        let method = Definition { name: "M.Class:method".to_owned(), line: 1 };
        for wanted in ["M.Class:method", "M.Class.method", "Class:method", "method"] {
            assert!(method.is_called(wanted), "{wanted}");
        }
        for wanted in ["ethod", "Class", "N.Class:method"] {
            assert!(!method.is_called(wanted), "{wanted}");
        }
    }
}
