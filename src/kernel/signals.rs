//! Signals, as calls on a thread of their own.
//!
//! A signal handler may do next to nothing, so it writes a byte to a pipe; the
//! thread at the other end does the rest. (tokio could do it, but a script that
//! only computes runs without tokio.)

#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    fs::File,
    io::{self, Read as _},
    os::fd::{FromRawFd as _, OwnedFd},
    sync::OnceLock,
    sync::atomic::{AtomicI32, Ordering},
    thread,
};

/// The signals that a program of ours deals with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGCONT: go on after a stop.
    Continue,
    /// SIGHUP: read the configuration anew.
    HangUp,
    /// SIGINT: interrupt what runs.
    Interrupt,
    /// SIGTERM: end in good order.
    Terminate,
    /// SIGUSR1: put statistics into the log.
    User1,
    /// SIGUSR2: log more, or as much as before.
    User2,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Continue, Self::HangUp, Self::Interrupt, Self::Terminate, Self::User1, Self::User2];

    /// The system's number.
    pub fn number(self) -> c_int {
        match self {
            Self::Continue => libc::SIGCONT,
            Self::HangUp => libc::SIGHUP,
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::User1 => libc::SIGUSR1,
            Self::User2 => libc::SIGUSR2,
        }
    }
}

/// Write end of the pipe.
static PIPE: AtomicI32 = AtomicI32::new(-1);
/// Keeps it open: a handler may run at any time.
static KEPT: OnceLock<OwnedFd> = OnceLock::new();

extern "C" fn on_signal(number: c_int) {
    let byte = u8::try_from(number).unwrap_or(0);
    // SAFETY: `write` is async-signal-safe and does not wait, since the pipe is
    // set so; the byte outlives the call; whoever was interrupted finds its own
    // `errno` again.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1);
        *errno = before;
    }
}

/// Calls `receive` with each of these signals that the process gets from now
/// on, in order. To be called once in the life of a process.
///
/// # Errors
/// If the system refuses a pipe or a thread, or if this is the second call.
pub fn on_signals(signals: &[Signal], receive: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    let mut numbers = open_pipe()?;
    thread::Builder::new().name("llmspell-signals".to_owned()).spawn(move || {
        let mut number = [0];
        while numbers.read_exact(&mut number).is_ok() {
            let is_it = |signal: &Signal| signal.number() == c_int::from(number[0]);
            if let Some(signal) = Signal::ALL.into_iter().find(is_it) {
                receive(signal);
            }
        }
    })?;
    signals.iter().try_for_each(|signal| handle(signal.number()))
}

/// Makes the pipe; returns its read end.
fn open_pipe() -> io::Result<File> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both; the flags keep children out of it.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both ends are new, and nobody else's.
    let (read, write) = unsafe { (File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // A full pipe must not stop whoever the signal has interrupted.
    // SAFETY: changes a flag of a descriptor that is open.
    if unsafe { libc::fcntl(ends[1], libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if KEPT.set(write).is_err() {
        return Err(io::Error::other("signals are dealt with already"));
    }
    PIPE.store(ends[1], Ordering::Relaxed);
    Ok(read)
}

fn handle(number: c_int) -> io::Result<()> {
    // SAFETY: a handler that is async-signal-safe; system calls go on.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        if libc::sigaction(number, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn signals_arrive_in_order_and_only_once_can_be_asked_for_them() {
        let (sender, receiver) = mpsc::channel();
        // Not Ctrl-C: whoever runs the tests may want to.
        let wanted = [Signal::HangUp, Signal::User1, Signal::User2];
        on_signals(&wanted, move |signal| sender.send(signal).unwrap()).unwrap();
        for signal in [Signal::User2, Signal::HangUp, Signal::User1, Signal::User2] {
            // SAFETY: there is a handler.
            unsafe { libc::raise(signal.number()) };
            assert_eq!(receiver.recv(), Ok(signal));
        }
        on_signals(&wanted, |_| ()).unwrap_err();
        // SAFETY: there is a handler still.
        unsafe { libc::raise(libc::SIGUSR1) };
        assert_eq!(receiver.recv(), Ok(Signal::User1));
    }
}
