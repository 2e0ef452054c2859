//! WebSocket: the kernel's own messages, one in each text frame.
//!
//! Reading and writing go on side by side: a client that is slow to read can
//! still interrupt what it has started. Nothing is kept for it here beyond the
//! frame that is being written; what waits, waits in the client's queue in the
//! kernel, which is bounded.

use std::{
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension,
    body::Bytes,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, interval_at, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message as Frame,
        error::{CapacityError, ProtocolError},
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{Connection, problem::Problem, wire::Wire};
use crate::kernel::{Client, Phase, clients::Protocol, message, metrics::Traffic};

/// Where it is.
pub(super) const PATH: &str = "/ws";

/// Pings that may go without any sign of life.
const MOST_MISSED: u32 = 4;
/// How long the last frame may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes read at a time; there is such a buffer for each client.
const READ_BUFFER: usize = 8 << 10;

type Socket<S> = WebSocketStream<Wire<S>>;

/// Lets a connection become a WebSocket, with a client of its own in the kernel.
pub(super) async fn upgrade(
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
) -> Result<Response, Problem> {
    let key = key(&request)?;
    let client = connection
        .kernel
        .connect(Protocol::WebSocket, &connection.peer)
        .map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE).with(why))?;
    *connection.websocket.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    let fields = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, fields).into_response())
}

/// Checks the opening handshake (RFC 6455, 4.2.1); its key.
fn key(request: &Request) -> Result<HeaderValue, Problem> {
    let headers = request.headers();
    let wants_upgrade = lists(headers, &header::CONNECTION, "upgrade")
        && lists(headers, &header::UPGRADE, "websocket");
    if !wants_upgrade || request.version() != Version::HTTP_11 {
        let problem = Problem::new(StatusCode::UPGRADE_REQUIRED)
            .with("this is a WebSocket: connect to it as ws://HOST:PORT/ws");
        return Err(problem.header(header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != "13") {
        let problem = Problem::new(StatusCode::UPGRADE_REQUIRED)
            .with("this is a WebSocket of version 13, and no other");
        let version = HeaderValue::from_static("13");
        return Err(problem.header(header::SEC_WEBSOCKET_VERSION, version));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    // Sixteen bytes in base64.
    let is_key = |key: &&HeaderValue| key.len() == 24 && key.as_bytes().ends_with(b"==");
    let missing = || Problem::bad_request("the Sec-WebSocket-Key header field is missing or wrong");
    key.filter(is_key).cloned().ok_or_else(missing)
}

/// Whether a header field lists a word.
fn lists(headers: &HeaderMap, name: &header::HeaderName, word: &str) -> bool {
    let fields = headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|it| it.trim().eq_ignore_ascii_case(word))
}

/// How a conversation ends.
enum Ending {
    /// We end it, with a code and a reason.
    Ours(CloseCode, &'static str),
    /// The client has ended it.
    Theirs,
    /// The connection is broken, or nobody is there.
    Gone,
}

/// Passes messages both ways until one side has enough. `rest` is what has been
/// read of the connection already.
pub(super) async fn converse<S>(
    wire: Wire<S>,
    rest: Bytes,
    client: Client,
    max_message: usize,
    ping: Duration,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(READ_BUFFER);
    let rest = rest.to_vec();
    let socket = WebSocketStream::from_partially_read(wire, rest, Role::Server, Some(config)).await;
    let kernel = client.kernel().clone();
    let traffic = kernel.metrics().traffic(Protocol::WebSocket);
    let _open = traffic.opened();
    let (mut sink, mut source) = socket.split();
    // Pings since the client was last heard of.
    let missed = AtomicU32::new(0);
    let ending = tokio::select! {
        ending = read(&mut source, &client, traffic, &missed) => ending,
        ending = write(&mut sink, &client, traffic, &missed, ping) => ending,
    };
    let last = match ending {
        Ending::Ours(code, reason) => {
            tracing::debug!(client = client.id(), reason, "a WebSocket is closed");
            Some(Frame::Close(Some(CloseFrame { code, reason: reason.into() })))
        }
        Ending::Theirs => None,
        Ending::Gone => {
            traffic.errors.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    // Whoever sees the end may count on its place.
    drop(client);
    let farewell = async {
        match last {
            Some(frame) => sink.send(frame).await,
            // The answer to a close is ready, and goes out with this.
            None => sink.flush().await,
        }
    };
    if !matches!(timeout(FAREWELL, farewell).await, Ok(Ok(()) | Err(Error::ConnectionClosed))) {
        return;
    }
    if let Ok(socket) = sink.reunite(source) {
        socket.into_inner().close().await;
    }
}

/// Takes requests, until the client has no more or sends what is none.
async fn read<S>(
    source: &mut SplitStream<Socket<S>>,
    client: &Client,
    traffic: &Traffic,
    missed: &AtomicU32,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let frame = match source.next().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return fault(&error),
            None => return Ending::Theirs,
        };
        missed.store(0, Ordering::Relaxed);
        traffic.bytes_in.fetch_add(frame.len() as u64, Ordering::Relaxed);
        match frame {
            Frame::Text(text) => match request(text.as_str()) {
                Ok(request) => {
                    client.send(request);
                }
                Err(refused) => client.reject(&refused.msg_id, refused.to_string()),
            },
            Frame::Binary(_) => {
                return Ending::Ours(CloseCode::Unsupported, "messages are text frames");
            }
            Frame::Close(_) => return Ending::Theirs,
            // Pings are answered below us.
            Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => {}
        }
    }
}

/// Sends what there is for the client, one frame after the other.
async fn write<S>(
    sink: &mut SplitSink<Socket<S>, Frame>,
    client: &Client,
    traffic: &Traffic,
    missed: &AtomicU32,
    ping: Duration,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = interval_at(Instant::now() + ping, ping);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let frame = tokio::select! {
            message = client.next() => match message {
                Some(message) => match serde_json::to_string(&message) {
                    Ok(text) => Frame::text(text),
                    Err(error) => {
                        tracing::error!(%error, "a message cannot be written");
                        continue;
                    }
                },
                None if *client.kernel().phase().borrow() == Phase::Draining => {
                    return Ending::Ours(CloseCode::Away, "the kernel is shutting down");
                }
                None => {
                    let reason = "the client does not read its answers";
                    return Ending::Ours(CloseCode::Policy, reason);
                }
            },
            _ = pings.tick() => {
                if missed.fetch_add(1, Ordering::Relaxed) >= MOST_MISSED {
                    tracing::debug!(client = client.id(), "a WebSocket's client has vanished");
                    return Ending::Gone;
                }
                Frame::Ping(Bytes::new())
            }
        };
        let length = frame.len() as u64;
        if let Err(error) = sink.send(frame).await {
            return match error {
                Error::ConnectionClosed | Error::Protocol(ProtocolError::SendAfterClosing) => {
                    Ending::Theirs
                }
                _ => Ending::Gone,
            };
        }
        traffic.bytes_out.fetch_add(length, Ordering::Relaxed);
    }
}

/// What follows from something that cannot be read.
fn fault(error: &Error) -> Ending {
    tracing::debug!(%error, "a WebSocket cannot be read");
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ending::Theirs,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Ending::Ours(
            CloseCode::Size,
            "the message is longer than kernel.limits.max_message_size_mb",
        ),
        Error::Utf8(_) => Ending::Ours(CloseCode::Invalid, "text frames are UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::Io(_) => Ending::Gone,
        _ => Ending::Ours(CloseCode::Protocol, "this is no WebSocket frame"),
    }
}

/// What was sent in place of a request.
struct Refused {
    /// Its message id, if it can be told.
    msg_id: String,
    why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is no request: {}", self.why)
    }
}

fn request(text: &str) -> Result<message::Request, Refused> {
    let refused = |msg_id: &str, why: String| Refused { msg_id: msg_id.to_owned(), why };
    let mut members: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| refused("", error.to_string()))?;
    let msg_id = members.get("msg_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    // Many requests have nothing to say in it.
    members.entry("content").or_insert_with(|| Value::Object(Map::new()));
    message::Request::deserialize(Value::Object(members))
        .map_err(|error| refused(&msg_id, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_request_is_refused_by_name() {
        let check = |text: &str, msg_id: &str, words: &str| {
            let refused = request(text).unwrap_err();
            assert_eq!(refused.msg_id, msg_id, "{text}");
            assert!(refused.to_string().contains(words), "{text}: {refused}");
        };
        check("", "", "EOF");
        check("[]", "", "map");
        check(r#"{"msg_id":"m"}"#, "m", "`type`");
        check(r#"{"msg_id":"m","type":"fly_request"}"#, "m", "`fly_request`");
        check(r#"{"msg_id":"m","type":"status_request","extra":1}"#, "m", "`extra`");
        check(r#"{"msg_id":"m","type":"status_request","content":{"extra":1}}"#, "m", "`extra`");
        check(r#"{"msg_id":"m","type":"execute_request"}"#, "m", "`code`");
        check(
            r#"{"msg_id":"m","type":"execute_request","content":{"code":"x","cod":1}}"#,
            "m",
            "`cod`",
        );
        check(r#"{"msg_id":7,"type":"status_request"}"#, "", "string");
        assert!(request(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn requests_may_leave_out_what_is_empty() {
        for text in [
            r#"{"type":"status_request"}"#,
            r#"{"type":"interrupt_request","content":{}}"#,
            r#"{"type":"execute_request","content":{"code":"1"},"msg_id":"m","session":"main"}"#,
        ] {
            assert!(request(text).is_ok(), "{text}");
        }
    }
}
