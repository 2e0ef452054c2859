//! `pcall`, `xpcall`, and the `resume`, `wrap` and `close` of coroutines, with the
//! same results as Lua's own and three things more: errors are seen where they are
//! thrown, the running coroutine is known, and nothing catches the end of the
//! program.
//!
//! These functions may be left by `longjmp`; none of them holds anything that
//! would have to be dropped when Lua is called.

#![allow(unsafe_code)]

use std::ffi::c_int;

use mlua::ffi::{self, lua_KContext, lua_State};

use crate::{
    debug::{
        core::{Core, Link, current, head, set_head},
        errors, hook,
    },
    lua::{layout, raw},
};

/// A coroutine with this status (`LUA_YIELD`) or less has not died of an error.
const ALIVE: u8 = 1;

/// Replaces the functions in the globals of `l`.
///
/// # Safety
/// Protected, with ten free stack slots.
pub(super) unsafe fn install(l: *mut lua_State) {
    // SAFETY: by the caller's promise.
    unsafe {
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS);
        raw::set_function(l, -1, c"pcall", pcall);
        raw::set_function(l, -1, c"xpcall", xpcall);
        ffi::lua_getfield(l, -1, c"coroutine".as_ptr());
        raw::set_function(l, -1, c"resume", resume);
        raw::set_function(l, -1, c"wrap", wrap);
        raw::set_function(l, -1, c"close", close);
        ffi::lua_pop(l, 2);
    }
}

/// `pcall (f [, arg1, ···])`
unsafe extern "C-unwind" fn pcall(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        ffi::luaL_checkany(l, 1);
        // handler, true, f, args...
        ffi::lua_pushcfunction(l, errors::on_caught_error);
        ffi::lua_insert(l, 1);
        ffi::lua_pushboolean(l, 1);
        ffi::lua_insert(l, 2);
        let count = ffi::lua_gettop(l) - 3;
        let status = ffi::lua_pcallk(l, count, ffi::LUA_MULTRET, 1, 1, Some(finish));
        finish(l, status, 1)
    }
}

/// `xpcall (f, msgh [, arg1, ···])`
unsafe extern "C-unwind" fn xpcall(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let count = ffi::lua_gettop(l);
        ffi::luaL_checktype(l, 2, ffi::LUA_TFUNCTION);
        // The handler becomes a closure over the user's; then: f, handler,
        // true, f, args...
        ffi::lua_pushvalue(l, 2);
        ffi::lua_pushcclosure(l, errors::on_handled_error, 1);
        ffi::lua_replace(l, 2);
        ffi::lua_pushboolean(l, 1);
        ffi::lua_pushvalue(l, 1);
        ffi::lua_rotate(l, 3, 2);
        let status = ffi::lua_pcallk(l, count - 2, ffi::LUA_MULTRET, 2, 2, Some(finish));
        finish(l, status, 2)
    }
}

/// Returns from a protected call whose results (`true` first) begin above
/// `extra` stack slots.
unsafe extern "C-unwind" fn finish(l: *mut lua_State, status: c_int, extra: lua_KContext) -> c_int {
    // SAFETY: called by Lua, or by the two above.
    unsafe {
        if status == ffi::LUA_OK || status == ffi::LUA_YIELD {
            return ffi::lua_gettop(l) - c_int::try_from(extra).unwrap_or(0);
        }
        ffi::lua_pushboolean(l, 0);
        ffi::lua_insert(l, -2);
        caught(l, status);
        2
    }
}

/// An error of this status, on top of the stack of `l`, has been caught there.
unsafe fn caught(l: *mut lua_State, status: c_int) {
    let Some(core) = current() else { return };
    // SAFETY: by the caller's promise; nothing here needs dropping.
    unsafe {
        if core.must_unwind() {
            unwind_further(core, l);
        }
        if status == ffi::LUA_ERRMEM {
            core.name_memory_error(l);
        }
    }
    core.caught(l);
}

/// Raises what is on its way again.
unsafe fn unwind_further(core: &Core, l: *mut lua_State) -> ! {
    // SAFETY: by the caller's promise.
    unsafe {
        if core.evaluation_over.get() {
            ffi::lua_error(l);
        }
        hook::raise_stop(l)
    }
}

/// `coroutine.resume (co [, val1, ···])`
unsafe extern "C-unwind" fn resume(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let co = check_coroutine(l);
        let count = ffi::lua_gettop(l) - 1;
        if let Ok(results) = transfer::<false>(l, co, count, 1) {
            return results + 1;
        }
        ffi::lua_pushboolean(l, 0);
        ffi::lua_insert(l, -2);
        2
    }
}

/// The coroutine that is the first argument; an error if it is none.
unsafe fn check_coroutine(l: *mut lua_State) -> *mut lua_State {
    // SAFETY: called by functions that Lua has called.
    unsafe {
        let co = ffi::lua_tothread(l, 1);
        if co.is_null() {
            let given = ffi::luaL_typename(l, 1);
            let message = c"coroutine expected, got %s".as_ptr();
            let message = ffi::lua_pushfstring(l, message, given);
            ffi::luaL_argerror(l, 1, message);
        }
        co
    }
}

/// `coroutine.close (co)`
unsafe extern "C-unwind" fn close(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let co = check_coroutine(l);
        let is_running = co == l;
        let mut record = std::mem::zeroed();
        // One that resumes others has frames, and no other status.
        if is_running
            || ffi::lua_status(co) == ffi::LUA_OK && ffi::lua_getstack(co, 0, &raw mut record) != 0
        {
            let what = if is_running { c"running" } else { c"normal" };
            return ffi::luaL_error(l, c"cannot close a %s coroutine".as_ptr(), what.as_ptr());
        }
        let status = close_under::<false>(l, co);
        ffi::lua_pushboolean(l, c_int::from(status == ffi::LUA_OK));
        if status == ffi::LUA_OK {
            return 1;
        }
        ffi::lua_xmove(co, l, 1);
        if let Some(core) = current().filter(|core| core.must_unwind()) {
            unwind_further(core, l);
        }
        2
    }
}

/// Closes the variables of `co`, which runs meanwhile. An error object, if that
/// is what is returned, is on top of its stack.
///
/// # Safety
/// Called from a C function of `l`; nobody may be running `co`.
unsafe fn close_under<const WRAPS: bool>(l: *mut lua_State, co: *mut lua_State) -> c_int {
    // SAFETY: as in `transfer`; `lua_closethread` catches everything, too.
    unsafe {
        let core = current();
        let link = Link { running: co, previous: head(), wraps: WRAPS };
        set_head(&raw const link);
        if let Some(core) = core.filter(|core| core.armed.get() || core.attention() != 0) {
            core.arm_resumed(co);
        }
        let status = ffi::lua_closethread(co, l);
        set_head(link.previous);
        if let Some(core) = core.filter(|core| core.is_news_to(l)) {
            core.resumed(l, co);
        }
        status
    }
}

/// `coroutine.wrap (f)`
unsafe extern "C-unwind" fn wrap(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TFUNCTION);
        let co = ffi::lua_newthread(l);
        ffi::lua_pushvalue(l, 1);
        ffi::lua_xmove(l, co, 1);
        ffi::lua_pushcclosure(l, call_wrapped, 1);
        1
    }
}

/// What `coroutine.wrap` returns.
unsafe extern "C-unwind" fn call_wrapped(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the upvalue is the coroutine.
    unsafe {
        let co = ffi::lua_tothread(l, ffi::lua_upvalueindex(1));
        let count = ffi::lua_gettop(l);
        let mut status = match transfer::<true>(l, co, count, 0) {
            Ok(results) => return results,
            Err(status) => status,
        };
        let in_coroutine = ffi::lua_status(co);
        if in_coroutine != ffi::LUA_OK && in_coroutine != ffi::LUA_YIELD {
            // Its to-be-closed variables may replace the error.
            status = close_under::<true>(l, co);
            ffi::lua_xmove(co, l, 1);
        }
        if status != ffi::LUA_ERRMEM && ffi::lua_type(l, -1) == ffi::LUA_TSTRING {
            ffi::luaL_where(l, 1);
            ffi::lua_insert(l, -2);
            ffi::lua_concat(l, 2);
        }
        if let Some(core) = current() {
            core.propagating.set(in_coroutine != ffi::LUA_OK);
        }
        ffi::lua_error(l)
    }
}

/// Resumes `co` with the top `count` values of `l`.
///
/// Returns the number of values it yielded or returned, now on top of `l` (under
/// a `true` if `mark` is 1); or the status of the error, whose object is on top.
///
/// # Safety
/// Called from a C function of `l`.
#[inline]
unsafe fn transfer<const WRAPS: bool>(
    l: *mut lua_State,
    co: *mut lua_State,
    count: c_int,
    mark: c_int,
) -> Result<c_int, c_int> {
    // SAFETY: by the caller's promise. The link leaves the chain as soon as
    // `lua_resume`, which catches everything, is back.
    unsafe {
        if ffi::lua_checkstack(co, count) == 0 {
            ffi::lua_pushstring(l, c"too many arguments to resume".as_ptr());
            return Err(ffi::LUA_OK);
        }
        ffi::lua_xmove(l, co, count);
        let core = current();
        let link = Link { running: co, previous: head(), wraps: WRAPS };
        set_head(&raw const link);
        let watched = core.is_some_and(|core| core.armed.get() || core.attention() != 0);
        if watched && let Some(core) = core {
            core.arm_resumed(co);
        }
        let mut results = 0;
        let was_alive = (*layout::state(co)).status <= ALIVE;
        let status = ffi::lua_resume(co, l, count, &raw mut results);
        if status != ffi::LUA_OK && status != ffi::LUA_YIELD {
            return Err(failed(l, co, &link, status, was_alive));
        }
        set_head(link.previous);
        if let Some(core) = core
            && core.is_news_to(l)
        {
            core.resumed(l, co);
        }
        if ffi::lua_checkstack(l, results + 1) == 0 {
            ffi::lua_pop(co, results);
            ffi::lua_pushstring(l, c"too many results to resume".as_ptr());
            return Err(ffi::LUA_OK);
        }
        if mark != 0 {
            ffi::lua_pushboolean(l, 1);
        }
        ffi::lua_xmove(co, l, results);
        Ok(results)
    }
}

/// `lua_resume` has failed; moves the error object to `l`. The dead coroutine's
/// stack is still whole: a debugger may look at it now.
#[cold]
unsafe fn failed(
    l: *mut lua_State,
    co: *mut lua_State,
    link: &Link,
    status: c_int,
    was_alive: bool,
) -> c_int {
    // SAFETY: as for `transfer`; no value here needs dropping when an error is
    // raised.
    unsafe {
        let Some(core) = current() else {
            set_head(link.previous);
            ffi::lua_xmove(co, l, 1);
            return status;
        };
        let died = was_alive && ffi::lua_status(co) == status;
        if died && status != ffi::LUA_ERRMEM && !core.must_unwind() {
            errors::on_dead_coroutine(core, l, co, link);
        }
        set_head(link.previous);
        ffi::lua_xmove(co, l, 1);
        if core.must_unwind() {
            unwind_further(core, l);
        }
        if status == ffi::LUA_ERRMEM {
            core.name_memory_error(l);
        }
        if !link.wraps {
            core.dead_traces.borrow_mut().clear();
        }
        if core.is_news_to(l) {
            core.resumed(l, co);
        }
        status
    }
}
