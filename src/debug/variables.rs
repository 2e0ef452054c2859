//! Scopes, and the children of values.
//!
//! A table of a million entries answers in the time of one page: the sequence is
//! read by index, the rest by `lua_next` from where the array part ends, and
//! nothing is counted beyond a bound. What does not fit a page is behind a `…`
//! child, which goes on after the last key shown.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int};

use mlua::ffi::{self, lua_State};

use crate::{
    debug::{
        evaluate::{self, Binding},
        inspector::{FramePlace, Inspector, id_of},
        model::{Children, Page, Scope, Source, Variable},
        render::{Renderer, is_identifier, quoted},
    },
    lua::{layout, raw},
};

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
        (1..)
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

/// The children of a container.
pub(super) fn children(
    inspector: &Inspector<'_>,
    handle: &Handle,
    page: Page,
) -> Result<Vec<Variable>, String> {
    let renderer = Renderer::new(inspector.core, page.hex);
    let lister = Lister { inspector, renderer, page, place: handle.place() };
    match handle {
        Handle::Locals(place) => Ok(lister.locals(*place)),
        Handle::Varargs(place) => Ok(lister.varargs(*place)),
        Handle::Upvalues(place) => Ok(lister.upvalues(*place)),
        Handle::Globals { library, .. } => Ok(lister.globals(*library)),
        Handle::Error(_) => Ok(lister.error()),
        Handle::Value { number, path, .. } => {
            push_kept(inspector, *number);
            Ok(lister.value(path.as_deref(), *number))
        }
        Handle::Rest { number, after, path, .. } => {
            push_kept(inspector, *number);
            push_kept(inspector, *after);
            Ok(lister.rest(path.as_deref(), *number))
        }
    }
}

/// Lists children for one request. Values are put on the auxiliary stack, which
/// is as before after each list.
struct Lister<'a> {
    inspector: &'a Inspector<'a>,
    renderer: Renderer<'a>,
    page: Page,
    place: FramePlace,
}

impl Lister<'_> {
    fn l(&self) -> *mut lua_State {
        self.inspector.core.aux
    }

    /// The part of a list that was asked for.
    fn window<T>(&self, items: Vec<T>) -> impl Iterator<Item = T> + use<T> {
        let count = if self.page.count == 0 { usize::MAX } else { self.page.count };
        items.into_iter().skip(self.page.start).take(count)
    }

    fn wants(&self, children: Children) -> bool {
        self.page.filter.is_none_or(|filter| filter == children)
    }

    /// Takes the value on top of the auxiliary stack.
    fn take(&self, name: String, path: Option<String>) -> Variable {
        let l = self.l();
        // SAFETY: the value is there.
        unsafe {
            let index = ffi::lua_gettop(l);
            let taken = variable(self.inspector, &self.renderer, name, index, path, self.place);
            ffi::lua_settop(l, index - 1);
            taken
        }
    }

    fn locals(&self, place: FramePlace) -> Vec<Variable> {
        if !self.wants(Children::Named) {
            return Vec::new();
        }
        let record = Inspector::record(place);
        self.window(locals(place))
            .map(|local| {
                // SAFETY: the frame stands still.
                unsafe {
                    ffi::lua_checkstack(self.l(), 4);
                    ffi::lua_getlocal(place.l, &raw const record, local.index);
                    ffi::lua_xmove(place.l, self.l(), 1);
                }
                let is_name = is_identifier(local.shown.as_bytes());
                let path = (is_name && !local.shadowed).then(|| local.shown.clone());
                self.take(local.shown, path)
            })
            .collect()
    }

    fn varargs(&self, place: FramePlace) -> Vec<Variable> {
        let record = Inspector::record(place);
        self.window((1..=varargs(place)).collect())
            .map(|number| {
                let index = c_int::try_from(number).unwrap_or(c_int::MAX);
                // SAFETY: the frame stands still.
                unsafe {
                    ffi::lua_checkstack(self.l(), 4);
                    ffi::lua_getlocal(place.l, &raw const record, -index);
                    ffi::lua_xmove(place.l, self.l(), 1);
                }
                self.take(format!("[{number}]"), Some(format!("(select({number}, ...))")))
            })
            .collect()
    }

    fn upvalues(&self, place: FramePlace) -> Vec<Variable> {
        self.window(upvalues(place))
            .map(|(name, index)| {
                // SAFETY: the frame stands still.
                unsafe {
                    ffi::lua_checkstack(self.l(), 4);
                    let binding = Binding::Upvalue(index);
                    evaluate::push_bound(place.l, place.frame, &binding, self.l());
                }
                let path = Some(name.clone());
                self.take(name, path)
            })
            .collect()
    }

    fn globals(&self, library: bool) -> Vec<Variable> {
        let l = self.l();
        let mut names = Vec::new();
        // SAFETY: raw accesses; the globals stay on the stack until the end.
        unsafe {
            ffi::lua_checkstack(l, 8);
            let base = ffi::lua_gettop(l);
            evaluate::push_globals(self.place.l, self.place.frame, l);
            if ffi::lua_type(l, -1) != ffi::LUA_TTABLE {
                ffi::lua_settop(l, base);
                return Vec::new();
            }
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, base + 1) != 0 {
                ffi::lua_pop(l, 1);
                if let Some(name) = raw::string_at(l, -1)
                    && is_library(name) == library
                {
                    names.push(name.to_vec());
                }
            }
            names.sort_unstable();
            let found = self
                .window(names)
                .map(|name| {
                    raw::push_bytes(l, &name);
                    ffi::lua_rawget(l, base + 1);
                    let (shown, path) = field_name(&name, None);
                    self.take(shown, Some(path))
                })
                .collect();
            ffi::lua_settop(l, base);
            found
        }
    }

    fn error(&self) -> Vec<Variable> {
        let slot = self.inspector.core.stop.borrow().as_ref().and_then(|stop| stop.error);
        let Some(slot) = slot else { return Vec::new() };
        // SAFETY: the error object is kept at this index while stopped.
        unsafe { ffi::lua_pushvalue(self.l(), slot) };
        vec![self.take("(error)".to_owned(), None)]
    }

    /// The children of the value on top of the stack, which is popped.
    fn value(&self, path: Option<&str>, number: i64) -> Vec<Variable> {
        let l = self.l();
        // SAFETY: the value is on top; the stack is as before it at the end.
        unsafe {
            let index = ffi::lua_gettop(l);
            let children = match ffi::lua_type(l, index) {
                ffi::LUA_TTABLE => self.table(index, path, number),
                ffi::LUA_TFUNCTION => self.closure(index),
                _ => self.userdata(index),
            };
            ffi::lua_settop(l, index - 1);
            children
        }
    }

    unsafe fn table(&self, index: c_int, path: Option<&str>, number: i64) -> Vec<Variable> {
        let l = self.l();
        let mut children = Vec::new();
        // SAFETY: a table at `index`.
        unsafe {
            ffi::lua_checkstack(l, 10);
            let count = ffi::lua_rawlen(l, index);
            if self.wants(Children::Indexed) {
                self.sequence(index, path, count, &mut children);
            }
            if self.page.filter == Some(Children::Indexed) {
                return children;
            }
            // Without a filter, one range runs over both kinds.
            let both = self.page.filter.is_none();
            let start = self.page.start.saturating_sub(if both { count } else { 0 });
            let limit = match self.page.count {
                0 => FEW,
                wanted => wanted.saturating_sub(children.len()),
            };
            if limit > 0 {
                self.metatable(index, start, path, &mut children);
                push_hash_start(l, index);
                self.fields(index, path, number, start, limit, &mut children);
            }
        }
        children
    }

    unsafe fn sequence(
        &self,
        index: c_int,
        path: Option<&str>,
        count: usize,
        children: &mut Vec<Variable>,
    ) {
        let wanted = if self.page.count == 0 { FEW } else { self.page.count };
        let last = count.min(self.page.start.saturating_add(wanted));
        for position in self.page.start + 1..=last {
            let key = i64::try_from(position).unwrap_or(i64::MAX);
            // SAFETY: a table at `index`.
            unsafe { ffi::lua_rawgeti(self.l(), index, key) };
            let name = format!("[{position}]");
            let path = path.map(|path| format!("{path}{name}"));
            children.push(self.take(name, path));
        }
        if self.page.count == 0 && last < count {
            children.push(Variable {
                name: "…".to_owned(),
                value: format!("{} more elements; ask for them by range", count - last),
                ..Variable::default()
            });
        }
    }

    /// The metatable comes first of the named children.
    unsafe fn metatable(
        &self,
        index: c_int,
        start: usize,
        path: Option<&str>,
        children: &mut Vec<Variable>,
    ) {
        // SAFETY: a table or userdata at `index`.
        unsafe {
            if start == 0 && ffi::lua_getmetatable(self.l(), index) != 0 {
                let path = path.map(|path| format!("getmetatable({path})"));
                let mut child = self.take("(metatable)".to_owned(), path);
                child.writable = false;
                children.push(child);
            }
        }
    }

    /// Entries outside the sequence, from after the key on top of the stack.
    /// If they are few and all wanted, in the order of their names.
    unsafe fn fields(
        &self,
        index: c_int,
        path: Option<&str>,
        number: i64,
        start: usize,
        limit: usize,
        children: &mut Vec<Variable>,
    ) {
        let l = self.l();
        let before = children.len();
        // SAFETY: a table at `index`, a key of it on top.
        unsafe {
            let count = ffi::lua_rawlen(l, index);
            let mut skip = start;
            let mut found = 0;
            while ffi::lua_next(l, index) != 0 {
                let value = ffi::lua_gettop(l);
                if is_in_sequence(l, value - 1, count) {
                    ffi::lua_pop(l, 1);
                } else if skip > 0 {
                    skip -= 1;
                    ffi::lua_pop(l, 1);
                } else if found == limit {
                    ffi::lua_pop(l, 2);
                    if self.page.count == 0 {
                        // Goes on after the key of the last child shown.
                        let more = self.more(path, number, children.last());
                        children.push(more);
                    }
                    return;
                } else {
                    found += 1;
                    let name = self.renderer.key(value - 1);
                    let path = path.and_then(|path| self.child_path(value - 1, path));
                    children.push(self.take(name, path));
                }
            }
        }
        if self.page.count == 0 {
            let first = before.min(children.len());
            children[first..].sort_by(|a, b| natural(&a.name).cmp(&natural(&b.name)));
        }
    }

    /// The expression for the field whose key is at `key`.
    fn child_path(&self, key: c_int, path: &str) -> Option<String> {
        let l = self.l();
        // SAFETY: raw access.
        unsafe {
            if let Some(name) = raw::string_at(l, key) {
                return Some(field_name(name, Some(path)).1);
            }
            matches!(ffi::lua_type(l, key), ffi::LUA_TNUMBER | ffi::LUA_TBOOLEAN)
                .then(|| format!("{path}{}", self.renderer.key(key)))
        }
    }

    /// The `…` child after `last`.
    fn more(&self, path: Option<&str>, number: i64, last: Option<&Variable>) -> Variable {
        let l = self.l();
        let shown = last.map(|last| last.name.clone()).unwrap_or_default();
        // The key of the last child is found again by its name.
        push_kept(self.inspector, number);
        // SAFETY: the table is on top; `push_key` leaves one value more.
        let after = unsafe {
            let table = ffi::lua_gettop(l);
            push_key(&self.renderer, l, table, &shown);
            let after = keep_value(self.inspector, -1);
            ffi::lua_settop(l, table - 1);
            after
        };
        let path = path.map(str::to_owned);
        let handle = Handle::Rest { number, after, path, place: self.place };
        Variable {
            name: "…".to_owned(),
            value: "more entries".to_owned(),
            reference: keep(self.inspector, handle),
            ..Variable::default()
        }
    }

    /// Children of a table after the key on top of the stack (above the table).
    fn rest(&self, path: Option<&str>, number: i64) -> Vec<Variable> {
        let l = self.l();
        let mut children = Vec::new();
        // SAFETY: table and key are on top; both are popped.
        unsafe {
            let table = ffi::lua_gettop(l) - 1;
            let limit = if self.page.count == 0 { FEW } else { self.page.count };
            self.fields(table, path, number, self.page.start, limit, &mut children);
            ffi::lua_settop(l, table - 1);
        }
        children
    }

    unsafe fn closure(&self, index: c_int) -> Vec<Variable> {
        let l = self.l();
        let mut children = Vec::new();
        // SAFETY: a Lua function at `index`.
        unsafe {
            ffi::lua_checkstack(l, 6);
            for number in 1.. {
                let name = ffi::lua_getupvalue(l, index, number);
                if name.is_null() {
                    break;
                }
                let name = raw::text(name);
                if name == "_ENV" {
                    ffi::lua_pop(l, 1);
                } else {
                    children.push(self.take(name, None));
                }
            }
        }
        self.window(children).collect()
    }

    unsafe fn userdata(&self, index: c_int) -> Vec<Variable> {
        let l = self.l();
        let mut children = Vec::new();
        // SAFETY: a userdata at `index`.
        unsafe {
            ffi::lua_checkstack(l, 10);
            self.metatable(index, 0, None, &mut children);
            if ffi::luaL_getmetafield(l, index, c"__pairs".as_ptr()) != ffi::LUA_TNIL {
                ffi::lua_pop(l, 1);
                self.pairs(index, &mut children);
            }
        }
        self.window(children).collect()
    }

    /// What `pairs` says of a userdata, under a time limit.
    unsafe fn pairs(&self, index: c_int, children: &mut Vec<Variable>) {
        let collect = "return function(object)\n\
            local keys, values = {}, {}\n\
            for key, value in pairs(object) do\n\
            keys[#keys + 1], values[#keys + 1] = key, value\n\
            if #keys == 1000 then break end\n\
            end\n\
            return keys, values\nend";
        let l = self.l();
        let core = self.inspector.core;
        let limit = std::time::Duration::from_millis(200);
        // SAFETY: the iteration runs on a coroutine of its own.
        unsafe {
            let top = ffi::lua_gettop(l);
            let co = ffi::lua_newthread(l);
            let loaded = ffi::luaL_loadbufferx(
                co,
                collect.as_ptr().cast(),
                collect.len(),
                evaluate::CHUNK_NAME.as_ptr(),
                c"t".as_ptr(),
            );
            if loaded == ffi::LUA_OK {
                ffi::lua_call(co, 0, 1);
                ffi::lua_pushvalue(l, index);
                ffi::lua_xmove(l, co, 1);
                let null = std::ptr::null_mut();
                match core.run(co, null, std::ptr::null_mut(), 1, limit) {
                    Ok(2) => {
                        ffi::lua_xmove(co, l, 2);
                        let (keys, values) = (ffi::lua_gettop(l) - 1, ffi::lua_gettop(l));
                        let count = i64::try_from(ffi::lua_rawlen(l, keys)).unwrap_or(0);
                        for position in 1..=count {
                            ffi::lua_rawgeti(l, keys, position);
                            let name = self.renderer.key(ffi::lua_gettop(l));
                            ffi::lua_pop(l, 1);
                            ffi::lua_rawgeti(l, values, position);
                            children.push(self.take(name, None));
                        }
                    }
                    Ok(_) => {}
                    Err(message) => children.push(Variable {
                        name: "(pairs)".to_owned(),
                        value: message,
                        ..Variable::default()
                    }),
                }
            }
            ffi::lua_settop(l, top);
        }
    }
}

/// Sorts `[2]` before `[10]`, and names by their text.
fn natural(name: &str) -> (bool, i64, &str) {
    let number = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match number.and_then(|number| number.parse().ok()) {
        Some(number) => (true, number, ""),
        None => (name.starts_with('['), i64::MAX, name),
    }
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

/// Sets a child of a container to the value at `value` of the auxiliary stack.
pub(super) fn assign(
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
