//! The process's log: on standard error, as `RUST_LOG`, `--trace` or
//! the configuration says.

use std::{env, io};

use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::Context, layer::Filter, layer::SubscriberExt as _,
    registry, util::SubscriberInitExt as _,
};

use super::report;
use crate::{api, config::LogLevel};

/// Starts it.
pub(super) fn start(level: LogLevel, color: bool) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let targets = match env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => parse(&text).unwrap_or_else(|error| {
            report(&format!("RUST_LOG is ignored: {error}"), color);
            Targets::new().with_default(level)
        }),
        _ => Targets::new().with_default(level),
    };
    let log = fmt::layer().with_writer(io::stderr).with_ansi(color);
    registry().with(log.with_filter(Wanted { targets })).init();
}

/// Reads `RUST_LOG`; `llmspell_ROOM` is another way to write `llmspell::ROOM`.
fn parse(text: &str) -> Result<Targets, tracing_subscriber::filter::ParseError> {
    text.replace("llmspell_", "llmspell::").parse()
}

/// The configured targets, and whatever a script has asked to see of its own
/// messages.
struct Wanted {
    targets: Targets,
}

impl Wanted {
    fn passes(&self, metadata: &Metadata<'_>) -> bool {
        let by_script = || api::level_set_by_script().is_some_and(|most| *metadata.level() <= most);
        self.targets.would_enable(metadata.target(), metadata.level())
            || (metadata.name() == api::SCRIPT_EVENT && by_script())
    }
}

impl<S: Subscriber> Filter<S> for Wanted {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.passes(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Scripts may ask for more at any time.
        Some(LevelFilter::from_level(Level::TRACE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_may_be_written_with_an_underscore() {
        let targets = parse("llmspell_debug=trace,warn").unwrap();
        assert!(targets.would_enable("llmspell::debug::hook", &Level::TRACE));
        assert!(!targets.would_enable("llmspell::session", &Level::INFO));
    }
}
