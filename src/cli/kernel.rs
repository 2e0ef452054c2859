//! `llmspell kernel`: the service that editors, terminals and monitors share.

mod served;
mod service;
mod start;
mod watch;

use std::process::ExitCode;

pub(super) use self::served::live_options;

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

/// Reads the configuration again, with the same file and flags.
pub(super) type Reread = Box<dyn Fn() -> anyhow::Result<Loaded> + Send + Sync>;

/// Runs the command.
pub(super) fn kernel(
    arguments: KernelArguments,
    loaded: Loaded,
    reread: Reread,
) -> anyhow::Result<ExitCode> {
    match arguments.command {
        KernelCommand::Start(arguments) => start::start(&arguments, loaded, reread),
    }
}
