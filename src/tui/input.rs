//! One line of input with a history, as prompts use it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Inputs that are remembered.
const MOST_REMEMBERED: usize = 200;

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// It is part of the input, or does nothing.
    More,
    /// The input is complete.
    Done,
    /// The user wants none of it.
    Cancelled,
}

/// A line that is being edited.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) text: String,
    /// Byte offset of the cursor.
    pub(super) at: usize,
    /// How far back in the history; 0 for what is being written.
    back: usize,
    /// What was being written before looking back.
    draft: String,
}

impl Line {
    pub(super) fn new(text: String) -> Self {
        Self { at: text.len(), text, ..Self::default() }
    }

    /// Takes a key; `history` has the latest input last.
    pub(super) fn key(&mut self, key: KeyEvent, history: &[String]) -> Typed {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Typed::Done,
            KeyCode::Esc => return Typed::Cancelled,
            KeyCode::Char('c' | 'g') if control => return Typed::Cancelled,
            KeyCode::Char('d') if control && self.text.is_empty() => return Typed::Cancelled,
            KeyCode::Char('a') if control => self.at = 0,
            KeyCode::Char('e') if control => self.at = self.text.len(),
            KeyCode::Char('b') if control => self.at = self.before(),
            KeyCode::Char('f') if control => self.at = self.behind(),
            KeyCode::Char('k') if control => self.text.truncate(self.at),
            KeyCode::Char('u') if control => self.remove(0, self.at),
            KeyCode::Char('w') if control => self.remove(self.word_before(), self.at),
            KeyCode::Char('h') if control => self.remove(self.before(), self.at),
            KeyCode::Char('d') if control => self.remove(self.at, self.behind()),
            KeyCode::Char('p') if control => self.recall(self.back + 1, history),
            KeyCode::Char('n') if control => self.recall(self.back.saturating_sub(1), history),
            KeyCode::Up => self.recall(self.back + 1, history),
            KeyCode::Down => self.recall(self.back.saturating_sub(1), history),
            KeyCode::Left => self.at = self.before(),
            KeyCode::Right => self.at = self.behind(),
            KeyCode::Home => self.at = 0,
            KeyCode::End => self.at = self.text.len(),
            KeyCode::Backspace => self.remove(self.before(), self.at),
            KeyCode::Delete => self.remove(self.at, self.behind()),
            KeyCode::Char(character) if !control => {
                self.text.insert(self.at, character);
                self.at += character.len_utf8();
            }
            _ => {}
        }
        Typed::More
    }

    fn before(&self) -> usize {
        self.text[..self.at].char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn behind(&self) -> usize {
        self.text[self.at..].chars().next().map_or(self.at, |next| self.at + next.len_utf8())
    }

    fn word_before(&self) -> usize {
        let text = self.text[..self.at].trim_end();
        text.rfind(char::is_whitespace).map_or(0, |at| at + 1)
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.at = from;
    }

    fn recall(&mut self, back: usize, history: &[String]) {
        if back == self.back || back > history.len() {
            return;
        }
        if self.back == 0 {
            self.draft.clone_from(&self.text);
        }
        self.back = back;
        let recalled = if back == 0 { &self.draft } else { &history[history.len() - back] };
        self.text.clone_from(recalled);
        self.at = self.text.len();
    }
}

/// Adds an input to a history, unless it is the latest already.
pub(super) fn remember(history: &mut Vec<String>, text: &str) {
    if text.trim().is_empty() || history.last().is_some_and(|last| last == text) {
        return;
    }
    if history.len() == MOST_REMEMBERED {
        history.remove(0);
    }
    history.push(text.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(line: &mut Line, keys: &[KeyCode], history: &[String]) {
        for key in keys {
            line.key(KeyEvent::new(*key, KeyModifiers::NONE), history);
        }
    }

    #[test]
    fn editing_respects_characters() {
        use KeyCode::{Backspace, Char, Delete, Home, Left, Right};
        let mut line = Line::new("é".to_owned());
        press(&mut line, &[Char('日'), Left, Char('x'), Right, Backspace], &[]);
        assert_eq!((line.text.as_str(), line.at), ("éx", 3));
        press(&mut line, &[Home, Left, Delete, Delete, Delete, Backspace], &[]);
        assert_eq!((line.text.as_str(), line.at), ("", 0));
    }

    #[test]
    fn the_history_can_be_walked_and_left_again() {
        use KeyCode::{Char, Down, Up};
        let history = ["one".to_owned(), "two".to_owned()];
        let mut line = Line::default();
        press(&mut line, &[Char('x'), Up], &history);
        assert_eq!(line.text, "two");
        press(&mut line, &[Up, Up], &history);
        assert_eq!(line.text, "one");
        press(&mut line, &[Down, Down, Down], &history);
        assert_eq!(line.text, "x");
    }

    #[test]
    fn words_can_be_deleted() {
        let mut line = Line::new("a bcd ".to_owned());
        line.key(KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL), &[]);
        assert_eq!(line.text, "a ");
    }
}
