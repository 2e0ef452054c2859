//! What the debug core says and understands: plain data, no protocol, no Lua.
//!
//! Front ends translate these to their wire; the names are DAP's
//! because it is the field's vocabulary, not because the core speaks it.

use std::path::PathBuf;

/// Where a piece of Lua came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SourceId {
    /// A file, by canonical path (symlinks and `..` resolved).
    File(PathBuf),
    /// Text that is no file (an `exec` string, a cell, a `load`ed string); the
    /// number asks [`crate::debug::Control::source_text`] for it.
    Text(u64),
    /// The inside of llmspell or of Lua: nothing that could be shown.
    Native,
}

/// A source as a front end shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Identity.
    pub id: SourceId,
    /// File name, or the chunk's name (`=stdin` shows as `stdin`).
    pub name: String,
}

/// A line breakpoint as the user asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BreakpointSpec {
    /// 1-based line.
    pub line: u32,
    /// Lua expression; the breakpoint counts only where it is true.
    pub condition: Option<String>,
    /// `5`, `>= 5`, `> 5`, `< 5`, `<= 5`, `== 5` or `% 3`.
    pub hit_condition: Option<String>,
    /// Printed instead of stopping; `{expr}` is evaluated in the frame.
    pub log_message: Option<String>,
}

/// A function breakpoint as the user asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionBreakpointSpec {
    /// `name`, `M.name`, `Class:method` or `file.lua:name`.
    pub name: String,
    /// As in [`BreakpointSpec`].
    pub condition: Option<String>,
    /// As in [`BreakpointSpec`].
    pub hit_condition: Option<String>,
}

/// The state of one breakpoint, as reported to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakpoint {
    /// Stable over the breakpoint's life.
    pub id: i64,
    /// Whether it sits on executable code that is loaded.
    pub verified: bool,
    /// Where it sits (it may have moved to the next executable line).
    pub line: Option<u32>,
    /// The file it is in.
    pub source: Option<Source>,
    /// Why it is not verified, or what is wrong with its condition.
    pub message: Option<String>,
    /// True while the file has not been loaded; false if it never can be hit.
    pub pending: bool,
}

/// Which errors stop the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExceptionFilters {
    /// Stop where any error is thrown, caught or not.
    pub all: Option<ExceptionFilter>,
    /// Stop where an error is thrown that nothing will catch.
    pub uncaught: Option<ExceptionFilter>,
}

/// One error filter that is switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExceptionFilter {
    /// Lua pattern to be found in the message; one that is no pattern is searched
    /// for as it is.
    pub condition: Option<String>,
}

/// Why the program stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum StopReason {
    /// At the first line, because the launcher asked for it.
    Entry,
    /// A line breakpoint, or `Debug.breakpoint()` (no ids).
    Breakpoint(Vec<i64>),
    /// A function breakpoint.
    FunctionBreakpoint(Vec<i64>),
    /// A step ended.
    Step,
    /// Somebody asked for a pause.
    Pause,
    /// An error was thrown.
    Exception(Exception),
}

/// An error that stopped the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// `runtime error`, `error`, `assert`, or `__name` of the error object.
    pub kind: String,
    /// The message, without the position if it is the throwing line's own.
    pub message: String,
    /// Lua type name of the error object.
    pub type_name: String,
    /// Whether something will catch it.
    pub caught: bool,
    /// Traceback, resumers below coroutines.
    pub traceback: String,
    /// Fields of the error object if it is a table, as `name = value`.
    pub fields: Vec<(String, String)>,
}

/// How a stopped program goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Until the next reason to stop.
    Continue,
    /// To the next line of this function (DAP `next`).
    Over,
    /// Into the next Lua function called (DAP `stepIn`).
    In,
    /// Until this function has returned (DAP `stepOut`).
    Out,
    /// Into one of the calls on this line, by [`StepInTarget::id`].
    Into(u32),
}

/// A call that could be stepped into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInTarget {
    /// Valid until the program goes on.
    pub id: u32,
    /// Name of the function called.
    pub label: String,
    /// The line.
    pub line: u32,
}

/// Something an attached front end is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The program stopped; everything is inspectable until it goes on.
    Stopped(StopReason),
    /// A front end other than the one told has let it go on.
    Resumed,
    /// The program (or the debugger, for `Console`) said something.
    Output(Output),
    /// A breakpoint was verified, moved or found wanting.
    BreakpointChanged(Breakpoint),
    /// A source was loaded (`true`: for the first time).
    SourceLoaded(Source, bool),
    /// A wait of more than a second began, goes on, or ended.
    Progress(Progress),
    /// The script is over; its exit code as the shell would see it.
    Exited(i64),
    /// Nothing more will come.
    Terminated,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Which stream.
    pub category: OutputCategory,
    /// Bytes as written; not necessarily UTF-8.
    pub bytes: Vec<u8>,
    /// The line that wrote (the last of) it.
    pub location: Option<(Source, u32)>,
}

/// The stream a piece of output belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputCategory {
    /// The script's standard output.
    Stdout,
    /// The script's standard error.
    Stderr,
    /// The debugger's own words: log points, failing conditions.
    Console,
}

/// Progress of a native call that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Identity, for `cancel`.
    pub id: u64,
    /// What is waited for, while it lasts.
    pub title: String,
    /// Whether it starts, goes on or has ended.
    pub phase: ProgressPhase,
}

/// Phase of a [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressPhase {
    /// First report.
    Start,
    /// The wait is over.
    End,
}

/// One line of the call stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Valid until the program goes on.
    pub id: i64,
    /// Function name as Lua knows it.
    pub name: String,
    /// Where the function is written.
    pub source: Source,
    /// Current line; 0 where there is none.
    pub line: u32,
    /// What kind of line it is.
    pub kind: FrameKind,
}

/// Kind of a [`Frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A Lua function.
    Lua,
    /// A native function.
    Native,
    /// No function: `(...tail calls...)` or the border to the coroutine's
    /// resumer.
    Label,
}

/// A page of the call stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// The frames asked for.
    pub frames: Vec<Frame>,
    /// How many there are altogether.
    pub total: usize,
}

/// A group of variables of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `Locals`, `Varargs`, `Upvalues`, `Globals`, `Standard library`, `Error`.
    pub name: String,
    /// Asks [`crate::debug::Inspector::variables`] for the content.
    pub reference: i64,
    /// Number of named children, if cheap to know.
    pub named: Option<u64>,
    /// Number of indexed children.
    pub indexed: Option<u64>,
    /// True if a front end should not open it unasked.
    pub expensive: bool,
}

/// A value as shown to the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// Name within its container.
    pub name: String,
    /// One-line rendering.
    pub value: String,
    /// Lua type, or `__name`.
    pub type_name: String,
    /// Expression that yields this value in its frame, where there is one.
    pub evaluate_name: Option<String>,
    /// Non-zero if it has children.
    pub reference: i64,
    /// Number of named children, if cheap to know.
    pub named: Option<u64>,
    /// Number of indexed children.
    pub indexed: Option<u64>,
    /// Where it is written, for functions.
    pub definition: Option<(Source, u32)>,
    /// True if its value can be set.
    pub writable: bool,
}

/// Which children of a container are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Only these; `None` for all.
    pub filter: Option<Children>,
    /// First child of the filter.
    pub start: usize,
    /// How many; 0 for all (large containers end with a `…` node).
    pub count: usize,
    /// Show integers in hexadecimal.
    pub hex: bool,
}

/// The two kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    /// `t[1]` to `t[#t]`.
    Indexed,
    /// Everything else.
    Named,
}

/// What an evaluation is for; decides what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvaluateContext {
    /// Statements and function calls allowed, nothing shortened.
    Repl,
    /// Expression, short time limit.
    Watch,
    /// Names and fields only: never calls a function or metamethod.
    Hover,
    /// The whole value as text.
    Clipboard,
}

/// A completion proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Text to insert.
    pub label: String,
    /// `function`, `field`, `variable` or `keyword`.
    pub kind: CompletionKind,
    /// 0-based byte offset in the text where the replaced word starts.
    pub start: usize,
    /// Length in bytes of the replaced word.
    pub length: usize,
}

/// Kind of a [`Completion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionKind {
    /// A function value.
    Function,
    /// A table field.
    Field,
    /// A local, upvalue or global.
    Variable,
    /// A word of the language.
    Keyword,
}
