//! HTTP/1.1 and WebSocket: the kernel as monitors, scripts and browsers see it.
//!
//! hyper reads and writes, axum finds the handler, `guard` decides who may ask at
//! all, and `answer` makes a problem document of everything that goes wrong.
//!
//! The hard thing is to let nobody hold a connection for nothing. There is a
//! limit on the time for a request's head, for its body, and for each piece that
//! is written; and the connection ends with the kernel.

mod accept;
mod answer;
mod figures;
mod guard;
mod problem;
mod prometheus;
mod routes;
mod websocket;
mod wire;

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use self::{problem::Problem, wire::Wire};
use crate::kernel::{Client, Kernel};

/// How long a request's head may take, and a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes.
const LONGEST_HEAD: usize = 32 << 10;
/// How long the last answers may take when the kernel ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a client is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Whether only this machine can connect.
    pub loopback: bool,
    /// Names and addresses of this host that clients may use, beside those of
    /// the loopback interface.
    pub names: Vec<String>,
    /// Longest body and longest message accepted, in bytes.
    pub max_message: usize,
    /// How often a WebSocket's client is asked whether it is still there.
    pub ping: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            loopback: true,
            names: Vec::new(),
            max_message: 16 << 20,
            ping: Duration::from_secs(30),
        }
    }
}

/// What the requests of one connection share.
struct Connection {
    kernel: Kernel,
    peer: String,
    options: ServeOptions,
    /// Who speaks when the connection has become a WebSocket.
    websocket: Mutex<Option<Client>>,
}

impl Connection {
    fn take_websocket(&self) -> Option<Client> {
        self.websocket.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves one client until it disconnects, is idle for too long, or the kernel
/// ends.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Client,
    options: ServeOptions,
) {
    let ping = options.ping;
    let connection = Arc::new(Connection {
        kernel: client.kernel().clone(),
        peer: client.info().peer,
        options,
        websocket: Mutex::default(),
    });
    let Some((mut wire, rest)) = requests(Wire::new(stream), &client, &connection).await else {
        return;
    };
    // Whoever sees the end of the connection may count on its place; and a
    // WebSocket has a client of its own.
    drop(client);
    if let Some(speaker) = connection.take_websocket() {
        let most = connection.options.max_message;
        websocket::converse(wire, rest, speaker, most, ping).await;
        return;
    }
    if let Some(status) = wire.refused() {
        let bytes = Problem::new(status).with(refusal(status)).to_http();
        // Who sends nonsense may not wait for an answer.
        let _ = wire.last_words(&bytes).await;
    }
    wire.close().await;
}

/// Answers requests until there are no more, or the client wants a WebSocket;
/// gives back the connection and what has been read of it too much.
async fn requests<S>(
    wire: Wire<S>,
    client: &Client,
    connection: &Arc<Connection>,
) -> Option<(Wire<S>, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let connection = Arc::clone(connection);
        Box::pin(async move {
            Ok::<_, Infallible>(answer::answer(connection, request.map(Body::new)).await)
        })
    });
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(LONGEST_HEAD)
        .half_close(true)
        .serve_connection(TokioIo::new(wire), service);
    let ended = tokio::select! {
        result = poll_fn(|context| http.poll_without_shutdown(context)) => Some(result),
        () = end(client) => None,
    };
    let result = if let Some(result) = ended {
        result
    } else {
        Pin::new(&mut http).graceful_shutdown();
        let rest = poll_fn(|context| http.poll_without_shutdown(context));
        timeout(FAREWELL, rest).await.ok()?
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ends early");
    }
    let parts = http.into_parts();
    Some((parts.io.into_inner(), parts.read_buf))
}

/// Waits until the kernel lets go of its clients.
async fn end(client: &Client) {
    while client.next().await.is_some() {}
}

/// What to say about a request that hyper does not understand.
fn refusal(status: axum::http::StatusCode) -> &'static str {
    match status.as_u16() {
        431 => "the request's header fields are too many or too long",
        414 => "the request's address is too long",
        _ => "this is no HTTP/1.1 request",
    }
}
