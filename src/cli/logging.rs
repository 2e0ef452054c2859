//! The process's log: on standard error, or in a file; as much as `RUST_LOG`,
//! `--trace` or the configuration says, or a kernel that has been told otherwise since.
//!
//! What is logged may change at any time, so each place in the program that
//! logs is asked again then, and only then: one that is off costs next to
//! nothing.

use std::{
    env, io,
    sync::{
        OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer as _, Registry,
    filter::Targets,
    fmt::{
        self,
        format::{DefaultFields, Format},
        writer::BoxMakeWriter,
    },
    layer::{Context, Filter, SubscriberExt as _},
    registry, reload,
    util::SubscriberInitExt as _,
};

use super::report;
use crate::{api, config::LogLevel, kernel::log_file::LogFile};

/// Name of events that answer somebody who has asked for them, with a signal:
/// logged in any case.
pub(super) const ANSWER: &str = "llmspell.answer";

/// What all log lines go through.
type Lines = fmt::Layer<Registry, DefaultFields, Format, BoxMakeWriter>;

/// The one log of this process.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    targets: RwLock<Targets>,
    /// `RUST_LOG` decides, whatever flags and configuration say.
    is_by_environment: bool,
    /// Whether all that this program does is logged in detail.
    debug: AtomicBool,
    lines: OnceLock<reload::Handle<Lines, Registry>>,
}

/// Starts it.
pub(super) fn start(level: LogLevel, color: bool) {
    let given = env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let by_environment = given.and_then(|text| {
        let parsed = parse(&text);
        parsed.map_err(|error| report(&format!("RUST_LOG is ignored: {error}"), color)).ok()
    });
    let log = LOG.get_or_init(|| Log::new(level, by_environment));
    let writer = BoxMakeWriter::new(io::stderr);
    let (lines, handle) = reload::Layer::new(fmt::layer().with_writer(writer).with_ansi(color));
    // Only a second call could find another one, and `init` would refuse it.
    let _ = log.lines.set(handle);
    registry().with(lines.with_filter(Wanted { log })).init();
}

/// From now on logs into a file, without colors, instead of to standard error.
pub(super) fn log_to(file: LogFile) {
    if let Some(lines) = LOG.get().and_then(|log| log.lines.get()) {
        // Fails only if there is no subscriber any more.
        let _ = lines.modify(|lines| {
            *lines.writer_mut() = BoxMakeWriter::new(file);
            lines.set_ansi(false);
        });
    }
}

/// Changes how much is logged; says whether it did: `RUST_LOG` is stronger.
pub(super) fn set_level(level: LogLevel) -> bool {
    LOG.get().is_some_and(|log| log.set_level(level))
}

/// Logs everything down to `debug` that this program does, or no longer does
/// so; says which.
pub(super) fn toggle_debug() -> bool {
    LOG.get().is_some_and(Log::toggle_debug)
}

impl Log {
    fn new(level: LogLevel, by_environment: Option<Targets>) -> Self {
        Self {
            is_by_environment: by_environment.is_some(),
            targets: RwLock::new(by_environment.unwrap_or_else(|| down_to(level))),
            debug: AtomicBool::new(false),
            lines: OnceLock::new(),
        }
    }

    fn set_level(&self, level: LogLevel) -> bool {
        if self.is_by_environment {
            return false;
        }
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) = down_to(level);
        tracing::callsite::rebuild_interest_cache();
        true
    }

    fn toggle_debug(&self) -> bool {
        let was = self.debug.fetch_xor(true, Ordering::SeqCst);
        tracing::callsite::rebuild_interest_cache();
        !was
    }

    fn wants(&self, target: &str, level: Level) -> bool {
        let is_ours = || target == "llmspell" || target.starts_with("llmspell::");
        (self.debug.load(Ordering::SeqCst) && level <= Level::DEBUG && is_ours()) || {
            let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
            targets.would_enable(target, &level)
        }
    }
}

fn down_to(level: LogLevel) -> Targets {
    Targets::new().with_default(match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    })
}

/// Reads `RUST_LOG`; `llmspell_ROOM` is another way to write `llmspell::ROOM`.
fn parse(text: &str) -> Result<Targets, tracing_subscriber::filter::ParseError> {
    text.replace("llmspell_", "llmspell::").parse()
}

/// What the log wants, and whatever a script has asked to see of its own
/// messages.
struct Wanted {
    log: &'static Log,
}

impl Wanted {
    fn passes(&self, metadata: &Metadata<'_>) -> bool {
        let by_script = || api::level_set_by_script().is_some_and(|most| *metadata.level() <= most);
        self.log.wants(metadata.target(), *metadata.level())
            || metadata.name() == ANSWER
            || (metadata.name() == api::SCRIPT_EVENT && by_script())
    }
}

impl<S: Subscriber> Filter<S> for Wanted {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.passes(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Scripts may ask for more at any time, and tell nobody here.
        if metadata.name() == api::SCRIPT_EVENT {
            Interest::sometimes()
        } else if self.passes(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Scripts may ask for more at any time.
        Some(LevelFilter::from_level(Level::TRACE))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracing::subscriber::with_default;

    use super::*;
    use crate::kernel::log_file::Rotation;

    #[test]
    fn rooms_may_be_written_with_an_underscore() {
        let targets = parse("llmspell_debug=trace,warn").unwrap();
        assert!(targets.would_enable("llmspell::debug::hook", &Level::TRACE));
        assert!(!targets.would_enable("llmspell::session", &Level::INFO));
        let targets = parse("llmspell_kernel=trace").unwrap();
        assert!(targets.would_enable("llmspell::kernel::door", &Level::TRACE));
    }

    #[test]
    fn the_level_changes_unless_the_environment_decides() {
        let log = Log::new(LogLevel::Warn, None);
        assert!(log.wants("llmspell::kernel", Level::WARN));
        assert!(!log.wants("llmspell::kernel", Level::INFO));
        assert!(log.set_level(LogLevel::Info));
        assert!(log.wants("llmspell::kernel", Level::INFO));
        let log = Log::new(LogLevel::Warn, Some(parse("llmspell_debug=info").unwrap()));
        assert!(!log.set_level(LogLevel::Trace));
        assert!(!log.wants("llmspell::kernel", Level::ERROR));
        assert!(log.wants("llmspell::debug", Level::INFO));
    }

    #[test]
    fn debug_comes_on_top_and_goes_again() {
        let log = Log::new(LogLevel::Error, None);
        assert!(log.toggle_debug());
        assert!(log.wants("llmspell::kernel::door", Level::DEBUG));
        assert!(!log.wants("llmspell::kernel::door", Level::TRACE));
        assert!(!log.wants("hyper::proto", Level::WARN) && log.wants("hyper", Level::ERROR));
        assert!(!log.toggle_debug());
        assert!(!log.wants("llmspell::kernel::door", Level::WARN));
        let log = Log::new(LogLevel::Trace, None);
        log.toggle_debug();
        assert!(log.wants("llmspell::kernel::door", Level::TRACE), "no less than before");
    }

    /// The same place in the program each time: whether it logs is remembered.
    fn say(text: &str) {
        tracing::debug!("{text}");
    }

    #[test]
    fn what_logs_is_asked_again_and_lines_go_where_they_should() {
        let directory = tempfile::tempdir().unwrap();
        let rotation = Rotation { max_bytes: 1 << 20, keep: 1 };
        let first = LogFile::open(&directory.path().join("first"), rotation).unwrap();
        let second = LogFile::open(&directory.path().join("second"), rotation).unwrap();
        let log: &'static Log = Box::leak(Box::new(Log::new(LogLevel::Warn, None)));
        let layer = fmt::layer().with_writer(BoxMakeWriter::new(first)).with_ansi(true);
        let (lines, handle) = reload::Layer::new(layer);
        with_default(registry().with(lines.with_filter(Wanted { log })), || {
            say("one");
            log.toggle_debug();
            say("two");
            handle
                .modify(|lines| {
                    *lines.writer_mut() = BoxMakeWriter::new(second);
                    lines.set_ansi(false);
                })
                .unwrap();
            say("three");
            log.toggle_debug();
            say("four");
            log.set_level(LogLevel::Trace);
            say("five");
        });
        let lines = |name: &str| -> Vec<String> {
            let text = fs::read_to_string(directory.path().join(name)).unwrap();
            text.lines().map(str::to_owned).collect()
        };
        let (first, second) = (lines("first"), lines("second"));
        assert!(first.len() == 1 && first[0].contains("two") && first[0].contains("\x1b["));
        assert!(second.len() == 2, "{second:?}");
        assert!(second[0].ends_with("DEBUG llmspell::cli::logging::tests: three"), "{second:?}");
        assert!(second[1].ends_with("five"), "{second:?}");
    }
}
