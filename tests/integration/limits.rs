//! Timeout, Ctrl-C and SIGTERM reach a script wherever it is, and nothing in it
//! can catch them.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Stdio},
};

use crate::lab::{Lab, collect, finish, llmspell, signal};

/// What a script may be busy with. None of it ends, none of it may print
/// `never`.
const BUSY: [(&str, &str); 18] = [
    ("pure Lua", "while true do end"),
    ("a for loop", "for i = 1, math.huge do local x = i * 2 end"),
    ("Async.sleep", "Async.sleep(1e6)"),
    ("Async.sleep in a loop", "while true do pcall(Async.sleep, 0.001) end"),
    (
        "a comparator",
        "local t = {} for i = 1, 1000 do t[i] = i % 7 end
         while true do table.sort(t, function(a, b) return a < b end) end",
    ),
    ("a gsub callback", "while true do string.gsub(('x'):rep(100000), 'x', function() end) end"),
    ("one callback", "string.gsub('x', 'x', function() while true do end end)"),
    ("a coroutine", "coroutine.resume(coroutine.create(function() while true do end end))"),
    ("a wrapped coroutine", "coroutine.wrap(function() while true do end end)()"),
    ("coroutines", "while true do coroutine.wrap(function() coroutine.yield() end)() end"),
    (
        "ping-pong",
        "local f = coroutine.wrap(function() while true do coroutine.yield() end end)
         while true do f() end",
    ),
    ("pcall in a loop", "while true do pcall(function() while true do end end) end"),
    ("pcall and errors", "while true do pcall(error, 'x') end"),
    ("an xpcall handler", "xpcall(error, function() while true do end end)"),
    (
        "a handler that starts again",
        "local function again() return xpcall(function() while true do end end, again) end
         while true do again() end",
    ),
    (
        "__close",
        "local function loop() while true do end end
         do local t <close> = setmetatable({}, { __close = loop }) end",
    ),
    (
        "__close on the way out",
        "local function loop() while true do end end
         while true do
           pcall(function() local t <close> = setmetatable({}, { __close = loop }) loop() end)
         end",
    ),
    (
        "metamethods",
        "local t = setmetatable({}, { __index = function(t, k) return k end })
         local x = 0 while true do x = t[x] + 1 end",
    ),
];

fn script(busy: &str) -> String {
    format!(
        "print('ready') io.stdout:flush()
        {busy}
        print('never')"
    )
}

#[test]
fn a_timeout_ends_anything() {
    for (what, busy) in BUSY {
        let ended = Lab::new().run(script(busy), &["--timeout", "0.2"]);
        assert_eq!(ended.code, Some(124), "{what}: {}", ended.stderr);
        assert_eq!(ended.stdout(), "ready\n", "{what}");
        assert_eq!(ended.stderr, "Error: the script ran out of time\n", "{what}");
    }
}

/// Starts a script and waits until it says that it is ready.
fn start(busy: &str) -> (Lab, Child) {
    let lab = Lab::new();
    let path = lab.write("main.lua", script(busy));
    let mut command = llmspell();
    command.arg("run").arg(path).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    std::thread::spawn(move || {
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    });
    (lab, child)
}

#[test]
fn control_c_ends_anything() {
    for (what, busy) in BUSY {
        let (_lab, child) = start(busy);
        signal(&child, "INT");
        let ended = collect(child);
        assert_eq!(ended.code, Some(130), "{what}: {}", ended.stderr);
        assert_eq!(ended.stderr, "Error: interrupted\n", "{what}");
    }
}

#[test]
fn sigterm_ends_a_script() {
    for (what, busy) in [BUSY[0], BUSY[2], BUSY[11]] {
        let (_lab, child) = start(busy);
        signal(&child, "TERM");
        let ended = collect(child);
        assert_eq!(ended.code, Some(143), "{what}: {}", ended.stderr);
    }
}

/// A pattern that takes longer than anybody lives, in one native call.
const STUCK: &str = "string.find(('a'):rep(60), ('a?'):rep(60) .. ('a'):rep(60))";

#[test]
fn a_script_stuck_in_native_code_dies_with_the_process() {
    let lab = Lab::new();
    let path = lab.write("main.lua", format!("io.write('kept') {STUCK}"));
    let ended = finish(llmspell().args(["run", "--timeout", "0.2"]).arg(path), b"");
    assert_eq!((ended.code, ended.stdout().as_str()), (Some(124), "kept"));
}

#[test]
fn a_second_control_c_does_not_wait() {
    let (_lab, child) = start(STUCK);
    signal(&child, "INT");
    signal(&child, "INT");
    assert_eq!(collect(child).code, Some(130));
}

#[test]
fn a_script_that_ends_in_time_is_not_troubled() {
    let ended = Lab::new().run("Async.sleep(0.01) print('done')", &["--timeout", "50"]);
    assert_eq!((ended.code, ended.stdout().as_str()), (Some(0), "done\n"));
}

#[test]
fn closing_handlers_run_when_a_script_is_ended() {
    let script = "
        local t <close> = setmetatable({}, { __close = function() print('closed') end })
        while true do end";
    let ended = Lab::new().run(script, &["--timeout", "0.2"]);
    assert_eq!(ended.code, Some(124));
    // Short ones run to their end; a test above has those that do not.
    assert_eq!(ended.stdout(), "closed\n");
}
