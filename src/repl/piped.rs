//! Lines that come through a pipe: no prompt, no history, and a code at the end
//! that says whether all went well.

use std::{
    env,
    io::{self, BufRead as _},
};

use super::{Shared, prepared};
use crate::kernel::dialog::{Chunk, Line, Piece};

/// Exit code of a process that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// Sends lines one after another, each when the one before is over.
pub(super) fn run(talk: &Shared) -> Result<u8, String> {
    let here = env::current_dir().unwrap_or_default();
    let mut chunk = Chunk::default();
    let mut failed = false;
    let mut input = io::stdin().lock();
    let mut first = true;
    let mut leaves = false;
    while !leaves {
        let mut bytes = Vec::new();
        let length = input
            .read_until(b'\n', &mut bytes)
            .map_err(|error| format!("cannot read standard input: {error}"))?;
        let line = if length == 0 {
            leaves = true;
            chunk.rest()
        } else {
            let is_first = std::mem::replace(&mut first, false);
            match text(bytes) {
                // As in a script: `#!` is for the shell.
                Some(line) if is_first && line.starts_with('#') => None,
                Some(line) => chunk.push(&line),
                None => {
                    chunk = Chunk::default();
                    failed = true;
                    let why = "the line is not UTF-8; in strings, write other bytes as \\xNN";
                    talk.show(&Piece::error(why));
                    None
                }
            }
        };
        let Some(line) = line else { continue };
        let Ok(line) = prepared(line, &here) else { break };
        if let Some(code) = carry_out(talk, line)? {
            return Ok(code);
        }
    }
    talk.let_go()?;
    Ok(ending(talk).unwrap_or_else(|| u8::from(failed || talk.look(|it| it.has_failed()))))
}

/// Sends a line and waits; the exit code, if it was the last.
fn carry_out(talk: &Shared, line: Line) -> Result<Option<u8>, String> {
    talk.send(line)?;
    talk.wait_until_ready()?;
    Ok(ending(talk))
}

/// The exit code, if it is to end now.
fn ending(talk: &Shared) -> Option<u8> {
    if talk.is_interrupted() {
        return Some(INTERRUPTED);
    }
    let code = talk.look(crate::kernel::dialog::Dialog::take_exit_code)?;
    talk.is_local().then(|| u8::try_from(code).unwrap_or(1))
}

/// A line as text, without its line end.
fn text(mut bytes: Vec<u8>) -> Option<String> {
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    let text = String::from_utf8(bytes).ok()?;
    Some(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}
