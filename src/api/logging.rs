//! Log messages of scripts, as `tracing` events whose target is the module that
//! the script names.
//!
//! `tracing` knows targets at compile time only; scripts choose theirs at run
//! time. So each pair of level and module gets a callsite of its own, made once
//! and kept for ever; a script that invents modules without end shares the last.

use std::{
    collections::HashMap,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use tracing::{
    Event, Level, Metadata,
    callsite::{Callsite, Identifier},
    dispatcher,
    field::{FieldSet, Value},
    metadata::Kind,
    subscriber::Interest,
};

/// Name of the events that scripts log.
pub const SCRIPT_EVENT: &str = "script";
/// Module of messages that name none.
const DEFAULT_MODULE: &str = "script";
/// Most modules told apart.
const MAX_MODULES: usize = 1000;

/// 0: messages are off; 1-5: `error` to `trace`; 255: as the process's log is.
static LEVEL: AtomicU8 = AtomicU8::new(UNSET);
const UNSET: u8 = 255;
/// What to go back to when messages are switched on again.
static LEVEL_WHEN_ON: AtomicU8 = AtomicU8::new(UNSET);

/// The most detailed level that the script wants to see, if it has said so:
/// then its events pass the process's own filter.
pub fn level_set_by_script() -> Option<Level> {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Some(Level::ERROR),
        2 => Some(Level::WARN),
        3 => Some(Level::INFO),
        4 => Some(Level::DEBUG),
        5 => Some(Level::TRACE),
        _ => None,
    }
}

/// `Debug.setLevel`.
pub(super) fn set_level(name: &str) -> Result<(), String> {
    let number = match name.to_ascii_lowercase().as_str() {
        "off" => 0,
        "error" => 1,
        "warn" => 2,
        "info" => 3,
        "debug" => 4,
        "trace" => 5,
        _ => {
            return Err(format!(
                "unknown level '{name}'; use off, error, warn, info, debug or trace"
            ));
        }
    };
    LEVEL.store(number, Ordering::Relaxed);
    LEVEL_WHEN_ON.store(number, Ordering::Relaxed);
    Ok(())
}

/// `Debug.setEnabled`.
pub(super) fn set_enabled(enabled: bool) {
    let level = if enabled { LEVEL_WHEN_ON.load(Ordering::Relaxed) } else { 0 };
    LEVEL.store(level, Ordering::Relaxed);
}

/// Logs a message.
pub(super) fn log(level: Level, module: Option<&str>, message: &str) {
    let set = LEVEL.load(Ordering::Relaxed);
    let allowed = match set {
        0 => false,
        UNSET => true,
        _ => level_set_by_script().is_some_and(|most| level <= most),
    };
    if !allowed {
        return;
    }
    let metadata = metadata(level, module.unwrap_or(DEFAULT_MODULE));
    dispatcher::get_default(|dispatch| {
        if !dispatch.enabled(metadata) {
            return;
        }
        if let Some(field) = metadata.fields().field("message") {
            let text = tracing::field::display(message);
            let values = [(&field, Some(&text as &dyn Value))];
            Event::dispatch(metadata, &metadata.fields().value_set(&values));
        }
    });
}

struct ScriptCallsite {
    metadata: OnceLock<Metadata<'static>>,
}

impl Callsite for ScriptCallsite {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        // Set before the callsite is given to anybody.
        self.metadata.get().expect("a callsite is complete")
    }
}

fn metadata(level: Level, module: &str) -> &'static Metadata<'static> {
    static KNOWN: OnceLock<Mutex<HashMap<(Level, String), &'static Metadata<'static>>>> =
        OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let module = if known.len() < MAX_MODULES { module } else { DEFAULT_MODULE };
    known.entry((level, module.to_owned())).or_insert_with(|| {
        let callsite: &'static ScriptCallsite =
            Box::leak(Box::new(ScriptCallsite { metadata: OnceLock::new() }));
        let target: &'static str = Box::leak(module.to_owned().into_boxed_str());
        let fields = FieldSet::new(&["message"], Identifier(callsite));
        callsite.metadata.get_or_init(|| {
            Metadata::new(SCRIPT_EVENT, target, level, None, None, None, fields, Kind::EVENT)
        })
    })
}
