//! A conversation with the kernel in lines of text, as every front end of lines
//! leads it: what is a line, when the next one may go, and what a person reads
//! of the answers.
//!
//! The hard thing is *when*. A line waits for the answer to the one before; but
//! a program that has stopped for this client answers nothing, and the next line
//! is meant for the place where it stands. Nothing here waits or writes.

use std::{collections::HashMap, fmt::Write as _};

use crate::{
    kernel::{
        console,
        message::{
            Execute, Executed, Message, Publication, PublicationBody, Reply, ReplyBody,
            RequestBody, Status, Stopped, StreamName,
        },
    },
    lua::{
        scan::{self, TokenKind},
        syntax::{self, Completeness},
    },
};

/// What is sent as one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A whole chunk or expression, of one line or more.
    Lua(String),
    /// A dot-command.
    Command(String),
}

impl Line {
    /// The command's name, with its dot.
    pub fn command(&self) -> Option<&str> {
        match self {
            Self::Lua(_) => None,
            Self::Command(text) => text.split_whitespace().next(),
        }
    }

    /// Whether it lets a stopped program go on.
    fn resumes(&self) -> bool {
        /// All such commands.
        const NAMES: [&str; 8] = [".continue", ".c", ".step", ".s", ".next", ".n", ".out", ".o"];
        self.command().is_some_and(|name| NAMES.contains(&name))
    }

    /// Whether it is answered as a cell is, and may stop like one.
    fn is_cell(&self) -> bool {
        self.command().is_none_or(|name| matches!(name, ".load" | ".time"))
    }
}

/// Lines that are gathered until they are a whole chunk.
#[derive(Debug, Default)]
pub struct Chunk {
    text: String,
    /// Blocks and brackets that are open in what has been scanned.
    depth: i64,
    scanned: usize,
}

/// A chunk up to this length is compiled with every line, so that a mistake in it
/// is seen at once. A longer one is compiled when its blocks are closed: to do it
/// for every line would take a time that grows with the square of its length.
const COMPILED_OFTEN: usize = 4096;

impl Chunk {
    /// Takes a line, without its line break. Returns what is whole with it.
    ///
    /// As at Lua's own prompt, an empty line ends nothing: `.cancel` drops what is
    /// unfinished.
    pub fn push(&mut self, line: &str) -> Option<Line> {
        if line.trim() == ".cancel" {
            *self = Self::default();
            return None;
        }
        if self.text.is_empty() {
            if line.trim().is_empty() {
                return None;
            }
        } else {
            self.text.push('\n');
        }
        self.text.push_str(line);
        let is_open = self.scan() && self.text.len() > COMPILED_OFTEN;
        if !is_open && is_whole(&self.text) { self.rest() } else { None }
    }

    /// What has been gathered, whole or not; Lua says what is missing.
    pub fn rest(&mut self) -> Option<Line> {
        let Self { text, .. } = std::mem::take(self);
        if text.is_empty() {
            None
        } else if is_command(&text) {
            Some(Line::Command(text.trim().to_owned()))
        } else {
            Some(Line::Lua(text))
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether nothing is unfinished.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Looks at what is new; whether a block, a bracket or a long string is open.
    fn scan(&mut self) -> bool {
        let start = self.scanned;
        let rest = &self.text[start..];
        for token in scan::tokens(rest.as_bytes()) {
            // A character beyond ASCII is no sign of Lua, and may come in pieces.
            let text = rest.get(token.range.clone()).unwrap_or_default();
            let is_string = matches!(token.kind, TokenKind::Text | TokenKind::Comment);
            if is_string && token.range.end == rest.len() {
                // It may go on in the next line, and is looked at again then.
                let is_long = text.trim_start_matches('-').starts_with('[');
                return self.depth > 0 || (is_long && !text.ends_with(']'));
            }
            self.depth += match (token.kind, text) {
                (TokenKind::Word, "function" | "do" | "if" | "repeat")
                | (TokenKind::Sign(_), "(" | "[" | "{") => 1,
                (TokenKind::Word, "end" | "until") | (TokenKind::Sign(_), ")" | "]" | "}") => -1,
                _ => 0,
            };
            self.scanned = start + token.range.end;
        }
        self.depth > 0
    }
}

/// Whether a text is a dot-command, and not a number such as `.5`.
pub fn is_command(text: &str) -> bool {
    let rest = text.trim_start().strip_prefix('.');
    rest.is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_alphabetic()))
}

/// Whether a text can be sent: a command, or Lua to which nothing is missing at
/// its end (also if it is wrong).
pub fn is_whole(text: &str) -> bool {
    let lua = if !is_command(text) {
        text
    } else if let Some(code) = text.trim_start().strip_prefix(".time ") {
        code
    } else {
        return true;
    };
    syntax::completeness(lua) != Completeness::Incomplete
}

/// The names of all dot-commands.
pub fn command_names() -> impl Iterator<Item = &'static str> {
    let names = console::HELP.lines().filter(|line| line.starts_with('.'));
    let words = names.flat_map(str::split_whitespace).map(|word| word.trim_end_matches(','));
    let mut last = "";
    // `.session` has several lines.
    words.filter(move |word| is_command(word) && *word != std::mem::replace(&mut last, word))
}

/// What a piece of text is, for those who color or part it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The program's standard output.
    Output,
    /// The program's standard error.
    ErrorOutput,
    /// The debugger's own words: log points, times.
    Console,
    /// A value of an expression.
    Value,
    /// What a command has to say.
    Answer,
    /// An error.
    Error,
    /// That and where the program has stopped.
    Stop,
    /// Words of the kernel, or of others.
    Notice,
}

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub tone: Tone,
    /// Text; anything but output is whole lines.
    pub text: String,
}

impl Piece {
    /// Whether it may begin and end within a line.
    pub fn is_raw(&self) -> bool {
        matches!(self.tone, Tone::Output | Tone::ErrorOutput | Tone::Console)
    }

    /// A piece of whole lines.
    pub fn lines(tone: Tone, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Self { tone, text }
    }

    /// An error, in the words of the command line.
    pub fn error(message: &str) -> Self {
        Self::lines(Tone::Error, format!("Error: {message}"))
    }
}

/// A request that has not been answered.
#[derive(Debug)]
struct Waiting {
    id: String,
    line: Line,
    /// Evaluated where the program stands; never stops.
    in_frame: bool,
    begun: bool,
    /// The program has gone on since it was sent.
    resumed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Dialog {
    /// The session that lines go to, as far as it is known.
    session: Option<String>,
    /// The line that the next one waits for.
    waiting: Option<Waiting>,
    /// A cell of ours that has stopped, and may go on.
    cell: Option<String>,
    stop: Option<Stopped>,
    /// Whether programs stop for this client.
    debugs: bool,
    /// Requests that change that, and what it was before.
    changes: HashMap<String, bool>,
    exit_code: Option<i64>,
    failed: bool,
}

impl Dialog {
    /// Whether the next line may go.
    pub fn is_ready(&self) -> bool {
        self.waiting.is_none() && (self.cell.is_none() || self.stop.is_some())
    }

    /// Whether nothing of ours runs, stands still or waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.cell.is_none()
    }

    /// Whether what was sent last has begun, or is over.
    pub fn has_begun(&self) -> bool {
        self.waiting.as_ref().is_none_or(|waiting| waiting.begun || !waiting.line.is_cell())
    }

    /// Where the program stands, if it has stopped for this client.
    pub fn stop(&self) -> Option<&Stopped> {
        self.stop.as_ref()
    }

    /// The session that lines go to.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Whether any line has failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The code of the last `os.exit`, once.
    pub fn take_exit_code(&mut self) -> Option<i64> {
        self.exit_code.take()
    }

    /// The request for a line.
    pub fn request(&self, line: &Line) -> RequestBody {
        match line {
            Line::Lua(code) => RequestBody::ExecuteRequest(Execute {
                code: code.clone(),
                name: None,
                in_frame: self.stop.is_some(),
            }),
            Line::Command(line) => RequestBody::CommandRequest { line: line.clone() },
        }
    }

    /// Notes that a line has been sent under a message id; the next one waits for
    /// it.
    pub fn sent(&mut self, id: &str, line: Line) {
        self.note_debugging(id, &line);
        let in_frame = self.stop.is_some();
        let (id, begun, resumed) = (id.to_owned(), false, false);
        self.waiting = Some(Waiting { id, line, in_frame, begun, resumed });
    }

    /// As [`Dialog::sent`], for a line that no other waits for.
    pub fn sent_beside(&mut self, id: &str, line: &Line) {
        self.note_debugging(id, line);
    }

    /// Notes that programs are to stop for this client, or not to.
    pub fn set_debugging(&mut self, debugs: bool) {
        self.debugs = debugs;
    }

    /// The program may stop before the answer comes.
    fn note_debugging(&mut self, id: &str, line: &Line) {
        let Line::Command(text) = line else { return };
        let words: Vec<_> = text.split_whitespace().collect();
        let debugs = match words.as_slice() {
            [".break", _, ..] | [".pause"] | [".debug", "on"] => true,
            [".debug", "off"] => false,
            _ => return,
        };
        self.changes.insert(id.to_owned(), self.debugs);
        self.debugs = debugs;
    }

    /// Takes a message; what is to be shown of it.
    pub fn take(&mut self, message: Message) -> Vec<Piece> {
        match message {
            Message::Reply(reply) => self.answered(reply),
            Message::Publication(publication) => self.published(publication),
        }
    }

    fn answered(&mut self, reply: Reply) -> Vec<Piece> {
        let Reply { parent_id, session, body } = reply;
        let is_error = matches!(body, ReplyBody::ErrorReply { .. });
        if let Some(before) = self.changes.remove(&parent_id)
            && is_error
        {
            self.debugs = before;
        }
        if self.cell.as_ref() == Some(&parent_id) {
            self.cell = None;
            self.stop = None;
        }
        let waited = self.waiting.take_if(|waiting| waiting.id == parent_id);
        let is_waited_for = waited.is_some();
        // It goes on with the answer, not with the word of it that follows.
        if waited.is_some_and(|it| it.line.resumes() && !it.resumed) && !is_error {
            self.stop = None;
        }
        match body {
            ReplyBody::ExecuteReply(executed) => {
                self.failed |= executed.status != Status::Ok;
                self.exit_code = executed.exit_code.or(self.exit_code);
                shown(executed)
            }
            ReplyBody::CommandReply { text } => {
                if is_waited_for && let Some(session) = session {
                    self.use_session(session);
                }
                vec![Piece::lines(Tone::Answer, text)]
            }
            ReplyBody::ErrorReply { message } => {
                self.failed = true;
                vec![Piece::error(&message)]
            }
            _ => Vec::new(),
        }
    }

    /// What stands still elsewhere keeps nobody waiting here.
    fn use_session(&mut self, session: String) {
        if self.session.as_ref().is_some_and(|it| *it != session) {
            self.cell = None;
            self.stop = None;
        }
        self.session = Some(session);
    }

    fn published(&mut self, publication: Publication) -> Vec<Piece> {
        let Publication { parent_id, session, body } = publication;
        match body {
            PublicationBody::Stream { name, text } => {
                let tone = match name {
                    StreamName::Stdout => Tone::Output,
                    StreamName::Stderr => Tone::ErrorOutput,
                    StreamName::Console => Tone::Console,
                };
                vec![Piece { tone, text }]
            }
            PublicationBody::ExecuteInput { .. } => {
                let is_its = |waiting: &&mut Waiting| Some(&waiting.id) == parent_id.as_ref();
                if let Some(waiting) = self.waiting.as_mut().filter(is_its) {
                    waiting.begun = true;
                    self.session = session.or(self.session.take());
                }
                Vec::new()
            }
            PublicationBody::Stopped(stopped) => self.stopped(session.as_deref(), stopped),
            PublicationBody::Resumed {} => {
                if self.is_here(session.as_deref()) {
                    self.stop = None;
                    if let Some(waiting) = &mut self.waiting {
                        waiting.resumed = true;
                    }
                }
                Vec::new()
            }
            PublicationBody::Notice { text } => {
                vec![Piece::lines(Tone::Notice, format!("notice: {text}"))]
            }
            PublicationBody::Dropped { count, bytes } => vec![Piece::lines(
                Tone::Notice,
                format!("{count} messages of {bytes} bytes are missing: they were not read"),
            )],
            PublicationBody::Shutdown {} => {
                vec![Piece::lines(Tone::Notice, "the kernel is shutting down")]
            }
            PublicationBody::Status { .. } => Vec::new(),
        }
    }

    fn is_here(&self, session: Option<&str>) -> bool {
        session.is_none() || self.session.is_none() || session == self.session.as_deref()
    }

    fn stopped(&mut self, session: Option<&str>, stopped: Stopped) -> Vec<Piece> {
        let mut text =
            format!("stopped: {} at {}:{}", stopped.reason, stopped.source, stopped.line);
        if let Some(message) = &stopped.message {
            let _ = write!(text, ": {message}");
        }
        if !self.is_here(session) || !self.debugs {
            text += " (for another debugger)";
            return vec![Piece::lines(Tone::Stop, text)];
        }
        if !stopped.text.is_empty() {
            let _ = write!(text, "\n{:>5}  {}", stopped.line, stopped.text);
        }
        if self.waiting.as_ref().is_some_and(|it| it.line.is_cell() && !it.in_frame) {
            self.cell = self.waiting.take().map(|waiting| waiting.id);
        }
        self.stop = Some(stopped);
        vec![Piece::lines(Tone::Stop, text)]
    }
}

/// What is shown of a cell that is over.
fn shown(executed: Executed) -> Vec<Piece> {
    let values = executed.values.into_iter().map(|value| Piece::lines(Tone::Value, value));
    let mut pieces: Vec<_> = values.collect();
    let Some(message) = executed.error else { return pieces };
    if executed.exit_code.is_some() {
        pieces.push(Piece::lines(Tone::Notice, message));
        return pieces;
    }
    pieces.push(Piece::error(&match executed.traceback {
        Some(traceback) => format!("{message}\n{traceback}"),
        None => message,
    }));
    pieces
}

/// Puts pieces below each other: what is a line of its own never begins within
/// another.
#[derive(Debug, Default)]
pub struct Layout {
    within_line: bool,
}

impl Layout {
    /// What has to be written before this piece; notes where it ends.
    pub fn before(&mut self, piece: &Piece) -> &'static str {
        if piece.text.is_empty() {
            return "";
        }
        let breaks = self.within_line && !piece.is_raw();
        self.within_line = !piece.text.ends_with('\n');
        if breaks { "\n" } else { "" }
    }

    /// What brings whatever follows to the start of a line.
    pub fn finish_line(&mut self) -> &'static str {
        if std::mem::take(&mut self.within_line) { "\n" } else { "" }
    }
}

#[cfg(test)]
mod tests;
