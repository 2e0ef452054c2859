//! The scripting API: what scripts see beyond Lua's own library. One file per
//! global.

mod async_;
mod debug;
mod logging;

use std::{sync::Arc, time::Duration};

use mlua::Lua;

pub use logging::{SCRIPT_EVENT, level_set_by_script};

use crate::debug::{Control, Waited};

/// What a session does for the scripts it runs.
pub trait Host: Send + Sync {
    /// Waits, while debuggers are served.
    ///
    /// # Errors
    /// Why it ended early.
    fn sleep(&self, duration: Duration) -> Result<(), Waited>;

    /// The session's debug core.
    fn control(&self) -> &Control;

    /// Opens a DAP endpoint (port 0: a free one); returns its port.
    ///
    /// # Errors
    /// Why that is not possible.
    fn enable_dap(&self, port: u16) -> Result<u16, String>;

    /// Waits until a debugger is attached and configured.
    ///
    /// # Errors
    /// If the script is being ended.
    fn wait_for_debugger(&self) -> Result<(), Waited>;
}

/// Gives a VM its globals.
///
/// # Errors
/// If memory is out.
pub fn install(lua: &Lua, host: Arc<dyn Host>) -> mlua::Result<()> {
    async_::install(lua, Arc::clone(&host))?;
    debug::install(lua, host)
}

/// The error of a native call that was ended early.
fn ended(why: Waited) -> mlua::Error {
    mlua::Error::runtime(match why {
        Waited::Cancelled => "cancelled",
        Waited::Done | Waited::Stopped => "interrupted",
    })
}
