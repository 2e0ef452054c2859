//! What a key may be, and the values that come of it.
//!
//! A value is checked in one place, whether it was written in a file, in the
//! environment or on the command line: text is read as far as TOML would have
//! done, then both go the same way.

use std::{
    env, fmt,
    net::IpAddr,
    path::{self, Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use toml::de::{DeInteger, DeValue};

use super::units::parse_size;

/// No timer needs more; and adding it to a point in time cannot overflow.
const MOST_SECONDS: f64 = 1e9;

/// What a key may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// One of [`LogLevel::NAMES`].
    LogLevel,
    /// An IP address or the name of a machine.
    Host,
    /// A name that can be part of a file's name.
    Name,
    /// What can be sent in an HTTP header.
    Token,
    /// A whole number in a range.
    Integer {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// True or false.
    Bool,
    /// A file. `~/` is expanded, and relative ones are made absolute.
    Path,
    /// A number of seconds.
    Seconds {
        /// Whether 0 will do.
        zero: bool,
    },
    /// An amount of memory.
    Size,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogLevel => f.write_str(&LogLevel::NAMES.join(", ")),
            Self::Host => f.write_str("address"),
            Self::Name => f.write_str("name"),
            Self::Token => f.write_str("text"),
            Self::Integer { least, most } => write!(f, "integer, {least} to {most}"),
            Self::Bool => f.write_str("boolean"),
            Self::Path => f.write_str("path"),
            Self::Seconds { .. } => f.write_str("seconds"),
            Self::Size => f.write_str("size"),
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Off,
    Error,
    #[default]
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// As people write them.
    pub const NAMES: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// As people write it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = Self::NAMES.iter().position(|name| *name == text);
        at.map(|at| Self::ALL[at])
            .ok_or_else(|| format!("expected {}, found '{text}'", one_of_levels()))
    }
}

/// A value, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Kind::LogLevel`].
    LogLevel(LogLevel),
    /// Of the kinds that are text.
    Text(String),
    /// Of [`Kind::Integer`].
    Integer(u64),
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Path`]: absolute.
    Path(PathBuf),
    /// Of [`Kind::Seconds`].
    Seconds(Duration),
    /// Of [`Kind::Size`], in bytes.
    Size(usize),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogLevel(level) => f.write_str(level.name()),
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Seconds(duration) => duration.as_secs_f64().fmt(f),
            Self::Size(bytes) => {
                let units = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];
                let unit = units.iter().find(|(_, factor)| bytes.is_multiple_of(*factor));
                let (name, factor) = unit.unwrap_or(&("", 1));
                write!(f, "{}{name}", bytes / factor)
            }
        }
    }
}

/// What setters take a value apart with. A value of another kind than the key's
/// cannot come (a test tries all keys); it would give the type's default.
impl Value {
    pub(super) fn log_level(self) -> LogLevel {
        if let Self::LogLevel(level) = self { level } else { LogLevel::default() }
    }

    pub(super) fn text(self) -> String {
        if let Self::Text(text) = self { text } else { String::new() }
    }

    pub(super) fn integer(self) -> usize {
        if let Self::Integer(number) = self {
            usize::try_from(number).unwrap_or(usize::MAX)
        } else {
            0
        }
    }

    pub(super) fn port(self) -> u16 {
        u16::try_from(self.integer()).unwrap_or(0)
    }

    pub(super) fn bool(self) -> bool {
        matches!(self, Self::Bool(true))
    }

    pub(super) fn path(self) -> PathBuf {
        if let Self::Path(path) = self { path } else { PathBuf::new() }
    }

    pub(super) fn duration(self) -> Duration {
        if let Self::Seconds(duration) = self { duration } else { Duration::ZERO }
    }

    /// Where 0 means that there is none.
    pub(super) fn duration_or_none(self) -> Option<Duration> {
        Some(self.duration()).filter(|duration| !duration.is_zero())
    }

    pub(super) fn size(self) -> usize {
        if let Self::Size(bytes) = self { bytes } else { 0 }
    }

    /// In bytes.
    pub(super) fn megabytes(self) -> usize {
        self.integer().saturating_mul(1 << 20)
    }

    /// In bytes, where 0 means that there is none.
    pub(super) fn megabytes_or_none(self) -> Option<usize> {
        Some(self.megabytes()).filter(|bytes| *bytes > 0)
    }
}

/// What is wrong with a value.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, hint: None }
    }
}

impl Kind {
    /// Reads a value of a file in `folder`.
    pub(super) fn read(self, value: &DeValue<'_>, folder: &Path) -> Result<Value, Fault> {
        match (self, value) {
            (Self::Bool, DeValue::Boolean(value)) => Ok(Value::Bool(*value)),
            (
                Self::Integer { .. } | Self::Seconds { .. } | Self::Size,
                DeValue::Integer(number),
            ) => self.number(&decimal(number)?),
            (Self::Seconds { .. }, DeValue::Float(number)) => self.number(number.as_str()),
            (Self::Size, DeValue::String(text)) => self.number(text),
            (
                Self::LogLevel | Self::Host | Self::Name | Self::Token | Self::Path,
                DeValue::String(text),
            ) => self.word(text, folder),
            (_, DeValue::String(text)) => {
                let hint = self.parse(text, folder).is_ok();
                let hint = hint.then(|| format!("write it without quotes: {}", text.trim()));
                Err(Fault { message: self.mismatch("a string"), hint })
            }
            (_, other) => Err(self.mismatch(type_name(other)).into()),
        }
    }

    /// Reads a value of the environment or the command line.
    pub(super) fn parse(self, text: &str, folder: &Path) -> Result<Value, Fault> {
        match self {
            Self::Bool => match text.trim() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(format!("expected true or false, found '{text}'").into()),
            },
            Self::Integer { .. } | Self::Seconds { .. } | Self::Size => self.number(text.trim()),
            Self::LogLevel | Self::Host | Self::Name | Self::Token | Self::Path => {
                self.word(text, folder)
            }
        }
    }

    fn number(self, text: &str) -> Result<Value, Fault> {
        let out_of_range = |range: &str| format!("{text} is out of range: {range}");
        match self {
            Self::Integer { least, most } => {
                let number: i128 = text.parse().map_err(|_| self.mismatch(&format!("'{text}'")))?;
                u64::try_from(number)
                    .ok()
                    .filter(|number| (least..=most).contains(number))
                    .map(Value::Integer)
                    .ok_or_else(|| out_of_range(&format!("{least} to {most}")).into())
            }
            Self::Seconds { zero } => {
                let number: f64 = text.parse().map_err(|_| self.mismatch(&format!("'{text}'")))?;
                let duration = Duration::try_from_secs_f64(number).ok();
                duration
                    .filter(|duration| number <= MOST_SECONDS && (zero || !duration.is_zero()))
                    .map(Value::Seconds)
                    .ok_or_else(|| {
                        let least = if zero { "0 to" } else { "more than 0, up to" };
                        out_of_range(&format!("{least} {MOST_SECONDS} seconds")).into()
                    })
            }
            _ if text.starts_with('-') => Err(out_of_range("sizes are positive").into()),
            _ => Ok(Value::Size(parse_size(text)?)),
        }
    }

    fn word(self, text: &str, folder: &Path) -> Result<Value, Fault> {
        if text.is_empty() {
            return Err("it must not be empty".to_owned().into());
        }
        let all = |holds: fn(char) -> bool| text.chars().all(holds);
        let checked = match self {
            Self::LogLevel => return log_level(text).map(Value::LogLevel),
            Self::Path => return absolute(text, folder).map(Value::Path),
            Self::Host if text.parse::<IpAddr>().is_ok() => Ok(()),
            Self::Host if !all(|it| it.is_ascii_alphanumeric() || it == '.' || it == '-') => {
                Err(Fault {
                    message: format!("'{text}' is neither an IP address nor the name of a machine"),
                    hint: text.contains(':').then(|| "the port has a key of its own".to_owned()),
                })
            }
            Self::Name if !all(|it| it.is_ascii_alphanumeric() || "._-".contains(it)) => {
                Err("only letters, digits, '.', '_' and '-' may be in it".to_owned().into())
            }
            Self::Name if text.starts_with(['.', '-']) || text.len() > 64 => {
                let message = "it begins with a letter or digit and has 64 characters at most";
                Err(message.to_owned().into())
            }
            Self::Token if !all(|it| it.is_ascii_graphic()) => {
                Err("only visible ASCII characters may be in it, and no spaces".to_owned().into())
            }
            _ => Ok(()),
        };
        checked.map(|()| Value::Text(text.to_owned()))
    }

    fn mismatch(self, found: &str) -> String {
        let expected = match self {
            Self::LogLevel => return format!("expected {}, found {found}", one_of_levels()),
            Self::Host | Self::Name | Self::Token | Self::Path => "a string",
            Self::Integer { .. } => "an integer",
            Self::Bool => "a boolean",
            Self::Seconds { .. } => "a number of seconds",
            Self::Size => "a size such as \"512MB\"",
        };
        format!("expected {expected}, found {found}")
    }
}

fn one_of_levels() -> String {
    format!("one of {}", LogLevel::NAMES.join(", "))
}

fn log_level(text: &str) -> Result<LogLevel, Fault> {
    text.parse().map_err(|message| {
        let hint = super::suggest::closest(text, &LogLevel::NAMES);
        Fault { message, hint: hint.map(|name| format!("did you mean '{name}'?")) }
    })
}

/// The decimal digits of a number that may be written otherwise.
fn decimal(number: &DeInteger<'_>) -> Result<String, Fault> {
    let value = i128::from_str_radix(number.as_str(), number.radix());
    value.map(|it| it.to_string()).map_err(|_| format!("{number} is out of range").into())
}

/// Expands `~/`, and makes a path absolute; nothing need be there.
fn absolute(text: &str, folder: &Path) -> Result<PathBuf, Fault> {
    let given = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = home().ok_or_else(|| "'~' needs the variable HOME".to_owned())?;
            home.join(rest.trim_start_matches('/'))
        }
        Some(_) => {
            let hint = Some("write the path out, or './~…' for a file of that name".to_owned());
            return Err(Fault { message: "only '~/' is expanded".to_owned(), hint });
        }
        None => folder.join(text),
    };
    path::absolute(&given).map_err(|error| format!("cannot tell where '{text}' is: {error}").into())
}

/// The user's own directory.
pub(super) fn home() -> Option<PathBuf> {
    env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// What a value is, for a message.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
