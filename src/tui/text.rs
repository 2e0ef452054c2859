//! Text on its way to the screen: what a character looks like, and how many
//! columns it takes.
//!
//! Scripts and their output may hold anything, escape sequences included. What
//! is no plain character is spelled out here, so nothing of it reaches the
//! terminal as it is.

use unicode_width::UnicodeWidthChar as _;

/// What to draw for a character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// So many blanks.
    Blanks(usize),
    /// Itself, so many columns wide.
    Plain(char, usize),
    /// Itself, on top of the character before.
    Mark(char),
    /// These ASCII characters in its place.
    Spelled(String),
    /// Nothing.
    Nothing,
}

/// What to draw for a character that begins at this column, with tabs so wide.
pub(super) fn shown(character: char, column: usize, tab: usize) -> Shown {
    match character {
        '\t' => Shown::Blanks(tab - column % tab),
        '\0'..='\x1f' => Shown::Spelled(format!("^{}", char::from(character as u8 ^ 0x40))),
        '\x7f' => Shown::Spelled("^?".to_owned()),
        '\u{80}'..='\u{9f}' => Shown::Spelled(format!("\\x{:02X}", u32::from(character))),
        // These change the direction or order of what follows.
        '\u{200e}'
        | '\u{200f}'
        | '\u{061c}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => Shown::Spelled(format!("<U+{:04X}>", u32::from(character))),
        // Terminals disagree about the width of what these join or vary.
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => {
            Shown::Nothing
        }
        _ => match character.width() {
            Some(0) => Shown::Mark(character),
            Some(width) => Shown::Plain(character, width),
            None => Shown::Nothing,
        },
    }
}

impl Shown {
    /// Columns.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Blanks(width) | Self::Plain(_, width) => *width,
            Self::Spelled(text) => text.len(),
            Self::Mark(_) | Self::Nothing => 0,
        }
    }
}

/// Columns that a text takes from its first.
pub(super) fn width(text: &str, tab: usize) -> usize {
    text.chars().fold(0, |column, character| column + shown(character, column, tab).width())
}

/// Cuts a text into pieces of at most `columns`, at characters.
pub(super) fn wrapped(text: &str, columns: usize, tab: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut column) = (0, 0);
    for (at, character) in text.char_indices() {
        let width = shown(character, column, tab).width();
        if column + width > columns && at > start {
            pieces.push(&text[start..at]);
            start = at;
            column = shown(character, 0, tab).width();
        } else {
            column += width;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_dangerous_is_drawn() {
        for character in ('\0'..='\u{9f}').filter(|it| it.is_control()) {
            let drawn = shown(character, 0, 8);
            let is_safe = match &drawn {
                Shown::Blanks(_) => character == '\t',
                Shown::Spelled(text) => text.chars().all(|it| it.is_ascii_graphic()),
                _ => false,
            };
            assert!(is_safe, "{character:?}: {drawn:?}");
        }
        assert_eq!(shown('\x1b', 0, 8), Shown::Spelled("^[".to_owned()));
        assert_eq!(shown('\u{202e}', 0, 8), Shown::Spelled("<U+202E>".to_owned()));
    }

    #[test]
    fn widths_count_columns() {
        let check = |text: &str, expected: usize| assert_eq!(width(text, 4), expected, "{text:?}");
        check("abc", 3);
        check("a\tb", 5);
        check("\t\t", 8);
        check("日本", 4);
        check("e\u{301}", 1);
        check("\x1b[0m", 5);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(wrapped("abcdef", 4, 8), ["abcd", "ef"]);
        assert_eq!(wrapped("日本語", 5, 8), ["日本", "語"]);
        assert_eq!(wrapped("", 5, 8), [""]);
        assert_eq!(wrapped("日", 1, 8), ["日"]);
    }
}
