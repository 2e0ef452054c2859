//! The dot-commands of the REPL: written once, for every wire that carries
//! lines.
//!
//! Most look at the program or steer it and answer with text. `.load` and
//! `.time` run something, and answer as a cell does.

use std::{
    fmt::Write as _,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    debug::{
        Breakpoint, BreakpointSpec, Control, Frame, FrameKind, FunctionBreakpointSpec, Inspector,
        Page, Resume, RunState, SourceId, quoted,
    },
    kernel::{
        Inner,
        clients::ClientState,
        dispatch::spawn,
        events::Origin,
        message::{Execute, ReplyBody, Stopped},
        sessions::KernelSession,
    },
};

/// What `.help` says.
pub(super) const HELP: &str = "\
.help                       this text
.load FILE                  run a file in the session
.time CODE                  run a cell and say how long it took
.reset                      go on with an empty session
.interrupt                  end what runs
.sessions                   list the sessions
.session NAME               use a session
.session new [NAME [PROFILE]]  make one of your own, and use it
.session end NAME           end one
.clients                    list the clients
Debugging:
.break FILE:LINE [if COND]  set a breakpoint; also .break FUNCTION
.breakpoints                list them
.clear [ID]                 take away one of yours, or all
.debug on|off               stop here for breakpoints, or do not
.pause                      stop what runs
.where                      the call stack
.frame N, .up, .down        select a frame
.locals                     its local variables
.list                       its source around the line
.continue  .c               go on
.step      .s               to the next line, into calls
.next      .n               to the next line, over calls
.out       .o               until the function returns
While the program is stopped, what you type is evaluated in the selected frame.
";

/// Lines around the current one that `.list` shows.
const AROUND: u32 = 5;

/// Carries out a command; answers now or later.
pub(super) fn command(
    kernel: &Arc<Inner>,
    client: &Arc<ClientState>,
    session: &Arc<KernelSession>,
    msg_id: &str,
    origin: &Origin,
    line: &str,
) -> Result<(), String> {
    let line = line.trim();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let say = |text: String| {
        let name = Some(client.inner().session.clone());
        kernel.answer(client, msg_id, name, ReplyBody::CommandReply { text });
        Ok(())
    };
    let run = |code: String, timed: bool| {
        let job = kernel.job(client, msg_id, origin.clone(), "execute");
        let job = super::sessions::Job { timed, ..job };
        kernel.execute(session, job, Execute { code, name: None, in_frame: timed });
        Ok(())
    };
    let control = &session.control;
    match name {
        ".help" => say(HELP.to_owned()),
        ".load" if control.state() == RunState::Stopped => {
            Err("the program is stopped: let it go on first, with .continue".to_owned())
        }
        ".load" if !rest.is_empty() => run(format!("dofile({})", quoted(rest.as_bytes())), false),
        ".load" => Err("usage: .load FILE".to_owned()),
        ".time" if !rest.is_empty() => run(rest.to_owned(), true),
        ".time" => Err("usage: .time CODE".to_owned()),
        ".reset" => reset(kernel, client, session, msg_id),
        ".interrupt" => {
            let interrupted = session.interrupt();
            say(if interrupted { "" } else { "nothing runs\n" }.to_owned())
        }
        ".sessions" => say(sessions(kernel, &client.inner().session)),
        ".session" => say(use_session(kernel, client, rest)?),
        ".clients" => say(clients(kernel, &client.id)),
        ".break" => {
            let said = set_breakpoint(control, rest)?;
            kernel.set_pilot(client, &session.name, true)?;
            say(said)
        }
        ".breakpoints" => say(breakpoints(control)),
        ".clear" => say(clear(control, rest)?),
        ".debug" if rest == "on" || rest == "off" => {
            kernel.set_pilot(client, &session.name, rest == "on")?;
            say(String::new())
        }
        ".debug" => Err("usage: .debug on, or .debug off".to_owned()),
        ".pause" => {
            if !session.can_pause() {
                return Err("nothing runs".to_owned());
            }
            kernel.set_pilot(client, &session.name, true)?;
            control.pause();
            say(String::new())
        }
        ".continue" | ".c" => go_on(control, Resume::Continue, say),
        ".step" | ".s" => go_on(control, Resume::In, say),
        ".next" | ".n" => go_on(control, Resume::Over, say),
        ".out" | ".o" => go_on(control, Resume::Out, say),
        ".where" | ".frame" | ".up" | ".down" | ".locals" | ".list" => {
            look(kernel, client, session, msg_id, name, rest)
        }
        _ => Err(format!("there is no command '{name}'; .help lists them")),
    }
}

/// Answers before anything comes of it.
fn go_on(
    control: &Control,
    how: Resume,
    say: impl FnOnce(String) -> Result<(), String>,
) -> Result<(), String> {
    if control.state() != RunState::Stopped {
        return Err("the program is not stopped".to_owned());
    }
    say(String::new())?;
    // If somebody else was faster, it goes on all the same.
    let _ = control.resume_beside(how);
    Ok(())
}

fn reset(
    kernel: &Arc<Inner>,
    client: &Arc<ClientState>,
    session: &Arc<KernelSession>,
    msg_id: &str,
) -> Result<(), String> {
    let answer = {
        let (kernel, client) = (Arc::clone(kernel), Arc::clone(client));
        let (msg_id, name) = (msg_id.to_owned(), session.name.clone());
        move || {
            let text = "the session is empty\n".to_owned();
            kernel.answer(&client, &msg_id, Some(name), ReplyBody::CommandReply { text });
        }
    };
    if session.reset(answer) { Ok(()) } else { Err("the session has ended".to_owned()) }
}

fn sessions(kernel: &Inner, own: &str) -> String {
    let mut text = String::new();
    for info in kernel.session_infos() {
        let mark = if info.name == own { "*" } else { " " };
        let debugger = if info.debugger { ", debugger" } else { "" };
        let _ = writeln!(
            text,
            "{mark} {:<16} {:<8} {} cells, {} clients{debugger}",
            info.name, info.state, info.execution_count, info.clients
        );
    }
    text
}

fn clients(kernel: &Inner, own: &str) -> String {
    let mut text = String::new();
    for client in kernel.clients.all() {
        let info = client.info();
        let mark = if info.id == own { "*" } else { " " };
        let _ = writeln!(
            text,
            "{mark} {:<6} {:<10} {:<22} {}",
            info.id,
            info.protocol.name(),
            info.peer,
            info.session
        );
    }
    text
}

fn use_session(
    kernel: &Arc<Inner>,
    client: &Arc<ClientState>,
    rest: &str,
) -> Result<String, String> {
    let mut words = rest.split_whitespace();
    match words.next() {
        None => Ok(format!("{}\n", client.inner().session)),
        Some("new") => {
            let name = words.next().map(str::to_owned);
            let name = kernel.create_session(client, name, words.next())?;
            Ok(format!("using '{name}', which ends with you\n"))
        }
        Some("end") => {
            let name = words.next().ok_or("usage: .session end NAME")?;
            kernel.finish_session(name)?;
            Ok(format!("'{name}' has ended\n"))
        }
        Some(name) => {
            kernel.use_session(client, name)?;
            Ok(format!("using '{name}'\n"))
        }
    }
}

fn set_breakpoint(control: &Control, rest: &str) -> Result<String, String> {
    let (place, condition) = match rest.split_once(" if ") {
        Some((place, condition)) => (place.trim(), Some(condition.trim().to_owned())),
        None => (rest, None),
    };
    if place.is_empty() {
        return Err("usage: .break FILE:LINE [if CONDITION], or .break FUNCTION".to_owned());
    }
    let line = place.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?)));
    let report = match line {
        Some((file, line)) => {
            let spec = BreakpointSpec { line, condition, ..BreakpointSpec::default() };
            control.add_console_breakpoint(file, spec)
        }
        None => control.add_console_function_breakpoint(FunctionBreakpointSpec {
            name: place.to_owned(),
            condition,
            hit_condition: None,
        }),
    };
    Ok(format!("{}\n", describe(&report)))
}

fn describe(breakpoint: &Breakpoint) -> String {
    let source = breakpoint.source.as_ref().map_or("?", |source| source.name.as_str());
    let line = breakpoint.line.map_or(String::new(), |line| format!(":{line}"));
    let place = if breakpoint.source.is_some() { format!(" {source}{line}") } else { line };
    let message =
        breakpoint.message.as_ref().map_or(String::new(), |message| format!(" ({message})"));
    format!("breakpoint {}{place}{message}", breakpoint.id)
}

fn breakpoints(control: &Control) -> String {
    let mut text = String::new();
    for (breakpoint, owner) in control.all_breakpoints() {
        let _ = writeln!(text, "{}, set by the {owner}", describe(&breakpoint));
    }
    if text.is_empty() {
        text.push_str("no breakpoints\n");
    }
    text
}

fn clear(control: &Control, rest: &str) -> Result<String, String> {
    let id = match rest {
        "" => None,
        id => Some(id.parse().map_err(|_| format!("'{id}' is no number of a breakpoint"))?),
    };
    match (control.clear_console_breakpoints(id), id) {
        (0, Some(id)) => Err(format!("no breakpoint {id} has been set here; see .breakpoints")),
        (1, _) => Ok("1 breakpoint is gone\n".to_owned()),
        (count, _) => Ok(format!("{count} breakpoints are gone\n")),
    }
}

/// Commands that look at the program where it stands.
fn look(
    kernel: &Arc<Inner>,
    client: &Arc<ClientState>,
    session: &Arc<KernelSession>,
    msg_id: &str,
    name: &str,
    rest: &str,
) -> Result<(), String> {
    if session.control.state() != RunState::Stopped {
        return Err("the program is not stopped".to_owned());
    }
    let selected = session.frame.load(Ordering::SeqCst);
    let wanted = match name {
        ".frame" if !rest.is_empty() => {
            rest.parse().map_err(|_| format!("'{rest}' is no number of a frame; see .where"))?
        }
        ".up" => selected + 1,
        ".down" => selected.checked_sub(1).ok_or("this is the innermost frame")?,
        _ => selected,
    };
    let (kernel, client, session) = (Arc::clone(kernel), Arc::clone(client), Arc::clone(session));
    let (msg_id, name) = (msg_id.to_owned(), name.to_owned());
    spawn(async move {
        let said = match name.as_str() {
            ".where" => session.control.visit(move |it| stack(it, wanted)).await,
            ".locals" => session.control.visit(move |it| locals(it, wanted)).await,
            ".list" => Ok(listing(&session.control, wanted).await),
            _ => Ok(select(&session, wanted).await),
        };
        let body = match said.and_then(|it| it) {
            Ok(text) => ReplyBody::CommandReply { text },
            Err(message) => ReplyBody::ErrorReply { message },
        };
        kernel.answer(&client, &msg_id, Some(session.name.clone()), body);
    });
    Ok(())
}

async fn select(session: &KernelSession, wanted: usize) -> Result<String, String> {
    let found = place(&session.control, wanted).await.ok_or("there is no such frame")?;
    session.frame.store(wanted, Ordering::SeqCst);
    Ok(format!("#{wanted} {} at {}:{}\n{}\n", found.function, found.source, found.line, found.text))
}

fn stack(inspector: &Inspector<'_>, selected: usize) -> Result<String, String> {
    /// More than a person reads.
    const MOST: usize = 50;
    let page = inspector.stack(0, MOST)?;
    let mut text = String::new();
    for (index, frame) in page.frames.iter().enumerate() {
        let mark = if index == selected { ">" } else { " " };
        let place = match frame.kind {
            FrameKind::Lua => format!(" at {}:{}", frame.source.name, frame.line),
            FrameKind::Native => " (native)".to_owned(),
            FrameKind::Label => String::new(),
        };
        let _ = writeln!(text, "{mark} #{index:<2} {}{place}", frame.name);
    }
    if page.total > MOST {
        let _ = writeln!(text, "  … {} more", page.total - MOST);
    }
    Ok(text)
}

fn locals(inspector: &Inspector<'_>, frame: usize) -> Result<String, String> {
    let mut text = String::new();
    for scope in inspector.scopes(frame_id(inspector, frame)?)? {
        let title = match scope.name.as_str() {
            "Locals" => "",
            "Varargs" | "Upvalues" | "Error" => scope.name.as_str(),
            _ => continue,
        };
        let variables = inspector.variables(scope.reference, Page::default())?;
        if !title.is_empty() && !variables.is_empty() {
            let _ = writeln!(text, "{title}:");
        }
        for variable in variables {
            let _ = writeln!(text, "  {} = {}", variable.name, variable.value);
        }
    }
    if text.is_empty() {
        text.push_str("no local variables\n");
    }
    Ok(text)
}

async fn listing(control: &Control, frame: usize) -> Result<String, String> {
    let found = frame_at(control, frame).await.ok_or("the program is not stopped")?;
    let lines = source_lines(control, &found.source.id).ok_or("the source cannot be read")?;
    let first = found.line.saturating_sub(AROUND).max(1);
    let mut text = String::new();
    for (number, line) in (1..).zip(&lines).filter(|(number, _)| *number >= first) {
        if number > found.line + AROUND {
            break;
        }
        let mark = if number == found.line { ">" } else { " " };
        let _ = writeln!(text, "{mark} {number:>4}  {line}");
    }
    Ok(text)
}

/// The id of a frame, counted from the top of the stack.
pub(super) fn frame_id(inspector: &Inspector<'_>, frame: usize) -> Result<i64, String> {
    let page = inspector.stack(frame, 1)?;
    Ok(page.frames.first().ok_or("there is no such frame")?.id)
}

/// Where the program stands; `None` if it does not.
pub(super) async fn place(control: &Control, frame: usize) -> Option<Stopped> {
    let frame = frame_at(control, frame).await?;
    let lines = source_lines(control, &frame.source.id);
    let index = frame.line.checked_sub(1).and_then(|it| usize::try_from(it).ok());
    let text = lines.zip(index).and_then(|(lines, index)| lines.into_iter().nth(index));
    let source = match &frame.source.id {
        SourceId::File(path) => path.to_string_lossy().into_owned(),
        _ => frame.source.name,
    };
    Some(Stopped {
        source,
        line: frame.line,
        function: frame.name,
        text: text.unwrap_or_default(),
        ..Stopped::default()
    })
}

async fn frame_at(control: &Control, frame: usize) -> Option<Frame> {
    let look = move |inspector: &Inspector<'_>| inspector.stack(frame, 1);
    control.visit(look).await.ok()?.ok()?.frames.into_iter().next()
}

fn source_lines(control: &Control, source: &SourceId) -> Option<Vec<String>> {
    let text = match source {
        SourceId::File(path) => read_source(path)?,
        SourceId::Text(reference) => control.source_text(*reference)?,
        SourceId::Native => return None,
    };
    Some(text.lines().map(str::to_owned).collect())
}

/// A file that is not unreasonably large.
fn read_source(path: &Path) -> Option<String> {
    const MOST: u64 = 16 << 20;
    let is_file = std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() <= MOST);
    let bytes = is_file.then(|| std::fs::read(path).ok()).flatten()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
