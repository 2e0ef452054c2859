//! What the Lua thread and everybody else share: flags, tables, the mailbox.
//!
//! The hard thing is reaching a VM that runs without a hook. [`Shared::kick`]
//! signals its thread (SIGURG, as Go's preemption does); the handler does what
//! lua.c does on Ctrl-C, `lua_sethook` on the running state, and the hook then
//! finds [`PENDING`] set. A Lua thread that waits in the mailbox is woken by its
//! condition variable instead.

#![allow(unsafe_code)]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::debug::{
    breakpoints::Tables,
    inspector::Inspector,
    model::{Event, Resume},
    output::Output,
    vm::Vm,
};

/// Something for the Lua thread to look at: mail, a pause, changed tables.
pub(super) const PENDING: u32 = 1;
/// A step is under way.
pub(super) const STEPPING: u32 = 2;
/// The Lua thread evaluates for a front end; the program stands still.
pub(super) const EVALUATING: u32 = 4;
/// The program is being ended; no hook may let it go on.
pub(super) const STOPPING: u32 = 8;

/// Epochs are larger than every count that a hook is set with (see `hook`).
const FIRST_EPOCH: i32 = 1_000_000;

/// A letter to the Lua thread.
pub(super) enum Mail {
    /// Look into the VM.
    Visit(Visit),
    /// Go on after a stop.
    Resume(Resume),
    /// Do some work between two executions (execute a file, shut down).
    Work(Work),
}

/// See [`Mail::Work`].
pub type Work = Box<dyn FnOnce(&Vm) -> After + Send>;

/// What the Lua thread does after a piece of work.
pub enum After {
    /// The next one.
    Next,
    /// This one, on a new VM.
    Again(Work),
    /// Nothing: it ends.
    Leave,
}

/// See [`Mail::Visit`].
pub(super) type Visit = Box<dyn FnOnce(&Inspector<'_>) + Send>;

/// Receives events; must not block.
pub(super) type Sink = Box<dyn Fn(Event) + Send + Sync>;

/// What the program is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RunState {
    /// Nothing runs (before the first execution, between two of them).
    Idle,
    /// A script is loaded and waits for a debugger's word (`--wait`).
    Waiting,
    /// Lua runs, or a native function called from Lua.
    Running,
    /// The debugger has stopped it.
    Stopped,
    /// The session has ended.
    Finished,
}

/// Why a program is being ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StopRequest {
    /// Ctrl-C.
    Interrupt = 1,
    /// Its time limit.
    Timeout,
    /// A debugger's `terminate`.
    Terminate,
    /// A debugger's `restart`: end, then run again.
    Restart,
    /// The script's own `os.exit`, where that must not end the process.
    Exit,
}

/// What becomes of a process whose script has called `os.exit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It ends.
    Leave,
    /// It stays: somebody has asked for an end of the program alone, or for
    /// another run. Without such a request it ends all the same.
    Stay,
}

/// How a wait on the Lua thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for has come.
    Done,
    /// The program is being ended.
    Stopped,
    /// Somebody cancelled this wait.
    Cancelled,
}

/// See the module.
pub(super) struct Shared {
    /// [`PENDING`] and its siblings.
    pub(super) attention: AtomicU32,
    /// Changes whenever the tables do; [`FIRST_EPOCH`] or more.
    pub(super) epoch: AtomicI32,
    /// A pause is wanted.
    pub(super) pause: AtomicBool,
    /// The running evaluation is to end.
    pub(super) cancel_evaluation: AtomicBool,
    /// Progress id whose wait is to end; 0 for none.
    pub(super) cancel_progress: AtomicU32,
    /// The debugger has said `configurationDone`.
    pub(super) configured: AtomicBool,
    /// See [`crate::debug::Control::expect_debugger`].
    pub(super) expected: AtomicBool,
    /// A debugger left and asked for the program to stay stopped.
    pub(super) held: AtomicBool,
    /// The debugger only listens: nothing stops the program.
    pub(super) passive: AtomicBool,
    /// The program was stopped when the debugger came.
    pub(super) stopped_before: AtomicBool,
    /// A new debugger is to be told that the program is stopped.
    pub(super) announce: AtomicBool,
    /// Stop at the first line executed.
    pub(super) entry: AtomicBool,
    /// Output of the program.
    pub(super) output: Output,
    stop: AtomicU8,
    state: AtomicU8,
    tables: Mutex<Tables>,
    mailbox: Mutex<Mailbox>,
    arrived: Condvar,
    thread: Mutex<Option<libc::pthread_t>>,
    listener: Mutex<Option<Listener>>,
    /// Told of everything; by number.
    observers: Mutex<Vec<(u64, Arc<Sink>)>>,
    /// How many front ends beside the attached debugger let the program stop.
    pub(super) pilots: AtomicU32,
    /// `os.exit` ends the program, not the process.
    pub(super) contain_exit: AtomicBool,
    /// The code that a contained `os.exit` was called with.
    pub(super) exit_code: AtomicI64,
    watch: Mutex<Option<StopWatch>>,
    /// What `os.exit` calls before it ends the process.
    farewell: Mutex<Option<Farewell>>,
}

type StopWatch = Box<dyn Fn(StopRequest) + Send>;
/// See [`crate::debug::Control::on_exit`].
type Farewell = Box<dyn Fn(i64) -> Parting + Send>;

#[derive(Default)]
struct Mailbox {
    letters: VecDeque<Mail>,
    waiting: bool,
    closed: bool,
}

struct Listener {
    who: String,
    number: u64,
    sink: Sink,
}

impl Shared {
    pub(super) fn new(output: Output) -> Self {
        Self {
            attention: AtomicU32::new(0),
            epoch: AtomicI32::new(FIRST_EPOCH),
            pause: AtomicBool::new(false),
            cancel_evaluation: AtomicBool::new(false),
            cancel_progress: AtomicU32::new(0),
            configured: AtomicBool::new(false),
            expected: AtomicBool::new(false),
            held: AtomicBool::new(false),
            passive: AtomicBool::new(false),
            stopped_before: AtomicBool::new(false),
            announce: AtomicBool::new(false),
            entry: AtomicBool::new(false),
            output,
            stop: AtomicU8::new(0),
            state: AtomicU8::new(RunState::Idle as u8),
            tables: Mutex::default(),
            mailbox: Mutex::default(),
            arrived: Condvar::new(),
            thread: Mutex::new(None),
            listener: Mutex::new(None),
            observers: Mutex::default(),
            pilots: AtomicU32::new(0),
            contain_exit: AtomicBool::new(false),
            exit_code: AtomicI64::new(0),
            watch: Mutex::new(None),
            farewell: Mutex::new(None),
        }
    }

    /// The breakpoint tables. Never held while user code runs.
    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }

    /// Tells the Lua thread that the tables have changed.
    pub(super) fn tables_changed(&self) {
        let next = |epoch: i32| Some(if epoch == i32::MAX { FIRST_EPOCH } else { epoch + 1 });
        let _ = self.epoch.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        self.kick();
    }

    pub(super) fn state(&self) -> RunState {
        match self.state.load(Ordering::SeqCst) {
            0 => RunState::Idle,
            1 => RunState::Waiting,
            2 => RunState::Running,
            3 => RunState::Stopped,
            _ => RunState::Finished,
        }
    }

    pub(super) fn set_state(&self, state: RunState) {
        self.state.store(state as u8, Ordering::SeqCst);
    }

    /// Changes one state into another; `false` if it is a third.
    pub(super) fn change_state(&self, from: RunState, to: RunState) -> bool {
        self.state
            .compare_exchange(from as u8, to as u8, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// The reason why the program is to end, if it is.
    pub(super) fn stop_request(&self) -> Option<StopRequest> {
        match self.stop.load(Ordering::SeqCst) {
            1 => Some(StopRequest::Interrupt),
            2 => Some(StopRequest::Timeout),
            3 => Some(StopRequest::Terminate),
            4 => Some(StopRequest::Restart),
            5 => Some(StopRequest::Exit),
            _ => None,
        }
    }

    /// See [`crate::debug::Control::on_stop_request`].
    pub(super) fn on_stop_request(&self, watch: Box<dyn Fn(StopRequest) + Send>) {
        *lock(&self.watch) = Some(watch);
    }

    /// See [`crate::debug::Control::on_exit`].
    pub(super) fn on_exit(&self, farewell: Farewell) {
        *lock(&self.farewell) = Some(farewell);
    }

    /// The script is about to end the process.
    pub(super) fn tell_exit(&self, code: i64) -> Parting {
        if self.contain_exit.load(Ordering::SeqCst) {
            self.exit_code.store(code & 0xff, Ordering::SeqCst);
            self.request_stop(StopRequest::Exit);
            return Parting::Stay;
        }
        self.output.write_through();
        // Taken out: it is told once, and nothing is locked meanwhile.
        let farewell = lock(&self.farewell).take();
        farewell.map_or(Parting::Leave, |farewell| farewell(code))
    }

    /// Ends the program; the first request stands.
    pub(super) fn request_stop(&self, request: StopRequest) {
        let first =
            self.stop.compare_exchange(0, request as u8, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok()
            && let Some(watch) = &*lock(&self.watch)
        {
            watch(request);
        }
        self.cancel_evaluation.store(true, Ordering::SeqCst);
        self.kick();
    }

    pub(super) fn clear_stop_request(&self) {
        self.stop.store(0, Ordering::SeqCst);
        self.attention.fetch_and(!STOPPING, Ordering::SeqCst);
        self.cancel_evaluation.store(false, Ordering::SeqCst);
    }

    /// Puts a letter into the mailbox; `false` if nobody will read it.
    pub(super) fn post(&self, mail: Mail) -> bool {
        let mut mailbox = lock(&self.mailbox);
        if mailbox.closed {
            return false;
        }
        mailbox.letters.push_back(mail);
        drop(mailbox);
        self.kick();
        true
    }

    /// Makes the Lua thread look at its flags and its mail, wherever it is.
    pub(super) fn kick(&self) {
        self.attention.fetch_or(PENDING, Ordering::SeqCst);
        let waiting = lock(&self.mailbox).waiting;
        self.arrived.notify_all();
        if waiting {
            return;
        }
        if let Some(thread) = *lock(&self.thread) {
            // SAFETY: the thread is alive: it takes itself out, under this lock,
            // before it ends.
            unsafe { libc::pthread_kill(thread, libc::SIGURG) };
        }
    }

    /// Makes the calling thread the one that [`Shared::kick`] signals.
    pub(super) fn enter_thread(&self) {
        // SAFETY: always succeeds.
        *lock(&self.thread) = Some(unsafe { libc::pthread_self() });
    }

    /// The calling thread will run no Lua any more.
    pub(super) fn leave_thread(&self) {
        *lock(&self.thread) = None;
        let mut mailbox = lock(&self.mailbox);
        mailbox.closed = true;
        // Dropped letters tell their senders.
        let letters = std::mem::take(&mut mailbox.letters);
        drop(mailbox);
        drop(letters);
    }

    /// The next letter, if there is one. Work is left alone: it is for a VM that
    /// has nothing else to do.
    pub(super) fn next_letter(&self) -> Option<Mail> {
        let mut mailbox = lock(&self.mailbox);
        let position = mailbox.letters.iter().position(|mail| !matches!(mail, Mail::Work(_)))?;
        mailbox.letters.remove(position)
    }

    /// Whether there is something to look at beyond this epoch of the tables.
    pub(super) fn has_news(&self, epoch: i32) -> bool {
        self.pause.load(Ordering::SeqCst)
            || self.stop_request().is_some()
            || self.epoch.load(Ordering::SeqCst) != epoch
            || !lock(&self.mailbox).letters.is_empty()
    }

    /// The next piece of work.
    pub(super) fn next_work(&self) -> Option<Mail> {
        lock(&self.mailbox).letters.pop_front()
    }

    /// Waits until there is something to look at, or until `deadline`. That stays
    /// to be looked at: [`PENDING`] is cleared by whoever looks, and if nobody
    /// does before the program goes on, the hook must be there to do it.
    pub(super) fn wait(&self, deadline: Option<Instant>) {
        let mut mailbox = lock(&self.mailbox);
        mailbox.waiting = true;
        while self.attention.load(Ordering::SeqCst) & PENDING == 0 {
            let Some(deadline) = deadline else {
                mailbox = self.arrived.wait(mailbox).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            mailbox =
                self.arrived.wait_timeout(mailbox, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        mailbox.waiting = false;
    }

    /// To be called before looking at *everything* that a kick may be about;
    /// whether there was one.
    pub(super) fn take_pending(&self) -> bool {
        self.attention.fetch_and(!PENDING, Ordering::SeqCst) & PENDING != 0
    }

    /// Whether a front end is there that the program may stop for.
    pub(super) fn attached(&self) -> bool {
        self.pilots.load(Ordering::SeqCst) > 0 || lock(&self.listener).is_some()
    }

    /// Whether somebody is told what the program says.
    pub(super) fn heard(&self) -> bool {
        lock(&self.listener).is_some() || !lock(&self.observers).is_empty()
    }

    /// Tells the attached debugger and all observers.
    pub(super) fn send(&self, event: Event) {
        self.tell_observers(&event);
        self.tell_listener(event);
    }

    /// Tells the attached debugger; whether there is one.
    pub(super) fn tell_listener(&self, event: Event) -> bool {
        let listener = lock(&self.listener);
        if let Some(listener) = &*listener {
            (listener.sink)(event);
        }
        listener.is_some()
    }

    /// Tells those that only watch.
    pub(super) fn tell_observers(&self, event: &Event) {
        let observers = lock(&self.observers).clone();
        for (_, sink) in observers {
            sink(event.clone());
        }
    }

    /// Adds an observer.
    pub(super) fn observe(&self, number: u64, sink: Sink) {
        lock(&self.observers).push((number, Arc::new(sink)));
    }

    /// Takes an observer out.
    pub(super) fn forget_observer(&self, number: u64) {
        lock(&self.observers).retain(|(known, _)| *known != number);
    }

    /// Makes `sink` the listener; refused while there is one.
    pub(super) fn listen(&self, who: &str, number: u64, sink: Sink) -> Result<(), String> {
        let mut listener = lock(&self.listener);
        if let Some(present) = &*listener {
            return Err(format!(
                "another debugger is attached to this session ({}); disconnect it first",
                present.who
            ));
        }
        *listener = Some(Listener { who: who.to_owned(), number, sink });
        Ok(())
    }

    /// Takes out the listener with this number.
    pub(super) fn unlisten(&self, number: u64) {
        let mut listener = lock(&self.listener);
        if listener.as_ref().is_some_and(|listener| listener.number == number) {
            *listener = None;
        }
    }
}

/// Locks, also after a panic elsewhere: the data is valid at every step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
