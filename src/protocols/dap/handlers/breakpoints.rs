//! Breakpoints of all kinds. None of these waits for Lua.

use dapts::{
    BreakpointLocation, BreakpointLocationsArguments, BreakpointLocationsResponse,
    BreakpointReason, SetBreakpointsArguments, SetBreakpointsResponse,
    SetExceptionBreakpointsArguments, SetExceptionBreakpointsResponse,
    SetFunctionBreakpointsArguments, SetFunctionBreakpointsResponse,
};

use crate::{
    debug::{BreakpointSpec, ExceptionFilter, ExceptionFilters, FunctionBreakpointSpec},
    protocols::dap::{
        capabilities::{ALL, UNCAUGHT},
        client::{Client, wire_u32},
        convert,
        message::Answer,
        session::Session,
    },
};

pub(in crate::protocols::dap) fn set_breakpoints(
    session: &mut Session,
    arguments: SetBreakpointsArguments,
) -> Answer<SetBreakpointsResponse> {
    let client = session.client()?;
    let source = client.source_request(&arguments.source)?;
    let specs = line_breakpoints(&client, arguments);
    if session.no_debug {
        return Ok(SetBreakpointsResponse { breakpoints: vec![not_debugging(); specs.len()] });
    }
    let breakpoints = session.control.set_breakpoints(&source, specs);
    let breakpoints = breakpoints.iter().map(|set| convert::breakpoint(&client, set)).collect();
    Ok(SetBreakpointsResponse { breakpoints })
}

/// The breakpoints wanted, be it in the form of before 2016.
fn line_breakpoints(client: &Client, arguments: SetBreakpointsArguments) -> Vec<BreakpointSpec> {
    if let Some(breakpoints) = arguments.breakpoints {
        let specs = breakpoints.into_iter().map(|breakpoint| BreakpointSpec {
            line: client.line_from(breakpoint.line),
            condition: unless_blank(breakpoint.condition),
            hit_condition: unless_blank(breakpoint.hit_condition),
            log_message: breakpoint.log_message.filter(|message| !message.is_empty()),
        });
        return specs.collect();
    }
    let lines = arguments.lines.unwrap_or_default().into_iter();
    let line = |line| client.line_from(wire_u32(line));
    lines.map(|number| BreakpointSpec { line: line(number), ..BreakpointSpec::default() }).collect()
}

pub(in crate::protocols::dap) fn set_function_breakpoints(
    session: &mut Session,
    arguments: SetFunctionBreakpointsArguments,
) -> Answer<SetFunctionBreakpointsResponse> {
    let client = session.client()?;
    if session.no_debug {
        let breakpoints = vec![not_debugging(); arguments.breakpoints.len()];
        return Ok(SetFunctionBreakpointsResponse { breakpoints });
    }
    let specs = arguments.breakpoints.into_iter().map(|breakpoint| FunctionBreakpointSpec {
        name: breakpoint.name,
        condition: unless_blank(breakpoint.condition),
        hit_condition: unless_blank(breakpoint.hit_condition),
    });
    let breakpoints = session.control.set_function_breakpoints(specs.collect());
    let breakpoints = breakpoints.iter().map(|set| convert::breakpoint(&client, set)).collect();
    Ok(SetFunctionBreakpointsResponse { breakpoints })
}

pub(in crate::protocols::dap) fn set_exception_breakpoints(
    session: &mut Session,
    arguments: SetExceptionBreakpointsArguments,
) -> Answer<SetExceptionBreakpointsResponse> {
    let plain = arguments.filters.into_iter().map(|filter| (filter, None));
    let options = arguments.filter_options.unwrap_or_default().into_iter();
    let options = options.map(|option| (option.filter_id, unless_blank(option.condition)));
    let wanted: Vec<(String, Option<String>)> = plain.chain(options).collect();
    if session.no_debug {
        let breakpoints = Some(vec![not_debugging(); wanted.len()]);
        return Ok(SetExceptionBreakpointsResponse { breakpoints });
    }
    session.control.set_exception_filters(exception_filters(&wanted));
    let breakpoints = wanted.iter().map(|(filter, _)| match filter.as_str() {
        ALL | UNCAUGHT => filter_state(None),
        unknown => filter_state(Some(format!("unknown filter '{unknown}'"))),
    });
    Ok(SetExceptionBreakpointsResponse { breakpoints: Some(breakpoints.collect()) })
}

/// The filters switched on; of the same filter twice, the later counts.
fn exception_filters(wanted: &[(String, Option<String>)]) -> ExceptionFilters {
    let find = |id: &str| {
        let (_, condition) = wanted.iter().rfind(|(filter, _)| filter == id)?;
        Some(ExceptionFilter { condition: condition.clone() })
    };
    ExceptionFilters { all: find(ALL), uncaught: find(UNCAUGHT) }
}

fn filter_state(error: Option<String>) -> dapts::Breakpoint {
    dapts::Breakpoint {
        verified: error.is_none(),
        reason: error.is_some().then_some(BreakpointReason::Failed),
        message: error,
        ..dapts::Breakpoint::default()
    }
}

pub(in crate::protocols::dap) fn breakpoint_locations(
    session: &mut Session,
    arguments: BreakpointLocationsArguments,
) -> Answer<BreakpointLocationsResponse> {
    let client = session.client()?;
    let source = client.source_request(&arguments.source)?;
    let first = client.line_from(arguments.line);
    let last = arguments.end_line.map_or(first, |line| client.line_from(line));
    let lines = session.control.breakpoint_locations(&source, first, last).into_iter();
    let breakpoints = lines.map(|line| BreakpointLocation {
        line: client.line(line),
        column: None,
        end_column: None,
        end_line: None,
    });
    Ok(BreakpointLocationsResponse { breakpoints: breakpoints.collect() })
}

/// Editors send an empty string for a condition that has been deleted.
fn unless_blank(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn not_debugging() -> dapts::Breakpoint {
    filter_state(Some("the program runs without debugging".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(filters: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        let owned = |(id, condition): &(&str, Option<&str>)| {
            ((*id).to_owned(), condition.map(str::to_owned))
        };
        filters.iter().map(owned).collect()
    }

    #[test]
    fn filters_and_their_options_are_put_together() {
        assert_eq!(exception_filters(&[]), ExceptionFilters::default());
        let filters =
            exception_filters(&wanted(&[("all", None), ("all", Some("nil")), ("x", None)]));
        assert_eq!(filters.all, Some(ExceptionFilter { condition: Some("nil".to_owned()) }));
        assert_eq!(filters.uncaught, None);
    }
}
