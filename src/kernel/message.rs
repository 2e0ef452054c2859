//! What clients and the kernel say to each other, whatever the wire.
//!
//! The names are Jupyter's, which is the field's vocabulary for kernels. The
//! JSON that serde makes of these types is what the WebSocket carries, one
//! message a text frame; other protocols translate.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The session that requests go to which name none.
pub const MAIN_SESSION: &str = "main";

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its message id: answers and everything it causes name it. Made by the
    /// kernel if the client gives none; must be unused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg_id: Option<String>,
    /// Groups requests of one endeavor; the message id if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The message or event that made the client send this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// The session it is for; the client's own choice, at first `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What is wanted.
    #[serde(flatten)]
    pub body: RequestBody,
}

impl From<RequestBody> for Request {
    fn from(body: RequestBody) -> Self {
        Self { msg_id: None, correlation_id: None, causation_id: None, session: None, body }
    }
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content", rename_all = "snake_case", deny_unknown_fields)]
pub enum RequestBody {
    /// Run a cell.
    ExecuteRequest(Execute),
    /// What could be written at a place of a text, from the session's values.
    CompleteRequest(Position),
    /// What the name at a place of a text stands for.
    InspectRequest(Position),
    /// Whether a text is a whole chunk.
    IsCompleteRequest {
        /// Lua.
        code: String,
    },
    /// Carry out a dot-command of the REPL, such as `.where`.
    CommandRequest {
        /// The whole line, with its dot.
        line: String,
    },
    /// End what runs in the session, as Ctrl-C does.
    InterruptRequest {},
    /// Make the program of the session stop for this client at breakpoints.
    DebugRequest {
        /// Whether it does.
        enabled: bool,
    },
    /// Be told also of what others cause.
    SubscribeRequest(Subscription),
    /// What the kernel is.
    KernelInfoRequest {},
    /// How the kernel is.
    StatusRequest {},
    /// All sessions.
    SessionsRequest {},
    /// Make a session and use it from now on.
    CreateSessionRequest {
        /// Its name; made up if absent.
        #[serde(default)]
        name: Option<String>,
        /// The limits that `[resources.profiles.NAME]` sets.
        #[serde(default)]
        profile: Option<String>,
    },
    /// Use another session from now on.
    UseSessionRequest {
        /// Its name.
        name: String,
    },
    /// End a session.
    EndSessionRequest {
        /// Its name.
        name: String,
    },
    /// Everything about the kernel as one document.
    ExportStateRequest {},
    /// End the kernel gracefully.
    ShutdownRequest {},
}

/// Content of an `execute_request`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Execute {
    /// Lua: an expression, or a chunk.
    pub code: String,
    /// What the cell is called in messages; made up if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// While the program is stopped, evaluate in the selected frame instead of
    /// waiting for the program to end.
    #[serde(default)]
    pub in_frame: bool,
}

/// A place in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Lua.
    pub code: String,
    /// Place in it, in bytes of UTF-8; its end if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_pos: Option<usize>,
}

/// What a client is told beside what its own requests cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Kinds of publications, such as `stream`; `*` for all.
    pub topics: Vec<String>,
    /// Only of these sessions; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<String>>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's message id.
    pub parent_id: String,
    /// The session it was about, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The answer.
    #[serde(flatten)]
    pub body: ReplyBody,
}

/// See [`Reply`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content", rename_all = "snake_case")]
pub enum ReplyBody {
    /// To `execute_request`: the cell is over.
    ExecuteReply(Executed),
    /// To `complete_request`.
    CompleteReply {
        /// Proposals.
        matches: Vec<Match>,
        /// Where the word to replace starts, in bytes.
        cursor_start: usize,
        /// Where it ends.
        cursor_end: usize,
    },
    /// To `inspect_request`.
    InspectReply {
        /// Whether there is such a value.
        found: bool,
        /// The value on one line.
        #[serde(default)]
        value: String,
        /// Its type.
        #[serde(default)]
        type_name: String,
    },
    /// To `is_complete_request`.
    IsCompleteReply {
        /// Whether it is.
        status: Completeness,
    },
    /// To `command_request`.
    CommandReply {
        /// What it has to say.
        text: String,
    },
    /// To `kernel_info_request`.
    KernelInfoReply(KernelInfo),
    /// To `status_request` and `export_state_request`.
    StatusReply(Value),
    /// To `sessions_request`.
    SessionsReply {
        /// All of them, by name.
        sessions: Vec<SessionInfo>,
    },
    /// To requests that change something and have nothing to tell.
    OkReply {},
    /// To any request that could not be carried out.
    ErrorReply {
        /// Why, and what to do.
        message: String,
    },
}

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Executed {
    /// How.
    pub status: Status,
    /// Number of the cell in its session, from 1; 0 for an evaluation in a frame.
    pub execution_count: u64,
    /// Values of an expression, or what the chunk returned, as text.
    #[serde(default)]
    pub values: Vec<String>,
    /// Message of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its traceback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// The code of `os.exit`, which ends a cell but not the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Time that it ran (without the wait for its turn), in milliseconds.
    pub duration_ms: f64,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// To its end.
    Ok,
    /// By an error.
    Error,
    /// By an interrupt, a time limit, or `os.exit`; or it never began.
    Aborted,
}

/// Whether a text is a whole chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// It is.
    Complete,
    /// Something is missing at its end.
    Incomplete,
    /// No continuation makes it one.
    Invalid,
}

/// A completion proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// What to write.
    pub text: String,
    /// `function`, `field`, `variable` or `keyword`.
    pub kind: String,
}

/// What a kernel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelInfo {
    /// Its id.
    pub id: String,
    /// Its process.
    pub pid: u32,
    /// Version of this protocol.
    pub protocol_version: String,
    /// Version of llmspell.
    pub version: String,
    /// Version of Lua.
    pub lua_version: String,
    /// The client that asks.
    pub client_id: String,
}

/// A session as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its name.
    pub name: String,
    /// `idle`, `waiting`, `running`, `stopped` or `finished`.
    pub state: String,
    /// How many cells have been begun.
    pub execution_count: u64,
    /// How many requests wait for their turn.
    pub queued: usize,
    /// How many clients use it.
    pub clients: usize,
    /// The client that it ends with, if it was made for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Message id of the cell that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// Whether an editor's debugger is attached.
    pub debugger: bool,
}

/// Something that happened, for whoever asked and whoever subscribed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// Message id of the request that caused it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// The session it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub body: PublicationBody,
}

/// See [`Publication`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content", rename_all = "snake_case")]
pub enum PublicationBody {
    /// The program, or the debugger, wrote something.
    Stream {
        /// `stdout`, `stderr` or `console`.
        name: StreamName,
        /// What; bytes that are no UTF-8 as `\xNN`.
        text: String,
    },
    /// A cell begins.
    ExecuteInput {
        /// Its text.
        code: String,
        /// Its number.
        execution_count: u64,
    },
    /// A session has become busy or idle.
    Status {
        /// `busy` or `idle`.
        execution_state: ExecutionState,
    },
    /// The program has stopped.
    Stopped(Stopped),
    /// The program goes on.
    Resumed {},
    /// Somebody has something to say to all.
    Notice {
        /// What.
        text: String,
    },
    /// The client has not read fast enough: so many bytes of publications are
    /// missing here.
    Dropped {
        /// How many publications.
        count: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// The kernel is about to end.
    Shutdown {},
}

impl PublicationBody {
    /// What a client subscribes to.
    pub fn topic(&self) -> &'static str {
        match self {
            Self::Stream { .. } => "stream",
            Self::ExecuteInput { .. } => "execute_input",
            Self::Status { .. } => "status",
            Self::Stopped(_) => "stopped",
            Self::Resumed {} => "resumed",
            Self::Notice { .. } => "notice",
            Self::Dropped { .. } => "dropped",
            Self::Shutdown {} => "shutdown",
        }
    }

    /// All topics.
    pub const TOPICS: [&'static str; 8] = [
        "stream",
        "execute_input",
        "status",
        "stopped",
        "resumed",
        "notice",
        "dropped",
        "shutdown",
    ];
}

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamName {
    /// The program's standard output.
    Stdout,
    /// The program's standard error.
    Stderr,
    /// The debugger's words: log points.
    Console,
}

/// Whether a session works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionState {
    /// A cell runs.
    Busy,
    /// Nothing runs.
    Idle,
}

/// Where and why the program has stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// DAP's reason: `breakpoint`, `step`, `pause`, `exception`, …
    pub reason: String,
    /// Name of the source: a path, or a cell's name.
    pub source: String,
    /// Line, from 1; 0 if unknown.
    pub line: u32,
    /// The function.
    pub function: String,
    /// Text of the line, if it can be had.
    #[serde(default)]
    pub text: String,
    /// Message of the error, for `exception`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a client receives, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// An answer to one of its requests.
    Reply(Reply),
    /// Something that happened.
    Publication(Publication),
}
