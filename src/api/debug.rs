//! `Debug`: logging, timers and the debugger itself, from inside a script.

mod dump;
mod timer;

use std::{path::Path, sync::Arc};

use mlua::{Lua, Table, Value};
use tracing::Level;

use super::{Host, ended, logging};
use crate::debug::{Breakpoint, BreakpointSpec, FunctionBreakpointSpec, Resume, Vm};

/// DAP's documented port.
const DEFAULT_DAP_PORT: u16 = 9556;

pub(super) fn install(lua: &Lua, host: Arc<dyn Host>) -> mlua::Result<()> {
    let table = lua.create_table()?;
    install_logging(lua, &table)?;
    install_debugger(lua, &table, host)?;
    dump::install(lua, &table)?;
    timer::install(lua, &table)?;
    lua.globals().raw_set("Debug", table)
}

fn install_logging(lua: &Lua, table: &Table) -> mlua::Result<()> {
    let set_enabled = lua.create_function(|_, enabled: bool| {
        logging::set_enabled(enabled);
        Ok(())
    })?;
    table.raw_set("setEnabled", set_enabled)?;
    let set_level = lua.create_function(|_, name: String| {
        logging::set_level(&name).map_err(|message| error("setLevel", &message))
    })?;
    table.raw_set("setLevel", set_level)?;
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    for (name, level) in levels {
        let log = lua.create_function(move |lua, (message, module): (Value, Option<String>)| {
            let tostring: mlua::Function = lua.globals().get("tostring")?;
            let message = match message {
                Value::String(text) => text.to_string_lossy().clone(),
                other => tostring.call::<mlua::LuaString>(other)?.to_string_lossy().clone(),
            };
            logging::log(level, module.as_deref(), &message);
            Ok(())
        })?;
        table.raw_set(name, log)?;
    }
    Ok(())
}

fn install_debugger(lua: &Lua, table: &Table, host: Arc<dyn Host>) -> mlua::Result<()> {
    let shared = Arc::clone(&host);
    let enable =
        lua.create_function(move |_, options: Option<Table>| enable_dap(shared.as_ref(), options))?;
    table.raw_set("enableDAP", enable)?;
    let breakpoint = lua.create_function(
        move |lua, (place, line, options): (Option<String>, Option<u32>, Option<Table>)| {
            let Some(place) = place else {
                let stopped = Vm::break_here().map_err(ended)?;
                return Ok(Value::Boolean(stopped));
            };
            let report = set_breakpoint(host.as_ref(), &place, line, options)?;
            describe(lua, &report).map(Value::Table)
        },
    )?;
    table.raw_set("breakpoint", breakpoint)?;
    let steps = [
        ("step", Resume::In),
        ("stepOver", Resume::Over),
        ("stepOut", Resume::Out),
        ("continue", Resume::Continue),
    ];
    for (name, how) in steps {
        let step = lua.create_function(move |_, ()| Ok(Vm::step_here(how)))?;
        table.raw_set(name, step)?;
    }
    let trace = lua.create_function(|_, ()| Ok(Vm::traceback()))?;
    table.raw_set("stackTrace", trace)?;
    let memory = lua.create_function(|lua, ()| {
        let report = lua.create_table()?;
        report.raw_set("used", lua.used_memory())?;
        Ok(report)
    })?;
    table.raw_set("memory", memory)
}

fn enable_dap(host: &dyn Host, options: Option<Table>) -> mlua::Result<u16> {
    let (mut port, mut wait) = (DEFAULT_DAP_PORT, false);
    if let Some(options) = options {
        for pair in options.pairs::<String, Value>() {
            match pair? {
                (name, Value::Integer(number)) if name == "port" => {
                    port = u16::try_from(number).map_err(|_| {
                        error("enableDAP", &format!("{number} is no port (0 to 65535)"))
                    })?;
                }
                (name, Value::Boolean(value)) if name == "wait_for_debugger" => wait = value,
                (name, value) => {
                    let message = format!(
                        "'{name}' of type {} is not an option; there are port (integer) and \
                         wait_for_debugger (boolean)",
                        value.type_name()
                    );
                    return Err(error("enableDAP", &message));
                }
            }
        }
    }
    let port = host.enable_dap(port).map_err(|message| error("enableDAP", &message))?;
    if wait {
        host.wait_for_debugger().map_err(ended)?;
    }
    Ok(port)
}

/// `Debug.breakpoint(place, line, options)`: a file and a line, or a function
/// (and a line of the file that defines it).
fn set_breakpoint(
    host: &dyn Host,
    place: &str,
    line: Option<u32>,
    options: Option<Table>,
) -> mlua::Result<Breakpoint> {
    let (mut condition, mut hit_condition, mut log_message) = (None, None, None);
    if let Some(options) = options {
        for pair in options.pairs::<String, String>() {
            match pair? {
                (name, value) if name == "condition" => condition = Some(value),
                (name, value) if name == "hit_condition" => hit_condition = Some(value),
                (name, value) if name == "log_message" => log_message = Some(value),
                (name, _) => {
                    let message = format!(
                        "'{name}' is not an option; there are condition, hit_condition and \
                         log_message"
                    );
                    return Err(error("breakpoint", &message));
                }
            }
        }
    }
    let control = host.control();
    let is_function =
        !place.contains('/') && Path::new(place).extension().is_none_or(|it| it != "lua");
    let file = if is_function && line.is_some() { control.file_defining(place) } else { None };
    let file = if is_function { file } else { Some(place.to_owned()) };
    match (is_function, line, file) {
        (_, Some(line), Some(path)) => {
            let spec = BreakpointSpec { line, condition, hit_condition, log_message };
            Ok(control.add_script_breakpoint(&path, spec))
        }
        (true, None, _) if log_message.is_none() => {
            let spec = FunctionBreakpointSpec { name: place.to_owned(), condition, hit_condition };
            Ok(control.add_script_function_breakpoint(spec))
        }
        (true, None, _) => Err(error("breakpoint", "log_message needs a line")),
        (_, Some(_), None) => {
            let message = format!("no loaded file defines a function '{place}'");
            Err(error("breakpoint", &message))
        }
        (false, None, _) => Err(error("breakpoint", "a file needs a line")),
    }
}

fn describe(lua: &Lua, report: &Breakpoint) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("id", report.id)?;
    table.raw_set("verified", report.verified)?;
    table.raw_set("line", report.line)?;
    table.raw_set("message", report.message.as_deref())?;
    Ok(table)
}

fn error(function: &str, message: &str) -> mlua::Error {
    mlua::Error::runtime(format!("Debug.{function}: {message}"))
}
