//! Draws the state: the panes, the status line, prompts and help.

mod panes;

use unicode_width::UnicodeWidthChar as _;

use super::{
    keys::BINDINGS,
    layout::{LEAST, Layout, Pane},
    prompts::{Files, Mode, Prompt, path_of},
    screen::{Area, Color, Screen, Style},
    state::{Errors, Run, State},
};
use crate::debug::{Exception, StopReason};

/// What the help says below the keys.
pub(super) const HELP_NOTES: &[&str] = &[
    "",
    "Gutter: ● breakpoint  ○ pending, or with a problem  × disabled",
    "        ◆ ◇ the same, with a condition, a count or a message",
    "        ▶ the current line  ▷ the line of a selected caller",
    "Stack, Variables, Watches: Enter chooses; left and right close and open.",
    "Evaluate takes expressions and statements; up and down recall earlier ones.",
    "The script has no standard input: it reads the end of the file at once.",
];

/// The keys to know, for the last line.
const KEYS: &str = "F5 go  F10 over  F11 in  o out  b break  e eval  w watch  ? help  q quit";

/// A picture of the state.
pub(super) fn draw(state: &State<'_>) -> Screen {
    let (width, height) = state.size;
    let mut screen = Screen::new(width, height);
    let Some(layout) = state.layout() else {
        too_small(&mut screen);
        return screen;
    };
    for pane in Pane::ALL {
        let area = layout.pane(pane);
        if area.height > 0 {
            title(&mut screen, state, pane, area.row(0));
            panes::draw(&mut screen, state, pane, area.below(1));
        }
    }
    if let Some(border) = layout.border {
        for row in 0..border.height {
            screen.write(border.row(row), "│", Style::DIM);
        }
    }
    status(&mut screen, state, layout.status);
    last_line(&mut screen, state, &layout);
    screen
}

fn too_small(screen: &mut Screen) {
    let area = screen.area();
    let (width, height) = LEAST;
    let lines = ["too small".to_owned(), format!("need {width}x{height}"), "q quits".to_owned()];
    for (row, line) in lines.iter().enumerate().take(area.height) {
        screen.write(area.row(row), line, Style::PLAIN);
    }
}

fn title(screen: &mut Screen, state: &State<'_>, pane: Pane, area: Area) {
    let is_here = state.pane == pane;
    let name = match (pane, &state.source.source) {
        (Pane::Source, Some(source)) => shortened(&path_of(source), area.width.saturating_sub(8)),
        (Pane::Output, _) if state.log.back > 0 => {
            format!("Output, {} lines back", state.log.back)
        }
        (Pane::Stack, _) if state.stack.total > state.stack.frames.len() => {
            format!("Stack, {} of {}", state.stack.frames.len(), state.stack.total)
        }
        _ => pane.title().to_owned(),
    };
    // The pane with the keys is told apart without color, too.
    let (text, style) = if is_here {
        (format!("[{name}]"), Style::REVERSE.bold())
    } else {
        (format!(" {name} "), Style::BOLD)
    };
    let mut pen = screen.pen(area);
    pen.write("─", Style::DIM);
    pen.write(&text, style);
    pen.fill('─', Style::DIM);
}

fn status(screen: &mut Screen, state: &State<'_>, area: Area) {
    let place = state.stack.frames.get(state.selected);
    let place = place.map(|frame| format!("{}:{}", frame.source.name, frame.line));
    let place = place.unwrap_or_else(|| state.control.name());
    let (word, color, reason) = match &state.run {
        Run::Running => {
            let waits = state.waits_for.as_ref().map(|what| format!("waits in {what}"));
            ("RUNNING", Color::Green, waits.unwrap_or_else(|| "p pauses it".to_owned()))
        }
        Run::Stopped(reason) => match reason {
            StopReason::Exception(exception) => ("ERROR", Color::Red, in_words(exception, &place)),
            reason => ("STOPPED", Color::Yellow, reason_in_words(reason).to_owned()),
        },
        Run::Exiting(code, _) => {
            ("ENDED", Color::Cyan, format!("os.exit({code}); r runs it again, q quits"))
        }
        Run::Ended(code) => {
            ("ENDED", Color::Cyan, format!("exit code {code}; r runs it again, q quits"))
        }
    };
    let place = match state.run {
        Run::Running | Run::Exiting(..) | Run::Ended(_) => state.control.name(),
        Run::Stopped(_) => place,
    };
    let errors = match state.errors {
        Errors::Uncaught => "errors: uncaught",
        Errors::All => "errors: all",
        Errors::None => "errors: none",
    };
    let mut pen = screen.pen(Area { width: area.width.saturating_sub(errors.len() + 2), ..area });
    pen.write(" ", Style::REVERSE);
    pen.write(word, Style { color: Some(color), ..Style::REVERSE.bold() });
    let evaluates = if state.questions.waits() { "  (evaluating; Esc ends it)" } else { "" };
    pen.write(&format!("  {place}  {reason}{evaluates}"), Style::REVERSE);
    pen.fill(' ', Style::REVERSE);
    let x = area.width.saturating_sub(errors.len() + 2);
    let mut pen = screen.pen(Area { x, width: area.width - x, ..area });
    pen.write(&format!(" {errors}"), Style::REVERSE);
    pen.fill(' ', Style::REVERSE);
}

fn reason_in_words(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::Entry => "entry",
        StopReason::Breakpoint(_) => "breakpoint",
        StopReason::FunctionBreakpoint(_) => "function breakpoint",
        StopReason::Step => "step",
        StopReason::Pause => "pause",
        StopReason::Exception(_) => "error",
    }
}

/// An error whose place is known already.
fn in_words(exception: &Exception, place: &str) -> String {
    let caught = if exception.caught { "caught" } else { "uncaught" };
    let message = exception.message.split_once(&format!("{place}: "));
    let is_path = |before: &str| before.is_empty() || before.ends_with('/');
    let message = message.filter(|(before, _)| is_path(before)).map(|(_, message)| message);
    format!("{caught} {}: {}", exception.kind, message.unwrap_or(&exception.message))
}

fn last_line(screen: &mut Screen, state: &State<'_>, layout: &Layout) {
    let area = layout.keys;
    match &state.mode {
        Mode::Panes => match &state.note {
            Some(note) => screen.write(area, note, Style::BOLD),
            None => screen.write(area, KEYS, Style::DIM),
        },
        Mode::Help(top) => help(screen, *top),
        Mode::Prompt(prompt) => self::prompt(screen, area, prompt),
        Mode::Files(files) => self::files(screen, state, area, files),
        Mode::Confirm => {
            screen.write(area, "The script has not ended. Quit? y, or any other key", Style::BOLD);
        }
    }
}

fn prompt(screen: &mut Screen, area: Area, prompt: &Prompt) {
    input(screen, area, &prompt.label, &prompt.line);
}

/// A label and the text being typed, scrolled so that the cursor is in sight.
fn input(screen: &mut Screen, area: Area, label: &str, line: &super::input::Line) {
    let columns = |text: &str| super::text::width(text, 8);
    // At least half of the line is for what is typed.
    let label = shortened(label, area.width / 2);
    let start = columns(&label);
    let room = area.width.saturating_sub(start + 1);
    let at = columns(&line.text[..line.at]);
    screen.write(area, &label, Style::BOLD);
    let mut pen = screen.pen(Area { x: area.x + start, width: area.width - start, ..area });
    pen.skip = at.saturating_sub(room);
    pen.write(&line.text, Style::PLAIN);
    screen.cursor = Some((area.x + start + at.min(room), area.y));
}

fn files(screen: &mut Screen, state: &State<'_>, area: Area, files: &Files) {
    let candidates = state.candidates(files);
    let rows = candidates.len().min(area.y.saturating_sub(2)).min(12);
    let first = (files.selected + 1).saturating_sub(rows);
    let list = Area { y: area.y - rows, height: rows, ..area };
    screen.clear(list);
    for (row, source) in candidates.iter().enumerate().skip(first).take(rows) {
        let selected = row == files.selected;
        let style = if selected { Style::REVERSE } else { Style::PLAIN };
        let mark = if selected { ">" } else { " " };
        let name = shortened(&path_of(source), area.width.saturating_sub(3));
        let mut pen = screen.pen(list.row(row - first));
        pen.write(&format!("{mark} {name}"), style);
        pen.fill(' ', style);
    }
    input(screen, area, "open (part of a name, or a path): ", &files.line);
}

fn help(screen: &mut Screen, top: usize) {
    let area = screen.area();
    screen.clear(area);
    let mut title = screen.pen(area.row(0));
    title.write("─ Help: arrows scroll, any other key closes ", Style::BOLD);
    title.fill('─', Style::DIM);
    let keys = BINDINGS.iter().filter(|binding| !binding.shown.is_empty());
    let lines = keys.map(|binding| (binding.shown, binding.help));
    let notes = HELP_NOTES.iter().map(|note| ("", *note));
    let rows = area.height.saturating_sub(2);
    for (row, (keys, text)) in lines.chain(notes).skip(top).take(rows).enumerate() {
        let mut pen = screen.pen(area.row(row + 1));
        if keys.is_empty() {
            pen.write(&format!(" {text}"), Style::PLAIN);
        } else {
            pen.write(&format!(" {keys:<13}"), Style::BOLD);
            pen.write(text, Style::PLAIN);
        }
    }
}

/// The end of a text, if not all of it fits.
fn shortened(text: &str, columns: usize) -> String {
    let mut room = columns.saturating_sub(1);
    if super::text::width(text, 1) <= columns {
        return text.to_owned();
    }
    let fits = |character: &char| {
        let width = character.width().unwrap_or(1);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    };
    let end: Vec<char> = text.chars().rev().take_while(fits).collect();
    ['…'].into_iter().chain(end.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_at_the_front() {
        assert_eq!(shortened("/a/b/main.lua", 9), "…main.lua");
        assert_eq!(shortened("main.lua", 8), "main.lua");
        assert_eq!(shortened("日本語", 4), "…語");
    }

    #[test]
    fn the_help_fits_into_the_least_width() {
        for binding in BINDINGS {
            let width = 14 + binding.help.len();
            assert!(width <= 80, "{}: {width}", binding.help);
        }
    }
}
