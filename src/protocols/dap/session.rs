//! The state of a connection and its dispatcher.
//!
//! The dispatcher decides where a handler runs: at once on the connection's
//! task (`inline`), or in the ordered lane (`look`, `change`, `go_on`).

use std::{borrow::Cow, sync::Arc};

use dapts::{
    ContinueResponse, IRequest, ProcessEventStartMethod,
    request::{
        Attach, BreakpointLocations, Cancel, Completions, ConfigurationDone, Continue, Disconnect,
        Evaluate, ExceptionInfo, Initialize, Launch, LoadedSources, Locations, Modules, Next,
        Pause, Restart, Scopes, SetBreakpoints, SetExceptionBreakpoints, SetExpression,
        SetFunctionBreakpoints, SetVariable, Source, StackTrace, StepIn, StepInTargets, StepOut,
        Terminate, Threads, Variables,
    },
};
use serde_json::Value;
use tokio::io::AsyncRead;
use tracing::debug;

use crate::{
    config::Secret,
    debug::{Attachment, Control, Inspector, Resume},
    protocols::{
        codec::MessageReader,
        dap::{
            ServeOptions,
            client::Client,
            events::Events,
            handlers::{breakpoints, inspect, lifecycle, sources},
            lane::{EventsCell, Job, Lane, Visit, Work, guarded},
            message::{
                Answer, Message, Request, RequestError, encode, parse_arguments, parse_request,
            },
            outgoing::Outgoing,
        },
    },
};

/// Requests that may come before `attach` or `launch`: some clients configure
/// first. They attach the client if it is not.
const CONFIGURATION: [&str; 5] = [
    SetBreakpoints::COMMAND,
    SetFunctionBreakpoints::COMMAND,
    SetExceptionBreakpoints::COMMAND,
    BreakpointLocations::COMMAND,
    ConfigurationDone::COMMAND,
];

/// A handler that runs on the connection's task.
type Inline<R> = fn(&mut Session, <R as IRequest>::Arguments) -> Answer<<R as IRequest>::Response>;

/// A handler that runs on the Lua thread.
type OnLua<R> =
    fn(&Client, &Inspector<'_>, <R as IRequest>::Arguments) -> Answer<<R as IRequest>::Response>;

/// One connection.
pub(super) struct Session {
    pub(super) control: Control,
    pub(super) outgoing: Outgoing,
    pub(super) lane: Arc<Lane>,
    /// Known from `initialize` on.
    pub(super) client: Option<Arc<Client>>,
    /// How `attach` or `launch` has started it.
    pub(super) start: Option<ProcessEventStartMethod>,
    /// Whether it was started with `noDebug`: nothing may stop the program.
    pub(super) no_debug: bool,
    /// Set by `disconnect`.
    pub(super) done: bool,
    /// Whether the client has shown what it must know.
    trusted: bool,
    options: ServeOptions,
    /// Filled when the client is attached to the core.
    events: Arc<EventsCell>,
    attachment: Option<Attachment>,
}

impl Session {
    pub(super) fn new(
        control: Control,
        options: ServeOptions,
        outgoing: Outgoing,
        lane: Arc<Lane>,
        events: Arc<EventsCell>,
    ) -> Self {
        Self {
            control,
            outgoing,
            lane,
            client: None,
            start: None,
            no_debug: false,
            done: false,
            trusted: options.token.is_none(),
            options,
            events,
            attachment: None,
        }
    }

    /// Handles requests until the client disconnects, vanishes or talks
    /// gibberish.
    pub(super) async fn read(&mut self, reader: &mut MessageReader<impl AsyncRead + Unpin>) {
        while !self.done {
            self.outgoing.room().await;
            match reader.next().await {
                Ok(Some(Ok(message))) => self.receive(&message),
                Ok(Some(Err(malformed))) => self.complain(&malformed.to_string()),
                Ok(None) => return debug!("the client closed the connection"),
                Err(error) => return self.complain(&error.to_string()),
            }
        }
    }

    /// Answers something that has no number to refer to.
    fn complain(&self, problem: &str) {
        debug!(problem, "malformed message");
        self.outgoing.respond(Message::response(0, "", Err(RequestError::new(problem))));
    }

    fn receive(&mut self, message: &Value) {
        match parse_request(message) {
            Ok(Some(request)) => {
                let _span = tracing::debug_span!("dap", request.seq, request.command).entered();
                debug!(arguments = %without_token(&request.arguments), "request");
                match self.admit(&request.command) {
                    Ok(()) => self.dispatch(request),
                    Err(error) => {
                        let refusal = Message::response(request.seq, &request.command, Err(error));
                        self.outgoing.respond(refusal);
                    }
                }
            }
            Ok(None) => {}
            Err(refusal) => self.outgoing.respond(refusal),
        }
    }

    fn dispatch(&mut self, request: Request) {
        match request.command.as_str() {
            Initialize::COMMAND => self
                .inline::<Initialize>(lifecycle::with_adapter_id(request), lifecycle::initialize),
            Attach::COMMAND => self.inline::<Attach>(request, lifecycle::attach),
            Launch::COMMAND => self.inline::<Launch>(request, lifecycle::launch),
            ConfigurationDone::COMMAND => {
                self.inline::<ConfigurationDone>(request, lifecycle::configuration_done);
            }
            Restart::COMMAND => self.inline::<Restart>(request, lifecycle::restart),
            Terminate::COMMAND => self.inline::<Terminate>(request, lifecycle::terminate),
            Disconnect::COMMAND => self.inline::<Disconnect>(request, lifecycle::disconnect),
            Cancel::COMMAND => self.inline::<Cancel>(request, lifecycle::cancel),
            Pause::COMMAND => self.inline::<Pause>(request, lifecycle::pause),
            Threads::COMMAND => self.inline::<Threads>(request, lifecycle::threads),
            SetBreakpoints::COMMAND => {
                self.inline::<SetBreakpoints>(request, breakpoints::set_breakpoints);
            }
            SetFunctionBreakpoints::COMMAND => {
                self.inline::<SetFunctionBreakpoints>(
                    request,
                    breakpoints::set_function_breakpoints,
                );
            }
            SetExceptionBreakpoints::COMMAND => {
                self.inline::<SetExceptionBreakpoints>(
                    request,
                    breakpoints::set_exception_breakpoints,
                );
            }
            BreakpointLocations::COMMAND => {
                self.inline::<BreakpointLocations>(request, breakpoints::breakpoint_locations);
            }
            Source::COMMAND => self.inline::<Source>(request, sources::source),
            LoadedSources::COMMAND => {
                self.inline::<LoadedSources>(request, sources::loaded_sources);
            }
            Modules::COMMAND => self.inline::<Modules>(request, sources::modules),
            Locations::COMMAND => self.inline::<Locations>(request, sources::locations),
            _ => self.dispatch_to_lane(request),
        }
    }

    /// Dispatches the requests that need the Lua thread or let the program go on.
    fn dispatch_to_lane(&mut self, request: Request) {
        match request.command.as_str() {
            StackTrace::COMMAND => {
                self.in_lane::<StackTrace>(request, inspect::stack_trace, Work::LookStopped);
            }
            Scopes::COMMAND => self.in_lane::<Scopes>(request, inspect::scopes, Work::LookStopped),
            ExceptionInfo::COMMAND => {
                self.in_lane::<ExceptionInfo>(request, inspect::exception_info, Work::LookStopped);
            }
            Variables::COMMAND => {
                self.in_lane::<Variables>(request, inspect::variables, Work::Look);
            }
            Evaluate::COMMAND => self.in_lane::<Evaluate>(request, inspect::evaluate, Work::Look),
            Completions::COMMAND => {
                self.in_lane::<Completions>(request, inspect::completions, Work::Look);
            }
            SetVariable::COMMAND => {
                self.in_lane::<SetVariable>(request, inspect::set_variable, Work::Change);
            }
            SetExpression::COMMAND => {
                self.in_lane::<SetExpression>(request, inspect::set_expression, Work::Change);
            }
            Continue::COMMAND => {
                let body = encode(&ContinueResponse { all_threads_continued: Some(true) });
                self.go_on::<Continue>(request, Resume::Continue, body);
            }
            Next::COMMAND => self.go_on::<Next>(request, Resume::Over, Value::Null),
            StepIn::COMMAND => {
                // The targets' ids are the core's.
                let target = request.arguments.get("targetId").and_then(Value::as_u64);
                let target = target.and_then(|target| u32::try_from(target).ok());
                let how = target.map_or(Resume::In, Resume::Into);
                self.go_on::<StepIn>(request, how, Value::Null);
            }
            StepInTargets::COMMAND => {
                self.in_lane::<StepInTargets>(request, inspect::step_in_targets, Work::LookStopped);
            }
            StepOut::COMMAND => self.go_on::<StepOut>(request, Resume::Out, Value::Null),
            unknown => {
                let error = RequestError::new(format!("unsupported request '{unknown}'"));
                self.outgoing.respond(Message::response(request.seq, unknown, Err(error)));
            }
        }
    }

    /// Whether a request may come now.
    fn admit(&mut self, command: &str) -> Answer<()> {
        match (command, &self.client) {
            (Disconnect::COMMAND, _) | (Initialize::COMMAND, None) => Ok(()),
            (Initialize::COMMAND, Some(_)) => Err(RequestError::new("already initialized")),
            (_, None) => Err(RequestError::new(format!("'{command}' before 'initialize'"))),
            (Attach::COMMAND | Launch::COMMAND, Some(_)) => Ok(()),
            _ if !self.trusted => Err(RequestError::new(NEEDS_TOKEN)),
            _ if CONFIGURATION.contains(&command) => self.attach_to_core(),
            _ => Ok(()),
        }
    }

    /// Lets the client in if it knows the token.
    pub(super) fn trust(&mut self, token: Option<&str>) -> Answer<()> {
        let wrong = |secret: &Secret| !secret.is(token.unwrap_or_default());
        if !self.trusted && self.options.token.as_ref().is_some_and(wrong) {
            return Err(RequestError::for_user(NEEDS_TOKEN));
        }
        self.trusted = true;
        Ok(())
    }

    /// Becomes the debugger of the core, unless it is already or another is.
    pub(super) fn attach_to_core(&mut self) -> Answer<()> {
        if self.attachment.is_some() {
            return Ok(());
        }
        let client = self.client()?;
        let events = Arc::new(Events::new(Arc::clone(&client), self.outgoing.clone()));
        let who = format!("{} ({})", client.name, self.options.peer);
        let sink = Arc::clone(&events);
        let attachment = self.control.attach(&who, Box::new(move |event| sink.tell(event)));
        self.attachment = Some(attachment.map_err(RequestError::for_user)?);
        self.events.get_or_init(|| events);
        Ok(())
    }

    /// The client, which every handler but `initialize` may count on.
    pub(super) fn client(&self) -> Answer<Arc<Client>> {
        self.client.clone().ok_or_else(|| RequestError::new("not initialized"))
    }

    /// Fails unless the client is the debugger: others may not touch the program.
    pub(super) fn require_attached(&self) -> Answer<()> {
        let error = || RequestError::new("not attached: send 'attach' or 'launch' first");
        self.attachment.as_ref().map(|_| ()).ok_or_else(error)
    }

    /// What tells the client of events, once it is attached.
    pub(super) fn events(&self) -> Option<&Events> {
        self.events.get().map(Arc::as_ref)
    }

    /// Gives up being the debugger.
    pub(super) fn take_attachment(&mut self) -> Option<Attachment> {
        self.attachment.take()
    }

    /// Handles a request at once.
    fn inline<R: IRequest>(&mut self, request: Request, handler: Inline<R>) {
        let Request { seq, command, arguments } = request;
        let outgoing = self.outgoing.clone();
        let _hold = outgoing.hold();
        let answer = parse_arguments::<R>(arguments)
            .and_then(|arguments| guarded(|| handler(self, arguments)))
            .map(|body| encode(&body));
        outgoing.respond(Message::response(seq, &command, answer));
    }

    /// Has a request handled on the Lua thread, in its turn.
    fn in_lane<R: IRequest>(
        &mut self,
        request: Request,
        handler: OnLua<R>,
        work: fn(Visit) -> Work,
    ) {
        let Request { seq, command, arguments } = request;
        let prepared = self.require_attached().and_then(|()| {
            let client = self.client()?;
            let arguments = parse_arguments::<R>(arguments)?;
            let visit: Visit = Box::new(move |inspector| {
                handler(&client, inspector, arguments).map(|body| encode(&body))
            });
            Ok(work(visit))
        });
        // A bad request, too, is answered in its turn.
        let work = prepared.unwrap_or_else(Work::Refuse);
        self.push(Job { seq, command, work });
    }

    /// Has the program go on when everything before has been answered.
    fn go_on<R: IRequest>(&mut self, request: Request, how: Resume, body: Value) {
        let Request { seq, command, arguments } = request;
        let prepared = self.require_attached().and_then(|()| {
            parse_arguments::<R>(arguments)?;
            Ok(Work::GoOn(how, body))
        });
        let work = prepared.unwrap_or_else(Work::Refuse);
        self.push(Job { seq, command, work });
    }

    fn push(&self, job: Job) {
        let (seq, command) = (job.seq, job.command.clone());
        if let Err(error) = self.lane.push(job) {
            self.outgoing.respond(Message::response(seq, &command, Err(error)));
        }
    }
}

/// What a client is told that does not know the token.
const NEEDS_TOKEN: &str =
    "this kernel wants a token: put the right \"token\" into the attach configuration";

/// Arguments as they may be logged.
fn without_token(arguments: &Value) -> Cow<'_, Value> {
    if arguments.get("token").is_none() {
        return Cow::Borrowed(arguments);
    }
    let mut masked = arguments.clone();
    masked["token"] = "***".into();
    Cow::Owned(masked)
}

impl Drop for Session {
    fn drop(&mut self) {
        // An evaluation that nobody waits for any more must not hold the program.
        self.lane.clear(&self.control);
        // `disconnect` has taken the attachment.
        if self.options.end_with_client && self.attachment.is_some() {
            self.control.terminate();
        }
    }
}
