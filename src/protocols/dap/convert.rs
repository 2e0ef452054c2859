//! From the core's plain data to the types of the wire.

use dapts::{
    BreakpointReason, CompletionItem, CompletionItemType, EvaluateResponse, ExceptionBreakMode,
    ExceptionDetails, ExceptionInfoResponse, Module, Scope, ScopePresentationHint, StackFrame,
    StackFramePresentationHint, StoppedEvent, StoppedEventReason, Variable,
    VariablePresentationHint, VariablePresentationHintAttributes,
};

use crate::{
    debug::{self, CompletionKind, FrameKind, Source, SourceId, StopReason},
    protocols::dap::{
        THREAD,
        client::{Client, module_id, wire_u32, wire_u64},
        position::{utf16_column, utf16_length},
    },
};

pub(super) fn breakpoint(client: &Client, breakpoint: &debug::Breakpoint) -> dapts::Breakpoint {
    let unverified_because =
        if breakpoint.pending { BreakpointReason::Pending } else { BreakpointReason::Failed };
    dapts::Breakpoint {
        id: Some(wire_u64(breakpoint.id)),
        verified: breakpoint.verified,
        line: breakpoint.line.map(|line| client.line(line)),
        source: breakpoint.source.as_ref().and_then(|source| client.source(source)),
        message: breakpoint.message.clone(),
        reason: (!breakpoint.verified).then_some(unverified_because),
        ..dapts::Breakpoint::default()
    }
}

pub(super) fn frame(client: &Client, frame: &debug::Frame) -> StackFrame {
    let source = client.source(&frame.source);
    let has_line = frame.line > 0;
    StackFrame {
        id: wire_u64(frame.id),
        name: frame.name.clone(),
        line: if has_line { client.line(frame.line) } else { 0 },
        column: if has_line { client.first_column() } else { 0 },
        module_id: source.is_some().then(|| module_id(&frame.source)),
        source,
        presentation_hint: match frame.kind {
            FrameKind::Lua => None,
            FrameKind::Native => Some(StackFramePresentationHint::Subtle),
            FrameKind::Label => Some(StackFramePresentationHint::Label),
        },
        can_restart: None,
        end_column: None,
        end_line: None,
        instruction_pointer_reference: None,
    }
}

/// A call that could be stepped into.
pub(super) fn step_in_target(target: debug::StepInTarget) -> dapts::StepInTarget {
    dapts::StepInTarget {
        id: u64::from(target.id),
        label: target.label,
        line: None,
        column: None,
        end_line: None,
        end_column: None,
    }
}

pub(super) fn scope(scope: debug::Scope) -> Scope {
    let hint = match scope.name.as_str() {
        "Locals" => Some(ScopePresentationHint::Locals),
        "Varargs" => Some(ScopePresentationHint::Arguments),
        _ => None,
    };
    Scope {
        name: scope.name,
        variables_reference: wire_u32(scope.reference),
        named_variables: scope.named.map(wire_u32),
        indexed_variables: scope.indexed.map(wire_u32),
        expensive: scope.expensive,
        presentation_hint: hint,
        column: None,
        end_column: None,
        end_line: None,
        line: None,
        source: None,
    }
}

pub(super) fn variable(client: &Client, variable: debug::Variable) -> Variable {
    let read_only = vec![VariablePresentationHintAttributes::ReadOnly];
    Variable {
        variables_reference: wire_u32(variable.reference),
        named_variables: variable.named.map(wire_u32),
        indexed_variables: variable.indexed.map(wire_u32),
        value_location_reference: place(client, &variable),
        presentation_hint: (!variable.writable).then_some(VariablePresentationHint {
            attributes: Some(read_only),
            kind: None,
            lazy: None,
            visibility: None,
        }),
        name: variable.name,
        value: variable.value,
        ty: Some(variable.type_name),
        evaluate_name: variable.evaluate_name,
        declaration_location_reference: None,
        memory_reference: None,
    }
}

pub(super) fn evaluation(client: &Client, value: debug::Variable) -> EvaluateResponse {
    EvaluateResponse {
        variables_reference: wire_u32(value.reference),
        named_variables: value.named.map(wire_u32),
        indexed_variables: value.indexed.map(wire_u32),
        value_location_reference: place(client, &value),
        result: value.value,
        ty: Some(value.type_name),
        ..EvaluateResponse::default()
    }
}

/// The reference to where a function is written.
pub(super) fn place(client: &Client, value: &debug::Variable) -> Option<u64> {
    let definition = value.definition.as_ref();
    let definition = definition.filter(|(source, _)| source.id != SourceId::Native)?;
    Some(client.place_reference(definition))
}

/// A proposal for the text of a `completions` request.
pub(super) fn completion(
    client: &Client,
    text: &str,
    completion: debug::Completion,
) -> CompletionItem {
    let end = completion.start.saturating_add(completion.length);
    let replaced = text.get(completion.start..end).unwrap_or_default();
    let kind = match completion.kind {
        CompletionKind::Function => CompletionItemType::Function,
        CompletionKind::Field => CompletionItemType::Field,
        CompletionKind::Variable => CompletionItemType::Variable,
        CompletionKind::Keyword => CompletionItemType::Keyword,
    };
    CompletionItem {
        label: completion.label,
        start: Some(client.column(utf16_column(text, completion.start))),
        length: Some(wire_u64(utf16_length(replaced))),
        ty: Some(kind),
        detail: None,
        selection_length: None,
        selection_start: None,
        sort_text: None,
        text: None,
    }
}

pub(super) fn module(client: &Client, source: &Source) -> Module {
    Module {
        id: module_id(source),
        name: source.name.clone(),
        path: client.path(source),
        is_user_code: None,
        address_range: None,
        date_time_stamp: None,
        is_optimized: None,
        symbol_file_path: None,
        symbol_status: None,
        version: None,
    }
}

pub(super) fn exception(exception: debug::Exception) -> ExceptionInfoResponse {
    let mut description = exception.message.clone();
    for (name, value) in &exception.fields {
        description.extend(["\n  ", name, " = ", value]);
    }
    ExceptionInfoResponse {
        exception_id: exception.kind.clone(),
        description: Some(description),
        break_mode: if exception.caught {
            ExceptionBreakMode::Always
        } else {
            ExceptionBreakMode::Unhandled
        },
        details: Some(ExceptionDetails {
            message: Some(exception.message),
            type_name: Some(exception.type_name),
            full_type_name: Some(exception.kind),
            stack_trace: Some(exception.traceback),
            evaluate_name: None,
            inner_exception: None,
        }),
    }
}

pub(super) fn stopped(reason: StopReason) -> StoppedEvent {
    let wire_ids = |ids: Vec<i64>| Some(ids.into_iter().map(wire_u64).collect::<Vec<u64>>());
    let mut event = StoppedEvent {
        all_threads_stopped: Some(true),
        thread_id: Some(THREAD),
        ..StoppedEvent::default()
    };
    let description;
    (event.reason, description) = match reason {
        StopReason::Entry => (StoppedEventReason::Entry, "Paused on entry"),
        StopReason::Breakpoint(ids) => {
            event.hit_breakpoint_ids = wire_ids(ids);
            (StoppedEventReason::Breakpoint, "Paused on breakpoint")
        }
        StopReason::FunctionBreakpoint(ids) => {
            event.hit_breakpoint_ids = wire_ids(ids);
            (StoppedEventReason::FunctionBreakpoint, "Paused on function breakpoint")
        }
        StopReason::Step => (StoppedEventReason::Step, "Paused after step"),
        StopReason::Pause => (StoppedEventReason::Pause, "Paused"),
        StopReason::Exception(exception) => {
            event.text = Some(exception.message);
            let caught = exception.caught;
            let text = if caught { "Paused on error" } else { "Paused on uncaught error" };
            (StoppedEventReason::Exception, text)
        }
    };
    event.description = Some(description.to_owned());
    event
}
