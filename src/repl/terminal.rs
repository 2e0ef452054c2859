//! The terminal as it was found, for those who leave in haste: while a line is
//! edited, the terminal is in raw mode.

#![allow(unsafe_code)]

use std::{io, io::Write as _, mem::MaybeUninit, sync::OnceLock};

/// How it was found.
static FOUND: OnceLock<libc::termios> = OnceLock::new();

/// Remembers how the terminal is, if there is one.
pub(super) fn remember() {
    let mut found = MaybeUninit::uninit();
    // SAFETY: the pointer has room for the structure, which is read only if the
    // call has filled it.
    if unsafe { libc::tcgetattr(libc::STDIN_FILENO, found.as_mut_ptr()) } == 0 {
        // SAFETY: just filled. It is set once.
        let _ = FOUND.set(unsafe { found.assume_init() });
    }
}

/// Puts it back, from whatever thread.
pub(super) fn restore() {
    let Some(found) = FOUND.get() else { return };
    // SAFETY: a structure that the system has made.
    unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSADRAIN, found) };
    // Ends the bracketed paste that the line editor asks for.
    let _ = io::stdout().write_all(b"\x1b[?2004l\r\n");
}
