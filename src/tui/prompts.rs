//! Prompts in the last line, and what is done with what was typed.

use crossterm::event::{KeyCode, KeyEvent};

use super::{
    input::{self, Line, Typed},
    keys::{self, Command},
    layout::Pane,
    look::Place,
    questions::Answer,
    state::{Run, State},
};
use crate::debug::{BreakpointSpec, Source, SourceId};

/// What keys go to.
pub(super) enum Mode {
    Panes,
    /// The help, from this row on.
    Help(usize),
    Prompt(Prompt),
    Files(Files),
    /// Whether to quit while the script has not ended.
    Confirm,
}

/// A question in the last line.
pub(super) struct Prompt {
    pub(super) label: String,
    pub(super) line: Line,
    purpose: Purpose,
}

enum Purpose {
    Evaluate,
    Watch,
    /// Set what has this name and place.
    Set(String, Place),
    GoTo,
    Search,
    /// A property of the breakpoint that is being put together.
    Breakpoint(BreakpointSpec, Property),
}

#[derive(Clone, Copy)]
enum Property {
    Condition,
    HitCondition,
    LogMessage,
}

/// The choice of a source.
#[derive(Default)]
pub(super) struct Files {
    /// Part of a name, or a path.
    pub(super) line: Line,
    pub(super) selected: usize,
}

/// What was typed into prompts, by kind.
#[derive(Default)]
pub(super) struct History {
    expressions: Vec<String>,
    searches: Vec<String>,
}

impl History {
    fn of(&mut self, purpose: &Purpose) -> Option<&mut Vec<String>> {
        match purpose {
            Purpose::Evaluate | Purpose::Watch | Purpose::Set(..) => Some(&mut self.expressions),
            Purpose::Search => Some(&mut self.searches),
            Purpose::GoTo | Purpose::Breakpoint(..) => None,
        }
    }
}

impl State<'_> {
    fn prompt(&mut self, label: impl Into<String>, text: String, purpose: Purpose) {
        self.mode = Mode::Prompt(Prompt { label: label.into(), line: Line::new(text), purpose });
    }

    pub(super) fn ask_for_expression(&mut self) {
        self.prompt("evaluate: ", String::new(), Purpose::Evaluate);
    }

    pub(super) fn ask_for_watch(&mut self) {
        self.prompt("watch: ", String::new(), Purpose::Watch);
    }

    pub(super) fn ask_for_line(&mut self) {
        self.prompt("go to line: ", String::new(), Purpose::GoTo);
    }

    pub(super) fn ask_for_text(&mut self) {
        self.prompt("search: ", String::new(), Purpose::Search);
    }

    pub(super) fn ask_for_file(&mut self) {
        self.mode = Mode::Files(Files::default());
    }

    pub(super) fn ask_for_value(&mut self) {
        let list = if self.pane == Pane::Watches { &self.watches } else { &self.variables };
        let row = list.selected().filter(|_| matches!(self.run, Run::Stopped(_)));
        match row.map(|row| (row.name.clone(), row.value.clone(), row.place.clone())) {
            None => self.note = Some("select a variable of the stopped script first".to_owned()),
            Some((name, _, Place::Fixed)) => self.note = Some(format!("'{name}' cannot be set")),
            Some((name, value, place)) => {
                self.prompt(format!("{name} = "), value, Purpose::Set(name, place));
            }
        }
    }

    pub(super) fn edit_breakpoint(&mut self) {
        if self.source.request().is_none() {
            self.note = Some("there is no source here to set a breakpoint in".to_owned());
            return;
        }
        let line = self.source.cursor_line();
        let present = self.breakpoint_here().map(|(spec, _)| spec);
        let spec = present.unwrap_or(BreakpointSpec { line, ..BreakpointSpec::default() });
        self.ask_for_property(spec, Property::Condition);
    }

    fn ask_for_property(&mut self, spec: BreakpointSpec, property: Property) {
        let (label, present) = match property {
            Property::Condition => ("stop if (empty: always): ", &spec.condition),
            Property::HitCondition => {
                ("on hits, as 5, >= 5, % 3 (empty: all): ", &spec.hit_condition)
            }
            Property::LogMessage => ("print {expr} instead of stopping: ", &spec.log_message),
        };
        let text = present.clone().unwrap_or_default();
        self.prompt(label, text, Purpose::Breakpoint(spec, property));
    }

    /// A key while something else than the panes takes them.
    pub(super) fn prompt_key(&mut self, mode: Mode, key: KeyEvent) {
        match mode {
            Mode::Panes => {}
            Mode::Help(top) => self.help_key(top, key),
            Mode::Confirm => {
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    self.exit = Some(self.exit_code_now());
                }
            }
            Mode::Prompt(mut prompt) => {
                let history = self.history.of(&prompt.purpose).cloned().unwrap_or_default();
                match prompt.line.key(key, &history) {
                    Typed::More => self.mode = Mode::Prompt(prompt),
                    Typed::Cancelled => {}
                    Typed::Done => self.typed(prompt),
                }
            }
            Mode::Files(files) => self.files_key(files, key),
        }
    }

    fn help_key(&mut self, top: usize, key: KeyEvent) {
        let page = self.size.1.saturating_sub(3);
        let most = keys::BINDINGS.len() + super::view::HELP_NOTES.len();
        let top = match keys::command(key) {
            Some(Command::Down) => top + 1,
            Some(Command::Up) => top.saturating_sub(1),
            Some(Command::PageDown) => top + page,
            Some(Command::PageUp) => top.saturating_sub(page),
            Some(Command::First) => 0,
            Some(Command::Last) => most,
            _ => return,
        };
        self.mode = Mode::Help(top.min(most.saturating_sub(page)));
    }

    fn typed(&mut self, prompt: Prompt) {
        let Prompt { line, purpose, .. } = prompt;
        let text = line.text.trim().to_owned();
        let searched = self.history.searches.last().cloned();
        if let Some(history) = self.history.of(&purpose) {
            input::remember(history, &text);
        }
        match purpose {
            Purpose::Evaluate if !text.is_empty() => self.evaluate(&text),
            Purpose::Watch if !text.is_empty() => {
                self.expressions.push(text);
                self.refresh_watches();
            }
            Purpose::Set(name, place) if !text.is_empty() => self.set(name, place, text),
            Purpose::Evaluate | Purpose::Watch | Purpose::Set(..) => {}
            Purpose::GoTo => match text.parse() {
                Ok(line) => {
                    self.source.go_to(line);
                    self.pane = Pane::Source;
                }
                Err(_) => self.note = Some(format!("'{text}' is no line number")),
            },
            Purpose::Search => {
                let wanted = if text.is_empty() { searched.unwrap_or_default() } else { text };
                if wanted.is_empty() || !self.source.search(&wanted) {
                    self.note = Some(format!("'{wanted}' is not in this source"));
                }
            }
            Purpose::Breakpoint(spec, property) => self.set_property(spec, property, &text),
        }
    }

    fn set_property(&mut self, mut spec: BreakpointSpec, property: Property, text: &str) {
        let value = (!text.is_empty()).then(|| text.to_owned());
        match property {
            Property::Condition => {
                spec.condition = value;
                self.ask_for_property(spec, Property::HitCondition);
            }
            Property::HitCondition => {
                spec.hit_condition = value;
                self.ask_for_property(spec, Property::LogMessage);
            }
            Property::LogMessage => {
                spec.log_message = value;
                self.remove_breakpoint();
                self.add_breakpoint(spec);
            }
        }
    }

    fn set(&mut self, name: String, place: Place, value: String) {
        let frame = self.frame();
        let cancelled = Answer::Set(Err("cancelled".to_owned()));
        self.questions.ask(cancelled, move |inspector| {
            Answer::Set(match place {
                Place::Child(container) => inspector.set_variable(container, &name, &value, false),
                Place::Expression => inspector.set_expression(&name, &value, frame, false),
                Place::Fixed => Err(format!("'{name}' cannot be set")),
            })
        });
    }

    /// The loaded sources whose names have what was typed in them.
    pub(super) fn candidates(&self, files: &Files) -> Vec<Source> {
        let wanted = files.line.text.to_lowercase();
        let has_it = |source: &Source| path_of(source).to_lowercase().contains(&wanted);
        self.control.sources().into_iter().filter(has_it).collect()
    }

    fn files_key(&mut self, mut files: Files, key: KeyEvent) {
        let candidates = self.candidates(&files);
        match key.code {
            KeyCode::Up => files.selected = files.selected.saturating_sub(1),
            KeyCode::Down => {
                let last = candidates.len().saturating_sub(1);
                files.selected = (files.selected + 1).min(last);
            }
            _ => match files.line.key(key, &[]) {
                Typed::More => files.selected = 0,
                Typed::Cancelled => return,
                Typed::Done => return self.open(&files, &candidates),
            },
        }
        self.mode = Mode::Files(files);
    }

    fn open(&mut self, files: &Files, candidates: &[Source]) {
        let typed = files.line.text.trim();
        // A path means what it says, unless another source was chosen.
        let path = std::fs::canonicalize(typed).ok().filter(|path| path.is_file());
        let path = path.filter(|_| files.selected == 0);
        if let (None, Some(source)) = (&path, candidates.get(files.selected)) {
            self.show_source(source);
        } else if let Some(path) = path {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            self.show_source(&Source { id: SourceId::File(path), name });
        } else {
            self.note = Some(format!("there is no source or file '{typed}'"));
            return;
        }
        self.pane = Pane::Source;
    }
}

/// What tells a source from others, for people.
pub(super) fn path_of(source: &Source) -> String {
    match &source.id {
        SourceId::File(path) => path.to_string_lossy().into_owned(),
        SourceId::Text(_) | SourceId::Native => source.name.clone(),
    }
}
