//! A picture of the screen, and what to write to turn one picture into another.
//!
//! Only cells that differ are written, so that nothing flickers. The cursor is
//! placed anew behind every character that is not ASCII: a terminal that has
//! another opinion of its width spoils that cell and no other.

use std::fmt::Write as _;

use super::text::{self, Shown};

/// The eight colors that every terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Magenta = 35,
    Cyan = 36,
}

/// How a character looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) color: Option<Color>,
    pub(super) bold: bool,
    pub(super) dim: bool,
    pub(super) reverse: bool,
}

impl Style {
    pub(super) const PLAIN: Self = Self { color: None, bold: false, dim: false, reverse: false };
    pub(super) const BOLD: Self = Self { bold: true, ..Self::PLAIN };
    pub(super) const DIM: Self = Self { dim: true, ..Self::PLAIN };
    pub(super) const REVERSE: Self = Self { reverse: true, ..Self::PLAIN };

    pub(super) const fn colored(color: Color) -> Self {
        Self { color: Some(color), ..Self::PLAIN }
    }

    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
}

/// One column of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    /// [`SECOND_HALF`] behind a wide character.
    glyph: char,
    /// What stands on top of it.
    marks: Vec<char>,
    style: Style,
}

const SECOND_HALF: char = '\0';
static BLANK_CELL: Cell = BLANK;
const BLANK: Cell = Cell { glyph: ' ', marks: Vec::new(), style: Style::PLAIN };
/// Marks on one character; more of them is an attack on the eye.
const MOST_MARKS: usize = 4;

/// Part of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Area {
    /// One row of it.
    pub(super) fn row(self, row: usize) -> Self {
        Self { y: self.y + row, height: 1, ..self }
    }

    /// All but the first rows.
    pub(super) fn below(self, rows: usize) -> Self {
        let rows = rows.min(self.height);
        Self { y: self.y + rows, height: self.height - rows, ..self }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    pub(super) width: usize,
    pub(super) height: usize,
    cells: Vec<Cell>,
    /// Where the user types, if they do.
    pub(super) cursor: Option<(usize, usize)>,
}

impl Screen {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, cells: vec![BLANK; width * height], cursor: None }
    }

    /// All of it.
    pub(super) fn area(&self) -> Area {
        Area { x: 0, y: 0, width: self.width, height: self.height }
    }

    /// A pen for one row of an area; what does not fit is cut off.
    pub(super) fn pen(&mut self, area: Area) -> Pen<'_> {
        let width = if area.height > 0 && area.y < self.height {
            area.width.min(self.width.saturating_sub(area.x))
        } else {
            0
        };
        Pen { screen: self, area: Area { width, ..area }, tab: 8, skip: 0, column: 0 }
    }

    /// Writes one row.
    pub(super) fn write(&mut self, area: Area, text: &str, style: Style) {
        self.pen(area).write(text, style);
    }

    /// Empties an area.
    pub(super) fn clear(&mut self, area: Area) {
        for y in area.y..(area.y + area.height).min(self.height) {
            for x in area.x..(area.x + area.width).min(self.width) {
                self.set(x, y, ' ', 1, Style::PLAIN);
            }
        }
    }

    /// Changes how what is there already looks.
    pub(super) fn restyle(&mut self, area: Area, change: impl Fn(&mut Style)) {
        for y in area.y..(area.y + area.height).min(self.height) {
            for x in area.x..(area.x + area.width).min(self.width) {
                change(&mut self.cells[y * self.width + x].style);
            }
        }
    }

    /// Moves the rows of an area up; those at the bottom become empty.
    pub(super) fn scroll_up(&mut self, area: Area, rows: usize) {
        for y in area.y..(area.y + area.height).min(self.height) {
            for x in area.x..(area.x + area.width).min(self.width) {
                let from = y + rows;
                let moved = if from < area.y + area.height {
                    self.cells[from * self.width + x].clone()
                } else {
                    BLANK
                };
                self.cells[y * self.width + x] = moved;
            }
        }
    }

    fn set(&mut self, x: usize, y: usize, glyph: char, width: usize, style: Style) {
        let row = &mut self.cells[y * self.width..(y + 1) * self.width];
        // No half of a wide character stays behind.
        if row[x].glyph == SECOND_HALF && x > 0 {
            row[x - 1] = Cell { style: row[x - 1].style, ..BLANK };
        }
        if let Some(next) = row.get_mut(x + width)
            && next.glyph == SECOND_HALF
        {
            *next = Cell { style: next.style, ..BLANK };
        }
        row[x] = Cell { glyph, marks: Vec::new(), style };
        for half in &mut row[x + 1..x + width] {
            *half = Cell { glyph: SECOND_HALF, marks: Vec::new(), style };
        }
    }

    /// The text of a row, for tests.
    #[cfg(test)]
    pub(super) fn text(&self, y: usize) -> String {
        let row = &self.cells[y * self.width..(y + 1) * self.width];
        let cells = row.iter().filter(|cell| cell.glyph != SECOND_HALF);
        let text: String =
            cells.flat_map(|it| [it.glyph].into_iter().chain(it.marks.clone())).collect();
        text.trim_end().to_owned()
    }
}

/// Writes one row from left to right.
pub(super) struct Pen<'s> {
    screen: &'s mut Screen,
    area: Area,
    /// Columns of a tab.
    pub(super) tab: usize,
    /// Columns at the left that are out of sight.
    pub(super) skip: usize,
    /// Where the next character goes, in columns of the text.
    pub(super) column: usize,
}

impl Pen<'_> {
    pub(super) fn write(&mut self, text: &str, style: Style) {
        for character in text.chars() {
            if self.column >= self.skip + self.area.width {
                return;
            }
            match text::shown(character, self.column, self.tab) {
                Shown::Blanks(count) => (0..count).for_each(|_| self.put(' ', 1, style)),
                Shown::Plain(character, width) => self.put(character, width, style),
                Shown::Spelled(text) => {
                    let style = Style { reverse: !style.reverse, ..style };
                    text.chars().for_each(|character| self.put(character, 1, style));
                }
                Shown::Mark(mark) => self.mark(mark),
                Shown::Nothing => {}
            }
        }
    }

    /// Fills the rest of the row.
    pub(super) fn fill(&mut self, glyph: char, style: Style) {
        while self.column < self.skip + self.area.width {
            self.put(glyph, 1, style);
        }
    }

    /// Columns that are left.
    pub(super) fn room(&self) -> usize {
        (self.skip + self.area.width).saturating_sub(self.column)
    }

    fn put(&mut self, glyph: char, width: usize, style: Style) {
        let at = self.column;
        self.column += width;
        if at >= self.skip && at + width <= self.skip + self.area.width {
            let x = self.area.x + at - self.skip;
            self.screen.set(x, self.area.y, glyph, width, style);
        }
    }

    fn mark(&mut self, mark: char) {
        let Some(at) = self.column.checked_sub(self.skip + 1) else { return };
        let row = self.area.y * self.screen.width + self.area.x;
        // On the first half, if it is wide.
        let is_half = self.screen.cells[row + at].glyph == SECOND_HALF && at > 0;
        let cell = &mut self.screen.cells[row + at - usize::from(is_half)];
        if cell.marks.len() < MOST_MARKS {
            cell.marks.push(mark);
        }
    }
}

/// What a terminal understands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    pub(super) color: bool,
    pub(super) unicode: bool,
}

/// What to write to make a terminal that shows `old` (`None`: anything) show
/// `new`.
pub(super) fn difference(old: Option<&Screen>, new: &Screen, abilities: Abilities) -> String {
    let mut out = String::from("\x1b[?25l");
    let old = old.filter(|old| (old.width, old.height) == (new.width, new.height));
    if old.is_none() {
        out.push_str("\x1b[0m\x1b[2J");
    }
    let mut style = None;
    // Where the terminal's cursor is known to be.
    let mut here = None;
    for y in 0..new.height {
        for x in 0..new.width {
            let index = y * new.width + x;
            let cell = &new.cells[index];
            let before = old.map_or(&BLANK_CELL, |old| &old.cells[index]);
            if cell == before || cell.glyph == SECOND_HALF {
                continue;
            }
            if here != Some((x, y)) {
                let _ = write!(out, "\x1b[{};{}H", y + 1, x + 1);
            }
            if style != Some(cell.style) {
                push_style(&mut out, cell.style, abilities.color);
                style = Some(cell.style);
            }
            push_glyph(&mut out, cell, abilities.unicode);
            here = cell.glyph.is_ascii().then_some((x + 1, y));
        }
    }
    if style.is_some_and(|style| style != Style::PLAIN) {
        out.push_str("\x1b[0m");
    }
    if let Some((x, y)) = new.cursor {
        let _ = write!(out, "\x1b[{};{}H\x1b[?25h", y + 1, x + 1);
    }
    out
}

fn push_style(out: &mut String, style: Style, color: bool) {
    out.push_str("\x1b[0");
    for (wanted, code) in [(style.bold, ";1"), (style.dim, ";2"), (style.reverse, ";7")] {
        if wanted {
            out.push_str(code);
        }
    }
    if let Some(wanted) = style.color.filter(|_| color) {
        let _ = write!(out, ";{}", wanted as u8);
    }
    out.push('m');
}

fn push_glyph(out: &mut String, cell: &Cell, unicode: bool) {
    if unicode || cell.glyph.is_ascii() {
        out.push(cell.glyph);
        out.extend(cell.marks.iter().filter(|_| unicode));
        return;
    }
    let width = text::shown(cell.glyph, 0, 1).width();
    let stand_in = match cell.glyph {
        '●' => '*',
        '○' => 'o',
        '×' => 'x',
        '◆' => '#',
        '◇' => '@',
        '▶' | '▸' => '>',
        '▷' => ')',
        '▾' => 'v',
        '─' => '-',
        '│' => '|',
        '…' => '~',
        '·' => '.',
        _ => '?',
    };
    out.extend(std::iter::repeat_n(stand_in, width));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Abilities = Abilities { color: true, unicode: true };

    fn picture(rows: &[&str]) -> Screen {
        let mut screen = Screen::new(10, rows.len());
        for (y, row) in rows.iter().enumerate() {
            let area = screen.area().row(y);
            screen.write(area, row, Style::PLAIN);
        }
        screen
    }

    fn check(old: &[&str], new: &[&str], expected: &str) {
        let found = difference(Some(&picture(old)), &picture(new), ALL);
        assert_eq!(found.replace('\x1b', "^"), format!("^[?25l{expected}"));
    }

    #[test]
    fn only_what_differs_is_written() {
        check(&["hello"], &["hello"], "");
        check(&["hello", "you"], &["hallo", "you!"], "^[1;2H^[0ma^[2;4H!");
        check(&["ab"], &["  "], "^[1;1H^[0m  ");
    }

    #[test]
    fn wide_characters_are_whole() {
        check(&["abcd"], &["日d"], "^[1;1H^[0m日^[1;3Hd ");
        check(&["日本"], &["日x"], "^[1;3H^[0mx ");
        let mut screen = picture(&["日本"]);
        let area = Area { x: 1, y: 0, width: 2, height: 1 };
        screen.write(area, "xy", Style::PLAIN);
        assert_eq!(screen.text(0), " xy");
        // One that does not fit is left out.
        let mut screen = Screen::new(3, 1);
        screen.write(screen.area(), "日本", Style::PLAIN);
        assert_eq!(screen.text(0), "日");
    }

    #[test]
    fn text_can_be_scrolled_sideways() {
        let mut screen = Screen::new(4, 1);
        let mut pen = screen.pen(Area { x: 0, y: 0, width: 4, height: 1 });
        (pen.skip, pen.tab) = (2, 4);
        pen.write("a\tbcd", Style::PLAIN);
        assert_eq!(screen.text(0), "  bc");
    }

    #[test]
    fn marks_stay_with_their_character() {
        assert_eq!(picture(&["e\u{301}x"]).text(0), "e\u{301}x");
        assert_eq!(picture(&["\u{301}x"]).text(0), "x");
    }

    #[test]
    fn another_size_is_drawn_anew() {
        let found = difference(Some(&Screen::new(2, 2)), &picture(&["x"]), ALL);
        assert_eq!(found, "\x1b[?25l\x1b[0m\x1b[2J\x1b[1;1H\x1b[0mx");
    }

    #[test]
    fn color_and_unicode_are_left_out_where_they_are_not_wanted() {
        let mut screen = Screen::new(3, 1);
        screen.write(screen.area(), "●日", Style::colored(Color::Red).bold());
        let found = |abilities| difference(Some(&Screen::new(3, 1)), &screen, abilities);
        assert_eq!(found(ALL), "\x1b[?25l\x1b[1;1H\x1b[0;1;31m●\x1b[1;2H日\x1b[0m");
        let poor = Abilities { color: false, unicode: false };
        assert_eq!(found(poor), "\x1b[?25l\x1b[1;1H\x1b[0;1m*\x1b[1;2H??\x1b[0m");
    }
}
