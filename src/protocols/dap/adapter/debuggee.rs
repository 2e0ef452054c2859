//! The program at the other end of the adapter: a connection to its DAP server
//! and, if it was launched, its process.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use dapts::OutputEventCategory;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};
use tokio_util::{bytes::BytesMut, codec::Encoder};

use crate::protocols::{
    codec::{ContentLengthCodec, MessageReader},
    dap::{
        adapter::{
            Runner,
            proxy::{output_event, send_output},
        },
        message::{Answer, RequestError},
        outgoing::Outgoing,
    },
};

/// What the program's process says when its DAP server is there.
const LISTENING: &str = "dap: listening on ";

/// How long a program may take to be ready for its debugger.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long a connection may take, and the first answer on it.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

const DEFAULT_PORT: u16 = 9556;

/// What `launch` says about the process. The program's own server reads the
/// rest.
#[derive(Debug, Deserialize)]
struct LaunchArguments {
    program: Option<String>,
    args: Option<Vec<String>>,
    cwd: Option<String>,
    /// A null removes the variable.
    env: Option<BTreeMap<String, Option<String>>>,
}

/// What `attach` says about the place.
#[derive(Debug, Deserialize)]
struct AttachArguments {
    host: Option<String>,
    port: Option<u16>,
}

/// Something that comes from the program.
#[derive(Debug)]
pub(super) enum Happening {
    /// A message of its DAP server.
    Message(Value),
    /// The connection to its DAP server is no more.
    Closed,
    /// Its process wrote to a stream.
    Printed(OutputEventCategory, Vec<u8>),
    /// Its process is over.
    Ended(ExitStatus),
}

/// The program that is being debugged.
pub(super) struct Debuggee {
    /// `None` once the connection is closed.
    reader: Option<MessageReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    /// `None` if it was attached to.
    process: Option<Process>,
}

impl Debuggee {
    /// Starts a script and waits for its DAP server.
    pub(super) async fn launch(
        runner: &Runner,
        arguments: &Value,
        outgoing: &Outgoing,
    ) -> Answer<Self> {
        let arguments = LaunchArguments::deserialize(present(arguments))
            .map_err(|error| bad_configuration(&error))?;
        let mut command = command(runner, arguments)?;
        let child = command.spawn().map_err(|error| {
            RequestError::for_user(format!("cannot start {}: {error}", runner.executable.display()))
        })?;
        let mut process = Process::new(child);
        let listening = timeout(START_LIMIT, process.listening(outgoing)).await;
        let stream = listening.unwrap_or_else(|_| {
            let seconds = START_LIMIT.as_secs();
            let text = format!("the program was not ready within {seconds} seconds");
            Err(RequestError::for_user(text))
        })?;
        Ok(Self::new(stream, Some(process)))
    }

    /// Connects to a program that runs already.
    pub(super) async fn attach(arguments: &Value) -> Answer<Self> {
        let arguments = AttachArguments::deserialize(present(arguments))
            .map_err(|error| bad_configuration(&error))?;
        let host = arguments.host.unwrap_or_else(|| "127.0.0.1".to_owned());
        let port = arguments.port.unwrap_or(DEFAULT_PORT);
        let stream = connect(&host, port).await.map_err(|error| {
            RequestError::for_user(format!(
                "cannot connect to {host}:{port}: {error}; \
                 start the script with: llmspell run --dap {port} script.lua"
            ))
        })?;
        Ok(Self::new(stream, None))
    }

    fn new(stream: TcpStream, process: Option<Process>) -> Self {
        let (reader, writer) = stream.into_split();
        // The server at the other end is ours: it limits itself.
        Self { reader: Some(MessageReader::new(reader, usize::MAX)), writer, process }
    }

    /// Passes on the client's `initialize`, which it has an answer to already,
    /// and then its `launch` or `attach`.
    pub(super) async fn introduce(&mut self, initialize: &Value, start: &Value) -> Answer<()> {
        let failed = |error: io::Error| {
            RequestError::for_user(format!("the program's debugger does not answer: {error}"))
        };
        self.send(initialize).await.map_err(failed)?;
        match timeout(CONNECT_LIMIT, self.response()).await {
            Ok(Some(response)) if response["success"] == true => {}
            Ok(Some(response)) => {
                let reason = response["message"].as_str().unwrap_or("no reason given");
                let text = format!("the program's debugger refused: {reason}");
                return Err(RequestError::for_user(text));
            }
            Ok(None) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        }
        self.send(start).await.map_err(failed)
    }

    /// The first response; nothing comes before that to `initialize`.
    async fn response(&mut self) -> Option<Value> {
        loop {
            let message = read_message(&mut self.reader).await?;
            if message["type"] == "response" {
                return Some(message);
            }
        }
    }

    /// Sends a message to the program's DAP server.
    pub(super) async fn send(&mut self, message: &Value) -> io::Result<()> {
        let mut frame = BytesMut::new();
        let body = message.to_string();
        ContentLengthCodec::new(usize::MAX).encode(body.as_bytes(), &mut frame)?;
        self.writer.write_all(&frame).await
    }

    /// Waits for something to come from the program; for ever when nothing can
    /// come any more. May be dropped at any await.
    pub(super) async fn next(&mut self) -> Happening {
        let Self { reader, process, .. } = self;
        let message = async {
            match reader {
                Some(_) => read_message(reader).await.map_or(Happening::Closed, Happening::Message),
                None => std::future::pending().await,
            }
        };
        let process = async {
            match process {
                Some(process) => process.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            happening = message => happening,
            happening = process => happening,
        }
    }

    /// Whether there is a process of ours that has not ended.
    pub(super) fn is_alive(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.ended)
    }

    /// Whether this is a process of ours, alive or not.
    pub(super) fn is_launched(&self) -> bool {
        self.process.is_some()
    }

    /// Whether the connection to its DAP server is open.
    pub(super) fn is_connected(&self) -> bool {
        self.reader.is_some()
    }

    /// Whether nothing more can come but the end.
    pub(super) fn is_drained(&self) -> bool {
        let silent = |process: &Process| process.stdout.is_none() && process.stderr.is_none();
        self.reader.is_none() && self.process.as_ref().is_none_or(silent)
    }

    /// Lets its process outlive the adapter.
    pub(super) fn release(&mut self) {
        if let Some(process) = &mut self.process {
            process.released = true;
        }
    }

    /// Kills its process, if there is one.
    pub(super) fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }
}

/// The process of a launched program. Dropping it kills it, unless released.
struct Process {
    child: Child,
    ended: bool,
    released: bool,
    /// `None` once closed, as is `stderr`.
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Process {
    fn new(mut child: Child) -> Self {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Self { child, ended: false, released: false, stdout, stderr }
    }

    /// Connects to the address that the process prints.
    ///
    /// What else it writes meanwhile goes to the client, or into the error.
    async fn listening(&mut self, outgoing: &Outgoing) -> Answer<TcpStream> {
        let mut said = Vec::new();
        let address = loop {
            if let Some((address, rest)) = listening_address(&said) {
                said = rest;
                break address;
            }
            let Some(bytes) = read_some(&mut self.stderr).await else {
                let said = String::from_utf8_lossy(&said).trim().to_owned();
                let reason = if said.is_empty() { "it ended at once".to_owned() } else { said };
                return Err(RequestError::for_user(format!("cannot run the program: {reason}")));
            };
            said.extend_from_slice(&bytes);
        };
        let text = String::from_utf8_lossy(&said);
        send_output(outgoing, output_event(OutputEventCategory::Stderr, &text), said.len());
        connect(&address.ip().to_string(), address.port()).await.map_err(|error| {
            RequestError::for_user(format!("cannot connect to the program at {address}: {error}"))
        })
    }

    async fn next(&mut self) -> Happening {
        let Self { child, ended, stdout, stderr, .. } = self;
        loop {
            let (category, bytes) = tokio::select! {
                bytes = read_some(stdout), if stdout.is_some() => (OutputEventCategory::Stdout, bytes),
                bytes = read_some(stderr), if stderr.is_some() => (OutputEventCategory::Stderr, bytes),
                status = child.wait(), if !*ended => {
                    *ended = true;
                    return Happening::Ended(status.unwrap_or_default());
                }
                else => std::future::pending().await,
            };
            if let Some(bytes) = bytes {
                return Happening::Printed(category, bytes);
            }
        }
    }

    fn kill(&mut self) {
        if let Err(error) = self.child.start_kill() {
            tracing::debug!(%error, "cannot kill the program");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended && !self.released {
            self.kill();
        }
    }
}

/// The command that runs the script with a server for us alone.
fn command(runner: &Runner, arguments: LaunchArguments) -> Answer<Command> {
    let program = arguments.program.filter(|program| !program.is_empty()).ok_or_else(|| {
        RequestError::for_user("'program' is missing: the path of the Lua script to debug")
    })?;
    let directory = arguments.cwd.filter(|directory| !directory.is_empty()).map(PathBuf::from);
    if let Some(directory) = &directory
        && !directory.is_dir()
    {
        let text = format!("'cwd' is not a directory: {}", directory.display());
        return Err(RequestError::for_user(text));
    }
    let script = directory.as_deref().unwrap_or(Path::new("")).join(&program);
    if !script.is_file() {
        let text = format!("'program' is not a file: {}", script.display());
        return Err(RequestError::for_user(text));
    }
    // A script must not be taken for a flag.
    let program = if program.starts_with('-') { format!("./{program}") } else { program };
    let mut command = Command::new(&runner.executable);
    command
        .args(&runner.options)
        .args(["run", "--dap", "0", "--wait", "--output-to-debugger"])
        .arg(program)
        .args(arguments.args.unwrap_or_default())
        // Standard input and output are the client's.
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    for (name, value) in arguments.env.unwrap_or_default() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ok(command)
}

/// The arguments, where leaving them out means that there are none.
fn present(arguments: &Value) -> Value {
    if arguments.is_null() { Value::Object(serde_json::Map::new()) } else { arguments.clone() }
}

fn bad_configuration(error: &serde_json::Error) -> RequestError {
    RequestError::for_user(format!("invalid configuration: {error}"))
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_LIMIT, TcpStream::connect((host, port)));
    let stream = stream.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Finds the address in what a process wrote; also what it wrote besides.
fn listening_address(said: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
    let mut rest = Vec::new();
    let mut address = None;
    for line in said.split_inclusive(|byte| *byte == b'\n') {
        let text = str::from_utf8(line).ok().filter(|line| line.ends_with('\n'));
        let found = text.and_then(|text| text.strip_prefix(LISTENING)?.trim().parse().ok());
        match found {
            Some(found) if address.is_none() => address = Some(found),
            _ => rest.extend_from_slice(line),
        }
    }
    Some((address?, rest))
}

/// The next message; `None`, and the reader gone, at the end.
async fn read_message(reader: &mut Option<MessageReader<OwnedReadHalf>>) -> Option<Value> {
    while let Some(open) = reader {
        match open.next().await {
            Ok(Some(Ok(message))) => return Some(message),
            Ok(Some(Err(malformed))) => tracing::warn!(%malformed, "from the program"),
            Ok(None) => *reader = None,
            Err(error) => {
                tracing::debug!(%error, "the connection to the program failed");
                *reader = None;
            }
        }
    }
    None
}

/// What comes next on a stream; `None`, and the stream gone, at its end.
async fn read_some(stream: &mut Option<impl AsyncRead + Unpin>) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(16 * 1024);
    match stream.as_mut()?.read_buf(&mut bytes).await {
        Ok(n_bytes) if n_bytes > 0 => Some(bytes),
        _ => {
            *stream = None;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_address_is_found_between_other_lines() {
        let address: SocketAddr = "127.0.0.1:4711".parse().unwrap();
        assert_eq!(listening_address(b"dap: listening on 127.0.0.1:47"), None);
        assert_eq!(
            listening_address(b"warning\ndap: listening on 127.0.0.1:4711\nmore"),
            Some((address, b"warning\nmore".to_vec()))
        );
        assert_eq!(listening_address(b"dap: listening on nothing\n"), None);
    }

    fn runner() -> Runner {
        Runner { executable: "llmspell".into(), options: vec!["-c".into(), "x.toml".into()] }
    }

    fn refusal(arguments: &Value) -> String {
        let arguments = LaunchArguments::deserialize(present(arguments))
            .map_err(|error| bad_configuration(&error));
        let error = arguments.and_then(|arguments| command(&runner(), arguments)).unwrap_err();
        assert!(error.show_user);
        error.message
    }

    #[test]
    fn what_is_wrong_with_a_configuration_is_said() {
        let missing = "'program' is missing: the path of the Lua script to debug";
        assert_eq!(refusal(&json!({})), missing);
        assert_eq!(refusal(&json!({ "program": "" })), missing);
        assert_eq!(
            refusal(&json!({ "program": "no.lua", "cwd": "/" })),
            "'program' is not a file: /no.lua"
        );
        assert_eq!(
            refusal(&json!({ "program": "no.lua", "cwd": "/no" })),
            "'cwd' is not a directory: /no"
        );
        assert_eq!(
            refusal(&json!({ "program": 1 })),
            "invalid configuration: invalid type: integer `1`, expected a string"
        );
    }

    #[test]
    fn the_command_has_arguments_directory_and_environment() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("-x.lua"), "").unwrap();
        let arguments = json!({
            "program": "-x.lua", "args": ["--wait", "a b"], "cwd": directory.path(),
            "env": { "SET": "1", "UNSET": null },
        });
        let arguments = LaunchArguments::deserialize(&arguments).unwrap();
        let command = command(&runner(), arguments).unwrap();
        let command = command.as_std();
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words[..6], ["-c", "x.toml", "run", "--dap", "0", "--wait"]);
        assert_eq!(words[6..], ["--output-to-debugger", "./-x.lua", "--wait", "a b"]);
        assert_eq!(command.get_current_dir(), Some(directory.path()));
        let environment: Vec<_> = command.get_envs().collect();
        assert_eq!(environment, [("SET".as_ref(), Some("1".as_ref())), ("UNSET".as_ref(), None)]);
    }
}
