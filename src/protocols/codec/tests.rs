//! Framing tests: good frames in any portion, bad frames, and pure noise.

use serde_json::json;

use super::*;

fn frame(body: &str) -> String {
    format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Feeds `input` in portions of `portion` bytes; the text of what came out.
fn decode(input: &[u8], portion: usize, max_message: usize) -> Vec<String> {
    let mut codec = ContentLengthCodec::new(max_message);
    let mut buffer = BytesMut::new();
    let mut seen = Vec::new();
    for piece in input.chunks(portion) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(Ok(message))) => seen.push(message.to_string()),
                Ok(Some(Err(malformed))) => seen.push(malformed.to_string()),
                Ok(None) => break,
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
    }
    seen
}

fn check(input: &str, expected: &[&str]) {
    for portion in [1, 2, 3, 7, input.len().max(1)] {
        assert_eq!(decode(input.as_bytes(), portion, 100), expected, "in portions of {portion}");
    }
}

#[test]
fn frames_in_any_portion() {
    check("", &[]);
    check(&frame("{}"), &["{}"]);
    check(
        &(frame("{\"a\":\"ü\"}") + &frame("[1]") + &frame("null")),
        &["{\"a\":\"ü\"}", "[1]", "null"],
    );
}

#[test]
fn headers_are_read_generously() {
    check("content-length:2\r\n\r\n{}", &["{}"]);
    check("CONTENT-LENGTH:   2  \r\n\r\n{}", &["{}"]);
    check("Content-Type: application/json; x\r\nContent-Length: 2\r\nX-Y: z\r\n\r\n{}", &["{}"]);
    check("Content-Length: 2\n\n{}", &["{}"]);
    // Some adapters send a line break behind the body.
    check("Content-Length: 2\r\n\r\n{}\r\nContent-Length: 2\r\n\r\n[]", &["{}", "[]"]);
}

#[test]
fn bad_bodies_leave_the_stream_in_step() {
    check(
        &(frame("{\"a\":") + &frame("{}")),
        &["message is not JSON: EOF while parsing a value at line 1 column 5", "{}"],
    );
    check(
        &(frame("") + &frame("{}")),
        &["message is not JSON: EOF while parsing a value at line 1 column 0", "{}"],
    );
    check(
        &(frame(&"x".repeat(101)) + &frame("{}")),
        &["message of 101 bytes is over the limit of 100", "{}"],
    );
    let mut input = frame("abc").into_bytes();
    let end = input.len();
    input[end - 3..].copy_from_slice(&[0xff, 0xfe, 0]);
    input.extend_from_slice(frame("1").as_bytes());
    let seen = decode(&input, 1, 100);
    assert!(seen[0].starts_with("message is not JSON"), "{seen:?}");
    assert_eq!(seen[1], "1");
}

#[test]
fn deep_nesting_is_refused_not_overflowed() {
    let depth = 1_000_000;
    let seen = decode(frame(&"[".repeat(depth)).as_bytes(), depth, usize::MAX);
    assert!(seen[0].contains("recursion limit"), "{seen:?}");
}

#[test]
fn bad_headers_are_fatal() {
    check("GET / HTTP/1.1\r\n\r\n", &["bad message header: no colon: 'GET / HTTP/1.1'"]);
    check(
        "Content-Length: -1\r\n\r\n",
        &["bad message header: not a length: 'Content-Length: -1'"],
    );
    check("X: y\r\n\r\n{}", &["bad message header: no Content-Length"]);
    check(": 2\r\n\r\n{}", &["bad message header: not a header name: ': 2'"]);
    check(
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        &["bad message header: a second, different length: 'Content-Length: 3'"],
    );
    let endless = "x".repeat(MAX_HEADER + 1);
    check(&endless, &["bad message header: longer than 8192 bytes"]);
    check(&"A: b\r\n".repeat(MAX_HEADER / 6 + 1), &["bad message header: longer than 8192 bytes"]);
}

#[test]
fn oversized_bodies_are_not_stored() {
    let mut codec = ContentLengthCodec::new(10);
    let mut buffer = BytesMut::from("Content-Length: 1000000000000\r\n\r\n");
    assert!(matches!(codec.decode(&mut buffer), Ok(Some(Err(Malformed::TooLarge { .. })))));
    for _ in 0..1000 {
        buffer.extend_from_slice(&[b'x'; 1000]);
        assert!(matches!(codec.decode(&mut buffer), Ok(None)));
        assert!(buffer.is_empty());
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let message = json!({ "seq": 1, "text": "\u{1f40c}\r\n" });
    let mut codec = ContentLengthCodec::new(DEFAULT_MAX_MESSAGE);
    let mut buffer = BytesMut::new();
    codec.encode(message.to_string().as_bytes(), &mut buffer).unwrap();
    assert!(buffer.ends_with(b"}"), "no line break behind the body");
    assert_eq!(codec.decode(&mut buffer).unwrap(), Some(Ok(message)));
    assert!(buffer.is_empty());
}

/// A small xorshift generator: the noise is the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("is below a usize")
    }
}

#[test]
fn noise_never_panics_and_portions_never_matter() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let scraps: [&[u8]; 10] = [
        b"Content-Length: ",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"{}",
        b":",
        b"2",
        b"99999999999999999999",
        b"\xff\0",
        b"{\"a\":1}",
    ];
    for case in 0..12_000 {
        let mut input = Vec::new();
        for _ in 0..noise.below(12) {
            if noise.below(4) == 0 {
                input.push(u8::try_from(noise.below(256)).expect("is below 256"));
            } else {
                input.extend_from_slice(scraps[noise.below(scraps.len())]);
            }
        }
        let whole = decode(&input, input.len().max(1), 50);
        let portion = 1 + noise.below(5);
        assert_eq!(decode(&input, portion, 50), whole, "case {case}: {}", input.escape_ascii());
    }
}

#[tokio::test]
async fn a_stream_cut_in_a_message_ends_quietly() {
    let input = frame("{}") + "Content-Length: 5\r\n\r\n{";
    let mut reader = MessageReader::new(input.as_bytes(), 100);
    assert_eq!(reader.next().await.unwrap(), Some(Ok(json!({}))));
    assert_eq!(reader.next().await.unwrap(), None);
}
