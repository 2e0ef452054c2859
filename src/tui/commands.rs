//! What keys do while no prompt is open.

use crossterm::event::KeyEvent;

use super::{
    keys::{self, Command},
    layout::Pane,
    log::Voice,
    look::Row,
    prompts::Mode,
    questions::Answer,
    state::{Errors, Run, State, Wish},
};
use crate::{
    debug::{BreakpointSpec, EvaluateContext, Resume},
    session::EXIT_INTERRUPTED,
};

/// Columns that left and right scroll the source by.
const SIDEWAYS: usize = 8;
/// Steps that may wait for the one under way.
const MOST_STEPS: usize = 50;

impl State<'_> {
    pub(super) fn command_key(&mut self, key: KeyEvent) {
        let command = keys::command(key);
        let twice = std::mem::replace(&mut self.interrupted, command == Some(Command::Interrupt));
        let Some(command) = command else { return };
        match command {
            Command::Continue => self.resume(Resume::Continue),
            Command::Over => self.resume(Resume::Over),
            Command::In => self.resume(Resume::In),
            Command::Out => self.resume(Resume::Out),
            Command::Pause => self.pause(),
            Command::Interrupt if twice => self.exit = Some(EXIT_INTERRUPTED),
            Command::Interrupt => self.interrupt(),
            Command::Restart => self.restart(),
            Command::Quit => self.quit(),
            Command::ToggleBreakpoint => self.toggle_breakpoint(),
            Command::EditBreakpoint => self.edit_breakpoint(),
            Command::DisableBreakpoint => self.disable_or_enable(),
            Command::ErrorFilters => self.next_error_filter(),
            Command::Evaluate => self.ask_for_expression(),
            Command::AddWatch => self.ask_for_watch(),
            Command::Remove => self.remove_watch(),
            Command::SetVariable => self.ask_for_value(),
            Command::Choose => self.choose(),
            Command::CurrentLine => self.show_selected_frame(),
            Command::GoTo => self.ask_for_line(),
            Command::Search => self.ask_for_text(),
            Command::OpenFile => self.ask_for_file(),
            Command::NextPane => self.go_to_pane(self.pane.next(1)),
            Command::PreviousPane => self.go_to_pane(self.pane.next(-1)),
            Command::Cancel => self.cancel(),
            Command::Suspend => self.wish = Some(Wish::Suspend),
            Command::Redraw => self.wish = Some(Wish::Redraw),
            Command::Help => self.mode = Mode::Help(0),
            Command::Up
            | Command::Down
            | Command::PageUp
            | Command::PageDown
            | Command::First
            | Command::Last
            | Command::Left
            | Command::Right => self.move_in_pane(command),
        }
    }

    pub(super) fn resume(&mut self, how: Resume) {
        match self.run {
            Run::Stopped(_) => {
                // A watch that takes long must not hold the script.
                self.questions.cancel();
                match self.control.resume(how) {
                    Ok(()) => {
                        self.run = Run::Running;
                        self.steps_on = how != Resume::Continue;
                    }
                    Err(message) => self.note = Some(message),
                }
            }
            // Keys are faster than the eye: it is about to stop.
            Run::Running if self.steps_on && self.steps.len() < MOST_STEPS => {
                self.steps.push_back(how);
            }
            Run::Running => self.note = Some("the script is running; p pauses it".to_owned()),
            Run::Exiting(..) | Run::Ended(_) => self.note = Some(ended()),
        }
    }

    fn pause(&mut self) {
        self.steps.clear();
        match self.run {
            Run::Running => self.control.pause(),
            Run::Stopped(_) => self.note = Some("the script has stopped already".to_owned()),
            Run::Exiting(..) | Run::Ended(_) => self.note = Some(ended()),
        }
    }

    fn interrupt(&mut self) {
        self.cancel();
        if matches!(self.run, Run::Running) {
            self.control.pause();
        }
        self.note = Some("Ctrl-C again quits".to_owned());
    }

    fn cancel(&mut self) {
        self.steps.clear();
        if self.questions.waits() {
            self.questions.cancel();
        }
    }

    fn quit(&mut self) {
        match self.run {
            Run::Running | Run::Stopped(_) => self.mode = Mode::Confirm,
            Run::Exiting(..) | Run::Ended(_) => self.exit = Some(self.exit_code_now()),
        }
    }

    fn toggle_breakpoint(&mut self) {
        if self.source.request().is_none() {
            self.note = Some("there is no source here to set a breakpoint in".to_owned());
        } else if self.breakpoint_here().is_some() {
            self.remove_breakpoint();
        } else {
            let line = self.source.cursor_line();
            self.add_breakpoint(BreakpointSpec { line, ..BreakpointSpec::default() });
        }
    }

    fn disable_or_enable(&mut self) {
        match self.breakpoint_here() {
            Some((spec, true)) => {
                self.remove_breakpoint();
                self.add_breakpoint(spec);
            }
            Some((spec, false)) => self.disable_breakpoint(spec),
            None => self.note = Some("there is no breakpoint at the cursor".to_owned()),
        }
    }

    fn next_error_filter(&mut self) {
        let (errors, words) = match self.errors {
            Errors::Uncaught => (Errors::All, "stops at all errors, caught ones too"),
            Errors::All => (Errors::None, "stops at no errors"),
            Errors::None => (Errors::Uncaught, "stops at uncaught errors"),
        };
        self.set_errors(errors);
        self.note = Some(words.to_owned());
    }

    fn remove_watch(&mut self) {
        let rows = self.watches.rows.iter().take(self.watches.position.selected + 1);
        // A child belongs to the watch above it.
        let watches = rows.filter(|row| row.depth == 0).count();
        if self.pane == Pane::Watches && (1..=self.expressions.len()).contains(&watches) {
            self.expressions.remove(watches - 1);
            self.refresh_watches();
        } else {
            self.note = Some("select a watch in its pane first".to_owned());
        }
    }

    /// Evaluates the watches anew, or only names them while nothing can be
    /// evaluated.
    pub(super) fn refresh_watches(&mut self) {
        if matches!(self.run, Run::Stopped(_)) {
            self.look_again();
        } else {
            let name = |expression: &String| Row::unknown(expression);
            self.watches.rows = self.expressions.iter().map(name).collect();
        }
    }

    fn choose(&mut self) {
        match self.pane {
            Pane::Stack => {
                if let Some(frame) = self.stack.frames.get(self.frames.selected) {
                    self.look(Some(frame.id), true);
                }
            }
            Pane::Variables | Pane::Watches => self.open_selected(None),
            Pane::Source | Pane::Output => {}
        }
    }

    /// Opens (`true`) or closes the selected row; without a wish, the other way
    /// round.
    fn open_selected(&mut self, wish: Option<bool>) {
        let in_watches = self.pane == Pane::Watches;
        let list = if in_watches { &self.watches } else { &self.variables };
        let Some(row) = list.selected() else { return };
        if row.openable && wish != Some(row.open) {
            let path = row.path.clone();
            self.toggle(path, in_watches);
        } else if wish == Some(false) {
            // Already closed: to the container.
            let (depth, selected) = (row.depth, list.position.selected);
            let parent = list.rows[..selected].iter().rposition(|above| above.depth < depth);
            let list = if in_watches { &mut self.watches } else { &mut self.variables };
            list.position.selected = parent.unwrap_or(selected);
        }
    }

    fn go_to_pane(&mut self, pane: Pane) {
        self.pane = pane;
        if pane != Pane::Source {
            self.other = pane;
        }
    }

    fn move_in_pane(&mut self, command: Command) {
        const FAR: isize = isize::MAX / 2;
        let rows = self.layout().map_or(1, |layout| layout.rows(self.pane));
        let page = rows.saturating_sub(1).max(1).cast_signed();
        let steps = match command {
            Command::Up => -1,
            Command::Down => 1,
            Command::PageUp => -page,
            Command::PageDown => page,
            Command::First => -FAR,
            Command::Last => FAR,
            Command::Left => return self.move_sideways(false),
            _ => return self.move_sideways(true),
        };
        match self.pane {
            Pane::Source => self.source.move_by(steps),
            Pane::Stack => self.frames.move_by(steps, self.stack.frames.len()),
            Pane::Variables => self.variables.position.move_by(steps, self.variables.rows.len()),
            Pane::Watches => self.watches.position.move_by(steps, self.watches.rows.len()),
            Pane::Output => self.log.scroll(-steps),
        }
    }

    fn move_sideways(&mut self, right: bool) {
        match self.pane {
            Pane::Source if right => self.source.left += SIDEWAYS,
            Pane::Source => self.source.left = self.source.left.saturating_sub(SIDEWAYS),
            Pane::Variables | Pane::Watches => self.open_selected(Some(right)),
            Pane::Stack | Pane::Output => {}
        }
    }

    /// Evaluates what was typed; the answer comes into the output pane.
    pub(super) fn evaluate(&mut self, expression: &str) {
        self.log.back = 0;
        self.log.say(Voice::Question, &format!("> {expression}"));
        if matches!(self.run, Run::Exiting(..)) {
            self.log.say(Voice::Problem, &ended());
            return;
        }
        let (expression, frame) = (expression.to_owned(), self.frame());
        let control = self.control.clone();
        let cancelled = Answer::Evaluated(Err("cancelled".to_owned()));
        self.questions.ask(cancelled, move |inspector| {
            let context = EvaluateContext::Repl;
            let answer = inspector.evaluate(&expression, frame, context, false);
            // What it has printed comes first.
            control.flush();
            Answer::Evaluated(answer)
        });
    }
}

fn ended() -> String {
    "the script has ended; r runs it again, q quits".to_owned()
}
