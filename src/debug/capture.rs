//! `print`, `io.write` and the methods of `io.stdout` and `io.stderr`: what the
//! script writes passes through the session, with the line that wrote it.
//!
//! Files that the script opens itself, and an `io.output` that it has redirected,
//! are left to Lua's own functions.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
};

use mlua::ffi::{self, lua_CFunction, lua_State};

use crate::{
    debug::{
        core::{Verdict, current},
        hook,
        model::OutputCategory,
        shared::Parting,
        stack,
    },
    lua::{layout, raw},
};

/// Replaces the functions in the globals of `l`.
///
/// # Safety
/// Protected, with fifteen free stack slots.
pub(super) unsafe fn install(l: *mut lua_State) {
    // SAFETY: by the caller's promise.
    unsafe {
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS);
        raw::set_function(l, -1, c"print", print);
        ffi::lua_getfield(l, -1, c"io".as_ptr());
        let io = ffi::lua_gettop(l);
        replace(l, io, io, c"write", io_write);
        replace(l, io, io, c"flush", io_flush);
        ffi::lua_getfield(l, io, c"stdout".as_ptr());
        ffi::lua_getmetatable(l, -1);
        ffi::lua_getfield(l, -1, c"__index".as_ptr());
        let methods = ffi::lua_gettop(l);
        for (name, function) in [(c"write", file_write as lua_CFunction), (c"flush", file_flush)] {
            replace(l, methods, io, name, function);
        }
        ffi::lua_settop(l, io);
        ffi::lua_getfield(l, io - 1, c"os".as_ptr());
        replace(l, io + 1, io, c"exit", os_exit);
        ffi::lua_settop(l, io - 2);
    }
}

/// Puts `function` in the place of `table[name]`, with these upvalues: the old
/// one, `io.stdout`, `io.stderr`, `io.output`.
unsafe fn replace(
    l: *mut lua_State,
    table: c_int,
    io: c_int,
    name: &CStr,
    function: lua_CFunction,
) {
    // SAFETY: as for `install`.
    unsafe {
        ffi::lua_getfield(l, table, name.as_ptr());
        for field in [c"stdout", c"stderr", c"output"] {
            ffi::lua_getfield(l, io, field.as_ptr());
        }
        ffi::lua_pushcclosure(l, function, 4);
        ffi::lua_setfield(l, table, name.as_ptr());
    }
}

const OLD: c_int = 1;
const STDOUT: c_int = 2;
const STDERR: c_int = 3;
const OUTPUT: c_int = 4;

/// Passes bytes to the session, with the line of the nearest Lua function.
unsafe fn write(l: *mut lua_State, category: OutputCategory, bytes: &[u8]) {
    let Some(core) = current() else { return };
    let written = catch_unwind(AssertUnwindSafe(|| {
        let location = core.attached.get().then(|| {
            // SAFETY: `l` stands in this native function.
            let mut frames = unsafe { layout::frames(l) };
            frames
                .find(|&frame| unsafe { (*frame).is_lua() })
                .and_then(|frame| stack::location(core, l, frame))
        });
        core.shared.output.write(category, bytes, location.flatten());
    }));
    if written.is_err() {
        tracing::error!("output was lost");
    }
}

/// `print (···)`
unsafe extern "C-unwind" fn print(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. The pieces are put together on Lua's own stack:
    // `__tostring` may raise.
    unsafe {
        let count = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 4, ptr::null());
        for index in 1..=count {
            ffi::luaL_tolstring(l, index, ptr::null_mut());
            ffi::lua_replace(l, index);
        }
        if count == 1 {
            ffi::lua_pushstring(l, c"\n".as_ptr());
            ffi::lua_concat(l, 2);
            write(l, OutputCategory::Stdout, raw::string_at(l, -1).unwrap_or_default());
            return 0;
        }
        let mut line = Vec::new();
        for index in 1..=count {
            if index > 1 {
                line.push(b'\t');
            }
            line.extend_from_slice(raw::string_at(l, index).unwrap_or_default());
        }
        line.push(b'\n');
        write(l, OutputCategory::Stdout, &line);
        0
    }
}

/// Which of our streams the file at `index` is.
unsafe fn stream(l: *mut lua_State, index: c_int) -> Option<OutputCategory> {
    // SAFETY: the upvalues are the standard files.
    unsafe {
        if ffi::lua_rawequal(l, index, ffi::lua_upvalueindex(STDOUT)) != 0 {
            Some(OutputCategory::Stdout)
        } else if ffi::lua_rawequal(l, index, ffi::lua_upvalueindex(STDERR)) != 0 {
            Some(OutputCategory::Stderr)
        } else {
            None
        }
    }
}

/// Calls Lua's own function with the same arguments.
unsafe fn call_old(l: *mut lua_State) -> c_int {
    // SAFETY: upvalue 1 is that function.
    unsafe {
        let count = ffi::lua_gettop(l);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(OLD));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, count, ffi::LUA_MULTRET);
        ffi::lua_gettop(l)
    }
}

/// Pushes the present default output file.
unsafe fn push_output(l: *mut lua_State) {
    // SAFETY: upvalue 4 is `io.output`.
    unsafe {
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(OUTPUT));
        ffi::lua_call(l, 0, 1);
    }
}

/// Writes the arguments from `first` to `last`, as `io.write` formats them.
unsafe fn write_arguments(l: *mut lua_State, category: OutputCategory, first: c_int, last: c_int) {
    // SAFETY: called by Lua functions; the texts live on the stack.
    unsafe {
        for index in first..=last {
            let is_float =
                ffi::lua_type(l, index) == ffi::LUA_TNUMBER && ffi::lua_isinteger(l, index) == 0;
            if is_float {
                let mut text = [0_u8; 64];
                let (buffer, size) = (text.as_mut_ptr().cast::<c_char>(), text.len());
                let number = ffi::lua_tonumber(l, index);
                let length = libc::snprintf(buffer, size, c"%.14g".as_ptr(), number);
                let length = usize::try_from(length).unwrap_or(0).min(size);
                write(l, category, &text[..length]);
            } else {
                let mut length = 0;
                let bytes = ffi::luaL_checklstring(l, index, &raw mut length);
                write(l, category, slice::from_raw_parts(bytes.cast(), length));
            }
        }
    }
}

/// `io.write (···)`
unsafe extern "C-unwind" fn io_write(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let count = ffi::lua_gettop(l);
        push_output(l);
        let Some(category) = stream(l, -1) else {
            ffi::lua_settop(l, count);
            return call_old(l);
        };
        // The file is on top: it is also the result.
        write_arguments(l, category, 1, count);
        1
    }
}

/// `file:write (···)`
unsafe extern "C-unwind" fn file_write(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        match stream(l, 1) {
            Some(category) => {
                write_arguments(l, category, 2, ffi::lua_gettop(l));
                ffi::lua_settop(l, 1);
                1
            }
            None => call_old(l),
        }
    }
}

fn flush() {
    if let Some(core) = current() {
        core.shared.output.flush();
    }
}

/// `io.flush ()`
unsafe extern "C-unwind" fn io_flush(l: *mut lua_State) -> c_int {
    flush();
    // SAFETY: called by Lua.
    unsafe { call_old(l) }
}

/// `file:flush ()`
unsafe extern "C-unwind" fn file_flush(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        if stream(l, 1).is_some() {
            flush();
        }
        call_old(l)
    }
}

/// `os.exit ([code [, close]])`: what was written must not be lost, and a
/// debugger is to know.
unsafe extern "C-unwind" fn os_exit(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let code = match ffi::lua_type(l, 1) {
            ffi::LUA_TNONE => 0,
            ffi::LUA_TBOOLEAN => i64::from(ffi::lua_toboolean(l, 1) == 0),
            _ => ffi::luaL_optinteger(l, 1, 0),
        };
        if let Some(core) = current() {
            let told = catch_unwind(AssertUnwindSafe(|| core.shared.tell_exit(code)));
            let stays = told.unwrap_or_else(|_| {
                tracing::error!("nobody was told of the end");
                Parting::Leave
            });
            if stays == Parting::Stay && core.attend(l) == Verdict::Unwind {
                hook::raise_stop(l);
            }
        }
        // As Lua's own, but with no call in between that a debugger could end.
        if ffi::lua_toboolean(l, 2) != 0 {
            ffi::lua_close(l);
        }
        libc::exit(c_int::try_from(code & 0xff).unwrap_or(1))
    }
}
