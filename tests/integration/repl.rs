//! `llmspell repl`: with a prompt in a real terminal, and without one in a pipe.

use std::{fs, process::Command};

use crate::{
    kernel_process::KernelProcess,
    lab::{Ended, Lab, finish, llmspell},
    terminal::Terminal,
};

/// Calls a function with a breakpoint in it.
const SCRIPT: &str = "\
local function add(n)
  local m = n + 1
  return m
end
return add(4)
";

/// Lines through a pipe, in a directory of their own.
fn pipe(lines: impl AsRef<[u8]>, options: &[&str]) -> Ended {
    let lab = Lab::new();
    lab.write("main.lua", SCRIPT);
    let mut command = llmspell();
    command.arg("repl").args(options).current_dir(lab.path()).env("LLMSPELL_HOME", lab.path());
    finish(&mut command, lines.as_ref()).in_place_of(lab.path())
}

#[test]
fn a_pipe_gets_output_values_and_nothing_else() {
    let ended =
        pipe("#!/bin/sh\nprint('a')\n\n1 + 1\n= {1, {2}}\nfor i = 1, 2 do\n  print(i)\nend", &[]);
    assert_eq!(ended.report(), "exit code: 0\nstdout:\na\n2\n{ 1, { 2 } }\n1\n2\nstderr:\n");
    let ended = pipe("io.stderr:write('x') io.write('y')", &["--color", "never"]);
    assert_eq!(ended.report(), "exit code: 0\nstdout:\nystderr:\nx");
    assert_eq!(pipe("", &[]).report(), "exit code: 0\nstdout:\nstderr:\n");
}

#[test]
fn errors_in_a_pipe_are_told_at_the_end_and_stop_nothing() {
    let ended = pipe("error('no')\nx = = 1\nprint('on')\nfunction f(", &[]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stdout(), "on\n");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines[..2], ["Error: cell 1:1: no", "stack traceback:"]);
    assert!(lines.contains(&"Error: cell 2:1: unexpected symbol near '='"), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("Error: cell 4:1: "), "{lines:?}");
    let ended = pipe(b"'\xe9'\n1\n", &[]);
    assert_eq!((ended.code, ended.stdout()), (Some(1), "1\n".to_owned()));
    assert!(ended.stderr.starts_with("Error: the line is not UTF-8"), "{ended:?}");
}

#[test]
fn os_exit_and_quit_end_the_prompt() {
    let ended = pipe("print(1)\nos.exit(7)\nprint(2)\n", &[]);
    assert_eq!(ended.report(), "exit code: 7\nstdout:\n1\nstderr:\n");
    let ended = pipe("print(1)\n.quit\nprint(2)\n", &[]);
    assert_eq!(ended.report(), "exit code: 0\nstdout:\n1\nstderr:\n");
}

#[test]
fn a_breakpoint_stops_a_pipe_too_and_keeps_nobody() {
    let ended =
        pipe(".break main.lua:3\n.load main.lua\nm\nm = 9\n.where\n.continue\n'after'\n", &[]);
    let stdout = ended.stdout();
    let stopped = "stopped: breakpoint at [DIR]/main.lua:3\n    3    return m\n5\n";
    assert!(stdout.contains(stopped), "{stdout}");
    assert!(stdout.ends_with("\n9\n\"after\"\n"), "{stdout}");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = pipe(".break main.lua:3\n.load main.lua\n", &[]);
    assert!(ended.stdout().ends_with(stopped), "{ended:?}");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_running_kernel_can_be_used() {
    let kernel = KernelProcess::start(llmspell(), &["--repl", "--token", "secret"]);
    let address = format!("tcp://127.0.0.1:{}", kernel.port());
    let repl = |options: &[&str], lines: &str| {
        let mut command = llmspell();
        command.arg("repl").args(options).env("LLMSPELL_HOME", &kernel.home);
        finish(&mut command, lines.as_bytes())
    };
    let ended = repl(&["--kernel", &kernel.id], "x = 5\nos.exit(3)\n'on'\n");
    assert_eq!(ended.stdout(), "os.exit(3) ends the cell, not the kernel\n\"on\"\n");
    let ended = repl(&["--connect", &address, "--token", "secret"], "x\nerror('no')\n");
    assert_eq!((ended.code, ended.stdout()), (Some(1), "5\n".to_owned()), "{ended:?}");
    let refused = repl(&["--connect", &address], "x\n");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("asks for its token"), "{refused:?}");
    let unknown = repl(&["--kernel", "nobody"], "");
    let message = format!("Error: no kernel 'nobody' runs here; there are: {}\n", kernel.id);
    assert_eq!((unknown.code, unknown.stderr), (Some(1), message));
    let alone = repl(&["--token", "x"], "");
    assert!(alone.stderr.contains("give --connect or --kernel"), "{alone:?}");
    let wrong = repl(&["--connect", "somewhere"], "");
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[test]
fn a_kernel_that_goes_away_is_named() {
    let kernel = KernelProcess::start(llmspell(), &["--repl"]);
    let mut command = llmspell();
    command.args(["repl", "--kernel", &kernel.id]).env("LLMSPELL_HOME", &kernel.home);
    // Ends the process that it runs in.
    let lines = format!("os.execute('kill -9 {}')\n'never'\n", kernel.child.id());
    let ended = finish(&mut command, lines.as_bytes());
    assert_eq!((ended.code, ended.stdout()), (Some(1), String::new()), "{ended:?}");
    assert!(ended.stderr.contains("Error: the "), "{ended:?}");
}

/// A prompt in a terminal, with its home in the lab.
fn prompt(options: &str) -> Terminal {
    let terminal = Terminal::new(SCRIPT, 80, 24);
    start(&terminal, options);
    terminal
}

fn start(terminal: &Terminal, options: &str) {
    terminal.launch("LLMSPELL_HOME=$PWD/home", &format!("repl {options}"));
    terminal.shows(&["Ctrl-D leaves.", "\n>"]);
}

/// Waits for the screen to end so.
fn ends(terminal: &Terminal, text: &str) {
    terminal.wait_for(text, |screen| screen.trim_end().ends_with(text));
}

#[test]
fn values_are_printed_and_chunks_may_have_several_lines() {
    let terminal = prompt("");
    terminal.line("1 + 1");
    ends(&terminal, "> 1 + 1\n2\n>");
    terminal.line("=({a = 1})");
    ends(&terminal, "\n{ a = 1 }\n>");
    terminal.line("for i = 1, 2 do");
    terminal.line("print(i * 10)");
    terminal.line("end");
    ends(&terminal, "\nend\n10\n20\n>");
    terminal.line("io.write('part'); return 3");
    ends(&terminal, "\npart\n3\n>");
    terminal.line("error('no')");
    terminal.shows(&["Error: cell 5:1: no", "stack traceback:"]);
    // It comes whole from the history, and can be changed as a whole.
    terminal.press(&["Up", "Up", "Up"]);
    ends(&terminal, "> for i = 1, 2 do\nprint(i * 10)\nend");
    terminal.press(&["Enter"]);
    ends(&terminal, "\nend\n10\n20\n>");
    terminal.press(&["C-d"]);
    terminal.has_ended(0);
}

#[test]
fn ctrl_c_drops_the_line_or_interrupts_what_runs() {
    let terminal = prompt("");
    terminal.text("this is dropped");
    terminal.press(&["C-c"]);
    ends(&terminal, "> this is dropped\n>");
    terminal.line("function f(");
    terminal.press(&["C-c"]);
    terminal.line("x = 4 print('runs') while true do end");
    terminal.shows(&["\nruns\n"]);
    terminal.press(&["C-c"]);
    terminal.shows(&["Error: interrupted"]);
    terminal.line("x");
    ends(&terminal, "> x\n4\n>");
    terminal.line(".quit");
    terminal.has_ended(0);
}

#[test]
fn values_commands_and_files_are_completed() {
    let terminal = prompt("");
    terminal.line("config = { model = 'm', retries = 2 }");
    terminal.text("config.re");
    terminal.press(&["Tab"]);
    ends(&terminal, "> config.retries");
    terminal.press(&["Enter"]);
    ends(&terminal, "\n2\n>");
    terminal.text(".loc");
    terminal.press(&["Tab"]);
    ends(&terminal, "> .locals");
    terminal.press(&["C-c"]);
    terminal.text(".load mai");
    terminal.press(&["Tab"]);
    ends(&terminal, "> .load main.lua");
    terminal.press(&["Enter"]);
    ends(&terminal, "\n5\n>");
    terminal.press(&["C-d"]);
    terminal.has_ended(0);
}

#[test]
fn a_breakpoint_makes_it_a_debug_prompt() {
    let terminal = prompt("");
    terminal.line(".break main.lua:3");
    terminal.shows(&["breakpoint 1 main.lua:3"]);
    terminal.line("print(dofile('main.lua'))");
    terminal.shows(&["main.lua:3\n    3    return m\ndebug main.lua:3>"]);
    terminal.line("m + 1");
    ends(&terminal, "> m + 1\n6\ndebug main.lua:3>");
    terminal.line("m = 20");
    terminal.line(".next");
    terminal.shows(&["stopped: step", "debug cell 1:1>"]);
    terminal.line(".continue");
    ends(&terminal, "\n20\n>");
    terminal.line("dofile('main.lua')");
    ends(&terminal, "debug main.lua:3>");
    terminal.press(&["C-d"]);
    terminal.shows(&["Ctrl-D again lets it go on"]);
    terminal.press(&["C-d"]);
    terminal.shows(&["\n5\n"]);
    terminal.has_ended(0);
}

#[test]
fn what_was_typed_is_remembered() {
    let terminal = prompt("");
    terminal.line("first = 1");
    terminal.line("first");
    ends(&terminal, "\n1\n>");
    terminal.press(&["C-d"]);
    terminal.has_ended(0);
    let history = terminal.lab.path().join("home/repl_history");
    assert_eq!(fs::read_to_string(&history).unwrap(), "#V2\nfirst = 1\nfirst\n");
    start(&terminal, "");
    terminal.press(&["Up", "Up"]);
    ends(&terminal, "> first = 1");
    terminal.press(&["C-c"]);
    ends(&terminal, "> first = 1\n>");
    terminal.press(&["C-d"]);
    terminal.has_ended(0);
    fs::write(&history, b"#V2\n\xff\0\n").unwrap();
    terminal.launch("LLMSPELL_HOME=$PWD/home", "repl");
    terminal.shows(&["is damaged; it is now", "repl_history.bad", "\n>"]);
    terminal.line("'works'");
    ends(&terminal, "\n\"works\"\n>");
    terminal.press(&["C-d"]);
    terminal.has_ended(0);
    assert!(history.with_file_name("repl_history.bad").exists());
    let own = "LLMSPELL_HOME=$PWD/home LLMSPELL_REPL_HISTORY=$PWD/own";
    terminal.launch(own, "repl");
    terminal.shows(&["leaves.\n>"]);
    terminal.line("2");
    ends(&terminal, "\n2\n>");
    terminal.press(&["C-d"]);
    terminal.has_ended(0);
    assert_eq!(fs::read_to_string(terminal.lab.path().join("own")).unwrap(), "#V2\n2\n");
}

#[test]
fn color_is_used_only_where_it_is_wanted() {
    let check = |environment: &str, options: &str, expected: bool| {
        let terminal = Terminal::new("", 80, 24);
        terminal.launch(&format!("{environment} LLMSPELL_HOME=$PWD/home"), options);
        terminal.shows(&["leaves.\n>"]);
        terminal.line("return 'text'");
        ends(&terminal, "\n\"text\"\n>");
        let painted = terminal.painted();
        let line = painted.lines().find(|line| line.contains("'text'")).unwrap();
        assert_eq!(line.contains("\x1b["), expected, "{environment} {options}: {line:?}");
    };
    check("", "repl", true);
    check("NO_COLOR=1", "repl", false);
    check("", "--color never repl", false);
    check("NO_COLOR=1", "--color always repl", true);
}

#[test]
fn a_terminal_that_can_do_nothing_has_a_prompt_too() {
    let terminal = Terminal::new("", 80, 24);
    terminal.launch("TERM=dumb LLMSPELL_HOME=$PWD/home", "repl");
    terminal.shows(&["leaves.\n>"]);
    terminal.line("for i = 1, 2 do");
    terminal.line("print(i * 10) end");
    ends(&terminal, "\n10\n20\n>");
    terminal.press(&["C-d"]);
    terminal.has_ended(0);
}

#[test]
fn the_terminal_is_given_back_when_it_is_terminated() {
    let terminal = prompt("");
    terminal.text("half a li");
    ends(&terminal, "> half a li");
    terminal.signal("TERM");
    terminal.has_ended(143);
    start(&terminal, "");
    // Native code that Ctrl-C cannot reach.
    terminal.line("print('in') io.popen('trap \"\" INT; touch deaf; exec sleep 99'):read('a')");
    terminal.shows(&["\nin\n"]);
    terminal.wait_for("the child", |_| terminal.lab.path().join("deaf").exists());
    terminal.press(&["C-c"]);
    terminal.press(&["C-c"]);
    terminal.has_ended(130);
}

#[test]
fn what_others_say_does_not_tear_the_line() {
    let kernel = KernelProcess::start(llmspell(), &["--repl"]);
    let terminal = Terminal::new("", 80, 24);
    let home = kernel.home.display();
    terminal.launch(&format!("LLMSPELL_HOME={home}"), &format!("repl --kernel {}", kernel.id));
    terminal.shows(&[&format!("kernel {} (llmspell ", kernel.id), "leaves.\n>"]);
    terminal.text("1 + 2");
    ends(&terminal, "> 1 + 2");
    let request = "POST /test/broadcast HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Content-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"text\":\"hello\"}  ";
    crate::kernel_process::exchange(kernel.connect("http"), request.as_bytes());
    ends(&terminal, "notice: hello\n> 1 + 2");
    terminal.press(&["Enter"]);
    ends(&terminal, "> 1 + 2\n3\n>");
    // Dies without a word, while a line is typed.
    terminal.text("half");
    ends(&terminal, "> half");
    let killed = Command::new("kill").args(["-9", &kernel.child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    terminal.shows(&["Error: the "]);
    terminal.has_ended(1);
}
