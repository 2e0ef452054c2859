//! Who is connected. Every connection is a client with an id, whatever it
//! speaks; those that speak the kernel's own messages have a queue that is read.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use serde::Serialize;

use crate::{
    debug::Pilot,
    kernel::{
        message::{MAIN_SESSION, Message, Publication, PublicationBody, Subscription},
        queue::{Queue, QueueFigures},
        time::rfc3339,
    },
};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Lines of Lua.
    Repl,
    /// The Debug Adapter Protocol.
    Dap,
    /// HTTP.
    Http,
    /// The kernel's messages in WebSocket frames.
    WebSocket,
    /// The kernel's messages, inside its own process.
    Local,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Repl, Self::Dap, Self::Http, Self::WebSocket, Self::Local];

    /// Its name in options, files and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Repl => "repl",
            Self::Dap => "dap",
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Local => "local",
        }
    }

    /// Whether its clients take [`Message`]s.
    fn takes_messages(self) -> bool {
        matches!(self, Self::Repl | Self::WebSocket | Self::Local)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A client as others see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientInfo {
    /// Its id.
    pub id: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it is.
    pub peer: String,
    /// When it came, RFC 3339.
    pub connected_at: String,
    /// The session it uses.
    pub session: String,
    /// How many cells it has run.
    pub execution_count: u64,
    /// Message ids of its requests that are not answered yet.
    pub in_flight: Vec<String>,
    /// Topics it has subscribed to.
    pub subscriptions: Vec<String>,
    /// Sessions whose program stops for it.
    pub debugs: Vec<String>,
    /// What waits for it.
    #[serde(flatten)]
    pub queue: QueueFigures,
}

/// One client's state.
pub(super) struct ClientState {
    pub(super) id: String,
    pub(super) protocol: Protocol,
    pub(super) queue: Queue,
    pub(super) inner: Mutex<Inner>,
    peer: String,
    connected: SystemTime,
    messages: AtomicU64,
}

/// What changes of a client.
pub(super) struct Inner {
    pub(super) session: String,
    pub(super) subscription: Option<Subscription>,
    pub(super) in_flight: Vec<String>,
    pub(super) execution_count: u64,
    /// By session.
    pub(super) pilots: HashMap<String, Pilot>,
}

impl ClientState {
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is still there.
    pub(super) fn is_connected(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Tells it alone; whether it can be told.
    pub(super) fn tell(&self, publication: &Publication) -> bool {
        self.protocol.takes_messages() && self.queue.push(Message::Publication(publication.clone()))
    }

    /// A new message id.
    pub(super) fn next_message_id(&self) -> String {
        format!("{}-{}", self.id, self.messages.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether a publication that others have caused concerns it.
    fn wants(&self, publication: &Publication) -> bool {
        if !self.protocol.takes_messages() {
            return false;
        }
        let inner = self.inner();
        let session = publication.session.as_ref();
        match &publication.body {
            PublicationBody::Notice { .. } | PublicationBody::Shutdown {} => return true,
            PublicationBody::Stopped(_) | PublicationBody::Resumed {}
                if session.is_some_and(|it| inner.pilots.contains_key(it)) =>
            {
                return true;
            }
            _ => {}
        }
        let Some(subscription) = &inner.subscription else { return false };
        let topic = publication.body.topic();
        let has_topic = subscription.topics.iter().any(|it| it == "*" || it == topic);
        let sessions = subscription.sessions.as_ref();
        has_topic && sessions.is_none_or(|names| session.is_none_or(|it| names.contains(it)))
    }

    pub(super) fn info(&self) -> ClientInfo {
        let inner = self.inner();
        let topics = inner.subscription.as_ref().map(|it| it.topics.clone());
        let mut debugs: Vec<_> = inner.pilots.keys().cloned().collect();
        debugs.sort();
        ClientInfo {
            id: self.id.clone(),
            protocol: self.protocol,
            peer: self.peer.clone(),
            connected_at: rfc3339(self.connected),
            session: inner.session.clone(),
            execution_count: inner.execution_count,
            in_flight: inner.in_flight.clone(),
            subscriptions: topics.unwrap_or_default(),
            debugs,
            queue: self.queue.figures(),
        }
    }
}

/// All clients, by number.
#[derive(Default)]
pub(super) struct Clients {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_number: BTreeMap<u64, Arc<ClientState>>,
    last: u64,
    /// Publications that clients missed which have gone.
    dropped: u64,
}

impl Clients {
    /// Adds a client; `None` if there are `most` of its kind already. Those that
    /// speak HTTP are counted apart, so that a full kernel can still be looked at.
    pub(super) fn add(
        &self,
        protocol: Protocol,
        peer: &str,
        most: usize,
    ) -> Option<(u64, Arc<ClientState>)> {
        let mut state = self.lock();
        let is_http = protocol == Protocol::Http;
        let alike = |it: &&Arc<ClientState>| (it.protocol == Protocol::Http) == is_http;
        if state.by_number.values().filter(alike).count() >= most {
            return None;
        }
        state.last += 1;
        let number = state.last;
        let client = Arc::new(ClientState {
            id: format!("c{number}"),
            protocol,
            queue: Queue::default(),
            inner: Mutex::new(Inner {
                session: MAIN_SESSION.to_owned(),
                subscription: None,
                in_flight: Vec::new(),
                execution_count: 0,
                pilots: HashMap::new(),
            }),
            peer: peer.to_owned(),
            connected: SystemTime::now(),
            messages: AtomicU64::new(0),
        });
        state.by_number.insert(number, Arc::clone(&client));
        Some((number, client))
    }

    pub(super) fn remove(&self, number: u64) {
        let mut state = self.lock();
        if let Some(client) = state.by_number.remove(&number) {
            state.dropped += client.queue.figures().dropped;
        }
    }

    /// Publications that clients have missed, those that have gone included.
    pub(super) fn dropped(&self) -> u64 {
        let state = self.lock();
        let of = |client: &Arc<ClientState>| client.queue.figures().dropped;
        state.dropped + state.by_number.values().map(of).sum::<u64>()
    }

    /// All of them, in the order in which they came.
    pub(super) fn all(&self) -> Vec<Arc<ClientState>> {
        self.lock().by_number.values().cloned().collect()
    }

    /// Passes a publication to whom it concerns; how many were told.
    pub(super) fn publish(
        &self,
        publication: &Publication,
        asker: Option<&Arc<ClientState>>,
    ) -> usize {
        let is_asker =
            |client: &Arc<ClientState>| asker.is_some_and(|asker| Arc::ptr_eq(asker, client));
        let mut told = 0;
        for client in self.all() {
            let concerned = is_asker(&client) && client.protocol.takes_messages();
            if concerned || client.wants(publication) {
                told += usize::from(client.queue.push(Message::Publication(publication.clone())));
            }
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
