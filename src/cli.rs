//! The command line: one file per command; parse, call, print.

mod dap;
mod debug;
mod kernel;
mod logging;
mod output;
mod repl;
mod run;
mod validate;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::anyhow;
use clap::{
    ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::config::{self, FlagSetting, Loaded, LogLevel};

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
  llmspell debug main.lua             debug in this terminal
  llmspell exec '1 + 1'               evaluate an expression
  llmspell repl                       type Lua, and look at what it does
  llmspell dap                        be the debug adapter that an editor starts
  llmspell validate                   check the configuration")]
struct Arguments {
    /// Read this configuration instead of looking for one
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Log this much on standard error; RUST_LOG, if set, decides instead
    /// [default: what the configuration says, else warn]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = log_levels())]
    trace: Option<LogLevel>,

    /// Color messages; auto means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,

    #[command(subcommand)]
    command: Command,
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
        self.on(io::stderr().is_terminal())
    }

    fn on_stdout(self) -> bool {
        self.on(io::stdout().is_terminal())
    }

    fn on(self, is_terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && is_terminal
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
    /// Type Lua at a prompt, here or on a running kernel
    Repl(repl::ReplArguments),
    /// Debug a Lua script in this terminal
    Debug(debug::DebugArguments),
    /// Be a debug adapter: speak DAP on standard input and output
    Dap,
    /// Start and look after kernels
    Kernel(kernel::KernelArguments),
    /// Check the configuration, and say where it is wrong
    Validate(validate::ValidateArguments),
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
    let when = arguments.color;
    let color = when.on_stderr();
    let Arguments { config, trace, command, .. } = arguments;
    let result = if let Command::Validate(arguments) = &command {
        // That the configuration may be broken is the point.
        logging::start(trace.unwrap_or_default(), color);
        Ok(validate::validate(arguments, config.as_deref()))
    } else {
        let flags = flag_settings(trace, &command);
        configure(config.as_deref(), &flags).and_then(|loaded| {
            logging::start(loaded.config.global.log_level, color);
            perform(command, loaded, flags, config.as_deref(), when)
        })
    };
    result.unwrap_or_else(|error| {
        report(&format!("{error:#}"), color);
        ExitCode::FAILURE
    })
}

/// What the flags say about the configuration.
fn flag_settings(trace: Option<LogLevel>, command: &Command) -> Vec<FlagSetting> {
    let mut flags: Vec<FlagSetting> = trace
        .map(|level| FlagSetting {
            key: "global.log_level",
            value: level.name().to_owned(),
            flag: "--trace",
        })
        .into_iter()
        .collect();
    if let Command::Kernel(arguments) = command {
        flags.extend(arguments.settings());
    }
    flags
}

/// Reads the configuration that all commands go by.
fn configure(choice: Option<&Path>, flags: &[FlagSetting]) -> anyhow::Result<Loaded> {
    config::load(choice, flags)
        .map_err(|problems| anyhow!("the configuration is wrong\n{}", validate::list(&problems)))
}

fn perform(
    command: Command,
    loaded: Loaded,
    flags: Vec<FlagSetting>,
    choice: Option<&Path>,
    when: Color,
) -> anyhow::Result<ExitCode> {
    let color = when.on_stderr();
    match command {
        Command::Run(arguments) => run::run(arguments, &loaded.config, color),
        Command::Exec(arguments) => run::exec(arguments, &loaded.config, color),
        Command::Repl(arguments) => repl::repl(arguments, &loaded.config, when),
        Command::Debug(arguments) => {
            debug::debug(arguments, &loaded.config, when.on_stdout(), color)
        }
        Command::Dap => dap::dap(choice),
        Command::Kernel(arguments) => {
            let choice = choice.map(Path::to_owned);
            let reread = Box::new(move || configure(choice.as_deref(), &flags));
            kernel::kernel(arguments, loaded, reread)
        }
        Command::Validate(arguments) => Ok(validate::validate(&arguments, choice)),
    }
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

fn log_levels() -> impl TypedValueParser<Value = LogLevel> {
    PossibleValuesParser::new(LogLevel::NAMES).try_map(|name| name.parse::<LogLevel>())
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
        let takes_value =
            ["--trace", "--color", "--timeout", "--memory", "-c", "--config", "--output"];
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
        check("l -c f run --dap a.lua", "l -c f run --dap 9556 a.lua");
        check("l run --config f --dap a.lua", "l run --config f --dap 9556 a.lua");
        check("l run -cf --dap a.lua", "l run -cf --dap 9556 a.lua");
        check("l run a.lua --dap x", "l run a.lua --dap x");
        check("l --trace warn exec --dap 1+1", "l --trace warn exec --dap 9556 1+1");
    }
}
