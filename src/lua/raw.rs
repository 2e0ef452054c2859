//! The C API in convenient form, for the few files that need it.
//!
//! Everything here may be called inside a debug hook: no mlua values, and no
//! more stack than the hook is given unless it says so.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    fmt::Write as _,
    ptr, slice,
};

use mlua::ffi::{self, lua_CFunction, lua_Debug, lua_State};

/// Pushes bytes as a Lua string.
///
/// # Safety
/// One free stack slot; may raise a memory error.
pub(crate) unsafe fn push_bytes(l: *mut lua_State, bytes: &[u8]) {
    // SAFETY: the slice is readable for its length.
    unsafe { ffi::lua_pushlstring(l, bytes.as_ptr().cast(), bytes.len()) };
}

/// The bytes of the string at `index`, without converting numbers.
///
/// # Safety
/// The result lives while the string stays on the stack.
pub(crate) unsafe fn string_at<'a>(l: *mut lua_State, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: `lua_tolstring` of a string is its contents.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let bytes = ffi::lua_tolstring(l, index, &raw mut length);
        Some(slice::from_raw_parts(bytes.cast(), length))
    }
}

/// Text of a C string; empty for null.
///
/// # Safety
/// `text` must be null or a C string that outlives the call.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the caller's promise.
    String::from_utf8_lossy(unsafe { CStr::from_ptr(text) }.to_bytes()).into_owned()
}

/// The type name of the value at `index`.
///
/// # Safety
/// `index` must be acceptable.
pub(crate) unsafe fn type_name(l: *mut lua_State, index: c_int) -> &'static str {
    // SAFETY: type names are static C strings in ASCII.
    unsafe { CStr::from_ptr(ffi::luaL_typename(l, index)).to_str().unwrap_or("?") }
}

/// Fills in `what` of an activation record.
///
/// # Safety
/// The record must describe a live frame of `l` (or, with `>`, the function on
/// top of the stack).
pub(crate) unsafe fn get_info(l: *mut lua_State, what: &CStr, record: &mut lua_Debug) {
    // SAFETY: by the caller's promise.
    unsafe { ffi::lua_getinfo(l, what.as_ptr(), record) };
}

/// Sets `table[name] = function` for the table at `index`.
///
/// # Safety
/// Two free slots; a table at `index`.
pub(crate) unsafe fn set_function(
    l: *mut lua_State,
    index: c_int,
    name: &CStr,
    function: lua_CFunction,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        let index = ffi::lua_absindex(l, index);
        ffi::lua_pushcfunction(l, function);
        ffi::lua_setfield(l, index, name.as_ptr());
    }
}

/// The C function at `index`, or null.
///
/// # Safety
/// `index` must be acceptable.
pub(crate) unsafe fn c_function_at(l: *mut lua_State, index: c_int) -> *mut c_void {
    // SAFETY: by the caller's promise.
    match unsafe { ffi::lua_tocfunction(l, index) } {
        Some(function) => function as *mut c_void,
        None => ptr::null_mut(),
    }
}

/// Bytes as text for people: valid UTF-8 as it is, anything else as `\xNN`.
pub(crate) fn lossless_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}
