//! `Debug.dump`: a value as readable text.

use std::fmt::Write as _;

use mlua::{Lua, Table, Value};

/// Deepest tables shown, and most entries of each, unless the script says
/// otherwise.
const DEFAULT_DEPTH: usize = 5;
const DEFAULT_ITEMS: usize = 100;

pub(super) fn install(lua: &Lua, debug: &Table) -> mlua::Result<()> {
    let dump = lua.create_function(|_, (value, options): (Value, Option<Table>)| {
        let mut dump = Dump {
            text: String::new(),
            max_depth: DEFAULT_DEPTH,
            max_items: DEFAULT_ITEMS,
            open: Vec::new(),
        };
        if let Some(options) = options {
            for pair in options.pairs::<String, usize>() {
                match pair? {
                    (name, number) if name == "max_depth" => dump.max_depth = number,
                    (name, number) if name == "max_items" => dump.max_items = number,
                    (name, _) => {
                        return Err(super::error(
                            "dump",
                            &format!(
                                "'{name}' is not an option; there are max_depth and max_items"
                            ),
                        ));
                    }
                }
            }
        }
        dump.write(&value)?;
        Ok(dump.text)
    })?;
    debug.raw_set("dump", dump)
}

struct Dump {
    text: String,
    max_depth: usize,
    max_items: usize,
    /// Tables being written, to recognise cycles.
    open: Vec<*const std::ffi::c_void>,
}

impl Dump {
    fn write(&mut self, value: &Value) -> mlua::Result<()> {
        match value {
            Value::Table(table) => self.write_table(table)?,
            Value::String(text) => {
                self.text.push_str(&crate::debug::quoted(&text.as_bytes()));
            }
            Value::Nil => self.text.push_str("nil"),
            Value::Boolean(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Value::Integer(value) => self.text.push_str(&value.to_string()),
            // As Lua: a float shows that it is one.
            Value::Number(value) => {
                let _ = write!(self.text, "{value:?}");
            }
            other => self.text.push_str(&other.to_string()?),
        }
        Ok(())
    }

    fn write_table(&mut self, table: &Table) -> mlua::Result<()> {
        let address = table.to_pointer();
        if self.open.contains(&address) {
            self.text.push_str("<cycle>");
            return Ok(());
        }
        let mut entries = entries(table)?;
        if entries.is_empty() {
            self.text.push_str("{}");
            return Ok(());
        }
        if self.open.len() >= self.max_depth {
            self.text.push_str("{…}");
            return Ok(());
        }
        self.open.push(address);
        let indent = "  ".repeat(self.open.len());
        let more = entries.len().saturating_sub(self.max_items);
        entries.truncate(self.max_items);
        self.text.push('{');
        let mut expected = 1;
        for (key, value) in &entries {
            let _ = write!(self.text, "\n{indent}");
            match key {
                Value::Integer(number) if *number == expected => expected += 1,
                Value::String(name) if crate::debug::is_identifier(&name.as_bytes()) => {
                    let _ = write!(self.text, "{} = ", name.to_string_lossy());
                }
                key => {
                    self.text.push('[');
                    self.write(key)?;
                    self.text.push_str("] = ");
                }
            }
            self.write(value)?;
            self.text.push(',');
        }
        if more > 0 {
            let _ = write!(self.text, "\n{indent}… {more} more");
        }
        self.open.pop();
        let _ = write!(self.text, "\n{}}}", "  ".repeat(self.open.len()));
        Ok(())
    }
}

/// A table's entries: the sequence, then names in order, then the rest.
fn entries(table: &Table) -> mlua::Result<Vec<(Value, Value)>> {
    let mut entries = Vec::new();
    table.for_each(|key: Value, value: Value| {
        entries.push((key, value));
        Ok(())
    })?;
    entries.sort_by_key(|(key, _)| match key {
        Value::Integer(number) => (0, *number, String::new()),
        Value::String(name) => (1, 0, name.to_string_lossy()),
        other => (2, 0, other.to_string().unwrap_or_default()),
    });
    Ok(entries)
}
