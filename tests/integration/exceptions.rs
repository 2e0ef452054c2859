//! Errors: each stops where it is thrown, once, and can be looked into.

use serde_json::{Value, json};

use crate::lab::{Debugged, debug, debug_with};

/// Runs with the filter `all`; the lines of all stops, to the end.
fn thrown(script: &str) -> (Vec<i64>, Debugged) {
    let mut debugged = debug_with(script, |debugged| debugged.filter(&["all"]));
    let end = u32::try_from(script.lines().count()).unwrap();
    let path = debugged.path.clone();
    debugged.set_breakpoints(path, &[end]);
    let mut lines = Vec::new();
    loop {
        let stop = debugged.expect_event("stopped");
        let line = debugged.top().line;
        if stop["reason"] == "breakpoint" {
            assert_eq!(line, i64::from(end));
            return (lines, debugged);
        }
        assert_eq!(stop["reason"], "exception", "{stop}");
        let info = debugged.request("exceptionInfo", json!({ "threadId": 1 }));
        assert!(!info["description"].is_null() || !info["exceptionId"].is_null(), "{info}");
        lines.push(line);
        debugged.go("continue");
    }
}

fn check(script: &str) {
    let script = format!("{script}\nprint('end')");
    let (lines, mut debugged) = thrown(&script);
    let expected: Vec<i64> = debugged.lines("--x").into_iter().map(i64::from).collect();
    assert_eq!(lines, expected, "{script}");
    debugged.go_to_end();
}

#[test]
fn each_error_stops_once_where_it_is_thrown() {
    check("pcall(function()\n  error('a') --x\nend)");
    check("pcall(function()\n  pcall(function()\n    error('a') --x\n  end)\nend)");
    check("pcall(function()\n  local t = nil + 1 --x\nend)");
    check("pcall(function()\n  assert(false) --x\nend)");
    check("pcall(function()\n  error() --x\nend)");
    check("pcall(function()\n  string.rep() --x\nend)");
    check("pcall(function()\n  Async.sleep('x') --x\nend)");
    check("pcall(function()\n  local t <close> = 42 --x\nend)");
    check("pcall(function()\n  for i = 1, 'x' do end --x\nend)");
}

#[test]
fn errors_in_callbacks_stop_in_them() {
    check("pcall(table.sort, { 2, 1 }, function()\n  error('a') --x\nend)");
    check("pcall(string.gsub, 'x', 'x', function()\n  error('a') --x\nend)");
    check(
        "pcall(function() return setmetatable({}, { __index = function()\n  error('a') --x\nend }).x end)",
    );
    check("pcall(tostring, setmetatable({}, { __tostring = function()\n  error('a') --x\nend }))");
    check("pcall(load, function()\n  error('a') --x\nend)");
}

#[test]
fn errors_that_cross_coroutines_stop_once() {
    check("pcall(coroutine.wrap(function()\n  error('a') --x\nend))");
    check("coroutine.resume(coroutine.create(function()\n  error('a') --x\nend))");
    check(
        "pcall(coroutine.wrap(function() coroutine.wrap(function()\n  error('a') --x\nend)() end))",
    );
    check(
        "local f = coroutine.wrap(function() coroutine.yield()\n  error('a') --x\nend)\nf()\npcall(f)",
    );
}

#[test]
fn errors_while_handling_errors_stop_too() {
    check(
        "pcall(function()
  local t <close> = setmetatable({}, { __close = function()
    error('second') --x
  end })
end)",
    );
    check("xpcall(function()\n  error('a') --x\nend, function(m) return m end)");
    check("xpcall(function()\n  error('a') --x\nend, function(m) pcall(print) return m end)");
}

#[test]
fn a_rethrown_error_stops_again() {
    check(
        "pcall(function()
  local ok, e = pcall(function()
    error('a') --x
  end)
  error(e, 0) --x
end)",
    );
}

#[test]
fn a_stack_overflow_stops_and_can_be_looked_into() {
    let script = "local function f(n)
  return 1 + f(n + 1) --deep
end
print(pcall(f, 1))
print('end')";
    let mut debugged = debug_with(script, |debugged| debugged.filter(&["all"]));
    debugged.stop_in("exception", "deep");
    let info = debugged.request("exceptionInfo", json!({ "threadId": 1 }));
    assert!(info["description"].as_str().unwrap().contains("stack overflow"), "{info}");
    let page = json!({ "threadId": 1, "startFrame": 0, "levels": 20 });
    let stack = debugged.request("stackTrace", page);
    let total = stack["totalFrames"].as_i64().unwrap();
    assert!(total > 100_000, "{total}");
    let frames = stack["stackFrames"].as_array().unwrap().clone();
    assert_eq!(frames.len(), 20);
    let depth = |debugged: &mut Debugged, frame: &Value| -> i64 {
        let frame = frame["id"].as_i64().unwrap();
        let locals = debugged.scope(frame, "Locals");
        locals.iter().find(|(name, _)| name == "n").unwrap().1.parse().unwrap()
    };
    let (first, second) = (depth(&mut debugged, &frames[0]), depth(&mut debugged, &frames[1]));
    assert_eq!(first, second + 1);
    // The far end is as near.
    let page = json!({ "threadId": 1, "startFrame": total - 3, "levels": 3 });
    let end = debugged.request("stackTrace", page);
    let outermost = end["stackFrames"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(outermost["line"], 4, "{end}");
    // Evaluation needs a stack, too.
    let frame = frames[0]["id"].clone();
    for (expression, wanted) in [
        ("n + 1", (first + 1).to_string()),
        ("(function() return ('x'):rep(3) end)()", "\"xxx\"".to_owned()),
    ] {
        let arguments = json!({ "expression": expression, "frameId": frame, "context": "watch" });
        assert_eq!(debugged.request("evaluate", arguments)["result"], wanted);
    }
    debugged.filter(&[]);
    debugged.go_to_end();
    assert!(debugged.stdout().contains("stack overflow"));
}

#[test]
fn a_c_stack_overflow_stops_as_well() {
    let script = "local function f(s) return (string.gsub(s, '.', f)) end
print(pcall(f, 'x'))
print(select('#', pcall(string.rep, 'x', -1)))";
    let mut debugged = debug_with(script, |debugged| debugged.filter(&["all"]));
    debugged.expect_stop("exception");
    let info = debugged.request("exceptionInfo", json!({ "threadId": 1 }));
    assert!(info["description"].as_str().unwrap().contains("stack overflow"), "{info}");
    debugged.filter(&[]);
    debugged.go_to_end();
}

#[test]
fn an_error_object_whose_tostring_misbehaves_harms_nobody() {
    for body in
        ["while true do end", "error('again')", "return 42", "return nil", "coroutine.yield()"]
    {
        let script = format!(
            "local object = setmetatable({{ code = 7 }}, {{ __tostring = function() {body} end }})
local ok, e = pcall(function()
  error(object) --throw
end)
print(ok, rawequal(e, object))"
        );
        let mut debugged = debug_with(&script, |debugged| debugged.filter(&["all"]));
        debugged.stop_in("exception", "throw");
        debugged.request("exceptionInfo", json!({ "threadId": 1 }));
        let frame = debugged.stack_trace()[0].id;
        assert!(!debugged.scopes(frame).is_empty());
        debugged.filter(&[]);
        debugged.go_to_end();
        assert_eq!(debugged.stdout(), "false\ttrue\n", "{body}");
    }
}

#[test]
fn uncaught_knows_what_will_be_caught() {
    let script = "pcall(error, 'a')
xpcall(error, print, 'b')
pcall(coroutine.wrap(function() error('c') end))
coroutine.resume(coroutine.create(function() error('d') end))
coroutine.wrap(function() pcall(error, 'e') end)()
pcall(function() coroutine.wrap(function() coroutine.wrap(function() error('f') end)() end)() end)
coroutine.wrap(function()
  coroutine.wrap(function()
    error('g') --uncaught
  end)()
end)()";
    let mut debugged = debug_with(script, |debugged| debugged.filter(&["uncaught"]));
    debugged.stop_in("exception", "uncaught");
    let stack: Vec<String> = debugged.stack_trace().into_iter().map(|frame| frame.name).collect();
    assert!(stack.len() >= 4, "{stack:?}");
    debugged.go("continue");
    debugged.ends_with(1);
}

#[test]
fn filters_may_change_while_stopped_at_an_error() {
    let script = "for i = 1, 5 do pcall(error, i) end
print('end')";
    let mut debugged = debug_with(script, |debugged| debugged.filter(&["all"]));
    debugged.expect_stop("exception");
    debugged.go("continue");
    debugged.expect_stop("exception");
    debugged.filter(&[]);
    debugged.go_to_end();
}

#[test]
fn a_step_leads_from_an_error_to_its_catcher() {
    let script = "local function work()
  error('x') --throw
end
local ok = pcall(work)
print(ok) --after";
    let mut debugged = debug_with(script, |debugged| debugged.filter(&["all"]));
    debugged.stop_in("exception", "throw");
    debugged.go("next");
    debugged.expect_stop("step");
    let line = debugged.stack_trace()[0].line;
    assert!(line == 4 || line == debugged.line("after"), "{line}");
    debugged.go_to_end();
}

#[test]
fn looking_at_errors_does_not_change_them() {
    let script = "local errors = {}
local function try(f, ...) errors[#errors + 1] = tostring(select(2, pcall(f, ...))) end
try(error, 'plain', 0)
try(error, 'placed')
try(function() error('placed') end)
try(function() error('upper', 2) end)
try(function() local t = {} t.x.y = 1 end)
try(function() return #nil end)
try(string.rep)
try(Async.sleep, 'x')
try(coroutine.wrap(function() error('co') end))
try(function() error(setmetatable({}, { __tostring = function() return 'object' end })) end)
try(error)
try(load, 'x =')
errors[#errors + 1] = tostring(select(2, load('x = = 1', '=bad')))
print(table.concat(errors, '\\n'))";
    let plain = crate::lab::Lab::new().run(script, &[]);
    assert_eq!(plain.code, Some(0), "{}", plain.stderr);
    for condition in [None, Some("nothing says this"), Some("x")] {
        let mut debugged = debug_with(script, |debugged| {
            let options = json!([
                { "filterId": "all", "condition": condition }, { "filterId": "uncaught" },
            ]);
            let arguments = json!({ "filters": [], "filterOptions": options });
            debugged.request("setExceptionBreakpoints", arguments);
        });
        while debugged.expect_any(&["stopped", "terminated"]).0 == "stopped" {
            debugged.request("exceptionInfo", json!({ "threadId": 1 }));
            debugged.go("continue");
        }
        let root = debugged.lab.path().to_string_lossy().into_owned();
        assert_eq!(debugged.stdout().replace(&root, "[DIR]"), plain.stdout());
    }
}

#[test]
fn an_error_in_a_finalizer_stops_nobody_for_ever() {
    let script = "setmetatable({}, { __gc = function() error('in gc') end })
collectgarbage()
collectgarbage()
print('end') --@ --end";
    let mut debugged = debug(script);
    debugged.stop_in("breakpoint", "end");
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), "end\n");
}
