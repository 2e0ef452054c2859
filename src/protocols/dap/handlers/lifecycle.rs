//! From `initialize` to `disconnect`, and what happens to the program as a
//! whole in between.

use std::{path::PathBuf, sync::Arc};

use dapts::{
    AttachRequestArguments, CancelArguments, Capabilities, ConfigurationDoneArguments,
    DisconnectArguments, InitializeRequestArguments, LaunchRequestArguments, PauseArguments,
    ProcessEventStartMethod, RestartArguments, TerminateArguments, Thread, ThreadsResponse, event,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::protocols::dap::{
    THREAD,
    capabilities::capabilities,
    client::{Client, core_i64},
    message::{Answer, Message, Request, RequestError},
    paths::{PathMapping, PathMappings},
    session::Session,
};

/// What `attach` and `launch` understand. The program itself is none of their
/// business: it runs already, or waits for `configurationDone`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartArguments {
    path_mappings: Option<Vec<PathMapping>>,
    just_my_code: Option<bool>,
    workspace_folder: Option<String>,
    cwd: Option<String>,
    stop_on_entry: Option<bool>,
    no_debug: Option<bool>,
    token: Option<String>,
}

/// Adds the one required argument of `initialize`, which means nothing here, to
/// requests of clients that leave it out.
pub(in crate::protocols::dap) fn with_adapter_id(mut request: Request) -> Request {
    if request.arguments.is_null() {
        request.arguments = json!({});
    }
    if let Some(members) = request.arguments.as_object_mut() {
        members.entry("adapterID").or_insert_with(|| "llmspell".into());
    }
    request
}

pub(in crate::protocols::dap) fn initialize(
    session: &mut Session,
    arguments: InitializeRequestArguments,
) -> Answer<Capabilities> {
    session.client = Some(Arc::new(Client::new(session.control.clone(), &arguments)));
    session.outgoing.event(Message::event::<event::Initialized>(&None));
    Ok(capabilities())
}

pub(in crate::protocols::dap) fn attach(
    session: &mut Session,
    arguments: AttachRequestArguments,
) -> Answer<()> {
    start(session, arguments.raw, ProcessEventStartMethod::Attach)
}

pub(in crate::protocols::dap) fn launch(
    session: &mut Session,
    arguments: LaunchRequestArguments,
) -> Answer<()> {
    start(session, arguments.raw, ProcessEventStartMethod::Launch)
}

fn start(session: &mut Session, raw: Value, method: ProcessEventStartMethod) -> Answer<()> {
    if session.start.is_some() {
        return Err(RequestError::new("the client is attached already"));
    }
    let arguments: StartArguments = serde_json::from_value(raw)
        .map_err(|error| RequestError::for_user(format!("invalid configuration: {error}")))?;
    session.trust(arguments.token.as_deref())?;
    session.attach_to_core()?;
    let directory = std::env::current_dir().unwrap_or_default();
    let mappings = PathMappings::new(&arguments.path_mappings.unwrap_or_default(), &directory);
    let control = &session.control;
    control.set_just_my_code(arguments.just_my_code.unwrap_or(false).then(|| {
        let root = arguments.workspace_folder.or(arguments.cwd);
        root.map(|root| PathBuf::from(mappings.to_remote(&root))).into_iter().collect()
    }));
    session.client()?.set_mappings(mappings);
    session.no_debug = arguments.no_debug.unwrap_or(false);
    if session.no_debug {
        control.only_listen();
    } else if arguments.stop_on_entry.unwrap_or(false) {
        control.stop_on_entry();
    }
    session.start = Some(method);
    if let Some(events) = session.events() {
        events.process(method);
    }
    Ok(())
}

pub(in crate::protocols::dap) fn configuration_done(
    session: &mut Session,
    _: ConfigurationDoneArguments,
) -> Answer<()> {
    session.control.configuration_done();
    Ok(())
}

/// Runs the script again as it is; changed launch arguments are not looked at.
pub(in crate::protocols::dap) fn restart(session: &mut Session, _: RestartArguments) -> Answer<()> {
    session.require_attached()?;
    session.control.restart().map_err(RequestError::for_user)
}

pub(in crate::protocols::dap) fn terminate(
    session: &mut Session,
    _: TerminateArguments,
) -> Answer<()> {
    session.require_attached()?;
    session.control.terminate();
    Ok(())
}

pub(in crate::protocols::dap) fn disconnect(
    session: &mut Session,
    arguments: DisconnectArguments,
) -> Answer<()> {
    for (seq, command) in session.lane.clear(&session.control) {
        let answer = Err(RequestError::cancelled());
        session.outgoing.respond(Message::response(seq, &command, answer));
    }
    session.done = true;
    let Some(attachment) = session.take_attachment() else { return Ok(()) };
    let suspend = arguments.suspend_debuggee.unwrap_or(false);
    let launched = session.start == Some(ProcessEventStartMethod::Launch);
    let terminate = arguments.terminate_debuggee.unwrap_or(launched && !suspend);
    if terminate {
        // First, so that a stopped script does not run a single line more.
        session.control.terminate();
    }
    attachment.detach(suspend && !terminate);
    Ok(())
}

pub(in crate::protocols::dap) fn cancel(
    session: &mut Session,
    arguments: CancelArguments,
) -> Answer<()> {
    if let Some(request_id) = arguments.request_id {
        session.lane.cancel(core_i64(request_id));
    }
    if let Some(progress_id) = arguments.progress_id {
        session.require_attached()?;
        let id = progress_id.parse();
        let id = id.map_err(|_| RequestError::new(format!("unknown progress '{progress_id}'")))?;
        session.control.cancel_progress(id);
    }
    Ok(())
}

pub(in crate::protocols::dap) fn pause(session: &mut Session, _: PauseArguments) -> Answer<()> {
    session.require_attached()?;
    if session.no_debug {
        return Err(RequestError::new("the program runs without debugging"));
    }
    if session.lane.goes_on() {
        // Sent behind a `continue` that waits for its turn.
        session.control.pause_next();
    } else {
        session.control.pause();
    }
    Ok(())
}

pub(in crate::protocols::dap) fn threads(session: &mut Session, (): ()) -> Answer<ThreadsResponse> {
    let name = session.control.name();
    Ok(ThreadsResponse { threads: vec![Thread { id: THREAD, name }] })
}
