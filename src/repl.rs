//! The prompt: a person, or a pipe, in conversation with a kernel.
//!
//! One front end for a kernel in this process and for one elsewhere. What a line
//! is and when the next one may go is [`Dialog`](crate::kernel::dialog)'s
//! business; here is how it is typed, and how it looks.

mod history;
mod link;
mod piped;
mod prompt;
mod talk;
mod terminal;
mod typing;

use std::{
    env,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::runtime::Handle;

pub use self::link::Link;
use self::talk::Talk;
use crate::kernel::dialog::Line;

/// Moves the history, or switches it off if it is empty.
pub const HISTORY_VARIABLE: &str = "LLMSPELL_REPL_HISTORY";

/// How the prompt looks, and where it remembers.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Color what goes to standard output.
    pub color: bool,
    /// Color what goes to standard error.
    pub color_errors: bool,
    /// Where what is typed is kept; nowhere if absent.
    pub history: Option<PathBuf>,
}

/// Leads a conversation to its end: with a prompt in a terminal, without one
/// where lines come through a pipe. Returns the exit code.
///
/// To be called once in the life of a process: it deals with the signals.
///
/// # Errors
/// If the kernel goes away, or the terminal cannot be used.
pub fn run(link: Link, options: &Options, runtime: &Handle) -> Result<u8, String> {
    let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
    let greeting = runtime.block_on(link.greet())?;
    let talk = Talk::start(link, options, interactive, runtime)?;
    if interactive { prompt::run(&talk, options, &greeting) } else { piped::run(&talk) }
}

/// What the prompt does itself.
const HELP: &str = "\
At this prompt:
.quit  .exit                leave, as Ctrl-D does
Tab completes, Ctrl-R searches what was typed before. Ctrl-C drops a line, or
interrupts what runs; pressed again, it leaves.
";

/// A line that is not for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    Leave,
}

/// Makes of a line what is sent: files are meant as seen from here.
fn prepared(line: Line, here: &Path) -> Result<Line, Local> {
    let Line::Command(text) = &line else { return Ok(line) };
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match name {
        ".quit" | ".exit" => Err(Local::Leave),
        ".load" if !rest.is_empty() => {
            Ok(Line::Command(format!(".load {}", from_here(rest, here).display())))
        }
        ".break" => {
            let file = rest.split_once(':').map(|(file, _)| from_here(file, here));
            match file.filter(|file| file.is_file()) {
                Some(file) => {
                    let place = &rest[rest.find(':').unwrap_or(rest.len())..];
                    Ok(Line::Command(format!(".break {}{place}", file.display())))
                }
                None => Ok(line),
            }
        }
        _ => Ok(line),
    }
}

/// A path as it is typed: relative to this process, or with `~` for the home.
fn from_here(typed: &str, here: &Path) -> PathBuf {
    match typed.strip_prefix("~/").zip(env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => here.join(typed),
    }
}

/// Shared by everything that takes part.
type Shared = Arc<Talk>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_meant_as_seen_from_here() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let check = |typed: &str, expected: &str| {
            let Ok(Line::Command(sent)) = prepared(Line::Command(typed.into()), here) else {
                panic!("{typed}")
            };
            assert_eq!(sent, expected.replace("HERE", &here.to_string_lossy()), "{typed}");
        };
        check(".load a b.lua", ".load HERE/a b.lua");
        check(".load /a.lua", ".load /a.lua");
        check(".load", ".load");
        check(".break src/lib.rs:3 if x == ':'", ".break HERE/src/lib.rs:3 if x == ':'");
        check(".break no-such-file.lua:3", ".break no-such-file.lua:3");
        check(".break f", ".break f");
        check(".where", ".where");
        assert_eq!(prepared(Line::Command(".quit".into()), here), Err(Local::Leave));
    }
}
