//! Columns: the protocol counts UTF-16 code units, Lua and Rust count bytes.

/// The byte at `column` (0-based, UTF-16) of line `line` (0-based) of `text`.
///
/// A place beyond the end of its line, or inside of a character, is moved to
/// the nearest place before it.
pub(super) fn byte_offset(text: &str, line: usize, column: usize) -> usize {
    let start = match line.checked_sub(1) {
        None => 0,
        Some(before) => text
            .match_indices('\n')
            .nth(before)
            .map_or(text.len(), |(index, newline)| index + newline.len()),
    };
    let mut units = 0;
    for (index, character) in text[start..].char_indices() {
        units += character.len_utf16();
        if character == '\n' || units > column {
            return start + index;
        }
    }
    text.len()
}

/// The UTF-16 column (0-based) of byte `offset` within its line.
pub(super) fn utf16_column(text: &str, offset: usize) -> usize {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.rsplit('\n').next().unwrap_or_default();
    utf16_length(line)
}

/// The length of `text` in UTF-16 code units.
pub(super) fn utf16_length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_bytes_agree() {
        let text = "ä🐌b\nzweite";
        for (line, column, byte) in
            [(0, 0, 0), (0, 1, 2), (0, 3, 6), (0, 4, 7), (1, 0, 8), (1, 2, 10), (1, 6, 14)]
        {
            assert_eq!(byte_offset(text, line, column), byte, "line {line} column {column}");
            assert_eq!(utf16_column(text, byte), column, "byte {byte}");
        }
    }

    #[test]
    fn impossible_places_are_moved() {
        let text = "ä🐌b\nzweite";
        assert_eq!(byte_offset(text, 0, 2), 2, "inside of a surrogate pair");
        assert_eq!(byte_offset(text, 0, 99), 7, "beyond the line");
        assert_eq!(byte_offset(text, 1, 99), text.len());
        assert_eq!(byte_offset(text, 9, 0), text.len());
        assert_eq!(byte_offset("", 0, 5), 0);
        assert_eq!(utf16_column(text, 1), 0, "inside of a character");
        assert_eq!(utf16_column(text, 999), 6);
    }
}
