//! `llmspell repl`: the prompt, on a kernel in this process or on one that runs.

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use super::{Color, kernel::live_options, run};
use crate::{
    client::Connection,
    config::Config,
    kernel::{
        Kernel, KernelOptions, LiveOptions,
        clients::Protocol,
        connection_file::discover,
        places::{Places, Scope},
    },
    repl::{self, HISTORY_VARIABLE, Link, Options},
    session,
};

/// Arguments of `repl`.
#[derive(Args, Debug)]
pub(super) struct ReplArguments {
    /// Use the kernel that listens there [default: one of its own, in this process]
    #[arg(long, value_name = "tcp://HOST:PORT", value_parser = address, conflicts_with = "kernel")]
    connect: Option<Address>,

    /// Use the running kernel of this name
    #[arg(long, value_name = "ID")]
    kernel: Option<String>,

    /// What a kernel with a token asks for; that of --kernel is known
    #[arg(long, value_name = "T")]
    token: Option<String>,
}

/// Where a kernel listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
}

/// Runs the command.
pub(super) fn repl(
    arguments: ReplArguments,
    config: &Config,
    when: Color,
) -> anyhow::Result<ExitCode> {
    let ReplArguments { connect, kernel, token } = arguments;
    let (address, token) = match (connect, kernel) {
        (Some(address), _) => (address, token),
        (None, Some(id)) => {
            let (address, known) = find(&id)?;
            (address, token.or(known))
        }
        (None, None) if token.is_some() => {
            bail!("--token is for a kernel that runs elsewhere: give --connect or --kernel, too")
        }
        (None, None) => return alone(config, when),
    };
    talk_to(&address, token.as_deref(), config, when)
}

/// The prompt on a running kernel.
pub(super) fn talk_to(
    address: &Address,
    token: Option<&str>,
    config: &Config,
    when: Color,
) -> anyhow::Result<ExitCode> {
    let runtime = session::runtime().context("cannot start the runtime")?;
    let connection = runtime
        .block_on(Connection::connect(&address.host, address.port, token))
        .map_err(|message| anyhow!(message))?;
    prompt(Link::Remote(connection), config, when)
}

/// The prompt on a kernel in this process, which opens no port.
fn alone(config: &Config, when: Color) -> anyhow::Result<ExitCode> {
    let servers = run::Servers::default();
    let kernel = Kernel::new(KernelOptions {
        id: "repl".to_owned(),
        live: LiveOptions { wait_for_debugger: false, ..live_options(config) },
        token: None,
        enable_dap: Some(run::dap_opener(&servers, false)),
    })
    .map_err(|message| anyhow!(message))?;
    let client = kernel.connect(Protocol::Local, "repl").map_err(|message| anyhow!(message))?;
    let ended = prompt(Link::Local(client), config, when);
    run::say_goodbye(&servers)?;
    ended
}

fn prompt(link: Link, config: &Config, when: Color) -> anyhow::Result<ExitCode> {
    let runtime = session::runtime().context("cannot start the runtime")?;
    let options = Options {
        color: when.on_stdout(),
        color_errors: when.on_stderr(),
        history: history(config),
    };
    let code = repl::run(link, &options, runtime.handle()).map_err(|message| anyhow!(message))?;
    Ok(ExitCode::from(code))
}

/// Where what is typed is kept; nowhere if the variable is empty, or if there is
/// no home.
fn history(config: &Config) -> Option<PathBuf> {
    if let Some(path) = env::var_os(HISTORY_VARIABLE) {
        return Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
    }
    config.repl.history_file.clone().or_else(|| {
        let places = Places::find(Scope::User).ok()?;
        Some(places.home().ok()?.join("repl_history"))
    })
}

/// The address and the token of a kernel that runs here.
fn find(id: &str) -> anyhow::Result<(Address, Option<String>)> {
    let places = Places::find(Scope::User)?;
    let live = discover(&places).live;
    let Some((_, found)) = live.iter().find(|(_, connection)| connection.id == id) else {
        let ids: Vec<_> = live.iter().map(|(_, connection)| connection.id.as_str()).collect();
        if ids.is_empty() {
            bail!("no kernel runs here; start one with 'llmspell kernel start'");
        }
        bail!("no kernel '{id}' runs here; there are: {}", ids.join(", "));
    };
    // One that listens everywhere is reached here.
    let host = if found.host.is_unspecified() {
        if found.host.is_ipv6() { "::1".to_owned() } else { "127.0.0.1".to_owned() }
    } else {
        found.host.to_string()
    };
    Ok((Address { host, port: found.port }, found.token.clone()))
}

/// Reads `tcp://HOST:PORT`; the scheme may be left out.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let wrong = || format!("'{text}' is no address: give tcp://HOST:PORT");
    let rest = text.strip_prefix("tcp://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner,
        None if host.contains([':', '/', '@']) => return Err(wrong()),
        None => host,
    };
    if host.is_empty() {
        return Err(wrong());
    }
    Ok(Address { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let check = |text: &str, host: &str, port: u16| {
            let host = host.to_owned();
            assert_eq!(address(text), Ok(Address { host, port }), "{text}");
        };
        check("tcp://localhost:9555", "localhost", 9555);
        check("127.0.0.1:1", "127.0.0.1", 1);
        check("tcp://[::1]:9555/", "::1", 9555);
        for text in ["", "localhost", "tcp://:1", "http://h:1", "h:0", "h:65536", "::1:9", "a@b:1"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
