//! The front door: five ports in a row, each of which takes every protocol.
//!
//! A connection is told apart by its first bytes and handed to whoever serves
//! its protocol. Whatever a client does (nothing, garbage, one byte a minute, a
//! thousand connections), it costs the others nothing: each connection is a task
//! of its own, with a limit on everything that it may take.

mod opening;
mod stream;

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest, unix::AsyncFd},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use self::opening::{MOST_BYTES, Opening, opening};
pub use self::stream::Stream;
use crate::kernel::{Client, Kernel, clients::Protocol, metrics::Traffic};

/// How many ports in a row the door has.
pub const PORTS: u16 = 5;
/// How long a client may say nothing at all.
const SILENCE: Duration = Duration::from_mins(5);
/// How long it may take to say what it speaks, once it has begun.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client that is turned away has to read why.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long to wait after `accept` has failed: it does so when descriptors are
/// short, and would fail again at once.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);
/// Connections beside those of clients: silent ones, and those that come and go.
const MORE_CONNECTIONS: usize = 256;

/// Serves one connection of a protocol.
pub type Serve =
    Arc<dyn Fn(Stream, Client) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Says whether a protocol is on.
pub type IsOn = Arc<dyn Fn(Protocol) -> bool + Send + Sync>;

/// How a door is made.
#[derive(Clone)]
pub struct DoorOptions {
    /// Address to listen on.
    pub host: IpAddr,
    /// First of five ports in a row; 0 for any that are free.
    pub port: u16,
    /// A port beside those.
    pub extra_port: Option<u16>,
    /// Who serves what; what is not here is turned away.
    pub protocols: BTreeMap<Protocol, Serve>,
    /// Whether a protocol is on just now.
    pub is_on: IsOn,
    /// Most clients; a few more connections than that are held.
    pub max_clients: usize,
}

/// An open door. Dropping it closes it and ends all connections.
#[derive(Debug)]
pub struct Door {
    /// Its first address; the others follow.
    pub address: SocketAddr,
    /// The port beside the five, if there is one.
    pub extra: Option<SocketAddr>,
    listeners: Vec<JoinHandle<()>>,
    finish: Vec<oneshot::Sender<Duration>>,
}

/// A port that could not be had.
#[derive(Debug)]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// Why.
    pub error: io::Error,
}

/// What all connections of a door share.
struct Hall {
    kernel: Kernel,
    protocols: BTreeMap<Protocol, Serve>,
    is_on: IsOn,
    room: Arc<Semaphore>,
}

impl Door {
    /// Opens it.
    ///
    /// # Errors
    /// Names the port that could not be had.
    pub async fn open(kernel: Kernel, options: DoorOptions) -> Result<Self, BindError> {
        let mut listeners = bind_row(options.host, options.port).await?;
        let address = local_address(&listeners[0])?;
        let row = address.port()..=address.port() + (PORTS - 1);
        let mut extra = None;
        if let Some(port) = options.extra_port.filter(|port| *port == 0 || !row.contains(port)) {
            let listener = bind(SocketAddr::new(options.host, port)).await?;
            extra = Some(local_address(&listener)?);
            listeners.push(listener);
        }
        let room = Arc::new(Semaphore::new(2 * options.max_clients + MORE_CONNECTIONS));
        let DoorOptions { protocols, is_on, .. } = options;
        let hall = Arc::new(Hall { kernel, protocols, is_on, room });
        let (mut tasks, mut finish) = (Vec::new(), Vec::new());
        for listener in listeners {
            let (sender, finished) = oneshot::channel();
            tasks.push(tokio::spawn(Arc::clone(&hall).accept(listener, finished)));
            finish.push(sender);
        }
        Ok(Self { address, extra, listeners: tasks, finish })
    }

    /// Closes it: no more connections, and those there are have `grace` to end.
    pub async fn finish(mut self, grace: Duration) {
        for finish in self.finish.drain(..) {
            // Fails only if the task has ended already.
            let _ = finish.send(grace);
        }
        for task in &mut self.listeners {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener failed");
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        for task in &self.listeners {
            task.abort();
        }
    }
}

/// Listens on five ports in a row.
async fn bind_row(host: IpAddr, port: u16) -> Result<Vec<TcpListener>, BindError> {
    /// How often to look for five free ones.
    const TRIES: usize = 50;
    let mut tries = if port == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        let first = bind(SocketAddr::new(host, port)).await?;
        let base = local_address(&first)?.port();
        match bind_rest(host, base, first).await {
            Err(_) if tries > 0 => {}
            result => return result,
        }
    }
}

async fn bind_rest(
    host: IpAddr,
    base: u16,
    first: TcpListener,
) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = vec![first];
    for offset in 1..PORTS {
        let error = || BindError {
            address: SocketAddr::new(host, base),
            error: io::Error::other("there are no five ports in a row from here"),
        };
        let port = base.checked_add(offset).ok_or_else(error)?;
        listeners.push(bind(SocketAddr::new(host, port)).await?);
    }
    Ok(listeners)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| BindError { address, error })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, BindError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    listener.local_addr().map_err(|error| BindError { address: unknown, error })
}

impl Hall {
    async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        mut finished: oneshot::Receiver<Duration>,
    ) {
        // Owns the connections: they end with it.
        let mut connections = JoinSet::new();
        let grace = loop {
            tokio::select! {
                grace = &mut finished => break grace.unwrap_or_default(),
                accepted = listener.accept() => match accepted {
                    Ok((tcp, peer)) => {
                        connections.spawn(Arc::clone(&self).connection(tcp, peer));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(AFTER_FAILED_ACCEPT).await;
                    }
                },
                Some(ended) = connections.join_next() => report(ended),
            }
        };
        drop(listener);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if timeout(grace, all_ended).await.is_err() {
            tracing::debug!("clients are still connected");
        }
    }

    async fn connection(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr) {
        let opened = Instant::now();
        prepare(&tcp);
        let Ok(_room) = Arc::clone(&self.room).try_acquire_owned() else {
            self.refuse(tcp, None, "too many connections").await;
            return;
        };
        let mut tcp = tcp;
        let Some((opening, bytes)) = recognize(&mut tcp).await else { return };
        let protocol = match opening {
            Opening::Repl => Protocol::Repl,
            Opening::Dap => Protocol::Dap,
            Opening::Http => Protocol::Http,
            Opening::Lsp => {
                return self.refuse(tcp, None, "this kernel does not speak LSP").await;
            }
            Opening::Jupyter => {
                return self.refuse(tcp, None, "this kernel does not speak Jupyter's ZMTP").await;
            }
            Opening::Tls => {
                return self.refuse(tcp, None, "this kernel does not speak TLS").await;
            }
        };
        let serve = self.protocols.get(&protocol).filter(|_| (self.is_on)(protocol));
        let Some(serve) = serve else {
            let name = protocol.name();
            let why = format!("{name} is off in this kernel; start it with --{name}");
            return self.refuse(tcp, Some(protocol), &why).await;
        };
        let client = match self.kernel.connect(protocol, &peer.to_string()) {
            Ok(client) => client,
            Err(why) => return self.refuse(tcp, Some(protocol), &why).await,
        };
        let _open = self.kernel.metrics().traffic(protocol).opened();
        let vanished = vanished(&tcp);
        let stream = Stream::new(tcp, bytes, opened, self.kernel.clone(), protocol);
        tokio::select! {
            () = serve(stream, client) => {}
            () = vanished => tracing::debug!(%peer, "a client has vanished"),
        }
    }

    /// Turns a client away with one line, in its own protocol if that is HTTP.
    async fn refuse(&self, mut tcp: TcpStream, protocol: Option<Protocol>, why: &str) {
        let traffic = self.kernel.metrics().traffic(protocol.unwrap_or(Protocol::Repl));
        traffic.errors.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(why, "a client is turned away");
        let line = if protocol == Some(Protocol::Http) {
            let problem = json!({ "type": "about:blank", "title": "Service Unavailable",
                "status": 503, "detail": why })
            .to_string();
            format!(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{problem}",
                problem.len()
            )
        } else {
            format!("llmspell: {why}\n")
        };
        let farewell = async {
            tcp.write_all(line.as_bytes()).await?;
            tcp.shutdown().await?;
            // Closing with bytes unread would take the line away again.
            let mut rest = [0; 4096];
            while tcp.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// Small messages both ways, and peers that vanish without a word.
fn prepare(tcp: &TcpStream) {
    // Nagle's algorithm would add 40 ms to each step.
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_mins(1))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    let prepared = tcp
        .set_nodelay(true)
        .and_then(|()| socket2::SockRef::from(tcp).set_tcp_keepalive(&keepalive));
    if let Err(error) = prepared {
        tracing::debug!(%error, "cannot prepare a connection");
    }
}

/// Waits until the other side has reset the connection.
///
/// Reading does not tell after the other side has closed its half: a client that
/// waits for its last answers and one that was killed look the same, until a
/// probe finds that nobody is there.
// Deprecated for types that do not own their descriptor; this one does.
#[allow(deprecated)]
fn vanished(tcp: &TcpStream) -> impl Future<Output = ()> + Send + 'static {
    let watched = tcp
        .as_fd()
        .try_clone_to_owned()
        .and_then(|socket| AsyncFd::with_interest(socket, Interest::ERROR));
    async move {
        match watched {
            Ok(socket) => {
                // Fails only if the runtime ends.
                let _ = socket.ready(Interest::ERROR).await;
            }
            Err(error) => {
                tracing::debug!(%error, "a connection is not watched");
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Reads until it is clear what the client speaks; what has been read comes
/// along. `None` if it says nothing, or takes too long to say it.
async fn recognize(tcp: &mut TcpStream) -> Option<(Opening, Vec<u8>)> {
    let mut bytes = Vec::new();
    match timeout(SILENCE, tcp.read_buf(&mut bytes)).await {
        Ok(Ok(1..)) => {}
        _ => return None,
    }
    let decide = async {
        loop {
            if let Some(opening) = opening(&bytes, false) {
                return Some(opening);
            }
            if bytes.len() >= MOST_BYTES {
                return None;
            }
            match tcp.read_buf(&mut bytes).await {
                Ok(1..) => {}
                Ok(0) => return opening(&bytes, true),
                Err(_) => return None,
            }
        }
    };
    let opening = timeout(HANDSHAKE, decide).await.ok().flatten()?;
    Some((opening, bytes))
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection failed");
    }
}
