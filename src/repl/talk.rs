//! What the prompt, the thread that takes the kernel's messages and the one that
//! takes signals share.
//!
//! The hard thing is the terminal: it belongs to the line editor while a line is
//! typed, and to the output while something runs. One lock says whose it is.

use std::{
    collections::HashMap,
    io,
    process::exit,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::runtime::Handle;

use super::{Link, Options, Shared, terminal};
use crate::kernel::{
    dialog::{Dialog, Layout, Line, Piece, Tone},
    message::{Message, Position, ReplyBody, RequestBody},
    signals::{self, Signal},
};

/// Exit code of a process that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;
/// Exit code of a process that SIGTERM has ended.
const TERMINATED: u8 = 143;
/// How long a completion may take before the prompt does without.
const COMPLETION: Duration = Duration::from_millis(300);

/// See the module.
pub(super) struct Talk {
    link: Link,
    state: Mutex<State>,
    changed: Condvar,
    interactive: bool,
}

struct State {
    dialog: Dialog,
    layout: Layout,
    looks: Looks,
    /// Takes what comes while a line is typed.
    editor: Option<mpsc::Sender<String>>,
    is_typing: bool,
    /// Completions that are waited for, by message id.
    asked: HashMap<String, mpsc::Sender<ReplyBody>>,
    /// What the prompt adds to the answer of `.help`.
    help: Option<String>,
    /// Interrupts since the last line was sent.
    interrupts: u32,
    ended: Option<String>,
}

/// Where color is wanted.
#[derive(Clone, Copy)]
struct Looks {
    stdout: bool,
    stderr: bool,
}

impl Talk {
    /// Begins to take messages and signals.
    pub(super) fn start(
        link: Link,
        options: &Options,
        interactive: bool,
        runtime: &Handle,
    ) -> Result<Shared, String> {
        let talk = Arc::new(Self {
            link,
            state: Mutex::new(State {
                dialog: Dialog::default(),
                layout: Layout::default(),
                looks: Looks { stdout: options.color, stderr: options.color_errors },
                editor: None,
                is_typing: false,
                asked: HashMap::new(),
                help: None,
                interrupts: 0,
                ended: None,
            }),
            changed: Condvar::new(),
            interactive,
        });
        let (this, runtime) = (Arc::clone(&talk), runtime.clone());
        let listen = move || runtime.block_on(this.listen());
        let thread = thread::Builder::new().name("llmspell-answers".to_owned()).spawn(listen);
        thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        let this = Arc::clone(&talk);
        signals::on_signals(&[Signal::Interrupt, Signal::Terminate], move |signal| match signal {
            Signal::Interrupt => this.interrupt(),
            _ => this.leave_at_once(TERMINATED),
        })
        .map_err(|error| format!("cannot handle signals: {error}"))?;
        Ok(talk)
    }

    /// Sends a line.
    pub(super) fn send(&self, line: Line) -> Result<(), String> {
        let mut state = self.state();
        let id = self.link.send(state.dialog.request(&line))?;
        if line.command() == Some(".help") && self.interactive {
            state.help = Some(id.clone());
        }
        state.interrupts = 0;
        state.dialog.sent(&id, line);
        Ok(())
    }

    /// Has programs stop here at breakpoints, or no longer.
    pub(super) fn debug(&self, enabled: bool) -> Result<(), String> {
        let mut state = self.state();
        self.link.send(RequestBody::DebugRequest { enabled })?;
        state.dialog.set_debugging(enabled);
        Ok(())
    }

    /// Waits until the next line may go.
    pub(super) fn wait_until_ready(&self) -> Result<(), String> {
        self.wait_until(Dialog::is_ready)
    }

    /// Lets what has stopped go on, and waits for its end.
    pub(super) fn let_go(&self) -> Result<(), String> {
        if self.state().dialog.is_idle() {
            return Ok(());
        }
        self.debug(false)?;
        self.wait_until(Dialog::is_idle)
    }

    fn wait_until(&self, is_so: impl Fn(&Dialog) -> bool) -> Result<(), String> {
        let mut state = self.state();
        loop {
            if let Some(why) = &state.ended {
                return Err(why.clone());
            }
            if is_so(&state.dialog) {
                return Ok(());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What the prompt looks at.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Dialog) -> T) -> T {
        look(&mut self.state().dialog)
    }

    /// Whether the kernel is in this process, and nobody else's.
    pub(super) fn is_local(&self) -> bool {
        self.link.is_local()
    }

    /// Whether somebody wants it to end that cannot be asked again.
    pub(super) fn is_interrupted(&self) -> bool {
        !self.interactive && self.state().interrupts > 0
    }

    /// Gives the terminal to the line editor.
    pub(super) fn begin_typing(&self) {
        let mut state = self.state();
        let rest = state.layout.finish_line();
        write(&mut io::stdout(), rest.as_bytes());
        state.is_typing = true;
    }

    /// Takes it back.
    pub(super) fn end_typing(&self) {
        self.state().is_typing = false;
    }

    /// Has what comes while a line is typed go there.
    pub(super) fn set_editor(&self, editor: mpsc::Sender<String>) {
        self.state().editor = Some(editor);
    }

    /// Shows something of the prompt's own.
    pub(super) fn show(&self, piece: &Piece) {
        self.state().show(piece);
    }

    /// What could be written at a place; nothing if that takes long.
    pub(super) fn completions(&self, code: &str, at: usize) -> Option<ReplyBody> {
        let (sender, receiver) = mpsc::channel();
        let id = {
            let mut state = self.state();
            let place = Position { code: code.to_owned(), cursor_pos: Some(at) };
            let id = self.link.send(RequestBody::CompleteRequest(place)).ok()?;
            state.asked.insert(id.clone(), sender);
            id
        };
        let answer = receiver.recv_timeout(COMPLETION);
        self.state().asked.remove(&id);
        answer.ok()
    }

    /// Takes messages until none will come.
    async fn listen(&self) {
        while let Some(message) = self.link.next().await {
            self.take(message);
            self.changed.notify_all();
        }
        let why = self.link.ending();
        let is_typing = {
            let mut state = self.state();
            state.ended = Some(why.clone());
            state.is_typing
        };
        self.changed.notify_all();
        if is_typing {
            // The line editor waits for a key, and cannot be told.
            terminal::restore();
            self.state().is_typing = false;
            self.show(&Piece::error(&why));
            exit(1);
        }
    }

    fn take(&self, message: Message) {
        let mut state = self.state();
        let mut is_help = false;
        let mut is_exit = false;
        if let Message::Reply(reply) = &message {
            if let Some(asked) = state.asked.remove(&reply.parent_id) {
                // Whoever asked may have given up.
                let _ = asked.send(reply.body.clone());
                return;
            }
            is_help = state.help.take_if(|id| *id == reply.parent_id).is_some();
            is_exit = matches!(&reply.body, ReplyBody::ExecuteReply(it) if it.exit_code.is_some());
        }
        let pieces = state.dialog.take(message);
        // `os.exit` at a prompt of one's own ends the prompt.
        if is_exit && self.is_local() {
            return;
        }
        for piece in pieces {
            state.show(&piece);
        }
        if is_help {
            state.show(&Piece::lines(Tone::Answer, super::HELP));
        }
    }

    /// Ctrl-C, while no line is typed.
    fn interrupt(&self) {
        let mut state = self.state();
        if state.is_typing {
            return;
        }
        state.interrupts += 1;
        let is_idle = state.dialog.is_ready();
        if state.interrupts > 1 || (is_idle && !self.interactive) {
            drop(state);
            self.leave_at_once(INTERRUPTED);
        }
        if let Err(error) = self.link.send(RequestBody::InterruptRequest {}) {
            tracing::debug!(%error, "the interrupt is not sent");
        }
    }

    fn leave_at_once(&self, code: u8) -> ! {
        if self.interactive {
            terminal::restore();
        }
        exit(i32::from(code))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn show(&mut self, piece: &Piece) {
        if piece.text.is_empty() {
            return;
        }
        if self.is_typing
            && let Some(editor) = &self.editor
        {
            let line_end = if piece.text.ends_with('\n') { "" } else { "\n" };
            let text = painted(piece, self.looks.stdout) + line_end;
            // Gone only when the prompt is.
            let _ = editor.send(text);
            return;
        }
        write(&mut io::stdout(), self.layout.before(piece).as_bytes());
        if matches!(piece.tone, Tone::Error | Tone::ErrorOutput) {
            write(&mut io::stderr(), painted(piece, self.looks.stderr).as_bytes());
        } else {
            write(&mut io::stdout(), painted(piece, self.looks.stdout).as_bytes());
        }
    }
}

fn write(to: &mut impl io::Write, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    // Nobody to tell if nobody reads.
    let _ = to.write_all(bytes).and_then(|()| to.flush());
}

/// A piece in its color.
fn painted(piece: &Piece, color: bool) -> String {
    let text = &piece.text;
    let (paint, length) = match piece.tone {
        _ if !color => return text.clone(),
        Tone::Output | Tone::ErrorOutput | Tone::Answer | Tone::Value => return text.clone(),
        Tone::Error => ("1;31", text.find(':').map_or(0, |colon| colon + 1)),
        Tone::Stop => ("33", text.find('\n').unwrap_or(text.len())),
        Tone::Console | Tone::Notice => ("36", text.trim_end().len()),
    };
    let (marked, rest) = text.split_at(length);
    format!("\x1b[{paint}m{marked}\x1b[0m{rest}")
}
