//! A program that talks to a running kernel: the client side of its WebSocket.
//!
//! A task of its own reads and writes the connection, so that the kernel's pings
//! are answered while nobody looks, at a prompt for instance. What it has read
//! waits in the same bounded queue that the kernel has for its clients.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message as Frame,
        client::IntoClientRequest as _,
        handshake::client::{Request as Opening, Response},
        http::{HeaderValue, StatusCode, header::AUTHORIZATION},
        protocol::WebSocketConfig,
    },
};

use crate::kernel::{
    Queue,
    message::{Message, ReplyBody, Request, RequestBody},
    traces::random,
};

/// How long a kernel may take to answer a new connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last words may take to go out.
const FAREWELL: Duration = Duration::from_secs(2);
/// Requests that may wait to be sent.
const MOST_WAITING: usize = 1024;
/// Longest message taken, in bytes: a kernel's whole state is large.
const LONGEST: usize = 256 << 20;

type Socket = WebSocketStream<TcpStream>;

/// A connection to a kernel. Dropping it disconnects; [`Connection::close`] waits
/// until everything has been sent.
#[derive(Debug)]
pub struct Connection {
    requests: mpsc::Sender<String>,
    messages: Arc<Queue>,
    /// What came while [`Connection::ask`] waited for something else.
    aside: Mutex<VecDeque<Message>>,
    ending: Arc<Mutex<Option<String>>>,
    pump: JoinHandle<()>,
    /// Makes message ids: what they begin with, and how many there were.
    ids: (u64, AtomicU64),
}

impl Connection {
    /// Connects to the kernel that listens there.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub async fn connect(host: &str, port: u16, token: Option<&str>) -> Result<Self, String> {
        let bare = host.trim_matches(['[', ']']);
        let host = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
        let address = format!("{host}:{port}");
        let opening = opening(&address, token)?;
        let connecting = async {
            let tcp = TcpStream::connect((bare, port)).await.map_err(|error| {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    format!(
                        "no kernel answers at {address}; start one with 'llmspell kernel start'"
                    )
                } else {
                    format!("cannot connect to {address}: {error}")
                }
            })?;
            // Nagle's algorithm would add 40 ms to each step.
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!(%error, "cannot prepare the connection");
            }
            let config = WebSocketConfig::default()
                .max_message_size(Some(LONGEST))
                .max_frame_size(Some(LONGEST));
            let opened = client_async_with_config(opening, tcp, Some(config)).await;
            opened.map_err(|error| refusal(&address, &error))
        };
        let (socket, _) = timeout(PATIENCE, connecting)
            .await
            .map_err(|_| format!("{address} takes connections and does not answer"))??;
        let (requests, outgoing) = mpsc::channel(MOST_WAITING);
        let (messages, ending) = (Arc::<Queue>::default(), Arc::default());
        let pump = tokio::spawn(pump(socket, outgoing, Arc::clone(&messages), Arc::clone(&ending)));
        let ids = (random(), AtomicU64::new(1));
        Ok(Self { requests, messages, aside: Mutex::default(), ending, pump, ids })
    }

    /// Sends a request; its message id. Does not wait: the answer is among the
    /// messages.
    ///
    /// # Errors
    /// If the connection has ended, or the kernel does not read.
    pub fn send(&self, request: impl Into<Request>) -> Result<String, String> {
        let mut request = request.into();
        let number = || self.ids.1.fetch_add(1, Ordering::Relaxed);
        let msg_id =
            request.msg_id.take().unwrap_or_else(|| format!("{:x}-{}", self.ids.0, number()));
        request.msg_id = Some(msg_id.clone());
        let text = serde_json::to_string(&request).map_err(|error| error.to_string())?;
        self.requests.try_send(text).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => "the kernel does not read".to_owned(),
            mpsc::error::TrySendError::Closed(_) => self.ending(),
        })?;
        Ok(msg_id)
    }

    /// The next message; `None` when no more will come. For one reader.
    pub async fn next(&self) -> Option<Message> {
        if let Some(message) = self.aside().pop_front() {
            return Some(message);
        }
        self.messages.next().await
    }

    /// Sends a request and waits for its answer. Other messages that come
    /// meanwhile are kept for [`Connection::next`].
    ///
    /// # Errors
    /// What the kernel says why not, or how the connection ended.
    pub async fn ask(&self, body: RequestBody) -> Result<ReplyBody, String> {
        let msg_id = self.send(body)?;
        loop {
            match self.messages.next().await {
                Some(Message::Reply(reply)) if reply.parent_id == msg_id => {
                    return match reply.body {
                        ReplyBody::ErrorReply { message } => Err(message),
                        body => Ok(body),
                    };
                }
                Some(other) => self.aside().push_back(other),
                None => return Err(self.ending()),
            }
        }
    }

    /// How the connection ended, or that it has not.
    pub fn ending(&self) -> String {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ending.unwrap_or_else(|| "the connection to the kernel has ended".to_owned())
    }

    /// Says good-bye, and waits until that has been sent.
    pub async fn close(self) {
        let Self { requests, mut pump, .. } = self;
        drop(requests);
        if timeout(FAREWELL, &mut pump).await.is_err() {
            pump.abort();
        }
    }

    fn aside(&self) -> std::sync::MutexGuard<'_, VecDeque<Message>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn opening(address: &str, token: Option<&str>) -> Result<Opening, String> {
    let mut opening = format!("ws://{address}/ws")
        .into_client_request()
        .map_err(|_| format!("'{address}' is no address of a kernel: give HOST:PORT"))?;
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| "the token has characters that cannot be sent".to_owned())?;
        value.set_sensitive(true);
        opening.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(opening)
}

/// Why the other side did not let us in.
fn refusal(address: &str, error: &Error) -> String {
    let Error::Http(response) = error else {
        return format!("what answers at {address} is not a kernel: {error}");
    };
    let detail = detail(response);
    match (response.status(), detail) {
        (StatusCode::UNAUTHORIZED, _) => format!(
            "the kernel at {address} asks for its token: give --token, or --connection-file \
             with the file that it has written"
        ),
        (StatusCode::SERVICE_UNAVAILABLE | StatusCode::FORBIDDEN, Some(why)) => {
            format!("the kernel at {address} refuses: {why}")
        }
        (status, _) => {
            format!("what answers at {address} is not a kernel: it answers HTTP {status}")
        }
    }
}

/// What a problem document says.
fn detail(response: &Response) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(response.body().as_ref()?).ok()?;
    Some(problem["detail"].as_str()?.to_owned())
}

/// Reads and writes the connection until it ends.
async fn pump(
    mut socket: Socket,
    mut requests: mpsc::Receiver<String>,
    messages: Arc<Queue>,
    ending: Arc<Mutex<Option<String>>>,
) {
    let why = loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(text) = request else {
                    let farewell = timeout(FAREWELL, socket.close(None)).await;
                    tracing::debug!(?farewell, "disconnected from the kernel");
                    break "the connection has been closed".to_owned();
                };
                if let Err(error) = socket.send(Frame::text(text)).await {
                    break format!("the connection to the kernel is broken: {error}");
                }
            }
            frame = socket.next() => match frame {
                Some(Ok(Frame::Text(text))) => match serde_json::from_str(text.as_str()) {
                    Ok(message) => {
                        if !messages.push(message) {
                            break "what the kernel sent was not read".to_owned();
                        }
                    }
                    Err(error) => break format!(
                        "the kernel says what this version does not understand: {error}"
                    ),
                },
                // Pings are answered below us.
                Some(Ok(Frame::Close(Some(close)))) if !close.reason.is_empty() => {
                    break format!("the kernel has ended the connection: {}", close.reason);
                }
                Some(Ok(Frame::Close(_))) | None => {
                    break "the kernel has ended the connection".to_owned();
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    break format!("the connection to the kernel is broken: {error}");
                }
            }
        }
    };
    *ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    messages.close();
}
