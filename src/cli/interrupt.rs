//! Signals, as calls on a thread of its own.
//!
//! A signal handler may do next to nothing, so it writes a byte to a pipe; the
//! thread at the other end does the rest. (tokio could do it, but a script that
//! only computes runs without tokio.)

#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    fs::File,
    io::{self, Read as _},
    os::fd::FromRawFd as _,
    sync::atomic::{AtomicI32, Ordering},
    thread,
};

/// Write end of the pipe.
static PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(number: c_int) {
    let byte = u8::try_from(number).unwrap_or(0);
    // SAFETY: `write` is async-signal-safe; the byte outlives the call.
    unsafe { libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
}

/// Calls `on_stop` with SIGINT or SIGTERM each time the process receives one.
///
/// # Errors
/// As [`on_signals`].
pub(super) fn on_stop_signals(on_stop: impl Fn(c_int) + Send + 'static) -> io::Result<()> {
    on_signals(&[libc::SIGINT, libc::SIGTERM], on_stop)
}

/// Calls `tell` with each of these signals that the process receives.
///
/// # Errors
/// If the system refuses a pipe or a thread.
pub(super) fn on_signals(
    numbers: &[c_int],
    tell: impl Fn(c_int) + Send + 'static,
) -> io::Result<()> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both; the flags keep children out of it.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    PIPE.store(ends[1], Ordering::Relaxed);
    // SAFETY: the read end is ours alone.
    let mut signals = unsafe { File::from_raw_fd(ends[0]) };
    thread::Builder::new().name("llmspell-signals".to_owned()).spawn(move || {
        let mut number = [0];
        while signals.read_exact(&mut number).is_ok() {
            tell(c_int::from(number[0]));
        }
    })?;
    for &number in numbers {
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
    }
    Ok(())
}

/// Has the system send SIGTERM to this process when its parent dies: a script
/// that an adapter started must not outlive an adapter that was killed.
///
/// Elsewhere than on Linux the script ends when the adapter's connection does.
pub(super) fn end_with_parent() {
    #[cfg(target_os = "linux")]
    // SAFETY: changes a flag of this process; the arguments are numbers.
    unsafe {
        let parent = libc::getppid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
        // It may have died just before.
        if libc::getppid() != parent {
            libc::raise(libc::SIGTERM);
        }
    }
}
