//! The configuration: a TOML file, the environment and flags, each beating what
//! comes before it.
//!
//! `config/keys.rs` has one row for each key, from which everything else
//! follows. The hard thing is to be helpful: all problems are reported at once,
//! with their places, and every value knows where it comes from.

mod environment;
mod file;
mod keys;
mod model;
mod problem;
mod suggest;
mod units;
mod value;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fmt,
    path::{self, Path, PathBuf},
};

pub use keys::{KEYS, Key};
pub use model::{
    Config, Daemon, Dap, Global, Kernel, Limits, Logging, Profile, Repl, Resources, Secret,
};
pub use problem::{Place, Problem, Spot};
pub use units::{parse_seconds, parse_size};
pub use value::{Kind, LogLevel, Value};

/// Reads the configuration: the file that was chosen or is found, the
/// environment, and these flags.
///
/// # Errors
/// All that is wrong with it.
pub fn load(choice: Option<&Path>, flags: &[FlagSetting]) -> Result<Loaded, Vec<Problem>> {
    let variables: Vec<_> = env::vars_os().collect();
    assemble(file::search(choice)?, &variables, flags)
}

fn assemble(
    search: file::Search,
    variables: &[(OsString, OsString)],
    flags: &[FlagSetting],
) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut settings = Settings::default();
    if let Some((path, bytes)) = &search.found {
        file::take_file(path, bytes, &mut settings, &mut problems);
    }
    environment::take_variables(variables, &mut settings, &mut problems);
    environment::take_flags(flags, &mut settings, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    settings.fill_in_defaults();
    Ok(Loaded {
        config: settings.config(),
        file: search.found.map(|(path, _)| path::absolute(&path).unwrap_or(path)),
        looked: search.looked,
        settings,
    })
}

/// What a flag of the command line says about a key.
#[derive(Clone, Debug)]
pub struct FlagSetting {
    /// The key's path.
    pub key: &'static str,
    /// The value, as in the environment.
    pub value: String,
    /// The flag, as in `--port`.
    pub flag: &'static str,
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// The file, if there is one; absolute.
    pub file: Option<PathBuf>,
    /// The files that were looked for, in this order, up to the one that is there.
    pub looked: Vec<PathBuf>,
    settings: Settings,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has said anything.
    Default,
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable.
    Environment(String),
    /// An option of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A key with its value, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its path.
    pub key: String,
    /// As one would write it; `none` if there is none. Secrets are masked.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// A key whose value differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path.
    pub key: String,
    /// What it was, as in [`Row::value`].
    pub old: String,
    /// What it is.
    pub new: String,
    /// Whether a running kernel can take it over.
    pub reloadable: bool,
}

/// Shown for a key without a value.
const NONE: &str = "none";

impl Loaded {
    /// Every key with its value, in the order of the table.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (index, key) in KEYS.iter().enumerate() {
            let of_key = self.settings.0.range((index, String::new())..(index + 1, String::new()));
            let before = rows.len();
            rows.extend(of_key.map(|((_, name), setting)| Row {
                key: keys::written(key, name),
                value: shown(key, Some(&setting.value)),
                origin: setting.origin.clone(),
            }));
            if rows.len() == before && !key.parts().any(|part| part == keys::WILDCARD) {
                let value = shown(key, None);
                rows.push(Row { key: key.path.to_owned(), value, origin: Origin::Default });
            }
        }
        rows
    }

    /// What would change with another configuration.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let (old, new) = (&self.settings.0, &new.settings.0);
        let places: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let value = |settings: &BTreeMap<_, Setting>, place: &(usize, String)| {
            settings.get(place).map(|setting| setting.value.clone())
        };
        let mut changes = Vec::new();
        for place in places {
            let (old, new) = (value(old, place), value(new, place));
            if old != new {
                let key = &KEYS[place.0];
                changes.push(Change {
                    key: keys::written(key, &place.1),
                    old: shown(key, old.as_ref()),
                    new: shown(key, new.as_ref()),
                    reloadable: key.reloadable,
                });
            }
        }
        changes
    }
}

fn shown(key: &Key, value: Option<&Value>) -> String {
    match value {
        Some(_) if key.secret => problem::MASK.to_owned(),
        Some(value) => value.to_string(),
        None => NONE.to_owned(),
    }
}

/// Values of keys, by their place in the table and what stands for `NAME`.
#[derive(Clone, Default)]
struct Settings(BTreeMap<(usize, String), Setting>);

#[derive(Clone)]
struct Setting {
    value: Value,
    origin: Origin,
}

impl Settings {
    fn set(&mut self, index: usize, name: String, value: Value, origin: Origin) {
        self.0.insert((index, name), Setting { value, origin });
    }

    /// What stands for `NAME` so far.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|(_, name)| name.as_str()).filter(|name| !name.is_empty())
    }

    fn fill_in_defaults(&mut self) {
        for (index, key) in KEYS.iter().enumerate() {
            let Some(default) = key.default else { continue };
            // A test reads all defaults.
            if let Ok(value) = key.kind.parse(default, Path::new("")) {
                let setting = Setting { value, origin: Origin::Default };
                self.0.entry((index, String::new())).or_insert(setting);
            }
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        for ((index, name), setting) in &self.0 {
            (KEYS[*index].set)(&mut config, name, setting.value.clone());
        }
        config
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secret.
        write!(f, "{} settings", self.0.len())
    }
}

#[cfg(test)]
mod tests;
