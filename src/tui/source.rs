//! The source that is shown: its text, its colors, and where the user is in it.

use std::ops::Range;

use crate::{
    debug::{Control, Source, SourceId, SourceRequest},
    lua::highlight::{self, Kind},
};

/// Lines that are kept between the cursor and the edge.
const MARGIN: usize = 2;

/// See the module.
#[derive(Default)]
pub(super) struct SourceView {
    pub(super) source: Option<Source>,
    text: String,
    /// Without their line breaks.
    lines: Vec<Range<usize>>,
    spans: Vec<(Range<usize>, Kind)>,
    /// Why there is no text.
    pub(super) problem: Option<String>,
    /// Line of the cursor, from 0.
    pub(super) cursor: usize,
    /// First line in sight.
    pub(super) top: usize,
    /// Columns out of sight at the left.
    pub(super) left: usize,
}

impl SourceView {
    /// Shows a source, unless it is shown already.
    pub(super) fn show(&mut self, source: &Source, control: &Control) {
        if self.source.as_ref() != Some(source) {
            *self = Self { source: Some(source.clone()), ..Self::default() };
            self.reload(control);
        }
    }

    /// Reads the text again.
    pub(super) fn reload(&mut self, control: &Control) {
        let text = match self.source.as_ref().map(|source| &source.id) {
            Some(SourceId::File(path)) => std::fs::read(path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|error| format!("cannot read {}: {error}", path.display())),
            Some(SourceId::Text(reference)) => control
                .source_text(*reference)
                .ok_or_else(|| "the text of this source is gone".to_owned()),
            Some(SourceId::Native) => Err("native code: there is no source to show".to_owned()),
            None => return,
        };
        self.problem = text.as_ref().err().cloned();
        self.set_text(text.unwrap_or_default());
    }

    fn set_text(&mut self, text: String) {
        let mut start = 0;
        self.lines.clear();
        for line in text.split_inclusive('\n') {
            let content = line.trim_end_matches('\n').trim_end_matches('\r');
            self.lines.push(start..start + content.len());
            start += line.len();
        }
        self.spans = highlight::highlight(&text);
        self.text = text;
        self.cursor = self.cursor.min(self.lines.len().saturating_sub(1));
    }

    pub(super) fn n_lines(&self) -> usize {
        self.lines.len()
    }

    /// Names the source in a request to the core; nothing for native code.
    pub(super) fn request(&self) -> Option<SourceRequest> {
        match &self.source.as_ref()?.id {
            SourceId::File(path) => Some(SourceRequest::Path(path.to_string_lossy().into_owned())),
            SourceId::Text(reference) => Some(SourceRequest::Reference(*reference)),
            SourceId::Native => None,
        }
    }

    /// The line of the cursor, as breakpoints count.
    pub(super) fn cursor_line(&self) -> u32 {
        u32::try_from(self.cursor).unwrap_or(u32::MAX - 1) + 1
    }

    /// Moves the cursor to a line, counted from 1; one that does not exist is the
    /// last.
    pub(super) fn go_to(&mut self, line: u32) {
        let line = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        self.cursor = line.min(self.lines.len().saturating_sub(1));
    }

    pub(super) fn move_by(&mut self, lines: isize) {
        let last = self.lines.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(lines).min(last);
    }

    /// Scrolls as little as brings the cursor into sight, or centers it if it was
    /// far away.
    pub(super) fn scroll_to_cursor(&mut self, rows: usize) {
        let margin = MARGIN.min(rows.saturating_sub(1) / 2);
        let highest = self.cursor.saturating_sub(margin);
        let lowest = (self.cursor + margin + 1).saturating_sub(rows);
        if self.top > highest + rows || self.top + rows < lowest {
            self.top = self.cursor.saturating_sub(rows / 2);
        }
        self.top = self.top.min(highest).max(lowest);
        // No empty rows while there is text above.
        self.top = self.top.min(self.lines.len().saturating_sub(rows));
    }

    /// A line in pieces of one kind.
    pub(super) fn pieces(&self, line: usize) -> Vec<(&str, Option<Kind>)> {
        let Some(range) = self.lines.get(line).cloned() else { return Vec::new() };
        let mut pieces = Vec::new();
        let mut at = range.start;
        let first = self.spans.partition_point(|(span, _)| span.end <= range.start);
        let spans = self.spans[first..].iter().take_while(|(span, _)| span.start < range.end);
        for (span, kind) in spans {
            let (start, end) = (span.start.max(at), span.end.min(range.end));
            pieces.push((&self.text[at..start], None));
            pieces.push((&self.text[start..end], Some(*kind)));
            at = end;
        }
        pieces.push((&self.text[at..range.end], None));
        pieces.retain(|(text, _)| !text.is_empty());
        pieces
    }

    /// Moves the cursor to the next line below it that has this text; from the
    /// end on, at the top. Case counts only if the text has capitals.
    pub(super) fn search(&mut self, wanted: &str) -> bool {
        let case_counts = wanted.chars().any(char::is_uppercase);
        let has_it = |line: &str| {
            if case_counts { line.contains(wanted) } else { line.to_lowercase().contains(wanted) }
        };
        let count = self.lines.len();
        let found = (1..=count)
            .map(|step| (self.cursor + step) % count)
            .find(|line| has_it(&self.text[self.lines[*line].clone()]));
        if let Some(line) = found {
            self.cursor = line;
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(text: &str) -> SourceView {
        let mut view = SourceView::default();
        view.set_text(text.to_owned());
        view
    }

    #[test]
    fn lines_are_cut_from_spans_over_several() {
        let view = view("s = [[a\r\nb]] .. 1\n");
        assert_eq!(view.n_lines(), 2);
        assert_eq!(view.pieces(0), [("s = ", None), ("[[a", Some(Kind::Text))]);
        let second = [("b]]", Some(Kind::Text)), (" .. ", None), ("1", Some(Kind::Number))];
        assert_eq!(view.pieces(1), second);
        assert_eq!(view.pieces(2), []);
    }

    #[test]
    fn the_cursor_stays_in_sight() {
        let mut view = view(&"x\n".repeat(100));
        let mut check = |line, top| {
            view.go_to(line);
            view.scroll_to_cursor(10);
            assert_eq!(view.top, top, "{line}");
        };
        check(1, 0);
        check(8, 0);
        check(9, 1);
        check(50, 44);
        check(46, 43);
        check(1000, 90);
        check(1, 0);
    }

    #[test]
    fn a_search_goes_around() {
        let mut view = view("Alpha\nbeta\nalpha\n");
        assert!(view.search("alpha"));
        assert_eq!(view.cursor, 2);
        assert!(view.search("alpha"));
        assert_eq!(view.cursor, 0);
        assert!(view.search("Alpha"));
        assert_eq!(view.cursor, 0);
        assert!(!view.search("gamma"));
        assert!(!super::SourceView::default().search("x"));
    }
}
