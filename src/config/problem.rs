//! What is wrong with a configuration, and where, said as compilers do.
//!
//! The line that is shown may hold a secret, also where it cannot be parsed:
//! what stands behind a secret's name is never printed.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use unicode_width::UnicodeWidthStr as _;

use super::KEYS;

/// Shown for a secret.
pub(super) const MASK: &str = "****";
/// Longer lines are shown in part.
const WIDEST: usize = 100;

/// Something wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The text that is to blame; empty if it is the file as a whole.
    pub offending: String,
    /// What is wrong with it.
    pub message: String,
    /// What may have been meant, or what to write.
    pub hint: Option<String>,
}

/// Where a problem is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file, or with it.
    File(PathBuf, Option<Spot>),
    /// In a variable of the environment.
    Variable(String),
    /// In an option of the command line.
    Flag(String),
}

/// A place in a file.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Counted from 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line, and what is below its faulty part: blanks and carets.
    excerpt: (String, String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path, Some(Spot { line, column, excerpt })) => {
                let (text, carets) = excerpt;
                let margin = line.to_string().len();
                writeln!(f, "{}:{line}:{column}: error: {}", path.display(), self.message)?;
                writeln!(f, "  {line} | {text}")?;
                write!(f, "  {:margin$} | {carets}", "")?;
            }
            Place::File(path, None) => write!(f, "{}: error: {}", path.display(), self.message)?,
            Place::Variable(name) | Place::Flag(name) => {
                write!(f, "{name}: error: {}", self.message)?;
            }
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The text of a file, with places in it.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    /// Where lines begin.
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { path, text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// The number of the line, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// A problem with a part of the text.
    pub(super) fn problem(&self, span: Range<usize>, message: String) -> Problem {
        let span = self.whole_characters(span);
        let line = self.line(span.start);
        let start = self.starts[line - 1];
        let rest = &self.text[start..];
        let text = rest.lines().next().unwrap_or_default();
        let before = &self.text[start..span.start];
        // What goes on over several lines is marked on the first one.
        let end = span.end.min(start + text.len()).max(span.start);
        let faulty = &self.text[span.start..end];
        let spot = Spot {
            line,
            column: before.chars().count() + 1,
            excerpt: excerpt(text, before.len(), faulty),
        };
        let is_secret = secret_part(text).is_some_and(|at| before.len() >= at);
        Problem {
            place: Place::File(self.path.to_owned(), Some(spot)),
            offending: if is_secret { MASK.to_owned() } else { faulty.to_owned() },
            message,
            hint: None,
        }
    }

    /// Spans of syntax errors may end anywhere.
    fn whole_characters(&self, span: Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        start..self.text.ceil_char_boundary(span.end.max(start))
    }
}

/// A line as it can be printed, and the carets below.
fn excerpt(line: &str, at: usize, faulty: &str) -> (String, String) {
    // As much before the fault as leaves room for it.
    let skipped = line.ceil_char_boundary(at.saturating_sub(WIDEST / 2));
    let is_short = line.len() <= WIDEST;
    let from = if is_short { 0 } else { skipped };
    let to = if is_short { line.len() } else { line.floor_char_boundary(from + WIDEST) };
    let to = secret_part(line).map_or(to, |secret| to.min(secret));
    let clean = |text: &str| -> String {
        text.chars()
            .map(|it| match it {
                '\t' => ' ',
                it if it.is_control() => char::REPLACEMENT_CHARACTER,
                it => it,
            })
            .collect()
    };
    let mut shown = clean(line.get(from..to.max(from)).unwrap_or_default());
    if secret_part(line).is_some() {
        shown += MASK;
    } else if to < line.len() {
        shown += "...";
    }
    let lead = if from > 0 { "..." } else { "" };
    let blanks = (lead.to_owned() + &clean(&line[from..at.max(from)])).width();
    let carets = clean(faulty).width().clamp(1, WIDEST);
    (lead.to_owned() + &shown, " ".repeat(blanks) + &"^".repeat(carets))
}

/// Where, in a line, the value of a secret begins.
fn secret_part(line: &str) -> Option<usize> {
    let names = KEYS.iter().filter(|key| key.secret).map(super::Key::leaf);
    let ends = names.flat_map(|name| line.match_indices(name).map(|(at, it)| at + it.len()));
    ends.filter_map(|end| {
        let rest = line[end..].trim_start_matches(['"', '\'', ' ', '\t']);
        let value = rest.strip_prefix('=')?.trim_start();
        Some(line.len() - value.len())
    })
    .min()
}
