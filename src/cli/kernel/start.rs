//! `llmspell kernel start`: a kernel with its door, from the first line that it
//! prints to the last file that it removes.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use tokio::sync::{mpsc, watch};

use crate::{
    config::{Config, FlagSetting, Loaded, Profile},
    debug::Control,
    kernel::{
        Endpoint, Kernel, KernelOptions, Limits, Phase,
        clients::Protocol,
        door::{BindError, Door, DoorOptions, Serve},
        ports,
        signals::{self, Signal},
    },
    protocols::{
        dap::{self, ServeOptions, Server},
        http, repl,
    },
    session::{self, EnableDap},
};

/// How long clients have to read their last messages.
const FAREWELL: Duration = Duration::from_millis(500);
/// Two interrupts within this time end the kernel.
const TWICE: Duration = Duration::from_secs(2);

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
}

impl StartArguments {
    /// What the flags say about the configuration. With only positive protocol
    /// flags just those protocols are on.
    pub(super) fn settings(&self) -> Vec<FlagSetting> {
        let mut settings = Vec::new();
        let mut set = |key: &'static str, value: Option<String>, flag: &'static str| {
            settings.extend(value.map(|value| FlagSetting { key, value, flag }));
        };
        set("kernel.port", self.port.map(|it| it.to_string()), "--port");
        set("kernel.id", self.id.clone(), "--id");
        set("kernel.host", self.host.clone(), "--host");
        set("kernel.max_clients", self.max_clients.map(|it| it.to_string()), "--max-clients");
        set("kernel.idle_timeout", self.idle_timeout.map(|it| it.to_string()), "--idle-timeout");
        set("kernel.token", self.token.clone(), "--token");
        let only_these = self.dap || self.repl;
        let switch = |on: bool, off: bool, flag, no_flag, other| {
            let value = on || !(off || only_these);
            let given = if on {
                flag
            } else if off {
                no_flag
            } else {
                other
            };
            (on || off || only_these).then(|| (value.to_string(), given))
        };
        if let Some((value, flag)) = switch(self.dap, self.no_dap, "--dap", "--no-dap", "--repl") {
            set("dap.enabled", Some(value), flag);
        }
        let repl = switch(self.repl, self.no_repl, "--repl", "--no-repl", "--dap");
        if let Some((value, flag)) = repl {
            set("repl.enabled", Some(value), flag);
        }
        settings
    }
}

/// The signals that a kernel deals with.
const SIGNALS: [Signal; 2] = [Signal::Interrupt, Signal::Terminate];

/// Runs the command.
pub(super) fn start(_: &StartArguments, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let config = &loaded.config;
    let host = host(config)?;
    let (calls, mut called) = mpsc::unbounded_channel();
    signals::on_signals(&SIGNALS, move |signal| {
        // Nobody listens any more when the kernel is ending.
        let _ = calls.send(signal);
    })
    .context("cannot handle signals")?;
    let runtime = session::runtime().context("cannot start the runtime")?;
    runtime.block_on(async {
        let service = Service::open(&loaded, host).await?;
        service.announce();
        service.serve(&mut called, config.kernel.idle_timeout).await;
        service.close(config.kernel.shutdown_grace).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// A kernel with everything around it.
struct Service {
    kernel: Kernel,
    door: Door,
    endpoints: Vec<Endpoint>,
    /// Ports that scripts have opened.
    servers: Servers,
}

type Servers = Arc<Mutex<Vec<Server>>>;

impl Service {
    async fn open(loaded: &Loaded, host: IpAddr) -> anyhow::Result<Self> {
        let config = &loaded.config;
        let servers = Servers::default();
        let dap_port = Arc::new(OnceLock::new());
        let kernel = Kernel::new(KernelOptions {
            id: config.kernel.id.clone().unwrap_or_else(|| format!("k{}", std::process::id())),
            max_clients: config.kernel.max_clients,
            limits: limits(config, &config.default_profile()),
            profiles: (config.resources.profiles.iter())
                .map(|(name, profile)| (name.clone(), limits(config, profile)))
                .collect(),
            wait_for_debugger: config.dap.enabled && config.dap.wait_for_debugger,
            token: config.kernel.token.clone(),
            enable_dap: Some(enable_dap(config, &servers, &dap_port)),
        })
        .map_err(|message| anyhow!(message))?;
        let door = Door::open(
            kernel.clone(),
            DoorOptions {
                host,
                port: config.kernel.port,
                extra_port: config.dap.port.filter(|_| config.dap.enabled),
                protocols: protocols(config, &kernel, host),
                max_clients: config.kernel.max_clients,
            },
        )
        .await
        .map_err(|error| cannot_listen(&error))?;
        let endpoints = endpoints(config, &door);
        if let Some(dap) = endpoints.iter().find(|it| it.protocol == "dap" && it.enabled) {
            let port = dap.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            // Set once, here.
            let _ = dap_port.set(port.unwrap_or(0));
        }
        kernel.set_endpoints(endpoints.clone());
        kernel.set_settings(settings(loaded));
        Ok(Self { kernel, door, endpoints, servers })
    }

    /// Says where it can be reached, and that it can be.
    fn announce(&self) {
        let mut lines = String::new();
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.enabled) {
            lines += &format!("{}: listening on {}\n", endpoint.protocol, endpoint.address);
        }
        lines += &format!("kernel: ready {}\n", self.kernel.id());
        let mut stdout = io::stdout().lock();
        // Whoever started it need not listen.
        let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Serves until it is to end.
    async fn serve(
        &self,
        called: &mut mpsc::UnboundedReceiver<Signal>,
        idle_timeout: Option<Duration>,
    ) {
        let mut phase: watch::Receiver<Phase> = self.kernel.phase();
        let mut last_interrupt: Option<Instant> = None;
        let idle = async {
            match idle_timeout {
                Some(patience) => self.kernel.idle_for(patience).await,
                None => std::future::pending().await,
            }
        };
        let mut idle = std::pin::pin!(idle);
        loop {
            tokio::select! {
                call = called.recv() => match call {
                    Some(Signal::Interrupt) => {
                        let again = last_interrupt.is_some_and(|last| last.elapsed() < TWICE);
                        let interrupted = self.kernel.interrupt();
                        if again {
                            return tracing::info!("interrupted twice");
                        }
                        last_interrupt = Some(Instant::now());
                        tracing::info!(interrupted, "interrupted");
                    }
                    _ => return tracing::info!("terminated"),
                },
                _ = phase.wait_for(|phase| *phase != Phase::Running) => {
                    return tracing::info!("a client has asked for the end");
                }
                () = &mut idle => return tracing::info!("nobody has been here for long enough"),
            }
        }
    }

    /// Ends in good order.
    async fn close(self, grace: Duration) {
        let Self { kernel, door, servers, .. } = self;
        if !kernel.drain(grace).await {
            tracing::warn!("programs were interrupted: they did not end within {grace:?}");
        }
        let servers = std::mem::take(&mut *servers.lock().unwrap_or_else(PoisonError::into_inner));
        for server in servers {
            server.finish(FAREWELL).await;
        }
        door.finish(FAREWELL).await;
    }
}

/// The address to listen on.
fn host(config: &Config) -> anyhow::Result<IpAddr> {
    let text = config.kernel.host.as_str();
    let host = match text {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        text => text
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| anyhow!("'{text}' is no IP address to listen on"))?,
    };
    if !host.is_loopback() && config.kernel.token.is_none() {
        bail!(
            "listening on {host} lets other machines run programs here: \
             set a token with --token or [kernel] token"
        );
    }
    Ok(host)
}

fn limits(config: &Config, profile: &Profile) -> Limits {
    let memory = profile.memory_limit.or(config.kernel.limits.max_memory).unwrap_or(0);
    let most = config.kernel.limits.max_memory.unwrap_or(usize::MAX);
    Limits { memory: memory.min(most), timeout: profile.timeout }
}

/// Who serves which protocol.
fn protocols(config: &Config, kernel: &Kernel, host: IpAddr) -> BTreeMap<Protocol, Serve> {
    let mut protocols: BTreeMap<Protocol, Serve> = BTreeMap::new();
    let options = http::ServeOptions {
        loopback: host.is_loopback(),
        names: vec![host.to_string()],
        max_message: config.kernel.limits.max_message_size,
        ..http::ServeOptions::default()
    };
    let serve: Serve =
        Arc::new(move |stream, client| Box::pin(http::serve(stream, client, options.clone())));
    protocols.insert(Protocol::Http, serve);
    if config.dap.enabled {
        let options = dap_options(config);
        let kernel = kernel.clone();
        let serve: Serve = Arc::new(move |stream, client| {
            let (options, kernel) = (options.clone(), kernel.clone());
            Box::pin(async move {
                let Ok(control) = kernel.control(&client.session()) else { return };
                let peer = client.info().peer;
                let (input, output) = tokio::io::split(stream);
                dap::serve(input, output, control, ServeOptions { peer, ..options }).await;
            })
        });
        protocols.insert(Protocol::Dap, serve);
    }
    if config.repl.enabled {
        let max_message = config.kernel.limits.max_message_size;
        let serve: Serve = Arc::new(move |stream, client| {
            let options = repl::ServeOptions { max_message, opened: stream.opened() };
            let (input, output) = tokio::io::split(stream);
            Box::pin(repl::serve(input, output, client, options))
        });
        protocols.insert(Protocol::Repl, serve);
    }
    protocols
}

fn dap_options(config: &Config) -> ServeOptions {
    ServeOptions {
        max_message: config.kernel.limits.max_message_size,
        token: config.kernel.token.clone(),
        ..ServeOptions::default()
    }
}

/// What `Debug.enableDAP` does: the door speaks DAP already, unless another port
/// is wanted.
fn enable_dap(config: &Config, servers: &Servers, own_port: &Arc<OnceLock<u16>>) -> EnableDap {
    let (enabled, options) = (config.dap.enabled, dap_options(config));
    let (servers, own_port) = (Arc::clone(servers), Arc::clone(own_port));
    Arc::new(move |control: &Control, port| {
        let own = own_port.get().copied();
        match own {
            _ if !enabled => {
                Err("DAP is off in this kernel; start it with 'kernel start --dap'".to_owned())
            }
            Some(own) if port == 0 || port == own => Ok(own),
            _ => {
                let runtime = session::runtime().map_err(|error| error.to_string())?;
                let server = runtime
                    .block_on(dap::listen(port, control.clone(), options.clone()))
                    .map_err(|error| format!("{error:#}"))?;
                let port = server.address.port();
                servers.lock().unwrap_or_else(PoisonError::into_inner).push(server);
                Ok(port)
            }
        }
    })
}

/// The address that is documented for each protocol.
fn endpoints(config: &Config, door: &Door) -> Vec<Endpoint> {
    let base = door.address;
    let behind = SocketAddr::new(base.ip(), base.port() + 1);
    let in_row =
        |port: &u16| (base.port()..base.port() + crate::kernel::door::PORTS).contains(port);
    let dap = match config.dap.port {
        Some(port) if in_row(&port) => SocketAddr::new(base.ip(), port),
        _ => door.extra.unwrap_or(behind),
    };
    let endpoint = |protocol: Protocol, enabled, address: SocketAddr| Endpoint {
        protocol: protocol.name(),
        enabled,
        address: address.to_string(),
    };
    vec![
        endpoint(Protocol::Http, true, base),
        endpoint(Protocol::WebSocket, true, base),
        endpoint(Protocol::Dap, config.dap.enabled, dap),
        endpoint(Protocol::Repl, config.repl.enabled, base),
    ]
}

fn settings(loaded: &Loaded) -> Vec<(String, String, String)> {
    let rows = loaded.rows().into_iter();
    rows.map(|row| (row.key, row.value, row.origin.to_string())).collect()
}

fn cannot_listen(error: &BindError) -> anyhow::Error {
    let advice = "choose another with --port PORT, or 0 for free ones";
    ports::bind_error(&error.error, error.address, advice)
}
