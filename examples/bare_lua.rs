//! Runs a Lua file in the same Lua without any of llmspell: what the benchmarks
//! compare with.

#![allow(clippy::print_stderr)]

use std::{env, fs, process::ExitCode};

use mlua::{Lua, LuaOptions, StdLib, Variadic};

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let Some(path) = args.next() else {
        eprintln!("usage: bare_lua FILE [ARGS...]");
        return ExitCode::from(2);
    };
    match run(&path, args.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &str, args: Vec<String>) -> mlua::Result<()> {
    // SAFETY: the full library, `debug` and C modules included, as llmspell has
    // it; the scripts are the benchmarks' own.
    #[allow(unsafe_code)]
    let lua =
        unsafe { Lua::unsafe_new_with(StdLib::ALL, LuaOptions::new().catch_rust_panics(false)) };
    let arg = lua.create_table()?;
    arg.raw_set(0, path)?;
    for (index, value) in args.iter().enumerate() {
        arg.raw_set(index + 1, value.as_str())?;
    }
    lua.globals().raw_set("arg", arg)?;
    let text = fs::read(path).map_err(mlua::Error::external)?;
    lua.load(text).set_name(format!("@{path}")).call(Variadic::from_iter(args))
}
