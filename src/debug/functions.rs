//! Finds the functions that a source text defines, by name and line: what a
//! function breakpoint is resolved with.
//!
//! Lua functions have no names, only the places they are assigned to. A scan of
//! the tokens finds the usual ones: `function a.b:c(`, `local function f(`,
//! `x.y = function(` and `{ key = function(`.

use crate::lua::scan::{self, Token, TokenKind};

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
    let is_code = |token: &Token| token.kind != TokenKind::Comment;
    let tokens: Vec<Token> = scan::tokens(text).filter(is_code).collect();
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.kind != TokenKind::Word || &text[token.range.clone()] != b"function" {
            continue;
        }
        let after = dotted_name(text, tokens[index + 1..].iter());
        let name = if after.is_empty() {
            let [before @ .., Token { kind: TokenKind::Sign(b'='), .. }] = &tokens[..index] else {
                continue;
            };
            let reversed = dotted_name(text, before.iter().rev());
            reversed.split('.').rev().collect::<Vec<_>>().join(".")
        } else {
            after
        };
        if !name.is_empty() {
            found.push(Definition { name, line: token.line });
        }
    }
    found
}

/// Reads `word (sep word)*`.
fn dotted_name<'t>(text: &[u8], mut tokens: impl Iterator<Item = &'t Token>) -> String {
    let mut name = String::new();
    while let Some(Token { kind: TokenKind::Word, range, .. }) = tokens.next() {
        name.push_str(&String::from_utf8_lossy(&text[range.clone()]));
        match tokens.next().map(|token| token.kind) {
            Some(TokenKind::Sign(separator @ (b'.' | b':'))) => name.push(char::from(separator)),
            _ => return name,
        }
    }
    name.trim_end_matches(['.', ':']).to_owned()
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
