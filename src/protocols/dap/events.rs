//! What the core tells, as events of the wire.
//!
//! Runs on the Lua thread and therefore only converts and queues.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use dapts::{
    BreakpointEvent, BreakpointEventReason, InvalidatedAreas, InvalidatedEvent, LoadedSourceEvent,
    LoadedSourceEventReason, ModuleEvent, ModuleEventReason, OutputEvent, OutputEventCategory,
    ProcessEvent, ProcessEventStartMethod, ProgressEndEvent, ProgressStartEvent, TerminatedEvent,
    ThreadEvent, ThreadEventReason, event,
};
use serde_json::json;

use crate::{
    debug::{
        Event, Output, OutputCategory, Progress, ProgressPhase, Source, StopReason, TextStream,
    },
    protocols::dap::{THREAD, client::Client, convert, message::Message, outgoing::Outgoing},
};

/// Tells one client what happens.
pub(super) struct Events {
    client: Arc<Client>,
    outgoing: Outgoing,
    /// Of standard output, standard error and console: characters cut in two.
    streams: Mutex<[TextStream; 3]>,
}

impl Events {
    pub(super) fn new(client: Arc<Client>, outgoing: Outgoing) -> Self {
        let streams = Mutex::default();
        Self { client, outgoing, streams }
    }

    /// Passes on one event of the core.
    pub(super) fn tell(&self, event: Event) {
        match event {
            Event::Stopped(reason) => self.stopped(reason),
            Event::Output(output) => self.output(&output),
            Event::BreakpointChanged(breakpoint) => {
                self.send::<event::Breakpoint>(&BreakpointEvent {
                    reason: BreakpointEventReason::Changed,
                    breakpoint: convert::breakpoint(&self.client, &breakpoint),
                });
            }
            Event::SourceLoaded(source, new) => self.source_loaded(&source, new),
            Event::Progress(progress) => self.progress(progress),
            Event::Exited(code) => self.exited(code),
            Event::Terminated => self.send::<event::Terminated>(&TerminatedEvent::default()),
        }
    }

    /// Tells which program this is and that it has a thread.
    pub(super) fn process(&self, start_method: ProcessEventStartMethod) {
        let control = &self.client.control;
        let script = control.main_script().and_then(|source| self.client.path(&source));
        self.send::<event::Process>(&ProcessEvent {
            name: script.unwrap_or_else(|| control.name()),
            system_process_id: Some(std::process::id().into()),
            is_local_process: Some(true),
            start_method: Some(start_method),
            pointer_size: None,
        });
        self.thread(ThreadEventReason::Started);
        for source in control.sources() {
            self.module(&source, ModuleEventReason::New);
        }
    }

    /// Tells that values shown may be wrong by now.
    pub(super) fn invalidated(&self) {
        if self.client.invalidated {
            self.send::<event::Invalidated>(&InvalidatedEvent {
                areas: Some(vec![InvalidatedAreas::Variables, InvalidatedAreas::Stacks]),
                thread_id: None,
                stack_frame_id: None,
            });
        }
    }

    fn stopped(&self, reason: StopReason) {
        self.send::<event::Stopped>(&convert::stopped(reason));
    }

    fn output(&self, output: &Output) {
        let text = {
            let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams[stream_index(output.category)].push(&output.bytes)
        };
        if text.is_empty() {
            return;
        }
        let place = output.location.as_ref();
        let body = OutputEvent {
            category: Some(match output.category {
                OutputCategory::Stdout => OutputEventCategory::Stdout,
                OutputCategory::Stderr => OutputEventCategory::Stderr,
                OutputCategory::Console => OutputEventCategory::Console,
            }),
            output: text,
            source: place.and_then(|(source, _)| self.client.source(source)),
            line: place.map(|(_, line)| self.client.line(*line)),
            ..OutputEvent::default()
        };
        self.outgoing.output(Message::event::<event::Output>(&body), output.bytes.len());
    }

    fn source_loaded(&self, source: &Source, new: bool) {
        let Some(wire_source) = self.client.source(source) else { return };
        let reason =
            if new { LoadedSourceEventReason::New } else { LoadedSourceEventReason::Changed };
        self.send::<event::LoadedSource>(&LoadedSourceEvent { reason, source: wire_source });
        self.module(source, if new { ModuleEventReason::New } else { ModuleEventReason::Changed });
    }

    fn module(&self, source: &Source, reason: ModuleEventReason) {
        let module = convert::module(&self.client, source);
        self.send::<event::Module>(&ModuleEvent { module, reason });
    }

    fn progress(&self, progress: Progress) {
        if !self.client.progress {
            return;
        }
        let progress_id = progress.id.to_string();
        match progress.phase {
            ProgressPhase::Start => self.send::<event::ProgressStart>(&ProgressStartEvent {
                progress_id,
                title: progress.title,
                cancellable: Some(true),
                message: None,
                percentage: None,
                request_id: None,
            }),
            ProgressPhase::End => {
                self.send::<event::ProgressEnd>(&ProgressEndEvent { progress_id, message: None });
            }
        }
    }

    /// Tells the exit code, after what is left of characters cut in two.
    fn exited(&self, code: i64) {
        for category in [OutputCategory::Stdout, OutputCategory::Stderr, OutputCategory::Console] {
            let rest = {
                let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
                streams[stream_index(category)].finish()
            };
            self.output(&Output { category, bytes: rest.into_bytes(), location: None });
        }
        self.thread(ThreadEventReason::Exited);
        // `dapts` has an unsigned code here; the specification has not.
        self.outgoing.event(Message::raw_event("exited", json!({ "exitCode": code })));
    }

    fn thread(&self, reason: ThreadEventReason) {
        self.send::<event::Thread>(&ThreadEvent { reason, thread_id: THREAD });
    }

    fn send<E: dapts::IEvent>(&self, body: &E::Body) {
        self.outgoing.event(Message::event::<E>(body));
    }
}

fn stream_index(category: OutputCategory) -> usize {
    match category {
        OutputCategory::Stdout => 0,
        OutputCategory::Stderr => 1,
        OutputCategory::Console => 2,
    }
}
