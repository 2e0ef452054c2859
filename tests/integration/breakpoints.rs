//! Breakpoints: hit as often as they are passed, and only then.

use serde_json::json;

use crate::lab::{connect_with, debug, debug_with};

#[test]
fn every_pass_of_a_loop_stops_again() {
    for body in [
        "for i = 1, 20 do\n  n = n + 1 --@\nend",
        "local i = 0\nwhile i < 20 do\n  i = i + 1 n = n + 1 --@\nend",
        "local i = 0\nrepeat\n  i = i + 1 n = n + 1 --@\nuntil i == 20",
        "for i in function(_, i) i = i + 1 if i <= 20 then return i end end, nil, 0 do\n  n = n + 1 --@\nend",
        "local i = 0\n::again:: n = n + 1 i = i + 1 --@\nif i < 20 then goto again end",
    ] {
        let mut debugged = debug(&format!("local n = 0\n{body}\nprint(n)"));
        let line = i64::from(debugged.lines("--@")[0]);
        for pass in 0..20 {
            debugged.stop_at("breakpoint", line);
            assert_eq!(debugged.evaluate("n"), pass.to_string(), "{body}");
            debugged.go("continue");
        }
        debugged.ends_with(0);
    }
}

#[test]
fn functions_nested_on_one_line_are_each_hit() {
    let mut debugged = debug_with(
        "local calls = 0
local function c() calls = calls + 1 end
local f = function() c() return function() c() return 1 end end --here
f()()
f()
print(calls)",
        |debugged| {
            let line = debugged.line("here");
            let path = debugged.path.clone();
            let points = json!([{ "line": line, "logMessage": "hit" }]);
            debugged.set_breakpoints_with(path, points);
        },
    );
    debugged.ends_with(0);
    // Once for the definition in the main chunk, and once for each call.
    assert_eq!((debugged.stdout().as_str(), debugged.console().len()), ("3\n", 4));
}

#[test]
fn a_function_and_a_line_breakpoint_on_one_line_stop_once() {
    let mut debugged = debug_with(
        "local function f()
  return 1 --@ --body
end
f()
f()
print('end')",
        |debugged| {
            let name = json!({ "breakpoints": [{ "name": "f" }] });
            debugged.request("setFunctionBreakpoints", name);
        },
    );
    for _ in 0..2 {
        debugged.expect_event("stopped");
        assert_eq!(debugged.stack_trace()[0].line, debugged.line("body"));
        debugged.go("continue");
    }
    debugged.ends_with(0);
}

#[test]
fn breakpoints_set_while_the_script_spins_are_hit() {
    for spin in [
        "while true do\n  n = n + 1 --there\nend",
        "coroutine.wrap(function() while true do\n  n = n + 1 --there\nend end)()",
        "while true do pcall(function()\n  n = n + 1 --there\nend) end",
        "local function f()\n  n = n + 1 --there\nend\nwhile true do f() end",
        "while true do string.gsub('x', 'x', function()\n  n = n + 1 --there\nend) end",
        "local co = coroutine.wrap(function() while true do coroutine.yield()\n  n = n + 1 --there\nend end)\nwhile true do co() end",
    ] {
        let mut debugged = debug(&format!("local n = 0\n{spin}"));
        for _ in 0..5 {
            let line = debugged.line("there");
            let path = debugged.path.clone();
            let line = u32::try_from(line).unwrap();
            // Verified at once, but for a script that has hardly begun.
            debugged.set_breakpoints(&path, &[line]);
            debugged.stop_in("breakpoint", "there");
            debugged.set_breakpoints(&path, &[]);
            debugged.go("continue");
        }
        debugged.request("terminate", json!({}));
        debugged.ends_with(143);
    }
}

#[test]
fn a_debugger_that_comes_late_finds_its_lines() {
    let mut debugged = connect_with("local n = 0\nwhile n >= 0 do\n  n = n + 1 --there\nend", &[]);
    debugged.initialize();
    let attach = debugged.send("attach", json!({}));
    debugged.expect_event("initialized");
    let (path, line) = (debugged.path.clone(), u32::try_from(debugged.line("there")).unwrap());
    debugged.set_breakpoints(&path, &[line]);
    debugged.request("configurationDone", json!({}));
    debugged.answer(attach).unwrap();
    debugged.stop_in("breakpoint", "there");
    debugged.set_breakpoints(&path, &[]);
    debugged.evaluate("n = -2");
    debugged.go_to_end();
}

#[test]
fn recursion_with_a_breakpoint_keeps_count() {
    // Back and forth between functions with and without breakpoints.
    let mut debugged = debug_with(
        "local calls, other = 0
local function watched(n)
  calls = calls + 1 --here
  if n > 0 then return other(n - 1) end
  return calls
end
local function through(n) local r = watched(n) return r end
function other(n)
  if n % 3 == 0 then return through(n) end
  if n % 3 == 1 then return (select(2, pcall(through, n))) end
  return (coroutine.wrap(through)(n))
end
for i = 1, 20 do watched(i) end
print(calls)",
        |debugged| {
            let (path, line) = (debugged.path.clone(), debugged.line("here"));
            debugged.set_breakpoints_with(path, json!([{ "line": line, "logMessage": "x" }]));
        },
    );
    debugged.ends_with(0);
    assert_eq!(debugged.stdout(), format!("{}\n", debugged.console().len()));
}

#[test]
fn hit_counts_go_on_over_many_passes() {
    let mut debugged = debug_with(
        "local n = 0\nfor i = 1, 100000 do\n  n = n + 1 --here\nend\nprint(n)",
        |debugged| {
            let (path, line) = (debugged.path.clone(), debugged.line("here"));
            let point = json!([{ "line": line, "hitCondition": "% 25000" }]);
            debugged.set_breakpoints_with(path, point);
        },
    );
    for hit in 1..=4 {
        debugged.stop_in("breakpoint", "here");
        assert_eq!(debugged.evaluate("i"), (hit * 25000).to_string());
        debugged.go("continue");
    }
    debugged.ends_with(0);
}

#[test]
fn more_breakpoints_than_lines_of_a_word() {
    // The hook keeps lines in 64 bits; these share them.
    let body: String = (0..200).map(|_| "n = n + 1\n").collect();
    let script = format!("local n = 0\n{body}print(n)");
    let mut debugged = debug_with(&script, |debugged| {
        let path = debugged.path.clone();
        debugged.set_breakpoints(path, &[2, 66, 130, 3]);
    });
    for (line, n) in [(2, 0), (3, 1), (66, 64), (130, 128)] {
        debugged.stop_at("breakpoint", line);
        assert_eq!(debugged.evaluate("n"), n.to_string());
        debugged.go("continue");
    }
    debugged.ends_with(0);
}

#[test]
fn a_function_that_was_collected_leaves_nothing_behind() {
    // Prototypes are recognized by address; addresses are used again.
    let mut debugged = debug_with(
        "local n, m = 0, 0
for i = 1, 3000 do
  local f = load('local x = ...\\nx = x + 1\\nreturn x', '=chunk' .. i % 7)
  m = m + f(1)
  n = n + 1 --here
  if i % 100 == 0 then collectgarbage() end
end
print(n, m)",
        |debugged| {
            let (path, line) = (debugged.path.clone(), debugged.line("here"));
            debugged.set_breakpoints_with(path, json!([{ "line": line, "logMessage": "x" }]));
        },
    );
    debugged.ends_with(0);
    assert_eq!((debugged.stdout().as_str(), debugged.console().len()), ("3000\t6000\n", 3000));
}
