//! The contents of each pane.

use super::super::{
    layout::Pane,
    log::Voice,
    look::Row,
    screen::{Area, Color, Screen, Style},
    state::{Mark, MarkState, Position, Run, State},
    text,
};
use crate::{
    debug::{FrameKind, SourceId},
    lua::highlight::Kind,
};

/// Columns of a tab in a source.
const TAB: usize = 4;

/// Draws what is below a pane's title.
pub(super) fn draw(screen: &mut Screen, state: &State<'_>, pane: Pane, area: Area) {
    match pane {
        Pane::Source => source(screen, state, area),
        Pane::Stack => stack(screen, state, area),
        Pane::Variables => {
            let list = &state.variables;
            rows(screen, state, pane, area, &list.rows, list.position);
        }
        Pane::Watches => {
            let list = &state.watches;
            rows(screen, state, pane, area, &list.rows, list.position);
        }
        Pane::Output => output(screen, state, area),
    }
}

fn source(screen: &mut Screen, state: &State<'_>, area: Area) {
    let view = &state.source;
    if let Some(problem) = &view.problem {
        screen.write(area.row(0), problem, Style::DIM);
        return;
    }
    let digits = view.n_lines().to_string().len().max(3);
    let (current, is_top) = current_line(state);
    for row in 0..area.height.min(view.n_lines().saturating_sub(view.top)) {
        let index = view.top + row;
        let number = u32::try_from(index).unwrap_or(u32::MAX - 1) + 1;
        let is_current = current == Some(number);
        let mut gutter = screen.pen(area.row(row));
        let (mark, style) = mark(state.marks.iter().find(|mark| mark.line == number));
        gutter.write(mark, style);
        let arrow = match (is_current, is_top) {
            (true, true) => "▶",
            (true, false) => "▷",
            _ => " ",
        };
        gutter.write(arrow, Style::colored(Color::Yellow).bold());
        let at_cursor = index == view.cursor;
        let style = if at_cursor { Style::REVERSE } else { Style::DIM };
        gutter.write(&format!("{number:>digits$}"), style);
        gutter.write(" ", Style::PLAIN);
        let start = gutter.column;
        let rest = Area { x: area.x + start, width: area.width - start, ..area.row(row) };
        let mut pen = screen.pen(rest);
        (pen.tab, pen.skip) = (TAB, view.left);
        for (text, kind) in view.pieces(index) {
            let style = style_of(kind);
            pen.write(text, if is_current { style.bold() } else { style });
        }
    }
}

/// The line of the selected frame, if it is in the source that is shown, and
/// whether that is the one where the script stands.
fn current_line(state: &State<'_>) -> (Option<u32>, bool) {
    let frame = state.stack.frames.get(state.selected);
    let frame = frame.filter(|frame| Some(&frame.source) == state.source.source.as_ref());
    let frames = &state.stack.frames[..state.selected.min(state.stack.frames.len())];
    let is_top = frames.iter().all(|frame| frame.kind != FrameKind::Lua);
    (frame.map(|frame| frame.line), is_top)
}

fn mark(mark: Option<&Mark>) -> (&'static str, Style) {
    let Some(mark) = mark else { return (" ", Style::PLAIN) };
    match (mark.state, mark.special) {
        (MarkState::Verified, false) => ("●", Style::colored(Color::Red).bold()),
        (MarkState::Verified, true) => ("◆", Style::colored(Color::Red).bold()),
        (MarkState::Pending, false) => ("○", Style::colored(Color::Yellow)),
        (MarkState::Pending, true) => ("◇", Style::colored(Color::Yellow)),
        (MarkState::Disabled, _) => ("×", Style::DIM),
    }
}

fn style_of(kind: Option<Kind>) -> Style {
    match kind {
        None => Style::PLAIN,
        Some(Kind::Keyword) => Style::colored(Color::Magenta),
        Some(Kind::Constant) => Style::colored(Color::Blue),
        Some(Kind::Number) => Style::colored(Color::Cyan),
        Some(Kind::Text) => Style::colored(Color::Green),
        Some(Kind::Comment) => Style::DIM,
    }
}

/// What is seen of a script that runs on is old.
fn is_old(state: &State<'_>) -> bool {
    !matches!(state.run, Run::Stopped(_))
}

fn stack(screen: &mut Screen, state: &State<'_>, area: Area) {
    let position = state.frames;
    let frames = state.stack.frames.iter().enumerate().skip(position.top).take(area.height);
    for (row, (index, frame)) in frames.enumerate() {
        let style = match frame.kind {
            FrameKind::Lua if !is_old(state) => Style::PLAIN,
            _ => Style::DIM,
        };
        let mark = if index == state.selected { "▶" } else { " " };
        let mut pen = screen.pen(area.row(row));
        pen.write(mark, Style::colored(Color::Yellow).bold());
        pen.write(&frame.name, style);
        if frame.kind == FrameKind::Lua && frame.source.id != SourceId::Native {
            let place = format!("{}:{}", frame.source.name, frame.line);
            let room = pen.room();
            let width = text::width(&place, 1);
            pen.write(&" ".repeat(room.saturating_sub(width).max(1)), style);
            pen.write(&place, Style::DIM);
        }
        cursor(screen, state, Pane::Stack, area.row(row), index == position.selected);
    }
}

/// Marks the selected row of the pane that has the keys.
fn cursor(screen: &mut Screen, state: &State<'_>, pane: Pane, area: Area, is_selected: bool) {
    if is_selected && state.pane == pane {
        screen.restyle(area, |style| style.reverse = true);
    }
}

fn rows(
    screen: &mut Screen,
    state: &State<'_>,
    pane: Pane,
    area: Area,
    rows: &[Row],
    position: Position,
) {
    let shown = rows.iter().enumerate().skip(position.top).take(area.height);
    for (line, (index, row)) in shown.enumerate() {
        let mut pen = screen.pen(area.row(line));
        let marker = match (row.openable, row.open) {
            (true, true) => "▾",
            (true, false) => "▸",
            _ => " ",
        };
        let old = is_old(state);
        let style = |style: Style| if old { Style::DIM } else { style };
        pen.write(&"  ".repeat(row.depth.min(20)), Style::PLAIN);
        pen.write(marker, Style::DIM);
        let is_scope = row.depth == 0 && pane == Pane::Variables;
        let name = if is_scope { Style::BOLD } else { Style::colored(Color::Cyan) };
        pen.write(&row.name, style(name));
        if !row.value.is_empty() {
            let failed = Style::colored(Color::Red);
            pen.write(if row.failed { ": " } else { " = " }, style(Style::DIM));
            pen.write(&row.value, style(if row.failed { failed } else { Style::PLAIN }));
        }
        cursor(screen, state, pane, area.row(line), index == position.selected);
    }
    if rows.is_empty() && pane == Pane::Watches {
        screen.write(area.row(0), " w adds one", Style::DIM);
    }
}

/// Draws the latest lines that fit, from the bottom up; long ones take several
/// rows.
fn output(screen: &mut Screen, state: &State<'_>, area: Area) {
    let mut free = area.height;
    for said in state.log.lines().iter().rev().skip(state.log.back) {
        let style = match said.voice {
            Voice::Stdout | Voice::Answer => Style::PLAIN,
            Voice::Stderr | Voice::Problem => Style::colored(Color::Red),
            Voice::Console => Style::colored(Color::Yellow),
            Voice::Question => Style::BOLD,
            Voice::Note => Style::DIM,
        };
        for piece in text::wrapped(&said.text, area.width.max(1), 8).iter().rev() {
            if free == 0 {
                return;
            }
            free -= 1;
            screen.write(area.row(free), piece, style);
        }
    }
    // What there is begins at the top.
    if free > 0 {
        screen.scroll_up(area, free);
    }
}
