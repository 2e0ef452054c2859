//! The kernel: clients, sessions, and everything that passes between them.
//!
//! Protocols are doors to it: each makes a [`Client`] for a connection, sends
//! [`message::Request`]s and takes [`message::Message`]s, all in one ordered
//! stream. The kernel itself opens no port and knows no wire.

pub mod clients;
pub mod connection_file;
mod console;
pub mod daemon;
pub mod dialog;
mod dispatch;
pub mod door;
pub mod events;
pub mod log_file;
pub mod message;
pub mod metrics;
pub mod pid_file;
pub mod places;
pub mod ports;
pub mod process;
mod queue;
mod sessions;
pub mod signals;
mod status;
pub mod time;
pub mod traces;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

pub(crate) use queue::Queue;
pub use queue::QueueFigures;
pub use sessions::Limits;
pub use status::{Endpoint, RuntimeFigures};

/// The version of Lua that runs here.
pub const LUA_VERSION: &str = crate::lua::VERSION;

use self::{
    clients::{ClientInfo, ClientState, Clients, Protocol},
    events::{Event, EventQuery, Events, Origin},
    message::{
        MAIN_SESSION, Message, Publication, PublicationBody, Reply, ReplyBody, Request, SessionInfo,
    },
    metrics::Metrics,
    sessions::{Job, KernelSession, Sessions},
    traces::Traces,
};
use crate::{
    config::Secret,
    debug::{Control, OutputCategory},
    session::EnableDap,
};

/// How a kernel is made.
#[derive(Clone, Default)]
pub struct KernelOptions {
    /// Its id.
    pub id: String,
    /// What may change while it runs.
    pub live: LiveOptions,
    /// What clients must know to be let in.
    pub token: Option<Secret>,
    /// Opens DAP for `Debug.enableDAP`.
    pub enable_dap: Option<EnableDap>,
}

/// What of a kernel's options may change while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveOptions {
    /// Most clients at a time; those that are there stay.
    pub max_clients: usize,
    /// Limits of new sessions that ask for no profile.
    pub limits: Limits,
    /// Limits of new sessions by profile.
    pub profiles: BTreeMap<String, Limits>,
    /// Every cell waits for a debugger.
    pub wait_for_debugger: bool,
}

/// What the kernel is doing, as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Running,
    /// It has been asked to end; whoever made it calls [`Kernel::drain`].
    Asked,
    /// It takes no more work.
    Draining,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Kernel {
    inner: Arc<Inner>,
}

/// What the parts of the kernel share.
pub(in crate::kernel) struct Inner {
    options: KernelOptions,
    clients: Clients,
    sessions: Sessions,
    events: Events,
    traces: Traces,
    metrics: Metrics,
    phase: watch::Sender<Phase>,
    live: RwLock<LiveOptions>,
    started: (Instant, SystemTime),
    /// When somebody was last connected or something ran; told of changes.
    active: watch::Sender<Instant>,
    next_session: AtomicU64,
    endpoints: Mutex<Vec<Endpoint>>,
    /// Key, value and origin of each setting, for those who ask.
    settings: RwLock<Vec<(String, String, String)>>,
}

/// A connection's hold on the kernel. Dropping it disconnects: what it runs is
/// interrupted, and sessions made for it end.
pub struct Client {
    kernel: Kernel,
    state: Arc<ClientState>,
    number: u64,
}

impl Kernel {
    /// Makes a kernel with its main session.
    ///
    /// # Errors
    /// If that cannot be started.
    pub fn new(options: KernelOptions) -> Result<Self, String> {
        let now = Instant::now();
        let inner = Arc::new(Inner {
            clients: Clients::default(),
            sessions: Sessions::default(),
            events: Events::default(),
            traces: Traces::default(),
            metrics: Metrics::new(),
            phase: watch::Sender::new(Phase::Running),
            live: RwLock::new(options.live.clone()),
            started: (now, SystemTime::now()),
            active: watch::Sender::new(now),
            next_session: AtomicU64::new(1),
            endpoints: Mutex::default(),
            settings: RwLock::default(),
            options,
        });
        let kernel = Self { inner };
        kernel.inner.add_session(MAIN_SESSION, None, None)?;
        kernel.inner.events.record(
            "kernel.started",
            &Origin::default(),
            json!({ "id": kernel.id(), "pid": std::process::id() }),
        );
        Ok(kernel)
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.inner.options.id
    }

    /// What clients must know to be let in.
    pub fn token(&self) -> Option<&Secret> {
        self.inner.options.token.as_ref()
    }

    /// Whether a client that shows this, or nothing, is to be let in.
    pub fn admits(&self, token: Option<&str>) -> bool {
        self.token().is_none_or(|secret| token.is_some_and(|token| secret.is(token)))
    }

    /// Lets a client in.
    ///
    /// # Errors
    /// A sentence for it, if it cannot be.
    pub fn connect(&self, protocol: Protocol, peer: &str) -> Result<Client, String> {
        // Those that speak HTTP may still see that it is draining.
        if self.inner.is_draining() && protocol != Protocol::Http {
            return Err("the kernel is shutting down".to_owned());
        }
        let most = self.inner.live().max_clients;
        let Some((number, state)) = self.inner.clients.add(protocol, peer, most) else {
            return Err(format!(
                "the kernel has {most} clients already; disconnect one, or start it with a \
                 larger --max-clients"
            ));
        };
        // Whoever looks from outside neither keeps the kernel alive nor is news.
        if protocol != Protocol::Http {
            self.inner.touch();
            let data = json!({ "client": state.id, "protocol": protocol, "peer": peer });
            self.inner.events.record("client.connected", &Origin::default(), data);
        }
        Ok(Client { kernel: self.clone(), state, number })
    }

    /// The debug core of a session, for a debugger.
    ///
    /// # Errors
    /// If there is no such session.
    pub fn control(&self, session: &str) -> Result<Control, String> {
        Ok(self.inner.session(session)?.control.clone())
    }

    /// Says something to every client that can be told, debuggers included; how
    /// many were, by protocol.
    pub fn broadcast(&self, text: &str) -> BTreeMap<Protocol, usize> {
        let body = PublicationBody::Notice { text: text.to_owned() };
        let notice = Publication { parent_id: None, session: None, body };
        let mut told = BTreeMap::new();
        for client in self.inner.clients.all() {
            if client.tell(&notice) {
                *told.entry(client.protocol).or_default() += 1;
            }
        }
        for session in self.inner.sessions.all() {
            let bytes = format!("{text}\n").into_bytes();
            let piece =
                crate::debug::Output { category: OutputCategory::Console, bytes, location: None };
            if session.control.tell_debugger(crate::debug::Event::Output(piece)) {
                *told.entry(Protocol::Dap).or_default() += 1;
            }
        }
        told
    }

    /// `status` (`ok` or `draining`) and the most important figures.
    pub fn health(&self) -> Value {
        self.inner.health()
    }

    /// What of the runtime can be counted.
    ///
    /// # Errors
    /// If there is none.
    pub fn runtime(&self) -> io::Result<RuntimeFigures> {
        RuntimeFigures::now()
    }

    /// When it was started, how long ago that is.
    pub fn started(&self) -> (SystemTime, Duration) {
        (self.inner.started.1, self.inner.started.0.elapsed())
    }

    /// Most clients at a time.
    pub fn max_clients(&self) -> usize {
        self.inner.live().max_clients
    }

    /// Publications that clients have missed, those that have gone included.
    pub fn dropped(&self) -> u64 {
        self.inner.clients.dropped()
    }

    /// Where it can be reached.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.inner.endpoints()
    }

    /// Everything that `kernel status` shows.
    pub fn status(&self) -> Value {
        self.inner.status()
    }

    /// What is on, and what has passed through it.
    pub fn protocols(&self) -> Value {
        self.inner.protocols()
    }

    /// The whole state as one document.
    pub fn state(&self) -> Value {
        self.inner.state()
    }

    /// How many events are kept, and how many there have been.
    pub fn event_counts(&self) -> (usize, u64) {
        self.inner.events.counts()
    }

    /// All clients.
    pub fn clients(&self) -> Vec<ClientInfo> {
        self.inner.clients.all().iter().map(|client| client.info()).collect()
    }

    /// All sessions.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.inner.session_infos()
    }

    /// Events that fit.
    pub fn events(&self, query: &EventQuery) -> Vec<Event> {
        self.inner.events.query(query)
    }

    /// What executions did.
    pub fn traces(&self) -> &Traces {
        &self.inner.traces
    }

    /// How fast and how often.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Notes that something has happened outside of any request.
    pub fn record(&self, kind: &'static str, data: Value) {
        self.inner.events.record(kind, &Origin::default(), data);
    }

    /// Changes what may change while it runs.
    pub fn set_live(&self, options: LiveOptions) {
        *self.inner.live.write().unwrap_or_else(PoisonError::into_inner) = options;
    }

    /// Says where it can be reached, for those who ask.
    pub fn set_endpoints(&self, endpoints: Vec<Endpoint>) {
        *self.inner.endpoints.lock().unwrap_or_else(PoisonError::into_inner) = endpoints;
    }

    /// Says how it is configured, for those who ask: key, value, origin.
    pub fn set_settings(&self, settings: Vec<(String, String, String)>) {
        *self.inner.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Interrupts what runs, in all sessions; how many did.
    pub fn interrupt(&self) -> usize {
        self.inner.sessions.all().iter().filter(|session| session.interrupt()).count()
    }

    /// What it is doing; changes can be waited for.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.inner.phase.subscribe()
    }

    /// Asks for its end.
    pub fn ask_to_end(&self) {
        self.inner.ask_to_end();
    }

    /// Waits until nobody has been connected and nothing has run for so long.
    pub async fn idle_for(&self, patience: Duration) {
        let mut active = self.inner.active.subscribe();
        loop {
            let since = active.borrow_and_update().elapsed();
            let is_idle = self.inner.is_idle();
            if is_idle && since >= patience {
                return;
            }
            let left = if is_idle { patience.saturating_sub(since) } else { patience };
            // Woken early when something changes.
            let _ = timeout(left, active.changed()).await;
        }
    }

    /// Ends gracefully: takes no more work, lets what runs finish for up to
    /// `grace`, interrupts the rest, and ends the sessions. Returns whether all
    /// of it came to its end by itself.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.inner.phase.send_replace(Phase::Draining);
        self.inner.events.record("kernel.draining", &Origin::default(), json!({}));
        let all_idle = async {
            let mut active = self.inner.active.subscribe();
            while !self.inner.sessions.all().iter().all(|session| session.is_idle()) {
                let _ = active.changed().await;
            }
        };
        let finished = timeout(grace, all_idle).await.is_ok();
        for session in self.inner.sessions.all() {
            session.interrupt();
        }
        let shutdown = PublicationBody::Shutdown {};
        let last = Publication { parent_id: None, session: None, body: shutdown };
        self.inner.clients.publish(&last, None);
        let sessions = self.inner.sessions.all();
        let closed = spawn_blocking(move || {
            for session in sessions {
                session.close();
            }
        });
        // Native code may never return; it ends with the process.
        if timeout(LAST_GRACE, closed).await.is_err() {
            tracing::warn!("a session does not end: it is in native code");
        }
        for client in self.inner.clients.all() {
            client.queue.close();
        }
        finished
    }
}

/// How long a program that has been interrupted may take to end.
const LAST_GRACE: Duration = Duration::from_secs(2);

impl Client {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Sends a request; its message id. Never waits: the answer is among the
    /// messages.
    pub fn send(&self, request: impl Into<Request>) -> String {
        self.kernel.inner.dispatch(&self.state, request.into())
    }

    /// Answers what the client has sent with an error, where it was no request.
    pub fn reject(&self, parent_id: &str, message: String) {
        let body = ReplyBody::ErrorReply { message };
        self.kernel.inner.answer(&self.state, parent_id, None, body);
    }

    /// The next message; `None` when no more will come. For one reader.
    pub async fn next(&self) -> Option<Message> {
        self.state.queue.next().await
    }

    /// The next message if there is one.
    pub fn try_next(&self) -> Option<Message> {
        self.state.queue.try_next().flatten()
    }

    /// The session that its requests go to.
    pub fn session(&self) -> String {
        self.state.inner().session.clone()
    }

    /// How it is seen by others.
    pub fn info(&self) -> ClientInfo {
        self.state.info()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let inner = &self.kernel.inner;
        self.state.queue.close();
        inner.clients.remove(self.number);
        self.state.inner().pilots.clear();
        for session in inner.sessions.all() {
            session.interrupt_for(&self.state);
            if session.owner.as_deref() == Some(self.state.id.as_str()) {
                inner.end_session(&session.name);
            }
        }
        if self.state.protocol != Protocol::Http {
            let data = json!({ "client": self.state.id });
            inner.events.record("client.disconnected", &Origin::default(), data);
            inner.touch();
        }
    }
}

impl Inner {
    fn live(&self) -> LiveOptions {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_draining(&self) -> bool {
        *self.phase.borrow() == Phase::Draining
    }

    fn ask_to_end(&self) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Running;
            if first {
                *phase = Phase::Asked;
            }
            first
        });
    }

    /// Somebody came or went, or something ended.
    fn touch(&self) {
        self.active.send_replace(Instant::now());
    }

    fn is_idle(&self) -> bool {
        let looks = |client: &Arc<ClientState>| client.protocol == Protocol::Http;
        self.clients.all().iter().all(looks) && self.sessions.all().iter().all(|it| it.is_idle())
    }

    fn session(&self, name: &str) -> Result<Arc<KernelSession>, String> {
        self.sessions.get(name).ok_or_else(|| {
            let names: Vec<_> = self.sessions.all().iter().map(|it| it.name.clone()).collect();
            format!("there is no session '{name}'; there are: {}", names.join(", "))
        })
    }

    fn session_infos(&self) -> Vec<SessionInfo> {
        let clients = self.clients.all();
        let users = |name: &str| {
            let uses = |it: &&Arc<ClientState>| it.inner().session == name;
            clients.iter().filter(|it| it.protocol != Protocol::Http).filter(uses).count()
        };
        self.sessions.all().iter().map(|session| session.info(users(&session.name))).collect()
    }

    /// Makes a session, with the limits of a profile.
    fn add_session(
        self: &Arc<Self>,
        name: &str,
        owner: Option<String>,
        profile: Option<&str>,
    ) -> Result<(), String> {
        let limits = match profile {
            None => self.live().limits,
            Some(profile) => *self.live().profiles.get(profile).ok_or_else(|| {
                format!("there is no profile '{profile}': set [resources.profiles.{profile}]")
            })?,
        };
        self.sessions.add(name, || KernelSession::start(self, name, owner, limits))?;
        let origin = Origin { session: Some(name.to_owned()), ..Origin::default() };
        self.events.record("session.started", &origin, json!({}));
        Ok(())
    }

    /// Ends a session without waiting for it; `false` if there is none.
    fn end_session(&self, name: &str) -> bool {
        let Some(session) = self.sessions.remove(name) else { return false };
        let origin = Origin { session: Some(name.to_owned()), ..Origin::default() };
        self.events.record("session.ended", &origin, json!({}));
        for client in self.clients.all() {
            let mut client = client.inner();
            client.pilots.remove(name);
            if client.session == name {
                MAIN_SESSION.clone_into(&mut client.session);
            }
        }
        session.interrupt();
        let closing = move || session.close();
        if let Err(error) = std::thread::Builder::new().name("llmspell-end".into()).spawn(closing) {
            tracing::warn!("a session's thread stays: {error}");
        }
        true
    }

    /// Answers a job.
    fn reply(&self, job: &Job, body: ReplyBody) {
        self.answer(&job.client, &job.msg_id, job.origin.session.clone(), body);
    }

    #[allow(clippy::unused_self)] // It is the kernel that answers.
    fn answer(
        &self,
        client: &ClientState,
        parent_id: &str,
        session: Option<String>,
        body: ReplyBody,
    ) {
        client.inner().in_flight.retain(|it| it != parent_id);
        let reply = Reply { parent_id: parent_id.to_owned(), session, body };
        client.queue.push(Message::Reply(reply));
    }
}
