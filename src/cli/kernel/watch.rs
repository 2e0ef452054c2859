//! Watching the configuration file, if that was asked for.

use std::{ffi::OsString, path::Path};

use anyhow::Context as _;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::UnboundedSender;

use crate::kernel::signals::Signal;

/// Sends a hang-up whenever the file has been written or replaced, as long as
/// the result lives.
///
/// # Errors
/// If the system cannot watch its folder.
pub(super) fn watch(
    file: &Path,
    calls: UnboundedSender<Signal>,
) -> anyhow::Result<RecommendedWatcher> {
    let context = || format!("cannot watch {}", file.display());
    let name: OsString = file.file_name().with_context(context)?.to_owned();
    let told = move |event: notify::Result<Event>| {
        let Ok(event) = event else { return };
        let is_it = event.paths.iter().any(|path| path.file_name() == Some(&name));
        // Reading it is an event, too.
        if is_it && !event.kind.is_access() {
            let _ = calls.send(Signal::HangUp);
        }
    };
    let mut watcher = notify::recommended_watcher(told).with_context(context)?;
    // Editors replace files: a watch on the file itself would lose it.
    let folder = file.parent().with_context(context)?;
    watcher.watch(folder, RecursiveMode::NonRecursive).with_context(context)?;
    Ok(watcher)
}
