//! Steps: where they end, and that they end.

use crate::lab::{debug, debug_with};

#[test]
fn a_step_out_of_the_main_chunk_runs_to_the_end() {
    // An error that is caught meanwhile unwinds frames behind the step's back.
    let mut debugged = debug(
        "local function fails() error('x') end
print('start') --@ --start
print(pcall(fails))
print(pcall(coroutine.wrap(fails)))
print(coroutine.resume(coroutine.create(fails)))
print('end')",
    );
    debugged.stop_in("breakpoint", "start");
    debugged.go("stepOut");
    debugged.ends_with(0);
    assert!(debugged.stdout().ends_with("end\n"));
}

#[test]
fn a_step_out_survives_errors_in_between() {
    let mut debugged = debug(
        "local function fails() error('x') end
local function inner()
  local a = 1 --@ --inner
  pcall(fails)
  pcall(function() pcall(fails) fails() end)
  return a
end
local function outer()
  local r = 1 + inner() --outer
  return r
end
outer()",
    );
    debugged.stop_in("breakpoint", "inner");
    debugged.go("stepOut");
    debugged.stop_in("step", "outer");
    debugged.go_to_end();
}

#[test]
fn a_step_over_ends_in_the_catcher_if_the_callee_fails() {
    let mut debugged = debug(
        "local function fails() error('x') end
local function work()
  fails() --@ --call
  print('never')
end
local ok = pcall(work) --catcher
print(ok) --after",
    );
    debugged.stop_in("breakpoint", "call");
    debugged.go("next");
    debugged.expect_stop("step");
    let frame = debugged.stack_trace().remove(0);
    let lines = [debugged.line("catcher"), debugged.line("after")];
    assert!(lines.contains(&frame.line), "{frame:?}");
    debugged.go_to_end();
    assert_eq!(debugged.stdout(), "false\n");
}

#[test]
fn a_statement_on_several_lines_stops_once() {
    let mut debugged = debug(
        "local function f(...) return ... end
f( --@ --call
  1,
  f(2),
  3
)
local t = { --@ --table
  f(1),
  f(2),
}
local s = 'a' .. --@ --concat
  f('b') ..
  f('c')
print('end')",
    );
    for name in ["call", "table", "concat"] {
        debugged.stop_in("breakpoint", name);
        debugged.go("continue");
    }
    debugged.ends_with(0);
}

#[test]
fn steps_over_every_line_in_order() {
    let mut debugged = debug(
        "local n = 0 --@ --1
for i = 1, 2 do --2
  n = n + i --3
end
while n < 5 do --5
  n = n + 1 --6
end
repeat --
  n = n + 1 --9
until n > 5 --10
if n == 6 then --11
  goto done --12
end
print('never')
::done::
print(n) --16",
    );
    let mut seen = vec![1];
    debugged.expect_stop("breakpoint");
    while *seen.last().unwrap() != 16 {
        debugged.go("next");
        debugged.expect_stop("step");
        seen.push(debugged.stack_trace()[0].line);
    }
    assert_eq!(seen, [1, 2, 3, 2, 3, 2, 5, 6, 5, 6, 5, 9, 10, 11, 12, 16]);
    debugged.go_to_end();
}

#[test]
fn a_step_in_finds_every_kind_of_callee() {
    let cases = [
        ("x = f()", "f"),
        ("x = t.key", "index"),
        ("t.key = 1", "newindex"),
        ("x = t + 1", "add"),
        ("x = t .. 'x'", "concat"),
        ("x = #t", "len"),
        ("x = -t", "unm"),
        ("x = t == u", "eq"),
        ("x = t < u", "lt"),
        ("x = t(1)", "call"),
        ("x = tostring(t)", "tostring"),
        ("for _ in pairs(t) do end", "pairs"),
        ("for _ in iterate do end", "iterate"),
        ("table.sort({ 2, 1 }, less)", "less"),
        ("string.gsub('x', 'x', replace)", "replace"),
        ("pcall(f)", "f"),
        ("xpcall(error, handler)", "handler"),
        ("coroutine.wrap(f)()", "f"),
        ("coroutine.resume(coroutine.create(f))", "f"),
        ("do local c <close> = t end", "close"),
        ("load('return f()', '=chunk')()", "chunk"),
        ("require('module')", "module"),
    ];
    for (statement, callee) in cases {
        let script = format!(
            "function f() return 1 end
local function index() return 1 end
local function newindex() return 1 end
local function add() return 1 end
local function concat() return 1 end
local function len() return 1 end
local function unm() return 1 end
local function eq() return 1 end
local function lt() return 1 end
local function call() return 1 end
local function tostring_() return 'x' end
local function pairs_() return next, {{}} end
local function close() return 1 end
local function iterate() return nil end
local function less(a, b) return a < b end
local function replace() return 'x' end
local function handler() return 'x' end
local m = {{ __index = index, __newindex = newindex, __add = add, __concat = concat, __len = len,
  __unm = unm, __eq = eq, __lt = lt, __call = call, __tostring = tostring_, __pairs = pairs_,
  __close = close }}
local t, u, x = setmetatable({{}}, m), setmetatable({{}}, m)
{statement} --@
print('end')"
        );
        let mut debugged = debug_with(&script, |debugged| {
            debugged.lab.write("module.lua", "local M = {}\nreturn M");
        });
        debugged.expect_stop("breakpoint");
        debugged.go("stepIn");
        debugged.expect_stop("step");
        let frame = debugged.stack_trace().remove(0);
        let path = debugged.path.to_string_lossy().into_owned();
        let found = match callee {
            "chunk" => frame.source == "chunk",
            "module" => frame.source.ends_with("/module.lua"),
            "tostring" | "pairs" => {
                let wanted = format!("local function {callee}_(");
                script.lines().position(|line| line.starts_with(&wanted))
                    == usize::try_from(frame.line - 1).ok()
            }
            callee => {
                let wanted = format!("function {callee}(");
                frame.source == path
                    && script.lines().position(|line| line.contains(&wanted))
                        == usize::try_from(frame.line - 1).ok()
            }
        };
        assert!(found, "'{statement}' led to {frame:?}");
        debugged.go_to_end();
    }
}

#[test]
fn steps_walk_as_a_line_hook_of_lua_does() {
    // The script traces itself, without a debugger, through Lua's own hook.
    let body = "
local log = {}
local function fails(x) error(x) end
local object = setmetatable({}, { __index = function(_, k) return k .. k end })
local function varargs(...)
  local n = select('#', ...)
  return n, ...
end
local function tail(n)
  if n > 0 then return tail(n - 1) end
  return varargs(n)
end
local function work()
  log[1] = object.name
  log[2] = pcall(fails, 'x')
  log[3] = tail(2)
  table.sort({ 2, 1 }, function(a, b)
    return a < b
  end)
  for k, v in pairs({ 1 }) do
    log[k] = v
  end
  for w in string.gmatch('a b', '%a') do
    log[#log + 1] = w
  end
  local t <close> = setmetatable({}, { __close = function()
    log[4] = 'closed'
  end })
  return #log
end
";
    let traced = format!(
        "{body}
local lines = {{}}
debug.sethook(function(_, line) lines[#lines + 1] = line end, 'l')
work()
debug.sethook()
for i = 1, #lines - 1 do print(lines[i]) end"
    );
    let reference = crate::lab::Lab::new().run(&traced, &[]);
    let reference: Vec<i64> =
        reference.stdout().lines().map(|line| line.parse().unwrap()).collect();
    // The first line is the call itself.
    let reference = &reference[1..];
    let mut debugged = debug(&format!("{body}\n\n\nwork() --@\nprint('end') --end"));
    debugged.expect_stop("breakpoint");
    let (mut walked, end) = (Vec::new(), debugged.line("end"));
    loop {
        debugged.go("stepIn");
        debugged.expect_stop("step");
        let line = debugged.stack_trace()[0].line;
        if line == end {
            break;
        }
        walked.push(line);
        assert!(walked.len() < 500, "{walked:?}");
    }
    // A debugger stops in the caller again after a return, and once only in a
    // statement on several lines; so lines are compared where they come first.
    let call = i64::from(debugged.lines("--@")[0]);
    let first_times = |lines: &[i64]| {
        let mut seen = Vec::new();
        for line in lines {
            if *line != call && !seen.contains(line) {
                seen.push(*line);
            }
        }
        seen
    };
    assert_eq!(first_times(&walked), first_times(reference));
    debugged.go_to_end();
}
