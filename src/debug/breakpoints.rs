//! Breakpoints: what front ends asked for ([`Tables`], shared) and what the hook
//! checks ([`Active`], the Lua thread's own copy, remade when the epoch changes).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering},
    },
};

use crate::debug::{
    condition::{Condition, HitCondition, LogMessage},
    model::{
        Breakpoint, BreakpointSpec, ExceptionFilters, FunctionBreakpointSpec, Source, SourceId,
    },
    scratch,
    sources::{Sources, file_of},
};

/// Everything front ends can set, and the sources it refers to.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) sources: Sources,
    lines: Vec<LineBreakpoint>,
    functions: Vec<FunctionBreakpoint>,
    pub(super) filters: ExceptionFilters,
    /// `justMyCode`: only files below these folders are stepped into. Empty: the
    /// folder of the main script.
    pub(super) roots: Option<Vec<PathBuf>>,
    /// The main script, known before it is loaded.
    pub(super) main: Option<PathBuf>,
    /// How the client spells a canonical path.
    spellings: HashMap<PathBuf, PathBuf>,
    next_id: i64,
}

/// Who set a breakpoint; each owner replaces only its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The attached debugger; its breakpoints go with it.
    Client,
    /// The script itself, by `Debug.breakpoint`.
    Script,
    /// A REPL.
    Console,
}

/// The place a line breakpoint was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Text(u64),
}

struct LineBreakpoint {
    owner: Owner,
    place: Place,
    spec: BreakpointSpec,
    /// The line it sits on, once its source is loaded.
    line: Option<u32>,
    live: Result<Arc<Live>, String>,
    id: i64,
}

struct FunctionBreakpoint {
    owner: Owner,
    spec: FunctionBreakpointSpec,
    /// Chunk and line of the definitions found so far.
    places: Vec<(Vec<u8>, u32)>,
    live: Result<Arc<Live>, String>,
    id: i64,
}

/// A breakpoint as the hook sees it. Survives changes of the tables, so that hit
/// counts do.
pub(super) struct Live {
    pub(super) id: i64,
    pub(super) condition: Option<Condition>,
    pub(super) hit_condition: Option<HitCondition>,
    pub(super) log_message: Option<LogMessage>,
    pub(super) hits: AtomicU32,
    /// Its condition has failed and the user knows.
    pub(super) complained: AtomicBool,
    /// Registry slot of the compiled condition; the Lua thread's.
    pub(super) compiled: AtomicI32,
}

impl Live {
    fn new(
        id: i64,
        condition: Option<&str>,
        hit_condition: Option<&str>,
        log_message: Option<&str>,
    ) -> Result<Arc<Self>, String> {
        let condition = given(condition).map(Condition::parse).transpose()?;
        let hit_condition = given(hit_condition).map(HitCondition::parse).transpose()?;
        let log_message =
            log_message.filter(|text| !text.is_empty()).map(LogMessage::parse).transpose()?;
        Ok(Arc::new(Self {
            id,
            condition,
            hit_condition,
            log_message,
            hits: AtomicU32::new(0),
            complained: AtomicBool::new(false),
            compiled: AtomicI32::new(0),
        }))
    }
}

impl Tables {
    /// Replaces the line breakpoints of `owner` in one place.
    pub(super) fn set_lines(
        &mut self,
        owner: Owner,
        place: &Place,
        specs: Vec<BreakpointSpec>,
    ) -> Vec<Breakpoint> {
        let is_old = |old: &mut LineBreakpoint| old.owner == owner && old.place == *place;
        let mut old: Vec<_> = self.lines.extract_if(.., is_old).collect();
        let mut reports = Vec::with_capacity(specs.len());
        for spec in specs {
            let same = old.iter().position(|old| old.spec == spec);
            let mut breakpoint = match same {
                Some(index) => old.swap_remove(index),
                None => self.new_line(owner, place.clone(), spec),
            };
            self.resolve_line(&mut breakpoint);
            reports.push(self.report_line(&breakpoint));
            self.lines.push(breakpoint);
        }
        reports
    }

    /// Adds one line breakpoint to those that `owner` has.
    pub(super) fn add_line(
        &mut self,
        owner: Owner,
        place: Place,
        spec: BreakpointSpec,
    ) -> Breakpoint {
        self.lines
            .retain(|old| old.owner != owner || old.place != place || old.spec.line != spec.line);
        let mut breakpoint = self.new_line(owner, place, spec);
        self.resolve_line(&mut breakpoint);
        let report = self.report_line(&breakpoint);
        self.lines.push(breakpoint);
        report
    }

    /// The line breakpoints of `owner` in one place, as asked for and as they are.
    pub(super) fn lines_of(
        &self,
        owner: Owner,
        place: &Place,
    ) -> Vec<(BreakpointSpec, Breakpoint)> {
        let wanted = |it: &&LineBreakpoint| it.owner == owner && it.place == *place;
        let lines = self.lines.iter().filter(wanted);
        lines.map(|it| (it.spec.clone(), self.report_line(it))).collect()
    }

    fn new_line(&mut self, owner: Owner, place: Place, spec: BreakpointSpec) -> LineBreakpoint {
        self.next_id += 1;
        let live = Live::new(
            self.next_id,
            spec.condition.as_deref(),
            spec.hit_condition.as_deref(),
            spec.log_message.as_deref(),
        );
        LineBreakpoint { owner, place, spec, line: None, live, id: self.next_id }
    }

    /// Replaces the function breakpoints of `owner`.
    pub(super) fn set_functions(
        &mut self,
        owner: Owner,
        specs: Vec<FunctionBreakpointSpec>,
    ) -> Vec<Breakpoint> {
        let mut old: Vec<_> = self.functions.extract_if(.., |old| old.owner == owner).collect();
        let mut reports = Vec::with_capacity(specs.len());
        for spec in specs {
            let same = old.iter().position(|old| old.spec == spec);
            let mut breakpoint = match same {
                Some(index) => old.swap_remove(index),
                None => self.new_function(owner, spec),
            };
            for chunk in self.sources.names() {
                self.resolve_function(&mut breakpoint, &chunk);
            }
            reports.push(self.report_function(&breakpoint));
            self.functions.push(breakpoint);
        }
        reports
    }

    /// Adds one function breakpoint.
    pub(super) fn add_function(
        &mut self,
        owner: Owner,
        spec: FunctionBreakpointSpec,
    ) -> Breakpoint {
        let mut specs: Vec<_> = self
            .functions
            .iter()
            .filter(|old| old.owner == owner && old.spec.name != spec.name)
            .map(|old| old.spec.clone())
            .collect();
        specs.push(spec);
        self.set_functions(owner, specs).pop().unwrap_or_else(unresolved)
    }

    fn new_function(&mut self, owner: Owner, spec: FunctionBreakpointSpec) -> FunctionBreakpoint {
        self.next_id += 1;
        let live =
            Live::new(self.next_id, spec.condition.as_deref(), spec.hit_condition.as_deref(), None);
        FunctionBreakpoint { owner, spec, places: Vec::new(), live, id: self.next_id }
    }

    /// Notes a compiled chunk; tells the breakpoints whose state this changes.
    pub(super) fn load(
        &mut self,
        name: &[u8],
        lines: Vec<u32>,
        text: Option<&[u8]>,
    ) -> (Source, bool, Vec<Breakpoint>) {
        let (source, is_new) = self.sources.load(name, lines, text);
        let mut changed = Vec::new();
        let mut breakpoints = std::mem::take(&mut self.lines);
        for breakpoint in &mut breakpoints {
            let before = self.report_line(breakpoint);
            if self.chunk_of(&breakpoint.place).is_some_and(|chunk| chunk == name) {
                self.resolve_line(breakpoint);
            }
            let after = self.report_line(breakpoint);
            changed.extend((before != after).then_some(after));
        }
        self.lines = breakpoints;
        let mut functions = std::mem::take(&mut self.functions);
        for breakpoint in &mut functions {
            let before = self.report_function(breakpoint);
            self.resolve_function(breakpoint, name);
            let after = self.report_function(breakpoint);
            changed.extend((before != after).then_some(after));
        }
        self.functions = functions;
        (source, is_new, changed)
    }

    /// Whether a breakpoint of any kind is set in, or waits for, this chunk.
    pub(super) fn concerns(&self, name: &[u8]) -> bool {
        !self.functions.is_empty()
            || self
                .lines
                .iter()
                .any(|breakpoint| self.chunk_of(&breakpoint.place).is_some_and(|it| it == name))
    }

    fn chunk_of(&self, place: &Place) -> Option<&[u8]> {
        match place {
            Place::File(path) => self.sources.chunk_of_path(path),
            Place::Text(reference) => self.sources.chunk_of_reference(*reference),
        }
    }

    fn resolve_line(&self, breakpoint: &mut LineBreakpoint) {
        let loaded = self.chunk_of(&breakpoint.place).and_then(|name| self.sources.get(name));
        breakpoint.line = loaded.and_then(|loaded| loaded.executable_line(breakpoint.spec.line));
    }

    fn resolve_function(&mut self, breakpoint: &mut FunctionBreakpoint, chunk: &[u8]) {
        breakpoint.places.retain(|(place, _)| place != chunk);
        let (file, wanted) = split_file(&breakpoint.spec.name);
        let file_name = file_of(chunk).and_then(Path::file_name);
        if file.is_some_and(|file| file_name.is_none_or(|name| name != file)) {
            return;
        }
        let found = self.sources.definitions(chunk).iter().filter(|it| it.is_called(wanted));
        breakpoint.places.extend(found.map(|found| (chunk.to_vec(), found.line)));
    }

    fn report_line(&self, breakpoint: &LineBreakpoint) -> Breakpoint {
        let loaded = self.chunk_of(&breakpoint.place).and_then(|name| self.sources.get(name));
        let source = match (loaded, &breakpoint.place) {
            (Some(loaded), _) => Some(loaded.source.clone()),
            (None, Place::File(path)) => Some(source_of_path(path)),
            (None, Place::Text(_)) => None,
        };
        let problem = breakpoint.live.as_ref().err().cloned();
        let message = problem.or_else(|| match (loaded, breakpoint.line) {
            (_, Some(_)) => None,
            (None, None) => Some("pending: this source has not been loaded".to_owned()),
            (Some(_), None) => Some("there is no executable code at or below this line".to_owned()),
        });
        Breakpoint {
            id: breakpoint.id,
            verified: breakpoint.line.is_some() && breakpoint.live.is_ok(),
            line: breakpoint.line.or(Some(breakpoint.spec.line)),
            source,
            message,
            pending: loaded.is_none() && breakpoint.live.is_ok(),
        }
    }

    fn report_function(&self, breakpoint: &FunctionBreakpoint) -> Breakpoint {
        let place = breakpoint.places.first();
        let problem = breakpoint.live.as_ref().err().cloned();
        let message = problem.or_else(|| {
            place
                .is_none()
                .then(|| format!("pending: no function '{}' has been loaded", breakpoint.spec.name))
        });
        Breakpoint {
            id: breakpoint.id,
            verified: place.is_some() && breakpoint.live.is_ok(),
            line: place.map(|(_, line)| *line),
            source: place.and_then(|(chunk, _)| Some(self.sources.get(chunk)?.source.clone())),
            message,
            pending: place.is_none(),
        }
    }

    /// The loaded file that defines a function of this name.
    pub(super) fn file_defining(&mut self, function: &str) -> Option<String> {
        let chunks = self.sources.names();
        let chunk = chunks.iter().find(|chunk| {
            file_of(chunk).is_some()
                && self.sources.definitions(chunk).iter().any(|it| it.is_called(function))
        })?;
        file_of(chunk).map(|path| path.to_string_lossy().into_owned())
    }

    /// A new VM: hits are counted, and complaints made, anew.
    pub(super) fn start_over(&mut self) {
        let lines = self.lines.iter().map(|breakpoint| &breakpoint.live);
        let functions = self.functions.iter().map(|breakpoint| &breakpoint.live);
        for live in lines.chain(functions).flatten() {
            live.hits.store(0, Ordering::Relaxed);
            live.complained.store(false, Ordering::Relaxed);
        }
    }

    /// Drops what the attached debugger had set.
    pub(super) fn forget_client(&mut self) {
        self.lines.retain(|breakpoint| breakpoint.owner != Owner::Client);
        self.functions.retain(|breakpoint| breakpoint.owner != Owner::Client);
        self.filters = ExceptionFilters::default();
        self.roots = None;
        self.spellings.clear();
    }

    /// Drops a breakpoint of `owner`, or all of them; how many.
    pub(super) fn remove(&mut self, owner: Owner, id: Option<i64>) -> usize {
        let stays = |whose, number| whose != owner || id.is_some_and(|id| id != number);
        let before = self.lines.len() + self.functions.len();
        self.lines.retain(|breakpoint| stays(breakpoint.owner, breakpoint.id));
        self.functions.retain(|breakpoint| stays(breakpoint.owner, breakpoint.id));
        before - self.lines.len() - self.functions.len()
    }

    /// Every breakpoint, with its owner's name.
    pub(super) fn all(&self) -> Vec<(Breakpoint, &'static str)> {
        let name = |owner| match owner {
            Owner::Client => "debugger",
            Owner::Script => "script",
            Owner::Console => "console",
        };
        let lines = self.lines.iter().map(|it| (self.report_line(it), name(it.owner)));
        let functions = self.functions.iter().map(|it| (self.report_function(it), name(it.owner)));
        lines.chain(functions).collect()
    }

    /// The main script, or whatever was loaded first.
    pub(super) fn main_source(&self) -> Option<Source> {
        let known = self.main.as_deref().map(source_of_path);
        known.or_else(|| self.sources.all().next().map(|(_, loaded)| loaded.source.clone()))
    }

    /// [`Tables::roots`], with the main script's folder in the place of none.
    pub(super) fn effective_roots(&self) -> Option<Vec<PathBuf>> {
        let roots = self.roots.as_ref()?;
        if !roots.is_empty() {
            return Some(roots.clone());
        }
        match self.main_source()?.id {
            SourceId::File(path) => Some(vec![path.parent()?.to_owned()]),
            _ => None,
        }
    }

    /// Remembers how the client writes a path.
    pub(super) fn spell(&mut self, canonical: &Path, spelling: &Path) {
        self.spellings.insert(canonical.to_owned(), spelling.to_owned());
    }

    /// The client's way to write a canonical path.
    pub(super) fn spelling(&self, canonical: &Path) -> PathBuf {
        self.spellings.get(canonical).map_or(canonical, PathBuf::as_path).to_owned()
    }

    /// The hook's copy.
    pub(super) fn activate(&self) -> Active {
        let mut active = Active::default();
        for breakpoint in &self.lines {
            if let (Some(line), Ok(live)) = (breakpoint.line, &breakpoint.live)
                && let Some(chunk) = self.chunk_of(&breakpoint.place)
            {
                let breaks = active.sources.entry(chunk.to_vec()).or_default();
                breaks.lines.entry(line).or_default().push(Arc::clone(live));
            }
        }
        for breakpoint in &self.functions {
            let Ok(live) = &breakpoint.live else { continue };
            for (chunk, line) in &breakpoint.places {
                let breaks = active.sources.entry(chunk.clone()).or_default();
                breaks.entries.entry(*line).or_default().push(Arc::clone(live));
            }
        }
        active
    }
}

/// The breakpoints that can be hit, by chunk name.
#[derive(Default)]
pub(super) struct Active {
    pub(super) sources: HashMap<Vec<u8>, SourceBreaks>,
}

/// The breakpoints of one chunk.
#[derive(Default)]
pub(super) struct SourceBreaks {
    /// By line.
    pub(super) lines: HashMap<u32, Vec<Arc<Live>>>,
    /// By the line where the function starts (`linedefined`).
    pub(super) entries: HashMap<u32, Vec<Arc<Live>>>,
}

/// A text that says something.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// Splits `file.lua:name`; a plain or dotted name, or `Class:method`, has no
/// file.
fn split_file(name: &str) -> (Option<&str>, &str) {
    match name.rsplit_once(".lua:") {
        Some((file, function)) => (Some(&name[..file.len() + ".lua".len()]), function),
        None => (None, name),
    }
}

fn source_of_path(path: &Path) -> Source {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Source { id: SourceId::File(path.to_owned()), name }
}

fn unresolved() -> Breakpoint {
    Breakpoint { id: 0, verified: false, line: None, source: None, message: None, pending: true }
}

/// The lines between `first` and `last` that a breakpoint can be set on; for a
/// file that is not loaded, as compiling it now shows.
pub(super) fn locations(tables: &Tables, place: &Place, first: u32, last: u32) -> Vec<u32> {
    let loaded = tables.chunk_of(place).and_then(|name| tables.sources.get(name));
    let lines = match (loaded, place) {
        (Some(loaded), _) => loaded.lines.clone(),
        (None, Place::File(path)) => scratch::executable_lines(path).unwrap_or_default(),
        (None, Place::Text(_)) => Vec::new(),
    };
    lines.into_iter().filter(|line| (first..=last).contains(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breakpoint_waits_moves_and_keeps_its_count() {
        let mut tables = Tables::default();
        let place = Place::File("/nowhere/a.lua".into());
        let spec = |line| BreakpointSpec { line, ..Default::default() };
        let report = tables.set_lines(Owner::Client, &place, vec![spec(2)]);
        assert!(report[0].pending && !report[0].verified);
        let (_, is_new, changed) = tables.load(b"@/nowhere/a.lua", vec![1, 4, 6], None);
        assert!(is_new);
        assert_eq!((changed[0].verified, changed[0].line), (true, Some(4)));
        let again = tables.set_lines(Owner::Client, &place, vec![spec(2), spec(9)]);
        assert_eq!(again[0].id, report[0].id);
        assert!(!again[1].verified && !again[1].pending);
        // An edited file moves it again.
        let (_, is_new, changed) = tables.load(b"@/nowhere/a.lua", vec![2, 9], None);
        assert!(!is_new);
        assert_eq!(changed.iter().map(|it| it.line).collect::<Vec<_>>(), [Some(2), Some(9)]);
    }

    #[test]
    fn function_names_may_carry_a_file() {
        assert_eq!(split_file("a.lua:f"), (Some("a.lua"), "f"));
        assert_eq!(split_file("Class:method"), (None, "Class:method"));
        assert_eq!(split_file("x.lua:C:m"), (Some("x.lua"), "C:m"));
    }
}
