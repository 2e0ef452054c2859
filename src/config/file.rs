//! The file: where it is looked for, and what it says, with the places of all
//! that is wrong.
//!
//! Parsing goes on behind errors of syntax, but what is then in the tree is
//! partly guessed; problems with keys are reported only on lines that could be
//! read.

use std::{
    collections::BTreeSet,
    env,
    fs::File,
    io::{self, Read as _},
    path::{self, Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    KEYS, Origin, Settings,
    keys::{self, Found},
    problem::{Place, Problem, Source},
    suggest, value,
};

/// No configuration is larger; something else may be endless.
const MOST_BYTES: u64 = 1 << 20;

/// The variable that names the file.
const VARIABLE: &str = "LLMSPELL_CONFIG";

/// A file that was read, and where others would have been.
pub(super) struct Search {
    pub(super) found: Option<(PathBuf, Vec<u8>)>,
    pub(super) looked: Vec<PathBuf>,
}

/// Finds and reads the file: the one that was chosen, which must be there, or
/// the first that is there of the usual ones.
pub(super) fn search(choice: Option<&Path>) -> Result<Search, Vec<Problem>> {
    let variable = env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let hint = variable.is_some().then(|| format!("the variable {VARIABLE} names this file"));
    let chosen = match choice {
        Some(path) => Some((path.to_owned(), None)),
        None => variable.map(|path| (path, hint)),
    };
    if let Some((path, hint)) = chosen {
        let bytes = read(&path).map_err(|error| unreadable(&path, &error, hint))?;
        return Ok(Search { found: Some((path.clone(), bytes)), looked: vec![path] });
    }
    let mut looked = Vec::new();
    for path in usual_places() {
        let result = read(&path);
        looked.push(path.clone());
        match result {
            Ok(bytes) => return Ok(Search { found: Some((path, bytes)), looked }),
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(unreadable(&path, &error, None)),
        }
    }
    Ok(Search { found: None, looked })
}

fn usual_places() -> impl Iterator<Item = PathBuf> {
    let variable = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = variable.filter(|path| path.is_absolute());
    let base = base.or_else(|| value::home().map(|home| home.join(".config")));
    let user = base.map(|base| base.join("llmspell").join("config.toml"));
    [PathBuf::from("llmspell.toml")].into_iter().chain(user)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreadable(path: &Path, error: &io::Error, hint: Option<String>) -> Vec<Problem> {
    vec![Problem {
        place: Place::File(path.to_owned(), None),
        offending: String::new(),
        message: format!("cannot read the configuration: {error}"),
        hint,
    }]
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("it is larger than 1 MB"));
    }
    Ok(bytes)
}

/// Takes what the file says.
pub(super) fn take_file(
    path: &Path,
    bytes: &[u8],
    settings: &mut Settings,
    problems: &mut Vec<Problem>,
) {
    let (text, broken) = match str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let (valid, _) = bytes.split_at(error.valid_up_to());
            (str::from_utf8(valid).unwrap_or_default(), Some(error.valid_up_to()))
        }
    };
    let source = Source::new(path, text);
    if let Some(at) = broken {
        problems.push(source.problem(at..at, "this is not UTF-8".to_owned()));
        return;
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut unreadable = BTreeSet::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        unreadable.insert(source.line(span.start));
        let problem = source.problem(span, error.message().to_owned());
        let is_value = !problem.message.contains("key");
        let hint = if is_value { bare_word_hint(&problem.offending) } else { None };
        problems.push(Problem { hint, ..problem });
    }
    // The process may go elsewhere later.
    let path = path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut reader = Reader { source, path, settings, problems: Vec::new() };
    reader.table(table.get_ref(), &[]);
    let is_readable = |problem: &Problem| match &problem.place {
        Place::File(_, Some(spot)) => !unreadable.contains(&spot.line),
        _ => true,
    };
    problems.extend(reader.problems.into_iter().filter(is_readable));
    problems.sort_by_key(|problem| match &problem.place {
        Place::File(_, Some(spot)) => (spot.line, spot.column),
        _ => (0, 0),
    });
}

/// What TOML says of a word without quotes is hard to understand.
fn bare_word_hint(offending: &str) -> Option<String> {
    let is_word = offending.starts_with(|it: char| it.is_ascii_alphabetic())
        && offending.chars().all(|it| it.is_ascii_alphanumeric() || "._-/".contains(it));
    is_word.then(|| format!("text is written in quotes: \"{offending}\""))
}

struct Reader<'a> {
    source: Source<'a>,
    /// The file's, absolute.
    path: PathBuf,
    settings: &'a mut Settings,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, section: &[&str]) {
        for (name, value) in table {
            let path = [section, &[name.get_ref()]].concat();
            match keys::find(&path) {
                Found::Key(index, wildcard) => self.key(index, wildcard, name.span().start, value),
                Found::Section => match value.get_ref() {
                    DeValue::Table(table) => self.table(table, &path),
                    other => {
                        let found = value::type_name(other);
                        let message = format!("expected a table, found {found}");
                        let hint = section_hint(&path);
                        self.report(value, message, Some(hint));
                    }
                },
                Found::Unknown => self.unknown(name, value, section),
            }
        }
    }

    fn key(&mut self, index: usize, wildcard: String, at: usize, value: &Spanned<DeValue<'_>>) {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        match KEYS[index].kind.read(value.get_ref(), folder) {
            Ok(checked) => {
                let origin = Origin::File { path: self.path.clone(), line: self.source.line(at) };
                self.settings.set(index, wildcard, checked, origin);
            }
            Err(fault) => {
                let hint = fault.hint.unwrap_or_else(|| KEYS[index].explained());
                self.report(value, fault.message, Some(hint));
            }
        }
    }

    fn unknown<T: AsRef<str>>(
        &mut self,
        name: &Spanned<T>,
        value: &Spanned<DeValue<'_>>,
        section: &[&str],
    ) {
        let text = name.get_ref().as_ref();
        let what = match value.get_ref() {
            DeValue::Table(_) => "section",
            _ => "key",
        };
        let place = if section.is_empty() {
            String::new()
        } else {
            format!(" in [{}]", keys::joined(section))
        };
        let message = format!("unknown {what} '{text}'{place}");
        self.report(name, message, Some(suggest::for_key(section, text)));
    }

    fn report<T>(&mut self, at: &Spanned<T>, message: String, hint: Option<String>) {
        let problem = self.source.problem(at.span(), message);
        self.problems.push(Problem { hint, ..problem });
    }
}

/// What to write instead of a value where a table belongs.
fn section_hint(path: &[&str]) -> String {
    let leaf = path.last().copied().unwrap_or_default();
    let is_inside = |key: &super::Key| {
        // One level was left out, the user's name for it.
        let parts: Vec<&str> = key.parts().collect();
        parts.len() == path.len() + 1 && parts.starts_with(&path[..path.len() - 1])
    };
    let belongs = KEYS.iter().any(|key| key.leaf() == leaf && is_inside(key));
    match path.split_last() {
        Some((_, section)) if belongs => {
            let section = keys::joined(section);
            format!("'{leaf}' belongs one level deeper, such as in [{section}.default]")
        }
        _ => format!("write [{}], and its keys below", keys::joined(path)),
    }
}
