//! Bytes that a Lua program has written, as text for front ends.
//!
//! Lua writes bytes. Those that are no UTF-8 are shown as `\xNN`; a character
//! that is cut between two writes waits for its second half.

/// The text of one output stream.
#[derive(Debug, Default)]
pub struct TextStream {
    /// The beginning of a character: at most three bytes.
    cut: Vec<u8>,
}

impl TextStream {
    /// Appends bytes; what can be shown of the stream by now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = if self.cut.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.cut).as_slice(), bytes].concat();
            &joined
        };
        let mut text = String::with_capacity(rest.len());
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => error,
            };
            let (valid, invalid) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            let Some(length) = error.error_len() else {
                self.cut = invalid.to_vec();
                return text;
            };
            let (invalid, behind) = invalid.split_at(length);
            push_escaped(&mut text, invalid);
            rest = behind;
        }
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self) -> String {
        let mut text = String::new();
        push_escaped(&mut text, &std::mem::take(&mut self.cut));
        text
    }
}

fn push_escaped(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.extend(["\\x", &format!("{byte:02X}")]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], expected: &str) {
        let mut stream = TextStream::default();
        let mut text: String = pieces.iter().map(|piece| stream.push(piece)).collect();
        text += &stream.finish();
        assert_eq!(text, expected);
    }

    #[test]
    fn text_stays_as_it_is() {
        check(&[b"a\n", "ü🐌\0".as_bytes()], "a\nü🐌\0");
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        check(&[b"a\xffb\xc3(\xe2\x82"], "a\\xFFb\\xC3(\\xE2\\x82");
    }

    #[test]
    fn characters_survive_any_cut() {
        let text = "aä€🐌z";
        let bytes = text.as_bytes();
        for cut in 0..=bytes.len() {
            for second in cut..=bytes.len() {
                check(&[&bytes[..cut], &bytes[cut..second], &bytes[second..]], text);
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        check(&single, text);
    }

    #[test]
    fn a_cut_character_that_never_ends_is_shown_when_something_else_comes() {
        let mut stream = TextStream::default();
        assert_eq!(stream.push(b"\xe2\x82"), "");
        assert_eq!(stream.push(b"x"), "\\xE2\\x82x");
    }
}
