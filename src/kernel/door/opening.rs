//! What a client speaks, told by the first bytes that it sends.
//!
//! Every protocol here has its client speak first, so the kernel says nothing
//! before it knows. As few bytes as possible are waited for: a line of Lua is
//! known by its first character in most cases.

use serde_json::Value;

/// Longest opening that is looked at, in bytes.
pub(super) const MOST_BYTES: usize = 64 * 1024;
/// Longest first line of HTTP that is waited for.
const LONGEST_LINE: usize = 8 * 1024;

/// What a connection turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A line of Lua, or of anything.
    Repl,
    /// `Content-Length` framing around DAP.
    Dap,
    /// `Content-Length` framing around JSON-RPC.
    Lsp,
    /// An HTTP request.
    Http,
    /// ZMTP, the wire of ZeroMQ.
    Jupyter,
    /// A TLS handshake.
    Tls,
}

/// What the first bytes are; `None` if more are needed. `whole` if no more will
/// come.
pub(super) fn opening(bytes: &[u8], whole: bool) -> Option<Opening> {
    match *bytes {
        [] => return None,
        [0xff, ..] => return Some(Opening::Jupyter),
        [0x16, 0x03, ..] => return Some(Opening::Tls),
        [0x16] if !whole => return None,
        _ => {}
    }
    if is_start_of(bytes, b"content-length:") || is_start_of(bytes, b"content-type:") {
        return framed(bytes, whole);
    }
    if METHODS.iter().any(|method| is_start_of_exactly(bytes, method)) {
        return http_or_lua(bytes, whole);
    }
    Some(Opening::Repl)
}

/// The methods that HTTP clients open with, each with the blank behind it; the
/// last is HTTP/2's.
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
    b"PRI ",
];

/// Whether `bytes` begin with `word`, or the other way round, in any case.
fn is_start_of(bytes: &[u8], word: &[u8]) -> bool {
    let length = bytes.len().min(word.len());
    bytes[..length].eq_ignore_ascii_case(&word[..length])
}

fn is_start_of_exactly(bytes: &[u8], word: &[u8]) -> bool {
    let length = bytes.len().min(word.len());
    bytes[..length] == word[..length]
}

/// `GET = 1` is Lua: only a line that ends in ` HTTP/1.x` is HTTP.
fn http_or_lua(bytes: &[u8], whole: bool) -> Option<Opening> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let waits = !whole && bytes.len() < LONGEST_LINE;
        // A line this long, or cut, is answered by HTTP's own error.
        let is_http = bytes.len() >= LONGEST_LINE;
        return (!waits).then_some(if is_http { Opening::Http } else { Opening::Repl });
    };
    let line = bytes[..end].trim_ascii_end();
    let version = line.iter().rposition(|byte| *byte == b' ').map(|blank| &line[blank + 1..]);
    let is_http = version.is_some_and(|version| version.starts_with(b"HTTP/"));
    Some(if is_http { Opening::Http } else { Opening::Repl })
}

/// DAP or LSP: their first message tells.
fn framed(bytes: &[u8], whole: bool) -> Option<Opening> {
    let mut body = None;
    let mut length = None;
    let mut start = 0;
    while let Some(end) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let line = bytes[start..start + end].trim_ascii_end();
        start += end + 1;
        if line.is_empty() {
            body = Some(&bytes[start..]);
            break;
        }
        let text = String::from_utf8_lossy(line).to_ascii_lowercase();
        match text.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse::<usize>().ok(),
            Some(_) => {}
            // `Content-Length: 5` and then Lua: nothing that could be a header.
            None => return Some(Opening::Repl),
        }
    }
    let (Some(body), Some(length)) = (body, length) else {
        // Headers that never end, or without a length: DAP's codec says so.
        return (whole || body.is_some() || bytes.len() >= MOST_BYTES).then_some(Opening::Dap);
    };
    if body.len() >= length {
        let message: Option<Value> = serde_json::from_slice(&body[..length]).ok();
        let is_rpc = message.is_some_and(|message| message.get("jsonrpc").is_some());
        return Some(if is_rpc { Opening::Lsp } else { Opening::Dap });
    }
    if !whole && bytes.len() < MOST_BYTES {
        return None;
    }
    // Too long to wait for: as far as it can be seen.
    let text = String::from_utf8_lossy(body);
    Some(if text.contains("\"jsonrpc\"") { Opening::Lsp } else { Opening::Dap })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: Option<Opening>) {
        assert_eq!(opening(text, false), expected, "{:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn the_first_bytes_tell() {
        check(b"", None);
        check(b"p", Some(Opening::Repl));
        check(b"\n", Some(Opening::Repl));
        check(b"\xff\0\0\0\0\0\0\0\x01\x7f", Some(Opening::Jupyter));
        check(b"\x16\x03\x01", Some(Opening::Tls));
        check(b"\x16", None);
        check(b"GE", None);
        check(b"GET /", None);
        check(b"GET / HTTP/1.1\r\n", Some(Opening::Http));
        check(b"GET / HTTP/1.0\n", Some(Opening::Http));
        check(b"PRI * HTTP/2.0\r\n", Some(Opening::Http));
        check(b"GET = 1\n", Some(Opening::Repl));
        check(b"GETTER = 1", Some(Opening::Repl));
        check(b"POST 'HTTP/1.1'\n", Some(Opening::Repl));
    }

    #[test]
    fn frames_are_told_apart_by_their_message() {
        let frame = |body: &str| format!("Content-Length: {}\r\n\r\n{body}", body.len());
        check(b"con", None);
        check(b"cont = 1", Some(Opening::Repl));
        check(b"content-length", None);
        check(b"Content-Length: 20\r\n\r\n{", None);
        check(frame(r#"{"seq":1,"type":"request","command":"x"}"#).as_bytes(), Some(Opening::Dap));
        check(frame(r#"{"id":1,"jsonrpc":"2.0"}"#).as_bytes(), Some(Opening::Lsp));
        check(
            frame(r#"{"arguments":{"jsonrpc":1},"type":"request"}"#).as_bytes(),
            Some(Opening::Dap),
        );
        check(b"Content-Length: x\r\n\r\n{}", Some(Opening::Dap));
        check(b"Content-Length: 5\nprint(1)\n", Some(Opening::Repl));
        let mut long = b"Content-Length: 9000000\r\n\r\n{\"jsonrpc\":\"2.0\",".to_vec();
        check(&long, None);
        long.resize(MOST_BYTES, b' ');
        check(&long, Some(Opening::Lsp));
    }

    #[test]
    fn an_end_decides_too() {
        assert_eq!(opening(b"GET", true), Some(Opening::Repl));
        assert_eq!(opening(b"Content-Length: 3", true), Some(Opening::Dap));
        assert_eq!(opening(b"\x16", true), Some(Opening::Repl));
    }

    #[test]
    fn every_opening_is_decided_before_the_limit() {
        // Whatever comes, so many bytes are enough.
        let starts: [&[u8]; 6] =
            [b"GET ", b"Content-Length: 1", b"content-type: ", b"\x16", b"x", b"PATCH /"];
        for start in starts {
            for filler in [b'a', b' ', b'\r', 0, 0x80] {
                let mut bytes = start.to_vec();
                bytes.resize(MOST_BYTES, filler);
                assert!(opening(&bytes, false).is_some(), "{start:?} {filler}");
            }
        }
    }
}
