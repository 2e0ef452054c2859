//! Which key does what. The help is made from the same table.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for, outside of prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Continue,
    Over,
    In,
    Out,
    Pause,
    Interrupt,
    Restart,
    Quit,
    ToggleBreakpoint,
    EditBreakpoint,
    DisableBreakpoint,
    ErrorFilters,
    Evaluate,
    AddWatch,
    Remove,
    SetVariable,
    Choose,
    CurrentLine,
    GoTo,
    Search,
    OpenFile,
    NextPane,
    PreviousPane,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Left,
    Right,
    Cancel,
    Suspend,
    Redraw,
    Help,
}

/// A row of the table.
pub(super) struct Binding {
    pub(super) command: Command,
    keys: &'static [(KeyCode, KeyModifiers)],
    /// The keys, as the help names them; empty for what is named elsewhere.
    pub(super) shown: &'static str,
    pub(super) help: &'static str,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const SHIFT: KeyModifiers = KeyModifiers::SHIFT;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

const fn plain(character: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(character), NONE)
}

const fn control(character: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(character), CONTROL)
}

const fn function(number: u8) -> (KeyCode, KeyModifiers) {
    (KeyCode::F(number), NONE)
}

const fn named(code: KeyCode) -> (KeyCode, KeyModifiers) {
    (code, NONE)
}

const fn row(
    command: Command,
    keys: &'static [(KeyCode, KeyModifiers)],
    shown: &'static str,
    help: &'static str,
) -> Binding {
    Binding { command, keys, shown, help }
}

/// All of them, in the order of the help.
pub(super) const BINDINGS: &[Binding] = &[
    row(Command::Continue, &[function(5), plain('c')], "F5 c", "continue"),
    row(Command::Over, &[function(10), plain('n')], "F10 n", "step over"),
    row(Command::In, &[function(11), plain('s')], "F11 s", "step into"),
    row(
        Command::Out,
        // Some terminals count on: Shift-F11 is F23 there.
        &[(KeyCode::F(11), SHIFT), function(23), plain('o')],
        "Shift-F11 o",
        "step out",
    ),
    row(Command::Pause, &[function(6), plain('p')], "F6 p", "pause the running script"),
    row(Command::Interrupt, &[control('c')], "Ctrl-C", "end an evaluation, or pause; twice: quit"),
    row(Command::Restart, &[plain('r')], "r", "run the script again from the start"),
    row(Command::Quit, &[plain('q')], "q", "quit; asks if the script has not ended"),
    row(
        Command::ToggleBreakpoint,
        &[function(9), plain('b')],
        "F9 b",
        "set or remove a breakpoint at the cursor",
    ),
    row(
        Command::EditBreakpoint,
        &[plain('B')],
        "B",
        "its condition, hit condition and log message",
    ),
    row(Command::DisableBreakpoint, &[plain('d')], "d", "disable or enable it"),
    row(Command::ErrorFilters, &[plain('x')], "x", "stop at uncaught errors, at all, at none"),
    row(
        Command::Evaluate,
        &[plain(':'), plain('e')],
        ": e",
        "evaluate in the selected frame; Esc ends it",
    ),
    row(Command::AddWatch, &[plain('w')], "w", "watch an expression"),
    row(
        Command::Remove,
        &[named(KeyCode::Delete), plain('D')],
        "Del D",
        "remove the selected watch",
    ),
    row(Command::SetVariable, &[plain('=')], "=", "set the selected variable"),
    row(
        Command::Choose,
        &[named(KeyCode::Enter)],
        "Enter",
        "select a frame; open or close a table",
    ),
    row(Command::CurrentLine, &[plain('.')], ".", "show the line of the selected frame"),
    row(Command::GoTo, &[plain('g')], "g", "go to a line"),
    row(Command::Search, &[plain('/')], "/", "search in the source; nothing: again"),
    row(Command::OpenFile, &[plain('f')], "f", "show another source or file"),
    row(Command::NextPane, &[named(KeyCode::Tab)], "Tab", "next pane; Shift-Tab: the one before"),
    row(
        Command::PreviousPane,
        &[named(KeyCode::BackTab), (KeyCode::BackTab, SHIFT)],
        "",
        "previous pane",
    ),
    row(Command::Up, &[named(KeyCode::Up), plain('k')], "arrows hjkl", "move, scroll"),
    row(Command::Down, &[named(KeyCode::Down), plain('j')], "", "down"),
    row(Command::Left, &[named(KeyCode::Left), plain('h')], "", "left"),
    row(Command::Right, &[named(KeyCode::Right), plain('l')], "", "right"),
    row(Command::PageUp, &[named(KeyCode::PageUp), control('b')], "PgUp PgDn", "move by a page"),
    row(Command::PageDown, &[named(KeyCode::PageDown), control('f')], "", "page down"),
    row(Command::First, &[named(KeyCode::Home)], "Home End", "to the first or last line"),
    row(Command::Last, &[named(KeyCode::End), plain('G')], "", "last"),
    row(Command::Cancel, &[named(KeyCode::Esc)], "Esc", "end an evaluation; leave a prompt"),
    row(Command::Suspend, &[control('z')], "Ctrl-Z", "suspend llmspell; fg comes back"),
    row(Command::Redraw, &[control('l')], "Ctrl-L", "draw the screen again"),
    row(Command::Help, &[plain('?'), function(1)], "? F1", "this help"),
];

/// What a key asks for, if anything.
pub(super) fn command(key: KeyEvent) -> Option<Command> {
    let mut modifiers = key.modifiers;
    if matches!(key.code, KeyCode::Char(_)) {
        // The character says it already.
        modifiers.remove(SHIFT);
    }
    let pressed = (key.code, modifiers);
    BINDINGS.iter().find(|binding| binding.keys.contains(&pressed)).map(|binding| binding.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things() {
        let keys: Vec<_> = BINDINGS.iter().flat_map(|binding| binding.keys).collect();
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{key:?}");
        }
    }

    #[test]
    fn keys_are_found_as_terminals_send_them() {
        let check = |code, modifiers, expected| {
            assert_eq!(command(KeyEvent::new(code, modifiers)), expected, "{code:?}");
        };
        check(KeyCode::F(11), SHIFT, Some(Command::Out));
        check(KeyCode::Char('B'), SHIFT, Some(Command::EditBreakpoint));
        check(KeyCode::Char('b'), NONE, Some(Command::ToggleBreakpoint));
        check(KeyCode::Char('c'), CONTROL, Some(Command::Interrupt));
        check(KeyCode::Char('c'), KeyModifiers::ALT, None);
    }
}
