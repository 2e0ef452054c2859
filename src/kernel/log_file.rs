//! The log in a file that is kept small: when it is full it becomes `LOG.1`,
//! what was `LOG.1` becomes `LOG.2`, and the last of them goes.
//!
//! A log is there for the kernel, not the other way round. So nothing that goes
//! wrong here (a full disk, a directory that is gone) stops whoever logs, or
//! panics, or is an error for them: it is said once on standard error, lines
//! that were lost are counted, and the file is opened anew when it can be.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracing_subscriber::fmt::MakeWriter;

/// How often the file is looked for at its path: others may have moved it away.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A log file that is rotated. Clones write to the same one.
#[derive(Clone, Debug)]
pub struct LogFile {
    inner: Arc<Mutex<Inner>>,
}

/// How large a log may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The file is rotated before it becomes larger than this.
    pub max_bytes: u64,
    /// So many older files are kept.
    pub keep: u32,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    rotation: Rotation,
    file: Option<File>,
    size: u64,
    looked: Instant,
    lost: u64,
    has_complained: bool,
}

impl LogFile {
    /// Opens it, to add to what is in it. Its directory has to exist.
    pub fn open(path: &Path, rotation: Rotation) -> anyhow::Result<Self> {
        let context = || format!("cannot open the log file {}", path.display());
        let path = std::path::absolute(path).with_context(context)?;
        let mut inner = Inner {
            path: path.clone(),
            rotation,
            file: None,
            size: 0,
            looked: Instant::now(),
            lost: 0,
            has_complained: false,
        };
        inner.open().with_context(context)?;
        Ok(Self { inner: Arc::new(Mutex::new(inner)) })
    }

    /// Changes how large it may become, from the next line on.
    pub fn rotate_at(&self, rotation: Rotation) {
        self.inner().rotation = rotation;
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.inner().path.clone()
    }

    /// How many lines could not be written.
    pub fn lost(&self) -> u64 {
        self.inner().lost
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LogFile {
    /// Takes one line, whole: lines of several threads do not mix, and a line is
    /// in one file.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut inner = self.inner();
        if let Err(error) = inner.write(line) {
            inner.lost += 1;
            // What is left of a full disk's file need not be what was opened.
            inner.file = None;
            if !inner.has_complained {
                inner.has_complained = true;
                let path = inner.path.display();
                // Nobody to tell if that fails, and no reason to stop.
                let _ = writeln!(io::stderr(), "the log {path} cannot be written: {error}");
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inner {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.file.is_none() || (self.looked.elapsed() >= LOOK_AGAIN && !self.is_there()) {
            self.open()?;
        }
        let length = line.len() as u64;
        if self.size > 0 && self.size.saturating_add(length) > self.rotation.max_bytes {
            self.rotate();
            self.open()?;
        }
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        if self.has_complained {
            // Part of a line may be the last that was written.
            let begin = if self.size > 0 { "\n" } else { "" };
            let note = format!("{begin}({} lines of the log were lost)\n", self.lost);
            file.write_all(note.as_bytes())?;
            self.size += note.len() as u64;
        }
        file.write_all(line)?;
        self.size += length;
        // It works again: the next failure is worth a word again.
        self.has_complained = false;
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        self.file = None;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        self.size = file.metadata()?.len();
        self.looked = Instant::now();
        self.file = Some(file);
        Ok(())
    }

    /// Whether the open file is still the one at the path.
    fn is_there(&mut self) -> bool {
        self.looked = Instant::now();
        let open = self.file.as_ref().and_then(|file| file.metadata().ok());
        match (open, fs::metadata(&self.path)) {
            (Some(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
            _ => false,
        }
    }

    /// Makes room at the path. What cannot be moved is cut off instead: a log
    /// that is not rotated would fill the disk.
    fn rotate(&mut self) {
        let older = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        // A device or a pipe is neither moved nor cut off.
        if !fs::metadata(&self.path).is_ok_and(|it| it.is_file()) {
            return;
        }
        for number in (1..self.rotation.keep).rev() {
            // Those that are not there yet cannot be moved.
            let _ = fs::rename(older(number), older(number + 1));
        }
        let moved = match self.rotation.keep {
            0 => fs::remove_file(&self.path),
            _ => fs::rename(&self.path, older(1)),
        };
        if moved.is_err()
            && let Some(file) = &self.file
        {
            // If even that fails, so will the next write, and is counted.
            let _ = file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, thread};

    use super::*;

    fn log(directory: &Path, max_bytes: u64, keep: u32) -> LogFile {
        LogFile::open(&directory.join("log"), Rotation { max_bytes, keep }).unwrap()
    }

    fn texts(directory: &Path) -> Vec<(String, String)> {
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut texts: Vec<_> = files
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        texts.sort();
        texts
    }

    fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn full_files_are_moved_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 10, 2);
        for line in ["one\n", "two\n", "three\n", "a line longer than a file\n", "4\n", "5\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let expected =
            [("log", "4\n5\n"), ("log.1", "a line longer than a file\n"), ("log.2", "three\n")];
        assert_eq!(texts(directory.path()), named(&expected));
        let mode = fs::metadata(log.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Another kernel goes on where this one was.
        let mut next = self::log(directory.path(), 10, 2);
        next.write_all(b"six\n").unwrap();
        next.rotate_at(Rotation { max_bytes: 10, keep: 0 });
        next.write_all(b"seven\n").unwrap();
        assert_eq!(texts(directory.path())[0].1, "seven\n");
        assert_eq!(next.lost(), 0);
    }

    #[test]
    fn lines_of_many_threads_stay_whole_and_none_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let log = log(directory.path(), 1000, 1000);
        thread::scope(|scope| {
            for thread in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..500 {
                        let line = format!("{thread} {number:04}\n");
                        log.make_writer().write_all(line.as_bytes()).unwrap();
                    }
                });
            }
        });
        let files = texts(directory.path());
        assert!(files.len() >= 15 && files.iter().all(|(_, text)| text.len() <= 1000));
        let mut lines: Vec<&str> = files.iter().flat_map(|(_, text)| text.lines()).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 2000);
        assert!(lines.iter().all(|line| line.len() == 6));
    }

    #[test]
    fn a_directory_that_is_gone_costs_lines_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let mut log = log(&inside, 8, 1);
        log.write_all(b"first\n").unwrap();
        fs::remove_dir_all(&inside).unwrap();
        for _ in 0..3 {
            log.write_all(b"nowhere\n").unwrap();
        }
        assert_eq!(log.lost(), 3);
        fs::create_dir(&inside).unwrap();
        log.write_all(b"back\n").unwrap();
        assert_eq!(texts(&inside), named(&[("log", "(3 lines of the log were lost)\nback\n")]));
    }

    #[test]
    fn a_full_disk_is_survived() {
        // The device that is always full; tests may run where there is none.
        let Ok(mut log) =
            LogFile::open(Path::new("/dev/full"), Rotation { max_bytes: 10, keep: 1 })
        else {
            return;
        };
        for _ in 0..3 {
            log.write_all(b"a line that is long\n").unwrap();
        }
        assert_eq!(log.lost(), 3);
        assert!(fs::metadata("/dev/full").is_ok());
    }

    #[test]
    fn a_file_that_others_moved_away_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 1000, 1);
        log.write_all(b"one\n").unwrap();
        fs::rename(log.path(), directory.path().join("moved")).unwrap();
        // As if a second had passed.
        log.inner().looked = Instant::now().checked_sub(LOOK_AGAIN).unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(texts(directory.path()), named(&[("log", "two\n"), ("moved", "one\n")]));
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_named() {
        let rotation = Rotation { max_bytes: 10, keep: 1 };
        let error = LogFile::open(Path::new("/no/such/log"), rotation).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot open the log file /no/such/log"));
    }
}
