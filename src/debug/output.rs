//! What the program prints: bytes, on their way to the terminal and to an
//! attached front end.
//!
//! Pieces are gathered and passed on when there are many, when the program
//! stops, waits or ends, and otherwise by a thread 20 ms after the first: a
//! program that prints ten thousand lines pays for a few writes.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::debug::{
    model::{Event, Output as Piece, OutputCategory, Source},
    shared::{Shared, StopRequest, lock},
};

/// Passed on at once when this much has gathered, in bytes.
const ENOUGH: usize = 16 * 1024;
/// How long a piece may wait for company.
const PATIENCE: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Clone)]
pub(crate) struct Output {
    inner: Arc<Inner>,
}

struct Inner {
    pending: Mutex<Pending>,
    console: bool,
    unbuffered: AtomicBool,
}

#[derive(Default)]
struct Pending {
    pieces: Vec<Piece>,
    size: usize,
    pump: bool,
    owner: Weak<Shared>,
}

impl Output {
    /// Output that also goes to this process's own streams if `console`.
    pub(crate) fn new(console: bool) -> Self {
        let unbuffered = AtomicBool::new(console && io::stdout().is_terminal());
        let pending = Mutex::default();
        Self { inner: Arc::new(Inner { pending, console, unbuffered }) }
    }

    /// Whom the pieces are also told to.
    pub(super) fn set_owner(&self, owner: Weak<Shared>) {
        lock(&self.inner.pending).owner = owner;
    }

    /// Takes a piece. One after another in the same stream from the same line
    /// become one.
    pub(super) fn write(
        &self,
        category: OutputCategory,
        bytes: &[u8],
        location: Option<(Source, u32)>,
    ) {
        let mut pending = lock(&self.inner.pending);
        pending.size += bytes.len();
        match pending.pieces.last_mut() {
            Some(last) if last.category == category && last.location == location => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => pending.pieces.push(Piece { category, bytes: bytes.to_vec(), location }),
        }
        if pending.size >= ENOUGH || self.inner.unbuffered.load(Ordering::Relaxed) {
            self.inner.pass_on(&mut pending);
        } else if !pending.pump {
            pending.pump = true;
            let inner = Arc::downgrade(&self.inner);
            let started = std::thread::Builder::new()
                .name("llmspell-output".to_owned())
                .spawn(move || pump(&inner));
            if started.is_err() {
                pending.pump = false;
                self.inner.pass_on(&mut pending);
            }
        }
    }

    /// Passes on what has gathered, and from now on everything at once: nobody
    /// will be there to do it later.
    pub(super) fn write_through(&self) {
        self.inner.unbuffered.store(true, Ordering::Relaxed);
        self.flush();
    }

    /// Passes on what has gathered.
    pub(crate) fn flush(&self) {
        self.inner.pass_on(&mut lock(&self.inner.pending));
    }
}

impl Inner {
    /// Writes and sends, in order. A closed pipe ends nothing here: the script
    /// goes on, as it would under Lua.
    fn pass_on(&self, pending: &mut Pending) {
        pending.size = 0;
        if pending.pieces.is_empty() {
            return;
        }
        let owner = pending.owner.upgrade().filter(|owner| owner.heard());
        let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr().lock());
        for piece in std::mem::take(&mut pending.pieces) {
            // The last words of a program must reach somebody.
            let last_resort = owner.is_none() && piece.category == OutputCategory::Stderr;
            if self.console || last_resort {
                let written = match piece.category {
                    OutputCategory::Stdout => stdout.write_all(&piece.bytes),
                    OutputCategory::Stderr => stderr.write_all(&piece.bytes),
                    OutputCategory::Console if owner.is_none() => stderr.write_all(&piece.bytes),
                    OutputCategory::Console => Ok(()),
                };
                // Nobody reads any more: what `SIGPIPE` would say to other programs.
                if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
                    && let Some(program) = pending.owner.upgrade()
                {
                    program.request_stop(StopRequest::Terminate);
                }
            }
            if let Some(owner) = &owner {
                owner.send(Event::Output(piece));
            }
        }
        let _ = stdout.flush();
    }
}

/// Passes on what nobody else did in time. Lives for one batch: a program that
/// is silent costs no thread.
fn pump(inner: &Weak<Inner>) {
    std::thread::sleep(PATIENCE);
    if let Some(inner) = inner.upgrade() {
        let mut pending = lock(&inner.pending);
        pending.pump = false;
        inner.pass_on(&mut pending);
    }
}
