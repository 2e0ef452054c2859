//! The global `Debug`, and `Async`: what scripts may call.

use std::{fs, process::Stdio};

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{
    dap_client::DapClient,
    lab::{Debugged, Ended, Lab, PATIENCE, debug, debug_with, finish, llmspell},
};

/// Runs a script with an environment and global options.
fn run(script: &str, options: &[&str], environment: &[(&str, &str)]) -> Ended {
    let lab = Lab::new();
    let path = lab.write("main.lua", script);
    let mut command = llmspell();
    command.args(options).arg("run").arg(path).envs(environment.iter().copied());
    finish(&mut command, b"").in_place_of(lab.path())
}

/// What a script prints.
fn check(script: &str, expected: &Expect) {
    let ended = run(script, &[], &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    expected.assert_eq(&ended.stdout());
}

/// The log, without its times.
fn log(script: &str, options: &[&str], environment: &[(&str, &str)]) -> String {
    let ended = run(script, options, environment);
    assert_eq!((ended.code, ended.stdout.len()), (Some(0), 0), "{}", ended.stderr);
    let lines = ended.stderr.lines().map(|line| {
        let (first, rest) = line.split_once(' ').unwrap_or(("", line));
        let is_time = first.starts_with("20") && first.ends_with('Z');
        format!("{}\n", if is_time { rest.trim_start() } else { line })
    });
    lines.collect()
}

const ALL_LEVELS: &str = "Debug.trace('t') Debug.debug('d') Debug.info('i')
Debug.warn('w') Debug.error('e', 'my.module')
";

#[test]
fn messages_go_to_stderr_with_their_module() {
    expect![[r"
        WARN script: w
        ERROR my.module: e
    "]]
    .assert_eq(&log(ALL_LEVELS, &[], &[]));
}

#[test]
fn trace_and_rust_log_decide_how_much() {
    let count = |options: &[&str], environment: &[(&str, &str)]| {
        log(ALL_LEVELS, options, environment)
            .lines()
            .filter(|line| line.contains(" script: ") || line.contains(" my.module: "))
            .count()
    };
    for (level, wanted) in
        [("off", 0), ("error", 1), ("warn", 2), ("info", 3), ("debug", 4), ("trace", 5)]
    {
        assert_eq!(count(&["--trace", level], &[]), wanted, "--trace {level}");
        assert_eq!(count(&[], &[("RUST_LOG", level)]), wanted, "RUST_LOG={level}");
        assert_eq!(count(&["--trace", "trace"], &[("RUST_LOG", level)]), wanted);
    }
    assert_eq!(count(&[], &[("RUST_LOG", "my.module=trace")]), 1);
    assert_eq!(count(&[], &[("RUST_LOG", "off,script=info")]), 2);
    assert_eq!(count(&[], &[("RUST_LOG", "")]), 2);
    let broken = log(ALL_LEVELS, &[], &[("RUST_LOG", "script=loud")]);
    assert!(broken.starts_with("Error: RUST_LOG is ignored: "), "{broken}");
    assert!(broken.ends_with("my.module: e\n"), "{broken}");
}

#[test]
fn trace_may_stand_behind_the_command() {
    let ended = finish(llmspell().args(["exec", "--trace", "info", "Debug.info('here')"]), b"");
    assert!(ended.stderr.contains("INFO script: here"), "{}", ended.stderr);
}

#[test]
fn scripts_choose_their_own_level() {
    expect![[r"
        INFO script: 1
        DEBUG script: 2
        TRACE script: 3
        ERROR script: 5
        ERROR script: 8
    "]]
    .assert_eq(&log(
        "Debug.info('0') Debug.setLevel('info') Debug.info('1') Debug.debug('x')
Debug.setLevel('debug') Debug.debug('2') Debug.setLevel('TRACE') Debug.trace('3')
Debug.setLevel('error') Debug.warn('4') Debug.error('5') Debug.setLevel('off') Debug.error('6')
Debug.setLevel('error') Debug.setEnabled(false) Debug.error('7')
Debug.setEnabled(true) Debug.error('8') Debug.warn('9')",
        &[],
        &[],
    ));
    check(
        "print(pcall(Debug.setLevel, 'loud'))\nprint(pcall(Debug.setLevel))",
        &expect![[r#"
            false	[DIR]/main.lua:1: Debug.setLevel: unknown level 'loud'; use off, error, warn, info, debug or trace
            false	[DIR]/main.lua:2: bad argument #1 (string expected, got nil)
        "#]],
    );
}

#[test]
fn messages_may_be_anything() {
    expect![[r"
        WARN script: 42
        WARN script: nil
        WARN script: mine
        WARN script: two
        lines
        WARN script: bytes �
        WARN m: from a coroutine
    "]]
    .assert_eq(&log(
        "Debug.warn(42) Debug.warn(nil)
Debug.warn(setmetatable({}, { __tostring = function() return 'mine' end }))
Debug.warn('two\\nlines') Debug.warn('bytes \\xff')
coroutine.wrap(function() Debug.warn('from a coroutine', 'm') end)()
assert(not pcall(Debug.warn, setmetatable({}, { __tostring = error })))
for i = 1, 3000 do Debug.trace('x', 'module' .. i) end",
        &[],
        &[],
    ));
}

#[test]
fn dump_shows_tables_as_they_are_written() {
    check(
        "local t = { 1, 'two', { nested = true, list = { 1, 2 } }, name = 'x', ['two words'] = 1,
  [10] = 'gap', [1.5] = 'float', empty = {} }
t.self = t
print(Debug.dump(t))
print(Debug.dump('text\\n\\0'), Debug.dump(nil), Debug.dump(1.0), Debug.dump(2^53), Debug.dump(true))",
        &expect![[r#"
            {
              1,
              "two",
              {
                list = {
                  1,
                  2,
                },
                nested = true,
              },
              [10] = "gap",
              empty = {},
              name = "x",
              self = <cycle>,
              ["two words"] = 1,
              [1.5] = "float",
            }
            "text\n\x00"	nil	1.0	9007199254740992.0	true
        "#]],
    );
}

#[test]
fn dump_has_limits() {
    check(
        "print(Debug.dump({ { { { 1 } } } }, { max_depth = 2 }))
print(Debug.dump({ 1, 2, 3, 4, 5, a = 1 }, { max_items = 2 }))
print(Debug.dump({ 1 }, { max_depth = 0 }))
print(Debug.dump({ 1 }, { max_items = 0 }))
print(pcall(Debug.dump, {}, { depth = 1 }))
print(pcall(Debug.dump, {}, { max_depth = 'x' }))
print(pcall(Debug.dump, {}, { max_depth = -1 }))
local deep = {} local t = deep for i = 1, 10000 do t[1] = {} t = t[1] end
print(#Debug.dump(deep) < 1000, #Debug.dump(deep, { max_depth = 1000 }) > 1000)
local big = {} for i = 1, 100000 do big[i] = i end
print(#Debug.dump(big) < 2000)",
        &expect![[r"
            {
              {
                {…},
              },
            }
            {
              1,
              2,
              … 4 more
            }
            {…}
            {
              … 1 more
            }
            false	[DIR]/main.lua:5: Debug.dump: 'depth' is not an option; there are max_depth and max_items
            false	[DIR]/main.lua:6: error converting Lua string to usize (expected number or string coercible to number)
            false	[DIR]/main.lua:7: error converting Lua integer to usize (out of range)
            true	true
            true
        "]],
    );
}

#[test]
fn dump_survives_metamethods() {
    check(
        "local function bad() error('no') end
local t = setmetatable({ 7 }, { __index = bad, __pairs = bad, __len = bad, __name = 'Odd' })
print(Debug.dump(t))
print((pcall(Debug.dump, setmetatable({}, { __tostring = bad }))))
print((Debug.dump(print):gsub('0x%x+', 'ADDRESS')))
print((Debug.dump(coroutine.create(print)):gsub('0x%x+', 'ADDRESS')))",
        &expect![[r"
            {
              7,
            }
            true
            function: ADDRESS
            thread: ADDRESS
        "]],
    );
}

#[test]
fn timers_measure_in_milliseconds() {
    check(
        "local timer = Debug.timer('work')
Async.sleep(0.02)
local lap = timer:lap('first')
local second = timer:lap('second')
local elapsed = timer:elapsed()
Async.sleep(0.01)
local total = timer:stop()
print(lap >= 20, second >= 0, elapsed >= lap, total >= elapsed + 10, total < 60000)
print(timer:elapsed() == total, timer:stop() == total)
print(math.type(lap), pcall(Debug.timer))",
        &expect![[r#"
            true	true	true	true	true
            true	true
            float	false	[DIR]/main.lua:10: bad argument #1 (string expected, got nil)
        "#]],
    );
}

#[test]
fn the_performance_report_is_a_table() {
    let ended = run(
        "print((Debug.performanceReport()))
for i = 1, 3 do
  local timer = Debug.timer('work')
  timer:lap('load') timer:lap('save')
  timer:stop()
end
Debug.timer('running')
Debug.timer('ümlaut'):stop()
print((Debug.performanceReport():gsub('%d+%.%d+', '#')))",
        &[],
        &[],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // Columns depend on how long numbers are; words do not.
    let words: Vec<String> = ended
        .stdout()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    expect![[r"
        timer count total ms mean ms min ms max ms

        timer count total ms mean ms min ms max ms
        work 3 # # # #
        work / load 3 # # # #
        work / save 3 # # # #
        ümlaut 1 # # # #
    "]]
    .assert_eq(&(words.join("\n").trim_end().to_owned() + "\n"));
}

#[test]
fn memory_and_stack_are_told() {
    check(
        "local before = Debug.memory().used
local kept = string.rep('x', 1000000)
local after = Debug.memory().used
print(math.type(before), after - before > 900000)
local function inner() return Debug.stackTrace() end
local function outer() local trace = inner() return trace end
print((outer():gsub('[^%s]*/main.lua', 'main.lua')))
print((coroutine.wrap(function() local t = Debug.stackTrace() return t end)():gsub('[^%s]*/main.lua', 'main.lua')))",
        &expect![[r"
            integer	true
            stack traceback:
            	main.lua:5: in function 'inner'
            	main.lua:6: in function 'outer'
            	main.lua:7: in main chunk
            stack traceback:
            	main.lua:8: in function <main.lua:8>
            	(coroutine resumed from)
            	[C]: in function '(native function)'
            	main.lua:8: in main chunk
        "]],
    );
}

#[test]
fn without_a_debugger_breakpoints_are_no_obstacle() {
    check(
        "print(Debug.breakpoint())
print(Debug.step(), Debug.stepOver(), Debug.stepOut(), Debug.continue())
local function f() return 1 end
local report = Debug.breakpoint('f', 3)
print(type(report.id), f())
print(pcall(Debug.breakpoint, 'nowhere', 3))
print(pcall(Debug.breakpoint, '/x.lua'))
print(pcall(Debug.breakpoint, '/x.lua', 1, { condition = 'x', colour = 'red' }))
print(pcall(Debug.breakpoint, 'f', nil, { log_message = 'x' }))
print(pcall(Debug.breakpoint, 'f', -1))
print(Debug.breakpoint('/not/loaded.lua', 7).verified)",
        &expect![[r#"
            false
            false	false	false	false
            number	1
            false	[DIR]/main.lua:6: Debug.breakpoint: no loaded file defines a function 'nowhere'
            false	[DIR]/main.lua:7: Debug.breakpoint: a file needs a line
            false	[DIR]/main.lua:8: Debug.breakpoint: 'colour' is not an option; there are condition, hit_condition and log_message
            false	[DIR]/main.lua:9: Debug.breakpoint: log_message needs a line
            false	[DIR]/main.lua:10: bad argument #2 (number out of range)
            false
        "#]],
    );
}

#[test]
fn a_breakpoint_in_the_script_stops_in_its_line() {
    let mut debugged = debug(
        "local function f()
  local stopped = Debug.breakpoint() --here
  return stopped
end
print(f())
coroutine.wrap(function()
  Debug.breakpoint() --inside
end)()
pcall(Debug.breakpoint) --protected
print('end')",
    );
    let frame = debugged.stop_in("breakpoint", "here");
    assert_eq!(frame.name, "f");
    debugged.go("continue");
    debugged.stop_in("breakpoint", "inside");
    debugged.go("next");
    debugged.expect_stop("step");
    debugged.go("continue");
    debugged.stop_in("breakpoint", "protected");
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), "true\nend\n");
}

#[test]
fn a_script_sets_breakpoints_on_lines_and_functions() {
    let mut debugged = debug(
        "local path = arg[0]
local M = {}
function M.work(n)
  local x = n * 2 --body
  x = x + 1
  return x --line
end
local one = Debug.breakpoint('M.work')
local two = Debug.breakpoint(path, 6, { condition = 'n == 2' })
local three = Debug.breakpoint(path, 5, { log_message = 'n is {n}', hit_condition = '>= 2' })
for i = 1, 3 do M.work(i) end
print(one.id ~= two.id, two.verified, two.line, three.verified)",
    );
    for n in 1..=3 {
        debugged.stop_in("function breakpoint", "body");
        debugged.go("continue");
        if n == 2 {
            debugged.stop_in("breakpoint", "line");
            debugged.go("continue");
        }
    }
    debugged.ends_with(0);
    assert_eq!(debugged.stdout(), "true\ttrue\t6\ttrue\n");
    assert_eq!(debugged.console(), ["n is 2", "n is 3"]);
}

#[test]
fn a_function_and_a_line_of_its_file() {
    let mut debugged = debug(
        "function work(n)
  local x = n * 2
  return x --line
end
print(Debug.breakpoint('work', 3).line)
work(1)",
    );
    debugged.stop_in("breakpoint", "line");
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), "3\n");
}

#[test]
fn breakpoints_of_the_script_stay_when_debuggers_go() {
    let mut debugged = debug(
        "local n = 0
Debug.breakpoint(arg[0], 4)
while n < 1e9 do
  n = n + 1 --there
end",
    );
    debugged.stop_in("breakpoint", "there");
    debugged.request("disconnect", json!({ "suspendDebuggee": true }));
    let mut next = DapClient::connect(&debugged.address);
    next.deadline = PATIENCE;
    next.attach(json!({}), |_| ());
    next.expect_event("stopped");
    next.go("continue");
    next.stop_at("breakpoint", 4);
    next.evaluate("n = 1e9");
    next.go("continue");
    next.expect_event("terminated");
    next.request("disconnect", Value::Null);
    assert_eq!(debugged.expect_exit(), Some(0));
}

#[test]
fn a_script_steps_itself() {
    let script = "local function f()
  local x = 1 --inside
  return x
end
print(Debug.step())
f()
Debug.continue()
print(Debug.stepOver())
f() --over
Debug.continue()
local function g()
  Debug.stepOut()
  return f()
end
g() --out
Debug.continue()
print('end')";
    let mut debugged = debug(script);
    // A step in from a native call ends at the next line, wherever that is.
    debugged.expect_stop("step");
    assert_eq!(debugged.stack_trace()[0].line, 6);
    debugged.go("stepIn");
    debugged.stop_in("step", "inside");
    debugged.go("continue");
    debugged.stop_in("step", "over");
    debugged.go("continue");
    debugged.expect_stop("step");
    let line = debugged.stack_trace()[0].line;
    assert!(line == debugged.line("out") || line == debugged.line("out") + 1, "{line}");
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), "true\ntrue\nend\n");
}

#[test]
fn a_script_opens_the_door_itself() {
    let lab = Lab::new();
    let path = lab.write(
        "main.lua",
        "local port = Debug.enableDAP{ port = 0, wait_for_debugger = true }
print(math.type(port), port > 0, Debug.enableDAP{ port = port } == port)
print('after') --here",
    );
    let mut client = DapClient::spawn_tcp(llmspell().arg("run").arg(&path).stdout(Stdio::null()));
    client.deadline = PATIENCE;
    client.attach(json!({}), |client| {
        assert_eq!(client.set_breakpoints(&path, &[3])[0]["verified"], true);
    });
    client.stop_at("breakpoint", 3);
    client.go("continue");
    client.expect_event("terminated");
    assert_eq!(client.output_of("stdout"), "integer\ttrue\ttrue\nafter\n");
    client.request("disconnect", Value::Null);
    assert_eq!(client.expect_exit(), Some(0));
}

#[test]
fn a_door_need_not_be_waited_at() {
    let lab = Lab::new();
    let path = lab.write(
        "main.lua",
        "Debug.enableDAP{ port = 0 }
n = 0
while n >= 0 do n = n + 1 end",
    );
    let mut client = DapClient::spawn_tcp(llmspell().arg("run").arg(&path));
    client.deadline = PATIENCE;
    client.attach(json!({}), |_| ());
    client.go("pause");
    client.expect_stop("pause");
    client.evaluate("n = -9");
    client.go("continue");
    client.expect_event("terminated");
    client.request("disconnect", Value::Null);
    assert_eq!(client.expect_exit(), Some(0));
}

#[test]
fn enable_dap_says_what_it_does_not_understand() {
    check(
        "print(pcall(Debug.enableDAP, { prot = 1 }))
print(pcall(Debug.enableDAP, { port = 70000 }))
print(pcall(Debug.enableDAP, { port = 'x' }))
print(pcall(Debug.enableDAP, 9556))
print(pcall(Debug.enableDAP, { port = 0, wait_for_debugger = 1 }))",
        &expect![[r#"
            false	[DIR]/main.lua:1: Debug.enableDAP: 'prot' of type integer is not an option; there are port (integer) and wait_for_debugger (boolean)
            false	[DIR]/main.lua:2: Debug.enableDAP: 70000 is no port (0 to 65535)
            false	[DIR]/main.lua:3: Debug.enableDAP: 'port' of type string is not an option; there are port (integer) and wait_for_debugger (boolean)
            false	[DIR]/main.lua:4: bad argument #1 (table expected, got integer)
            false	[DIR]/main.lua:5: Debug.enableDAP: 'wait_for_debugger' of type integer is not an option; there are port (integer) and wait_for_debugger (boolean)
        "#]],
    );
    // A port that is taken.
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let ended = run(&format!("Debug.enableDAP{{ port = {port} }}"), &[], &[]);
    assert_eq!(ended.code, Some(1));
    let wanted = "Failed to start kernel service: Address already in use";
    assert!(ended.stderr.contains(wanted), "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("Error: [DIR]/main.lua:1: Debug.enableDAP: "),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_dump_in_a_watch_is_the_same() {
    let mut debugged: Debugged = debug_with("local t = { 1, { x = 2 } }\nprint(#t) --@", |_| ());
    debugged.expect_stop("breakpoint");
    let text = debugged.evaluate("Debug.dump(t)");
    assert!(text.contains("x = 2"), "{text}");
    // What stops the program cannot be called while it is stopped.
    debugged.evaluate("Debug.breakpoint()");
    debugged.evaluate("Debug.step()");
    debugged.go_to_end();
}

#[test]
fn the_script_may_log_to_a_closed_stderr() {
    let lab = Lab::new();
    let out = lab.path().join("out");
    let path = lab.write("main.lua", "for i = 1, 100 do Debug.error('x') end print('end')");
    let shell = format!(
        "{} run {} 2>&- >{}",
        env!("CARGO_BIN_EXE_llmspell"),
        path.display(),
        out.display()
    );
    let ended = finish(std::process::Command::new("sh").args(["-c", &shell]), b"");
    assert_eq!(ended.code, Some(0));
    assert_eq!(fs::read_to_string(out).unwrap(), "end\n");
}
