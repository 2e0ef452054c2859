//! `Async`: waiting without blocking the debugger.

use std::{sync::Arc, time::Duration};

use mlua::Lua;

use super::{Host, ended};

/// Longest sleep, in seconds: about a hundred years.
const LONGEST: f64 = 3.2e9;

pub(super) fn install(lua: &Lua, host: Arc<dyn Host>) -> mlua::Result<()> {
    let table = lua.create_table()?;
    let sleep = lua.create_function(move |_, seconds: f64| {
        if !(0.0..=LONGEST).contains(&seconds) {
            return Err(mlua::Error::runtime(format!(
                "Async.sleep: seconds must be between 0 and {LONGEST:.0}, not {seconds}"
            )));
        }
        host.sleep(Duration::from_secs_f64(seconds)).map_err(ended)
    })?;
    table.raw_set("sleep", sleep)?;
    lua.globals().raw_set("Async", table)
}
