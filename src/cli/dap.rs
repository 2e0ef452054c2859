//! `llmspell dap`.

use std::{
    path::{self, Path},
    process::ExitCode,
};

use anyhow::Context as _;

use crate::{protocols::dap::adapter, session};

/// Serves the editor that has started this process until it is gone. The chosen
/// configuration is also that of the scripts it runs.
pub(super) fn dap(config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let runtime = session::runtime().context("cannot start the I/O threads")?;
    // Scripts may run in another directory.
    let config = config.map(path::absolute).transpose().context("cannot tell where we are")?;
    let options = config.map(|path| vec!["--config".into(), path.into_os_string()]);
    runtime.block_on(adapter::run_stdio(options.unwrap_or_default()))?;
    Ok(ExitCode::SUCCESS)
}
