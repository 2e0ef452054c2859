//! The configuration as the rest of the program sees it: typed, in bytes and
//! durations. Which key fills which field is said in the table of keys.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use super::{LogLevel, problem::MASK};

/// The configuration, typed; docs/configuration.md and the table of keys say
/// what each field means. [`load`](super::load) fills in the defaults.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Config {
    pub global: Global,
    pub kernel: Kernel,
    pub resources: Resources,
    pub daemon: Daemon,
    pub logging: Logging,
    pub dap: Dap,
    pub repl: Repl,
}

impl Config {
    /// What programs get where no flag says otherwise.
    pub fn default_profile(&self) -> Profile {
        self.resources.profiles.get("default").cloned().unwrap_or_default()
    }

    pub(super) fn profile(&mut self, name: &str) -> &mut Profile {
        self.resources.profiles.entry(name.to_owned()).or_default()
    }
}

/// `[global]`
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Global {
    pub log_level: LogLevel,
}

/// `[kernel]`
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Kernel {
    pub port: u16,
    pub host: String,
    pub id: Option<String>,
    pub connection_file: Option<PathBuf>,
    /// `None`: never.
    pub idle_timeout: Option<Duration>,
    pub max_clients: usize,
    pub shutdown_grace: Duration,
    pub token: Option<Secret>,
    pub limits: Limits,
}

/// `[kernel.limits]`, in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Limits {
    /// `None`: any amount.
    pub max_memory: Option<usize>,
    pub max_message_size: usize,
}

/// `[resources]`
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Resources {
    pub profiles: BTreeMap<String, Profile>,
}

/// `[resources.profiles.NAME]`
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Profile {
    /// In bytes.
    pub memory_limit: Option<usize>,
    pub timeout: Option<Duration>,
}

/// `[daemon]`
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Daemon {
    pub daemonize: bool,
    pub pid_file: Option<PathBuf>,
}

/// `[logging]`
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Logging {
    pub log_file: Option<PathBuf>,
    /// `None`: as much as `[global]` says.
    pub log_level: Option<LogLevel>,
    /// In bytes.
    pub max_size: usize,
    pub keep: usize,
}

/// `[dap]`
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Dap {
    pub enabled: bool,
    /// `None`: the one behind the kernel's first.
    pub port: Option<u16>,
    pub wait_for_debugger: bool,
}

/// `[repl]`
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Repl {
    pub enabled: bool,
    pub history_file: Option<PathBuf>,
}

/// A text that is not shown by accident.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes one.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether it is this text; takes a time that tells nothing of where they
    /// differ.
    pub fn is(&self, given: &str) -> bool {
        let pairs = given.bytes().zip(self.0.bytes());
        let differences = pairs.fold(0, |sum, (a, b)| sum | (a ^ b));
        given.len() == self.0.len() && differences == 0
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
