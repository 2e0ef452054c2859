//! Which protocols a kernel's door serves, and how, by a configuration that may
//! change while it does.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use super::service::Servers;
use crate::{
    config::{Config, Profile},
    debug::Control,
    kernel::{
        Kernel, Limits, LiveOptions,
        clients::Protocol,
        door::{IsOn, Serve},
    },
    protocols::{
        dap::{self, ServeOptions},
        http, repl,
    },
    session::{self, EnableDap},
};

/// The configuration as it is now. Cheap to clone.
#[derive(Clone)]
pub(super) struct LiveConfig(Arc<RwLock<Config>>);

impl LiveConfig {
    pub(super) fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    pub(super) fn set(&self, config: Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn read<T>(&self, look: impl FnOnce(&Config) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says whether a protocol is on.
    pub(super) fn is_on(&self) -> IsOn {
        let live = self.clone();
        Arc::new(move |protocol| match protocol {
            Protocol::Dap => live.read(|config| config.dap.enabled),
            Protocol::Repl => live.read(|config| config.repl.enabled),
            Protocol::Http | Protocol::WebSocket | Protocol::Local => true,
        })
    }

    /// How debuggers are served. The token is the first one: clients know it from
    /// the connection file.
    fn dap_options(&self) -> ServeOptions {
        self.read(|config| ServeOptions {
            max_message: config.kernel.limits.max_message_size,
            token: config.kernel.token.clone(),
            ..ServeOptions::default()
        })
    }
}

/// What a running kernel takes over.
pub(in crate::cli) fn live_options(config: &Config) -> LiveOptions {
    let profiles = config.resources.profiles.iter();
    LiveOptions {
        max_clients: config.kernel.max_clients,
        limits: limits(config, &config.default_profile()),
        profiles: profiles.map(|(name, profile)| (name.clone(), limits(config, profile))).collect(),
        wait_for_debugger: config.dap.enabled && config.dap.wait_for_debugger,
    }
}

fn limits(config: &Config, profile: &Profile) -> Limits {
    let most = config.kernel.limits.max_memory;
    let memory = match (profile.memory_limit, most) {
        (Some(wanted), Some(most)) => wanted.min(most),
        (wanted, most) => wanted.or(most).unwrap_or(0),
    };
    Limits { memory, timeout: profile.timeout }
}

/// Who serves which protocol.
pub(super) fn protocols(
    live: &LiveConfig,
    kernel: &Kernel,
    host: IpAddr,
) -> BTreeMap<Protocol, Serve> {
    let http: Serve = {
        let live = live.clone();
        Arc::new(move |stream, client| {
            let options = http::ServeOptions {
                loopback: host.is_loopback(),
                names: vec![host.to_string()],
                max_message: live.read(|config| config.kernel.limits.max_message_size),
                ..http::ServeOptions::default()
            };
            Box::pin(http::serve(stream, client, options))
        })
    };
    let dap: Serve = {
        let (live, kernel) = (live.clone(), kernel.clone());
        Arc::new(move |stream, client| {
            let (options, kernel) = (live.dap_options(), kernel.clone());
            Box::pin(async move {
                let Ok(control) = kernel.control(&client.session()) else { return };
                let peer = client.info().peer;
                let (input, output) = tokio::io::split(stream);
                dap::serve(input, output, control, ServeOptions { peer, ..options }).await;
            })
        })
    };
    let repl: Serve = {
        let live = live.clone();
        Arc::new(move |stream, client| {
            let max_message = live.read(|config| config.kernel.limits.max_message_size);
            let options = repl::ServeOptions { max_message, opened: stream.opened() };
            let (input, output) = tokio::io::split(stream);
            Box::pin(repl::serve(input, output, client, options))
        })
    };
    BTreeMap::from([(Protocol::Http, http), (Protocol::Dap, dap), (Protocol::Repl, repl)])
}

/// What `Debug.enableDAP` does: the door speaks DAP already, unless another port
/// is wanted.
pub(super) fn enable_dap(
    live: &LiveConfig,
    servers: &Servers,
    own_port: &Arc<OnceLock<u16>>,
) -> EnableDap {
    let (live, servers, own_port) = (live.clone(), Arc::clone(servers), Arc::clone(own_port));
    Arc::new(move |control: &Control, port| {
        if !live.read(|config| config.dap.enabled) {
            return Err("DAP is off in this kernel; start it with 'kernel start --dap'".to_owned());
        }
        if let Some(own) = own_port.get().filter(|own| port == 0 || port == **own) {
            return Ok(*own);
        }
        let runtime = session::runtime().map_err(|error| error.to_string())?;
        let server = runtime
            .block_on(dap::listen(port, control.clone(), live.dap_options()))
            .map_err(|error| format!("{error:#}"))?;
        let port = server.address.port();
        servers.lock().unwrap_or_else(PoisonError::into_inner).push(server);
        Ok(port)
    })
}
