//! The children of containers, page by page.

#![allow(unsafe_code)]

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::{
    FEW, Handle, field_name, is_in_sequence, is_library, keep, keep_value, locals, push_hash_start,
    push_kept, push_key, upvalues, varargs, variable,
};
use crate::{
    debug::{
        evaluate::{self, Binding},
        inspector::{FramePlace, Inspector},
        model::{Children, Page, Variable},
        render::{Renderer, is_identifier},
    },
    lua::raw,
};

/// The children of a container.
pub(in crate::debug) fn children(
    inspector: &Inspector<'_>,
    handle: &Handle,
    page: Page,
) -> Vec<Variable> {
    let renderer = Renderer::new(inspector.core, page.hex);
    let lister = Lister { inspector, renderer, page, place: handle.place() };
    match handle {
        Handle::Locals(place) => lister.locals(*place),
        Handle::Varargs(place) => lister.varargs(*place),
        Handle::Upvalues(place) => lister.upvalues(*place),
        Handle::Globals { library, .. } => lister.globals(*library),
        Handle::Error(_) => lister.error(),
        Handle::Value { number, path, .. } => {
            push_kept(inspector, *number);
            lister.value(path.as_deref(), *number)
        }
        Handle::Rest { number, after, path, .. } => {
            push_kept(inspector, *number);
            push_kept(inspector, *after);
            lister.rest(path.as_deref(), *number)
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
