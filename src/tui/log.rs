//! What the script and the debugger have said: gathered on the threads where it
//! is said, kept as lines for the output pane. Both are bounded.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::debug::{OutputCategory, TextStream};

/// Bytes that wait for the screen; of a script that is faster, the oldest go.
const MOST_WAITING: usize = 4 << 20;
/// Lines that can be scrolled back to.
const MOST_LINES: usize = 10_000;
/// Bytes of one line; what is longer is broken.
const MOST_BYTES: usize = 16 << 10;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Stdout,
    Stderr,
    /// Log points and their like.
    Console,
    /// What the user has asked.
    Question,
    /// What it was answered.
    Answer,
    /// What went wrong.
    Problem,
    /// The debugger itself.
    Note,
}

/// Output on its way to the screen.
#[derive(Default)]
pub(super) struct Gathered {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    pieces: VecDeque<(OutputCategory, Vec<u8>)>,
    size: usize,
    dropped: usize,
}

impl Gathered {
    /// Takes a piece; whether it is the first that waits.
    pub(super) fn push(&self, category: OutputCategory, bytes: Vec<u8>) -> bool {
        let mut waiting = self.lock();
        let is_first = waiting.pieces.is_empty();
        waiting.size += bytes.len();
        waiting.pieces.push_back((category, bytes));
        while waiting.size > MOST_WAITING
            && waiting.pieces.len() > 1
            && let Some((_, oldest)) = waiting.pieces.pop_front()
        {
            waiting.size -= oldest.len();
            waiting.dropped += oldest.len();
        }
        is_first
    }

    fn take(&self) -> Waiting {
        mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line of the output pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) voice: Voice,
    pub(super) text: String,
    /// More of it may come.
    open: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Log {
    lines: VecDeque<Said>,
    streams: [TextStream; 3],
    /// How many lines the view is scrolled back.
    pub(super) back: usize,
}

impl Log {
    pub(super) fn lines(&self) -> &VecDeque<Said> {
        &self.lines
    }

    /// Takes what was gathered.
    pub(super) fn take(&mut self, gathered: &Gathered) {
        let waiting = gathered.take();
        if waiting.dropped > 0 {
            let dropped = waiting.dropped;
            self.say(Voice::Note, &format!("{dropped} bytes of output came too fast to be shown"));
        }
        for (category, bytes) in waiting.pieces {
            let voice = match category {
                OutputCategory::Stdout => Voice::Stdout,
                OutputCategory::Stderr => Voice::Stderr,
                OutputCategory::Console => Voice::Console,
            };
            let text = self.streams[voice as usize].push(&bytes);
            self.append(voice, &text);
        }
    }

    /// Says something in whole lines.
    pub(super) fn say(&mut self, voice: Voice, text: &str) {
        self.close();
        self.append(voice, text);
        self.close();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Scrolls; positive for back.
    pub(super) fn scroll(&mut self, lines: isize) {
        let most = self.lines.len().saturating_sub(1);
        self.back = self.back.saturating_add_signed(lines).min(most);
    }

    fn close(&mut self) {
        if let Some(last) = self.lines.back_mut() {
            last.open = false;
        }
    }

    fn append(&mut self, voice: Voice, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let (line, behind, ends) = match rest.find('\n') {
                Some(at) => (&rest[..at], &rest[at + 1..], true),
                None => (rest, "", false),
            };
            self.append_to_line(voice, line);
            if ends {
                self.close();
            }
            rest = behind;
        }
    }

    fn append_to_line(&mut self, voice: Voice, text: &str) {
        let continues = |last: &Said| last.open && last.voice == voice;
        if !self.lines.back().is_some_and(continues) {
            self.close();
            self.start_line(voice);
        }
        // A carriage return writes the line anew, as progress bars do.
        let text = text.strip_suffix('\r').unwrap_or(text);
        let (anew, text) = match text.rfind('\r') {
            Some(at) => (true, &text[at + 1..]),
            None => (false, text),
        };
        for character in text.chars() {
            let full = self.lines.back().is_none_or(|last| last.text.len() >= MOST_BYTES);
            if full {
                self.start_line(voice);
            }
            if let Some(last) = self.lines.back_mut() {
                last.text.push(character);
            }
        }
        if anew && let Some(last) = self.lines.back_mut() {
            text.clone_into(&mut last.text);
        }
    }

    fn start_line(&mut self, voice: Voice) {
        self.lines.push_back(Said { voice, text: String::new(), open: true });
        if self.back > 0 {
            // What is looked at stays where it is.
            self.back += 1;
        }
        if self.lines.len() > MOST_LINES {
            self.lines.pop_front();
            self.back = self.back.min(MOST_LINES - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(log: &Log) -> Vec<&str> {
        log.lines().iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn pieces_become_lines() {
        let (gathered, mut log) = (Gathered::default(), Log::default());
        assert!(gathered.push(OutputCategory::Stdout, b"a".to_vec()));
        assert!(!gathered.push(OutputCategory::Stdout, b"b\n\nc".to_vec()));
        gathered.push(OutputCategory::Stderr, b"d\n".to_vec());
        log.take(&gathered);
        assert_eq!(text(&log), ["ab", "", "c", "d"]);
        assert!(gathered.push(OutputCategory::Stdout, "é".as_bytes()[..1].to_vec()));
        log.take(&gathered);
        gathered.push(OutputCategory::Stdout, "é".as_bytes()[1..].to_vec());
        log.take(&gathered);
        assert_eq!(text(&log), ["ab", "", "c", "d", "é"]);
        log.say(Voice::Note, "over");
        assert_eq!(text(&log), ["ab", "", "c", "d", "é", "over"]);
    }

    #[test]
    fn carriage_returns_write_a_line_anew() {
        let mut log = Log::default();
        log.append(Voice::Stdout, "10%\r20%\r\n");
        log.append(Voice::Stdout, "1");
        log.append(Voice::Stdout, "\r2\n");
        assert_eq!(text(&log), ["20%", "2"]);
    }

    #[test]
    fn neither_end_grows_without_bounds() {
        let (gathered, mut log) = (Gathered::default(), Log::default());
        for _ in 0..3 {
            gathered.push(OutputCategory::Stdout, vec![b'\n'; MOST_WAITING / 2]);
        }
        log.take(&gathered);
        assert_eq!(log.lines().len(), MOST_LINES);
        log.append(Voice::Stdout, &"x".repeat(MOST_BYTES + 1));
        assert_eq!(log.lines().back().unwrap().text, "x");
    }

    #[test]
    fn a_view_that_is_scrolled_back_stays() {
        let mut log = Log::default();
        log.append(Voice::Stdout, "a\nb\nc\n");
        log.scroll(2);
        log.append(Voice::Stdout, "d\n");
        assert_eq!(log.back, 3);
        log.scroll(-9);
        assert_eq!(log.back, 0);
    }
}
