//! Scopes, and the children of values.
//!
//! A table of a million entries answers in the time of one page: the sequence is
//! read by index, the rest by `lua_next` from where the array part ends, and
//! nothing is counted beyond a bound. What does not fit a page is behind a `…`
//! child, which goes on after the last key shown.

#![allow(unsafe_code)]

mod assign;
mod children;

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use crate::{
    debug::{
        inspector::{FramePlace, Inspector, id_of},
        model::{Scope, Source, Variable},
        render::{Renderer, is_identifier, quoted},
    },
    lua::{layout, raw},
};

pub(super) use assign::assign;
pub(super) use children::children;

/// Most children given without paging.
const FEW: usize = 1000;
/// Most entries counted in the part of a table that is no sequence.
const COUNTED: usize = 1000;

/// A container that a front end may open.
#[derive(Clone, Debug)]
pub(super) enum Handle {
    Locals(FramePlace),
    Varargs(FramePlace),
    Upvalues(FramePlace),
    Globals {
        place: FramePlace,
        library: bool,
    },
    Error(FramePlace),
    /// A value, by its number in the table of values.
    Value {
        number: i64,
        path: Option<String>,
        place: FramePlace,
    },
    /// The rest of a table, after a key (also by number).
    Rest {
        number: i64,
        after: i64,
        path: Option<String>,
        place: FramePlace,
    },
}

impl Handle {
    pub(super) fn place(&self) -> FramePlace {
        match self {
            Self::Locals(place)
            | Self::Varargs(place)
            | Self::Upvalues(place)
            | Self::Globals { place, .. }
            | Self::Error(place)
            | Self::Value { place, .. }
            | Self::Rest { place, .. } => *place,
        }
    }
}

/// The standard library's globals, and this program's own.
const LIBRARY: [&str; 27] = [
    "_G",
    "_VERSION",
    "arg",
    "assert",
    "collectgarbage",
    "coroutine",
    "debug",
    "dofile",
    "error",
    "getmetatable",
    "io",
    "ipairs",
    "load",
    "loadfile",
    "math",
    "next",
    "os",
    "package",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "require",
    "select",
];
const LIBRARY_REST: [&str; 10] = [
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "utf8",
    "warn",
    "xpcall",
    "Async",
];

fn is_library(name: &[u8]) -> bool {
    LIBRARY.iter().chain(&LIBRARY_REST).any(|known| known.as_bytes() == name) || name == b"Debug"
}

/// The scopes of a frame, innermost first.
pub(super) fn scopes(inspector: &Inspector<'_>, place: FramePlace) -> Vec<Scope> {
    let mut scopes = Vec::new();
    let mut add = |name: &str, handle: Handle, count: Option<u64>, expensive: bool| {
        let reference = keep(inspector, handle.clone());
        let indexed = matches!(handle, Handle::Varargs(_));
        scopes.push(Scope {
            name: name.to_owned(),
            reference,
            named: count.filter(|_| !indexed),
            indexed: count.filter(|_| indexed),
            expensive,
        });
    };
    let is_error = inspector.core.stop.borrow().as_ref().is_some_and(|stop| stop.error.is_some());
    let is_top = inspector.handles.frames.borrow().first() == Some(&place);
    if is_error && is_top {
        add("Error", Handle::Error(place), Some(1), false);
    }
    if !place.frame.is_null() {
        let locals = locals(place).len();
        add("Locals", Handle::Locals(place), u64::try_from(locals).ok(), false);
    }
    if Inspector::is_lua(place) {
        let varargs = varargs(place);
        if varargs > 0 {
            add("Varargs", Handle::Varargs(place), u64::try_from(varargs).ok(), false);
        }
        let upvalues = upvalues(place).len();
        if upvalues > 0 {
            add("Upvalues", Handle::Upvalues(place), u64::try_from(upvalues).ok(), false);
        }
    }
    add("Globals", Handle::Globals { place, library: false }, None, false);
    add("Standard library", Handle::Globals { place, library: true }, None, true);
    scopes
}

/// Makes a container known to the front end.
fn keep(inspector: &Inspector<'_>, handle: Handle) -> i64 {
    let mut containers = inspector.handles.containers.borrow_mut();
    containers.push(handle);
    id_of(containers.len() - 1)
}

/// Keeps the value at `index` of the auxiliary stack alive; returns its number.
fn keep_value(inspector: &Inspector<'_>, index: c_int) -> i64 {
    let l = inspector.core.aux;
    let handles = inspector.handles;
    // SAFETY: the slot, once set, holds our table.
    unsafe {
        ffi::lua_checkstack(l, 4);
        let index = ffi::lua_absindex(l, index);
        if handles.values.get() == 0 {
            ffi::lua_createtable(l, 0, 0);
            handles.values.set(ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX));
            handles.owner.set(l);
        }
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, handles.values.get().into());
        let number = ffi::lua_rawlen(l, -1) + 1;
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        ffi::lua_pushvalue(l, index);
        if ffi::lua_isnil(l, -1) != 0 {
            // A hole would end the numbering.
            ffi::lua_pop(l, 1);
            ffi::lua_pushboolean(l, 0);
        }
        ffi::lua_rawseti(l, -2, number);
        ffi::lua_pop(l, 1);
        number
    }
}

/// Pushes a kept value onto the auxiliary stack.
fn push_kept(inspector: &Inspector<'_>, number: i64) {
    let l = inspector.core.aux;
    // SAFETY: as in `keep_value`.
    unsafe {
        ffi::lua_checkstack(l, 4);
        let slot = inspector.handles.values.get();
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, slot.into());
        ffi::lua_rawgeti(l, -1, number);
        ffi::lua_remove(l, -2);
    }
}

/// A local variable: its name as shown, and its index for Lua.
struct Local {
    shown: String,
    index: c_int,
    /// A later one of the same name hides it.
    shadowed: bool,
}

/// The locals of a frame. Hidden ones are told apart by a number.
fn locals(place: FramePlace) -> Vec<Local> {
    let record = Inspector::record(place);
    let is_lua = Inspector::is_lua(place);
    let mut names = Vec::new();
    // SAFETY: the frame stands still; one free slot.
    unsafe {
        for index in 1.. {
            let name = ffi::lua_getlocal(place.l, &raw const record, index);
            if name.is_null() {
                break;
            }
            ffi::lua_pop(place.l, 1);
            let name = raw::text(name);
            if !name.starts_with('(') {
                names.push((name, index));
            } else if !is_lua {
                names.push((format!("(argument {index})"), index));
            }
        }
    }
    let count_after = |position: usize| {
        let (name, _): &(String, c_int) = &names[position];
        names[position + 1..].iter().filter(|(other, _)| other == name).count()
    };
    (0..names.len())
        .map(|position| {
            let hidden = count_after(position);
            let (name, index) = &names[position];
            let shown = match hidden {
                0 => name.clone(),
                1 => format!("{name} (shadowed)"),
                more => format!("{name} (shadowed {more})"),
            };
            Local { shown, index: *index, shadowed: hidden > 0 }
        })
        .collect()
}

fn varargs(place: FramePlace) -> usize {
    let record = Inspector::record(place);
    // SAFETY: the frame stands still; one free slot.
    unsafe {
        (1..c_int::MAX)
            .take_while(|index| {
                let found = !ffi::lua_getlocal(place.l, &raw const record, -index).is_null();
                if found {
                    ffi::lua_pop(place.l, 1);
                }
                found
            })
            .count()
    }
}

/// The upvalues of a frame's function that have names, without `_ENV`.
fn upvalues(place: FramePlace) -> Vec<(String, c_int)> {
    let mut record = Inspector::record(place);
    let mut found = Vec::new();
    // SAFETY: the frame stands still; two free slots.
    unsafe {
        raw::get_info(place.l, c"f", &mut record);
        for index in 1.. {
            let name = ffi::lua_getupvalue(place.l, -1, index);
            if name.is_null() {
                break;
            }
            ffi::lua_pop(place.l, 1);
            let name = raw::text(name);
            if name != "_ENV" && !name.is_empty() && !name.starts_with('(') {
                found.push((name, index));
            }
        }
        ffi::lua_pop(place.l, 1);
    }
    found
}

/// A value on the auxiliary stack as a variable.
pub(super) fn variable(
    inspector: &Inspector<'_>,
    renderer: &Renderer<'_>,
    name: String,
    index: c_int,
    path: Option<String>,
    place: FramePlace,
) -> Variable {
    let l = inspector.core.aux;
    // SAFETY: raw accesses to a value on the auxiliary stack.
    unsafe {
        let kind = ffi::lua_type(l, index);
        let value = renderer.value(index);
        let type_name = renderer.type_name(index);
        let (mut indexed, mut named) = (None, None);
        let has_children = match kind {
            ffi::LUA_TTABLE => {
                let count = ffi::lua_rawlen(l, index);
                let (fields, exact) = count_fields(l, index, count);
                indexed = u64::try_from(count).ok().filter(|&count| count > 0);
                named = exact.then_some(fields).and_then(|count| u64::try_from(count).ok());
                let has_metatable = ffi::lua_getmetatable(l, index) != 0;
                if has_metatable {
                    ffi::lua_pop(l, 1);
                    named = named.map(|count| count + 1);
                }
                count > 0 || fields > 0 || has_metatable
            }
            ffi::LUA_TUSERDATA => {
                let has_metatable = ffi::lua_getmetatable(l, index) != 0;
                if has_metatable {
                    ffi::lua_pop(l, 1);
                }
                has_metatable
            }
            ffi::LUA_TFUNCTION => {
                let named = !ffi::lua_getupvalue(l, index, 1).is_null();
                if named {
                    ffi::lua_pop(l, 1);
                }
                named && ffi::lua_iscfunction(l, index) == 0
            }
            _ => false,
        };
        let definition = (kind == ffi::LUA_TFUNCTION).then(|| definition(inspector, index));
        let reference = if has_children {
            let number = keep_value(inspector, index);
            keep(inspector, Handle::Value { number, path: path.clone(), place })
        } else {
            0
        };
        Variable {
            name,
            value,
            type_name,
            evaluate_name: path,
            reference,
            named,
            indexed,
            definition: definition.flatten(),
            writable: true,
        }
    }
}

/// Where a Lua function is written.
fn definition(inspector: &Inspector<'_>, index: c_int) -> Option<(Source, u32)> {
    // SAFETY: a function on the auxiliary stack.
    let proto = unsafe { layout::proto_at(inspector.core.aux, index)? };
    let source = inspector.core.shared.tables().sources.source(proto.source_name());
    Some((source, u32::try_from(proto.linedefined).unwrap_or(0)))
}

/// Pushes the key after which `lua_next` walks the hash part of a table.
///
/// # Safety
/// A table at `index`; one free slot.
pub(super) unsafe fn push_hash_start(l: *mut lua_State, index: c_int) {
    // SAFETY: by the caller's promise.
    unsafe {
        match layout::array_size(l, index) {
            0 => ffi::lua_pushnil(l),
            size if usize::try_from(size).is_ok_and(|size| size <= ffi::lua_rawlen(l, index)) => {
                ffi::lua_pushinteger(l, size.into());
            }
            // The array part has holes: what is in it but not in the sequence
            // must be shown too.
            _ => {
                let count = i64::try_from(ffi::lua_rawlen(l, index)).unwrap_or(0);
                if count == 0 {
                    ffi::lua_pushnil(l);
                } else {
                    ffi::lua_pushinteger(l, count);
                }
            }
        }
    }
}

/// Whether the key at `key` is in `1..=count`.
///
/// # Safety
/// A valid index.
pub(super) unsafe fn is_in_sequence(l: *mut lua_State, key: c_int, count: usize) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        ffi::lua_isinteger(l, key) != 0
            && usize::try_from(ffi::lua_tointeger(l, key))
                .is_ok_and(|key| (1..=count).contains(&key))
    }
}

/// How many entries are outside the sequence, counted up to a bound.
unsafe fn count_fields(l: *mut lua_State, index: c_int, count: usize) -> (usize, bool) {
    let (mut fields, mut looked) = (0, 0);
    // SAFETY: raw accesses; the stack is as before at the end.
    unsafe {
        ffi::lua_checkstack(l, 4);
        push_hash_start(l, index);
        while ffi::lua_next(l, index) != 0 {
            ffi::lua_pop(l, 1);
            looked += 1;
            fields += usize::from(!is_in_sequence(l, -1, count));
            if looked > COUNTED {
                ffi::lua_pop(l, 1);
                return (fields, false);
            }
        }
    }
    (fields, true)
}

/// How a string key is shown, and the expression for it in `path` (or among the
/// globals).
fn field_name(name: &[u8], path: Option<&str>) -> (String, String) {
    if is_identifier(name) {
        let name = String::from_utf8_lossy(name).into_owned();
        let path = path.map_or_else(|| name.clone(), |path| format!("{path}.{name}"));
        return (name, path);
    }
    let shown = format!("[{}]", quoted(name));
    let path = format!("{}{shown}", path.unwrap_or("_G"));
    (shown, path)
}

/// Pushes the key of the table at `table` that is shown as `shown`, or nil.
unsafe fn push_key(renderer: &Renderer<'_>, l: *mut lua_State, table: c_int, shown: &str) {
    // SAFETY: raw accesses; leaves one value.
    unsafe {
        ffi::lua_checkstack(l, 8);
        if is_identifier(shown.as_bytes()) {
            raw::push_bytes(l, shown.as_bytes());
            return;
        }
        let inner = shown.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(number) = inner.and_then(|inner| inner.parse().ok()) {
            ffi::lua_pushinteger(l, number);
            return;
        }
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, table) != 0 {
            ffi::lua_pop(l, 1);
            if renderer.key(ffi::lua_gettop(l)) == shown {
                return;
            }
        }
        ffi::lua_pushnil(l);
    }
}
