//! The Debug Adapter Protocol: a door to the debug core, over TCP or any other
//! byte stream, and an adapter over stdio.
//!
//! bytes → [`codec`](super::codec) → `message` → `session` (the dispatcher) →
//! `handlers` → the core; and back through `outgoing`, whose one writer numbers
//! the messages.
//!
//! The hard thing is order. Three rules:
//!
//! 1. *The connection's task never waits for Lua.* `pause`, `cancel`,
//!    `disconnect`, `terminate`, breakpoints, `threads` and the like are
//!    answered at once, whatever the script does.
//! 2. *Requests that need the Lua thread, and those that let the program go on,
//!    pass through one ordered lane* (`lane`). Their answers come in the order
//!    of the requests: a `next` sent behind an `evaluate` runs when that has
//!    been answered. It does not wait for ever: what keeps a `continue` or a
//!    step waiting for more than half a second is cancelled and answers so.
//! 3. *A response precedes the events that its request causes* (`outgoing`):
//!    the `stopped` of a step never overtakes the answer to the step.
//!
//! One task drives reader, lane and writer, and nothing is spawned: when a
//! connection ends, all of it ends.

mod capabilities;
mod client;
mod convert;
mod events;
mod handlers;
mod lane;
mod message;
mod outgoing;
mod paths;
mod position;
mod server;
mod session;

pub mod adapter;

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

pub use self::server::{Server, listen};
use self::{
    lane::{EventsCell, Lane},
    outgoing::Outgoing,
    session::Session,
};
use super::codec::{DEFAULT_MAX_MESSAGE, MessageReader};
use crate::debug::Control;

/// The one thread that a Lua program has for the protocol.
const THREAD: u64 = 1;

/// How long the last words of a connection may take to be read.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a client is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Longest message accepted, in bytes.
    pub max_message: usize,
    /// Where the client is, for messages: `127.0.0.1:40000`, `stdio`.
    pub peer: String,
    /// Whether the script ends when its debugger vanishes without a word, as it
    /// must when an adapter has started it that was killed.
    pub end_with_client: bool,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { max_message: DEFAULT_MAX_MESSAGE, peer: "stdio".to_owned(), end_with_client: false }
    }
}

/// Serves one client until it disconnects or vanishes.
///
/// Afterwards nothing of it is left: its breakpoints are dropped, and the
/// script goes on unless the client asked for something else.
pub async fn serve(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    control: Control,
    options: ServeOptions,
) {
    let outgoing = Outgoing::default();
    let lane = Arc::new(Lane::default());
    let events = Arc::new(EventsCell::new());
    let mut reader = MessageReader::new(input, options.max_message);
    let mut session = Session::new(
        control.clone(),
        options,
        outgoing.clone(),
        Arc::clone(&lane),
        Arc::clone(&events),
    );
    let mut writing = std::pin::pin!(outgoing.write_to(output));
    let gone = tokio::select! {
        () = session.read(&mut reader) => false,
        () = lane.run(&control, &outgoing, &events) => false,
        result = &mut writing => {
            tracing::debug!(?result, "the client does not read any more");
            true
        }
    };
    drop(session);
    outgoing.close();
    if !gone && timeout(FAREWELL, writing).await.is_err() {
        tracing::debug!("the client has not read the last messages");
    }
}
