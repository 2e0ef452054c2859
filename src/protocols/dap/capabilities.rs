//! What `initialize` promises: exactly what is honoured.

use dapts::{Capabilities, ExceptionBreakpointsFilter};

/// The filter for every error thrown.
pub(super) const ALL: &str = "all";

/// The filter for errors that nothing catches.
pub(super) const UNCAUGHT: &str = "uncaught";

/// The answer to `initialize`.
pub(super) fn capabilities() -> Capabilities {
    let yes = Some(true);
    Capabilities {
        supports_configuration_done_request: yes,
        supports_function_breakpoints: yes,
        supports_conditional_breakpoints: yes,
        supports_hit_conditional_breakpoints: yes,
        supports_log_points: yes,
        supports_breakpoint_locations_request: yes,
        supports_exception_filter_options: yes,
        supports_exception_info_request: yes,
        exception_breakpoint_filters: Some(vec![
            filter(ALL, "All errors", "Stops where an error is thrown, caught or not.", false),
            filter(
                UNCAUGHT,
                "Uncaught errors",
                "Stops where an error is thrown that nothing will catch.",
                true,
            ),
        ]),
        supports_evaluate_for_hovers: yes,
        supports_clipboard_context: yes,
        supports_set_variable: yes,
        supports_set_expression: yes,
        supports_value_formatting_options: yes,
        supports_completions_request: yes,
        completion_trigger_characters: Some(vec![".".to_owned(), ":".to_owned()]),
        supports_delayed_stack_trace_loading: yes,
        supports_loaded_sources_request: yes,
        supports_modules_request: yes,
        supports_step_in_targets_request: yes,
        supports_terminate_request: yes,
        supports_restart_request: yes,
        support_terminate_debuggee: yes,
        support_suspend_debuggee: yes,
        supports_cancel_request: yes,
        ..Capabilities::default()
    }
}

fn filter(
    id: &str,
    label: &str,
    description: &str,
    on_by_default: bool,
) -> ExceptionBreakpointsFilter {
    ExceptionBreakpointsFilter {
        filter: id.to_owned(),
        label: label.to_owned(),
        description: Some(description.to_owned()),
        default: Some(on_by_default),
        supports_condition: Some(true),
        condition_description: Some(
            "Lua pattern to be found in the message, e.g. attempt to index".to_owned(),
        ),
    }
}
