//! The prompt in a terminal: a line is typed, sent, and waited for.

use std::{env, path::Path, sync::mpsc, thread};

use rustyline::{
    ColorMode, CompletionType, Config, Editor, ExternalPrinter as _,
    config::Configurer as _,
    error::ReadlineError,
    history::{History as _, MemHistory},
};

use super::{
    Options, Shared,
    history::{History, MOST},
    prepared, terminal,
    typing::Typing,
};
use crate::kernel::dialog::{Dialog, Line, Piece, Tone, is_command};

/// Reads lines until the person leaves.
pub(super) fn run(talk: &Shared, options: &Options, greeting: &str) -> Result<u8, String> {
    terminal::remember();
    talk.show(&Piece::lines(Tone::Answer, greeting));
    let (mut history, complaint) = History::open(options.history.as_deref());
    complain(talk, complaint);
    let mut editor = editor(talk, options).map_err(|error| unusable(&error))?;
    for entry in history.take_entries() {
        editor.history_mut().add_owned(entry).map_err(|error| unusable(&error))?;
    }
    talk.debug(true)?;
    let here = env::current_dir().unwrap_or_default();
    let mut warned = false;
    loop {
        talk.wait_until_ready()?;
        if let Some(code) = exit_code(talk) {
            return Ok(code);
        }
        let typed = read(talk, &mut editor, options);
        let is_end = matches!(typed, Err(ReadlineError::Eof));
        match typed {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => {
                if editor.add_history_entry(text.as_str()).is_ok_and(|added| added) {
                    complain(talk, history.add(&text));
                }
                if let Some(code) = carry_out(talk, text, &here)? {
                    return Ok(code);
                }
            }
            // Ctrl-C drops the line.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => {
                let stands = talk.look(|dialog| dialog.stop().is_some() && !dialog.is_idle());
                if !stands || warned {
                    return leave(talk);
                }
                let text = "the program has stopped here; Ctrl-D again lets it go on, and leaves";
                talk.show(&Piece::lines(Tone::Notice, text));
            }
            Err(error) => return Err(unusable(&error)),
        }
        warned = is_end;
    }
}

fn editor(talk: &Shared, options: &Options) -> rustyline::Result<Editor<Typing, MemHistory>> {
    let config = Config::builder()
        .max_history_size(MOST)?
        .completion_type(CompletionType::List)
        .color_mode(if options.color { ColorMode::Forced } else { ColorMode::Disabled })
        .build();
    let memory = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, memory)?;
    editor.set_max_history_size(MOST)?;
    editor.set_helper(Some(Typing::new(std::sync::Arc::clone(talk), options.color)));
    // A terminal that cannot move its cursor has none; what comes is just written.
    let Ok(mut printer) = editor.create_external_printer() else { return Ok(editor) };
    let (sender, receiver) = mpsc::channel::<String>();
    // On a thread of its own: while the line editor does not read, it waits.
    thread::Builder::new().name("llmspell-notices".to_owned()).spawn(move || {
        for text in receiver {
            if let Err(error) = printer.print(text) {
                tracing::debug!(%error, "a notice is lost");
            }
        }
    })?;
    talk.set_editor(sender);
    Ok(editor)
}

fn read(
    talk: &Shared,
    editor: &mut Editor<Typing, MemHistory>,
    options: &Options,
) -> rustyline::Result<String> {
    let (plain, paint) = talk.look(|dialog| prompt_for(dialog));
    let styled = if options.color { format!("\x1b[{paint}m{plain}\x1b[0m") } else { plain.clone() };
    talk.begin_typing();
    let typed = editor.readline(&(plain, styled));
    talk.end_typing();
    typed
}

/// What stands before the line, and its color.
fn prompt_for(dialog: &Dialog) -> (String, &'static str) {
    if let Some(stop) = dialog.stop() {
        let name = Path::new(&stop.source).file_name().unwrap_or(stop.source.as_ref());
        return (format!("debug {}:{}> ", name.to_string_lossy(), stop.line), "1;33");
    }
    let name = dialog.session().filter(|name| *name != crate::kernel::message::MAIN_SESSION);
    (format!("{}> ", name.unwrap_or_default()), "1")
}

/// Sends what was typed and waits; the exit code, if it was the last.
fn carry_out(talk: &Shared, text: String, here: &Path) -> Result<Option<u8>, String> {
    let line =
        if is_command(&text) { Line::Command(text.trim().to_owned()) } else { Line::Lua(text) };
    let Ok(line) = prepared(line, here) else { return leave(talk).map(Some) };
    talk.send(line)?;
    Ok(None)
}

/// Lets what has stopped go on to its end.
fn leave(talk: &Shared) -> Result<u8, String> {
    talk.let_go()?;
    Ok(exit_code(talk).unwrap_or(0))
}

/// The code of an `os.exit` that was meant for this process.
fn exit_code(talk: &Shared) -> Option<u8> {
    let code = talk.look(Dialog::take_exit_code)?;
    talk.is_local().then(|| u8::try_from(code).unwrap_or(1))
}

fn complain(talk: &Shared, complaint: Option<String>) {
    if let Some(complaint) = complaint {
        talk.show(&Piece::lines(Tone::Notice, complaint));
    }
}

fn unusable(error: &ReadlineError) -> String {
    format!("the terminal cannot be used: {error}")
}
