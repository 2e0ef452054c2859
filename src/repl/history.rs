//! What was typed before, in a file that several prompts share.
//!
//! Nothing in it may harm: a file that is no history is set aside, and what
//! cannot be kept is not. Each entry is appended under a lock as soon as it is
//! typed, so that no prompt loses another's, and none is lost with a prompt.
//! The format is rustyline's: `#V2`, then a line for each, with `\n` for line
//! breaks in it.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

/// Most entries that are kept.
pub(super) const MOST: usize = 10_000;
/// Longest entry; the line editor cannot show much longer ones.
const LONGEST: usize = 16 << 10;
/// Larger files are no history.
const LARGEST: u64 = 64 << 20;
const HEADER: &str = "#V2";

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    /// `None` once it could not be used.
    path: Option<PathBuf>,
    entries: Vec<String>,
}

impl History {
    /// Opens the history; also says what was wrong with it.
    pub(super) fn open(path: Option<&Path>) -> (Self, Option<String>) {
        let path = path.filter(|path| *path != Path::new("/dev/null"));
        let Some(path) = path else { return (Self { path: None, entries: Vec::new() }, None) };
        let (read, complaint) = match read(path) {
            Ok(Ok(entries)) => (Ok(entries), None),
            Ok(Err(why)) => match set_aside(path) {
                Ok(aside) => {
                    let words = format!(
                        "the history {} {why}; it is now {}",
                        path.display(),
                        aside.display()
                    );
                    (Ok(Vec::new()), Some(words))
                }
                Err(error) => (Err(error), Some(format!("{} {why}", path.display()))),
            },
            Err(error) => (Err(error), None),
        };
        match read.and_then(|entries| prepare(path, &entries).map(|()| entries)) {
            Ok(entries) => (Self { path: Some(path.to_owned()), entries }, complaint),
            Err(error) => {
                let why = complaint.unwrap_or_else(|| path.display().to_string());
                let complaint = format!("no history is kept: {why}: {error}");
                (Self { path: None, entries: Vec::new() }, Some(complaint))
            }
        }
    }

    /// What there was when it was opened, oldest first, without duplicates.
    pub(super) fn take_entries(&mut self) -> Vec<String> {
        std::mem::take(&mut self.entries)
    }

    /// Adds an entry. Says once if that cannot be.
    pub(super) fn add(&mut self, entry: &str) -> Option<String> {
        let path = self.path.as_ref()?;
        if !is_kept(entry) {
            return None;
        }
        let error = append(path, entry).err()?;
        let complaint = format!("no history is kept any more: {}: {error}", path.display());
        self.path = None;
        Some(complaint)
    }
}

/// Whether the line editor can take it up again.
pub(super) fn is_kept(entry: &str) -> bool {
    entry.len() <= LONGEST && !entry.contains('\0') && !entry.trim().is_empty()
}

/// The entries; the inner error says why it is no history.
fn read(path: &Path) -> io::Result<Result<Vec<String>, String>> {
    let file = match fs::metadata(path) {
        // It is somebody's, and stays what it is.
        Ok(metadata) if !metadata.is_file() => {
            return Err(io::Error::other("it is a directory or a device"));
        }
        Ok(metadata) if metadata.len() > LARGEST => return Ok(Err("is too large".to_owned())),
        Ok(_) => File::open(path),
        Err(error) => Err(error),
    };
    let mut bytes = Vec::new();
    let read = file.and_then(|mut file| {
        file.lock_shared()?;
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(Vec::new())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Err("cannot be read".to_owned()));
        }
        Err(error) => return Err(error),
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => Err("is damaged".to_owned()),
        Ok(text) => Ok(parse(&text)),
        Err(_) => Err("is damaged".to_owned()),
    })
}

fn parse(text: &str) -> Vec<String> {
    let is_escaped = text.lines().next() == Some(HEADER);
    let lines = text.lines().skip(usize::from(is_escaped)).filter(|line| !line.is_empty());
    let entries: Vec<_> =
        lines.map(|line| if is_escaped { unescaped(line) } else { line.to_owned() }).collect();
    let mut seen = std::collections::HashSet::new();
    let newest = entries.iter().rev().filter(|entry| is_kept(entry) && seen.insert(entry.as_str()));
    let mut kept: Vec<_> = newest.take(MOST).cloned().collect();
    kept.reverse();
    kept
}

fn escaped(entry: &str) -> String {
    entry.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescaped(line: &str) -> String {
    let mut entry = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(it) = rest.next() {
        match it {
            '\\' => match rest.next() {
                Some('n') => entry.push('\n'),
                Some(other) => entry.push(other),
                None => entry.push('\\'),
            },
            _ => entry.push(it),
        }
    }
    entry
}

/// Renames what is no history; its new name.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = (2..100).map(|number| format!("{name}.bad.{number}"));
    let names = std::iter::once(format!("{name}.bad")).chain(numbered);
    let free =
        names.map(|name| path.with_file_name(name)).find(|it| it.symlink_metadata().is_err());
    let aside = free.ok_or_else(|| io::Error::other("there are many damaged ones already"))?;
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Makes the file, for its user alone, and shortens it if it is long.
fn prepare(path: &Path, entries: &[String]) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut file = open_locked(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if text.lines().count() > 2 * MOST || (!text.is_empty() && text.lines().next() != Some(HEADER))
    {
        // Others that wait for the lock see that the file is another.
        let new = path.with_extension(format!("new.{}", std::process::id()));
        let mut whole = format!("{HEADER}\n");
        for entry in entries {
            whole += &(escaped(entry) + "\n");
        }
        let mut options = OpenOptions::new();
        let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        written.write_all(whole.as_bytes())?;
        fs::rename(&new, path)?;
    }
    Ok(())
}

/// Opens the file and waits until nobody else writes to it.
fn open_locked(path: &Path) -> io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
        file.lock()?;
        // It may have been replaced meanwhile.
        let (ours, there) = (file.metadata()?, fs::metadata(path));
        if there.is_ok_and(|there| there.ino() == ours.ino() && there.dev() == ours.dev()) {
            return Ok(file);
        }
    }
}

fn append(path: &Path, entry: &str) -> io::Result<()> {
    let mut file = open_locked(path)?;
    let mut text = String::new();
    if file.metadata()?.len() == 0 {
        text = format!("{HEADER}\n");
    } else {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        // Of somebody who was killed while writing.
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text += &(escaped(entry) + "\n");
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/history");
        (directory, path)
    }

    fn entries(path: &Path) -> Vec<String> {
        let (mut history, complaint) = History::open(Some(path));
        assert_eq!(complaint, None);
        history.take_entries()
    }

    #[test]
    fn entries_of_all_prompts_are_kept_whole() {
        let (_directory, path) = place();
        let (mut one, complaint) = History::open(Some(&path));
        assert_eq!(complaint, None);
        let (mut two, _) = History::open(Some(&path));
        let several = "for i = 1, 2 do\n  print('\\n')\nend";
        for (is_first, entry) in [(true, "a"), (false, several), (true, "b\\n"), (false, "a")] {
            let history = if is_first { &mut one } else { &mut two };
            assert_eq!(history.add(entry), None);
        }
        one.add("  ");
        one.add(&"x".repeat(LONGEST + 1));
        assert_eq!(entries(&path), [several, "b\\n", "a"], "the last of duplicates");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let (_directory, path) = place();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let (mut history, _) = History::open(Some(path));
                    for number in 0..50 {
                        assert_eq!(history.add(&format!("{writer} {number}")), None);
                    }
                });
            }
        });
        assert_eq!(entries(&path).len(), 400);
    }

    #[test]
    fn what_is_no_history_is_set_aside() {
        let (_directory, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let check = |expected: &str, aside: &str| {
            let (mut history, complaint) = History::open(Some(&path));
            let complaint = complaint.unwrap();
            assert!(complaint.contains(expected) && complaint.ends_with(aside), "{complaint}");
            assert_eq!(history.add("fresh"), None);
            assert_eq!(entries(&path), ["fresh"]);
        };
        fs::write(&path, b"#V2\n\xff\xfe\n").unwrap();
        check("is damaged", "history.bad");
        fs::write(&path, b"#V2\na\0b\n").unwrap();
        check("is damaged", "history.bad.2");
    }

    #[test]
    fn old_torn_and_open_files_are_taken() {
        let (_directory, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "old\\n\nolder").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let (mut history, _) = History::open(Some(&path));
        assert_eq!(history.take_entries(), ["old\\n", "older"]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::write(&path, "#V2\na\nhal").unwrap();
        history.add("b");
        assert_eq!(entries(&path), ["a", "hal", "b"]);
    }

    #[test]
    fn a_long_history_is_shortened() {
        let (_directory, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let lines: Vec<_> = (0..=2 * MOST).map(|number| number.to_string()).collect();
        fs::write(&path, format!("{HEADER}\n{}\n", lines.join("\n"))).unwrap();
        assert_eq!(entries(&path).len(), MOST);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), MOST + 1);
    }

    #[test]
    fn a_place_that_cannot_be_had_is_named_once() {
        let (_directory, path) = place();
        fs::write(path.parent().unwrap(), "a file, no directory").unwrap();
        let (mut history, complaint) = History::open(Some(&path));
        assert!(complaint.unwrap().starts_with("no history is kept: "));
        assert_eq!(history.add("x"), None);
        let directory = path.parent().unwrap().parent().unwrap();
        assert!(History::open(Some(directory)).1.unwrap().contains("a directory or a device"));
        assert!(directory.is_dir(), "it has not been moved");
        assert!(History::open(None).1.is_none());
    }
}
