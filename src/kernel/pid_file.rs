//! PID files: locked as long as their process lives, so that a stale one never
//! blocks a start.
//!
//! The lock counts, the number in the file only names its holder. The hard
//! thing: whoever looks must not make a kernel fail that starts meanwhile. So
//! those who look, and those who remove, take the *shared* lock, for a moment;
//! a claim that meets a shared lock tries again, and one that meets the
//! exclusive one has met a kernel.

use std::{
    error::Error,
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::kernel::process;

/// Those who look hold their lock for microseconds; this is for a machine that
/// is very busy, or one of them stopped in the middle.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries. There is no way to be told of the end of a shared lock
/// other than to wait for an exclusive one, which may never come.
const PAUSE: Duration = Duration::from_millis(1);

/// A PID file that is ours. Dropping it removes it.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

/// Why a PID file could not be had.
#[derive(Debug)]
pub enum Claim {
    /// A process that lives has it.
    Held {
        /// Which file.
        path: PathBuf,
        /// Which process, if it could be told.
        pid: Option<u32>,
    },
    /// It could not be opened, locked or written.
    Failed {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, pid: Some(pid) } => {
                write!(f, "the process {pid} holds {}", path.display())
            }
            Self::Held { path, pid: None } => {
                write!(f, "another process holds {}", path.display())
            }
            Self::Failed { path, error } => {
                write!(f, "cannot have the PID file {}: {error}", path.display())
            }
        }
    }
}

impl Error for Claim {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Held { .. } => None,
            Self::Failed { error, .. } => Some(error),
        }
    }
}

impl PidFile {
    /// Makes the file this process's, for as long as the result lives.
    ///
    /// Its directory has to exist. The file is closed to processes that this
    /// one starts, so none of them keeps it locked.
    pub fn claim(path: &Path) -> Result<Self, Claim> {
        let failed = |error| Claim::Failed { path: path.to_owned(), error };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut file = open_or_create(path).map_err(failed)?;
            if try_lock(&file).map_err(failed)? {
                // Between opening and locking it may have been removed.
                if is_at(&file, path) {
                    write_pid(&mut file).map_err(failed)?;
                    return Ok(Self { path: path.to_owned(), file });
                }
            } else if let Lock::Held(pid) = look(&mut file, path, deadline).map_err(failed)? {
                return Err(Claim::Held { path: path.to_owned(), pid });
            }
            if Instant::now() > deadline {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // It is locked still, so what is found to be ours stays so.
        if is_at(&self.file, &self.path)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the PID file stays");
        }
        // Closing would do, but not while a process that is being started has
        // a copy of the descriptor, just before it becomes another program.
        let _ = self.file.unlock();
    }
}

/// Who holds a PID file, if anybody does. A file that is not there is held by
/// nobody.
///
/// # Errors
/// If the file cannot be read, or its holder has not put its number into it.
pub fn holder(path: &Path) -> io::Result<Option<u32>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match look(&mut file, path, deadline)? {
            Lock::Held(Some(pid)) => return Ok(Some(pid)),
            Lock::Held(None) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} is locked, but names no process that lives", path.display()),
                ));
            }
            // Else another file has taken its place.
            Lock::Free if is_at(&file, path) || !path.exists() => return Ok(None),
            Lock::Free => {}
        }
    }
}

/// Removes a PID file that nobody holds; says whether it did.
///
/// Does nothing while another process removes one from the same directory: two
/// could take a new kernel's file for the old one that both have seen.
pub fn remove_if_stale(path: &Path) -> io::Result<bool> {
    let directory = File::open(path.parent().unwrap_or(Path::new(".")))?;
    if !try_lock(&directory)? {
        return Ok(false);
    }
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    // With the shared lock nobody can claim this file. A claim may make another
    // one, but only in place of a file that has been removed, and only those in
    // this function remove what is not theirs.
    if !try_lock_shared(&file)? || !is_at(&file, path) {
        return Ok(false);
    }
    fs::remove_file(path)?;
    Ok(true)
}

/// The exclusive lock of a file.
enum Lock {
    Free,
    /// By this process; `None` is one that has not told.
    Held(Option<u32>),
}

fn look(file: &mut File, path: &Path, deadline: Instant) -> io::Result<Lock> {
    loop {
        if try_lock_shared(file)? {
            file.unlock()?;
            return Ok(Lock::Free);
        }
        // A kernel that has just got the lock writes its number next: until it
        // has, there is none, or that of a kernel that was here before.
        let pid = read_pid(file)?;
        if pid.is_some_and(process::exists) {
            return Ok(Lock::Held(pid));
        }
        if Instant::now() > deadline {
            return Ok(Lock::Held(None));
        }
        // It may have been removed, with the lock on it; then the path counts.
        if !is_at(file, path) {
            return Ok(Lock::Free);
        }
        thread::sleep(PAUSE);
    }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    // What is in it counts until the lock is ours.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    // One write: nobody sees half a number.
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

fn read_pid(file: &mut File) -> io::Result<Option<u32>> {
    let mut text = String::new();
    file.rewind()?;
    // A file that holds something else is not read to its end.
    match io::Read::by_ref(file).take(32).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        read => read.map(|_| text.trim().parse().ok()),
    }
}

/// Whether a file is the one that is found at a path.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(found)) => (ours.dev(), ours.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    told(file.try_lock())
}

fn try_lock_shared(file: &File) -> io::Result<bool> {
    told(file.try_lock_shared())
}

fn told(locked: Result<(), TryLockError>) -> io::Result<bool> {
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
pub(in crate::kernel) mod tests;
