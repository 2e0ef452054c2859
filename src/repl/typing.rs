//! What helps while a line is typed: whether it is whole, what could follow, and
//! its colors.

use std::{borrow::Cow, cell::Cell, fmt::Write as _, ops::Range};

use rustyline::{
    Context, Helper,
    completion::{Completer, FilenameCompleter, Pair},
    highlight::{CmdKind, Highlighter},
    hint::Hinter,
    validate::{ValidationContext, ValidationResult, Validator},
};

use super::Shared;
use crate::{
    kernel::{
        dialog::{command_names, is_command, is_whole},
        message::ReplyBody,
    },
    lua::highlight::{Kind, highlight},
};

/// Commands of the prompt itself.
const LOCAL_COMMANDS: [&str; 2] = [".quit", ".exit"];

/// See the module.
pub(super) struct Typing {
    talk: Shared,
    color: bool,
    files: FilenameCompleter,
    /// The line is being taken: the cursor means nothing any more.
    is_final: Cell<bool>,
}

impl Typing {
    pub(super) fn new(talk: Shared, color: bool) -> Self {
        Self { talk, color, files: FilenameCompleter::new(), is_final: Cell::new(false) }
    }

    fn command_completions(&self, line: &str, at: usize) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..at];
        let start = typed.len() - typed.trim_start().len();
        let name = &typed[start..];
        if let Some((command, rest)) = name.split_once(' ') {
            return match command {
                ".load" | ".break" => {
                    // The path, as if it stood alone: it may have blanks.
                    let before = at - rest.trim_start().len();
                    let (from, found) =
                        self.files.complete_path_unsorted(&line[before..], at - before)?;
                    Ok((before + from, found))
                }
                ".time" => Ok(self.lua_completions(line, at)),
                _ => Ok((at, Vec::new())),
            };
        }
        let names = command_names().chain(LOCAL_COMMANDS);
        let found = names.filter(|it| it.starts_with(name)).map(|it| pair(it.to_owned()));
        Ok((start, found.collect()))
    }

    fn lua_completions(&self, line: &str, at: usize) -> (usize, Vec<Pair>) {
        match self.talk.completions(line, at) {
            Some(ReplyBody::CompleteReply { matches, cursor_start, .. })
                if cursor_start <= at && line.is_char_boundary(cursor_start) =>
            {
                (cursor_start, matches.into_iter().map(|it| pair(it.text)).collect())
            }
            _ => (at, Vec::new()),
        }
    }
}

fn pair(text: String) -> Pair {
    Pair { display: text.clone(), replacement: text }
}

impl Helper for Typing {}

impl Hinter for Typing {
    type Hint = String;
}

impl Validator for Typing {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(if is_whole(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Completer for Typing {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let is_name = line[..at].trim() == "." || is_command(&line[..at]);
        if is_name {
            return self.command_completions(line, at);
        }
        Ok(self.lua_completions(line, at))
    }
}

impl Highlighter for Typing {
    fn highlight<'l>(&self, line: &'l str, at: usize) -> Cow<'l, str> {
        if !self.color {
            return Cow::Borrowed(line);
        }
        let at = Some(at).filter(|_| !self.is_final.get());
        Cow::Owned(painted(line, at))
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.is_final.set(kind == CmdKind::ForcedRefresh);
        self.color
    }
}

/// A line in its colors, with the partner of the bracket at the cursor.
fn painted(line: &str, cursor: Option<usize>) -> String {
    let mut spans = if is_command(line) {
        let start = line.len() - line.trim_start().len();
        let length = line[start..].find(char::is_whitespace).unwrap_or(line.len() - start);
        vec![(start..start + length, "36")]
    } else {
        highlight(line).into_iter().map(|(span, kind)| (span, paint(kind))).collect()
    };
    if let Some(partner) = cursor.and_then(|cursor| partner(line, &spans, cursor)) {
        let at = spans.partition_point(|(span, _)| span.start < partner.start);
        spans.insert(at, (partner, "1;7"));
    }
    let mut text = String::with_capacity(line.len() * 2);
    let mut done = 0;
    for (span, paint) in spans {
        text += &line[done..span.start];
        let _ = write!(text, "\x1b[{paint}m{}\x1b[0m", &line[span.clone()]);
        done = span.end;
    }
    text + &line[done..]
}

fn paint(kind: Kind) -> &'static str {
    match kind {
        Kind::Keyword => "1;34",
        Kind::Constant => "35",
        Kind::Number => "36",
        Kind::Text => "32",
        Kind::Comment => "2",
    }
}

/// Where the partner of the bracket under or before the cursor is; brackets in
/// strings and comments are none.
fn partner(line: &str, spans: &[(Range<usize>, &str)], cursor: usize) -> Option<Range<usize>> {
    let is_code = |at: usize| {
        let before = spans.partition_point(|(span, _)| span.end <= at);
        spans.get(before).is_none_or(|(span, _)| span.start > at)
    };
    let bracket = |at: usize| {
        let byte = *line.as_bytes().get(at)?;
        (b"()[]{}".contains(&byte) && is_code(at)).then_some(byte)
    };
    let at = [Some(cursor), cursor.checked_sub(1)]
        .into_iter()
        .flatten()
        .find(|at| bracket(*at).is_some())?;
    let opens = |byte| matches!(byte, b'(' | b'[' | b'{');
    let forward = opens(bracket(at)?);
    let mut depth = 0_usize;
    let mut visit = |place: usize| {
        let byte = bracket(place)?;
        if opens(byte) == forward {
            depth += 1;
            None
        } else {
            depth = depth.checked_sub(1)?;
            (depth == 0).then_some(place..place + 1)
        }
    };
    if forward { (at..line.len()).find_map(visit) } else { (0..=at).rev().find_map(&mut visit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_painted() {
        let check = |line: &str, expected: &str| {
            assert_eq!(painted(line, None).replace('\x1b', ""), expected);
        };
        check("x = 1", "x = [36m1[0m");
        check("return 'é' -- (", "[1;34mreturn[0m [32m'é'[0m [2m-- ([0m");
        check(" .load f(", " [36m.load[0m f(");
        check("", "");
    }

    #[test]
    fn brackets_find_their_partners() {
        let check = |text: &str, expected: Option<usize>| {
            let cursor = text.find('|').unwrap();
            let line = text.replace('|', "");
            let spans: Vec<_> =
                highlight(&line).into_iter().map(|(span, kind)| (span, paint(kind))).collect();
            assert_eq!(partner(&line, &spans, cursor).map(|it| it.start), expected, "{text}");
        };
        check("f|(a[1], {})", Some(10));
        check("f(a[1], {})|", Some(1));
        check("f(a|[1], {})", Some(5));
        check("f(')'|)", Some(1));
        check("f('|(')", None);
        check("f(|", None);
        check("|)", None);
        check("x|", None);
        check("{é|}", Some(0));
    }
}
