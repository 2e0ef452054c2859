//! Names: resolving `a.b[1]` without calling anything (hover), and proposing
//! what could be written next (the debug console).

#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    ffi::{CString, c_int},
};

use mlua::ffi::{self, lua_State};

use crate::{
    debug::{
        evaluate::{self, Binding},
        inspector::{FramePlace, Inspector},
        model::{Completion, CompletionKind, Variable},
        render::{KEYWORDS, Renderer, is_identifier},
        variables,
    },
    lua::{layout, raw},
};

/// Most proposals for one question.
const MAX_PROPOSALS: usize = 1000;
/// Longest chain of `__index` tables followed.
const MAX_INDEX: usize = 16;

/// A step of a path.
#[derive(Debug, PartialEq)]
enum Key {
    Name(Vec<u8>),
    Integer(i64),
}

/// Reads `name`, then `.name`, `:name`, `[1]` and `["text"]`.
fn parse_path(text: &str) -> Option<Vec<Key>> {
    let is_word = |it: char| it == '_' || it.is_ascii_alphanumeric();
    let mut rest = text.trim();
    let mut keys = Vec::new();
    while !rest.is_empty() {
        rest = rest.trim_start();
        if let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = inner.split_once(']')?;
            let key = key.trim();
            let quoted = ['"', '\''].into_iter().find_map(|quote| {
                key.strip_prefix(quote)?.strip_suffix(quote).filter(|it| !it.contains('\\'))
            });
            keys.push(match quoted {
                Some(text) => Key::Name(text.as_bytes().to_vec()),
                None => Key::Integer(key.parse().ok()?),
            });
            rest = after;
            continue;
        }
        if !keys.is_empty() {
            rest = rest.strip_prefix(['.', ':'])?.trim_start();
        }
        let length = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
        let name = &rest[..length];
        if !is_identifier(name.as_bytes()) {
            return None;
        }
        keys.push(Key::Name(name.as_bytes().to_vec()));
        rest = &rest[length..];
    }
    matches!(keys.first(), Some(Key::Name(_))).then_some(keys)
}

/// The value of a path in a frame, raw; `None` if the text is no path.
pub(super) fn resolve(
    inspector: &Inspector<'_>,
    place: FramePlace,
    text: &str,
    renderer: &Renderer<'_>,
) -> Option<Result<Variable, String>> {
    let keys = parse_path(text)?;
    let l = inspector.core.aux;
    // SAFETY: the program stands still; the stack is as before at the end.
    unsafe {
        let base = ffi::lua_gettop(l);
        let found = push_path(inspector, place, &keys);
        let result = if found {
            let (index, path) = (ffi::lua_gettop(l), Some(text.trim().to_owned()));
            Ok(variables::variable(inspector, renderer, String::new(), index, path, place))
        } else {
            Err(format!("'{}' has no value here", text.trim()))
        };
        ffi::lua_settop(l, base);
        Some(result)
    }
}

/// Pushes the value of a path; `false` if it leads nowhere.
unsafe fn push_path(inspector: &Inspector<'_>, place: FramePlace, keys: &[Key]) -> bool {
    let l = inspector.core.aux;
    // SAFETY: the program stands still.
    unsafe {
        ffi::lua_checkstack(l, 10);
        let Some((Key::Name(first), rest)) = keys.split_first() else { return false };
        let Ok(name) = CString::new(first.as_slice()) else { return false };
        let binding = evaluate::bind(place.l, place.frame, &name);
        if matches!(binding, Binding::Global) {
            evaluate::push_globals(place.l, place.frame, l);
            if !push_field(l, &Key::Name(first.clone())) || ffi::lua_isnil(l, -1) != 0 {
                return false;
            }
        } else {
            evaluate::push_bound(place.l, place.frame, &binding, l);
        }
        rest.iter().all(|key| push_field(l, key))
    }
}

/// Replaces the value on top of the stack by a field of it, looked for raw and
/// along `__index` tables.
unsafe fn push_field(l: *mut lua_State, key: &Key) -> bool {
    // SAFETY: a value on top.
    unsafe {
        for _ in 0..MAX_INDEX {
            if ffi::lua_type(l, -1) == ffi::LUA_TTABLE {
                match key {
                    Key::Name(name) => raw::push_bytes(l, name),
                    Key::Integer(number) => ffi::lua_pushinteger(l, *number),
                }
                ffi::lua_rawget(l, -2);
                if ffi::lua_isnil(l, -1) == 0 {
                    ffi::lua_remove(l, -2);
                    return true;
                }
                ffi::lua_pop(l, 1);
            }
            if ffi::luaL_getmetafield(l, -1, c"__index".as_ptr()) != ffi::LUA_TTABLE {
                break;
            }
            ffi::lua_remove(l, -2);
        }
        if ffi::lua_type(l, -1) == ffi::LUA_TTABLE {
            ffi::lua_pushnil(l);
            ffi::lua_remove(l, -2);
            return true;
        }
        false
    }
}

/// Proposals for the word that ends at a byte offset of a text.
pub(super) fn completions(
    inspector: &Inspector<'_>,
    place: FramePlace,
    text: &str,
    offset: usize,
) -> Vec<Completion> {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let is_word = |it: char| it == '_' || it.is_ascii_alphanumeric();
    let start = before
        .rfind(|it| !is_word(it))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    let mut found = BTreeMap::new();
    let owner = before[..start].trim_end();
    // `..` puts strings together.
    let path = owner.strip_suffix(['.', ':']).filter(|_| !owner.ends_with(".."));
    if let Some(path) = path {
        let only_functions = owner.ends_with(':');
        let start = path
            .rfind(|it: char| !is_word(it) && !matches!(it, '.' | ':' | '[' | ']' | '"' | '\''))
            .map_or(0, |at| at + path[at..].chars().next().map_or(1, char::len_utf8));
        if let Some(keys) = parse_path(&path[start..]) {
            fields_of(inspector, place, &keys, only_functions, &mut found);
        }
    } else {
        names_in(inspector, place, &mut found);
    }
    let starts = |label: &String| label.starts_with(word);
    found
        .into_iter()
        .filter(|(label, _)| starts(label))
        .take(MAX_PROPOSALS)
        .map(|(label, kind)| Completion { label, kind, start, length: word.len() })
        .collect()
}

type Found = BTreeMap<String, CompletionKind>;

/// The fields that a path's value has, itself and by `__index` tables.
fn fields_of(
    inspector: &Inspector<'_>,
    place: FramePlace,
    keys: &[Key],
    only_functions: bool,
    found: &mut Found,
) {
    let l = inspector.core.aux;
    // SAFETY: the program stands still; the stack is as before at the end.
    unsafe {
        let base = ffi::lua_gettop(l);
        if push_path(inspector, place, keys) {
            for _ in 0..MAX_INDEX {
                if ffi::lua_type(l, -1) == ffi::LUA_TTABLE {
                    keys_of(l, only_functions, CompletionKind::Field, found);
                }
                if ffi::luaL_getmetafield(l, -1, c"__index".as_ptr()) != ffi::LUA_TTABLE {
                    break;
                }
                ffi::lua_remove(l, -2);
            }
        }
        ffi::lua_settop(l, base);
    }
}

/// Notes the names in the table on top of the stack.
unsafe fn keys_of(
    l: *mut lua_State,
    only_functions: bool,
    kind: CompletionKind,
    found: &mut Found,
) {
    // SAFETY: a table on top; raw accesses.
    unsafe {
        ffi::lua_checkstack(l, 6);
        let table = ffi::lua_gettop(l);
        variables::push_hash_start(l, table);
        while ffi::lua_next(l, table) != 0 {
            let is_function = ffi::lua_type(l, -1) == ffi::LUA_TFUNCTION;
            ffi::lua_pop(l, 1);
            if found.len() >= MAX_PROPOSALS {
                ffi::lua_pop(l, 1);
                return;
            }
            if let Some(name) = raw::string_at(l, -1)
                && is_identifier(name)
                && (is_function || !only_functions)
            {
                let kind = if is_function { CompletionKind::Function } else { kind };
                found.entry(String::from_utf8_lossy(name).into_owned()).or_insert(kind);
            }
        }
    }
}

/// Notes locals, upvalues, globals and keywords.
fn names_in(inspector: &Inspector<'_>, place: FramePlace, found: &mut Found) {
    let l = inspector.core.aux;
    // SAFETY: the program stands still; the stacks are as before at the end.
    unsafe {
        if Inspector::is_lua(place) {
            let mut record = layout::activation(place.frame);
            let mut note = |name: String| {
                if is_identifier(name.as_bytes()) && name != "_ENV" {
                    found.insert(name, CompletionKind::Variable);
                }
            };
            for index in 1..c_int::MAX {
                let name = ffi::lua_getlocal(place.l, &raw const record, index);
                if name.is_null() {
                    break;
                }
                ffi::lua_pop(place.l, 1);
                note(raw::text(name));
            }
            raw::get_info(place.l, c"f", &mut record);
            for index in 1..c_int::MAX {
                let name = ffi::lua_getupvalue(place.l, -1, index);
                if name.is_null() {
                    break;
                }
                ffi::lua_pop(place.l, 1);
                note(raw::text(name));
            }
            ffi::lua_pop(place.l, 1);
        }
        let base = ffi::lua_gettop(l);
        ffi::lua_checkstack(l, 8);
        evaluate::push_globals(place.l, place.frame, l);
        if ffi::lua_type(l, -1) == ffi::LUA_TTABLE {
            keys_of(l, false, CompletionKind::Variable, found);
        }
        ffi::lua_settop(l, base);
    }
    for keyword in KEYWORDS {
        found.entry(keyword.to_owned()).or_insert(CompletionKind::Keyword);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let name = |text: &str| Key::Name(text.into());
        let check = |text: &str, expected: Option<Vec<Key>>| {
            assert_eq!(parse_path(text), expected, "{text}");
        };
        check("a", Some(vec![name("a")]));
        check(" a.b:c ", Some(vec![name("a"), name("b"), name("c")]));
        check("a[1][\"x y\"]", Some(vec![name("a"), Key::Integer(1), name("x y")]));
        for other in ["", "1", "f()", "a.", "a..b", "a + b", "[1]", "a[b]", "end"] {
            check(other, None);
        }
    }
}
