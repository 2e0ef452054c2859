//! A kernel with everything around it: its door, its files, and what it does
//! when it is called from outside.

use std::{
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    Reread,
    served::{LiveConfig, live_options, protocols},
    start::rotation,
};
use crate::{
    cli::logging::{self, ANSWER},
    config::{Config, Loaded},
    kernel::{
        Endpoint, Kernel, KernelOptions, Phase,
        clients::Protocol,
        connection_file::{Connection, ConnectionFile, now},
        daemon,
        door::{Door, DoorOptions, PORTS},
        log_file::LogFile,
        metrics::OperationFigures,
        places::Places,
        ports,
        process::Usage,
        signals::Signal,
    },
    protocols::dap::Server,
};

/// How long clients have to read their last messages.
const FAREWELL: Duration = Duration::from_millis(500);
/// Two interrupts within this time end the kernel.
const TWICE: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Service {
    kernel: Kernel,
    door: Door,
    loaded: Loaded,
    reread: Reread,
    live: LiveConfig,
    servers: Servers,
    log: Option<LogFile>,
    connection_file: Option<ConnectionFile>,
}

/// Ports that scripts have opened for debuggers.
pub(super) type Servers = Arc<Mutex<Vec<Server>>>;

impl Service {
    /// Makes the kernel and opens its door.
    pub(super) async fn open(
        loaded: Loaded,
        reread: Reread,
        host: IpAddr,
        id: &str,
        log: Option<LogFile>,
    ) -> anyhow::Result<Self> {
        let config = &loaded.config;
        let live = LiveConfig::new(config.clone());
        let (servers, dap_port) = (Servers::default(), Arc::new(OnceLock::new()));
        let kernel = Kernel::new(KernelOptions {
            id: id.to_owned(),
            live: live_options(config),
            token: config.kernel.token.clone(),
            enable_dap: Some(super::served::enable_dap(&live, &servers, &dap_port)),
        })
        .map_err(|message| anyhow!(message))?;
        let options = DoorOptions {
            host,
            port: config.kernel.port,
            extra_port: config.dap.port,
            protocols: protocols(&live, &kernel, host),
            is_on: live.is_on(),
            max_clients: config.kernel.max_clients,
        };
        let advice = "choose another with --port PORT, or 0 for free ones";
        let door = Door::open(kernel.clone(), options)
            .await
            .map_err(|error| ports::bind_error(&error.error, error.address, advice))?;
        // Set once, here.
        let _ = dap_port.set(dap_address(config, &door).port());
        let service =
            Self { kernel, door, loaded, reread, live, servers, log, connection_file: None };
        service.tell_kernel();
        Ok(service)
    }

    /// Tells the kernel what others may ask it.
    fn tell_kernel(&self) {
        self.kernel.set_live(live_options(&self.loaded.config));
        self.kernel.set_endpoints(endpoints(&self.loaded.config, &self.door));
        let rows = self.loaded.rows().into_iter();
        self.kernel
            .set_settings(rows.map(|row| (row.key, row.value, row.origin.to_string())).collect());
    }

    /// Writes how it can be reached.
    pub(super) fn publish(&mut self, places: &Places, pid_file: &Path) -> anyhow::Result<()> {
        let config = &self.loaded.config;
        let path = match &config.kernel.connection_file {
            Some(path) => path.clone(),
            None => places.connection_file(self.kernel.id())?,
        };
        let on = endpoints(config, &self.door).into_iter().filter(|endpoint| endpoint.enabled);
        let port = |endpoint: &Endpoint| endpoint.address.rsplit_once(':')?.1.parse().ok();
        let connection = Connection {
            id: self.kernel.id().to_owned(),
            pid: std::process::id(),
            started_at: now(),
            host: self.door.address.ip(),
            port: self.door.address.port(),
            protocols: on.filter_map(|it| Some((it.protocol.to_owned(), port(&it)?))).collect(),
            token: config.kernel.token.as_ref().map(|token| token.reveal().to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            executable: std::env::current_exe().unwrap_or_default(),
            config_file: self.loaded.file.clone(),
            pid_file: pid_file.to_owned(),
        };
        self.connection_file = Some(connection.publish(&path)?);
        Ok(())
    }

    /// Says where it can be reached, and that it can be.
    pub(super) fn announce(&self) {
        let mut lines = String::new();
        for endpoint in endpoints(&self.loaded.config, &self.door) {
            if endpoint.enabled {
                lines.extend([endpoint.protocol, ": listening on ", &endpoint.address, "\n"]);
            }
        }
        lines.extend([daemon::READY, self.kernel.id(), "\n"]);
        let mut stdout = io::stdout().lock();
        // Whoever started it need not listen.
        let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Serves until it is to end.
    pub(super) async fn serve(&mut self, called: &mut UnboundedReceiver<Signal>) {
        let mut phase = self.kernel.phase();
        let mut last_interrupt: Option<Instant> = None;
        let kernel = self.kernel.clone();
        let mut pending = None;
        loop {
            let idle = async {
                match self.loaded.config.kernel.idle_timeout {
                    Some(patience) => kernel.idle_for(patience).await,
                    None => std::future::pending().await,
                }
            };
            let next = async {
                match pending.take() {
                    Some(call) => Some(call),
                    None => called.recv().await,
                }
            };
            let call = tokio::select! {
                call = next => call,
                _ = phase.wait_for(|phase| *phase != Phase::Running) => {
                    return tracing::info!("a client has asked for the end");
                }
                () = idle => return tracing::info!("nobody has been here for long enough"),
            };
            match call {
                Some(Signal::Interrupt) => {
                    if last_interrupt.is_some_and(|last| last.elapsed() < TWICE) {
                        return tracing::info!("interrupted twice");
                    }
                    last_interrupt = Some(Instant::now());
                    let programs = self.kernel.interrupt();
                    tracing::info!(programs, "interrupted; once more ends the kernel");
                }
                Some(Signal::HangUp) => {
                    // Several at once ask for one: editors write a file in steps.
                    while let Ok(next) = called.try_recv() {
                        if next != Signal::HangUp {
                            pending = Some(next);
                            break;
                        }
                    }
                    self.reload();
                }
                Some(Signal::User1) => self.log_statistics(),
                Some(Signal::User2) => {
                    let on = logging::toggle_debug();
                    answer(&format!("debug logging is {}", if on { "on" } else { "off" }));
                }
                Some(Signal::Continue) => {}
                Some(Signal::Terminate) | None => return tracing::info!("terminated"),
            }
        }
    }

    /// Takes over what has changed in the configuration, as far as that is
    /// possible; says what was and what was not.
    fn reload(&mut self) {
        daemon::notify_systemd(daemon::State::Reloading);
        match (self.reread)() {
            Ok(new) => self.take_over(new),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!("the configuration stays as it was: {error}");
                self.kernel.record("config.refused", json!({ "error": error }));
            }
        }
        daemon::notify_systemd(daemon::State::Ready);
    }

    fn take_over(&mut self, new: Loaded) {
        let changes = self.loaded.changes(&new);
        if changes.is_empty() {
            return answer("the configuration has not changed");
        }
        let (taken, rest): (Vec<_>, Vec<_>) = changes.into_iter().partition(|it| it.reloadable);
        for change in &taken {
            answer(&format!("{} is now {} (was {})", change.key, change.new, change.old));
        }
        for change in &rest {
            tracing::warn!("{} stays {}: a change needs a restart", change.key, change.old);
        }
        let keys = |changes: &[crate::config::Change]| {
            changes.iter().map(|change| change.key.clone()).collect::<Vec<_>>()
        };
        let data = json!({ "changed": keys(&taken), "needs_restart": keys(&rest) });
        self.kernel.record("config.reloaded", data);
        self.loaded = new;
        let config = &self.loaded.config;
        self.live.set(config.clone());
        logging::set_level(config.logging.log_level.unwrap_or(config.global.log_level));
        if let Some(log) = &self.log {
            log.rotate_at(rotation(config));
        }
        self.tell_kernel();
    }

    /// Puts figures into the log.
    fn log_statistics(&self) {
        let usage = Usage::now().ok();
        let operations: Vec<_> =
            self.kernel.metrics().operations().iter().map(OperationFigures::to_json).collect();
        let statistics = json!({
            "health": self.kernel.health(),
            "resident_bytes": usage.map(|usage| usage.resident_bytes),
            "open_files": usage.map(|usage| usage.open_files),
            "threads": usage.map(|usage| usage.threads),
            "operations": operations,
            "protocols": self.kernel.protocols(),
            "lost_log_lines": self.log.as_ref().map(LogFile::lost),
        });
        answer(&format!("statistics: {statistics}"));
    }

    /// Ends in good order.
    pub(super) async fn close(self) {
        let Self { kernel, door, servers, loaded, connection_file, .. } = self;
        let grace = loaded.config.kernel.shutdown_grace;
        // Nobody is to find it any more.
        drop(connection_file);
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

/// Logs what somebody has asked for, whatever the level of the log is.
fn answer(text: &str) {
    tracing::event!(name: ANSWER, tracing::Level::INFO, "{text}");
}

/// Where each protocol is documented to be.
fn endpoints(config: &Config, door: &Door) -> Vec<Endpoint> {
    let endpoint = |protocol: Protocol, enabled, address: SocketAddr| Endpoint {
        protocol: protocol.name(),
        enabled,
        address: address.to_string(),
    };
    vec![
        endpoint(Protocol::Http, true, door.address),
        endpoint(Protocol::WebSocket, true, door.address),
        endpoint(Protocol::Dap, config.dap.enabled, dap_address(config, door)),
        endpoint(Protocol::Repl, config.repl.enabled, door.address),
    ]
}

fn dap_address(config: &Config, door: &Door) -> SocketAddr {
    let base = door.address;
    let in_row = |port: &u16| (base.port()..base.port() + PORTS).contains(port);
    match config.dap.port.filter(in_row) {
        Some(port) => SocketAddr::new(base.ip(), port),
        None => door.extra.unwrap_or(SocketAddr::new(base.ip(), base.port() + 1)),
    }
}
