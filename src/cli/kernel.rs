//! `llmspell kernel`: the service that editors, terminals and monitors share.

mod start;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{FlagSetting, Loaded};

/// Arguments of `kernel`.
#[derive(Args, Debug)]
pub(super) struct KernelArguments {
    #[command(subcommand)]
    command: KernelCommand,
}

#[derive(Debug, Subcommand)]
enum KernelCommand {
    /// Start a kernel, and serve until it is stopped
    Start(start::StartArguments),
}

impl KernelArguments {
    /// What the flags say about the configuration.
    pub(super) fn settings(&self) -> Vec<FlagSetting> {
        match &self.command {
            KernelCommand::Start(arguments) => arguments.settings(),
        }
    }
}

/// Runs the command.
pub(super) fn kernel(arguments: KernelArguments, loaded: Loaded) -> anyhow::Result<ExitCode> {
    match arguments.command {
        KernelCommand::Start(arguments) => start::start(&arguments, loaded),
    }
}
