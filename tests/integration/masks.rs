//! No line of a function with breakpoints is lost, whatever it calls: the hook
//! switches line events on and off with every call and return.

use serde_json::json;

use crate::lab::{Debugged, debug_with};

const MASKS: &str = include_str!("../../fixtures/masks.lua");

/// Puts a log point on every marked line.
fn log_points(debugged: &mut Debugged) {
    let lines = debugged.lines("--@").into_iter();
    let points: Vec<_> =
        lines.map(|line| json!({ "line": line, "logMessage": format!("{line}") })).collect();
    let path = debugged.path.clone();
    debugged.set_breakpoints_with(path, json!(points));
}

/// Compares what the script has counted itself with the log points hit.
fn compare(mut debugged: Debugged) {
    debugged.ends_with(0);
    let stdout = debugged.stdout();
    let seen = stdout.lines().find_map(|line| line.strip_prefix("seen\t"));
    let seen: usize = seen.expect("the script tells its count").parse().expect("a number");
    let logged = debugged.console();
    let mut missing = String::new();
    for line in debugged.lines("--@") {
        let hits = logged.iter().filter(|text| **text == line.to_string()).count();
        missing += &format!("line {line}: {hits}\n");
    }
    assert_eq!(logged.len(), seen, "{missing}");
}

#[test]
fn no_line_is_lost_whatever_it_calls() {
    compare(debug_with(MASKS, log_points));
}

#[test]
fn no_line_is_lost_with_error_filters_on() {
    compare(debug_with(MASKS, |debugged| {
        log_points(debugged);
        debugged.filter(&["uncaught"]);
    }));
}

#[test]
fn no_line_is_lost_while_breakpoints_elsewhere_change() {
    let mut debugged = debug_with(MASKS, log_points);
    let other = debugged.lab.path().join("other.lua");
    for line in 1..=200 {
        debugged.set_breakpoints(&other, &[line]);
    }
    compare(debugged);
}

#[test]
fn no_line_is_lost_while_a_step_is_under_way() {
    // A step out of the main chunk waits until the end of the script.
    let mut debugged = debug_with(MASKS, |debugged| {
        log_points(debugged);
        let name = json!({ "breakpoints": [{ "name": "count", "hitCondition": "1" }] });
        debugged.request("setFunctionBreakpoints", name);
    });
    debugged.expect_stop("function breakpoint");
    debugged.request("setFunctionBreakpoints", json!({ "breakpoints": [] }));
    for _ in 0..3 {
        // Out of `count`, out of `watched`, out of the main chunk.
        if debugged.stack_trace().len() > 1 {
            debugged.go("stepOut");
            debugged.expect_stop("step");
        }
    }
    debugged.go("stepOut");
    compare(debugged);
}

#[test]
fn condition_breakpoints_see_every_pass() {
    let mut debugged = debug_with(MASKS, |debugged| {
        let lines = debugged.lines("--@").into_iter();
        // The second needs the evaluator.
        let points: Vec<_> = lines
            .map(|line| {
                let condition = if line % 2 == 0 { "depth < 0" } else { "tostring(depth) == 'x'" };
                json!({ "line": line, "condition": condition })
            })
            .collect();
        let path = debugged.path.clone();
        debugged.set_breakpoints_with(path, json!(points));
    });
    debugged.ends_with(0);
    assert_eq!(debugged.console(), Vec::<String>::new());
}
