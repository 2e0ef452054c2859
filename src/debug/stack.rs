//! The call stack: frames, their names, and tracebacks across coroutines.

#![allow(unsafe_code)]

use std::{fmt::Write as _, ptr};

use mlua::ffi::{self, lua_Debug, lua_State};

use crate::{
    debug::{
        core::{Core, head},
        model::{FrameKind, Source, SourceId},
    },
    lua::{
        layout::{self, CallInfo},
        raw,
    },
};

/// One line of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Frame {
        l: *mut lua_State,
        frame: *mut CallInfo,
    },
    /// Frames that tail calls have replaced.
    TailCalls,
    /// Below this, the stack of the resumer.
    Resumer,
}

/// What a row looks like.
pub(super) struct Described {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) line: u32,
    pub(super) kind: FrameKind,
}

/// How many frames a traceback shows at either end (as Lua's own).
const TRACE_ENDS: (usize, usize) = (10, 11);

/// The rows of one coroutine, innermost first.
///
/// # Safety
/// `l` must stand still while the iterator is used.
unsafe fn rows_of(l: *mut lua_State) -> impl Iterator<Item = Row> {
    // SAFETY: by the caller's promise.
    unsafe { layout::frames(l) }.flat_map(move |frame| {
        // SAFETY: an active frame.
        let tail = unsafe { (*frame).is_tail_call() }.then_some(Row::TailCalls);
        [Some(Row::Frame { l, frame }), tail].into_iter().flatten()
    })
}

/// The rows of `l` and of everything that resumed it. `dead` is a coroutine that
/// has just died above `l`, or null; native frames at the top are left out if
/// `lua_first`.
///
/// # Safety
/// The program must stand still while the iterator is used.
pub(super) unsafe fn rows(
    l: *mut lua_State,
    dead: *mut lua_State,
    lua_first: bool,
) -> impl Iterator<Item = Row> {
    let mut states = Vec::new();
    if !dead.is_null() {
        states.push(dead);
    }
    let mut link = head();
    // SAFETY: links live as long as they are reachable from the head.
    while let Some(present) = unsafe { link.as_ref() } {
        let counts = !states.is_empty() || present.running == l;
        if counts && !states.contains(&present.running) {
            states.push(present.running);
        }
        link = present.previous;
    }
    if states.is_empty() {
        states.push(l);
    }
    let is_native = |row: &Row| match row {
        // SAFETY: an active frame.
        Row::Frame { frame, .. } => unsafe { !(**frame).is_lua() },
        _ => true,
    };
    states
        .into_iter()
        .enumerate()
        .flat_map(|(index, state)| {
            let border = (index > 0).then_some(Row::Resumer);
            // SAFETY: by the caller's promise.
            border.into_iter().chain(unsafe { rows_of(state) })
        })
        .skip_while(move |row| lua_first && is_native(row))
}

/// Describes a row.
pub(super) fn describe(core: &Core, row: Row) -> Described {
    let label = |name: &str| Described {
        name: name.to_owned(),
        source: Source { id: SourceId::Native, name: String::new() },
        line: 0,
        kind: FrameKind::Label,
    };
    let (l, frame) = match row {
        Row::Frame { l, frame } => (l, frame),
        Row::TailCalls => return label("(...tail calls...)"),
        Row::Resumer => return label("(coroutine resumed from)"),
    };
    let mut record = layout::activation(frame);
    // SAFETY: a live frame of a state that stands still; two free slots.
    unsafe {
        raw::get_info(l, c"nSl", &mut record);
        let is_lua = (*frame).is_lua();
        let name = name(core, l, &mut record, is_lua);
        let source = if is_lua {
            core.shared.tables().sources.source((*frame).proto().source_name())
        } else {
            Source { id: SourceId::Native, name: "[C]".to_owned() }
        };
        Described {
            name,
            source,
            line: u32::try_from(record.currentline).unwrap_or(0),
            kind: if is_lua { FrameKind::Lua } else { FrameKind::Native },
        }
    }
}

/// A function's name: as its caller calls it, as the libraries export it, or as
/// its source defines it.
unsafe fn name(core: &Core, l: *mut lua_State, record: &mut lua_Debug, is_lua: bool) -> String {
    // SAFETY: a filled-in record of a live frame.
    unsafe {
        if raw::text(record.what) == "main" {
            return "main chunk".to_owned();
        }
        if !is_lua {
            raw::get_info(l, c"f", record);
            ffi::lua_xmove(l, core.aux, 1);
            let exported = exported_name(core.aux);
            ffi::lua_pop(core.aux, 1);
            if let Some(name) = exported {
                return name;
            }
        }
        // `?` is the name of what came out of `t[k]`.
        let called = raw::text(record.name);
        if !raw::text(record.namewhat).is_empty() && called != "?" {
            return called;
        }
        if !is_lua {
            return "(native function)".to_owned();
        }
        let source = std::slice::from_raw_parts(record.source.cast(), record.srclen);
        let line = u32::try_from(record.linedefined).unwrap_or(0);
        defined_name(core, source, line).unwrap_or_else(|| {
            let file = core.shared.tables().sources.source(source).name;
            format!("function <{file}:{line}>")
        })
    }
}

/// The name under which a chunk defines the function at a line.
pub(super) fn defined_name(core: &Core, chunk: &[u8], line: u32) -> Option<String> {
    let mut tables = core.shared.tables();
    let definitions = tables.sources.definitions(chunk);
    definitions.iter().find(|it| it.line == line).map(|it| it.name.clone())
}

/// The name of the function on top of the stack in a loaded module, such as
/// `string.format`.
///
/// # Safety
/// Six free slots.
pub(super) unsafe fn exported_name(l: *mut lua_State) -> Option<String> {
    // SAFETY: raw accesses only; the stack is as before at the end.
    unsafe {
        let function = ffi::lua_gettop(l);
        ffi::lua_checkstack(l, 6);
        ffi::lua_getfield(l, ffi::LUA_REGISTRYINDEX, c"_LOADED".as_ptr());
        let mut found = name_below(l, function);
        if found.is_none() {
            // The scripting API's tables are globals, not modules.
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS);
            found = name_below(l, function);
        }
        ffi::lua_settop(l, function);
        found
    }
}

/// The name of the function at `function` in a table of modules, which is on
/// top of the stack.
unsafe fn name_below(l: *mut lua_State, function: i32) -> Option<String> {
    let mut found: Option<String> = None;
    // SAFETY: raw accesses only; the stack is as before at the end.
    unsafe {
        let modules = ffi::lua_gettop(l);
        if ffi::lua_type(l, modules) != ffi::LUA_TTABLE {
            return None;
        }
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, modules) != 0 {
            if let Some(module) = raw::string_at(l, -2)
                && ffi::lua_type(l, -1) == ffi::LUA_TTABLE
                && let Some(name) = field_holding(l, function)
            {
                let module = raw::lossless_text(module);
                let global = module == "_G";
                let full = if global { name } else { format!("{module}.{name}") };
                if global || found.is_none() {
                    found = Some(full);
                }
            }
            ffi::lua_pop(l, 1);
        }
    }
    found
}

/// The string key under which the table on top of the stack holds the value at
/// `index`.
unsafe fn field_holding(l: *mut lua_State, index: i32) -> Option<String> {
    // SAFETY: raw accesses only; the stack is as before at the end.
    unsafe {
        let table = ffi::lua_gettop(l);
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, table) != 0 {
            if ffi::lua_rawequal(l, -1, index) != 0
                && let Some(name) = raw::string_at(l, -2)
            {
                let name = raw::lossless_text(name);
                ffi::lua_settop(l, table);
                return Some(name);
            }
            ffi::lua_pop(l, 1);
        }
        None
    }
}

/// Source and line of a live Lua frame.
pub(super) fn location(
    core: &Core,
    l: *mut lua_State,
    frame: *mut CallInfo,
) -> Option<(Source, u32)> {
    // SAFETY: a live frame of a state on this thread.
    let proto = unsafe {
        if frame.is_null() || !(*frame).is_lua() {
            return None;
        }
        (*frame).proto()
    };
    let source = core.shared.tables().sources.source(proto.source_name());
    Some((source, super::step::line_of(l, frame)))
}

/// The frames of one coroutine as text, without its first `skip`.
pub(super) fn traceback(core: &Core, l: *mut lua_State, skip: usize) -> String {
    // SAFETY: called where `l` stands still.
    let count = unsafe { rows_of(l) }.count();
    let (first, last) = TRACE_ENDS;
    let mut text = String::new();
    // SAFETY: as above.
    for (index, row) in unsafe { rows_of(l) }.enumerate().skip(skip) {
        let position = index - skip;
        let shown = count - skip;
        if shown > first + last && position == first {
            let _ = write!(text, "\n\t...\t(skipping {} levels)", shown - first - last);
        }
        if shown <= first + last || position < first || position >= shown - last {
            text.push_str("\n\t");
            text.push_str(&trace_line(core, row));
        }
    }
    text
}

fn trace_line(core: &Core, row: Row) -> String {
    let described = describe(core, row);
    let place = match &described.source.id {
        SourceId::File(path) => format!("{}:{}", path.display(), described.line),
        SourceId::Text(_) => format!("{}:{}", described.source.name, described.line),
        SourceId::Native => "[C]".to_owned(),
    };
    match described.kind {
        FrameKind::Label => described.name,
        _ if described.name == "main chunk" || described.name.starts_with("function <") => {
            format!("{place}: in {}", described.name)
        }
        _ => format!("{place}: in function '{}'", described.name),
    }
}

/// The traceback of an error thrown in `l`, resumers included, without its
/// first `skip` frames.
pub(super) fn full_traceback(core: &Core, l: *mut lua_State, skip: usize) -> String {
    let mut text = "stack traceback:".to_owned();
    let mut link = head();
    let mut next = l;
    let mut seen = ptr::null_mut();
    while !next.is_null() {
        text.push_str(&traceback(core, next, if next == l { skip } else { 0 }));
        seen = if seen == next { return text } else { next };
        // SAFETY: links live as long as they are reachable from the head.
        next = ptr::null_mut();
        while let Some(present) = unsafe { link.as_ref() } {
            link = present.previous;
            if present.running != seen {
                next = present.running;
                text.push_str("\n\t(coroutine resumed from)");
                break;
            }
        }
    }
    text
}
