//! `llmspell kernel start`: its flags, and what is done before a kernel serves.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use tokio::sync::mpsc;

use super::{Reread, service::Service};
use crate::{
    cli::logging,
    config::{Config, FlagSetting, Loaded},
    kernel::{
        daemon::{self, Started},
        log_file::{LogFile, Rotation},
        pid_file::{Claim, PidFile},
        places::{Places, Scope, check_id, generate_id},
        signals::{self, Signal},
    },
    session,
};

/// Arguments of `kernel start`.
#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(super) struct StartArguments {
    /// First of the five ports in a row to listen on; 0 for any free ones
    /// [default: 9555]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// Name of this kernel [default: made up]
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Address to listen on; any but a loopback address needs a token
    /// [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    host: Option<String>,

    /// Go into the background once it answers
    #[arg(long)]
    daemon: bool,

    /// Log to this file, which is rotated, instead of standard error
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,

    /// Hold this PID file [default: in the runtime directory]
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// Write here how it is reached [default: ~/.llmspell/kernels/ID.json]
    #[arg(long, value_name = "FILE")]
    connection_file: Option<PathBuf>,

    /// Serve debuggers; without --repl, nothing else but HTTP
    #[arg(long, overrides_with = "no_dap")]
    dap: bool,

    /// Do not serve debuggers
    #[arg(long)]
    no_dap: bool,

    /// Serve lines of Lua; without --dap, nothing else but HTTP
    #[arg(long, overrides_with = "no_repl")]
    repl: bool,

    /// Do not serve lines of Lua
    #[arg(long)]
    no_repl: bool,

    /// Let in so many clients at most [default: 256]
    #[arg(long, value_name = "N")]
    max_clients: Option<usize>,

    /// End when nobody has been connected for so long; 0 for never [default: 0]
    #[arg(long, value_name = "SECS")]
    idle_timeout: Option<u64>,

    /// Let in only those who know this
    #[arg(long, value_name = "T")]
    token: Option<String>,

    /// Read the configuration file again whenever it changes
    #[arg(long)]
    watch_config: bool,

    /// The process that is to be the kernel in the background
    #[arg(long, hide = true)]
    daemon_child: bool,
}

impl StartArguments {
    /// What the flags say about the configuration. With only positive protocol
    /// flags just those protocols are on.
    pub(super) fn settings(&self) -> Vec<FlagSetting> {
        let mut settings = Vec::new();
        let mut set = |key: &'static str, value: Option<String>, flag: &'static str| {
            settings.extend(value.map(|value| FlagSetting { key, value, flag }));
        };
        let path = |path: &Option<PathBuf>| path.as_ref().map(|it| it.display().to_string());
        let number = |number: Option<u64>| number.map(|it| it.to_string());
        set("kernel.port", number(self.port.map(u64::from)), "--port");
        set("kernel.id", self.id.clone(), "--id");
        set("kernel.host", self.host.clone(), "--host");
        set("daemon.daemonize", self.daemon.then(|| "true".to_owned()), "--daemon");
        set("logging.log_file", path(&self.log_file), "--log-file");
        set("daemon.pid_file", path(&self.pid_file), "--pid-file");
        set("kernel.connection_file", path(&self.connection_file), "--connection-file");
        set("kernel.max_clients", self.max_clients.map(|it| it.to_string()), "--max-clients");
        set("kernel.idle_timeout", number(self.idle_timeout), "--idle-timeout");
        set("kernel.token", self.token.clone(), "--token");
        let only_these = self.dap || self.repl;
        let mut switch = |key, (on, flag), (off, no_flag), other| {
            let by = if on {
                flag
            } else if off {
                no_flag
            } else {
                other
            };
            let value = (on || off || only_these).then(|| on.to_string());
            set(key, value, by);
        };
        switch("dap.enabled", (self.dap, "--dap"), (self.no_dap, "--no-dap"), "--repl");
        switch("repl.enabled", (self.repl, "--repl"), (self.no_repl, "--no-repl"), "--dap");
        settings
    }
}

/// The signals that a kernel deals with.
const SIGNALS: [Signal; 5] =
    [Signal::Interrupt, Signal::Terminate, Signal::HangUp, Signal::User1, Signal::User2];

/// Runs the command.
pub(super) fn start(
    arguments: &StartArguments,
    loaded: Loaded,
    reread: Reread,
) -> anyhow::Result<ExitCode> {
    let config = &loaded.config;
    let host = host(config)?;
    let log_path = config.logging.log_file.clone();
    if config.daemon.daemonize && !arguments.daemon_child {
        return Ok(match daemon::start(log_path.as_deref())? {
            Started::Ready => ExitCode::SUCCESS,
            Started::Ended(code) => ExitCode::from(code),
        });
    }
    let log = open_log(config)?;
    let id = config.kernel.id.clone().unwrap_or_else(generate_id);
    check_id(&id)?;
    let places = Places::find(scope())?;
    let pid_file = claim(config, &places, &id)?;
    let (calls, mut called) = mpsc::unbounded_channel();
    let sender = calls.clone();
    signals::on_signals(&SIGNALS, move |signal| {
        // Nobody listens any more when the kernel is ending.
        let _ = sender.send(signal);
    })
    .context("cannot handle signals")?;
    let watched = arguments.watch_config.then(|| loaded.file.clone()).flatten();
    let _watch = watched.map(|file| super::watch::watch(&file, calls)).transpose()?;
    let runtime = session::runtime().context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut service = Service::open(loaded, reread, host, &id, log).await?;
        service.publish(&places, pid_file.path())?;
        service.announce();
        if arguments.daemon_child {
            daemon::detach(log_path.as_deref()).context("cannot go into the background")?;
        }
        daemon::notify_systemd(daemon::State::Ready);
        service.serve(&mut called).await;
        daemon::notify_systemd(daemon::State::Stopping);
        service.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// The address to listen on.
fn host(config: &Config) -> anyhow::Result<IpAddr> {
    let text = config.kernel.host.trim_matches(['[', ']']);
    let text = if text == "localhost" { "127.0.0.1" } else { text };
    let host: IpAddr = text.parse().map_err(|_| anyhow!("'{text}' is no IP address"))?;
    if !host.is_loopback() && config.kernel.token.is_none() {
        bail!(
            "listening on {host} lets other machines run programs here: \
             set a token with --token or [kernel] token"
        );
    }
    Ok(host)
}

/// Logs to the file that the configuration names, if it does.
fn open_log(config: &Config) -> anyhow::Result<Option<LogFile>> {
    if let Some(level) = config.logging.log_level {
        logging::set_level(level);
    }
    let Some(path) = &config.logging.log_file else { return Ok(None) };
    let log = LogFile::open(path, rotation(config))?;
    logging::log_to(log.clone());
    Ok(Some(log))
}

pub(super) fn rotation(config: &Config) -> Rotation {
    let logging = &config.logging;
    let keep = u32::try_from(logging.keep).unwrap_or(u32::MAX);
    Rotation { max_bytes: logging.max_size as u64, keep }
}

/// Whether systemd runs it for the system.
fn scope() -> Scope {
    let by_systemd = std::env::var_os("NOTIFY_SOCKET").is_some();
    if by_systemd && crate::kernel::process::user() == 0 { Scope::System } else { Scope::User }
}

fn claim(config: &Config, places: &Places, id: &str) -> anyhow::Result<PidFile> {
    let path = match &config.daemon.pid_file {
        Some(path) => path.clone(),
        None => places.pid_file(id)?,
    };
    PidFile::claim(&path).map_err(|claim| match claim {
        Claim::Held { pid: Some(pid), .. } => anyhow!(
            "a kernel '{id}' runs already (process {pid}): choose another --id, or stop that \
             one with 'kill {pid}'"
        ),
        other => other.into(),
    })
}
