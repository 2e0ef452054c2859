//! The terminal debugger: a front end of the debug core, as DAP is one.
//!
//! All that happens is a [`Message`], and one loop on the thread that owns the
//! screen takes them one after another. It never waits for Lua: questions are
//! asked by [`questions`], and the script's output is gathered until there is
//! time to draw.

mod commands;
mod input;
mod keys;
mod layout;
mod log;
mod look;
mod prompts;
mod questions;
mod screen;
mod source;
mod state;
mod terminal;
mod text;
mod view;

use std::{
    collections::HashSet,
    fs::File,
    io::Read as _,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use crossterm::event::{Event as TerminalEvent, KeyEvent, KeyEventKind};

use crate::{
    debug::{Event, OutputCategory, Parting, Program, Source},
    session::{Outcome, Session},
};
use log::Gathered;
use questions::Answer;
use screen::{Abilities, Screen};
use state::{Run, State, Wish};
use terminal::{Stream, Terminal};

pub(crate) use terminal::give_back;

/// No more pictures than one in this time.
const FRAME: Duration = Duration::from_millis(15);
/// Messages taken in between two pictures at most.
const MOST_MESSAGES: usize = 1000;

/// Everything that can happen.
enum Message {
    Key(KeyEvent),
    /// Columns and rows.
    Resized((usize, usize)),
    /// No keys will come any more, and why.
    KeysEnded(String),
    Core(Event),
    /// There is output.
    Printed,
    /// There are [`Changes`].
    TablesChanged,
    Answered(Answer),
    Ended(Outcome),
    /// The script has called `os.exit` and waits for what becomes of it.
    ExitCalled(i64, mpsc::Sender<Parting>),
    /// A signal that asks for an end.
    Signal(i32),
    /// The process was stopped, and goes on.
    Continued,
}

/// Changes of the core's tables that the screen does not show yet.
#[derive(Default)]
struct Changes {
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// A message about them is on its way.
    told: bool,
    /// Files that were loaded again.
    reloaded: HashSet<Source>,
}

impl Changes {
    /// Notes that something has changed; whether it has to be told.
    fn note(&self, reloaded: Option<Source>) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.reloaded.extend(reloaded);
        !std::mem::replace(&mut noted.told, true)
    }

    /// The files that were loaded again.
    fn take(&self) -> HashSet<Source> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner)).reloaded
    }
}

/// Where signals are told: they may come before there is a screen.
pub struct Inbox {
    sender: mpsc::Sender<Message>,
    receiver: mpsc::Receiver<Message>,
}

/// Tells the debugger of signals.
#[derive(Clone)]
pub struct Signals {
    sender: mpsc::Sender<Message>,
}

/// How the screen looks.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// Whether colors are used.
    pub color: bool,
    /// Whether the terminal shows more than ASCII.
    pub unicode: bool,
}

/// How it came to an end.
#[derive(Debug)]
pub struct End {
    /// What the process should end with.
    pub exit_code: i64,
    /// What to say about it, where the screen was.
    pub words: Option<String>,
}

impl Default for Inbox {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }
}

impl Inbox {
    /// Who tells of signals.
    pub fn signals(&self) -> Signals {
        Signals { sender: self.sender.clone() }
    }
}

impl Signals {
    /// The process is to end.
    pub fn end(&self, number: i32) {
        // Nobody is there if it has ended.
        let _ = self.sender.send(Message::Signal(number));
    }

    /// The process was stopped, and goes on.
    pub fn goes_on(&self) {
        let _ = self.sender.send(Message::Continued);
    }
}

/// Debugs a program until the user has had enough. The session should send its
/// output to its debugger only.
///
/// # Errors
/// If there is no terminal, or another debugger is attached.
pub fn run(inbox: Inbox, session: &Session, program: Program, looks: Looks) -> Result<End, String> {
    let failed = |error: std::io::Error| format!("cannot use the terminal: {error}");
    let mut terminal = Terminal::take().map_err(failed)?;
    let Inbox { sender, receiver } = inbox;
    let gathered = Arc::new(Gathered::default());
    for (stream, file) in std::mem::take(&mut terminal.written) {
        spawn("llmspell-written", copier(stream, file, &gathered, &sender))?;
    }
    spawn("llmspell-keys", key_reader(sender.clone()))?;
    let changes = Arc::new(Changes::default());
    let sink = sink(sender.clone(), Arc::clone(&gathered), Arc::clone(&changes));
    let attachment = session.control().attach("llmspell debug", sink)?;
    let size = terminal.size();
    let mut state = State::new(session, program, sender, gathered, changes, size)?;
    state.begin();
    let abilities = Abilities { color: looks.color, unicode: looks.unicode };
    let served = serve(&mut state, &mut terminal, &receiver, abilities);
    drop(terminal);
    // Before it is let go, so that it does not run a single line more.
    session.control().terminate();
    let end = End { exit_code: state.exit.unwrap_or(1), words: state.failure.take() };
    if let Run::Exiting(_, parting) = &state.run {
        let _ = parting.send(Parting::Leave);
    }
    drop(attachment);
    served.map_err(failed)?;
    Ok(end)
}

/// The loop: takes messages, draws, until there is an exit code.
fn serve(
    state: &mut State<'_>,
    terminal: &mut Terminal,
    messages: &mpsc::Receiver<Message>,
    abilities: Abilities,
) -> std::io::Result<()> {
    let mut drawn: Option<Screen> = None;
    while state.exit.is_none() {
        if let Some(wish) = state.wish.take() {
            if wish == Wish::Suspend {
                terminal::suspend();
            }
            terminal.enter()?;
            state.size = terminal.size();
            drawn = None;
        }
        state.settle();
        let picture = view::draw(state);
        terminal.write(&screen::difference(drawn.as_ref(), &picture, abilities))?;
        drawn = Some(picture);
        let next = Instant::now() + FRAME;
        let Ok(message) = messages.recv() else { return Ok(()) };
        state.handle(message);
        for _ in 0..MOST_MESSAGES {
            let left = next.saturating_duration_since(Instant::now());
            let Ok(message) = messages.recv_timeout(left) else { break };
            state.handle(message);
            if state.exit.is_some() || state.wish.is_some() {
                break;
            }
        }
    }
    Ok(())
}

/// What the core tells; runs on the Lua thread.
fn sink(
    messages: mpsc::Sender<Message>,
    gathered: Arc<Gathered>,
    changes: Arc<Changes>,
) -> Box<dyn Fn(Event) + Send + Sync> {
    Box::new(move |event| {
        let message = match event {
            Event::Output(output) => {
                if !gathered.push(output.category, output.bytes) {
                    return;
                }
                Message::Printed
            }
            Event::BreakpointChanged(_) | Event::SourceLoaded(_, true) => {
                if !changes.note(None) {
                    return;
                }
                Message::TablesChanged
            }
            Event::SourceLoaded(source, false) => {
                if !changes.note(Some(source)) {
                    return;
                }
                Message::TablesChanged
            }
            event => Message::Core(event),
        };
        // Nobody is there if the debugger has ended.
        let _ = messages.send(message);
    })
}

/// Reads what is written past the session: by programs that the script starts,
/// by C modules, by the log.
fn copier(
    stream: Stream,
    mut file: File,
    gathered: &Arc<Gathered>,
    messages: &mpsc::Sender<Message>,
) -> impl FnOnce() + Send + 'static {
    let (gathered, messages) = (Arc::clone(gathered), messages.clone());
    let category = match stream {
        Stream::Stdout => OutputCategory::Stdout,
        Stream::Stderr => OutputCategory::Stderr,
    };
    move || {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = file.read(&mut buffer) {
            let is_first = gathered.push(category, buffer[..count].to_vec());
            if is_first && messages.send(Message::Printed).is_err() {
                return;
            }
        }
    }
}

fn key_reader(messages: mpsc::Sender<Message>) -> impl FnOnce() + Send + 'static {
    move || {
        loop {
            let message = match crossterm::event::read() {
                Ok(TerminalEvent::Key(key)) if key.kind != KeyEventKind::Release => {
                    Message::Key(key)
                }
                Ok(TerminalEvent::Resize(columns, rows)) => {
                    Message::Resized((columns.into(), rows.into()))
                }
                Ok(_) => continue,
                Err(error) => Message::KeysEnded(error.to_string()),
            };
            let ends = matches!(message, Message::KeysEnded(_));
            if messages.send(message).is_err() || ends {
                return;
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}
