//! The terminal while it is ours: raw, on its alternate screen, and given back
//! whatever happens.
//!
//! The script shares the process. So its standard input is `/dev/null`, and what
//! it writes past the session (a program that it starts, a C module) goes through
//! pipes into the output pane; only a private descriptor still leads to the
//! screen. Giving back is safe in a signal handler: it only makes system calls on
//! what was noted at the start.

#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, FromRawFd as _},
    sync::{
        Once, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Alternate screen.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
/// No colors, cursor, normal screen.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// What there was before.
struct Original {
    /// The screen.
    tty: c_int,
    /// Copies of the standard streams.
    streams: [c_int; 3],
    settings: libc::termios,
}

static ORIGINAL: OnceLock<Original> = OnceLock::new();
/// Whether the terminal is ours just now.
static RAW: AtomicBool = AtomicBool::new(false);
/// Whether the standard streams lead elsewhere.
static MOVED: AtomicBool = AtomicBool::new(false);

/// Holds the terminal; gives it back when dropped.
pub(super) struct Terminal {
    screen: File,
    /// What is written to the standard streams of the process.
    pub(super) written: Vec<(Stream, File)>,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Terminal {
    /// Takes the terminal. Standard input and output must be one.
    pub(super) fn take() -> io::Result<Self> {
        // Keys are read from there, since standard input is to be the script's.
        OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let noted = Original::note()?;
        let original = ORIGINAL.get_or_init(|| noted);
        give_back_at_the_end();
        // SAFETY: a descriptor that is open as long as the process lives.
        let screen = unsafe { File::from_raw_fd(copy(original.tty)?) };
        let mut terminal = Self { screen, written: Vec::new() };
        MOVED.store(true, Ordering::SeqCst);
        replace(&File::open("/dev/null")?, libc::STDIN_FILENO)?;
        terminal.redirect(Stream::Stdout, libc::STDOUT_FILENO)?;
        // A log in a file stays one.
        // SAFETY: asks about a number.
        if unsafe { libc::isatty(libc::STDERR_FILENO) } == 1 {
            terminal.redirect(Stream::Stderr, libc::STDERR_FILENO)?;
        }
        terminal.enter()?;
        Ok(terminal)
    }

    fn redirect(&mut self, stream: Stream, number: c_int) -> io::Result<()> {
        let mut ends = [0; 2];
        // SAFETY: the array has room for both.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
        // SAFETY: both are ours alone.
        let (reader, writer) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
        replace(&writer, number)?;
        self.written.push((stream, reader));
        Ok(())
    }

    /// Makes the terminal ours, again after [`suspend`].
    pub(super) fn enter(&mut self) -> io::Result<()> {
        let Some(original) = ORIGINAL.get() else { return Ok(()) };
        let mut settings = original.settings;
        // SAFETY: changes a plain structure, then asks the system to use it.
        unsafe {
            libc::cfmakeraw(&raw mut settings);
            RAW.store(true, Ordering::SeqCst);
            check(libc::tcsetattr(original.tty, libc::TCSADRAIN, &raw const settings))?;
        }
        self.screen.write_all(ENTER)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        let mut size = MaybeUninit::<libc::winsize>::zeroed();
        // SAFETY: the system fills the structure, or leaves it zeroed.
        let size = unsafe {
            libc::ioctl(self.screen.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr());
            size.assume_init()
        };
        match (size.ws_col, size.ws_row) {
            (0, _) | (_, 0) => (80, 24),
            (columns, rows) => (columns.into(), rows.into()),
        }
    }

    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        self.screen.write_all(text.as_bytes())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

impl Original {
    fn note() -> io::Result<Self> {
        let tty = copy(libc::STDOUT_FILENO)?;
        let mut settings = MaybeUninit::<libc::termios>::zeroed();
        // SAFETY: the system fills the structure, or says that it does not.
        let settings = unsafe {
            check(libc::tcgetattr(tty, settings.as_mut_ptr()))?;
            settings.assume_init()
        };
        let streams = [copy(0)?, copy(1)?, copy(2)?];
        Ok(Self { tty, streams, settings })
    }
}

/// Gives the terminal and the standard streams back. May be called anywhere, any
/// number of times.
pub(crate) fn give_back() {
    leave_screen();
    if MOVED.swap(false, Ordering::SeqCst)
        && let Some(original) = ORIGINAL.get()
    {
        for (number, stream) in (0..).zip(original.streams) {
            // SAFETY: both are open descriptors.
            unsafe { libc::dup2(stream, number) };
        }
    }
}

/// Gives the terminal back and stops the process, as Ctrl-Z does elsewhere;
/// returns when it goes on.
pub(super) fn suspend() {
    leave_screen();
    // SAFETY: its default action stops the whole process.
    unsafe { libc::raise(libc::SIGTSTP) };
}

/// Leaves the alternate screen; the standard streams stay where they are.
fn leave_screen() {
    if !RAW.swap(false, Ordering::SeqCst) {
        return;
    }
    let Some(original) = ORIGINAL.get() else { return };
    // SAFETY: system calls on descriptors and structures that live as long as the
    // process; all of them may be made in a signal handler. A process in the
    // background must not be stopped by them.
    unsafe {
        let (mut blocked, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        libc::sigemptyset(blocked.as_mut_ptr());
        libc::sigaddset(blocked.as_mut_ptr(), libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, blocked.as_ptr(), before.as_mut_ptr());
        libc::write(original.tty, LEAVE.as_ptr().cast(), LEAVE.len());
        libc::tcsetattr(original.tty, libc::TCSANOW, &raw const original.settings);
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
}

extern "C" fn at_exit() {
    give_back();
}

extern "C" fn on_fatal_signal(number: c_int) {
    give_back();
    // SAFETY: the signal is dealt with as if nobody had handled it.
    unsafe {
        libc::signal(number, libc::SIG_DFL);
        libc::raise(number);
    }
}

/// Has the terminal given back by whatever may end the process, save SIGKILL.
/// Signals that ask for an end are the caller's.
fn give_back_at_the_end() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: both handlers only make system calls.
        unsafe {
            libc::atexit(at_exit);
            for number in [
                libc::SIGSEGV,
                libc::SIGBUS,
                libc::SIGILL,
                libc::SIGFPE,
                libc::SIGABRT,
                libc::SIGQUIT,
            ] {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_fatal_signal as extern "C" fn(c_int) as usize;
                action.sa_flags = libc::SA_ONSTACK;
                libc::sigemptyset(&raw mut action.sa_mask);
                libc::sigaction(number, &raw const action, std::ptr::null_mut());
            }
        }
        let drawing = std::thread::current().id();
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Elsewhere a panic is the end of one thing, and its words belong into
            // the output pane.
            if std::thread::current().id() == drawing {
                give_back();
            }
            others(panic);
        }));
    });
}

/// A copy of a descriptor that programs started by the script do not get.
fn copy(number: c_int) -> io::Result<c_int> {
    // SAFETY: makes a new descriptor, or says that it does not.
    check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })
}

/// Puts a file in the place of a standard stream.
fn replace(file: &File, number: c_int) -> io::Result<()> {
    // SAFETY: both are open descriptors.
    check(unsafe { libc::dup2(file.as_raw_fd(), number) }).map(drop)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
