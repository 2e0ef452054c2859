//! `llmspell run` and `exec` without a debugger: what goes in, what comes out,
//! and the exit code.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use expect_test::{Expect, expect};

use crate::lab::{Lab, collect, finish, llmspell};

/// Runs a script and compares everything that can be seen of it.
fn check(script: &str, expected: &Expect) {
    expected.assert_eq(&Lab::new().run(script, &[]).report());
}

#[test]
fn arguments_reach_the_script_as_they_are() {
    let lab = Lab::new();
    let script = lab.write(
        "main.lua",
        "print(#arg, arg[0]:match('[^/]*$'), ...)\nfor i = 1, #arg do print(i, arg[i]) end",
    );
    let mut command = llmspell();
    command.arg("run").arg(script).args(["a b", "--dap", "-x", "", "--timeout=1", "--", "ü"]);
    expect![[r"
        exit code: 0
        stdout:
        7	main.lua	a b	--dap	-x		--timeout=1	--	ü
        1	a b
        2	--dap
        3	-x
        4	
        5	--timeout=1
        6	--
        7	ü
        stderr:
    "]]
    .assert_eq(&finish(&mut command, b"").report());
}

#[test]
fn a_script_may_come_from_standard_input() {
    let mut command = llmspell();
    command.args(["run", "-", "one"]);
    let script = b"local function f() error('no') end\nprint(arg[0], ...)\nf()\n";
    expect![[r"
        exit code: 1
        stdout:
        -	one
        stderr:
        Error: stdin:1: no
        stack traceback:
        	[C]: in function 'error'
        	stdin:1: in function 'f'
        	stdin:3: in main chunk
    "]]
    .assert_eq(&finish(&mut command, script).report());
}

#[test]
fn exec_prints_the_values_of_an_expression() {
    let check = |code: &str, expected: &Expect| {
        expected.assert_eq(&finish(llmspell().args(["exec", code]), b"").report());
    };
    check(
        "1 + 1, 'two', nil, {} ~= nil",
        &expect![[r"
        exit code: 0
        stdout:
        2	two	nil	true
        stderr:
    "]],
    );
    check(
        "local x = 3; print(x)",
        &expect![[r"
        exit code: 0
        stdout:
        3
        stderr:
    "]],
    );
    check(
        "error({})",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: (error object is a table value)
        stack traceback:
        	[C]: in function 'error'
        	exec:1: in main chunk
    "]],
    );
    check(
        "-- nothing",
        &expect![[r"
        exit code: 0
        stdout:
        stderr:
    "]],
    );
    check(
        "return 1 +",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: exec:1: unexpected symbol near <eof>
    "]],
    );
}

#[test]
fn errors_have_a_place_and_a_traceback() {
    check(
        "local t = nil\nlocal function inner() return t.x end\nlocal function outer() local r = inner() return r end\nprint('before')\nouter()",
        &expect![[r"
            exit code: 1
            stdout:
            before
            stderr:
            Error: [DIR]/main.lua:2: attempt to index a nil value (upvalue 't')
            stack traceback:
            	[DIR]/main.lua:2: in function 'inner'
            	[DIR]/main.lua:3: in function 'outer'
            	[DIR]/main.lua:5: in main chunk
        "]],
    );
}

#[test]
fn tracebacks_go_on_through_coroutines() {
    check(
        "local function work() local x <const> = nil; coroutine.yield() error('deep') end
local gen = coroutine.wrap(function() work() end)
local outer = coroutine.wrap(function() gen() gen() end)
local function start() outer() end
start()",
        &expect![[r#"
            exit code: 1
            stdout:
            stderr:
            Error: [DIR]/main.lua:4: [DIR]/main.lua:3: [DIR]/main.lua:1: deep
            stack traceback:
            	[C]: in function 'error'
            	[DIR]/main.lua:1: in function 'work'
            	[DIR]/main.lua:2: in function <main.lua:2>
            	(coroutine resumed from)
            	[C]: in function 'gen'
            	[DIR]/main.lua:3: in function <main.lua:3>
            	(coroutine resumed from)
            	[C]: in function 'outer'
            	[DIR]/main.lua:4: in function 'start'
            	[DIR]/main.lua:5: in main chunk
        "#]],
    );
}

#[test]
fn a_resumed_error_keeps_its_words() {
    check(
        "local co = coroutine.create(function() error('in coroutine') end)
local ok, message = coroutine.resume(co)
print(ok, message)
error(message, 0)",
        &expect![[r"
            exit code: 1
            stdout:
            false	[DIR]/main.lua:1: in coroutine
            stderr:
            Error: [DIR]/main.lua:1: in coroutine
            stack traceback:
            	[C]: in function 'error'
            	[DIR]/main.lua:4: in main chunk
        "]],
    );
}

#[test]
fn error_objects_are_shown_as_well_as_can_be() {
    check(
        "error({ code = 1 })",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: (error object is a table value)
        stack traceback:
        	[C]: in function 'error'
        	[DIR]/main.lua:1: in main chunk
    "]],
    );
    check(
        "error(setmetatable({}, { __tostring = function() return 'my words' end }))",
        &expect![[r"
            exit code: 1
            stdout:
            stderr:
            Error: my words
            stack traceback:
            	[C]: in function 'error'
            	[DIR]/main.lua:1: in main chunk
        "]],
    );
    check(
        "error()",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: (error object is a nil value)
        stack traceback:
        	[C]: in function 'error'
        	[DIR]/main.lua:1: in main chunk
    "]],
    );
    check(
        "error('no place', 0)",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: no place
        stack traceback:
        	[C]: in function 'error'
        	[DIR]/main.lua:1: in main chunk
    "]],
    );
    check(
        "error(42)",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: 42
        stack traceback:
        	[C]: in function 'error'
        	[DIR]/main.lua:1: in main chunk
    "]],
    );
    check(
        "local t <close> = setmetatable({}, { __close = function() error('while closing') end })\nerror('first')",
        &expect![[r#"
            exit code: 1
            stdout:
            stderr:
            Error: [DIR]/main.lua:1: while closing
            stack traceback:
            	[C]: in function 'error'
            	[DIR]/main.lua:1: in function '__close'
        "#]],
    );
    check(
        "string.rep()",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: [DIR]/main.lua:1: bad argument #1 to 'rep' (string expected, got no value)
        stack traceback:
        	[C]: in function 'string.rep'
        	[DIR]/main.lua:1: in main chunk
    "]],
    );
    check(
        "Async.sleep(-1)",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: [DIR]/main.lua:1: Async.sleep: seconds must be between 0 and 3200000000, not -1
        stack traceback:
        	[C]: in function 'Async.sleep'
        	[DIR]/main.lua:1: in main chunk
    "]],
    );
    check(
        "Async.sleep('x')",
        &expect![[r#"
            exit code: 1
            stdout:
            stderr:
            Error: [DIR]/main.lua:1: bad argument #1 (number expected, got string)
            stack traceback:
            	[C]: in function 'Async.sleep'
            	[DIR]/main.lua:1: in main chunk
        "#]],
    );
    check(
        "xpcall(error, function() error('again') end)\nprint('lives')",
        &expect![[r"
        exit code: 0
        stdout:
        lives
        stderr:
    "]],
    );
    check(
        "require('no.such.module.' .. string.rep('x', 3))",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: [DIR]/main.lua:1: module 'no.such.module.xxx' not found:
        	no field package.preload['no.such.module.xxx']
        	no file '[DIR]/no/such/module/xxx.lua'
        	no file '[DIR]/no/such/module/xxx/init.lua'
        	no file '/usr/local/share/lua/5.4/no/such/module/xxx.lua'
        	no file '/usr/local/share/lua/5.4/no/such/module/xxx/init.lua'
        	no file '/usr/local/lib/lua/5.4/no/such/module/xxx.lua'
        	no file '/usr/local/lib/lua/5.4/no/such/module/xxx/init.lua'
        	no file './no/such/module/xxx.lua'
        	no file './no/such/module/xxx/init.lua'
        	no file '/usr/local/lib/lua/5.4/no/such/module/xxx.so'
        	no file '/usr/local/lib/lua/5.4/loadall.so'
        	no file './no/such/module/xxx.so'
        	no file '/usr/local/lib/lua/5.4/no.so'
        	no file '/usr/local/lib/lua/5.4/loadall.so'
        	no file './no.so'
        stack traceback:
        	[C]: in function 'require'
        	[DIR]/main.lua:1: in main chunk
    "]],
    );
}

#[test]
fn a_syntax_error_has_a_place() {
    check(
        "local x = 1\nlocal = 2",
        &expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: [DIR]/main.lua:2: <name> expected near '='
    "]],
    );
}

#[test]
fn an_endless_recursion_is_an_error_like_others() {
    let ended = Lab::new().run("local function f(n) return 1 + f(n + 1) end\nf(1)", &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.starts_with("Error: [DIR]/main.lua:1: stack overflow"),
        "{}",
        ended.stderr
    );
    let lines = ended.stderr.lines().count();
    assert!(lines < 100, "{lines} lines");
}

#[test]
fn shebang_and_bom_do_not_shift_lines() {
    for start in ["#!/usr/bin/lua\n", "\u{feff}\n", "\u{feff}#!/usr/bin/lua\n", "# comment\n"] {
        let ended = Lab::new().run(format!("{start}print('x')\nerror('here')"), &[]);
        assert_eq!(ended.code, Some(1), "{start:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("Error: [DIR]/main.lua:3: here"), "{}", ended.stderr);
        assert_eq!(ended.stdout(), "x\n");
    }
}

#[test]
fn require_finds_modules_beside_the_script() {
    let lab = Lab::new();
    lab.write("mods/shapes.lua", "return { name = ..., file = (select(2, ...)) }");
    lab.write("mods/deep/init.lua", "return 'init'");
    lab.write("mods/deep/inner.lua", "return 'inner'");
    let script = lab.write(
        "mods/main.lua",
        "local s = require 'shapes'\nprint(s.name, s.file, require 'deep', require 'deep.inner')",
    );
    // From somewhere else, through a link, and by a relative path.
    let link = lab.path().join("link.lua");
    std::os::unix::fs::symlink(&script, &link).unwrap();
    let wanted = "shapes\t[DIR]/mods/shapes.lua\tinit\tinner\t[DIR]/mods/deep/inner.lua\n";
    for path in [script.as_path(), link.as_path(), std::path::Path::new("mods/../mods/main.lua")] {
        let mut command = llmspell();
        command.current_dir(lab.path()).arg("run").arg(path);
        let ended = finish(&mut command, b"").in_place_of(lab.path());
        assert_eq!((ended.code, ended.stdout().as_str()), (Some(0), wanted), "{}", ended.stderr);
    }
}

#[test]
fn a_script_that_cannot_be_read_is_an_error() {
    let lab = Lab::new();
    let missing = lab.path().join("missing.lua");
    let ended = finish(llmspell().arg("run").arg(missing), b"").in_place_of(lab.path());
    expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: cannot open [DIR]/missing.lua: No such file or directory (os error 2)
    "]]
    .assert_eq(&ended.report());
    let ended = finish(llmspell().arg("run").arg(lab.path()), b"").in_place_of(lab.path());
    expect![[r"
        exit code: 1
        stdout:
        stderr:
        Error: cannot open [DIR]: Is a directory (os error 21)
    "]]
    .assert_eq(&ended.report());
}

#[test]
fn output_is_bytes() {
    let script = r##"
        print("a\0b\xff", 1.5, 10 // 1, 2^53, -0.0, 1e100, nil, true)
        io.write("\xe2", 7, " ", 1/3, "\r\n")
        io.stdout:write("\x80\n"):write("chained\n")
        io.stderr:write("to stderr\n")
        io.output():write("default\n")
        local file = assert(io.open(arg[0] .. ".out", "w"))
        io.output(file)
        io.write("elsewhere\n")
        file:write("by method\n")
        io.close()
        io.output(io.stdout)
        for line in io.lines(arg[0] .. ".out") do print(line) end
        print(pcall(io.write, {}))
        print(select("#", io.write()))
        io.stdout:setvbuf("no")
        io.stdout:write("end")
    "##;
    let ended = Lab::new().run(script, &[]);
    let expected = b"a\0b\xff\t1.5\t10\t9.007199254741e+15\t-0.0\t1e+100\tnil\ttrue\n\xe27 0.33333333333333\r\n\x80\nchained\ndefault\nelsewhere\nby method\nfalse\tbad argument #1 to 'io.write' (string expected, got table)\n1\nend";
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&ended.stdout), text(expected));
    assert_eq!(ended.stdout, expected);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "to stderr\n"));
}

#[test]
fn print_obeys_tostring_and_name() {
    check(
        "print(setmetatable({}, { __tostring = function() return 'mine' end }))
print((tostring(setmetatable({}, { __name = 'Point' })):gsub('0x%x+', 'ADDRESS')))
print(pcall(print, setmetatable({}, { __tostring = function() error('broken', 0) end })))
print(pcall(print, setmetatable({}, { __tostring = function() return 1 end })))",
        &expect![[r"
            exit code: 0
            stdout:
            mine
            Point: ADDRESS
            false	broken
            1
            true
            stderr:
        "]],
    );
}

#[test]
fn exit_codes_of_os_exit_are_the_scripts() {
    for (call, code) in [("os.exit(7)", 7), ("os.exit(true)", 0), ("os.exit(false)", 1)] {
        let ended = Lab::new().run(format!("io.write('said') {call}"), &[]);
        assert_eq!((ended.code, ended.stdout().as_str()), (Some(code), "said"), "{call}");
    }
    let closing = "local t <close> = setmetatable({}, { __close = function() print('closed') end })
        os.exit(3, true)";
    let ended = Lab::new().run(closing, &[]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert_eq!(ended.stdout(), "closed\n");
}

#[test]
fn color_is_for_terminals_and_those_who_ask() {
    let lab = Lab::new();
    let script = lab.write("main.lua", "error('x', 0)");
    let label = |options: &[&str], no_color: Option<&str>| {
        let mut command = llmspell();
        command.args(options).arg("run").arg(&script);
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        finish(&mut command, b"").stderr.lines().next().unwrap().to_owned()
    };
    assert_eq!(label(&[], None), "Error: x");
    assert_eq!(label(&["--color", "always"], None), "\x1b[1;31mError:\x1b[0m x");
    assert_eq!(label(&["--color=always"], Some("1")), "\x1b[1;31mError:\x1b[0m x");
    assert_eq!(label(&["--color", "never"], None), "Error: x");
    // After the subcommand, too.
    let after = finish(llmspell().args(["exec", "--color=always", "error('x', 0)"]), b"");
    assert!(after.stderr.starts_with("\x1b[1;31m"), "{}", after.stderr);
}

#[test]
fn wrong_usage_is_exit_code_2_with_a_suggestion() {
    let check = |arguments: &[&str], expected: &Expect| {
        let ended = finish(llmspell().args(arguments), b"");
        assert_eq!((ended.code, ended.stdout.len()), (Some(2), 0), "{arguments:?}");
        expected.assert_eq(&ended.stderr);
    };
    check(
        &["run", "--timout", "1", "x.lua"],
        &expect![[r"
        error: unexpected argument '--timout' found

          tip: a similar argument exists: '--timeout'
          tip: to pass '--timout' as a value, use '-- --timout'

        Usage: llmspell run --timeout <SECS> <SCRIPT> [ARGS]...

        For more information, try '--help'.
    "]],
    );
    check(
        &["rum", "x.lua"],
        &expect![[r"
        error: unrecognized subcommand 'rum'

          tip: a similar subcommand exists: 'run'

        Usage: llmspell [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "]],
    );
    check(
        &["run"],
        &expect![[r"
        error: the following required arguments were not provided:
          <SCRIPT>

        Usage: llmspell run <SCRIPT> [ARGS]...

        For more information, try '--help'.
    "]],
    );
    check(
        &["run", "--wait", "x.lua"],
        &expect![[r"
        error: the following required arguments were not provided:
          --dap <PORT>

        Usage: llmspell run --dap <PORT> --wait <SCRIPT> [ARGS]...

        For more information, try '--help'.
    "]],
    );
    check(
        &["run", "--memory", "much", "x.lua"],
        &expect![[r"
        error: invalid value 'much' for '--memory <SIZE>': unknown unit 'much'; write 512MB or 1GB

        For more information, try '--help'.
    "]],
    );
    check(
        &["run", "--timeout", "-1", "x.lua"],
        &expect![[r"
        error: unexpected argument '-1' found

          tip: to pass '-1' as a value, use '-- -1'

        Usage: llmspell run [OPTIONS] <SCRIPT> [ARGS]...

        For more information, try '--help'.
    "]],
    );
    check(
        &["run", "--dap", "70000", "x.lua"],
        &expect![[r"
        error: invalid value '70000' for '--dap <PORT>': 70000 is not in 0..=65535

        For more information, try '--help'.
    "]],
    );
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"], &["help", "exec"]] {
        let ended = finish(llmspell().args(arguments), b"");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!ended.stdout.is_empty());
    }
    let version = finish(llmspell().arg("--version"), b"").stdout();
    assert_eq!(version, format!("llmspell {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_memory_limit_is_an_error_that_can_be_caught() {
    let script = "
        local function grow() local t = {} while true do t[#t + 1] = string.rep('x', 1000) end end
        local ok, message = pcall(grow)
        print(ok, message)
        collectgarbage()
        print(pcall(string.rep, 'x', 1 << 30))
        local co = coroutine.create(grow)
        print(coroutine.resume(co))
        co = nil
        collectgarbage()
        print(xpcall(grow, function(m) return 'handled ' .. tostring(m) end))
        collectgarbage()
        print(#string.rep('y', 1 << 20))
        grow()";
    let ended = Lab::new().run(script, &["--memory", "16MB"]);
    expect![[r"
        exit code: 1
        stdout:
        false	Memory limit exceeded
        false	Memory limit exceeded
        false	Memory limit exceeded
        false	Memory limit exceeded
        1048576
        stderr:
        Error: Memory limit exceeded
    "]]
    .assert_eq(&ended.report());
}

#[test]
fn a_closed_pipe_ends_the_script() {
    for write in ["print(i)", "io.write(i, '\\n')", "io.stdout:write(i, '\\n')"] {
        let lab = Lab::new();
        let script =
            lab.write("main.lua", format!("local i = 0 while true do i = i + 1 {write} end"));
        let mut command = llmspell();
        command.arg("run").arg(script).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "1\n");
        let ended = collect(child);
        assert_eq!(ended.stderr, "", "a closed pipe is no error to talk about");
        assert_ne!(ended.code, Some(0), "{write}");
    }
}

#[test]
fn what_is_printed_before_an_error_comes_before_it() {
    let lab = Lab::new();
    let script = lab.write(
        "main.lua",
        "for i = 1, 3 do print(i) io.stderr:write('e', i, '\\n') end error('x', 0)",
    );
    let shell = format!("{} run {} 2>&1", env!("CARGO_BIN_EXE_llmspell"), script.display());
    let ended = finish(std::process::Command::new("sh").args(["-c", &shell]), b"");
    let text = ended.stdout();
    assert!(text.starts_with("1\ne1\n2\ne2\n3\ne3\nError: x\n"), "{text}");
}
