//! The queue between everybody who speaks to a client and its one writer.
//!
//! Two rules live here. A response goes out before the events that its request
//! caused, although those may come from the Lua thread a microsecond earlier:
//! while a [`Hold`] exists, events wait. And a client that does not read cannot
//! eat the memory: output beyond the limit is dropped, counted and reported;
//! nothing else is ever dropped.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dapts::{OutputEvent, OutputEventCategory, event};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
};
use tokio_util::{bytes::BytesMut, codec::Encoder};

use crate::protocols::{codec::ContentLengthCodec, dap::message::Message};

/// How many bytes of messages may wait before output is dropped.
const QUEUE_LIMIT: usize = 8 * 1024 * 1024;

/// How many bytes may wait before no more requests are read.
const BACKPRESSURE_LIMIT: usize = 64 * 1024 * 1024;

/// How much is handed to the transport at once.
const BATCH: usize = 64 * 1024;

/// The queue of one client. Cheap to clone; never blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when there is something to write, or nothing more to come.
    writable: Notify,
    /// Told when the queue has become shorter.
    shrunk: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Message>,
    /// Sum of the lengths of `queue` and `held_back`.
    bytes: usize,
    /// Number of living [`Hold`]s.
    holds: usize,
    /// Events that wait for the last hold to go.
    held_back: Vec<Message>,
    /// Bytes of output dropped since the client was last told.
    dropped: usize,
    closed: bool,
}

/// Keeps events back until the response has been queued.
#[derive(Debug)]
pub(super) struct Hold(Outgoing);

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.holds -= 1;
        if state.holds == 0 {
            let events = std::mem::take(&mut state.held_back);
            state.queue.extend(events);
        }
        drop(state);
        self.0.0.writable.notify_one();
    }
}

impl Outgoing {
    /// Keeps events back as long as the result lives.
    pub(super) fn hold(&self) -> Hold {
        self.lock().holds += 1;
        Hold(self.clone())
    }

    /// Queues a response.
    pub(super) fn respond(&self, message: Message) {
        let mut state = self.lock();
        state.bytes += message.len();
        state.queue.push_back(message);
        drop(state);
        self.0.writable.notify_one();
    }

    /// Queues an event.
    pub(super) fn event(&self, message: Message) {
        let mut state = self.lock();
        state.bytes += message.len();
        if state.holds > 0 {
            state.held_back.push(message);
        } else {
            state.queue.push_back(message);
        }
        drop(state);
        self.0.writable.notify_one();
    }

    /// Queues an output event that stands for `n_bytes` of output, or drops it
    /// if the client is too far behind.
    ///
    /// Once something has been dropped everything is, until the client has been
    /// told: a hole in the output is where the notice is.
    pub(super) fn output(&self, message: Message, n_bytes: usize) {
        let mut state = self.lock();
        let full = state.bytes > 0 && state.bytes + message.len() > QUEUE_LIMIT;
        if full || state.dropped > 0 {
            state.dropped += n_bytes;
            return;
        }
        drop(state);
        self.event(message);
    }

    /// Ends [`Outgoing::write_to`] once everything queued has been written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.0.writable.notify_one();
    }

    /// Waits until the client has read enough to be asked for more.
    pub(super) async fn room(&self) {
        while self.lock().bytes > BACKPRESSURE_LIMIT {
            self.0.shrunk.notified().await;
        }
    }

    /// Writes the queue to `target` as it fills; ends after [`Outgoing::close`].
    ///
    /// There must be only one: it owns the numbering.
    pub(super) async fn write_to(&self, mut target: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut codec = ContentLengthCodec::new(usize::MAX);
        let mut batch = BytesMut::new();
        let mut seq = 0;
        loop {
            while let Some(message) = self.pop(batch.len()) {
                seq += 1;
                codec.encode(message.numbered(seq).as_bytes(), &mut batch)?;
            }
            if !batch.is_empty() {
                target.write_all(&batch).await?;
                target.flush().await?;
                batch.clear();
                continue;
            }
            if self.lock().closed {
                return Ok(());
            }
            self.0.writable.notified().await;
        }
    }

    /// Takes the next message unless the batch is full.
    fn pop(&self, batched: usize) -> Option<Message> {
        if batched >= BATCH {
            return None;
        }
        let mut state = self.lock();
        let message = state.queue.pop_front();
        if let Some(message) = &message {
            state.bytes -= message.len();
            self.0.shrunk.notify_one();
        }
        if state.dropped > 0 && state.bytes <= QUEUE_LIMIT / 2 {
            let notice = dropped_notice(std::mem::take(&mut state.dropped));
            state.bytes += notice.len();
            state.queue.push_back(notice);
        }
        message.or_else(|| {
            let notice = state.queue.pop_front()?;
            state.bytes -= notice.len();
            Some(notice)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dropped_notice(n_bytes: usize) -> Message {
    Message::event::<event::Output>(&OutputEvent {
        category: Some(OutputEventCategory::Console),
        output: format!("[{n_bytes} bytes of output were dropped: the client did not read]\n"),
        ..OutputEvent::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::protocols::codec::MessageReader;

    fn event(name: &str) -> Message {
        Message::raw_event(name, Value::Null)
    }

    /// Everything that is on the wire once the queue has been closed.
    async fn wire(outgoing: &Outgoing) -> Vec<Value> {
        let (ours, theirs) = tokio::io::duplex(usize::MAX >> 8);
        outgoing.close();
        outgoing.write_to(ours).await.unwrap();
        let mut reader = MessageReader::new(theirs, usize::MAX);
        let mut messages = Vec::new();
        while let Some(message) = reader.next().await.unwrap() {
            messages.push(message.unwrap());
        }
        messages
    }

    #[tokio::test]
    async fn responses_precede_the_events_they_cause() {
        let outgoing = Outgoing::default();
        let outer = outgoing.hold();
        let inner = outgoing.hold();
        outgoing.event(event("stopped"));
        outgoing.respond(Message::response(1, "next", Ok(Value::Null)));
        drop(inner);
        outgoing.event(event("output"));
        outgoing.respond(Message::response(2, "pause", Ok(Value::Null)));
        drop(outer);
        outgoing.event(event("last"));
        let order: Vec<Value> = wire(&outgoing)
            .await
            .into_iter()
            .map(|message| json!([message["seq"], message["command"], message["event"]]))
            .collect();
        assert_eq!(
            order,
            [
                json!([1, "next", null]),
                json!([2, "pause", null]),
                json!([3, null, "stopped"]),
                json!([4, null, "output"]),
                json!([5, null, "last"]),
            ]
        );
    }

    #[tokio::test]
    async fn output_is_dropped_and_counted_while_nobody_reads() {
        let outgoing = Outgoing::default();
        let text = "x".repeat(1024 * 1024);
        for _ in 0..20 {
            outgoing.output(Message::raw_event("output", json!({ "output": text })), text.len());
        }
        outgoing.event(event("stopped"));
        let messages = wire(&outgoing).await;
        // Seven of a little over a MiB fit into eight.
        assert_eq!(messages.len(), 7 + 1 + 1);
        assert_eq!(messages[7]["event"], "stopped");
        assert_eq!(
            messages[8]["body"]["output"],
            format!("[{} bytes of output were dropped: the client did not read]\n", 13 << 20)
        );
        assert_eq!(messages[8]["seq"], 9);
    }

    #[tokio::test]
    async fn one_huge_piece_is_let_through() {
        let outgoing = Outgoing::default();
        let text = "x".repeat(2 * QUEUE_LIMIT);
        outgoing.output(Message::raw_event("output", json!({ "output": text })), text.len());
        assert_eq!(wire(&outgoing).await.len(), 1);
    }

    #[tokio::test]
    async fn the_notice_comes_as_soon_as_the_client_reads() {
        let outgoing = Outgoing::default();
        let text = "x".repeat(QUEUE_LIMIT / 2);
        for _ in 0..3 {
            outgoing.output(Message::raw_event("output", json!({ "output": text })), text.len());
        }
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let writer = outgoing.clone();
        let writing = tokio::spawn(async move { writer.write_to(ours).await });
        let mut seen = Vec::new();
        while !seen.ends_with(b"not read]\\n\"},\"event\":\"output\",\"type\":\"event\"}") {
            assert!(theirs.read_buf(&mut seen).await.unwrap() > 0);
        }
        outgoing.close();
        writing.await.unwrap().unwrap();
    }
}
