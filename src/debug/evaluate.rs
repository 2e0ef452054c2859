//! Evaluation in a frame.
//!
//! Inside a hook Lua calls no other hook on the same coroutine, so an evaluation
//! there could never be ended: it runs on a coroutine of its own, with a count
//! hook that watches a deadline and a flag. Names are looked up in the frame
//! through a table with `__index` and `__newindex`, so locals and upvalues are
//! read and written where they are.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_int},
    ptr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use mlua::ffi::{self, lua_State};

use crate::{
    debug::{
        breakpoints::Live,
        core::{Core, Link, current, head, running, set_head},
        errors,
        render::Renderer,
        shared::EVALUATING,
    },
    lua::{
        layout::{self, CallInfo},
        raw,
    },
};

/// Longest run of a condition or log expression.
const CONDITION_LIMIT: Duration = Duration::from_secs(1);

/// Name of the chunks that front ends type.
pub(super) const CHUNK_NAME: &CStr = c"=(debug console)";

/// Results of an evaluation: the top `count` values of the auxiliary stack.
pub(super) struct Results<'a> {
    core: &'a Core,
    base: c_int,
    pub(super) count: c_int,
}

impl Results<'_> {
    /// Stack index of the first result.
    pub(super) fn first(&self) -> c_int {
        self.base + 1
    }
}

impl Drop for Results<'_> {
    fn drop(&mut self) {
        // SAFETY: drops what the evaluation has left.
        unsafe { ffi::lua_settop(self.core.aux, self.base) };
    }
}

/// What an evaluation may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    Expression,
    /// An expression that calls nothing.
    Pure,
    /// An expression, or else statements.
    Any,
}

impl Core {
    /// Why the running evaluation has to end now, if it has.
    pub(super) fn evaluation_ended(&self) -> Option<&'static CStr> {
        let reason = if self.shared.cancel_evaluation.load(Ordering::SeqCst) {
            c"cancelled"
        } else if self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
            c"the evaluation took too long and was ended"
        } else {
            return None;
        };
        self.evaluation_over.set(true);
        Some(reason)
    }

    /// Whether a pure evaluation may enter the function that `l` is about to run:
    /// only its own chunk and the look-up of names.
    pub(super) fn may_enter(l: *mut lua_State) -> bool {
        // SAFETY: a call event; one free slot.
        unsafe {
            let state = &raw mut *layout::state(l);
            let frame = (*state).ci;
            if (*frame).previous == &raw mut (*state).base_ci {
                return true;
            }
            let mut record = layout::activation(frame);
            raw::get_info(l, c"f", &mut record);
            let function = raw::c_function_at(l, -1);
            ffi::lua_pop(l, 1);
            function == read_name as *mut std::ffi::c_void
        }
    }

    /// Evaluates a text in a frame (null: among the globals).
    pub(super) fn evaluate(
        &self,
        l: *mut lua_State,
        frame: *mut CallInfo,
        text: &str,
        grammar: Grammar,
        limit: Duration,
    ) -> Result<Results<'_>, String> {
        let aux = self.aux;
        // SAFETY: the auxiliary thread never runs; its stack is ours.
        unsafe {
            if ffi::lua_checkstack(aux, 20) == 0 {
                return Err("out of memory".to_owned());
            }
            let base = ffi::lua_gettop(aux);
            let co = ffi::lua_newthread(aux);
            let compiled = compile(co, text, grammar);
            if compiled.is_ok() {
                push_environment(co);
                ffi::lua_setupvalue(co, -2, 1);
            }
            let outcome = compiled.and_then(|()| {
                let count = push_varargs(l, frame, co);
                let before = self.pure.replace(grammar == Grammar::Pure);
                let outcome = self.run(co, l, frame, count, limit);
                self.pure.set(before);
                outcome
            });
            match outcome {
                Ok(count) => {
                    ffi::lua_checkstack(aux, count + 4);
                    ffi::lua_xmove(co, aux, count);
                    ffi::lua_remove(aux, base + 1);
                    Ok(Results { core: self, base, count })
                }
                Err(message) => {
                    ffi::lua_settop(aux, base);
                    Err(message)
                }
            }
        }
    }

    /// Calls the function below the top `count` values of `co`, a coroutine made
    /// for this; its results stay there, their number is returned.
    ///
    /// # Safety
    /// `co` must be fresh but for the function and its arguments.
    pub(super) unsafe fn run(
        &self,
        co: *mut lua_State,
        l: *mut lua_State,
        frame: *mut CallInfo,
        count: c_int,
        limit: Duration,
    ) -> Result<c_int, String> {
        let before = (self.frame.replace((l, frame)), self.deadline.get());
        let nested = self.attention() & EVALUATING != 0;
        if !nested {
            self.deadline.set(Some(Instant::now() + limit));
            self.evaluation_over.set(false);
            self.shared.cancel_evaluation.store(false, Ordering::SeqCst);
            self.shared.attention.fetch_or(EVALUATING, Ordering::SeqCst);
        }
        self.watch_evaluation(co);
        let link = Link { running: co, previous: head(), wraps: false };
        set_head(&raw const link);
        let mut results = 0;
        // SAFETY: by the caller's promise; `lua_resume` catches everything.
        let status = unsafe {
            let status = ffi::lua_resume(co, ptr::null_mut(), count, &raw mut results);
            if status == ffi::LUA_YIELD {
                // Here: what this closes is part of the evaluation.
                ffi::lua_closethread(co, ptr::null_mut());
            }
            status
        };
        set_head(link.previous);
        self.frame.set(before.0);
        if !nested {
            self.deadline.set(before.1);
            self.evaluation_over.set(false);
            self.shared.attention.fetch_and(!EVALUATING, Ordering::SeqCst);
            // Kicks have hooked the coroutine that is over.
            self.heed(running());
        }
        // SAFETY: an error object or results are on top.
        unsafe {
            match status {
                ffi::LUA_OK => Ok(results),
                ffi::LUA_YIELD => Err("attempt to yield from the debugger".to_owned()),
                _ => {
                    ffi::lua_checkstack(co, 20);
                    errors::name_native_error(co);
                    Err(Renderer::plain_message(co, -1))
                }
            }
        }
    }

    /// Evaluates a breakpoint's condition, compiled on its first use.
    pub(super) fn evaluate_condition(
        &self,
        l: *mut lua_State,
        frame: *mut CallInfo,
        live: &Arc<Live>,
        text: &str,
    ) -> Result<bool, String> {
        let aux = self.aux;
        // SAFETY: as in `evaluate`.
        unsafe {
            ffi::lua_checkstack(aux, 10);
            let base = ffi::lua_gettop(aux);
            let co = ffi::lua_newthread(aux);
            let compiled = self.push_condition(co, live, text);
            let outcome = compiled.and_then(|()| {
                let count = push_varargs(l, frame, co);
                self.run(co, l, frame, count, CONDITION_LIMIT)
            });
            let holds = outcome.map(|count| count > 0 && ffi::lua_toboolean(co, -count) != 0);
            ffi::lua_settop(aux, base);
            holds
        }
    }

    /// Pushes the compiled condition.
    unsafe fn push_condition(
        &self,
        co: *mut lua_State,
        live: &Arc<Live>,
        text: &str,
    ) -> Result<(), String> {
        // SAFETY: a fresh coroutine.
        unsafe {
            let known = live.compiled.load(Ordering::Relaxed);
            if known > 0 {
                ffi::lua_rawgeti(co, ffi::LUA_REGISTRYINDEX, known.into());
                return Ok(());
            }
            compile(co, text, Grammar::Expression)?;
            push_environment(co);
            ffi::lua_setupvalue(co, -2, 1);
            ffi::lua_pushvalue(co, -1);
            let slot = ffi::luaL_ref(co, ffi::LUA_REGISTRYINDEX);
            live.compiled.store(slot, Ordering::Relaxed);
            // To be freed when the breakpoints change.
            self.compiled.borrow_mut().push(Arc::downgrade(live));
        }
        Ok(())
    }

    /// Evaluates an expression and renders its first result.
    pub(super) fn evaluate_text(
        &self,
        l: *mut lua_State,
        frame: *mut CallInfo,
        text: &str,
    ) -> Result<String, String> {
        let results = self.evaluate(l, frame, text, Grammar::Expression, CONDITION_LIMIT)?;
        if results.count == 0 {
            return Ok("nil".to_owned());
        }
        let renderer = Renderer::new(self, false);
        // SAFETY: the result is on the auxiliary stack.
        Ok(unsafe { renderer.message_on(self.aux, results.first()) })
    }
}

/// Compiles a text; the function stays on `co`.
unsafe fn compile(co: *mut lua_State, text: &str, grammar: Grammar) -> Result<(), String> {
    let load = |text: &str| {
        // SAFETY: a coroutine with room for one value.
        unsafe {
            let (bytes, length) = (text.as_ptr().cast(), text.len());
            let status =
                ffi::luaL_loadbufferx(co, bytes, length, CHUNK_NAME.as_ptr(), c"t".as_ptr());
            if status == ffi::LUA_OK {
                return Ok(());
            }
            let message = raw::lossless_text(raw::string_at(co, -1).unwrap_or_default());
            ffi::lua_pop(co, 1);
            Err(message.replace("(debug console):1: ", ""))
        }
    };
    // A line break, so that a comment at the end hides nothing.
    let expression = text.trim_start().strip_prefix('=').unwrap_or(text);
    match load(&format!("return {expression}\n")) {
        // What ends too early is not mended by taking it for a statement.
        Err(error) if grammar == Grammar::Any => {
            load(text).map_err(|other| if error.ends_with("<eof>") { error } else { other })
        }
        other => other,
    }
}

/// Pushes the frame's varargs onto `co`; returns their number.
unsafe fn push_varargs(l: *mut lua_State, frame: *mut CallInfo, co: *mut lua_State) -> c_int {
    // SAFETY: `frame` is null or a live frame of `l`, which stands still.
    unsafe {
        if frame.is_null() || !(*frame).is_lua() {
            return 0;
        }
        let record = layout::activation(frame);
        let mut count = 0;
        while count < 200 && !ffi::lua_getlocal(l, &raw const record, -(count + 1)).is_null() {
            ffi::lua_checkstack(co, 2);
            ffi::lua_xmove(l, co, 1);
            count += 1;
        }
        count
    }
}

/// Pushes the table through which an evaluation sees names.
unsafe fn push_environment(l: *mut lua_State) {
    // SAFETY: three slots on a fresh coroutine.
    unsafe {
        ffi::lua_createtable(l, 0, 0);
        ffi::lua_createtable(l, 0, 2);
        raw::set_function(l, -1, c"__index", read_name);
        raw::set_function(l, -1, c"__newindex", write_name);
        ffi::lua_setmetatable(l, -2);
    }
}

/// Where a name leads in a frame.
pub(super) enum Binding {
    Local(c_int),
    Upvalue(c_int),
    Global,
}

/// Looks a name up in a frame: the innermost local, else the upvalue.
///
/// # Safety
/// `frame` must be null or a live frame of `l`, which stands still with two free
/// slots.
pub(super) unsafe fn bind(l: *mut lua_State, frame: *mut CallInfo, name: &CStr) -> Binding {
    // SAFETY: each name comes with a value, popped at once.
    unsafe {
        if frame.is_null() || !(*frame).is_lua() {
            return Binding::Global;
        }
        let mut record = layout::activation(frame);
        let mut binding = Binding::Global;
        for index in 1.. {
            let local = ffi::lua_getlocal(l, &raw const record, index);
            if local.is_null() {
                break;
            }
            ffi::lua_pop(l, 1);
            if CStr::from_ptr(local) == name {
                binding = Binding::Local(index);
            }
        }
        if matches!(binding, Binding::Local(_)) {
            return binding;
        }
        raw::get_info(l, c"f", &mut record);
        for index in 1.. {
            let upvalue = ffi::lua_getupvalue(l, -1, index);
            if upvalue.is_null() {
                break;
            }
            ffi::lua_pop(l, 1);
            if CStr::from_ptr(upvalue) == name {
                binding = Binding::Upvalue(index);
                break;
            }
        }
        ffi::lua_pop(l, 1);
        binding
    }
}

/// Pushes, on `to`, the value a local or upvalue has; nothing for a global.
///
/// # Safety
/// As for [`bind`]; `to` is another state with a free slot.
pub(super) unsafe fn push_bound(
    l: *mut lua_State,
    frame: *mut CallInfo,
    binding: &Binding,
    to: *mut lua_State,
) -> bool {
    // SAFETY: the binding was found in this frame.
    unsafe {
        let mut record = layout::activation(frame);
        match binding {
            Binding::Local(index) => {
                ffi::lua_getlocal(l, &raw const record, *index);
            }
            Binding::Upvalue(index) => {
                raw::get_info(l, c"f", &mut record);
                ffi::lua_getupvalue(l, -1, *index);
                ffi::lua_remove(l, -2);
            }
            Binding::Global => return false,
        }
        ffi::lua_xmove(l, to, 1);
        true
    }
}

/// Sets a local or upvalue to the value on top of `from`, which is popped.
///
/// # Safety
/// As for [`push_bound`].
pub(super) unsafe fn set_bound(
    l: *mut lua_State,
    frame: *mut CallInfo,
    binding: &Binding,
    from: *mut lua_State,
) {
    // SAFETY: the binding was found in this frame.
    unsafe {
        let mut record = layout::activation(frame);
        match binding {
            Binding::Local(index) => {
                ffi::lua_xmove(from, l, 1);
                ffi::lua_setlocal(l, &raw const record, *index);
            }
            Binding::Upvalue(index) => {
                raw::get_info(l, c"f", &mut record);
                ffi::lua_xmove(from, l, 1);
                ffi::lua_setupvalue(l, -2, *index);
                ffi::lua_pop(l, 1);
            }
            Binding::Global => ffi::lua_pop(from, 1),
        }
    }
}

/// Pushes, on `to`, the table of the frame's globals: its `_ENV`.
///
/// # Safety
/// As for [`push_bound`].
pub(super) unsafe fn push_globals(l: *mut lua_State, frame: *mut CallInfo, to: *mut lua_State) {
    // SAFETY: by the caller's promise.
    unsafe {
        if !frame.is_null() && (*frame).is_lua() {
            let binding = bind(l, frame, c"_ENV");
            if push_bound(l, frame, &binding, to) {
                return;
            }
        }
        ffi::lua_rawgeti(to, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS);
    }
}

/// The frame in which an evaluation on `l` looks names up; nulls if it is among
/// the globals.
fn frame_seen_from(l: *mut lua_State) -> (*mut lua_State, *mut CallInfo) {
    let nowhere = (ptr::null_mut(), ptr::null_mut());
    let place = current().map_or(nowhere, |core| core.frame.get());
    if place.0 == l { nowhere } else { place }
}

/// Where the key at index 2 of `l` leads in that frame, if it is no global.
///
/// # Safety
/// Called from [`read_name`] and [`write_name`]: the frame stands still.
unsafe fn bound_name(l: *mut lua_State) -> Option<(*mut lua_State, *mut CallInfo, Binding)> {
    let (at, frame) = frame_seen_from(l);
    // SAFETY: by the caller's promise.
    unsafe {
        let name = CString::new(raw::string_at(l, 2)?).ok()?;
        match bind(at, frame, &name) {
            Binding::Global => None,
            binding => Some((at, frame, binding)),
        }
    }
}

/// `__index` of the environment.
unsafe extern "C-unwind" fn read_name(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. Everything with a destructor is gone before a
    // metamethod may raise.
    unsafe {
        if let Some((at, frame, binding)) = bound_name(l) {
            push_bound(at, frame, &binding, l);
            return 1;
        }
        let (at, frame) = frame_seen_from(l);
        push_globals(at, frame, l);
        ffi::lua_pushvalue(l, 2);
        ffi::lua_gettable(l, -2);
        1
    }
}

/// `__newindex` of the environment.
unsafe extern "C-unwind" fn write_name(l: *mut lua_State) -> c_int {
    // SAFETY: as for `read_name`.
    unsafe {
        if let Some((at, frame, binding)) = bound_name(l) {
            ffi::lua_pushvalue(l, 3);
            set_bound(at, frame, &binding, l);
            return 0;
        }
        let (at, frame) = frame_seen_from(l);
        push_globals(at, frame, l);
        ffi::lua_pushvalue(l, 2);
        ffi::lua_pushvalue(l, 3);
        ffi::lua_settable(l, -3);
        0
    }
}
