//! Errors: seeing them where they are thrown, telling caught from uncaught,
//! and what becomes of those that nothing catches.
//!
//! Lua calls the handler of the innermost protected call with the throwing stack
//! intact. Every protected call of ours has one ([`crate::debug::calls`]), and the
//! outermost is [`on_uncaught_error`]. A coroutine without a protected call has
//! no handler, but its stack stays whole when it dies, so its resumer looks
//! there before anything is unwound.

#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    ptr,
};

use mlua::{
    Lua,
    ffi::{self, lua_State},
};

use crate::{
    debug::{
        breakpoints::Tables,
        core::{Core, Link, Verdict, current, running},
        hook,
        loading::{Program, Show},
        model::{Exception, ExceptionFilter, StopReason},
        render::Renderer,
        shared::{EVALUATING, StopRequest},
        stack,
        stop::Stop,
    },
    lua::{layout, raw},
};

/// What a script reads when it has used up its memory.
pub(super) const MEMORY_LIMIT_EXCEEDED: &str = "Memory limit exceeded";

/// How a program failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An error that nothing caught.
    Error {
        /// The message, with `file:line:` if Lua gave it one.
        message: String,
        /// `stack traceback:` and the frames, resumers below coroutines.
        traceback: String,
    },
    /// It was ended from outside.
    Stopped(StopRequest),
}

/// The error filters and other settings, as the Lua thread sees them.
#[derive(Default)]
pub(super) struct Filters {
    all: Option<ExceptionFilter>,
    uncaught: Option<ExceptionFilter>,
    /// See [`Tables::roots`].
    pub(super) roots: Option<Vec<PathBuf>>,
}

impl Filters {
    pub(super) fn new(tables: &Tables, attached: bool) -> Self {
        if !attached {
            return Self::default();
        }
        Self {
            all: tables.filters.all.clone(),
            uncaught: tables.filters.uncaught.clone(),
            roots: tables.effective_roots(),
        }
    }
}

/// Notes Lua's own `error` and `assert`.
///
/// # Safety
/// Protected, with five free stack slots.
pub(super) unsafe fn remember_throwers(core: &Core, l: *mut lua_State) {
    // SAFETY: by the caller's promise.
    unsafe {
        ffi::lua_getglobal(l, c"error".as_ptr());
        ffi::lua_getglobal(l, c"assert".as_ptr());
        core.thrower.set((raw::c_function_at(l, -2), raw::c_function_at(l, -1)));
        ffi::lua_pop(l, 2);
    }
}

/// Notes what the errors of native functions look like: the metatable of one.
///
/// # Errors
/// If memory is out.
pub(super) fn remember_native_errors(core: &Core, lua: &Lua) -> mlua::Result<()> {
    let probe =
        lua.create_function(|_, ()| -> mlua::Result<()> { Err(mlua::Error::runtime("probe")) })?;
    // SAFETY: runs protected; the function is the only argument.
    unsafe {
        lua.exec_raw::<()>(probe, |l| {
            ffi::lua_pcall(l, 0, 0, 0);
            if ffi::lua_getmetatable(l, -1) != 0 {
                core.native_error.set(ffi::lua_topointer(l, -1));
            }
            ffi::lua_settop(l, 0);
        })
    }
}

/// Handler of `pcall`.
pub(super) unsafe extern "C-unwind" fn on_caught_error(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with the error object.
    unsafe { handle(l, true) };
    1
}

/// Handler of `xpcall`: looks, then calls the user's own (its upvalue).
pub(super) unsafe extern "C-unwind" fn on_handled_error(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with the error object.
    unsafe {
        handle(l, true);
        if current().is_some_and(Core::must_unwind) {
            return 1;
        }
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, 1, 1);
    }
    1
}

/// Handler of the outermost call: the error will end the program.
unsafe extern "C-unwind" fn on_uncaught_error(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with the error object.
    unsafe {
        handle(l, false);
        if let Some(core) = current() {
            let trace = catch_unwind(AssertUnwindSafe(|| stack::traceback(core, l, 1)));
            let mut traces = core.dead_traces.take();
            traces.push(trace.unwrap_or_default());
            // Another error, from a closing handler, may take the place of this.
            *core.last_trace.borrow_mut() = traces.join("\n\t(coroutine resumed from)");
        }
    }
    1
}

/// What all handlers do first.
unsafe fn handle(l: *mut lua_State, caught: bool) {
    let Some(core) = current() else { return };
    // SAFETY: called by Lua with the error object at index 1.
    let verdict = unsafe {
        ffi::lua_settop(l, 1);
        if ffi::lua_type(l, 1) == ffi::LUA_TUSERDATA {
            name_native_error(l);
        }
        let seen = core.propagating.replace(false);
        if seen || core.must_unwind() || core.attention() & EVALUATING != 0 {
            return;
        }
        catch_unwind(AssertUnwindSafe(|| core.on_error(l, l, caught))).unwrap_or(Verdict::Go)
    };
    if verdict == Verdict::Unwind {
        // SAFETY: nothing is left to drop.
        unsafe { hook::raise_stop(l) };
    }
}

/// A coroutine has died of an error, with nothing in it to catch it.
///
/// # Safety
/// `co` has just failed under `link`; its error object is on top of its stack.
pub(super) unsafe fn on_dead_coroutine(
    core: &Core,
    l: *mut lua_State,
    co: *mut lua_State,
    link: &Link,
) {
    let looked = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as for this function. A dead coroutine has no room left.
        unsafe {
            ffi::lua_checkstack(co, 20);
            if ffi::lua_type(co, -1) == ffi::LUA_TUSERDATA {
                name_native_error(co);
            }
        }
        let seen = core.propagating.replace(false);
        if !seen && core.attention() & EVALUATING == 0 {
            let caught = !link.wraps || is_caught_below(link);
            // The verdict shows in `must_unwind`, which the caller asks next.
            let _ = core.on_error(l, co, caught);
        }
        if link.wraps {
            let trace = stack::traceback(core, co, 0);
            core.dead_traces.borrow_mut().push(trace);
        }
    }));
    if looked.is_err() {
        tracing::error!("looking at a failed coroutine failed");
    }
}

/// Whether an error that leaves the coroutine of `link` will be caught.
fn is_caught_below(link: &Link) -> bool {
    // SAFETY: links live as long as they are reachable from the head.
    let Some(resumer) = (unsafe { link.previous.as_ref() }) else { return false };
    // SAFETY: the resumer stands still.
    match unsafe { layout::error_handler(resumer.running) } {
        Some(handler) => handler != on_uncaught_error as *mut c_void,
        None if resumer.previous.is_null() => false,
        None => !resumer.wraps || is_caught_below(resumer),
    }
}

/// Errors of native functions are objects of the bridge to Rust; scripts are to
/// see strings, with a position, as from Lua's own library.
///
/// # Safety
/// A userdata on top of the stack of `l`, in an error handler or a dead
/// coroutine.
pub(super) unsafe fn name_native_error(l: *mut lua_State) {
    // SAFETY: by the caller's promise.
    unsafe {
        let Some(message) = native_error_text(l) else { return };
        ffi::lua_pop(l, 1);
        // Level 0 is the handler, if there is one; the native function is next.
        let mut frames = layout::frames(l).skip_while(|&frame| !(*frame).is_lua());
        let position = frames.next().map(|frame| {
            let mut record = layout::activation(frame);
            raw::get_info(l, c"Sl", &mut record);
            format!("{}:{}: ", raw::text(record.short_src.as_ptr()), record.currentline)
        });
        let text = position.unwrap_or_default() + &message;
        raw::push_bytes(l, text.as_bytes());
    }
}

/// The text of the mlua error on top of the stack, if it is one.
unsafe fn native_error_text(l: *mut lua_State) -> Option<String> {
    // SAFETY: by the caller's promise; mlua's errors have a `__tostring` that
    // calls no Lua.
    unsafe {
        if ffi::lua_getmetatable(l, -1) == 0 {
            return None;
        }
        let metatable = ffi::lua_topointer(l, -1);
        ffi::lua_pop(l, 1);
        let core = current().filter(|core| core.native_error.get() == metatable)?;
        // A dead coroutine cannot call.
        ffi::lua_checkstack(core.aux, 5);
        ffi::lua_pushvalue(l, -1);
        ffi::lua_xmove(l, core.aux, 1);
        ffi::luaL_tolstring(core.aux, -1, ptr::null_mut());
        let text = raw::lossless_text(raw::string_at(core.aux, -1).unwrap_or_default());
        ffi::lua_pop(core.aux, 2);
        // mlua appends a traceback and names the kind of error.
        let text = text.split("\nstack traceback:").next().unwrap_or_default();
        Some(in_words_of_lua(text.trim_start_matches("runtime error: ")))
    }
}

/// `bad argument #1: error converting Lua string to f64 (…)`, as Lua would say
/// it.
fn in_words_of_lua(text: &str) -> String {
    let said = || {
        let (argument, problem) = text.strip_prefix("bad argument #")?.split_once(": ")?;
        let (given, wanted) = problem.strip_prefix("error converting Lua ")?.split_once(" to ")?;
        if problem.ends_with("(out of range)") {
            return Some(format!("bad argument #{argument} (number out of range)"));
        }
        let wanted = match wanted.split(' ').next()? {
            "f64" => "number",
            "String" => "string",
            "bool" => "boolean",
            "table" | "Table" => "table",
            _ => "integer",
        };
        Some(format!("bad argument #{argument} ({wanted} expected, got {given})"))
    };
    said().unwrap_or_else(|| text.to_owned())
}

impl Core {
    /// An error was thrown in `thrower` (dead, if it is not `l`); its object is
    /// on top of that stack. Stops if a filter says so.
    fn on_error(&self, l: *mut lua_State, thrower: *mut lua_State, caught: bool) -> Verdict {
        self.refresh();
        let filters = {
            let filters = self.filters.borrow();
            let uncaught = (!caught).then(|| filters.uncaught.clone()).flatten();
            [filters.all.clone(), uncaught]
        };
        if filters.iter().all(Option::is_none) {
            return Verdict::Go;
        }
        let exception = self.describe_error(thrower, caught);
        let wanted = filters.iter().flatten().any(|filter| match &filter.condition {
            None => true,
            Some(condition) => self.message_matches(thrower, &exception.message, condition),
        });
        if !wanted {
            return Verdict::Go;
        }
        // SAFETY: one slot each; the object stays on the auxiliary stack while
        // the program stands still.
        let error = unsafe {
            ffi::lua_checkstack(self.aux, 2);
            ffi::lua_pushvalue(thrower, -1);
            ffi::lua_xmove(thrower, self.aux, 1);
            ffi::lua_gettop(self.aux)
        };
        let dead = if l == thrower { ptr::null_mut() } else { thrower };
        let reason = StopReason::Exception(exception);
        let verdict = self.stop_with(Stop { l, reason, error: Some(error), dead });
        // SAFETY: drops the error object.
        unsafe { ffi::lua_settop(self.aux, error - 1) };
        verdict
    }

    fn describe_error(&self, l: *mut lua_State, caught: bool) -> Exception {
        let renderer = Renderer::new(self, false);
        // SAFETY: the error object is on top of the stack of `l`.
        unsafe {
            let type_name = renderer.type_name_on(l, -1);
            let message = renderer.message_on(l, -1);
            let fields = renderer.fields_on(l, -1);
            let kind = if ffi::lua_type(l, -1) == ffi::LUA_TTABLE && type_name != "table" {
                type_name.clone()
            } else {
                self.kind_of_throw(l).to_owned()
            };
            // In a handler, the handler itself comes first.
            let traceback = stack::full_traceback(self, l, usize::from(l == running()));
            Exception { kind, message, type_name, caught, traceback, fields }
        }
    }

    /// Who threw: `error`, `assert`, or Lua itself or a native function.
    unsafe fn kind_of_throw(&self, l: *mut lua_State) -> &'static str {
        let (error, assert) = self.thrower.get();
        // SAFETY: `l` stands still; one free slot.
        unsafe {
            for frame in layout::frames(l).take(2).filter(|&frame| !(*frame).is_lua()) {
                let mut record = layout::activation(frame);
                raw::get_info(l, c"f", &mut record);
                let function = raw::c_function_at(l, -1);
                ffi::lua_pop(l, 1);
                if function == error {
                    return "error";
                }
                if function == assert {
                    return "assert";
                }
            }
        }
        "runtime error"
    }

    /// Searches a Lua pattern in a message; one that is no pattern is searched
    /// as it is.
    fn message_matches(&self, l: *mut lua_State, message: &str, pattern: &str) -> bool {
        let call = format!(
            "string.find({}, {})",
            crate::debug::render::quoted(message.as_bytes()),
            crate::debug::render::quoted(pattern.as_bytes())
        );
        match self.evaluate_text(l, ptr::null_mut(), &call) {
            Ok(found) => found != "nil",
            Err(_) => message.contains(pattern),
        }
    }
}

/// Calls the chunk on top of the main stack.
///
/// # Safety
/// On the Lua thread, with nothing running.
pub(super) unsafe fn call(core: &Core, program: &Program) -> Result<Vec<String>, Failure> {
    let l = core.main;
    // SAFETY: the chunk is on top; the handler goes below it.
    unsafe {
        let base = ffi::lua_gettop(l);
        ffi::lua_pushcfunction(l, on_uncaught_error);
        ffi::lua_insert(l, base);
        let count = program.args.len();
        ffi::lua_checkstack(l, c_int::try_from(count).unwrap_or(c_int::MAX));
        for argument in &program.args {
            raw::push_bytes(l, argument.as_bytes());
        }
        core.dead_traces.borrow_mut().clear();
        core.last_trace.borrow_mut().clear();
        let count = c_int::try_from(count).unwrap_or(0);
        let status = ffi::lua_pcallk(l, count, ffi::LUA_MULTRET, base, 0, None);
        if let Some(request) = core.shared.stop_request() {
            return Err(Failure::Stopped(request));
        }
        if status != ffi::LUA_OK {
            return Err(failure(core, l, status));
        }
        let renderer = Renderer::new(core, false);
        let show = |index| match program.show {
            Show::Text => renderer.message_on(l, index),
            Show::Pretty => renderer.pretty_on(l, index),
        };
        Ok((base + 1..=ffi::lua_gettop(l)).map(show).collect())
    }
}

/// The error on top of the stack, as the user reads it.
pub(super) unsafe fn failure(core: &Core, l: *mut lua_State, status: c_int) -> Failure {
    // SAFETY: an error object is on top of the stack.
    unsafe {
        if status == ffi::LUA_ERRMEM {
            core.name_memory_error(l);
        }
        let kind = ffi::lua_type(l, -1);
        let is_text = matches!(kind, ffi::LUA_TSTRING | ffi::LUA_TNUMBER);
        let message = if is_text || ffi::luaL_getmetafield(l, -1, c"__tostring".as_ptr()) != 0 {
            if !is_text {
                ffi::lua_pop(l, 1);
            }
            Renderer::new(core, false).message_on(l, -1)
        } else {
            format!("(error object is a {} value)", raw::type_name(l, -1))
        };
        let trace = core.last_trace.take();
        let traceback = if trace.is_empty() { trace } else { format!("stack traceback:{trace}") };
        Failure::Error { message, traceback }
    }
}
