//! How commands print what they have found: for people, or as JSON for programs.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use serde_json::Value;

/// An option that commands share.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct OutputFormat {
    /// Print text for people, or JSON for programs
    #[arg(long = "output", value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl OutputFormat {
    /// Prints the one or the other; both end without a line break.
    pub(super) fn print(self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) {
        let printed = match self.format {
            Format::Text => text(),
            Format::Json => format!("{:#}", json()),
        };
        // A reader that is gone wants no more.
        let _ = writeln!(io::stdout(), "{printed}");
    }
}
