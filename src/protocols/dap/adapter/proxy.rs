//! The adapter's loop while there is a program: one event after the other, from
//! the client, the program, or the clock.

use std::{
    future, ops::ControlFlow, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration,
};

use dapts::{OutputEvent, OutputEventCategory, TerminatedEvent, event};
use serde_json::{Value, json};
use tokio::{
    io::AsyncRead,
    time::{Instant, sleep_until},
};

use crate::{
    debug::TextStream,
    protocols::{
        codec::{CodecError, Incoming, MessageReader},
        dap::{
            adapter::{
                debuggee::{Debuggee, Happening},
                receive,
            },
            message::{Message, Request, RequestError, parse_request},
            outgoing::Outgoing,
        },
    },
};

/// How long a program may take to end when it has been told to.
const END_LIMIT: Duration = Duration::from_secs(2);

/// How long to wait for the last words of a program that has ended. Its streams
/// may be held open by programs that it has started.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Everything that can happen.
enum Event {
    Client(Result<Option<Incoming>, CodecError>),
    Program(Happening),
    /// The program has been told to end and has not.
    EndOverdue,
    /// The program has ended and its last words have been waited for.
    LastWordsOver,
}

/// What becomes of the program when the client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// The client has not left.
    No,
    /// It has, and the program is to end.
    WithProgram,
    /// It has, and the program may go on.
    Alone,
}

/// Passes messages between the client and the program.
pub(super) struct Proxy {
    debuggee: Debuggee,
    outgoing: Outgoing,
    stdout: TextStream,
    stderr: TextStream,
    /// Requests that the program has not answered.
    unanswered: Vec<(i64, String)>,
    leaving: Leaving,
    /// Whether the client still sends.
    listening: bool,
    /// When the program is killed.
    end_at: Option<Instant>,
    /// How the program has ended, and until when it may have last words.
    ended: Option<(ExitStatus, Instant)>,
    killed: bool,
    told: Told,
}

/// What the client knows of the program's end.
#[derive(Debug, Default)]
struct Told {
    exited: bool,
    terminated: bool,
    /// All there is to know; nothing more will be said.
    everything: bool,
}

impl Proxy {
    pub(super) fn new(debuggee: Debuggee, outgoing: Outgoing) -> Self {
        Self {
            debuggee,
            outgoing,
            stdout: TextStream::default(),
            stderr: TextStream::default(),
            unanswered: Vec::new(),
            leaving: Leaving::No,
            listening: true,
            end_at: None,
            ended: None,
            killed: false,
            told: Told::default(),
        }
    }

    /// Runs until the client has left and the program is where it should be.
    pub(super) async fn run(&mut self, client: &mut MessageReader<impl AsyncRead + Unpin>) {
        while !self.is_over() {
            match self.next(client).await {
                Event::Client(incoming) => match receive(incoming, &self.outgoing) {
                    ControlFlow::Continue(Some(message)) => self.client_says(&message).await,
                    ControlFlow::Continue(None) => {}
                    ControlFlow::Break(()) => self.client_gone().await,
                },
                Event::Program(happening) => self.program_does(happening),
                Event::EndOverdue => {
                    self.end_at = None;
                    self.killed = true;
                    self.debuggee.kill();
                }
                Event::LastWordsOver => self.conclude(),
            }
        }
    }

    async fn next(&mut self, client: &mut MessageReader<impl AsyncRead + Unpin>) -> Event {
        let words_until = self.ended.filter(|_| !self.told.everything).map(|(_, until)| until);
        tokio::select! {
            incoming = client.next(), if self.listening => Event::Client(incoming),
            happening = self.debuggee.next() => Event::Program(happening),
            () = at(self.end_at) => Event::EndOverdue,
            () = at(words_until) => Event::LastWordsOver,
        }
    }

    async fn client_says(&mut self, message: &Value) {
        let request = match parse_request(message) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(refusal) => return self.outgoing.respond(refusal),
        };
        match request.command.as_str() {
            "disconnect" => self.disconnect(&request),
            "terminate" => self.end_soon(),
            "restart" => self.end_at = None,
            _ => {}
        }
        if self.debuggee.is_connected() && self.debuggee.send(message).await.is_ok() {
            self.unanswered.push((request.seq, request.command));
            return;
        }
        let answer = match request.command.as_str() {
            "disconnect" | "terminate" => Ok(Value::Null),
            _ => Err(RequestError::new("the program has ended")),
        };
        self.outgoing.respond(Message::response(request.seq, &request.command, answer));
    }

    /// Decides what becomes of the program; the request itself goes to it, too.
    fn disconnect(&mut self, request: &Request) {
        let suspend = request.arguments["suspendDebuggee"].as_bool().unwrap_or(false);
        let terminate = request.arguments["terminateDebuggee"].as_bool();
        if self.debuggee.is_launched() && terminate.unwrap_or(!suspend) {
            self.leaving = Leaving::WithProgram;
            self.end_soon();
        } else {
            self.leaving = Leaving::Alone;
            self.debuggee.release();
        }
    }

    /// The client has closed its end: whatever it launched must not stay.
    async fn client_gone(&mut self) {
        self.listening = false;
        self.unanswered.clear();
        if self.leaving != Leaving::No {
            return;
        }
        if !self.debuggee.is_launched() {
            self.leaving = Leaving::Alone;
            return;
        }
        self.leaving = Leaving::WithProgram;
        self.end_soon();
        let disconnect = json!({
            "seq": 0, "type": "request", "command": "disconnect",
            "arguments": { "terminateDebuggee": true },
        });
        if let Err(error) = self.debuggee.send(&disconnect).await {
            tracing::debug!(%error, "cannot tell the program that its debugger is gone");
        }
    }

    fn end_soon(&mut self) {
        if self.debuggee.is_alive() {
            self.end_at.get_or_insert_with(|| Instant::now() + END_LIMIT);
        }
    }

    fn program_does(&mut self, happening: Happening) {
        match happening {
            Happening::Message(message) => self.forward(message),
            Happening::Printed(category, bytes) => {
                let stream = match category {
                    OutputEventCategory::Stderr => &mut self.stderr,
                    _ => &mut self.stdout,
                };
                let text = stream.push(&bytes);
                send_output(&self.outgoing, output_event(category, &text), bytes.len());
            }
            Happening::Closed => {}
            Happening::Ended(status) => {
                self.end_at = None;
                self.ended = Some((status, Instant::now() + LAST_WORDS));
            }
        }
        let over = self.ended.is_some() || !self.debuggee.is_launched();
        if over && self.debuggee.is_drained() {
            self.conclude();
        }
    }

    /// Passes on a message of the program, but nothing that was said before.
    fn forward(&mut self, message: Value) {
        let told = match message["event"].as_str() {
            Some("exited") => Some(&mut self.told.exited),
            Some("terminated") => Some(&mut self.told.terminated),
            _ => None,
        };
        if told.is_some_and(|told| std::mem::replace(told, true)) {
            return;
        }
        if message["type"] == "response" {
            let answered = message["request_seq"].as_i64();
            self.unanswered.retain(|(seq, _)| Some(*seq) != answered);
        }
        let output = message["body"]["output"].as_str().map(str::len);
        let is_output = message["event"] == "output";
        let is_response = message["type"] == "response";
        let message = Message::forwarded(message);
        match output {
            Some(n_bytes) if is_output => self.outgoing.output(message, n_bytes),
            _ if is_response => self.outgoing.respond(message),
            _ => self.outgoing.event(message),
        }
    }

    /// Tells the client what the program has not told itself: that it is over.
    fn conclude(&mut self) {
        if std::mem::replace(&mut self.told.everything, true) {
            return;
        }
        for (seq, command) in std::mem::take(&mut self.unanswered) {
            let answer = match command.as_str() {
                "disconnect" | "terminate" => Ok(Value::Null),
                _ => Err(RequestError::new("the program has ended")),
            };
            self.outgoing.respond(Message::response(seq, &command, answer));
        }
        let last_words = [
            (OutputEventCategory::Stdout, self.stdout.finish()),
            (OutputEventCategory::Stderr, self.stderr.finish()),
        ];
        for (category, text) in last_words {
            send_output(&self.outgoing, output_event(category, &text), text.len());
        }
        if let Some((status, _)) = self.ended
            && !std::mem::replace(&mut self.told.exited, true)
        {
            let text = end_of(status, self.killed);
            let message = output_event(OutputEventCategory::Console, &text);
            send_output(&self.outgoing, message, text.len());
            let body = json!({ "exitCode": exit_code(status) });
            self.outgoing.event(Message::raw_event("exited", body));
        } else if !self.told.terminated && self.leaving == Leaving::No {
            let text = "the connection to the program is lost\n";
            let message = output_event(OutputEventCategory::Console, text);
            send_output(&self.outgoing, message, text.len());
        }
        if !std::mem::replace(&mut self.told.terminated, true) {
            self.outgoing.event(Message::event::<event::Terminated>(&TerminatedEvent::default()));
        }
    }

    /// Whether the client has left, with an answer, and the program is where it
    /// should be.
    fn is_over(&self) -> bool {
        match self.leaving {
            Leaving::No => false,
            Leaving::WithProgram => self.told.everything,
            Leaving::Alone => self.unanswered.is_empty() || !self.debuggee.is_connected(),
        }
    }
}

/// An output event; `None` for nothing.
pub(super) fn output_event(category: OutputEventCategory, text: &str) -> Option<Message> {
    let body =
        OutputEvent { category: Some(category), output: text.to_owned(), ..OutputEvent::default() };
    (!text.is_empty()).then(|| Message::event::<event::Output>(&body))
}

/// Queues an output event that stands for `n_bytes`.
pub(super) fn send_output(outgoing: &Outgoing, message: Option<Message>, n_bytes: usize) {
    if let Some(message) = message {
        outgoing.output(message, n_bytes);
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}

/// The exit code as a shell would see it.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn end_of(status: ExitStatus, killed: bool) -> String {
    let seconds = END_LIMIT.as_secs();
    match (status.signal(), status.code()) {
        _ if killed => format!("the program did not end within {seconds} seconds and was killed\n"),
        (Some(signal), _) => format!("the program was killed by signal {signal}\n"),
        (None, code) => format!("the program ended with exit code {}\n", code.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_as_a_shell_would() {
        let killed = ExitStatus::from_raw(9);
        assert_eq!(exit_code(killed), 137);
        assert_eq!(end_of(killed, false), "the program was killed by signal 9\n");
        assert!(end_of(killed, true).contains("did not end within 2 seconds"));
        let failed = ExitStatus::from_raw(3 << 8);
        assert_eq!(exit_code(failed), 3);
        assert_eq!(end_of(failed, false), "the program ended with exit code 3\n");
    }
}
