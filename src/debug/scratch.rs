//! A throw-away Lua state, for questions about text that any thread may ask:
//! does this compile, which lines can be stopped at. Runs nothing.

#![allow(unsafe_code)]

use std::{ffi::CStr, path::Path, ptr};

use mlua::ffi::{self, lua_State};

use crate::lua::{
    chunk,
    layout::{self, Proto},
    raw,
};

struct Scratch(*mut lua_State);

impl Scratch {
    fn open() -> Option<Self> {
        // SAFETY: always sound; null when memory is out.
        let state = unsafe { ffi::luaL_newstate() };
        (!state.is_null()).then_some(Self(state))
    }

    /// Compiles; the function stays on the stack.
    fn compile(&self, text: &[u8], name: &CStr) -> Result<(), String> {
        // SAFETY: a fresh state; `lua_load` is protected.
        unsafe {
            let status = ffi::luaL_loadbufferx(
                self.0,
                text.as_ptr().cast(),
                text.len(),
                name.as_ptr(),
                c"t".as_ptr(),
            );
            if status == ffi::LUA_OK {
                return Ok(());
            }
            let message = raw::string_at(self.0, -1).unwrap_or(b"out of memory");
            Err(raw::lossless_text(message))
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once.
        unsafe { ffi::lua_close(self.0) };
    }
}

/// Says why `expression` cannot be evaluated, if it cannot.
pub(super) fn check_expression(expression: &str) -> Result<(), String> {
    let Some(scratch) = Scratch::open() else { return Ok(()) };
    scratch
        .compile(format!("return {expression}\n").as_bytes(), c"=(expression)")
        .map_err(|message| message.replace("(expression):1: ", ""))
}

/// The lines of a script file that can be stopped at, if it compiles.
pub(super) fn executable_lines(path: &Path) -> Option<Vec<u32>> {
    let text = chunk::read_script(path).ok()?;
    let scratch = Scratch::open()?;
    scratch.compile(&text, c"=(scratch)").ok()?;
    // SAFETY: the compiled function is on top of the stack.
    let proto = unsafe { layout::proto_at(scratch.0, -1)? };
    Some(all_lines(proto))
}

/// The lines of a function, and of all functions in it, that can be stopped at;
/// ascending.
pub(super) fn all_lines(proto: &Proto) -> Vec<u32> {
    let mut lines = Vec::new();
    let mut protos = vec![ptr::from_ref(proto)];
    while let Some(proto) = protos.pop() {
        // SAFETY: children live as long as their parent.
        let proto = unsafe { &*proto };
        proto.for_each_line(|line| lines.push(line));
        protos.extend(proto.children().map(ptr::from_ref));
    }
    lines.sort_unstable();
    lines.dedup();
    lines
}
