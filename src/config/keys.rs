//! Every key of the configuration, once: what it is called, what it may be, what
//! it means. Parsing, checks, suggestions, names in the environment, what
//! `kernel status -v` shows and docs/configuration.md all come from this table
//! (the last one is compared with it by a test). A new key is a row here and a
//! field in `Config`.

use super::{Config, Value, value::Kind};

/// The part of a path that stands for a name of the user's choice.
pub(super) const WILDCARD: &str = "NAME";

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it is: `kernel.port`. `NAME` stands for any name.
    pub path: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What it is when nobody says anything, as one would write it.
    pub default: Option<&'static str>,
    /// What it means, for the documentation.
    pub meaning: &'static str,
    /// Whether a running kernel can take over a new value.
    pub reloadable: bool,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Puts a value, whose kind has been checked, into the configuration. The
    /// text is what stands for `NAME`.
    pub(super) set: fn(&mut Config, &str, Value),
}

impl Key {
    /// The parts of its path.
    pub(super) fn parts(&self) -> impl DoubleEndedIterator<Item = &'static str> {
        self.path.split('.')
    }

    /// Its last part.
    pub(super) fn leaf(&self) -> &'static str {
        self.parts().next_back().unwrap_or(self.path)
    }

    /// The variable that sets it: `LLMSPELL_KERNEL__PORT`.
    pub fn variable(&self) -> String {
        let parts: Vec<String> = self.parts().map(str::to_ascii_uppercase).collect();
        format!("{}{}", super::environment::PREFIX, parts.join("__"))
    }

    /// What it means, as a hint.
    pub(super) fn explained(&self) -> String {
        format!("{}: {}", self.path, self.meaning.replace('`', ""))
    }

    const fn live(self) -> Self {
        Self { reloadable: true, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

const fn key(
    path: &'static str,
    kind: Kind,
    meaning: &'static str,
    set: fn(&mut Config, &str, Value),
) -> Key {
    Key { path, kind, default: None, meaning, reloadable: false, secret: false, set }
}

const fn up_to(most: u64) -> Kind {
    Kind::Integer { least: 0, most }
}

const fn from_one_to(most: u64) -> Kind {
    Kind::Integer { least: 1, most }
}

/// A terabyte: more than that is a slip of the pen.
const MOST_MB: u64 = 1 << 20;

/// All of them.
pub const KEYS: &[Key] = &[
    key(
        "global.log_level",
        Kind::LogLevel,
        "how much is logged on standard error, unless `--trace` or `RUST_LOG` says otherwise",
        |config, _, value| config.global.log_level = value.log_level(),
    )
    .or("warn")
    .live(),
    key(
        "kernel.port",
        // Five ports in a row are used.
        up_to(65531),
        "the first of the five ports in a row of a kernel; 0 means any that are free",
        |config, _, value| config.kernel.port = value.port(),
    )
    .or("9555"),
    key(
        "kernel.host",
        Kind::Host,
        "the address to listen on; any but a loopback address needs a token",
        |config, _, value| config.kernel.host = value.text(),
    )
    .or("127.0.0.1"),
    key(
        "kernel.id",
        Kind::Name,
        "the name of the kernel; without one it gets a name of its own",
        |config, _, value| config.kernel.id = Some(value.text()),
    ),
    key(
        "kernel.connection_file",
        Kind::Path,
        "where the kernel writes how it is reached",
        |config, _, value| config.kernel.connection_file = Some(value.path()),
    ),
    key(
        "kernel.idle_timeout",
        Kind::Seconds { zero: true },
        "the seconds without clients and work after which the kernel ends; 0 means never",
        |config, _, value| config.kernel.idle_timeout = value.duration_or_none(),
    )
    .or("0")
    .live(),
    key(
        "kernel.max_clients",
        from_one_to(65536),
        "how many clients may be connected at once",
        |config, _, value| config.kernel.max_clients = value.integer(),
    )
    .or("256")
    .live(),
    key(
        "kernel.shutdown_grace",
        Kind::Seconds { zero: true },
        "the seconds that a running program has to finish when the kernel is told to end",
        |config, _, value| config.kernel.shutdown_grace = value.duration(),
    )
    .or("10")
    .live(),
    key(
        "kernel.token",
        Kind::Token,
        "what clients must present; required where `host` is no loopback address",
        |config, _, value| config.kernel.token = Some(super::Secret::new(value.text())),
    )
    .secret(),
    key(
        "kernel.limits.max_memory_mb",
        up_to(MOST_MB),
        "the megabytes that the Lua of one session may use; 0 means any amount",
        |config, _, value| config.kernel.limits.max_memory = value.megabytes_or_none(),
    )
    .or("0")
    .live(),
    key(
        "kernel.limits.max_message_size_mb",
        from_one_to(1024),
        "the megabytes that one message of a client may have",
        |config, _, value| config.kernel.limits.max_message_size = value.megabytes(),
    )
    .or("16")
    .live(),
    key(
        "resources.profiles.NAME.memory_limit",
        Kind::Size,
        "the most memory a program may use, such as `\"512MB\"`",
        |config, name, value| config.profile(name).memory_limit = Some(value.size()),
    )
    .live(),
    key(
        "resources.profiles.NAME.timeout",
        Kind::Seconds { zero: false },
        "the seconds after which a program is ended",
        |config, name, value| config.profile(name).timeout = Some(value.duration()),
    )
    .live(),
    key(
        "daemon.daemonize",
        Kind::Bool,
        "whether the kernel goes into the background",
        |config, _, value| config.daemon.daemonize = value.bool(),
    )
    .or("false"),
    key(
        "daemon.pid_file",
        Kind::Path,
        "the file that holds the kernel's process id, and is locked while it runs",
        |config, _, value| config.daemon.pid_file = Some(value.path()),
    ),
    key(
        "logging.log_file",
        Kind::Path,
        "the file that the kernel logs to; without one it logs on standard error",
        |config, _, value| config.logging.log_file = Some(value.path()),
    ),
    key(
        "logging.log_level",
        Kind::LogLevel,
        "how much goes to the kernel's log file; without it as much as `global.log_level` says",
        |config, _, value| config.logging.log_level = Some(value.log_level()),
    )
    .live(),
    key(
        "logging.max_size_mb",
        from_one_to(MOST_MB),
        "the megabytes after which the log file is rotated",
        |config, _, value| config.logging.max_size = value.megabytes(),
    )
    .or("10")
    .live(),
    key(
        "logging.keep",
        up_to(1000),
        "how many rotated log files are kept",
        |config, _, value| config.logging.keep = value.integer(),
    )
    .or("5")
    .live(),
    key("dap.enabled", Kind::Bool, "whether the kernel speaks DAP", |config, _, value| {
        config.dap.enabled = value.bool();
    })
    .or("true")
    .live(),
    key(
        "dap.port",
        up_to(65535),
        "the port of the kernel's DAP; without it, the one behind `kernel.port`; 0 means any that is free",
        |config, _, value| config.dap.port = Some(value.port()),
    ),
    key(
        "dap.wait_for_debugger",
        Kind::Bool,
        "whether programs wait for a debugger before their first line; for `run` and `exec`, only with `--dap`",
        |config, _, value| config.dap.wait_for_debugger = value.bool(),
    )
    .or("false")
    .live(),
    key(
        "repl.enabled",
        Kind::Bool,
        "whether the kernel has a REPL for plain lines of text",
        |config, _, value| config.repl.enabled = value.bool(),
    )
    .or("false")
    .live(),
    key(
        "repl.history_file",
        Kind::Path,
        "where the REPL in the terminal keeps its history",
        |config, _, value| config.repl.history_file = Some(value.path()),
    ),
];

/// What is at a path.
pub(super) enum Found {
    /// A key, by its place in the table, and what stands for `NAME`.
    Key(usize, String),
    /// A table with keys in it.
    Section,
    /// Nothing.
    Unknown,
}

/// Looks a path up.
pub(super) fn find(path: &[&str]) -> Found {
    for (index, key) in KEYS.iter().enumerate() {
        let parts: Vec<&str> = key.parts().collect();
        let matches = |(part, given): (&&str, &&str)| *part == WILDCARD || part == given;
        if path.len() <= parts.len() && parts.iter().zip(path).all(matches) {
            if path.len() < parts.len() {
                return Found::Section;
            }
            let name = parts.iter().position(|part| *part == WILDCARD);
            return Found::Key(index, name.map_or_else(String::new, |at| path[at].to_owned()));
        }
    }
    Found::Unknown
}

/// A key's path with a name in place of `NAME`, as one would write it.
pub(super) fn written(key: &Key, name: &str) -> String {
    let parts = key.parts().map(|part| if part == WILDCARD { quoted(name) } else { part.into() });
    parts.collect::<Vec<String>>().join(".")
}

/// Parts of a path as one would write them.
pub(super) fn joined(path: &[&str]) -> String {
    path.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".")
}

fn quoted(name: &str) -> String {
    let is_bare = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !name.is_empty() && name.chars().all(is_bare) { name.into() } else { format!("{name:?}") }
}
