//! Whole values as text, tables open: for the clipboard, and for a prompt.
//!
//! What is shown is read raw: nothing of the program runs.

#![allow(unsafe_code)]

use std::{ffi::c_int, fmt::Write as _};

use mlua::ffi;

use super::{MAX_DEPTH, Renderer};

/// How much of a value is shown, and how.
pub(super) struct Whole<'a> {
    pub(super) renderer: &'a Renderer<'a>,
    /// Nothing more is begun when the text is longer, in bytes.
    pub(super) limit: usize,
    /// Tables that fit into a line of this many characters are put on one; 0 for
    /// none.
    pub(super) width: usize,
}

impl Whole<'_> {
    /// The value at an index of the auxiliary stack.
    pub(super) fn show(&self, index: c_int) -> String {
        let mut text = String::new();
        self.write(&mut text, index, 0, &mut Vec::new());
        text
    }

    fn write(&self, text: &mut String, index: c_int, depth: usize, open: &mut Vec<usize>) {
        let l = self.renderer.core.aux;
        // SAFETY: raw accesses; the stack is as before at the end.
        unsafe {
            let address = ffi::lua_topointer(l, index) as usize;
            if ffi::lua_type(l, index) != ffi::LUA_TTABLE {
                text.push_str(&self.renderer.short(index, usize::MAX, false));
                return;
            }
            if open.contains(&address) || depth >= MAX_DEPTH || text.len() > self.limit {
                text.push_str(if open.contains(&address) { "<cycle>" } else { "{…}" });
                return;
            }
            ffi::lua_checkstack(l, 10);
            open.push(address);
            let start = text.len();
            let indent = "  ".repeat(depth + 1);
            let count = ffi::lua_rawlen(l, index);
            text.push('{');
            let mut any = false;
            for position in 1..=count {
                let Ok(position) = i64::try_from(position) else { break };
                let _ = write!(text, "\n{indent}");
                ffi::lua_rawgeti(l, index, position);
                self.write(text, ffi::lua_gettop(l), depth + 1, open);
                ffi::lua_pop(l, 1);
                text.push(',');
                any = true;
                if text.len() > self.limit {
                    text.push_str(" …");
                    break;
                }
            }
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, index) != 0 {
                let value = ffi::lua_gettop(l);
                if !crate::debug::variables::is_in_sequence(l, value - 1, count) {
                    let _ = write!(text, "\n{indent}{} = ", self.renderer.key(value - 1));
                    self.write(text, value, depth + 1, open);
                    text.push(',');
                    any = true;
                }
                ffi::lua_pop(l, 1);
                if text.len() > self.limit {
                    text.push_str(" …");
                    ffi::lua_pop(l, 1);
                    break;
                }
            }
            if any {
                let _ = write!(text, "\n{}", "  ".repeat(depth));
            }
            text.push('}');
            self.fold(text, start, depth);
            open.pop();
        }
    }

    /// Puts the table that begins at `start` on one line, if that is short.
    fn fold(&self, text: &mut String, start: usize, depth: usize) {
        let indent = 2 * depth;
        // Strings are quoted, so the only line breaks are those made here.
        let table = &text[start..];
        if self.width == 0 || table.len() > 2 * (self.width + table.lines().count() * (indent + 4))
        {
            return;
        }
        let words: Vec<_> = table.lines().map(str::trim).collect();
        let folded = words.join(" ").replace(", }", " }").replace("{ }", "{}");
        if folded.chars().count() + indent <= self.width {
            text.truncate(start);
            text.push_str(&folded);
        }
    }
}
