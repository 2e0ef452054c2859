//! Looking at a program and changing it. These run on the Lua thread.

use dapts::{
    CompletionsArguments, CompletionsResponse, EvaluateArguments, EvaluateArgumentsContext,
    EvaluateResponse, ExceptionInfoArguments, ExceptionInfoResponse, ScopesArguments,
    ScopesResponse, SetExpressionArguments, SetExpressionResponse, SetVariableArguments,
    SetVariableResponse, StackTraceArguments, StackTraceResponse, StepInTargetsArguments,
    StepInTargetsResponse, ValueFormat, VariablesArguments, VariablesArgumentsFilter,
    VariablesResponse,
};

use crate::{
    debug::{Children, EvaluateContext, Inspector, Page},
    protocols::dap::{
        client::{Client, core_i64, core_usize, wire_u32, wire_u64},
        convert,
        message::{Answer, RequestError},
        position::byte_offset,
    },
};

pub(in crate::protocols::dap) fn stack_trace(
    client: &Client,
    inspector: &Inspector<'_>,
    arguments: StackTraceArguments,
) -> Answer<StackTraceResponse> {
    let start = core_usize(arguments.start_frame);
    let stack = inspector.stack(start, core_usize(arguments.levels))?;
    Ok(StackTraceResponse {
        stack_frames: stack.frames.iter().map(|frame| convert::frame(client, frame)).collect(),
        total_frames: Some(wire_u64(stack.total)),
    })
}

pub(in crate::protocols::dap) fn scopes(
    _: &Client,
    inspector: &Inspector<'_>,
    arguments: ScopesArguments,
) -> Answer<ScopesResponse> {
    let scopes = inspector.scopes(core_i64(arguments.frame_id))?;
    Ok(ScopesResponse { scopes: scopes.into_iter().map(convert::scope).collect() })
}

pub(in crate::protocols::dap) fn step_in_targets(
    _: &Client,
    inspector: &Inspector<'_>,
    arguments: StepInTargetsArguments,
) -> Answer<StepInTargetsResponse> {
    let targets = inspector.step_in_targets(core_i64(arguments.frame_id))?;
    let targets = targets.into_iter().map(convert::step_in_target).collect();
    Ok(StepInTargetsResponse { targets })
}

pub(in crate::protocols::dap) fn exception_info(
    _: &Client,
    inspector: &Inspector<'_>,
    _: ExceptionInfoArguments,
) -> Answer<ExceptionInfoResponse> {
    let exception = inspector.exception();
    let exception = exception.ok_or_else(|| RequestError::new("not stopped by an error"))?;
    Ok(convert::exception(exception))
}

pub(in crate::protocols::dap) fn variables(
    client: &Client,
    inspector: &Inspector<'_>,
    arguments: VariablesArguments,
) -> Answer<VariablesResponse> {
    let page = Page {
        filter: arguments.filter.map(|filter| match filter {
            VariablesArgumentsFilter::Indexed => Children::Indexed,
            VariablesArgumentsFilter::Named => Children::Named,
        }),
        start: core_usize(arguments.start),
        count: core_usize(arguments.count),
        hex: is_hex(arguments.format.as_ref()),
    };
    let variables = inspector.variables(arguments.variables_reference.into(), page)?;
    let variables = variables.into_iter().map(|variable| convert::variable(client, variable));
    Ok(VariablesResponse { variables: variables.collect() })
}

pub(in crate::protocols::dap) fn evaluate(
    client: &Client,
    inspector: &Inspector<'_>,
    arguments: EvaluateArguments,
) -> Answer<EvaluateResponse> {
    let context = match arguments.context {
        // Who says nothing types into a console.
        Some(EvaluateArgumentsContext::Repl) | None => EvaluateContext::Repl,
        Some(EvaluateArgumentsContext::Hover) => EvaluateContext::Hover,
        Some(EvaluateArgumentsContext::Clipboard) => EvaluateContext::Clipboard,
        Some(_) => EvaluateContext::Watch,
    };
    let frame = arguments.frame_id.map(core_i64);
    let hex = is_hex(arguments.format.as_ref());
    let value = inspector.evaluate(&arguments.expression, frame, context, hex)?;
    Ok(convert::evaluation(client, value))
}

pub(in crate::protocols::dap) fn set_variable(
    client: &Client,
    inspector: &Inspector<'_>,
    arguments: SetVariableArguments,
) -> Answer<SetVariableResponse> {
    let reference = arguments.variables_reference.into();
    let hex = is_hex(arguments.format.as_ref());
    let value = inspector.set_variable(reference, &arguments.name, &arguments.value, hex)?;
    Ok(SetVariableResponse {
        value_location_reference: convert::place(client, &value),
        variables_reference: Some(wire_u32(value.reference)),
        named_variables: value.named.map(wire_u32),
        indexed_variables: value.indexed.map(wire_u32),
        value: value.value,
        ty: Some(value.type_name),
        memory_reference: None,
    })
}

pub(in crate::protocols::dap) fn set_expression(
    client: &Client,
    inspector: &Inspector<'_>,
    arguments: SetExpressionArguments,
) -> Answer<SetExpressionResponse> {
    let frame = arguments.frame_id.map(core_i64);
    let hex = is_hex(arguments.format.as_ref());
    let value = inspector.set_expression(&arguments.expression, &arguments.value, frame, hex)?;
    Ok(SetExpressionResponse {
        value_location_reference: convert::place(client, &value),
        variables_reference: Some(wire_u32(value.reference)),
        named_variables: value.named.map(wire_u32),
        indexed_variables: value.indexed.map(wire_u32),
        value: value.value,
        ty: Some(value.type_name),
        ..SetExpressionResponse::default()
    })
}

pub(in crate::protocols::dap) fn completions(
    client: &Client,
    inspector: &Inspector<'_>,
    arguments: CompletionsArguments,
) -> Answer<CompletionsResponse> {
    let text = &arguments.text;
    let line = arguments.line.map_or(0, |line| client.line_from(line).saturating_sub(1));
    let line = usize::try_from(line).unwrap_or(usize::MAX);
    let offset = byte_offset(text, line, client.column_from(arguments.column));
    let frame = arguments.frame_id.map(core_i64);
    let found = inspector.completions(text, offset, frame).into_iter();
    let targets = found.map(|completion| convert::completion(client, text, completion));
    Ok(CompletionsResponse { targets: targets.collect() })
}

fn is_hex(format: Option<&ValueFormat>) -> bool {
    format.and_then(|format| format.hex).unwrap_or(false)
}
