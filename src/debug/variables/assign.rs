//! Setting variables.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int};

use mlua::ffi::{self, lua_State};

use super::{Handle, locals, push_kept, push_key, upvalues};
use crate::debug::{
    evaluate::{self, Binding},
    inspector::Inspector,
    render::Renderer,
};

/// Sets a child of a container to the value at `value` of the auxiliary stack.
pub(in crate::debug) fn assign(
    inspector: &Inspector<'_>,
    handle: &Handle,
    name: &str,
    value: c_int,
) -> Result<(), String> {
    let l = inspector.core.aux;
    let unknown = || format!("there is no variable '{name}' here");
    let place = handle.place();
    // SAFETY: the program stands still; the value stays on the stack.
    unsafe {
        let bind = |binding: &Binding| {
            ffi::lua_pushvalue(l, value);
            evaluate::set_bound(place.l, place.frame, binding, l);
        };
        match handle {
            Handle::Locals(place) => {
                let locals = locals(*place);
                let local = locals.iter().rfind(|it| it.shown == name).ok_or_else(unknown)?;
                bind(&Binding::Local(local.index));
                Ok(())
            }
            Handle::Varargs(_) => {
                let number = name.trim_matches(['[', ']']).parse::<c_int>();
                let number = number.ok().filter(|&it| it > 0).ok_or_else(unknown)?;
                bind(&Binding::Local(-number));
                Ok(())
            }
            Handle::Upvalues(place) => {
                let upvalues = upvalues(*place);
                let (_, index) = upvalues.iter().find(|(it, _)| it == name).ok_or_else(unknown)?;
                bind(&Binding::Upvalue(*index));
                Ok(())
            }
            Handle::Globals { place, .. } => {
                evaluate::push_globals(place.l, place.frame, l);
                set_field(inspector, name, value)
            }
            Handle::Value { number, .. } | Handle::Rest { number, .. } => {
                push_kept(inspector, *number);
                match ffi::lua_type(l, -1) {
                    ffi::LUA_TTABLE => set_field(inspector, name, value),
                    ffi::LUA_TFUNCTION => set_upvalue(l, name, value),
                    _ => {
                        ffi::lua_pop(l, 1);
                        Err("the fields of a userdata cannot be set".to_owned())
                    }
                }
            }
            Handle::Error(_) => Err("the error object cannot be replaced".to_owned()),
        }
    }
}

/// Sets a field, shown as `name`, of the table on top of the stack; pops it.
unsafe fn set_field(inspector: &Inspector<'_>, name: &str, value: c_int) -> Result<(), String> {
    let l = inspector.core.aux;
    let renderer = Renderer::new(inspector.core, false);
    // SAFETY: a table on top; raw accesses.
    unsafe {
        let table = ffi::lua_gettop(l);
        push_key(&renderer, l, table, name);
        if ffi::lua_isnil(l, -1) != 0 {
            ffi::lua_settop(l, table - 1);
            return Err(format!("there is no field '{name}' here"));
        }
        ffi::lua_pushvalue(l, value);
        ffi::lua_rawset(l, table);
        ffi::lua_settop(l, table - 1);
    }
    Ok(())
}

/// Sets an upvalue of the function on top of the stack; pops it.
unsafe fn set_upvalue(l: *mut lua_State, name: &str, value: c_int) -> Result<(), String> {
    let wanted = CString::new(name).map_err(|error| error.to_string())?;
    // SAFETY: a function on top.
    unsafe {
        let function = ffi::lua_gettop(l);
        for number in 1.. {
            let found = ffi::lua_getupvalue(l, function, number);
            if found.is_null() {
                break;
            }
            ffi::lua_pop(l, 1);
            if CStr::from_ptr(found) == wanted.as_c_str() {
                ffi::lua_pushvalue(l, value);
                ffi::lua_setupvalue(l, function, number);
                ffi::lua_settop(l, function - 1);
                return Ok(());
            }
        }
        ffi::lua_settop(l, function - 1);
    }
    Err(format!("there is no upvalue '{name}' here"))
}
