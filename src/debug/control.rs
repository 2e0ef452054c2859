//! The handle that front ends hold: everything that may be asked of a session
//! from outside its thread.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    debug::{
        breakpoints::{self, Owner, Place},
        inspector::Inspector,
        model::{
            Breakpoint, BreakpointSpec, Event, ExceptionFilters, FunctionBreakpointSpec,
            OutputCategory, Resume, Source,
        },
        output::Output,
        shared::{Mail, Parting, RunState, Shared, Sink, StopRequest, Work},
    },
    lua::chunk,
};

/// Names a source in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceRequest {
    /// A path in any spelling, or a `file://` URI.
    Path(String),
    /// A text that is no file.
    Reference(u64),
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

/// A debugger's hold on a session. Dropping it lets go: its breakpoints
/// disappear and the program goes on.
pub struct Attachment {
    shared: Arc<Shared>,
    number: u64,
}

/// A front end that is told of everything and changes nothing. Dropping it ends
/// that.
pub struct Observation {
    shared: Arc<Shared>,
    number: u64,
}

/// A front end beside the attached debugger for which the program may stop (a
/// REPL at its debug prompt). When the last one goes, the program goes on.
pub struct Pilot {
    shared: Arc<Shared>,
}

/// Numbers for those who listen.
fn next_number() -> u64 {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

impl Control {
    /// A session's control, to make its VM with. Output goes to this process's
    /// own streams too if `console`.
    pub fn new(console: bool) -> Self {
        let output = Output::new(console);
        let shared = Arc::new(Shared::new(output.clone()));
        output.set_owner(Arc::downgrade(&shared));
        Self { shared }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Nothing will run any more: visits are answered with an error.
    pub fn finish(&self) {
        self.shared.set_state(RunState::Finished);
        self.shared.leave_thread();
        self.shared.output.flush();
    }

    /// Says something on the program's standard error: its last words.
    pub fn say(&self, text: &str) {
        self.shared.output.write(OutputCategory::Stderr, text.as_bytes(), None);
        self.shared.output.flush();
    }

    /// Tells the attached front end something.
    pub fn announce(&self, event: Event) {
        self.shared.output.flush();
        self.shared.send(event);
    }

    /// Tells the attached debugger, and only it; whether there is one.
    pub fn tell_debugger(&self, event: Event) -> bool {
        self.shared.tell_listener(event)
    }

    /// Why the program is being ended, if it is.
    pub fn stop_request(&self) -> Option<StopRequest> {
        self.shared.stop_request()
    }

    /// Makes `sink` the one that is told of events; `who` names it to others.
    ///
    /// The sink is called from the Lua thread and must not block.
    ///
    /// # Errors
    /// A sentence that names the debugger which is attached already.
    pub fn attach(&self, who: &str, sink: Sink) -> Result<Attachment, String> {
        let number = next_number();
        self.shared.listen(who, number, sink)?;
        self.shared.configured.store(false, Ordering::SeqCst);
        let stopped = self.state() == RunState::Stopped;
        self.shared.stopped_before.store(stopped, Ordering::SeqCst);
        self.shared.tables_changed();
        Ok(Attachment { shared: Arc::clone(&self.shared), number })
    }

    /// Tells `sink` of all events, whoever is attached. It is called from the
    /// Lua thread, must not block, and must not add or drop an observation.
    pub fn observe(&self, sink: Sink) -> Observation {
        let number = next_number();
        self.shared.observe(number, sink);
        Observation { shared: Arc::clone(&self.shared), number }
    }

    /// Lets the program stop at breakpoints also if no debugger is attached.
    pub fn pilot(&self) -> Pilot {
        self.shared.pilots.fetch_add(1, Ordering::SeqCst);
        self.shared.tables_changed();
        Pilot { shared: Arc::clone(&self.shared) }
    }

    /// A debugger is on its way, and alone can tell the user how programs end:
    /// those that wait for it do so also where they cannot be compiled.
    pub fn expect_debugger(&self) {
        self.shared.expected.store(true, Ordering::SeqCst);
    }

    /// Makes `os.exit` end the program that calls it, not the process.
    pub fn contain_exit(&self) {
        self.shared.contain_exit.store(true, Ordering::SeqCst);
    }

    /// The code that the last contained `os.exit` was called with.
    pub fn exit_code(&self) -> i64 {
        self.shared.exit_code.load(Ordering::SeqCst)
    }

    /// Forgets a request to end a program that was over already.
    pub fn forget_stop_request(&self) {
        self.shared.clear_stop_request();
    }

    /// Replaces the breakpoints of one source. Never waits for Lua.
    pub fn set_breakpoints(
        &self,
        source: &SourceRequest,
        specs: Vec<BreakpointSpec>,
    ) -> Vec<Breakpoint> {
        let mut tables = self.shared.tables();
        let place = place_of(source);
        if let (Place::File(canonical), SourceRequest::Path(spelling)) = (&place, source) {
            let spelling = std::path::absolute(path_of(spelling));
            tables.spell(canonical, &spelling.unwrap_or_else(|_| canonical.clone()));
        }
        let reports = tables.set_lines(Owner::Client, &place, specs);
        drop(tables);
        self.shared.tables_changed();
        reports
    }

    /// The debugger's breakpoints in one source: as they were asked for, and as
    /// they are.
    pub fn breakpoints(&self, source: &SourceRequest) -> Vec<(BreakpointSpec, Breakpoint)> {
        self.shared.tables().lines_of(Owner::Client, &place_of(source))
    }

    /// Replaces the function breakpoints.
    pub fn set_function_breakpoints(&self, specs: Vec<FunctionBreakpointSpec>) -> Vec<Breakpoint> {
        let reports = self.shared.tables().set_functions(Owner::Client, specs);
        self.shared.tables_changed();
        reports
    }

    /// Replaces the error filters.
    pub fn set_exception_filters(&self, filters: ExceptionFilters) {
        self.shared.tables().filters = filters;
        self.shared.tables_changed();
    }

    /// A breakpoint that the script sets itself; stays when debuggers come and
    /// go.
    pub fn add_script_breakpoint(&self, path: &str, spec: BreakpointSpec) -> Breakpoint {
        let place = place_of(&SourceRequest::Path(path.to_owned()));
        let report = self.shared.tables().add_line(Owner::Script, place, spec);
        self.shared.tables_changed();
        report
    }

    /// As [`Control::add_script_breakpoint`], for functions.
    pub fn add_script_function_breakpoint(&self, spec: FunctionBreakpointSpec) -> Breakpoint {
        let report = self.shared.tables().add_function(Owner::Script, spec);
        self.shared.tables_changed();
        report
    }

    /// Adds a breakpoint of the console: it belongs to the session, not to the
    /// debugger that is attached.
    pub fn add_console_breakpoint(&self, path: &str, spec: BreakpointSpec) -> Breakpoint {
        let place = place_of(&SourceRequest::Path(path.to_owned()));
        let report = self.shared.tables().add_line(Owner::Console, place, spec);
        self.shared.tables_changed();
        report
    }

    /// As [`Control::add_console_breakpoint`], for functions.
    pub fn add_console_function_breakpoint(&self, spec: FunctionBreakpointSpec) -> Breakpoint {
        let report = self.shared.tables().add_function(Owner::Console, spec);
        self.shared.tables_changed();
        report
    }

    /// Takes away a breakpoint of the console, or all of them; how many.
    pub fn clear_console_breakpoints(&self, id: Option<i64>) -> usize {
        let removed = self.shared.tables().remove(Owner::Console, id);
        self.shared.tables_changed();
        removed
    }

    /// All breakpoints, whoever has set them, with what they were asked for by.
    pub fn all_breakpoints(&self) -> Vec<(Breakpoint, &'static str)> {
        self.shared.tables().all()
    }

    /// The loaded file that defines a function of this name.
    pub fn file_defining(&self, function: &str) -> Option<String> {
        self.shared.tables().file_defining(function)
    }

    /// The lines in a range that a breakpoint can be set on.
    pub fn breakpoint_locations(&self, source: &SourceRequest, first: u32, last: u32) -> Vec<u32> {
        breakpoints::locations(&self.shared.tables(), &place_of(source), first, last)
    }

    /// All sources loaded so far.
    pub fn sources(&self) -> Vec<Source> {
        self.shared.tables().sources.all().map(|(_, loaded)| loaded.source.clone()).collect()
    }

    /// The text of a source that is no file.
    pub fn source_text(&self, reference: u64) -> Option<String> {
        self.shared.tables().sources.text(reference)
    }

    /// The client's own spelling of a path, if it has set breakpoints there.
    pub fn path_spelling(&self, path: &Path) -> PathBuf {
        self.shared.tables().spelling(path)
    }

    /// Steps only into files below these folders; `None` for everywhere, an empty
    /// list for the folder of the main script.
    pub fn set_just_my_code(&self, roots: Option<Vec<PathBuf>>) {
        let canonical =
            |roots: Vec<PathBuf>| roots.iter().map(|root| chunk::canonical(root)).collect();
        let roots = roots.map(canonical);
        self.shared.tables().roots = roots;
        self.shared.tables_changed();
    }

    /// The debugger has set all it wants: a waiting script begins.
    pub fn configuration_done(&self) {
        self.shared.configured.store(true, Ordering::SeqCst);
        if self.shared.stopped_before.swap(false, Ordering::SeqCst) {
            self.shared.announce.store(true, Ordering::SeqCst);
        }
        self.shared.held.store(false, Ordering::SeqCst);
        self.shared.kick();
    }

    /// The debugger that is attached only listens (`noDebug`): nothing, not even
    /// `Debug.breakpoint()`, stops the program.
    pub fn only_listen(&self) {
        self.shared.passive.store(true, Ordering::SeqCst);
    }

    /// The next line that is the first of a program stops it.
    pub fn stop_on_entry(&self) {
        self.shared.entry.store(true, Ordering::SeqCst);
    }

    /// Stops the program where it is.
    pub fn pause(&self) {
        if self.state() != RunState::Stopped {
            self.shared.pause.store(true, Ordering::SeqCst);
            self.shared.kick();
        }
    }

    /// Stops the program where it is or, if it is stopped, as soon as it goes on.
    pub fn pause_next(&self) {
        self.shared.pause.store(true, Ordering::SeqCst);
        self.shared.kick();
    }

    /// Lets a stopped program go on.
    ///
    /// # Errors
    /// If it is not stopped.
    pub fn resume(&self, how: Resume) -> Result<(), String> {
        if !self.shared.change_state(RunState::Stopped, RunState::Running) {
            return Err("the program is not stopped".to_owned());
        }
        self.shared.tell_observers(&Event::Resumed);
        self.shared.post(Mail::Resume(how));
        Ok(())
    }

    /// As [`Control::resume`], by a front end that is not the attached debugger:
    /// that one is told.
    ///
    /// # Errors
    /// If it is not stopped.
    pub fn resume_beside(&self, how: Resume) -> Result<(), String> {
        if !self.shared.change_state(RunState::Stopped, RunState::Running) {
            return Err("the program is not stopped".to_owned());
        }
        self.shared.send(Event::Resumed);
        self.shared.post(Mail::Resume(how));
        Ok(())
    }

    /// Ends the program; nothing in it can catch that.
    pub fn terminate(&self) {
        self.shared.request_stop(StopRequest::Terminate);
    }

    /// Ends the program for another reason.
    pub fn stop(&self, request: StopRequest) {
        self.shared.request_stop(request);
    }

    /// Calls `watch` with the first request to end each program, from whatever
    /// thread makes it.
    pub fn on_stop_request(&self, watch: impl Fn(StopRequest) + Send + 'static) {
        self.shared.on_stop_request(Box::new(watch));
    }

    /// Calls `farewell` on the Lua thread, once, when the script ends the process
    /// (`os.exit`), with the exit code. It decides whether that happens.
    pub fn on_exit(&self, farewell: impl Fn(i64) -> Parting + Send + 'static) {
        self.shared.on_exit(Box::new(farewell));
    }

    /// Ends the program and runs it again from its first line.
    ///
    /// # Errors
    /// If nothing runs.
    pub fn restart(&self) -> Result<(), String> {
        match self.state() {
            RunState::Idle | RunState::Finished => Err("no program is running".to_owned()),
            _ => {
                self.shared.request_stop(StopRequest::Restart);
                Ok(())
            }
        }
    }

    /// Ends what a front end evaluates just now.
    pub fn cancel_evaluation(&self) {
        self.shared.cancel_evaluation.store(true, Ordering::SeqCst);
        self.shared.kick();
    }

    /// Ends a wait that was reported as progress; the native call raises an
    /// error.
    pub fn cancel_progress(&self, id: u64) {
        self.shared.cancel_progress.store(u32::try_from(id).unwrap_or(0), Ordering::SeqCst);
        self.shared.kick();
    }

    /// What the program is doing.
    pub fn state(&self) -> RunState {
        self.shared.state()
    }

    /// The main script, or the source that was loaded first.
    pub fn main_script(&self) -> Option<Source> {
        self.shared.tables().main_source()
    }

    /// Says which script is going to run, before it does.
    pub fn set_main_script(&self, path: &Path) {
        self.shared.tables().main = Some(chunk::canonical(path));
    }

    /// What to call the program.
    pub fn name(&self) -> String {
        self.main_script().map_or_else(|| "llmspell".to_owned(), |source| source.name)
    }

    /// Whether a debugger is attached.
    pub fn attached(&self) -> bool {
        self.shared.attached()
    }

    /// Makes a native call that waits look at what it waits for.
    pub fn wake(&self) {
        self.shared.kick();
    }

    /// Runs `visit` on the Lua thread as soon as it can be: at once when the
    /// program is stopped, idle or waiting in a native call, else between two
    /// instructions.
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn visit<R: Send + 'static>(
        &self,
        visit: impl FnOnce(&Inspector<'_>) -> R + Send + 'static,
    ) -> Result<R, String> {
        let ended = || "the session has ended".to_owned();
        let (answer, answered) = tokio::sync::oneshot::channel();
        let letter = Mail::Visit(Box::new(move |inspector| {
            // Nobody waits any more if the front end is gone.
            let _ = answer.send(visit(inspector));
        }));
        if !self.shared.post(letter) {
            return Err(ended());
        }
        answered.await.map_err(|_| ended())
    }

    /// Runs `work` on the Lua thread when nothing else runs there; `false` if
    /// the session has ended.
    pub fn work(&self, work: Work) -> bool {
        self.shared.post(Mail::Work(work))
    }

    /// Passes output on that has been gathered.
    pub fn flush(&self) {
        self.shared.output.flush();
    }
}

impl Attachment {
    /// Lets go. With `suspend` a stopped program stays stopped, for the next
    /// debugger.
    pub fn detach(self, suspend: bool) {
        self.shared.held.store(suspend, Ordering::SeqCst);
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.tables().forget_client();
        shared.entry.store(false, Ordering::SeqCst);
        shared.passive.store(false, Ordering::SeqCst);
        shared.pause.store(false, Ordering::SeqCst);
        // First, so that the program goes on without a hook; and before another
        // debugger can come and find it stopped.
        shared.tables_changed();
        if !shared.held.load(Ordering::SeqCst)
            && shared.change_state(RunState::Stopped, RunState::Running)
        {
            shared.tell_observers(&Event::Resumed);
            shared.post(Mail::Resume(Resume::Continue));
        }
        shared.unlisten(self.number);
        shared.tables_changed();
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.shared.forget_observer(self.number);
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        // A program that stands still looks by itself whether anybody is left.
        self.shared.pilots.fetch_sub(1, Ordering::SeqCst);
        self.shared.tables_changed();
    }
}

fn place_of(source: &SourceRequest) -> Place {
    match source {
        SourceRequest::Path(path) => Place::File(chunk::canonical(&path_of(path))),
        SourceRequest::Reference(reference) => Place::Text(*reference),
    }
}

/// A path, also if it is written as a URI.
fn path_of(text: &str) -> PathBuf {
    let Some(path) = text.strip_prefix("file://") else { return PathBuf::from(text) };
    // `file:///path` and `file://host/path`.
    let path = path.find('/').map_or(path, |at| &path[at..]);
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = [ahead.next(), ahead.next()];
        let value = match digits {
            [Some(high), Some(low)] if byte == b'%' => {
                let text = [high, low];
                std::str::from_utf8(&text).ok().and_then(|text| u8::from_str_radix(text, 16).ok())
            }
            _ => None,
        };
        if value.is_some() {
            rest = ahead;
        }
        bytes.push(value.unwrap_or(byte));
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_paths_too() {
        assert_eq!(path_of("/a b.lua"), Path::new("/a b.lua"));
        assert_eq!(path_of("file:///a%20b.lua"), Path::new("/a b.lua"));
        assert_eq!(path_of("file://localhost/x.lua"), Path::new("/x.lua"));
        assert_eq!(path_of("file:///50%"), Path::new("/50%"));
    }
}
