//! Everything the terminal debugger knows, and how what happens changes it.
//!
//! The core has the truth: breakpoints, values and states are asked of it. Here
//! is what only a user has: what they look at, where they are, what they are
//! typing, which breakpoints they have put aside.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, mpsc},
};

use crossterm::event::KeyEvent;

use super::{
    Changes, Message,
    layout::{Layout, Pane},
    log::{Gathered, Log, Voice},
    look::{self, Look, Row, Wanted},
    prompts::{History, Mode},
    questions::{Answer, Questions},
    source::SourceView,
};
use crate::{
    debug::{
        BreakpointSpec, Control, Event, ExceptionFilter, ExceptionFilters, Failure, Inspector,
        Parting, Program, ProgressPhase, Resume, Source, SourceRequest, Stack, StopReason,
        StopRequest, Variable,
    },
    session::{EXIT_ERROR, EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_TIMEOUT, Outcome, Session},
};

/// What the script is doing.
pub(super) enum Run {
    Running,
    Stopped(StopReason),
    /// It has called `os.exit`; the Lua thread waits for a word.
    Exiting(i64, mpsc::Sender<Parting>),
    Ended(i64),
}

/// What can be done with the terminal as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Draw everything anew: somebody else may have written on it.
    Redraw,
    /// Give it back and stop the process, until somebody lets it go on.
    Suspend,
}

/// Which errors stop the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errors {
    Uncaught,
    All,
    None,
}

/// A breakpoint in the gutter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) line: u32,
    pub(super) state: MarkState,
    /// It does not simply stop: it has a condition, a count or a message.
    pub(super) special: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkState {
    Verified,
    Pending,
    Disabled,
}

/// Where the user is in a list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    pub(super) selected: usize,
    pub(super) top: usize,
}

impl Position {
    pub(super) fn move_by(&mut self, steps: isize, count: usize) {
        let last = count.saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(steps).min(last);
    }

    /// Scrolls so that the selected row is one of `rows`.
    pub(super) fn scroll(&mut self, rows: usize, count: usize) {
        self.selected = self.selected.min(count.saturating_sub(1));
        self.top = self.top.min(self.selected).max((self.selected + 1).saturating_sub(rows));
        self.top = self.top.min(count.saturating_sub(rows));
    }
}

/// A list of rows and where the user is in it.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    pub(super) position: Position,
}

impl Rows {
    pub(super) fn selected(&self) -> Option<&Row> {
        self.rows.get(self.position.selected)
    }
}

/// See the module.
pub(super) struct State<'s> {
    session: &'s Session,
    pub(super) control: Control,
    program: Program,
    messages: mpsc::Sender<Message>,
    pub(super) questions: Questions,
    gathered: Arc<Gathered>,
    changes: Arc<Changes>,
    pub(super) run: Run,
    /// Steps that were asked for while one was under way.
    pub(super) steps: VecDeque<Resume>,
    /// Whether it runs to the end of a step.
    pub(super) steps_on: bool,
    /// Counts the stops, so that late answers are known.
    stop: u64,
    pub(super) stack: Stack,
    pub(super) frames: Position,
    /// The frame that is looked into.
    pub(super) selected: usize,
    pub(super) variables: Rows,
    pub(super) watches: Rows,
    pub(super) expressions: Vec<String>,
    toggled: HashSet<String>,
    pub(super) source: SourceView,
    /// Of the source that is shown.
    pub(super) marks: Vec<Mark>,
    disabled: Vec<(SourceRequest, BreakpointSpec)>,
    pub(super) errors: Errors,
    pub(super) log: Log,
    /// A wait of the script that takes long.
    pub(super) waits_for: Option<String>,
    pub(super) pane: Pane,
    /// The pane beside the source where there is room for one.
    pub(super) other: Pane,
    pub(super) mode: Mode,
    pub(super) history: History,
    /// Said in the last line until the next key.
    pub(super) note: Option<String>,
    /// Ctrl-C was the last key.
    pub(super) interrupted: bool,
    pub(super) size: (usize, usize),
    /// What the process is to end with, when the user has had enough.
    pub(super) exit: Option<i64>,
    /// How the script failed, for those who come later.
    pub(super) failure: Option<String>,
    /// What the loop is to do with the terminal.
    pub(super) wish: Option<Wish>,
}

impl<'s> State<'s> {
    pub(super) fn new(
        session: &'s Session,
        program: Program,
        messages: mpsc::Sender<Message>,
        gathered: Arc<Gathered>,
        changes: Arc<Changes>,
        size: (usize, usize),
    ) -> Result<Self, String> {
        let control = session.control().clone();
        let questions = Questions::start(control.clone(), messages.clone())?;
        let mut state = Self {
            session,
            control,
            program,
            messages,
            questions,
            gathered,
            changes,
            run: Run::Running,
            steps: VecDeque::new(),
            steps_on: false,
            stop: 0,
            stack: Stack::default(),
            frames: Position::default(),
            selected: 0,
            variables: Rows::default(),
            watches: Rows::default(),
            expressions: Vec::new(),
            toggled: HashSet::new(),
            source: SourceView::default(),
            marks: Vec::new(),
            disabled: Vec::new(),
            errors: Errors::Uncaught,
            log: Log::default(),
            waits_for: None,
            pane: Pane::Source,
            other: Pane::Output,
            mode: Mode::Panes,
            history: History::default(),
            note: None,
            interrupted: false,
            size,
            exit: None,
            failure: None,
            wish: None,
        };
        state.set_errors(Errors::Uncaught);
        state.show_main_script();
        Ok(state)
    }

    /// Runs the program for the first time.
    pub(super) fn begin(&mut self) {
        self.control.stop_on_entry();
        self.control.configuration_done();
        self.watch_exit();
        let outcome = self.session.execute(self.program.clone());
        self.await_outcome(outcome);
    }

    /// Runs it once more, from the start.
    pub(super) fn restart(&mut self) {
        self.questions.cancel();
        self.failure = None;
        match std::mem::replace(&mut self.run, Run::Running) {
            Run::Ended(_) => {
                let outcome = self.session.execute_anew(self.program.clone());
                self.await_outcome(outcome);
            }
            Run::Exiting(_, parting) => {
                self.watch_exit();
                // In this order: who stays needs something to stay for.
                self.note = self.control.restart().err();
                let _ = parting.send(Parting::Stay);
            }
            Run::Running | Run::Stopped(_) => self.note = self.control.restart().err(),
        }
        self.forget_stop();
        self.log.clear();
        self.log.say(Voice::Note, "started again");
    }

    /// `os.exit` waits until the user has looked.
    fn watch_exit(&self) {
        let messages = self.messages.clone();
        self.control.on_exit(move |code| {
            let (parting, decided) = mpsc::channel();
            match messages.send(Message::ExitCalled(code, parting)) {
                Ok(()) => decided.recv().unwrap_or(Parting::Leave),
                Err(_) => Parting::Leave,
            }
        });
    }

    fn await_outcome(&mut self, outcome: mpsc::Receiver<Outcome>) {
        let messages = self.messages.clone();
        let wait = move || {
            let lost = || {
                let message = "the Lua thread ended unexpectedly".to_owned();
                Err(Failure::Error { message, traceback: String::new() })
            };
            let _ = messages.send(Message::Ended(outcome.recv().unwrap_or_else(|_| lost())));
        };
        let name = "llmspell-outcome".to_owned();
        if let Err(error) = std::thread::Builder::new().name(name).spawn(wait) {
            self.note = Some(format!("the end of the script will not be seen: {error}"));
        }
    }

    /// Takes in what has happened.
    pub(super) fn handle(&mut self, message: Message) {
        match message {
            Message::Key(key) => self.key(key),
            Message::Resized(size) => self.size = size,
            Message::Printed => self.log.take(&self.gathered),
            Message::TablesChanged => {
                let reloaded = self.changes.take();
                if self.source.source.as_ref().is_some_and(|shown| reloaded.contains(shown)) {
                    self.source.reload(&self.control);
                }
                self.refresh_marks();
            }
            Message::Core(event) => self.event(event),
            Message::Answered(answer) => {
                self.questions.note_answer();
                self.answer(answer);
            }
            Message::Ended(outcome) => self.ended(outcome),
            Message::ExitCalled(code, parting) => {
                self.log.take(&self.gathered);
                self.log.say(Voice::Note, &format!("the script has called os.exit: {code}"));
                self.run = Run::Exiting(code & 0xff, parting);
                self.forget_stop();
            }
            Message::Signal(number) => self.exit = Some(128 + i64::from(number)),
            Message::Continued => self.wish = Some(Wish::Redraw),
            Message::KeysEnded(error) => {
                self.failure = Some(format!("cannot read keys: {error}"));
                self.exit = Some(EXIT_ERROR);
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Stopped(reason) => {
                self.stop += 1;
                self.waits_for = None;
                let next = self.steps.pop_front().filter(|_| reason == StopReason::Step);
                if let Some(how) = next {
                    self.run = Run::Stopped(reason);
                    return self.resume(how);
                }
                self.steps.clear();
                if let StopReason::Exception(exception) = &reason {
                    self.log.say(Voice::Problem, &format!("error: {}", exception.message));
                }
                self.run = Run::Stopped(reason);
                self.look(None, true);
            }
            Event::Progress(progress) => {
                let lasts = progress.phase == ProgressPhase::Start;
                self.waits_for = lasts.then_some(progress.title);
            }
            // Output is gathered, changes of tables are told once; the end comes
            // with the outcome.
            _ => {}
        }
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Looked(Some(look)) if look.stop == self.stop => self.looked(look),
            Answer::Looked(_) => {}
            Answer::Evaluated(Ok(Variable { value, .. })) => {
                let value = if value.is_empty() { "(no value)" } else { &value };
                self.log.say(Voice::Answer, value);
                self.look_again();
            }
            Answer::Evaluated(Err(message)) => {
                self.log.say(Voice::Problem, &message);
                self.look_again();
            }
            Answer::Set(set) => {
                self.note = set.err();
                self.look_again();
            }
        }
    }

    fn looked(&mut self, look: Look) {
        if !matches!(self.run, Run::Stopped(_)) {
            return;
        }
        let has_moved =
            self.stack.frames.get(self.selected) != look.stack.frames.get(look.selected);
        self.stack = look.stack;
        self.selected = look.selected;
        self.variables.rows = look.variables;
        if let Some(watches) = look.watches {
            self.watches.rows = watches;
        }
        if has_moved {
            self.frames.selected = self.selected;
            self.show_selected_frame();
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        self.log.take(&self.gathered);
        let (code, words) = match outcome {
            Ok(_) => (0, None),
            Err(Failure::Error { message, traceback }) => {
                self.log.say(Voice::Problem, &message);
                self.log.say(Voice::Problem, &traceback);
                (EXIT_ERROR, Some(format!("{message}\n{traceback}")))
            }
            Err(Failure::Stopped(request)) => (exit_code(request), None),
        };
        self.failure = words.map(|words| words.trim_end().to_owned());
        self.log.say(Voice::Note, &format!("the script has ended with exit code {code}"));
        self.run = Run::Ended(code);
        self.forget_stop();
    }

    /// Asks what there is to see; without a frame, at the top.
    pub(super) fn look(&mut self, frame: Option<i64>, watches: bool) {
        if !matches!(self.run, Run::Stopped(_)) {
            return;
        }
        let wanted = Wanted {
            stop: self.stop,
            frame,
            toggled: self.toggled.clone(),
            watches: watches.then(|| self.expressions.clone()),
        };
        let ask = |inspector: &Inspector<'_>| Answer::Looked(look::look(inspector, wanted));
        self.questions.ask(Answer::Looked(None), ask);
    }

    /// Looks at the same frame: values have changed.
    pub(super) fn look_again(&mut self) {
        self.look(self.frame(), true);
    }

    /// Opens or closes a row.
    pub(super) fn toggle(&mut self, path: String, watches: bool) {
        if !self.toggled.remove(&path) {
            self.toggled.insert(path);
        }
        self.look(self.frame(), watches);
    }

    /// The frame that is looked into, while the script stands still.
    pub(super) fn frame(&self) -> Option<i64> {
        let frame = self.stack.frames.get(self.selected)?;
        matches!(self.run, Run::Stopped(_)).then_some(frame.id)
    }

    fn forget_stop(&mut self) {
        self.stop += 1;
        self.steps.clear();
        self.stack = Stack::default();
        self.variables.rows.clear();
        for row in &mut self.watches.rows {
            row.value.clear();
            (row.openable, row.failed) = (false, false);
        }
        self.watches.rows.retain(|row| row.depth == 0);
        self.waits_for = None;
    }

    fn show_main_script(&mut self) {
        if let Some(source) = self.control.main_script() {
            self.show_source(&source);
        }
    }

    pub(super) fn show_source(&mut self, source: &Source) {
        self.source.show(source, &self.control);
        self.refresh_marks();
    }

    /// Shows where the selected frame is.
    pub(super) fn show_selected_frame(&mut self) {
        let frame = self.stack.frames.get(self.selected);
        let Some((source, line)) = frame.map(|frame| (frame.source.clone(), frame.line)) else {
            return self.show_main_script();
        };
        self.show_source(&source);
        self.source.go_to(line);
    }

    /// Asks the core for the breakpoints of the source that is shown.
    pub(super) fn refresh_marks(&mut self) {
        self.marks.clear();
        let Some(request) = self.source.request() else { return };
        for (spec, breakpoint) in self.control.breakpoints(&request) {
            let state = if breakpoint.verified { MarkState::Verified } else { MarkState::Pending };
            let line = breakpoint.line.unwrap_or(spec.line);
            self.marks.push(Mark { line, state, special: is_special(&spec) });
        }
        let disabled = self.disabled.iter().filter(|(place, _)| *place == request);
        self.marks.extend(disabled.map(|(_, spec)| Mark {
            line: spec.line,
            state: MarkState::Disabled,
            special: is_special(spec),
        }));
    }

    /// The breakpoint at the cursor, and whether it is disabled.
    pub(super) fn breakpoint_here(&self) -> Option<(BreakpointSpec, bool)> {
        let request = self.source.request()?;
        let line = self.source.cursor_line();
        let mut set = self.control.breakpoints(&request).into_iter();
        let found = set.find(|(spec, it)| it.line.unwrap_or(spec.line) == line);
        let disabled =
            || self.disabled.iter().find(|(place, spec)| *place == request && spec.line == line);
        found
            .map(|(spec, _)| (spec, false))
            .or_else(|| disabled().map(|(_, spec)| (spec.clone(), true)))
    }

    /// Removes the breakpoint at the cursor.
    pub(super) fn remove_breakpoint(&mut self) {
        let Some(request) = self.source.request() else { return };
        let line = self.source.cursor_line();
        self.disabled.retain(|(place, spec)| *place != request || spec.line != line);
        let set = self.control.breakpoints(&request).into_iter();
        let others = set.filter(|(spec, it)| it.line.unwrap_or(spec.line) != line);
        let others = others.map(|(spec, _)| spec).collect();
        self.control.set_breakpoints(&request, others);
        self.refresh_marks();
    }

    /// Adds a breakpoint, and says if it is not quite what was asked for.
    pub(super) fn add_breakpoint(&mut self, spec: BreakpointSpec) {
        let Some(request) = self.source.request() else { return };
        let line = spec.line;
        let set = self.control.breakpoints(&request);
        let mut specs: Vec<_> = set.into_iter().map(|(spec, _)| spec).collect();
        specs.push(spec);
        let reports = self.control.set_breakpoints(&request, specs);
        if let Some(report) = reports.last() {
            let moved = report.line.filter(|moved| *moved != line);
            let moved =
                moved.map(|to| format!("line {line} has no code: the breakpoint is on {to}"));
            self.note = report.message.clone().or(moved);
        }
        self.refresh_marks();
    }

    /// Puts the breakpoint at the cursor aside.
    pub(super) fn disable_breakpoint(&mut self, spec: BreakpointSpec) {
        self.remove_breakpoint();
        if let Some(request) = self.source.request() {
            // Where it was seen last.
            let spec = BreakpointSpec { line: self.source.cursor_line(), ..spec };
            self.disabled.push((request, spec));
        }
        self.refresh_marks();
    }

    pub(super) fn set_errors(&mut self, errors: Errors) {
        let on = |wanted: bool| wanted.then(ExceptionFilter::default);
        self.errors = errors;
        self.control.set_exception_filters(ExceptionFilters {
            all: on(errors == Errors::All),
            uncaught: on(errors == Errors::Uncaught),
        });
    }

    /// What the process ends with if the user leaves now.
    pub(super) fn exit_code_now(&self) -> i64 {
        match &self.run {
            Run::Ended(code) | Run::Exiting(code, _) => *code,
            Run::Running | Run::Stopped(_) => EXIT_TERMINATED,
        }
    }

    /// Where things are, if the screen is large enough.
    pub(super) fn layout(&self) -> Option<Layout> {
        Layout::new(self.size.0, self.size.1, self.other)
    }

    /// Scrolls every pane so that what is selected is in sight.
    pub(super) fn settle(&mut self) {
        let Some(layout) = self.layout() else { return };
        self.source.scroll_to_cursor(layout.rows(Pane::Source));
        self.frames.scroll(layout.rows(Pane::Stack), self.stack.frames.len());
        for (pane, list) in
            [(Pane::Variables, &mut self.variables), (Pane::Watches, &mut self.watches)]
        {
            list.position.scroll(layout.rows(pane), list.rows.len());
        }
    }

    fn key(&mut self, key: KeyEvent) {
        self.note = None;
        match std::mem::replace(&mut self.mode, Mode::Panes) {
            Mode::Panes => self.command_key(key),
            mode => self.prompt_key(mode, key),
        }
    }
}

fn is_special(spec: &BreakpointSpec) -> bool {
    spec.condition.is_some() || spec.hit_condition.is_some() || spec.log_message.is_some()
}

/// As `run` ends.
fn exit_code(request: StopRequest) -> i64 {
    match request {
        StopRequest::Interrupt => EXIT_INTERRUPTED,
        StopRequest::Timeout => EXIT_TIMEOUT,
        StopRequest::Terminate | StopRequest::Restart | StopRequest::Exit => EXIT_TERMINATED,
    }
}
