//! Loading: `load`, `loadfile`, `dofile`, and `require`'s search for Lua files,
//! with chunks named by canonical path and every chunk announced to the
//! breakpoints before it runs.
//!
//! As in [`crate::debug::calls`], functions that Lua may leave by `longjmp` hold
//! nothing to drop while it can.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, OsStr, c_int},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    ptr,
    time::Duration,
};

use mlua::ffi::{self, lua_KContext, lua_State};

use crate::{
    debug::{
        core::{Core, current},
        errors::{self, Failure},
        model::Event,
        scratch,
    },
    lua::{chunk, layout, raw},
};

/// A chunk to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where its text comes from.
    pub code: Code,
    /// Its `...`.
    pub args: Vec<String>,
    /// Wait for a debugger before the first line.
    pub wait_for_debugger: bool,
    /// End it after this time, counted from its first line.
    pub time_limit: Option<Duration>,
    /// How its values are written.
    pub show: Show,
}

/// How a program's values become text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// As `tostring` would.
    #[default]
    Text,
    /// As a person at a prompt wants to see them: strings quoted, tables open.
    Pretty,
}

/// Text of a chunk.
#[derive(Clone, Debug)]
pub enum Code {
    /// A file. `require` also looks beside it.
    File(PathBuf),
    /// A text with a name to show, as a chunk.
    Text {
        /// Shown for it.
        name: String,
        /// Lua.
        text: Vec<u8>,
    },
    /// A text with a name to show: an expression, or else a chunk.
    Expression {
        /// Shown for it.
        name: String,
        /// Lua.
        text: String,
    },
}

/// Compiles a program; the function stays on top of the main stack.
pub(super) fn compile(core: &Core, program: &Program) -> Result<(), Failure> {
    let l = core.main;
    let fail = |message: String| Failure::Error { message, traceback: String::new() };
    let status = match &program.code {
        Code::File(path) => {
            let canonical = chunk::canonical(path);
            let text = chunk::read_script(&canonical)
                .map_err(|error| fail(format!("cannot open {}: {error}", path.display())))?;
            if let Some(folder) = canonical.parent() {
                search_beside(l, folder);
            }
            load(l, &text, &chunk::name_of_file(&canonical), None, c"bt")
        }
        Code::Text { name, text } => {
            let mut blanked = text.clone();
            chunk::strip_prelude(&mut blanked);
            load(l, &blanked, format!("={name}").as_bytes(), Some(text), c"bt")
        }
        Code::Expression { name, text } => {
            let name = format!("={name}");
            let expression = format!("return {text}\n");
            let mut status =
                load(l, expression.as_bytes(), name.as_bytes(), Some(text.as_bytes()), c"t");
            if status != ffi::LUA_OK {
                // SAFETY: drops the error message.
                unsafe { ffi::lua_pop(l, 1) };
                status = load(l, text.as_bytes(), name.as_bytes(), Some(text.as_bytes()), c"t");
            }
            status
        }
    };
    if status == ffi::LUA_OK {
        return Ok(());
    }
    // SAFETY: `lua_load` has left a message.
    Err(unsafe { errors::failure(core, l, status) })
}

/// Puts a folder at the front of `package.path`.
fn search_beside(l: *mut lua_State, folder: &Path) {
    let folder = folder.as_os_str().as_bytes();
    // SAFETY: a fresh VM's globals; at most four slots.
    unsafe {
        if ffi::lua_getglobal(l, c"package".as_ptr()) == ffi::LUA_TTABLE {
            ffi::lua_getfield(l, -1, c"path".as_ptr());
            let old = raw::string_at(l, -1).unwrap_or_default();
            let ours = [folder, b"/?.lua;", folder, b"/?/init.lua;"].concat();
            let path = if old.starts_with(&ours) { old.to_vec() } else { [&ours, old].concat() };
            raw::push_bytes(l, &path);
            ffi::lua_setfield(l, -3, c"path".as_ptr());
            ffi::lua_pop(l, 1);
        }
        ffi::lua_pop(l, 1);
    }
}

/// Compiles `text`, pushes the function or a message, and announces the chunk.
/// `shown` is the text to show for a chunk that is no file.
fn load(l: *mut lua_State, text: &[u8], name: &[u8], shown: Option<&[u8]>, mode: &CStr) -> c_int {
    let Ok(name) = CString::new(name) else {
        // SAFETY: one slot.
        unsafe { raw::push_bytes(l, b"the chunk's name holds a zero byte") };
        return ffi::LUA_ERRSYNTAX;
    };
    // SAFETY: `lua_load` is protected and pushes one value.
    unsafe {
        let status = ffi::luaL_loadbufferx(
            l,
            text.as_ptr().cast(),
            text.len(),
            name.as_ptr(),
            mode.as_ptr(),
        );
        if status == ffi::LUA_OK
            && let Some(core) = current()
        {
            core.announce(l, shown);
        }
        status
    }
}

impl Core {
    /// Tells the tables about the function on top of the stack, a chunk that has
    /// just been compiled.
    fn announce(&self, l: *mut lua_State, shown: Option<&[u8]>) {
        self.forget_protos();
        // SAFETY: the function is on the stack.
        let Some(proto) = (unsafe { layout::proto_at(l, -1) }) else { return };
        let name = proto.source_name();
        let lines = scratch::all_lines(proto);
        let (source, is_new, changed, concerned) = {
            let mut tables = self.shared.tables();
            let (source, is_new, changed) = tables.load(name, lines, shown);
            let concerned = tables.concerns(name);
            (source, is_new, changed, concerned)
        };
        // Also to a debugger that came while the chunk was compiled.
        if self.shared.attached() {
            self.shared.send(Event::SourceLoaded(source, is_new));
            for breakpoint in changed {
                self.shared.send(Event::BreakpointChanged(breakpoint));
            }
        }
        if concerned && self.shared.attached() {
            self.shared.tables_changed();
        }
    }
}

/// Replaces the loading functions in the globals of `l`.
///
/// # Safety
/// Protected, with ten free stack slots.
pub(super) unsafe fn install(l: *mut lua_State) {
    // SAFETY: by the caller's promise.
    unsafe {
        ffi::lua_getglobal(l, c"load".as_ptr());
        ffi::lua_pushcclosure(l, lua_load, 1);
        ffi::lua_setglobal(l, c"load".as_ptr());
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS);
        raw::set_function(l, -1, c"loadfile", lua_loadfile);
        raw::set_function(l, -1, c"dofile", lua_dofile);
        ffi::lua_getfield(l, -1, c"package".as_ptr());
        ffi::lua_getfield(l, -1, c"searchers".as_ptr());
        // The second searcher is the one for Lua files.
        ffi::lua_getfield(l, -2, c"searchpath".as_ptr());
        ffi::lua_pushvalue(l, -3);
        ffi::lua_pushcclosure(l, search_lua_file, 2);
        ffi::lua_rawseti(l, -2, 2);
        ffi::lua_pop(l, 3);
    }
}

/// `load (chunk [, chunkname [, mode [, env]]])`: Lua's own, and an announcement
/// if a debugger is there to see it.
unsafe extern "C-unwind" fn lua_load(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; upvalue 1 is Lua's own function. Its first
    // argument stays at index 1 as the text to show.
    unsafe {
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, count + 2, ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        for index in 1..=count {
            ffi::lua_pushvalue(l, index);
        }
        ffi::lua_call(l, count, ffi::LUA_MULTRET);
        let results = ffi::lua_gettop(l) - count;
        if results == 1
            && let Some(core) = current()
            && core.attached.get()
        {
            core.announce(l, raw::string_at(l, 1));
        }
        results
    }
}

/// Compiles a file; pushes the function, or a message.
fn load_file(l: *mut lua_State, path: &[u8], mode: &CStr) -> c_int {
    let spelled = Path::new(OsStr::from_bytes(path));
    let canonical = chunk::canonical(spelled);
    match chunk::read_script(&canonical) {
        Ok(text) => load(l, &text, &chunk::name_of_file(&canonical), None, mode),
        Err(error) => {
            let code = error.raw_os_error().unwrap_or(0);
            let reason = if code == 0 {
                error.to_string()
            } else {
                // SAFETY: a message of the C library.
                unsafe { raw::text(libc::strerror(code)) }
            };
            let message = format!("cannot open {}: {reason}", spelled.display());
            // SAFETY: one slot.
            unsafe { raw::push_bytes(l, message.as_bytes()) };
            ffi::LUA_ERRFILE
        }
    }
}

/// Compiles what the string at index 1 names, or standard input.
unsafe fn load_named(l: *mut lua_State, mode: &CStr) -> c_int {
    // SAFETY: called by Lua functions.
    unsafe {
        if ffi::lua_isnoneornil(l, 1) != 0 {
            return ffi::luaL_loadfilex(l, ptr::null(), mode.as_ptr());
        }
        let mut length = 0;
        let name = ffi::luaL_checklstring(l, 1, &raw mut length);
        load_file(l, std::slice::from_raw_parts(name.cast(), length), mode)
    }
}

/// `loadfile ([filename [, mode [, env]]])`
unsafe extern "C-unwind" fn lua_loadfile(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let mode = ffi::luaL_optstring(l, 2, c"bt".as_ptr());
        let has_env = ffi::lua_type(l, 3) != ffi::LUA_TNONE;
        if load_named(l, CStr::from_ptr(mode)) != ffi::LUA_OK {
            ffi::lua_pushnil(l);
            ffi::lua_insert(l, -2);
            return 2;
        }
        if has_env {
            ffi::lua_pushvalue(l, 3);
            if ffi::lua_setupvalue(l, -2, 1).is_null() {
                ffi::lua_pop(l, 1);
            }
        }
        1
    }
}

/// `dofile ([filename])`
unsafe extern "C-unwind" fn lua_dofile(l: *mut lua_State) -> c_int {
    unsafe extern "C-unwind" fn finish(l: *mut lua_State, _: c_int, _: lua_KContext) -> c_int {
        // SAFETY: called by Lua; index 1 is the file name.
        unsafe { ffi::lua_gettop(l) - 1 }
    }
    // SAFETY: called by Lua.
    unsafe {
        ffi::lua_settop(l, 1);
        if load_named(l, c"bt") != ffi::LUA_OK {
            ffi::lua_error(l);
        }
        ffi::lua_callk(l, 0, ffi::LUA_MULTRET, 0, Some(finish));
        finish(l, ffi::LUA_OK, 0)
    }
}

/// `require`'s searcher for Lua files. Upvalues: `package.searchpath`,
/// `package`.
unsafe extern "C-unwind" fn search_lua_file(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        ffi::luaL_checkstring(l, 1);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_pushvalue(l, 1);
        if ffi::lua_getfield(l, ffi::lua_upvalueindex(2), c"path".as_ptr()) != ffi::LUA_TSTRING {
            return ffi::luaL_error(l, c"'package.path' must be a string".as_ptr());
        }
        ffi::lua_call(l, 2, 2);
        if ffi::lua_isnil(l, -2) != 0 {
            return 1;
        }
        ffi::lua_pop(l, 1);
        let path = raw::string_at(l, -1).unwrap_or_default();
        if load_file(l, path, c"bt") == ffi::LUA_OK {
            ffi::lua_pushvalue(l, -2);
            return 2;
        }
        ffi::luaL_error(
            l,
            c"error loading module '%s' from file '%s':\n\t%s".as_ptr(),
            ffi::lua_tostring(l, 1),
            ffi::lua_tostring(l, -2),
            ffi::lua_tostring(l, -1),
        )
    }
}
