//! Whether a text is a whole chunk: what a prompt asks before it runs a line.
//!
//! Lua itself decides, on a VM that runs nothing.

use std::cell::OnceCell;

use mlua::{Lua, LuaOptions, StdLib};

/// Whether a text is a whole chunk or expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// It is.
    Complete,
    /// Something is missing at its end.
    Incomplete,
    /// No continuation makes it one.
    Invalid,
}

/// What Lua's compiler says of a text typed at a prompt.
pub(crate) fn completeness(text: &str) -> Completeness {
    let text = without_equals(text);
    let as_expression = compiles(&format!("return {text}\n"));
    if as_expression == Completeness::Complete {
        return Completeness::Complete;
    }
    match compiles(text) {
        Completeness::Invalid if as_expression == Completeness::Incomplete => as_expression,
        other => other,
    }
}

/// What is meant by `=expression`, which prompts of older Lua versions took.
pub(crate) fn without_equals(text: &str) -> &str {
    let trimmed = text.trim_start();
    trimmed.strip_prefix('=').filter(|rest| !rest.starts_with('=')).unwrap_or(text)
}

fn compiles(text: &str) -> Completeness {
    thread_local! {
        static LUA: OnceCell<Option<Lua>> = const { OnceCell::new() };
    }
    // Binary chunks are nothing to type.
    if text.starts_with('\u{1b}') {
        return Completeness::Invalid;
    }
    LUA.with(|lua| {
        let new = || Lua::new_with(StdLib::NONE, LuaOptions::new()).ok();
        // Without memory for a VM nothing is going to run anyway.
        let Some(lua) = lua.get_or_init(new) else { return Completeness::Invalid };
        match lua.load(text).into_function() {
            Ok(_) => Completeness::Complete,
            Err(mlua::Error::SyntaxError { incomplete_input: true, .. }) => {
                Completeness::Incomplete
            }
            Err(_) => Completeness::Invalid,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lua_decides_what_is_whole() {
        use Completeness::{Complete, Incomplete, Invalid};
        let check = |text, expected| assert_eq!(completeness(text), expected, "{text}");
        for text in ["", "1 + 1", "x = 1", "=x", "= x, y", "for i = 1, 2 do end", "-- remark"] {
            check(text, Complete);
        }
        for text in ["1 +", "x = ", "for i = 1, 2 do", "function f()", "print(", "[[a\nb", "= 1 +"]
        {
            check(text, Incomplete);
        }
        for text in ["x = = 1", "end", "1 1", "'a\nb'", "== 1"] {
            check(text, Invalid);
        }
    }
}
