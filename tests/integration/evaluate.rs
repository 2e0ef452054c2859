//! Evaluation that yields, fails, loops, resumes, sleeps: the debugger answers
//! and the script does not notice.

use serde_json::{Value, json};

use crate::lab::{Debugged, debug};

const SCRIPT: &str = "local n = 1
local co = coroutine.create(function(...)
  local inside = 'in coroutine'
  local got = coroutine.yield(inside)
  while got do got = coroutine.yield(got * 2) end
  error('done with it')
end)
local function loop() while true do end end
print('here') --@
print(n, coroutine.status(co))";

fn stopped() -> Debugged {
    let mut debugged = debug(SCRIPT);
    debugged.expect_stop("breakpoint");
    debugged
}

/// The script goes on, and this is what it prints last.
fn ends(mut debugged: Debugged, last: &str) {
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), format!("here\n{last}\n"));
}

#[test]
fn what_yields_is_refused() {
    let mut debugged = stopped();
    for expression in [
        "coroutine.yield(1)",
        "pcall(coroutine.yield, 1)",
        "(function() return coroutine.yield() end)()",
        "table.sort({2, 1}, coroutine.yield)",
    ] {
        let answer = debugged.try_evaluate(expression, "repl");
        assert!(answer.is_err() || expression.contains("pcall"), "{expression}: {answer:?}");
        assert_eq!(debugged.evaluate("n"), "1");
    }
    ends(debugged, "1\tsuspended");
}

#[test]
fn what_fails_says_why() {
    let mut debugged = stopped();
    for (expression, wanted) in [
        ("Async.sleep(-1)", "Async.sleep: seconds"),
        ("error('mine')", "mine"),
        ("error({})", "table"),
        ("error()", "nil"),
        ("n.x.y", "attempt to index"),
        ("nothing()", "nothing"),
        ("1 +", "unexpected symbol"),
        ("string.rep()", "bad argument"),
        ("(function() return (function() error('deep', 0) end)() end)()", "deep"),
        ("setmetatable({}, {__index = function() error('meta', 0) end}).x", "meta"),
        ("local function f() return f() + 1 end f()", "stack overflow"),
    ] {
        let error = debugged.try_evaluate(expression, "repl").unwrap_err();
        assert!(error.contains(wanted), "{expression}: {error}");
    }
    ends(debugged, "1\tsuspended");
}

#[test]
fn what_loops_can_be_cancelled_wherever_it_is() {
    let mut debugged = stopped();
    for expression in [
        "loop()",
        "(function() while true do pcall(loop) end end)()",
        "(function() while true do xpcall(loop, loop) end end)()",
        "coroutine.wrap(loop)()",
        "coroutine.resume(coroutine.create(loop))",
        "(function() local c <close> = setmetatable({}, {__close = loop}) loop() end)()",
        "string.gsub('x', 'x', loop)",
        "Async.sleep(1e6)",
        "(function() while true do pcall(Async.sleep, 0.001) end end)()",
    ] {
        let frame = debugged.stack_trace()[0].id;
        let arguments = json!({ "expression": expression, "frameId": frame, "context": "repl" });
        let seq = debugged.send("evaluate", arguments);
        // Answered while the evaluation is at work.
        debugged.request("threads", Value::Null);
        debugged.request("cancel", json!({ "requestId": seq }));
        assert_eq!(debugged.answer(seq).unwrap_err(), "cancelled", "{expression}");
        assert_eq!(debugged.evaluate("n"), "1");
    }
    ends(debugged, "1\tsuspended");
}

#[test]
fn what_takes_too_long_is_ended() {
    let mut debugged = stopped();
    for expression in [
        "loop()",
        "Async.sleep(1e6)",
        "pcall(loop)",
        "coroutine.wrap(loop)()",
        "pcall(Async.sleep, 1e6)",
        "select(2, pcall(loop))",
    ] {
        let error = debugged.try_evaluate(expression, "watch").unwrap_err();
        assert!(
            error.contains("too long") || error.contains("interrupted"),
            "{expression}: {error}"
        );
    }
    ends(debugged, "1\tsuspended");
}

#[test]
fn what_an_evaluation_closes_is_ended_with_it() {
    let mut debugged = stopped();
    let expression = "(function()
        local c <close> = setmetatable({}, { __close = loop })
        coroutine.yield()
    end)()";
    let error = debugged.try_evaluate(expression, "watch").unwrap_err();
    assert_eq!(error, "attempt to yield from the debugger");
    ends(debugged, "1\tsuspended");
}

#[test]
fn a_coroutine_of_the_script_may_be_resumed() {
    let mut debugged = stopped();
    assert_eq!(debugged.evaluate("select(2, coroutine.resume(co))"), "\"in coroutine\"");
    assert_eq!(debugged.evaluate("select(2, coroutine.resume(co, 21))"), "42");
    let text = debugged.evaluate("select(2, coroutine.resume(co))");
    assert!(text.contains("done with it"), "{text}");
    assert_eq!(debugged.evaluate("coroutine.status(co)"), "\"dead\"");
    ends(debugged, "1\tdead");
}

#[test]
fn a_resumed_coroutine_is_debugged_afterwards() {
    let mut debugged = debug(
        "local n = 0
local co = coroutine.create(function()
  while true do
    n = n + 1 --inside
    coroutine.yield(n)
  end
end)
print('here') --@ --here
coroutine.resume(co)
coroutine.resume(co)
print(n)",
    );
    debugged.stop_in("breakpoint", "here");
    let (path, here) = (debugged.path.clone(), debugged.lines("--@")[0]);
    let inside = u32::try_from(debugged.line("inside")).unwrap();
    debugged.set_breakpoints(&path, &[here, inside]);
    // No breakpoint stops an evaluation.
    assert_eq!(debugged.evaluate("select(2, coroutine.resume(co))"), "1");
    for n in 1..=2 {
        debugged.go("continue");
        debugged.stop_in("breakpoint", "inside");
        assert_eq!(debugged.evaluate("n"), n.to_string());
    }
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), "here\n3\n");
}

#[test]
fn sleep_within_the_limit_is_waited_for() {
    let mut debugged = stopped();
    assert_eq!(
        debugged.evaluate("(function() Async.sleep(0.01) return 'slept' end)()"),
        "\"slept\""
    );
    ends(debugged, "1\tsuspended");
}

#[test]
fn an_evaluation_may_define_what_the_script_calls() {
    let mut debugged = debug(
        "function answer() return 0 end
local f = function() return 1 end
for i = 1, 2 do
  print(answer(), f()) --@
end",
    );
    debugged.expect_stop("breakpoint");
    debugged.evaluate("function answer() return 100 end");
    debugged.evaluate("f = function() return 'replaced' end");
    debugged.go("continue");
    debugged.expect_stop("breakpoint");
    debugged.go_to_end();
    let stdout = debugged.stdout();
    assert!(stdout.starts_with("100\treplaced\n"), "{stdout}");
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
}

#[test]
fn a_thousand_evaluations_leave_nothing_behind() {
    let mut debugged = stopped();
    debugged.evaluate("collectgarbage()");
    let before: f64 = debugged.evaluate("collectgarbage('count')").parse().unwrap();
    for i in 0..1000 {
        let expression = format!("string.rep('x', 10000):len() + {i}");
        assert_eq!(debugged.evaluate(&expression), (10_000 + i).to_string());
    }
    debugged.evaluate("collectgarbage()");
    let after: f64 = debugged.evaluate("collectgarbage('count')").parse().unwrap();
    assert!(after < before + 200.0, "{before} KB became {after} KB");
    ends(debugged, "1\tsuspended");
}

#[test]
fn what_is_evaluated_while_the_script_runs_sees_the_globals() {
    let mut debugged = debug("n = 0\nwhile n >= 0 do n = n + 1 end\nprint('over')");
    debugged.expect_event("process");
    let evaluate = |expression: &str| json!({ "expression": expression, "context": "repl" });
    // The script may not have begun.
    while debugged.request("evaluate", evaluate("type(n)"))["result"] != "\"number\"" {}
    debugged.request("evaluate", evaluate("n = -10"));
    debugged.ends_with(0);
    assert_eq!(debugged.stdout(), "over\n");
}

#[test]
fn os_exit_in_the_console_ends_the_program() {
    let mut debugged = stopped();
    let frame = debugged.stack_trace()[0].id;
    debugged.send("evaluate", json!({ "expression": "os.exit(9)", "frameId": frame }));
    assert_eq!(debugged.expect_exit(), Some(9));
}
