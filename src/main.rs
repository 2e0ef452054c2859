//! The `llmspell` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    llmspell::cli::main()
}
