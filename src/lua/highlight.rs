//! Which parts of a Lua text deserve a color: plain spans, for any front end
//! that draws them.

use std::ops::Range;

use crate::lua::scan::{self, TokenKind};

/// What a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word of the language.
    Keyword,
    /// `nil`, `true` or `false`.
    Constant,
    /// A number.
    Number,
    /// A string of either form, with its delimiters.
    Text,
    /// A comment; also a `#!` line.
    Comment,
}

const KEYWORDS: [&str; 19] = [
    "and", "break", "do", "else", "elseif", "end", "for", "function", "goto", "if", "in", "local",
    "not", "or", "repeat", "return", "then", "until", "while",
];

/// The spans of a text, in order and apart, in bytes; they begin and end where
/// characters do. Strings and comments may go over several lines.
pub(crate) fn highlight(text: &str) -> Vec<(Range<usize>, Kind)> {
    let span = |token: scan::Token| {
        let kind = match token.kind {
            TokenKind::Word => word_kind(&text[token.range.clone()])?,
            TokenKind::Number => Kind::Number,
            TokenKind::Text => Kind::Text,
            TokenKind::Comment => Kind::Comment,
            TokenKind::Sign(_) | TokenKind::Comparison => return None,
        };
        Some((token.range, kind))
    };
    scan::tokens(text.as_bytes()).filter_map(span).collect()
}

fn word_kind(word: &str) -> Option<Kind> {
    match word {
        "nil" | "true" | "false" => Some(Kind::Constant),
        _ => KEYWORDS.contains(&word).then_some(Kind::Keyword),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, Kind)]) {
        let found = highlight(text);
        let found: Vec<_> = found.iter().map(|(span, kind)| (&text[span.clone()], *kind)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn each_kind_is_found() {
        check(
            "local n = 0x1p-3 -- why\nreturn nil, 'a', .5",
            &[
                ("local", Kind::Keyword),
                ("0x1p-3", Kind::Number),
                ("-- why", Kind::Comment),
                ("return", Kind::Keyword),
                ("nil", Kind::Constant),
                ("'a'", Kind::Text),
                (".5", Kind::Number),
            ],
        );
        check("endless = i-1 .. ''", &[("1", Kind::Number), ("''", Kind::Text)]);
        check("#!/usr/bin/lua\nx = #y", &[("#!/usr/bin/lua", Kind::Comment)]);
    }

    #[test]
    fn long_forms_and_broken_ones_have_spans() {
        check(
            "--[==[ a\n]] ]==] do",
            &[("--[==[ a\n]] ]==]", Kind::Comment), ("do", Kind::Keyword)],
        );
        check("s = [[ é\n\n", &[("[[ é\n\n", Kind::Text)]);
        check("s = \"é\\é\nend", &[("\"é\\é", Kind::Text), ("end", Kind::Keyword)]);
        check("s = \"a\\z\n  b\" end", &[("\"a\\z\n  b\"", Kind::Text), ("end", Kind::Keyword)]);
        check("'\\", &[("'\\", Kind::Text)]);
        check("--", &[("--", Kind::Comment)]);
    }
}
