//! `llmspell run` and `llmspell exec`.

use std::{
    io::{self, Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::labelled;
use crate::{
    config::{Config, parse_seconds, parse_size},
    debug::{Code, Event, Failure, Parting, Program, Show, StopRequest, VmOptions},
    kernel::{
        process,
        signals::{self, Signal},
    },
    protocols::dap::{self, ServeOptions, Server},
    session::{
        self, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_TIMEOUT, EnableDap, Outcome,
        Session, SessionOptions,
    },
};

/// How long a script that is being ended may sit in native code.
pub(super) const LAST_GRACE: Duration = Duration::from_secs(2);
/// How long debuggers have to read the last events.
const FAREWELL: Duration = Duration::from_millis(500);

/// What both commands take.
#[derive(Args, Debug)]
struct Limits {
    /// Let debuggers attach on this port (0: any free one) [default: 9556]
    #[arg(long, value_name = "PORT", num_args = 1)]
    dap: Option<u16>,

    /// Wait for a debugger before the first line
    #[arg(long, requires = "dap")]
    wait: bool,

    /// End the script after this many seconds, with exit code 124
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    timeout: Option<Duration>,

    /// Let the script use this much memory at most, such as 512MB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<usize>,

    /// Send what the script prints to the debugger only
    #[arg(long, hide = true, requires = "dap")]
    output_to_debugger: bool,
}

impl Limits {
    /// With what the configuration says where the command line says nothing.
    fn or(self, config: &Config) -> Self {
        let profile = config.default_profile();
        Self {
            wait: self.wait || (self.dap.is_some() && config.dap.wait_for_debugger),
            timeout: self.timeout.or(profile.timeout),
            memory: self.memory.or(profile.memory_limit),
            ..self
        }
    }
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub(super) struct RunArguments {
    #[command(flatten)]
    limits: Limits,

    /// The script, or - for standard input
    script: PathBuf,

    /// Its arguments: `...` and `arg` in the script
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Arguments of `exec`.
#[derive(Args, Debug)]
pub(super) struct ExecArguments {
    #[command(flatten)]
    limits: Limits,

    /// Lua: an expression, whose values are printed, or statements
    #[arg(allow_hyphen_values = true)]
    code: String,

    /// Its arguments: `...` and `arg`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs a script file.
pub(super) fn run(
    arguments: RunArguments,
    config: &Config,
    color: bool,
) -> anyhow::Result<ExitCode> {
    let name = arguments.script.to_string_lossy().into_owned();
    let code = if name == "-" {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text).context("cannot read the script from standard input")?;
        Code::Text { name: "stdin".to_owned(), text }
    } else {
        Code::File(arguments.script)
    };
    execute(&arguments.limits.or(config), code, name, arguments.args, color)
}

/// Runs a text.
pub(super) fn exec(
    arguments: ExecArguments,
    config: &Config,
    color: bool,
) -> anyhow::Result<ExitCode> {
    let code = Code::Expression { name: "exec".to_owned(), text: arguments.code };
    execute(&arguments.limits.or(config), code, "exec".to_owned(), arguments.args, color)
}

/// The DAP endpoints of a session; `--dap` and `Debug.enableDAP` open them.
pub(super) type Servers = Arc<Mutex<Vec<Server>>>;

fn execute(
    limits: &Limits,
    code: Code,
    name: String,
    args: Vec<String>,
    color: bool,
) -> anyhow::Result<ExitCode> {
    let servers = Servers::default();
    let options = SessionOptions {
        vm: VmOptions {
            memory_limit: limits.memory.unwrap_or(0),
            args: [vec![name], args.clone()].concat(),
        },
        output_to_debugger: limits.output_to_debugger,
        main_script: match &code {
            Code::File(path) => Some(path.clone()),
            Code::Text { .. } | Code::Expression { .. } => None,
        },
        enable_dap: Some(dap_opener(&servers, limits.output_to_debugger)),
    };
    if limits.output_to_debugger {
        process::end_with_parent();
    }
    let session = Session::start(options).map_err(|message| anyhow!(message))?;
    if limits.output_to_debugger {
        session.control().expect_debugger();
    }
    // Before anybody can know that the process is there.
    let interrupts = stop_on_signals(&session)?;
    if let Some(port) = limits.dap {
        session.enable_dap(port).map_err(|message| anyhow!(message))?;
    }
    let (doors, control) = (Arc::clone(&servers), session.control().clone());
    session.control().on_exit(move |code| {
        control.announce(Event::Exited(code));
        control.announce(Event::Terminated);
        if let Err(error) = say_goodbye(&doors) {
            tracing::warn!("debuggers were not told of the end: {error:#}");
        }
        Parting::Leave
    });
    let program = Program {
        code,
        args,
        wait_for_debugger: limits.wait,
        time_limit: limits.timeout,
        show: Show::Text,
    };
    let show_values = matches!(program.code, Code::Expression { .. });
    let outcome = wait(&session, program);
    let exit_code =
        conclude(&session, outcome, show_values, interrupts.load(Ordering::SeqCst), color);
    session.end(exit_code);
    say_goodbye(&servers)?;
    Ok(ExitCode::from(u8::try_from(exit_code).unwrap_or(1)))
}

/// Lets debuggers read their last events.
pub(super) fn say_goodbye(servers: &Servers) -> anyhow::Result<()> {
    let servers = std::mem::take(&mut *servers.lock().unwrap_or_else(PoisonError::into_inner));
    for server in servers {
        session::runtime()?.block_on(server.finish(FAREWELL));
    }
    Ok(())
}

/// What opens a DAP endpoint and says where.
pub(super) fn dap_opener(servers: &Servers, end_with_client: bool) -> EnableDap {
    let servers = Arc::clone(servers);
    Arc::new(move |control, port| {
        let mut servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |server: &&Server| port != 0 && server.address.port() == port;
        if let Some(server) = servers.iter().find(known) {
            return Ok(server.address.port());
        }
        let runtime = session::runtime().map_err(|error| error.to_string())?;
        let options = ServeOptions { end_with_client, ..ServeOptions::default() };
        let server = runtime
            .block_on(dap::listen(port, control.clone(), options))
            .map_err(|error| format!("{error:#}"))?;
        // Tools wait for this line.
        let told = writeln!(io::stderr(), "dap: listening on {}", server.address);
        if end_with_client && let Err(error) = told {
            return Err(format!("the adapter is gone: {error}"));
        }
        let port = server.address.port();
        servers.push(server);
        Ok(port)
    })
}

/// The first signal ends the script, the second one the process. Returns the
/// number of the first.
fn stop_on_signals(session: &Session) -> anyhow::Result<Arc<AtomicU32>> {
    let first = Arc::new(AtomicU32::new(0));
    let (seen, control) = (Arc::clone(&first), session.control().clone());
    signals::on_signals(&[Signal::Interrupt, Signal::Terminate], move |signal| {
        let number = signal.number().unsigned_abs();
        if seen.swap(number, Ordering::SeqCst) != 0 {
            control.flush();
            std::process::exit(i32::try_from(128 + number).unwrap_or(1));
        }
        control.stop(StopRequest::Interrupt);
    })
    .context("cannot handle signals")?;
    Ok(first)
}

/// Waits for the outcome; not for ever, if the script is to end and does not.
fn wait(session: &Session, program: Program) -> Outcome {
    let control = session.control().clone();
    session.control().on_stop_request(move |request| {
        let control = control.clone();
        // Native code may not come back; it dies with the process.
        let reaper = move || {
            std::thread::sleep(LAST_GRACE);
            if control.stop_request() == Some(request) {
                control.flush();
                std::process::exit(i32::try_from(exit_code_of(request, 0)).unwrap_or(1));
            }
        };
        let name = "llmspell-reaper".to_owned();
        if let Err(error) = std::thread::Builder::new().name(name).spawn(reaper) {
            tracing::warn!("the end of the script is not watched: {error}");
        }
    });
    session.execute(program).recv().unwrap_or_else(|_| {
        let message = "the Lua thread ended unexpectedly".to_owned();
        Err(Failure::Error { message, traceback: String::new() })
    })
}

fn exit_code_of(request: StopRequest, signal: u32) -> i64 {
    match request {
        StopRequest::Interrupt if signal == libc::SIGTERM.unsigned_abs() => EXIT_TERMINATED,
        StopRequest::Interrupt => EXIT_INTERRUPTED,
        StopRequest::Timeout => EXIT_TIMEOUT,
        StopRequest::Terminate | StopRequest::Restart | StopRequest::Exit => EXIT_TERMINATED,
    }
}

/// Prints results or the error; returns the exit code.
fn conclude(
    session: &Session,
    outcome: Outcome,
    show_values: bool,
    signal: u32,
    color: bool,
) -> i64 {
    match outcome {
        Ok(values) => {
            if show_values && !values.is_empty() {
                // As with any output, a closed pipe is no error of the script.
                let _ = writeln!(io::stdout(), "{}", values.join("\t"));
            }
            0
        }
        Err(Failure::Error { message, traceback }) => {
            let text = if traceback.is_empty() { message } else { message + "\n" + &traceback };
            session.control().say(&labelled(&text, color));
            EXIT_ERROR
        }
        Err(Failure::Stopped(request)) => {
            match request {
                StopRequest::Timeout => {
                    session.control().say(&labelled("the script ran out of time", color));
                }
                StopRequest::Interrupt => session.control().say(&labelled("interrupted", color)),
                StopRequest::Terminate | StopRequest::Restart | StopRequest::Exit => {}
            }
            exit_code_of(request, signal)
        }
    }
}
