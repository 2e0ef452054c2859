//! What there is to see at a stop: the stack, the variables of a frame and the
//! watches, as rows. Runs on the Lua thread, and opens only what the user has
//! opened.

use std::collections::HashSet;

use crate::debug::{EvaluateContext, Frame, FrameKind, Inspector, Page, Stack, Variable};

/// Frames that are fetched; a runaway recursion has more.
const MOST_FRAMES: usize = 500;
/// Rows of variables.
const MOST_ROWS: usize = 10_000;
/// Between the names of a path; part of no name that is worth opening.
const SEPARATOR: char = '\u{1}';

/// What to look at.
pub(super) struct Wanted {
    /// Number of the stop that is meant.
    pub(super) stop: u64,
    /// A frame by its id; `None` for the first Lua function.
    pub(super) frame: Option<i64>,
    /// Rows that are not as they begin: opened tables, closed scopes.
    pub(super) toggled: HashSet<String>,
    /// Expressions; `None` to leave the watches alone.
    pub(super) watches: Option<Vec<String>>,
}

/// What was seen.
pub(super) struct Look {
    pub(super) stop: u64,
    pub(super) stack: Stack,
    /// Where the frame is that was looked into.
    pub(super) selected: usize,
    pub(super) variables: Vec<Row>,
    pub(super) watches: Option<Vec<Row>>,
}

/// A scope, variable or watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Tells it from all others, also at the next stop.
    pub(super) path: String,
    pub(super) depth: usize,
    pub(super) name: String,
    pub(super) value: String,
    /// It could not be evaluated; the value says why.
    pub(super) failed: bool,
    /// It has children to show.
    pub(super) openable: bool,
    pub(super) open: bool,
    /// How to change it.
    pub(super) place: Place,
}

/// How a row's value can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not at all.
    Fixed,
    /// By name, in this container.
    Child(i64),
    /// By assigning to the expression.
    Expression,
}

impl Row {
    /// A watch while nothing can be evaluated.
    pub(super) fn unknown(expression: &str) -> Self {
        Self {
            path: format!("{SEPARATOR}{expression}"),
            depth: 0,
            name: expression.to_owned(),
            value: String::new(),
            failed: false,
            openable: false,
            open: false,
            place: Place::Fixed,
        }
    }
}

/// Looks. `None` if the program does not stand still.
pub(super) fn look(inspector: &Inspector<'_>, wanted: Wanted) -> Option<Look> {
    let stack = inspector.stack(0, MOST_FRAMES).ok()?;
    let is_wanted = |frame: &Frame| Some(frame.id) == wanted.frame;
    let is_lua = |frame: &Frame| frame.kind == FrameKind::Lua && frame.line > 0;
    let selected = stack
        .frames
        .iter()
        .position(is_wanted)
        .or_else(|| stack.frames.iter().position(is_lua))
        .unwrap_or(0);
    let frame = stack.frames.get(selected).map(|frame| frame.id);
    let mut tree = Tree { inspector, toggled: &wanted.toggled, rows: Vec::new() };
    for scope in frame.and_then(|frame| inspector.scopes(frame).ok()).unwrap_or_default() {
        let begins_open = !matches!(scope.name.as_str(), "Globals" | "Standard library");
        tree.scope(&scope.name, scope.reference, begins_open);
    }
    let variables = std::mem::take(&mut tree.rows);
    let watches = wanted.watches.map(|expressions| {
        for expression in expressions {
            let value = inspector.evaluate(&expression, frame, EvaluateContext::Watch, false);
            tree.watch(&expression, value);
        }
        tree.rows
    });
    Some(Look { stop: wanted.stop, stack, selected, variables, watches })
}

struct Tree<'a> {
    inspector: &'a Inspector<'a>,
    toggled: &'a HashSet<String>,
    rows: Vec<Row>,
}

impl Tree<'_> {
    fn scope(&mut self, name: &str, reference: i64, begins_open: bool) {
        let open = begins_open != self.toggled.contains(name);
        self.rows.push(Row {
            path: name.to_owned(),
            depth: 0,
            name: name.to_owned(),
            value: String::new(),
            failed: false,
            openable: true,
            open,
            place: Place::Fixed,
        });
        if open {
            self.children(name, 1, reference);
        }
    }

    fn watch(&mut self, expression: &str, value: Result<Variable, String>) {
        let path = format!("{SEPARATOR}{expression}");
        match value {
            Ok(mut variable) => {
                if variable.value.is_empty() {
                    "(no value)".clone_into(&mut variable.value);
                }
                expression.clone_into(&mut variable.name);
                self.variable(&path, 0, variable, Place::Expression);
            }
            Err(message) => self.rows.push(Row {
                path,
                depth: 0,
                name: expression.to_owned(),
                value: message,
                failed: true,
                openable: false,
                open: false,
                place: Place::Fixed,
            }),
        }
    }

    fn children(&mut self, path: &str, depth: usize, reference: i64) {
        let found = self.inspector.variables(reference, Page::default()).unwrap_or_default();
        for variable in found {
            if self.rows.len() >= MOST_ROWS {
                return;
            }
            let writable = variable.writable;
            let place = if writable { Place::Child(reference) } else { Place::Fixed };
            let path = format!("{path}{SEPARATOR}{}", variable.name);
            self.variable(&path, depth, variable, place);
        }
    }

    fn variable(&mut self, path: &str, depth: usize, variable: Variable, place: Place) {
        let openable = variable.reference != 0;
        let open = openable && self.toggled.contains(path);
        let Variable { name, value, reference, .. } = variable;
        let row =
            Row { path: path.to_owned(), depth, name, value, failed: false, openable, open, place };
        self.rows.push(row);
        if open {
            self.children(path, depth + 1, reference);
        }
    }
}
