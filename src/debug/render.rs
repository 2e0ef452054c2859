//! Values as text.
//!
//! A value is rendered on the auxiliary stack, raw: the only user code ever
//! called is `__tostring` (and `__pairs`, by [`crate::debug::variables`]), under a
//! time limit, and only within this renderer's budget.

#![allow(unsafe_code)]

mod whole;

use std::{
    cell::Cell,
    ffi::c_int,
    fmt::Write as _,
    ptr,
    time::{Duration, Instant},
};

use mlua::ffi::{self, lua_State};

use crate::{
    debug::{core::Core, stack},
    lua::raw,
};

/// Longest string shown in a variable, in bytes.
const MAX_STRING: usize = 1024;
/// Length at which a table's preview ends, in bytes.
const MAX_PREVIEW: usize = 100;
/// Most entries in a table's preview.
const MAX_ENTRIES: usize = 16;
/// Longest run of one `__tostring`.
const TOSTRING_LIMIT: Duration = Duration::from_millis(100);
/// Longest run of all of a renderer's `__tostring`s.
const BUDGET: Duration = Duration::from_millis(300);
/// Deepest nesting of a full rendering.
const MAX_DEPTH: usize = 16;
/// Longest full rendering, in bytes.
const MAX_FULL: usize = 1 << 20;
/// Longest text of a value at a prompt.
const MAX_PRETTY: usize = 16 << 10;

/// Renders values for one request.
pub(super) struct Renderer<'a> {
    core: &'a Core,
    hex: bool,
    spent: Cell<Duration>,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(core: &'a Core, hex: bool) -> Self {
        Self { core, hex, spent: Cell::new(Duration::ZERO) }
    }

    /// The value at `index` of the auxiliary stack, in one line.
    pub(super) fn value(&self, index: c_int) -> String {
        self.short(index, MAX_STRING, true)
    }

    /// The whole value, over several lines if it is a table.
    pub(super) fn full(&self, index: c_int) -> String {
        whole::Whole { renderer: self, limit: MAX_FULL, width: 0 }.show(index)
    }

    /// A value as `tostring` has it (strings as they are).
    ///
    /// # Safety
    /// The value at `index` of `l` exists; one free slot.
    pub(super) unsafe fn message_on(&self, l: *mut lua_State, index: c_int) -> String {
        // SAFETY: by the caller's promise.
        unsafe {
            self.with_copy(l, index, |aux, index| {
                if let Some(text) = raw::string_at(aux, index) {
                    return raw::lossless_text(text);
                }
                match ffi::lua_type(aux, index) {
                    ffi::LUA_TTABLE | ffi::LUA_TUSERDATA => self
                        .tostring(index)
                        .and_then(Result::ok)
                        .unwrap_or_else(|| self.short(index, MAX_STRING, true)),
                    _ => self.short(index, MAX_STRING, true),
                }
            })
        }
    }

    /// A value for a person at a prompt: strings quoted, tables open, small ones
    /// on one line.
    ///
    /// # Safety
    /// As for [`Renderer::message_on`].
    pub(super) unsafe fn pretty_on(&self, l: *mut lua_State, index: c_int) -> String {
        // SAFETY: by the caller's promise.
        unsafe {
            self.with_copy(l, index, |_, index| match self.tostring(index) {
                Some(Ok(text)) => text,
                _ => whole::Whole { renderer: self, limit: MAX_PRETTY, width: 72 }.show(index),
            })
        }
    }

    /// The message of an error without calling anything.
    ///
    /// # Safety
    /// As for [`Renderer::message_on`].
    pub(super) unsafe fn plain_message(l: *mut lua_State, index: c_int) -> String {
        // SAFETY: by the caller's promise.
        unsafe {
            match ffi::lua_type(l, index) {
                ffi::LUA_TSTRING => {
                    raw::lossless_text(raw::string_at(l, index).unwrap_or_default())
                        .replace("(debug console):1: ", "")
                }
                ffi::LUA_TNIL => "nil".to_owned(),
                _ => format!("(error object is a {} value)", raw::type_name(l, index)),
            }
        }
    }

    /// `__name`, or the type's name.
    ///
    /// # Safety
    /// As for [`Renderer::message_on`].
    pub(super) unsafe fn type_name_on(&self, l: *mut lua_State, index: c_int) -> String {
        // SAFETY: by the caller's promise.
        unsafe { self.with_copy(l, index, |_, index| self.type_name(index)) }
    }

    /// The fields of a table with string keys, as `(name, value)`.
    ///
    /// # Safety
    /// As for [`Renderer::message_on`].
    pub(super) unsafe fn fields_on(
        &self,
        l: *mut lua_State,
        index: c_int,
    ) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        // SAFETY: by the caller's promise.
        unsafe {
            self.with_copy(l, index, |aux, index| {
                if ffi::lua_type(aux, index) != ffi::LUA_TTABLE {
                    return;
                }
                ffi::lua_pushnil(aux);
                while fields.len() < 50 && ffi::lua_next(aux, index) != 0 {
                    let value = ffi::lua_gettop(aux);
                    fields.push((self.key(value - 1), self.value(value)));
                    ffi::lua_pop(aux, 1);
                }
            });
        }
        fields.sort();
        fields
    }

    /// Gives `use_copy` the stack index of a copy on the auxiliary stack.
    unsafe fn with_copy<R>(
        &self,
        l: *mut lua_State,
        index: c_int,
        use_copy: impl FnOnce(*mut lua_State, c_int) -> R,
    ) -> R {
        let aux = self.core.aux;
        // SAFETY: by the callers' promise; the auxiliary stack is as before at
        // the end.
        unsafe {
            ffi::lua_checkstack(aux, 20);
            let top = ffi::lua_gettop(aux);
            ffi::lua_pushvalue(l, index);
            if l != aux {
                ffi::lua_xmove(l, aux, 1);
            }
            let result = use_copy(aux, top + 1);
            ffi::lua_settop(aux, top);
            result
        }
    }

    /// `__name`, or the type's name, of a value on the auxiliary stack.
    pub(super) fn type_name(&self, index: c_int) -> String {
        let l = self.core.aux;
        // SAFETY: raw accesses; the stack is as before at the end.
        unsafe {
            if matches!(ffi::lua_type(l, index), ffi::LUA_TTABLE | ffi::LUA_TUSERDATA)
                && ffi::luaL_getmetafield(l, index, c"__name".as_ptr()) != ffi::LUA_TNIL
            {
                let name = raw::string_at(l, -1).map(raw::lossless_text);
                ffi::lua_pop(l, 1);
                if let Some(name) = name {
                    return name;
                }
            }
            raw::type_name(l, index).to_owned()
        }
    }

    fn short(&self, index: c_int, max_string: usize, open_tables: bool) -> String {
        let l = self.core.aux;
        // SAFETY: raw accesses; the stack is as before at the end.
        unsafe {
            match ffi::lua_type(l, index) {
                ffi::LUA_TNIL => "nil".to_owned(),
                ffi::LUA_TBOOLEAN => (ffi::lua_toboolean(l, index) != 0).to_string(),
                ffi::LUA_TNUMBER => self.number(index),
                ffi::LUA_TSTRING => {
                    let bytes = raw::string_at(l, index).unwrap_or_default();
                    if bytes.len() <= max_string {
                        return quoted(bytes);
                    }
                    format!("{}… ({} bytes)", quoted(&bytes[..max_string]), bytes.len())
                }
                ffi::LUA_TFUNCTION => self.function(index),
                ffi::LUA_TTHREAD => self.thread(index),
                ffi::LUA_TTABLE if !open_tables => {
                    ffi::lua_pushnil(l);
                    let empty = ffi::lua_next(l, index) == 0;
                    if !empty {
                        ffi::lua_pop(l, 2);
                    }
                    if empty { "{}".to_owned() } else { "{…}".to_owned() }
                }
                ffi::LUA_TTABLE => match self.tostring(index) {
                    Some(Ok(text)) => text,
                    Some(Err(message)) => {
                        format!("{} (__tostring: {message})", self.table(index))
                    }
                    None => self.table(index),
                },
                _ => match self.tostring(index) {
                    Some(Ok(text)) => text,
                    Some(Err(message)) => {
                        format!("{} (__tostring: {message})", self.type_name(index))
                    }
                    None => {
                        format!("{}: {:p}", self.type_name(index), ffi::lua_topointer(l, index))
                    }
                },
            }
        }
    }

    fn number(&self, index: c_int) -> String {
        let l = self.core.aux;
        // SAFETY: a number; conversion is done on a copy.
        unsafe {
            if self.hex && ffi::lua_isinteger(l, index) != 0 {
                return format!("{:#x}", ffi::lua_tointeger(l, index));
            }
            ffi::lua_pushvalue(l, index);
            let mut length = 0;
            let text = ffi::lua_tolstring(l, -1, &raw mut length);
            let text = raw::text(text);
            ffi::lua_pop(l, 1);
            text
        }
    }

    fn function(&self, index: c_int) -> String {
        let l = self.core.aux;
        // SAFETY: a function; `>` pops its copy.
        unsafe {
            ffi::lua_pushvalue(l, index);
            if ffi::lua_iscfunction(l, -1) != 0 {
                let name = stack::exported_name(l);
                ffi::lua_pop(l, 1);
                return match name {
                    Some(name) => format!("function {name} (native)"),
                    None => "function (native)".to_owned(),
                };
            }
            let mut record = std::mem::zeroed();
            raw::get_info(l, c">S", &mut record);
            let chunk = std::slice::from_raw_parts(record.source.cast(), record.srclen);
            let line = u32::try_from(record.linedefined).unwrap_or(0);
            let file = self.core.shared.tables().sources.source(chunk).name;
            match stack::defined_name(self.core, chunk, line) {
                Some(name) => format!("function {name} ({file}:{line})"),
                None => format!("function ({file}:{line})"),
            }
        }
    }

    fn thread(&self, index: c_int) -> String {
        // SAFETY: a coroutine, looked at only.
        unsafe {
            let co = ffi::lua_tothread(self.core.aux, index);
            let mut link = super::core::head();
            let mut first = true;
            while let Some(present) = link.as_ref() {
                if present.running == co {
                    return format!("thread ({})", if first { "running" } else { "normal" });
                }
                first = false;
                link = present.previous;
            }
            let status = match ffi::lua_status(co) {
                ffi::LUA_YIELD => "suspended",
                ffi::LUA_OK if ffi::lua_gettop(co) > 0 => "suspended",
                _ => "dead",
            };
            format!("thread ({status})")
        }
    }

    /// A table's first entries: the array part, then names in order.
    fn table(&self, index: c_int) -> String {
        let l = self.core.aux;
        let mut parts = Vec::new();
        let mut length = 0;
        let mut complete = true;
        // SAFETY: raw accesses; the stack is as before at the end.
        unsafe {
            ffi::lua_checkstack(l, 10);
            let count = ffi::lua_rawlen(l, index);
            let mut push = |part: String| {
                if parts.len() >= MAX_ENTRIES || length + part.len() > MAX_PREVIEW {
                    return false;
                }
                length += part.len() + 2;
                parts.push(part);
                true
            };
            for position in 1..=count {
                let Ok(position) = i64::try_from(position) else { break };
                ffi::lua_rawgeti(l, index, position);
                let fits = push(self.short(ffi::lua_gettop(l), 40, false));
                ffi::lua_pop(l, 1);
                if !fits {
                    complete = false;
                    break;
                }
            }
            if complete {
                let (mut fields, more) = self.fields(index, count);
                fields.sort();
                complete = !more;
                for (_, part) in fields {
                    if !push(part) {
                        complete = false;
                        break;
                    }
                }
            }
        }
        if !complete {
            parts.push("…".to_owned());
        }
        format!("{{{}}}", parts.join(", "))
    }

    /// Some entries outside the sequence `1..=count`, names before other keys;
    /// `true` if there are more.
    unsafe fn fields(&self, index: c_int, count: usize) -> (Vec<(bool, String)>, bool) {
        let l = self.core.aux;
        let mut fields = Vec::new();
        // SAFETY: raw accesses; the stack is as before at the end.
        unsafe {
            super::variables::push_hash_start(l, index);
            let mut looked = 0;
            while ffi::lua_next(l, index) != 0 {
                let value = ffi::lua_gettop(l);
                looked += 1;
                if !super::variables::is_in_sequence(l, value - 1, count) {
                    if fields.len() == MAX_ENTRIES || looked > 1000 {
                        ffi::lua_pop(l, 2);
                        return (fields, true);
                    }
                    let is_other = ffi::lua_type(l, value - 1) != ffi::LUA_TSTRING;
                    let key = self.key(value - 1);
                    fields.push((is_other, format!("{key} = {}", self.short(value, 40, false))));
                }
                ffi::lua_pop(l, 1);
            }
        }
        (fields, false)
    }

    /// A key as it is written in a table constructor.
    pub(super) fn key(&self, index: c_int) -> String {
        let l = self.core.aux;
        // SAFETY: raw access.
        match unsafe { raw::string_at(l, index) } {
            Some(name) if is_identifier(name) => String::from_utf8_lossy(name).into_owned(),
            _ => format!("[{}]", self.short(index, MAX_STRING, false)),
        }
    }

    /// What `__tostring` says of the value, if it has one and the budget lasts.
    fn tostring(&self, index: c_int) -> Option<Result<String, String>> {
        let l = self.core.aux;
        // SAFETY: the metamethod runs on a coroutine of its own.
        unsafe {
            if ffi::luaL_getmetafield(l, index, c"__tostring".as_ptr()) == ffi::LUA_TNIL {
                return None;
            }
            if self.spent.get() >= BUDGET {
                ffi::lua_pop(l, 1);
                return None;
            }
            let started = Instant::now();
            let top = ffi::lua_gettop(l) - 1;
            ffi::lua_checkstack(l, 10);
            let co = ffi::lua_newthread(l);
            ffi::lua_pushvalue(l, top + 1);
            ffi::lua_pushvalue(l, index);
            ffi::lua_xmove(l, co, 2);
            let outcome = self.core.run(co, ptr::null_mut(), ptr::null_mut(), 1, TOSTRING_LIMIT);
            let text = outcome.and_then(|count| {
                let text = (count > 0).then(|| raw::string_at(co, -count)).flatten();
                text.map(raw::lossless_text).ok_or_else(|| "did not return a string".to_owned())
            });
            ffi::lua_settop(l, top);
            self.spent.set(self.spent.get() + started.elapsed());
            Some(text)
        }
    }
}

/// The words of the language.
pub(super) const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
    "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Whether a string can be written as a name.
pub(crate) fn is_identifier(name: &[u8]) -> bool {
    let word = |byte: &u8| *byte == b'_' || byte.is_ascii_alphanumeric();
    name.first().is_some_and(|first| !first.is_ascii_digit())
        && name.iter().all(word)
        && !KEYWORDS.iter().any(|keyword| keyword.as_bytes() == name)
}

/// A string as a Lua literal; bytes that are no text become `\xNN`.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                control if control.is_ascii_control() => {
                    let _ = write!(text, "\\x{:02X}", control as u32);
                }
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_so_that_lua_reads_them_back() {
        assert_eq!(quoted(b"a\"b\\c\n"), r#""a\"b\\c\n""#);
        assert_eq!(quoted(b"\x00\x7f\xff"), r#""\x00\x7F\xFF""#);
        assert_eq!(quoted("é…".as_bytes()), "\"é…\"");
    }

    #[test]
    fn identifiers() {
        assert!(is_identifier(b"_a1"));
        for other in [&b""[..], b"1a", b"a b", b"end", b"a-b", "\u{e9}".as_bytes()] {
            assert!(!is_identifier(other));
        }
    }
}
