//! Lines of Lua over any byte stream: what `nc` and `telnet` can speak.
//!
//! No banner, no prompt: what comes back is what the lines have caused. Lines are
//! carried out one after another, so that a whole script can be piped in; only
//! `.interrupt` and `.pause` overtake.
//!
//! The hard thing is the end. A client that half-closes wants its last answers
//! first. Some that are fed through a pipe never say that they are at their end
//! (`echo 'print(1)' | nc` of Debian); they are told apart from people, and ended
//! when they have been quiet for a while.

mod input;

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{sleep_until, timeout},
};

use self::input::{Incoming, Input};
use crate::kernel::{
    Client,
    dialog::{Chunk, Dialog, Layout, Line, Piece, Tone},
    message::{Message, PublicationBody, RequestBody},
};

/// What comes so soon after the connection was opened was not typed.
const PIPED: Duration = Duration::from_millis(250);
/// How long a client that is fed through a pipe may say nothing before it is ended.
const QUIET: Duration = Duration::from_secs(1);
/// How long a line that overtakes waits for those before it to begin.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long the token may take to come.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the last words may take to be read.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes that may wait to be written before nothing more is done for a client.
const MOST_OUT: usize = 64 * 1024;
/// What `.help` has to add.
const HELP: &str = "\
On this connection:
.cancel                     drop an unfinished chunk
.stay                       keep a connection open that is fed through a pipe
.quit                       leave
";

/// How a client is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Longest line and longest chunk, in bytes.
    pub max_message: usize,
    /// When the connection was opened.
    pub opened: Instant,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { max_message: 1 << 20, opened: Instant::now() }
    }
}

/// Serves one client until it leaves or vanishes; what it runs then ends.
pub async fn serve(
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    client: Client,
    options: ServeOptions,
) {
    let mut talk = Talk::new(client, &options);
    if let Err(error) = talk.run(&mut input, &mut output).await {
        tracing::debug!(%error, "a client has vanished");
        return;
    }
    let Talk { client, at_end, .. } = talk;
    drop(client);
    let farewell = async {
        output.shutdown().await?;
        // Closing with bytes unread would take the last words away again.
        let mut rest = [0; 4096];
        while !at_end && input.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    if !matches!(timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
        tracing::debug!("a client has not read its last words, or goes on talking");
    }
}

/// A line that overtakes.
struct Urgent {
    line: String,
    /// How many lines have come before it.
    after: u64,
    /// When it goes in any case.
    due: Instant,
}

/// One client's lines and answers.
// Independent facts, each of which has a name.
#[allow(clippy::struct_excessive_bools)]
struct Talk {
    client: Client,
    max_message: usize,
    opened: Instant,
    lines: Input,
    /// Lines whose turn has not come, and their size.
    pending: VecDeque<Incoming>,
    pending_bytes: usize,
    urgent: VecDeque<Urgent>,
    /// Lines that came in, and lines whose turn has come.
    arrived: u64,
    taken: u64,
    chunk: Chunk,
    dialog: Dialog,
    layout: Layout,
    output: Vec<u8>,
    /// The client may use the kernel.
    is_known: bool,
    /// Whether the first bytes came so soon that they were not typed.
    is_piped: Option<bool>,
    /// When something was last read or written.
    last: Instant,
    /// No more will come in.
    at_end: bool,
    /// No more is taken: `.quit`, an end by the kernel, a refusal.
    closing: bool,
    /// It has been made sure that nothing stands still for this client.
    let_go: bool,
    help: Option<String>,
    gone: bool,
}

impl Talk {
    fn new(client: Client, options: &ServeOptions) -> Self {
        let is_known = client.kernel().token().is_none();
        Self {
            client,
            max_message: options.max_message,
            opened: options.opened,
            lines: Input::new(options.max_message),
            pending: VecDeque::new(),
            pending_bytes: 0,
            urgent: VecDeque::new(),
            arrived: 0,
            taken: 0,
            chunk: Chunk::default(),
            dialog: Dialog::default(),
            layout: Layout::default(),
            output: Vec::new(),
            is_known,
            is_piped: None,
            last: Instant::now(),
            at_end: false,
            closing: false,
            let_go: false,
            help: None,
            gone: false,
        }
    }

    /// Until all is said. Fails if the client vanishes.
    async fn run(
        &mut self,
        input: &mut (impl AsyncRead + Unpin),
        output: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(4096);
        loop {
            self.advance();
            if self.is_over() && self.output.is_empty() {
                return Ok(());
            }
            let reads = !self.at_end
                && !self.closing
                && self.pending_bytes <= self.max_message
                && self.output.len() < MOST_OUT;
            let listens = !self.gone && self.output.len() < MOST_OUT;
            let wakes = self.wakes();
            let due = wakes.unwrap_or_else(Instant::now).into();
            tokio::select! {
                count = input.read_buf(&mut bytes), if reads => {
                    if count? == 0 {
                        self.at_end = true;
                        let last = self.lines.finish();
                        self.incoming(last);
                    } else {
                        let opened = self.opened;
                        self.is_piped.get_or_insert_with(|| opened.elapsed() < PIPED);
                        let (incoming, answer) = self.lines.push(&bytes);
                        self.output.extend(answer);
                        self.incoming(incoming);
                        bytes.clear();
                    }
                    self.last = Instant::now();
                }
                count = output.write(&self.output), if !self.output.is_empty() => {
                    let count = count?;
                    if count == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    self.output.drain(..count);
                    self.last = Instant::now();
                }
                message = self.client.next(), if listens => self.message(message),
                () = sleep_until(due), if wakes.is_some() => {}
            }
        }
    }

    /// When something is due though nothing comes.
    fn wakes(&self) -> Option<Instant> {
        let handshake = (!self.is_known && !self.closing).then(|| self.opened + HANDSHAKE);
        let urgent = self.urgent.front().map(|urgent| urgent.due);
        [handshake, urgent, self.quiet_end()].into_iter().flatten().min()
    }

    /// When a client that is fed through a pipe has been quiet for long enough.
    fn quiet_end(&self) -> Option<Instant> {
        let waits = self.is_piped == Some(true)
            && !self.at_end
            && !self.closing
            && self.pending.is_empty()
            && self.output.is_empty()
            && self.dialog.is_ready();
        waits.then(|| self.last + QUIET)
    }

    fn incoming(&mut self, incoming: impl IntoIterator<Item = Incoming>) {
        for incoming in incoming {
            let urgent = match &incoming {
                Incoming::Interrupt => Some(".interrupt"),
                Incoming::Line(line) => {
                    [".interrupt", ".pause"].into_iter().find(|it| line.trim() == *it)
                }
                _ => None,
            };
            if let Some(line) = urgent.filter(|_| self.is_known) {
                let (line, after) = (line.to_owned(), self.arrived);
                self.urgent.push_back(Urgent { line, after, due: Instant::now() + PATIENCE });
                continue;
            }
            self.arrived += 1;
            self.pending_bytes += size(&incoming);
            self.pending.push_back(incoming);
        }
    }

    /// Does whatever can be done now.
    fn advance(&mut self) {
        let now = Instant::now();
        if !self.is_known && !self.closing && now >= self.opened + HANDSHAKE {
            return self.refuse("the token has not come: the first line must be .token TOKEN");
        }
        while self.dialog.is_ready() && !self.closing {
            let Some(incoming) = self.pending.pop_front() else { break };
            self.pending_bytes -= size(&incoming);
            self.taken += 1;
            self.turn(incoming);
        }
        while let Some(urgent) = self.urgent.front() {
            let is_its_turn = self.taken >= urgent.after && self.dialog.has_begun();
            if !is_its_turn && now < urgent.due {
                break;
            }
            if let Some(Urgent { line, .. }) = self.urgent.pop_front() {
                let line = Line::Command(line);
                let id = self.client.send(self.dialog.request(&line));
                self.dialog.sent_beside(&id, &line);
            }
        }
        let is_quiet = self.quiet_end().is_some_and(|end| now >= end);
        if is_quiet && let Some(last) = self.lines.finish() {
            self.incoming([last]);
            self.at_end = true;
            return self.advance();
        }
        if (self.at_end || self.closing || is_quiet) && self.pending.is_empty() {
            self.wind_up();
        }
    }

    /// All lines have had their turn: nothing may keep the last answers.
    fn wind_up(&mut self) {
        if !self.dialog.is_ready() {
            return;
        }
        // Lua says what is missing.
        if let Some(line) = self.chunk.rest().filter(|_| !self.closing) {
            return self.send(line);
        }
        self.closing = true;
        if !self.dialog.is_idle() && !std::mem::replace(&mut self.let_go, true) {
            self.dialog.set_debugging(false);
            self.client.send(RequestBody::DebugRequest { enabled: false });
        }
    }

    /// Whether all is done, if not yet written.
    fn is_over(&self) -> bool {
        self.gone || (self.closing && self.dialog.is_idle())
    }

    /// A line's turn has come.
    fn turn(&mut self, incoming: Incoming) {
        let line = match incoming {
            Incoming::Line(line) => line,
            Incoming::NotText => {
                self.chunk = Chunk::default();
                if !self.is_known {
                    return self.authorize("");
                }
                let why = "the line is not UTF-8; in strings, write other bytes as \\xNN";
                return self.show(&Piece::error(why));
            }
            Incoming::TooLong => return self.refuse_long("the line"),
            Incoming::Interrupt => return,
        };
        let words: Vec<_> = line.split_whitespace().collect();
        if !self.is_known || (self.chunk.is_empty() && words.first() == Some(&".token")) {
            return self.authorize(&line);
        }
        if self.chunk.is_empty() {
            match words.as_slice() {
                [".stay"] => return self.is_piped = Some(false),
                [".quit" | ".exit"] => return self.close(),
                _ => {}
            }
        }
        if self.chunk.len() + line.len() > self.max_message {
            return self.refuse_long("the chunk");
        }
        if let Some(line) = self.chunk.push(&line) {
            self.send(line);
        }
    }

    /// Looks for the token.
    fn authorize(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let given = words.next().filter(|word| *word == ".token").and_then(|_| words.next());
        let expected = self.client.kernel().token();
        match given {
            _ if expected.is_none() => {}
            Some(given) if expected.is_some_and(|token| token.is(given)) => {
                self.is_known = true;
                // What was said before was not for it.
                while self.client.try_next().is_some() {}
            }
            Some(_) => self.refuse("this is not the kernel's token"),
            None => self.refuse("the kernel wants its token: the first line must be .token TOKEN"),
        }
    }

    fn send(&mut self, line: Line) {
        let id = self.client.send(self.dialog.request(&line));
        if line.command() == Some(".help") {
            self.help = Some(id.clone());
        }
        self.dialog.sent(&id, line);
    }

    fn message(&mut self, message: Option<Message>) {
        let Some(message) = message else {
            self.gone = true;
            return;
        };
        let is_shutdown = |it: &Message| matches!(it, Message::Publication(it) if it.body == PublicationBody::Shutdown {});
        if !self.is_known && !is_shutdown(&message) {
            return;
        }
        let is_help =
            matches!(&message, Message::Reply(it) if Some(&it.parent_id) == self.help.as_ref());
        for piece in self.dialog.take(message) {
            self.show(&piece);
        }
        if is_help {
            self.help = None;
            self.show(&Piece::lines(Tone::Answer, HELP));
        }
        self.last = Instant::now();
    }

    fn show(&mut self, piece: &Piece) {
        self.output.extend(self.layout.before(piece).as_bytes());
        self.output.extend(piece.text.as_bytes());
    }

    fn refuse_long(&mut self, what: &str) {
        let most = self.max_message;
        self.refuse(&format!("{what} is longer than {most} bytes; load a file with .load instead"));
    }

    /// Says why no more is taken.
    fn refuse(&mut self, why: &str) {
        self.show(&Piece::error(why));
        self.close();
    }

    /// Takes no more lines.
    fn close(&mut self) {
        self.closing = true;
        self.pending.clear();
        self.pending_bytes = 0;
        self.chunk = Chunk::default();
    }
}

/// Bytes that a line takes.
fn size(incoming: &Incoming) -> usize {
    match incoming {
        Incoming::Line(line) => line.len() + 1,
        _ => 1,
    }
}
