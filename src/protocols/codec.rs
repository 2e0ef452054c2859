//! Content-Length framing, as DAP and LSP have it: header lines, a blank line,
//! a JSON body.
//!
//! The hard thing is to survive bad input. A body that is too large is skipped
//! without being stored, and one that is not JSON has a known end, so both are
//! reported as a [`Malformed`] *item* and the next message is read as usual.
//! Only garbage in the header is fatal: nobody knows where the next message
//! would begin.

use std::{fmt, io};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::{
    bytes::{Buf, BytesMut},
    codec::{Decoder, Encoder},
};

/// Longest accepted header block, in bytes.
pub const MAX_HEADER: usize = 8 * 1024;

/// Longest accepted body unless the owner says otherwise, in bytes.
pub const DEFAULT_MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// How much memory a buffer may keep between messages.
const BUFFER_KEPT: usize = 256 * 1024;

/// What the decoder yields: a message, or why there is none in its place.
pub type Incoming = Result<Value, Malformed>;

/// A message that could not be read although the stream is still in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The body is larger than the limit; it is being skipped.
    TooLarge {
        /// Announced size.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The body is not JSON.
    NotJson(String),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { length, limit } => {
                write!(f, "message of {length} bytes is over the limit of {limit}")
            }
            Self::NotJson(reason) => write!(f, "message is not JSON: {reason}"),
        }
    }
}

/// The stream cannot be read any further.
#[derive(Debug)]
pub enum CodecError {
    /// The bytes where a header belongs are none.
    Header(String),
    /// The transport failed.
    Io(io::Error),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(reason) => write!(f, "bad message header: {reason}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CodecError {}

impl From<io::Error> for CodecError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Decoder and encoder of Content-Length frames.
#[derive(Debug)]
pub struct ContentLengthCodec {
    max_message: usize,
    state: State,
}

/// What the decoder expects next.
#[derive(Debug)]
enum State {
    /// Header lines; `seen` counts the bytes of this block consumed so far.
    Header { length: Option<usize>, seen: usize },
    /// A body of this many bytes.
    Body(usize),
    /// The rest of a body that is too large.
    Skip(usize),
}

impl State {
    const START: Self = Self::Header { length: None, seen: 0 };
}

impl ContentLengthCodec {
    /// Makes a codec that refuses bodies of more than `max_message` bytes.
    pub fn new(max_message: usize) -> Self {
        Self { max_message, state: State::START }
    }

    /// Consumes header lines; `Some` once the blank line has been met.
    fn decode_header(&mut self, source: &mut BytesMut) -> Result<Option<usize>, CodecError> {
        let State::Header { length, seen } = &mut self.state else { return Ok(None) };
        while let Some(end) = source.iter().take(MAX_HEADER + 1).position(|byte| *byte == b'\n') {
            let line = source.split_to(end + 1);
            // The bound is on header lines, not on blank lines between messages.
            if *seen > 0 || !is_blank(&line) {
                *seen += line.len();
            }
            if *seen > MAX_HEADER {
                return Err(header_too_long());
            }
            if !is_blank(&line) {
                parse_header_line(&line, length)?;
            } else if *seen > 0 {
                let missing = || CodecError::Header("no Content-Length".to_owned());
                return length.ok_or_else(missing).map(Some);
            }
        }
        if *seen + source.len() > MAX_HEADER {
            return Err(header_too_long());
        }
        Ok(None)
    }
}

impl Decoder for ContentLengthCodec {
    type Item = Incoming;
    type Error = CodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Incoming>, CodecError> {
        loop {
            match self.state {
                State::Header { .. } => {
                    let Some(length) = self.decode_header(source)? else { return Ok(None) };
                    if length > self.max_message {
                        self.state = State::Skip(length);
                        let limit = self.max_message;
                        return Ok(Some(Err(Malformed::TooLarge { length, limit })));
                    }
                    self.state = State::Body(length);
                }
                State::Body(length) if source.len() < length => return Ok(None),
                State::Body(length) => {
                    let body = source.split_to(length);
                    self.state = State::START;
                    let message = serde_json::from_slice(&body);
                    return Ok(Some(
                        message.map_err(|error| Malformed::NotJson(error.to_string())),
                    ));
                }
                State::Skip(remaining) => {
                    let here = remaining.min(source.len());
                    source.advance(here);
                    if here < remaining {
                        self.state = State::Skip(remaining - here);
                        return Ok(None);
                    }
                    self.state = State::START;
                }
            }
        }
    }
}

impl Encoder<&[u8]> for ContentLengthCodec {
    type Error = io::Error;

    fn encode(&mut self, body: &[u8], target: &mut BytesMut) -> io::Result<()> {
        target.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        target.extend_from_slice(body);
        Ok(())
    }
}

/// Reads messages from a byte stream.
///
/// [`MessageReader::next`] may be dropped at any await without losing bytes.
#[derive(Debug)]
pub struct MessageReader<R> {
    source: R,
    buffer: BytesMut,
    codec: ContentLengthCodec,
}

impl<R: AsyncRead + Unpin> MessageReader<R> {
    /// Reads messages of at most `max_message` bytes from `source`.
    pub fn new(source: R, max_message: usize) -> Self {
        Self { source, buffer: BytesMut::new(), codec: ContentLengthCodec::new(max_message) }
    }

    /// Waits for the next message; `None` when the peer has closed the stream,
    /// be it in the middle of a message.
    pub async fn next(&mut self) -> Result<Option<Incoming>, CodecError> {
        loop {
            if let Some(message) = self.codec.decode(&mut self.buffer)? {
                return Ok(Some(message));
            }
            if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEPT {
                self.buffer = BytesMut::new();
            }
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

fn header_too_long() -> CodecError {
    CodecError::Header(format!("longer than {MAX_HEADER} bytes"))
}

/// Takes note of `Content-Length`; other headers only have to look like one.
fn parse_header_line(line: &[u8], length: &mut Option<usize>) -> Result<(), CodecError> {
    let error = |reason: &str| {
        CodecError::Header(format!("{reason}: '{}'", line.trim_ascii_end().escape_ascii()))
    };
    let text = std::str::from_utf8(line).map_err(|_| error("not text"))?;
    let (name, value) = text.split_once(':').ok_or_else(|| error("no colon"))?;
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name_byte) {
        return Err(error("not a header name"));
    }
    if !name.eq_ignore_ascii_case("content-length") {
        return Ok(());
    }
    let value = value.trim().parse().map_err(|_| error("not a length"))?;
    if length.is_some_and(|earlier| earlier != value) {
        return Err(error("a second, different length"));
    }
    *length = Some(value);
    Ok(())
}

#[cfg(test)]
mod tests;
