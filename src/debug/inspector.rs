//! Looking into a VM that stands still (or is between two instructions).

#![allow(unsafe_code)]

use std::{cell::RefCell, collections::HashMap, ffi::c_int, ptr, time::Duration};

use mlua::ffi::{self, lua_State};

use crate::{
    debug::{
        completion,
        core::Core,
        evaluate::Grammar,
        model::{
            Completion, EvaluateContext, Exception, Frame, Page, Scope, Stack, StepInTarget,
            StopReason, Variable,
        },
        render::Renderer,
        stack::{self, Row},
        targets,
        variables::{self, Handle},
    },
    lua::layout::{self, CallInfo},
};

/// Longest run of what is typed into the console.
const REPL_LIMIT: Duration = Duration::from_secs(10);
/// Longest run of a watch expression.
const WATCH_LIMIT: Duration = Duration::from_secs(1);

/// See the module. Lives on the Lua thread for one request.
pub struct Inspector<'a> {
    pub(super) core: &'a Core,
    pub(super) l: *mut lua_State,
    pub(super) handles: &'a Handles,
}

/// What a front end holds on to while the program stands still: frames by id,
/// containers by reference. Both count from 1.
#[derive(Default)]
pub(super) struct Handles {
    pub(super) frames: RefCell<Vec<FramePlace>>,
    /// Where in `frames` a frame is.
    known_frames: RefCell<HashMap<FramePlace, usize>>,
    pub(super) containers: RefCell<Vec<Handle>>,
    /// Registry slot of the table that keeps their values alive.
    pub(super) values: std::cell::Cell<c_int>,
    /// The auxiliary thread, to give the slot back.
    pub(super) owner: std::cell::Cell<*mut lua_State>,
}

/// A frame, or none: then the globals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FramePlace {
    pub(super) l: *mut lua_State,
    pub(super) frame: *mut CallInfo,
}

impl Drop for Handles {
    fn drop(&mut self) {
        let (slot, owner) = (self.values.get(), self.owner.get());
        if slot != 0 && !owner.is_null() {
            // SAFETY: taken with `luaL_ref`, on this thread.
            unsafe { ffi::luaL_unref(owner, ffi::LUA_REGISTRYINDEX, slot) };
        }
    }
}

impl<'a> Inspector<'a> {
    pub(super) fn new(core: &'a Core, l: *mut lua_State, handles: &'a Handles) -> Self {
        Self { core, l, handles }
    }

    /// Whether the program stands still, so that frames can be looked at.
    pub fn stopped(&self) -> bool {
        self.core.stop.borrow().is_some()
    }

    /// A page of the call stack; `levels` 0 means all of it.
    pub fn stack(&self, start: usize, levels: usize) -> Result<Stack, String> {
        let stop = self.core.stop.borrow();
        let stop = stop.as_ref().ok_or("the program is not stopped")?;
        let lua_first = match &stop.reason {
            StopReason::Exception(_) => true,
            // `Debug.breakpoint()` is not what the user wants to see.
            StopReason::Breakpoint(ids) => ids.is_empty(),
            _ => false,
        };
        // SAFETY: the program stands still.
        let rows = || unsafe { stack::rows(stop.l, stop.dead, lua_first) };
        let levels = if levels == 0 { usize::MAX } else { levels };
        let frames = rows().skip(start).take(levels).map(|row| self.frame(row)).collect();
        Ok(Stack { frames, total: rows().count() })
    }

    fn frame(&self, row: Row) -> Frame {
        let place = match row {
            Row::Frame { l, frame } => FramePlace { l, frame },
            _ => FramePlace { l: ptr::null_mut(), frame: ptr::null_mut() },
        };
        let mut frames = self.handles.frames.borrow_mut();
        let next = frames.len();
        let index = if place.frame.is_null() {
            next
        } else {
            *self.handles.known_frames.borrow_mut().entry(place).or_insert(next)
        };
        if index == next {
            frames.push(place);
        }
        let described = stack::describe(self.core, row);
        Frame {
            id: id_of(index),
            name: described.name,
            source: described.source,
            line: described.line,
            kind: described.kind,
        }
    }

    /// The place of a frame by its id; without an id, the globals.
    pub(super) fn place(&self, frame: Option<i64>) -> Result<FramePlace, String> {
        let Some(id) = frame else {
            return Ok(FramePlace { l: self.l, frame: ptr::null_mut() });
        };
        let frames = self.handles.frames.borrow();
        index_of(id)
            .and_then(|index| frames.get(index).copied())
            .map(|place| if place.l.is_null() { FramePlace { l: self.l, ..place } } else { place })
            .ok_or_else(|| "this frame is gone: the program has moved on".to_owned())
    }

    /// The calls on the current line of a frame that could be stepped into; only
    /// the topmost frame has any.
    pub fn step_in_targets(&self, frame: i64) -> Result<Vec<StepInTarget>, String> {
        let place = self.place(Some(frame))?;
        // SAFETY: the program stands still.
        let is_top = unsafe { layout::frames(self.l) }.next() == Some(place.frame);
        if !self.stopped() || !is_top || !Self::is_lua(place) {
            return Ok(Vec::new());
        }
        // SAFETY: as above.
        Ok(unsafe { targets::targets(place) })
    }

    /// The scopes of a frame.
    pub fn scopes(&self, frame: i64) -> Result<Vec<Scope>, String> {
        let place = self.place(Some(frame))?;
        Ok(variables::scopes(self, place))
    }

    /// The children of a container.
    pub fn variables(&self, reference: i64, page: Page) -> Result<Vec<Variable>, String> {
        let handle = self.handle(reference)?;
        Ok(variables::children(self, &handle, page))
    }

    pub(super) fn handle(&self, reference: i64) -> Result<Handle, String> {
        index_of(reference)
            .and_then(|index| self.handles.containers.borrow().get(index).cloned())
            .ok_or_else(|| "this value is gone: the program has moved on".to_owned())
    }

    /// The error that stopped the program.
    pub fn exception(&self) -> Option<Exception> {
        match &self.core.stop.borrow().as_ref()?.reason {
            StopReason::Exception(exception) => Some(exception.clone()),
            _ => None,
        }
    }

    /// Evaluates in a frame, or among the globals.
    pub fn evaluate(
        &self,
        expression: &str,
        frame: Option<i64>,
        context: EvaluateContext,
        hex: bool,
    ) -> Result<Variable, String> {
        let place = self.place(frame)?;
        let renderer = Renderer::new(self.core, hex);
        if context == EvaluateContext::Hover {
            let found = completion::resolve(self, place, expression, &renderer);
            if let Some(found) = found {
                return found;
            }
        }
        let (grammar, limit) = match context {
            EvaluateContext::Repl => (Grammar::Any, REPL_LIMIT),
            EvaluateContext::Hover => (Grammar::Pure, WATCH_LIMIT),
            _ => (Grammar::Expression, WATCH_LIMIT),
        };
        let results = self.core.evaluate(place.l, place.frame, expression, grammar, limit)?;
        let first = results.first();
        if results.count == 0 {
            return Ok(Variable { type_name: "nil".to_owned(), ..Variable::default() });
        }
        if context == EvaluateContext::Clipboard {
            let value = (first..first + results.count).map(|index| renderer.full(index));
            let value = value.collect::<Vec<_>>().join("\n");
            return Ok(Variable { value, ..Variable::default() });
        }
        let path = is_simple(expression).then(|| expression.trim().to_owned());
        let mut shown = variables::variable(self, &renderer, String::new(), first, path, place);
        for index in first + 1..first + results.count {
            shown.value.push_str(", ");
            shown.value.push_str(&renderer.value(index));
        }
        Ok(shown)
    }

    /// Sets a child of a container to the value of an expression in its frame.
    pub fn set_variable(
        &self,
        reference: i64,
        name: &str,
        value: &str,
        hex: bool,
    ) -> Result<Variable, String> {
        let handle = self.handle(reference)?;
        let place = handle.place();
        let results =
            self.core.evaluate(place.l, place.frame, value, Grammar::Expression, WATCH_LIMIT)?;
        if results.count == 0 {
            return Err("the expression has no value".to_owned());
        }
        let renderer = Renderer::new(self.core, hex);
        let first = results.first();
        variables::assign(self, &handle, name, first)?;
        Ok(variables::variable(self, &renderer, name.to_owned(), first, None, place))
    }

    /// Assigns to an expression.
    pub fn set_expression(
        &self,
        expression: &str,
        value: &str,
        frame: Option<i64>,
        hex: bool,
    ) -> Result<Variable, String> {
        let place = self.place(frame)?;
        let assignment = format!("{expression} = ({value})\nreturn {expression}");
        let results =
            self.core.evaluate(place.l, place.frame, &assignment, Grammar::Any, WATCH_LIMIT)?;
        let renderer = Renderer::new(self.core, hex);
        let path = Some(expression.to_owned());
        let first = results.first();
        Ok(variables::variable(self, &renderer, String::new(), first, path, place))
    }

    /// What could be written at a byte offset of a text.
    pub fn completions(
        &self,
        text: &str,
        byte_offset: usize,
        frame: Option<i64>,
    ) -> Vec<Completion> {
        let Ok(place) = self.place(frame) else { return Vec::new() };
        completion::completions(self, place, text, byte_offset)
    }

    /// Whether the frame runs a Lua function.
    pub(super) fn is_lua(place: FramePlace) -> bool {
        // SAFETY: null, or a frame that stands still.
        !place.frame.is_null() && unsafe { (*place.frame).is_lua() }
    }

    /// The activation record of a frame.
    pub(super) fn record(place: FramePlace) -> ffi::lua_Debug {
        layout::activation(place.frame)
    }
}

/// Whether an expression may be put before `.name` to reach a child.
fn is_simple(expression: &str) -> bool {
    let simple = |it: char| it.is_alphanumeric() || matches!(it, '_' | '.' | '[' | ']' | '"');
    !expression.trim().is_empty() && expression.trim().chars().all(simple)
}

/// Protocol ids count from 1.
pub(super) fn id_of(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX - 1) + 1
}

fn index_of(id: i64) -> Option<usize> {
    usize::try_from(id).ok()?.checked_sub(1)
}
