//! The command line: one file per command; parse, call, print.

mod dap;
mod logging;
mod run;
mod size;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

/// DAP's documented port.
const DEFAULT_DAP_PORT: &str = "9556";

/// The debugger for Lua programs that talk to language models.
#[derive(Debug, Parser)]
// What follows is help text, not Markdown.
#[allow(clippy::doc_markdown)]
#[command(name = "llmspell", version, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  llmspell run script.lua             run a script
  llmspell run --dap --wait main.lua  wait for an editor on port 9556, then run
  llmspell exec '1 + 1'               evaluate an expression
  llmspell dap                        be the debug adapter that an editor starts")]
struct Arguments {
    /// Log this much on standard error; RUST_LOG, if set, decides instead
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn")]
    trace: TraceLevel,

    /// Color messages; auto means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,

    #[command(subcommand)]
    command: Command,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TraceLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// When messages are colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    fn on_stderr(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && io::stderr().is_terminal()
            }
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a Lua script
    Run(run::RunArguments),
    /// Run Lua given as text, and print the values of an expression
    Exec(run::ExecArguments),
    /// Be a debug adapter: speak DAP on standard input and output
    Dap,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = match parse(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are not errors, and go to standard output.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let color = arguments.color.on_stderr();
    logging::start(arguments.trace, color);
    let result = match arguments.command {
        Command::Run(arguments) => run::run(arguments, color),
        Command::Exec(arguments) => run::exec(arguments, color),
        Command::Dap => dap::dap(),
    };
    result.unwrap_or_else(|error| {
        report(&format!("{error:#}"), color);
        ExitCode::FAILURE
    })
}

/// Says on standard error what went wrong.
fn report(message: &str, color: bool) {
    // Nobody to tell if that fails.
    let _ = io::stderr().write_all(labelled(message, color).as_bytes());
}

/// An error as a line of its own.
fn labelled(message: &str, color: bool) -> String {
    let label = if color { "\x1b[1;31mError:\x1b[0m" } else { "Error:" };
    format!("{label} {message}\n")
}

fn parse(arguments: Vec<OsString>) -> Result<Arguments, clap::Error> {
    // Colored help follows the same rules as everything else.
    let joined: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let is_given = |value: &str| {
        joined.iter().any(|argument| *argument == format!("--color={value}"))
            || joined.windows(2).any(|pair| pair[0] == "--color" && pair[1] == value)
    };
    let choice = match (is_given("always"), is_given("never")) {
        (true, _) => ColorChoice::Always,
        (_, true) => ColorChoice::Never,
        _ => ColorChoice::Auto,
    };
    let mut command = Arguments::command().color(choice);
    let matches = command.try_get_matches_from_mut(with_dap_port(arguments))?;
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// `--dap` may stand without a port, also before the script: fills it in.
fn with_dap_port(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut complete = Vec::with_capacity(arguments.len() + 1);
    let mut arguments = arguments.into_iter().peekable();
    let mut options = true;
    while let Some(argument) = arguments.next() {
        let is_option = argument.to_str().is_some_and(|it| it.starts_with('-') && it.len() > 1);
        let is_dap = options && argument == "--dap";
        let takes_value = ["--trace", "--color", "--timeout", "--memory"];
        let has_value = options && takes_value.iter().any(|it| argument == *it);
        // After the script's name come its own arguments.
        let is_command = argument == "run" || argument == "exec";
        options &= is_option || complete.is_empty() || is_command;
        complete.push(argument);
        if is_dap {
            let is_port = |next: &OsString| {
                next.to_str().is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
            };
            if !arguments.peek().is_some_and(is_port) {
                complete.push(DEFAULT_DAP_PORT.into());
            } else if let Some(port) = arguments.next() {
                complete.push(port);
            }
        } else if has_value && let Some(value) = arguments.next() {
            complete.push(value);
        }
    }
    complete
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn dap_may_stand_without_a_port() {
        let check = |text: &str, expected: &str| {
            let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(with_dap_port(words(text)), words(expected), "{text}");
        };
        check("l run --dap a.lua", "l run --dap 9556 a.lua");
        check("l run --dap 0 --wait a.lua", "l run --dap 0 --wait a.lua");
        check("l run --dap --wait a.lua", "l run --dap 9556 --wait a.lua");
        check("l --trace info run --dap a.lua", "l --trace info run --dap 9556 a.lua");
        check("l run --timeout 3 --dap a.lua", "l run --timeout 3 --dap 9556 a.lua");
        check("l run a.lua --dap x", "l run a.lua --dap x");
        check("l --trace warn exec --dap 1+1", "l --trace warn exec --dap 9556 1+1");
    }
}
