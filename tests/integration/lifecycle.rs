//! Coming, going, pausing and ending, at awkward moments.

use serde_json::{Value, json};

use crate::{
    dap_client::DapClient,
    lab::{Lab, PATIENCE, connect, connect_with, debug, debug_with, llmspell},
};

#[test]
fn a_pause_right_behind_continue_always_stops() {
    let mut debugged = debug("local n = 0\nwhile n >= 0 do n = n + 1 end");
    debugged.go("pause");
    for round in 0..200 {
        debugged.expect_stop("pause");
        // Both in one go, without waiting for the first.
        let go_on = debugged.send("continue", json!({ "threadId": 1 }));
        let pause = debugged.send("pause", json!({ "threadId": 1 }));
        debugged.answer(go_on).unwrap_or_else(|error| panic!("{round}: {error}"));
        debugged.answer(pause).unwrap_or_else(|error| panic!("{round}: {error}"));
    }
    debugged.expect_stop("pause");
    debugged.evaluate("n = -1e6 // 1 | 0");
    debugged.request("terminate", json!({}));
    debugged.ends_with(143);
}

#[test]
fn a_pause_behind_continue_stops_in_sleeps_and_coroutines_too() {
    for script in [
        "while true do Async.sleep(0.001) end",
        "local f = coroutine.wrap(function() while true do coroutine.yield() end end) while true do f() end",
        "while true do pcall(error, 'x') end",
        "local t = {} for i = 1, 100 do t[i] = i end while true do table.sort(t, function(a, b) return a > b end) end",
        "Async.sleep(1e6)",
    ] {
        let mut debugged = debug(script);
        debugged.go("pause");
        for _ in 0..50 {
            debugged.expect_stop("pause");
            let go_on = debugged.send("continue", json!({ "threadId": 1 }));
            let pause = debugged.send("pause", json!({ "threadId": 1 }));
            debugged.answer(go_on).unwrap();
            debugged.answer(pause).unwrap();
        }
        debugged.expect_stop("pause");
        debugged.request("terminate", json!({}));
        debugged.ends_with(143);
    }
}

#[test]
fn a_pause_before_the_script_begins_stops_it_at_once() {
    let mut debugged = debug_with("local x = 1\nprint(x)", |debugged| debugged.go("pause"));
    let frame = debugged.stop_at("pause", 1);
    assert_eq!(frame.name, "main chunk");
    debugged.go_to_end();
}

#[test]
fn stop_on_entry_and_a_breakpoint_on_the_first_line_are_two_reasons() {
    let mut debugged = connect("print('one')\nprint('two')");
    debugged.initialize();
    let attach = debugged.send("attach", json!({ "stopOnEntry": true }));
    debugged.expect_event("initialized");
    let path = debugged.path.clone();
    debugged.set_breakpoints(&path, &[1, 2]);
    debugged.request("configurationDone", Value::Null);
    debugged.answer(attach).unwrap();
    let reason = debugged.expect_event("stopped")["reason"].clone();
    assert!(reason == "entry" || reason == "breakpoint", "{reason}");
    assert_eq!(debugged.stack_trace()[0].line, 1);
    debugged.go("continue");
    debugged.stop_at("breakpoint", 2);
    debugged.go_to_end();
}

#[test]
fn after_a_detach_no_hook_is_left() {
    let mut debugged = debug(
        "print(debug.gethook() ~= nil) --@ --first
coroutine.wrap(function() print(debug.gethook() ~= nil) end)()
print(debug.gethook() ~= nil)
local f = io.open(arg[1], 'w')
f:write(tostring(debug.gethook()), tostring(coroutine.wrap(function()
  for i = 1, 10 do end
  return debug.gethook()
end)()))
f:close()",
    );
    debugged.stop_in("breakpoint", "first");
    let path = debugged.lab.path().join("hooks");
    debugged.evaluate(&format!("arg[1] = '{}'", path.display()));
    debugged.request("disconnect", Value::Null);
    assert_eq!(debugged.expect_exit(), Some(0));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "nilnil");
}

#[test]
fn a_detach_lets_the_script_complete_wherever_it_stands() {
    let script = "local function fails() error('x') end
local function deep(n) if n == 0 then
  print('deep') --@
  return 0 end return 1 + deep(n - 1) end
print(pcall(deep, 10))
print(coroutine.wrap(deep)(5))
table.sort({ 3, 2, 1 }, function(a, b) deep(1) return a < b end)
print(pcall(fails))
io.open(arg[0] .. '.done', 'w'):write('done'):close()";
    for steps in
        [&[][..], &["stepIn"], &["next", "next", "next"], &["stepOut"], &["continue", "stepOut"]]
    {
        for suspend in [false, true] {
            let mut debugged = debug_with(script, |debugged| debugged.filter(&["uncaught"]));
            debugged.expect_stop("breakpoint");
            for step in steps {
                debugged.go(step);
                debugged.expect_event("stopped");
            }
            if suspend {
                // And back, by another debugger that leaves, too.
                debugged.request("disconnect", json!({ "suspendDebuggee": true }));
                let mut next = DapClient::connect(&debugged.address);
                next.deadline = PATIENCE;
                next.attach(json!({}), |_| ());
                next.expect_event("stopped");
                next.request("disconnect", Value::Null);
            } else {
                debugged.hang_up();
            }
            assert_eq!(debugged.expect_exit(), Some(0), "{steps:?}");
            let done = debugged.path.with_extension("lua.done");
            assert_eq!(std::fs::read_to_string(done).unwrap(), "done");
        }
    }
}

#[test]
fn a_deep_recursion_answers_in_pages() {
    let mut debugged = debug(
        "local function f(n)
  if n == 0 then
    return 0 --@
  end
  return 1 + f(n - 1) --call
end
print(f(190000))",
    );
    debugged.expect_stop("breakpoint");
    for start in [0, 1, 100_000, 190_000] {
        let page = json!({ "threadId": 1, "startFrame": start, "levels": 20 });
        let body = debugged.request("stackTrace", page);
        let total = body["totalFrames"].as_i64().unwrap();
        assert!((190_002..190_010).contains(&total), "{total}");
        let frames = body["stackFrames"].as_array().unwrap();
        assert_eq!(frames.len() as i64, (total - start).min(20));
        if start > 0 && start < 190_000 {
            assert_eq!(frames[0]["line"], debugged.line("call"));
            let frame = frames[0]["id"].as_i64().unwrap();
            let locals = debugged.scope(frame, "Locals");
            assert_eq!(locals[0], ("n".to_owned(), start.to_string()));
        }
    }
    debugged.go("stepOut");
    debugged.expect_stop("step");
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), "190000\n");
}

#[test]
fn restarts_again_and_again() {
    let mut debugged = debug(
        "count = (count or 0) + 1
local co = coroutine.wrap(function() while true do coroutine.yield() end end)
print('run', count) --@ --here
while true do co() end",
    );
    for _ in 0..5 {
        debugged.stop_in("breakpoint", "here");
        assert_eq!(debugged.evaluate("count"), "1", "a new VM each time");
        debugged.request("restart", json!({}));
    }
    debugged.stop_in("breakpoint", "here");
    debugged.go("continue");
    debugged.request("restart", json!({}));
    debugged.stop_in("breakpoint", "here");
    debugged.request("terminate", json!({}));
    debugged.ends_with(143);
}

#[test]
fn terminate_is_not_caught_and_ends_all_that_is_open() {
    for busy in [
        "while true do pcall(function() while true do end end) end",
        "Async.sleep(1e6)",
        "xpcall(error, function() while true do end end)",
        "coroutine.wrap(function() while true do end end)()",
    ] {
        let mut debugged = debug(&format!("print('ready')\n{busy}\nprint('never')"));
        debugged.expect_output("ready\n");
        debugged.request("terminate", json!({}));
        debugged.ends_with(143);
        assert_eq!(debugged.stdout(), "ready\n");
    }
}

#[test]
fn a_timeout_ends_a_script_that_is_stopped() {
    let lab = Lab::new();
    let path = lab.write("main.lua", "print('here')\nprint('never')");
    let mut command = llmspell();
    command.args(["run", "--dap", "0", "--wait", "--timeout", "1"]).arg(&path);
    let mut client = DapClient::spawn_tcp(command.stdout(std::process::Stdio::null()));
    client.deadline = PATIENCE;
    client.attach(json!({}), |client| {
        client.set_breakpoints(&path, &[2]);
    });
    client.expect_stop("breakpoint");
    assert_eq!(client.expect_event("exited")["exitCode"], 124);
    client.request("disconnect", Value::Null);
    assert_eq!(client.expect_exit(), Some(124));
}

#[test]
fn control_c_ends_a_script_that_is_stopped_or_waits_for_a_debugger() {
    let mut debugged = debug("print('here') --@\nprint('never')");
    debugged.expect_stop("breakpoint");
    crate::lab::signal(debugged.process.as_ref().unwrap(), "INT");
    debugged.ends_with(130);
    let mut waiting = connect("print('never')");
    crate::lab::signal(waiting.process.as_ref().unwrap(), "INT");
    assert_eq!(waiting.expect_exit(), Some(130));
}

#[test]
fn many_debuggers_come_and_go_while_the_script_runs() {
    let mut first = connect_with("n = 0\nwhile n >= 0 do\n  n = n + 1\nend\nprint('over')", &[]);
    let (address, path) = (first.address.clone(), first.path.clone());
    for round in 0..50 {
        let mut client = DapClient::connect(&address);
        client.deadline = PATIENCE;
        // The one before may still be leaving if it has just hung up.
        client.initialize();
        while let Err(error) = client.try_request("attach", json!({})) {
            assert!(error.contains("another debugger"), "{error}");
        }
        client.set_breakpoints(&path, &[3]);
        client.request("configurationDone", Value::Null);
        client.stop_at("breakpoint", 3);
        match round % 3 {
            0 => {
                client.request("disconnect", Value::Null);
            }
            1 => client.hang_up(),
            _ => client.send_raw(b"Content-Length: 100\r\n\r\n{"),
        }
    }
    let mut last = DapClient::connect(&address);
    last.deadline = PATIENCE;
    last.initialize();
    while last.try_request("attach", json!({})).is_err() {}
    last.request("configurationDone", Value::Null);
    last.request("evaluate", json!({ "expression": "n = -5" }));
    last.expect_event("terminated");
    last.request("disconnect", Value::Null);
    assert_eq!(first.expect_exit(), Some(0));
}

#[test]
fn a_terminate_before_the_script_begins_is_not_lost() {
    // The debugger may be there before the Lua thread has taken up its work.
    for _ in 0..30 {
        let mut debugged = debug("Async.sleep(1e6)");
        debugged.request("terminate", json!({}));
        debugged.ends_with(143);
    }
}
