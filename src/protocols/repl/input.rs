//! Bytes of a connection to lines of text.
//!
//! Whatever comes, something clear is made of it: line ends of either kind,
//! bytes that are no text, lines without an end. A telnet client's commands begin
//! with 255, a byte that no text has; they are declined, and its Ctrl-C counts.

/// What has come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A line, without its line break.
    Line(String),
    /// A line that is no UTF-8.
    NotText,
    /// A line longer than allowed; nothing that follows can be understood.
    TooLong,
    /// Telnet's Ctrl-C.
    Interrupt,
}

/// Telnet's bytes.
mod telnet {
    pub(super) const COMMAND: u8 = 255;
    pub(super) const DONT: u8 = 254;
    pub(super) const DO: u8 = 253;
    pub(super) const WONT: u8 = 252;
    pub(super) const WILL: u8 = 251;
    pub(super) const SUBNEGOTIATION: u8 = 250;
    pub(super) const INTERRUPT: u8 = 244;
    pub(super) const END: u8 = 240;
}

/// Where in a telnet command the input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Command,
    Option(u8),
    Subnegotiation,
    SubnegotiationCommand,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Input {
    line: Vec<u8>,
    most: usize,
    state: State,
    too_long: bool,
}

impl Input {
    /// Lines of at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { line: Vec::new(), most, state: State::Text, too_long: false }
    }

    /// Takes bytes; what has come in with them, and what telnet is answered.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (Vec<Incoming>, Vec<u8>) {
        let (mut incoming, mut answer) = (Vec::new(), Vec::new());
        for &byte in bytes {
            match self.state {
                _ if self.too_long => break,
                State::Text if byte == telnet::COMMAND => self.state = State::Command,
                State::Text => self.text(byte, &mut incoming),
                State::Command => {
                    self.state = match byte {
                        telnet::WILL..=telnet::DONT => State::Option(byte),
                        telnet::SUBNEGOTIATION => State::Subnegotiation,
                        _ => State::Text,
                    };
                    match byte {
                        telnet::INTERRUPT => incoming.push(Incoming::Interrupt),
                        // 255 itself, doubled.
                        telnet::COMMAND => self.text(byte, &mut incoming),
                        _ => {}
                    }
                }
                State::Option(wish) => {
                    self.state = State::Text;
                    match wish {
                        telnet::DO => answer.extend([telnet::COMMAND, telnet::WONT, byte]),
                        telnet::WILL => answer.extend([telnet::COMMAND, telnet::DONT, byte]),
                        _ => {}
                    }
                }
                State::Subnegotiation if byte == telnet::COMMAND => {
                    self.state = State::SubnegotiationCommand;
                }
                State::SubnegotiationCommand if byte == telnet::END => self.state = State::Text,
                State::Subnegotiation | State::SubnegotiationCommand => {
                    self.state = State::Subnegotiation;
                }
            }
        }
        (incoming, answer)
    }

    /// The end has come; what is left is a line, too.
    pub(super) fn finish(&mut self) -> Option<Incoming> {
        (!self.line.is_empty() && !self.too_long).then(|| self.take_line())
    }

    fn text(&mut self, byte: u8, incoming: &mut Vec<Incoming>) {
        if byte == b'\n' {
            incoming.push(self.take_line());
        } else if self.line.len() >= self.most {
            self.too_long = true;
            self.line = Vec::new();
            incoming.push(Incoming::TooLong);
        } else {
            self.line.push(byte);
        }
    }

    fn take_line(&mut self) -> Incoming {
        let mut line = std::mem::take(&mut self.line);
        // Telnet ends lines with a carriage return and either of these.
        while line.last().is_some_and(|byte| matches!(byte, b'\r' | 0)) {
            line.pop();
        }
        String::from_utf8(line).map_or(Incoming::NotText, |text| {
            Incoming::Line(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Incoming {
        Incoming::Line(text.into())
    }

    /// However the bytes are cut.
    fn check(bytes: &[u8], expected: &[Incoming], answered: &[u8]) {
        for size in [1, 2, bytes.len().max(1)] {
            let mut input = Input::new(8);
            let (mut incoming, mut answer) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                let (more, back) = input.push(piece);
                incoming.extend(more);
                answer.extend(back);
            }
            incoming.extend(input.finish());
            assert_eq!(incoming, expected, "{bytes:?} in pieces of {size}");
            assert_eq!(answer, answered);
        }
    }

    #[test]
    fn lines_of_all_kinds() {
        check(b"a\nb", &[line("a"), line("b")], b"");
        check(b"a\r\n\r\nb\r\n", &[line("a"), line(""), line("b")], b"");
        check(b"a\0b\n", &[line("a\0b")], b"");
        check(b"a\r\0\n", &[line("a")], b"");
        check("\u{feff}a\né\n".as_bytes(), &[line("a"), line("é")], b"");
        check(b"\xc3\n\xe9t\xe9\nb\n", &[Incoming::NotText, Incoming::NotText, line("b")], b"");
        check(b"12345678\n123456789\nc\n", &[line("12345678"), Incoming::TooLong], b"");
    }

    #[test]
    fn telnet_is_answered() {
        check(b"a\xff\xfb\x01b\n", &[line("ab")], b"\xff\xfe\x01");
        check(b"\xff\xf4\xff\xfd\x06a\n", &[Incoming::Interrupt, line("a")], b"\xff\xfc\x06");
        check(b"\xff\xfa\x18\x00x\n\xff\xff\xff\xf0a\n", &[line("a")], b"");
        check(b"\xff\xfc\x01\xff\xfe\x01\xff\xf1a\n", &[line("a")], b"");
        check(b"\xff\xff\n", &[Incoming::NotText], b"");
        check(b"\xff", &[], b"");
    }
}
