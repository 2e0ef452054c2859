//! What waits for one client: replies and publications, in order, bounded in
//! bytes.
//!
//! A client that does not read must not eat the kernel's memory. Beyond
//! [`SOFT_LIMIT`] publications are dropped and counted, and the client is told
//! in their place; beyond [`HARD_LIMIT`] (replies are never dropped) the queue
//! closes and the client is disconnected.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::Notify;

use crate::kernel::message::{Message, Publication, PublicationBody};

/// Bytes that may wait before publications are dropped.
pub(crate) const SOFT_LIMIT: usize = 8 << 20;
/// Bytes that may wait before the client is disconnected.
pub(crate) const HARD_LIMIT: usize = 64 << 20;
/// What a message weighs beside its texts.
const BASE_WEIGHT: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<(usize, Message)>,
    bytes: usize,
    /// Dropped since the client was last told: publications, bytes.
    missing: (u64, u64),
    dropped: u64,
    sent: u64,
    closed: bool,
}

/// Figures of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueFigures {
    /// Messages that wait.
    pub depth: usize,
    /// Their size in bytes.
    pub bytes: usize,
    /// Publications dropped so far.
    pub dropped: u64,
    /// Messages taken so far.
    pub sent: u64,
}

impl Queue {
    /// Puts a message at the end; `false` if nobody will take it.
    pub(crate) fn push(&self, message: Message) -> bool {
        let weight = weight(&message);
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        let droppable = matches!(message, Message::Publication(_));
        if droppable && state.bytes + weight > SOFT_LIMIT {
            state.missing.0 += 1;
            state.missing.1 += weight as u64;
            state.dropped += 1;
            return true;
        }
        if state.bytes + weight > HARD_LIMIT {
            tracing::warn!("a client is disconnected: it does not read its answers");
            state.closed = true;
        } else {
            state.note_missing();
            state.bytes += weight;
            state.messages.push_back((weight, message));
        }
        drop(state);
        self.arrived.notify_one();
        true
    }

    /// The next message; `None` when the queue is closed and empty. One taker.
    pub(crate) async fn next(&self) -> Option<Message> {
        loop {
            if let Some(taken) = self.try_next() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// The next message if it is there: `None` if not, `Some(None)` at the end.
    #[allow(clippy::option_option)] // The end is another answer than nothing.
    pub(crate) fn try_next(&self) -> Option<Option<Message>> {
        let mut state = self.lock();
        if state.messages.is_empty() {
            state.note_missing();
        }
        if let Some((weight, message)) = state.messages.pop_front() {
            state.bytes -= weight;
            state.sent += 1;
            return Some(Some(message));
        }
        state.closed.then_some(None)
    }

    /// Takes no more; what waits can still be read.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn figures(&self) -> QueueFigures {
        let state = self.lock();
        QueueFigures {
            depth: state.messages.len(),
            bytes: state.bytes,
            dropped: state.dropped,
            sent: state.sent,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says what is missing, where it is missing.
    fn note_missing(&mut self) {
        let (count, bytes) = std::mem::take(&mut self.missing);
        if count > 0 {
            let body = PublicationBody::Dropped { count, bytes };
            let notice = Publication { parent_id: None, session: None, body };
            self.bytes += BASE_WEIGHT;
            self.messages.push_back((BASE_WEIGHT, Message::Publication(notice)));
        }
    }
}

/// Bytes that a message takes, roughly.
fn weight(message: &Message) -> usize {
    use crate::kernel::message::ReplyBody;
    BASE_WEIGHT
        + match message {
            Message::Publication(publication) => match &publication.body {
                PublicationBody::Stream { text, .. } | PublicationBody::Notice { text } => {
                    text.len()
                }
                PublicationBody::ExecuteInput { code, .. } => code.len(),
                PublicationBody::Stopped(stopped) => stopped.text.len(),
                _ => 0,
            },
            Message::Reply(reply) => match &reply.body {
                ReplyBody::ExecuteReply(executed) => {
                    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                    executed.values.iter().map(String::len).sum::<usize>()
                        + length(&executed.error)
                        + length(&executed.traceback)
                }
                ReplyBody::CommandReply { text } => text.len(),
                ReplyBody::CompleteReply { matches, .. } => {
                    matches.iter().map(|it| it.text.len() + BASE_WEIGHT).sum()
                }
                ReplyBody::StatusReply(value) => value.to_string().len(),
                _ => 0,
            },
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::message::{Reply, ReplyBody, StreamName};

    fn output(length: usize) -> Message {
        Message::Publication(Publication {
            parent_id: None,
            session: None,
            body: PublicationBody::Stream { name: StreamName::Stdout, text: "x".repeat(length) },
        })
    }

    fn reply(length: usize) -> Message {
        Message::Reply(Reply {
            parent_id: String::new(),
            session: None,
            body: ReplyBody::CommandReply { text: "x".repeat(length) },
        })
    }

    #[test]
    fn what_is_dropped_is_counted_and_told_where_it_is_missing() {
        let queue = Queue::default();
        assert!(queue.push(output(SOFT_LIMIT - BASE_WEIGHT)));
        assert!(queue.push(output(1)));
        assert!(queue.push(output(1)));
        assert_eq!(queue.figures().dropped, 2);
        assert!(queue.push(reply(1)), "replies still come");
        let next = || queue.try_next().flatten();
        assert_eq!(next(), Some(output(SOFT_LIMIT - BASE_WEIGHT)));
        let Some(Message::Publication(notice)) = next() else { panic!("no notice") };
        let bytes = 2 * (BASE_WEIGHT as u64 + 1);
        assert_eq!(notice.body, PublicationBody::Dropped { count: 2, bytes });
        assert_eq!(next(), Some(reply(1)));
        assert_eq!(queue.try_next(), None);
        assert_eq!(queue.figures().bytes, 0);
    }

    #[test]
    fn a_client_that_never_reads_is_disconnected() {
        let queue = Queue::default();
        while queue.push(reply(1 << 20)) {
            assert!(queue.figures().bytes <= HARD_LIMIT);
        }
        assert!(!queue.push(output(1)));
    }

    #[test]
    fn a_closed_queue_can_be_read_to_its_end() {
        let queue = Queue::default();
        queue.push(reply(1));
        queue.close();
        assert_eq!(queue.try_next(), Some(Some(reply(1))));
        assert_eq!(queue.try_next(), Some(None));
    }
}
