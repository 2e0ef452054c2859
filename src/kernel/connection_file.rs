//! Connection files: how others find a kernel and what it speaks.
//!
//! A kernel has its PID file before it writes one, and whoever removes a stale
//! one holds the lock on the directory from the look at the PID file to the
//! removal, as a kernel does while it writes. So a kernel that starts again
//! under the same id never loses its new file to somebody who saw the old one.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing_subscriber::fmt::{format::Writer, time::FormatTime as _};

use crate::kernel::{
    pid_file,
    places::{Places, check_id},
};

/// What a kernel tells about itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its id.
    pub id: String,
    /// Its process.
    pub pid: u32,
    /// When it was started: RFC 3339, in UTC.
    pub started_at: String,
    /// The address that it listens on.
    pub host: IpAddr,
    /// The first of its ports.
    pub port: u16,
    /// The protocols that are on, by name, and the port that each is documented
    /// on.
    pub protocols: BTreeMap<String, u16>,
    /// What clients have to show, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Its version.
    pub version: String,
    /// Its program.
    pub executable: PathBuf,
    /// The configuration that it has read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_file: Option<PathBuf>,
    /// The PID file, which tells whether it lives.
    pub pid_file: PathBuf,
}

// The token is nobody's business.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, pid, host, port, .. } = self;
        write!(f, "Connection({id}, pid {pid}, {host}:{port})")
    }
}

impl Connection {
    /// Reads one. Fields that are not known are ignored.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let connection: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no connection file", path.display()))?;
        check_id(&connection.id)
            .with_context(|| format!("{} is no connection file", path.display()))?;
        Ok(connection)
    }

    /// Writes the file, for this user only; it is there as a whole or not at
    /// all.
    ///
    /// To be called by a process that holds the PID file.
    pub fn publish(self, path: &Path) -> anyhow::Result<ConnectionFile> {
        let written = write(&self, path);
        written.with_context(|| format!("cannot write the connection file {}", path.display()))?;
        Ok(ConnectionFile { path: path.to_owned(), connection: self })
    }
}

fn write(connection: &Connection, path: &Path) -> anyhow::Result<()> {
    let directory = directory_of(path);
    let name = path.file_name().context("it has no name")?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let new = directory.join(hidden);
    let _lock = lock(&directory);
    // Of a kernel that was killed here. A file that is made anew cannot be a
    // link to another, and is closed to others from the beginning.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let mut text = serde_json::to_vec_pretty(connection)?;
    text.push(b'\n');
    let placed = file.write_all(&text).and_then(|()| fs::rename(&new, path));
    if placed.is_err() {
        let _ = fs::remove_file(&new);
    }
    Ok(placed?)
}

/// A connection file that is ours. Dropping it removes it.
#[derive(Debug)]
pub struct ConnectionFile {
    path: PathBuf,
    connection: Connection,
}

impl ConnectionFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for ConnectionFile {
    fn drop(&mut self) {
        let _lock = lock(&directory_of(&self.path));
        let Ok(found) = Connection::read(&self.path) else { return };
        let is_ours = (found.pid, &found.started_at, &found.id)
            == (self.connection.pid, &self.connection.started_at, &self.connection.id);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the connection file stays");
        }
    }
}

/// What was found where connection files are.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Kernels that live, with the path of their connection file; by port.
    pub live: Vec<(PathBuf, Connection)>,
    /// Kernels that do not; their files have been removed.
    pub stale: Vec<(PathBuf, Connection)>,
    /// Files that could not be read or understood, and why. They stay.
    pub broken: Vec<(PathBuf, String)>,
}

/// Looks for kernels, and removes what dead ones have left.
pub fn discover(places: &Places) -> Discovery {
    let mut discovery = Discovery::default();
    for directory in places.connection_directories() {
        // One that is not there, or is for others, has no kernels for us.
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_hidden =
                path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !is_hidden && path.extension().is_some_and(|extension| extension == "json") {
                discovery.look_at(path);
            }
        }
    }
    discovery.live.sort_by(|(_, a), (_, b)| (a.port, &a.id).cmp(&(b.port, &b.id)));
    discovery
}

impl Discovery {
    fn look_at(&mut self, path: PathBuf) {
        let seen = match state(&path) {
            // Only with the lock is it certain that nobody starts meanwhile.
            Ok(State::Stale(_)) => {
                let _lock = lock(&directory_of(&path));
                let seen = state(&path);
                if let Ok(State::Stale(connection)) = &seen {
                    remove(&path, connection);
                }
                seen
            }
            seen => seen,
        };
        match seen {
            Ok(State::Live(connection)) => self.live.push((path, connection)),
            Ok(State::Stale(connection)) => self.stale.push((path, connection)),
            Ok(State::Starting) => {}
            // It has ended since, and has removed its file.
            Err(error) if is_not_found(&error) => {}
            Err(error) => self.broken.push((path, format!("{error:#}"))),
        }
    }
}

enum State {
    Live(Connection),
    Stale(Connection),
    /// A process has the PID file that has not written this connection file.
    Starting,
}

fn state(path: &Path) -> anyhow::Result<State> {
    let connection = Connection::read(path)?;
    Ok(match pid_file::holder(&connection.pid_file)? {
        None => State::Stale(connection),
        Some(pid) if pid == connection.pid => State::Live(connection),
        Some(_) => State::Starting,
    })
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::NotFound)
}

fn remove(path: &Path, connection: &Connection) {
    // The PID file last: what has neither lock nor file leaves no trace.
    let removed = fs::remove_file(path).and_then(|()| {
        match pid_file::remove_if_stale(&connection.pid_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed,
        }
    });
    if let Err(error) = removed {
        tracing::warn!(path = %path.display(), %error, "what a dead kernel left stays");
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Locks a directory against all others that write or remove connection files.
/// They do so for moments, thus this waits for them.
///
/// Some file systems of networks lock no directories: there it goes without.
fn lock(directory: &Path) -> Option<File> {
    let file = File::open(directory).ok()?;
    match file.lock() {
        Ok(()) => Some(file),
        Err(error) => {
            tracing::debug!(directory = %directory.display(), %error, "the directory is not locked");
            None
        }
    }
}

/// The time, for [`Connection::started_at`].
pub fn now() -> String {
    let mut text = String::new();
    let time = tracing_subscriber::fmt::time::SystemTime;
    // Writing to a string does not fail.
    let _ = time.format_time(&mut Writer::new(&mut text));
    text
}

#[cfg(test)]
mod tests;
