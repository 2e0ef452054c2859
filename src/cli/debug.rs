//! `llmspell debug`: the terminal debugger.

use std::{
    env,
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use super::{report, run::LAST_GRACE};
use crate::{
    config::{Config, parse_size},
    debug::{Code, Program, Show, VmOptions},
    kernel::signals::{self, Signal},
    session::{Session, SessionOptions},
    tui::{self, Inbox, Looks},
};

/// Arguments of `debug`.
#[derive(Args, Debug)]
pub(super) struct DebugArguments {
    /// Let the script use this much memory at most, such as 512MB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<usize>,

    /// The script
    script: PathBuf,

    /// Its arguments: `...` and `arg` in the script
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Debugs a script; `color` is for the screen, `color_errors` for what is said
/// after it.
pub(super) fn debug(
    arguments: DebugArguments,
    config: &Config,
    color: bool,
    color_errors: bool,
) -> anyhow::Result<ExitCode> {
    require_terminal()?;
    let DebugArguments { memory, script, args } = arguments;
    std::fs::File::open(&script).with_context(|| format!("cannot open {}", script.display()))?;
    let name = script.to_string_lossy().into_owned();
    let options = SessionOptions {
        vm: VmOptions {
            memory_limit: memory.or(config.default_profile().memory_limit).unwrap_or(0),
            args: [vec![name], args.clone()].concat(),
        },
        output_to_debugger: true,
        main_script: Some(script.clone()),
        enable_dap: None,
    };
    let session = Session::start(options).map_err(|message| anyhow!(message))?;
    let inbox = Inbox::default();
    tell_of_signals(&inbox).context("cannot handle signals")?;
    let program = Program {
        code: Code::File(script),
        args,
        wait_for_debugger: false,
        time_limit: None,
        show: Show::Text,
    };
    let looks = Looks { color, unicode: is_utf8() };
    let end = tui::run(inbox, &session, program, looks);
    do_not_wait_for_ever(end.as_ref().map_or(1, |end| exit_status(end.exit_code)));
    let end = end.map_err(|message| anyhow!(message))?;
    if let Some(words) = end.words {
        report(&words, color_errors);
    }
    session.end(end.exit_code);
    Ok(ExitCode::from(exit_status(end.exit_code)))
}

fn exit_status(code: i64) -> u8 {
    u8::try_from(code).unwrap_or(1)
}

/// Fails where there is no screen or no keyboard.
fn require_terminal() -> anyhow::Result<()> {
    let otherwise = "an editor can debug with 'llmspell dap' or 'llmspell run --dap'";
    for (name, is_terminal) in [
        ("standard input", io::stdin().is_terminal()),
        ("standard output", io::stdout().is_terminal()),
    ] {
        if !is_terminal {
            bail!("{name} is not a terminal; {otherwise}");
        }
    }
    if env::var("TERM").is_ok_and(|term| term == "dumb") {
        bail!("this terminal (TERM=dumb) cannot place its cursor; {otherwise}");
    }
    Ok(())
}

/// Whether the locale's characters are UTF-8.
fn is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
    let first = set.filter_map(|name| env::var(name).ok()).find(|value| !value.is_empty());
    let name = first.unwrap_or_default().to_lowercase();
    name.contains("utf-8") || name.contains("utf8")
}

/// The first signal ends the debugger, the second one the process.
fn tell_of_signals(inbox: &Inbox) -> io::Result<()> {
    let inbox = inbox.signals();
    let ends = AtomicBool::new(false);
    let wanted = [Signal::Interrupt, Signal::Terminate, Signal::HangUp, Signal::Continue];
    signals::on_signals(&wanted, move |signal| {
        let number = signal.number();
        if signal == Signal::Continue {
            inbox.goes_on();
        } else if ends.swap(true, Ordering::SeqCst) {
            tui::give_back();
            std::process::exit(128 + number);
        } else {
            inbox.end(number);
        }
    })
}

/// Native code that does not return dies with the process.
fn do_not_wait_for_ever(exit_code: u8) {
    let reaper = move || {
        thread::sleep(LAST_GRACE);
        std::process::exit(exit_code.into());
    };
    let name = "llmspell-reaper".to_owned();
    if let Err(error) = thread::Builder::new().name(name).spawn(reaper) {
        tracing::warn!("the end of the script is not watched: {error}");
    }
}
