//! A blocking DAP client for tests, benches and examples.
//!
//! Needs only std and `serde_json`, so it can be included by `#[path]`
//! anywhere. Everything has a deadline, and whatever does not arrive makes it
//! panic with what arrived instead. Messages that nobody looked at are fine,
//! except error responses: those make `Drop` panic.

#![allow(dead_code, unreachable_pub, reason = "each includer uses another part of it")]

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A connection to a DAP server or adapter.
pub struct DapClient {
    writer: Option<Box<dyn Write + Send>>,
    incoming: Receiver<Value>,
    /// The socket, to be shut when the client is dropped.
    socket: Option<TcpStream>,
    /// The process behind it, if [`DapClient::spawn`] or
    /// [`DapClient::spawn_tcp`] has started it.
    pub process: Option<Child>,
    /// Where the server listens that [`DapClient::spawn_tcp`] has connected to.
    pub address: String,
    seq: i64,
    /// Events that nobody has looked at.
    events: VecDeque<Value>,
    /// Responses that nobody has looked at.
    responses: VecDeque<Value>,
    /// All `output` events so far, as (category, text).
    pub output: Vec<(String, String)>,
    /// The last answer to `initialize`.
    pub capabilities: Value,
    /// How long to wait for anything.
    pub deadline: Duration,
    log: Vec<String>,
}

/// A frame of the stack, as far as tests care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFrame {
    /// For `scopes` and `evaluate`.
    pub id: i64,
    /// The function's name.
    pub name: String,
    /// Current line.
    pub line: i64,
    /// Path of the source, or its name, or nothing.
    pub source: String,
}

impl DapClient {
    /// Connects to a server.
    pub fn connect(address: impl ToSocketAddrs) -> Self {
        let stream = TcpStream::connect(address).expect("the DAP server accepts connections");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        let reader = stream.try_clone().expect("a socket can be cloned");
        let socket = stream.try_clone().expect("a socket can be cloned");
        let mut client = Self::new(Box::new(stream), reader);
        client.socket = Some(socket);
        client
    }

    /// Starts an adapter that speaks on its standard streams.
    pub fn spawn(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the adapter starts");
        let stdin = process.stdin.take().expect("stdin is a pipe");
        let stdout = process.stdout.take().expect("stdout is a pipe");
        let mut client = Self::new(Box::new(stdin), stdout);
        client.process = Some(process);
        client
    }

    /// Starts a program that prints `dap: listening on ADDRESS` on its standard
    /// error, and connects to it.
    pub fn spawn_tcp(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut stderr = BufReader::new(process.stderr.take().expect("stderr is a pipe"));
        let mut said = String::new();
        let address = loop {
            let start = said.len();
            let length = stderr.read_line(&mut said).expect("stderr is readable");
            assert!(length > 0, "the program ended without a DAP server; it said:\n{said}");
            if let Some(address) = said[start..].trim().strip_prefix("dap: listening on ") {
                break address.to_owned();
            }
        };
        // Nobody may be blocked by a full pipe.
        thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
        let mut client = Self::connect(&address);
        client.process = Some(process);
        client.address = address;
        client
    }

    fn new(writer: Box<dyn Write + Send>, reader: impl Read + Send + 'static) -> Self {
        let (sender, incoming) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            while let Some(message) = read_message(&mut reader) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self {
            writer: Some(writer),
            incoming,
            socket: None,
            process: None,
            address: String::new(),
            seq: 0,
            events: VecDeque::new(),
            responses: VecDeque::new(),
            output: Vec::new(),
            capabilities: Value::Null,
            deadline: DEADLINE,
            log: Vec::new(),
        }
    }

    /// Sends a request and returns its number; a null leaves `arguments` out.
    pub fn send(&mut self, command: &str, arguments: Value) -> i64 {
        self.seq += 1;
        let mut message = json!({ "seq": self.seq, "type": "request", "command": command });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        let body = message.to_string();
        self.send_raw(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        self.seq
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let writer = self.writer.as_mut().expect("the client has not hung up");
        writer.write_all(bytes).and_then(|()| writer.flush()).expect("the server reads");
    }

    /// Closes this end of the conversation.
    pub fn hang_up(&mut self) {
        self.writer = None;
        if let Some(socket) = self.socket.take() {
            // Fails if the other side was faster.
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Waits for the answer to request `seq`: its body, or its error message.
    pub fn answer(&mut self, seq: i64) -> Result<Value, String> {
        let response = self.response(seq);
        if response["success"] == true {
            return Ok(response["body"].clone());
        }
        let message = response["message"].as_str();
        Err(message.expect("an error response has a message").to_owned())
    }

    /// Waits for the whole response to request `seq`.
    pub fn response(&mut self, seq: i64) -> Value {
        self.wait_for(&format!("the response to request {seq}"), |client| {
            let is_it = |response: &Value| response["request_seq"] == seq;
            let index = client.responses.iter().position(is_it)?;
            client.responses.remove(index)
        })
    }

    /// Sends a request and waits for its answer.
    pub fn try_request(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        let seq = self.send(command, arguments);
        self.answer(seq)
    }

    /// As [`DapClient::try_request`], for requests that have to succeed.
    pub fn request(&mut self, command: &str, arguments: Value) -> Value {
        self.try_request(command, arguments.clone()).unwrap_or_else(|error| {
            panic!("'{command}' {arguments} failed: {error}\n{}", self.recent())
        })
    }

    /// Waits for an event that nobody has looked at yet; its body.
    pub fn expect_event(&mut self, name: &str) -> Value {
        self.expect_event_where(name, |_| true)
    }

    /// As [`DapClient::expect_event`], for an event whose body fits.
    pub fn expect_event_where(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(&format!("the event '{name}'"), |client| {
            let is_it = |event: &Value| event["event"] == name && fits(&event["body"]);
            let index = client.events.iter().position(is_it)?;
            client.events.remove(index).map(|event| event["body"].clone())
        })
    }

    /// Waits for the first of several events; its name and body.
    pub fn expect_any(&mut self, names: &[&str]) -> (String, Value) {
        self.wait_for(&format!("one of the events {names:?}"), |client| {
            let is_it = |event: &Value| names.iter().any(|name| event["event"] == *name);
            let index = client.events.iter().position(is_it)?;
            let event = client.events.remove(index)?;
            Some((text(&event["event"]), event["body"].clone()))
        })
    }

    /// Takes the events of a name that have come so far.
    pub fn take_events(&mut self, name: &str) -> Vec<Value> {
        while let Ok(message) = self.incoming.try_recv() {
            self.sort(message);
        }
        let (taken, kept) =
            self.events.drain(..).partition::<Vec<_>, _>(|event| event["event"] == name);
        self.events = kept.into();
        taken.into_iter().map(|event| event["body"].clone()).collect()
    }

    /// Waits until everything on standard output contains `text`.
    pub fn expect_output(&mut self, text: &str) {
        self.wait_for(&format!("output with {text:?}"), |client| {
            client.output_of("stdout").contains(text).then_some(())
        });
    }

    /// All that has come in a category of output.
    pub fn output_of(&self, category: &str) -> String {
        let of_category = self.output.iter().filter(|(theirs, _)| theirs == category);
        of_category.map(|(_, text)| text.as_str()).collect()
    }

    /// Waits until the server has closed the connection.
    pub fn expect_closed(&mut self) {
        let end = Instant::now() + self.deadline;
        loop {
            match self.incoming.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) => self.sort(message),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the connection is still open\n{}", self.recent())
                }
            }
        }
    }

    /// Waits for the process to end; its exit code.
    pub fn expect_exit(&mut self) -> Option<i32> {
        let end = Instant::now() + self.deadline;
        loop {
            let process = self.process.as_mut().expect("the client has started a process");
            if let Some(status) = process.try_wait().expect("the process can be waited for") {
                return status.code();
            }
            assert!(Instant::now() < end, "the process does not end\n{}", self.recent());
            // std has no other way to wait with a deadline.
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Introduces the client as VS Code does; the capabilities are kept.
    pub fn initialize(&mut self) {
        let arguments = json!({
            "clientID": "test", "clientName": "Test client", "adapterID": "llmspell",
            "pathFormat": "path", "linesStartAt1": true, "columnsStartAt1": true,
            "supportsVariableType": true, "supportsVariablePaging": true,
            "supportsProgressReporting": true, "supportsInvalidatedEvent": true,
        });
        self.capabilities = self.request("initialize", arguments);
    }

    /// VS Code's handshake with `attach`: `configure` runs between the event
    /// `initialized` and `configurationDone`, to set breakpoints.
    pub fn attach(&mut self, arguments: Value, configure: impl FnOnce(&mut Self)) {
        self.start("attach", arguments, configure);
    }

    /// As [`DapClient::attach`], with `launch`.
    pub fn launch(&mut self, arguments: Value, configure: impl FnOnce(&mut Self)) {
        self.start("launch", arguments, configure);
    }

    fn start(&mut self, command: &str, arguments: Value, configure: impl FnOnce(&mut Self)) {
        self.initialize();
        let start = self.send(command, arguments);
        self.expect_event("initialized");
        configure(self);
        // No `arguments`, as VS Code sends it.
        self.request("configurationDone", Value::Null);
        self.answer(start).unwrap_or_else(|error| panic!("'{command}' failed: {error}"));
    }

    /// Sets the breakpoints of a file; the answer, one for each line.
    pub fn set_breakpoints(&mut self, path: impl AsRef<Path>, lines: &[u32]) -> Vec<Value> {
        let breakpoints: Vec<Value> = lines.iter().map(|line| json!({ "line": line })).collect();
        self.set_breakpoints_with(path, json!(breakpoints))
    }

    /// As [`DapClient::set_breakpoints`], with conditions and the like.
    pub fn set_breakpoints_with(
        &mut self,
        path: impl AsRef<Path>,
        breakpoints: Value,
    ) -> Vec<Value> {
        let source = json!({ "path": path.as_ref() });
        let arguments = json!({ "source": source, "breakpoints": breakpoints });
        list(&self.request("setBreakpoints", arguments)["breakpoints"])
    }

    /// Waits for a stop for `reason`; the body of the event.
    pub fn expect_stop(&mut self, reason: &str) -> Value {
        let body = self.expect_event("stopped");
        assert_eq!(body["reason"], reason, "{body}\n{}", self.recent());
        body
    }

    /// Waits for a stop for `reason` in line `line`; the topmost frame.
    pub fn stop_at(&mut self, reason: &str, line: i64) -> StackFrame {
        self.expect_stop(reason);
        let frame = self.stack_trace().into_iter().next().expect("a stopped program has a frame");
        assert_eq!(frame.line, line, "{frame:?}\n{}", self.recent());
        frame
    }

    /// Sends `continue`, `next`, `stepIn`, `stepOut` or `pause`.
    pub fn go(&mut self, command: &str) {
        self.request(command, json!({ "threadId": 1 }));
    }

    /// The whole stack.
    pub fn stack_trace(&mut self) -> Vec<StackFrame> {
        let body = self.request("stackTrace", json!({ "threadId": 1 }));
        let frames = body["stackFrames"].as_array().expect("stackFrames is a list").iter();
        frames.map(stack_frame).collect()
    }

    /// The scopes of a frame, as (name, reference).
    pub fn scopes(&mut self, frame: i64) -> Vec<(String, i64)> {
        let body = self.request("scopes", json!({ "frameId": frame }));
        let scopes = list(&body["scopes"]).into_iter();
        scopes.map(|scope| (text(&scope["name"]), number(&scope["variablesReference"]))).collect()
    }

    /// The variables of a scope of a frame, which must exist.
    pub fn scope(&mut self, frame: i64, name: &str) -> Vec<(String, String)> {
        let scopes = self.scopes(frame);
        let found = scopes.iter().find(|(theirs, _)| theirs == name);
        let (_, reference) = found.unwrap_or_else(|| panic!("no scope '{name}' in {scopes:?}"));
        self.variables(*reference)
    }

    /// The children of a container, as (name, value).
    pub fn variables(&mut self, reference: i64) -> Vec<(String, String)> {
        let body = self.request("variables", json!({ "variablesReference": reference }));
        let variables = list(&body["variables"]).into_iter();
        variables.map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
    }

    /// Evaluates in the topmost frame, as the debug console does.
    pub fn evaluate(&mut self, expression: &str) -> String {
        self.try_evaluate(expression, "repl")
            .unwrap_or_else(|error| panic!("'{expression}' failed: {error}\n{}", self.recent()))
    }

    /// Evaluates in the topmost frame: the value, or the error.
    pub fn try_evaluate(&mut self, expression: &str, context: &str) -> Result<String, String> {
        let frame = self.stack_trace().first().map(|frame| frame.id);
        let arguments = json!({ "expression": expression, "frameId": frame, "context": context });
        Ok(text(&self.try_request("evaluate", arguments)?["result"]))
    }

    /// The conversation's latest messages, for error texts.
    pub fn recent(&self) -> String {
        let start = self.log.len().saturating_sub(20);
        format!("the latest messages are:\n  {}", self.log[start..].join("\n  "))
    }

    /// Receives until `take` finds what it wants.
    fn wait_for<T>(&mut self, what: &str, take: impl Fn(&mut Self) -> Option<T>) -> T {
        let end = Instant::now() + self.deadline;
        loop {
            if let Some(found) = take(self) {
                return found;
            }
            match self.incoming.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) => self.sort(message),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("waited {:?} for {what}; {}", self.deadline, self.recent())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the connection was closed before {what}; {}", self.recent())
                }
            }
        }
    }

    fn sort(&mut self, message: Value) {
        let line = message.to_string();
        self.log.push(line.chars().take(400).collect());
        if message["event"] == "output" {
            let body = &message["body"];
            self.output.push((text(&body["category"]), text(&body["output"])));
        }
        match message["type"].as_str() {
            Some("event") => self.events.push_back(message),
            Some("response") => self.responses.push_back(message),
            _ => panic!("neither a response nor an event: {message}"),
        }
    }
}

impl Drop for DapClient {
    fn drop(&mut self) {
        self.hang_up();
        if let Some(process) = &mut self.process {
            // Fails if it has ended, which is as well.
            let _ = process.kill();
            let _ = process.wait();
        }
        if thread::panicking() {
            return;
        }
        while let Ok(message) = self.incoming.try_recv() {
            self.sort(message);
        }
        let unread = self.responses.iter().find(|response| response["success"] == false);
        if let Some(unread) = unread {
            panic!("nobody has looked at this error response: {unread}");
        }
    }
}

fn read_message(reader: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let value = line.strip_prefix("Content-Length: ").expect("Content-Length is the header");
        length = Some(value.trim().parse().expect("Content-Length is a number"));
    }
    let mut body = vec![0; length.expect("a message has a Content-Length")];
    reader.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).expect("a message is JSON"))
}

fn stack_frame(frame: &Value) -> StackFrame {
    let source = &frame["source"];
    let path = source["path"].as_str().or_else(|| source["name"].as_str());
    StackFrame {
        id: number(&frame["id"]),
        name: text(&frame["name"]),
        line: number(&frame["line"]),
        source: path.unwrap_or_default().to_owned(),
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}")).clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("not a number: {value}"))
}
