//! `llmspell dap`.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{protocols::dap::adapter, session};

/// Serves the editor that has started this process until it is gone.
pub(super) fn dap() -> anyhow::Result<ExitCode> {
    let runtime = session::runtime().context("cannot start the I/O threads")?;
    runtime.block_on(adapter::run_stdio())?;
    Ok(ExitCode::SUCCESS)
}
