//! The terminal debugger, in a real terminal.

use crate::{
    lab::{Lab, finish, llmspell},
    terminal::Terminal,
};

/// What these tests do with a terminal.
trait Debugger {
    /// Starts the debugger with these words before the script, and waits for its
    /// first stop.
    fn start(&self, environment: &str, options: &str);

    /// Leaves a script that has not ended.
    fn quit(&self);
}

impl Debugger for Terminal {
    fn start(&self, environment: &str, options: &str) {
        self.launch(environment, &format!("{options} debug main.lua"));
        self.shows(&["STOPPED", "entry"]);
    }

    fn quit(&self) {
        self.press(&["q"]);
        self.shows(&["Quit?"]);
        self.press(&["y"]);
        self.has_ended(143);
    }
}

const SHOP: &str = "\
local Basket = {}
local function add(basket, item)
  basket[#basket + 1] = item
  local count = #basket
  return count
end
local basket = setmetatable({}, { __index = Basket })
for _, name in ipairs({ 'apple', 'pear', 'plum' }) do
  local count = add(basket, { name = name, price = #name })
  print('basket has', count)
end
print('done')
";

#[test]
fn a_breakpoint_by_key_is_hit_and_the_frame_is_shown() {
    let terminal = Terminal::new(SHOP, 80, 24);
    terminal.start("", "");
    terminal.shows(&["▶  1 local Basket = {}", "main.lua:1  entry", "errors: uncaught"]);
    terminal.press(&["g"]);
    terminal.shows(&["go to line:"]);
    terminal.line("4");
    terminal.press(&["F9"]);
    terminal.shows(&["●   4   local count"]);
    terminal.press(&["F5"]);
    terminal.shows(&[
        "●▶  4   local count",
        "main.lua:4  breakpoint",
        "add",
        "item = {name = \"apple\"",
    ]);
    // Step over, and out.
    terminal.press(&["F10"]);
    terminal.shows(&["▶  5   return count", "main.lua:5  step", "count = 1"]);
    terminal.press(&["S-F11"]);
    terminal.shows(&["▶ 10   print", "main.lua:10  step", "count = 1"]);
    terminal.press(&["c"]);
    terminal.shows(&["main.lua:4  breakpoint", "basket has      1"]);
    // Removed again.
    terminal.press(&["b"]);
    terminal.wait_for("no breakpoint", |screen| !screen.contains('●'));
    terminal.press(&["F5"]);
    terminal.shows(&["ENDED", "exit code 0", "done"]);
    terminal.press(&["q"]);
    terminal.has_ended(0);
}

#[test]
fn values_are_evaluated_watched_opened_and_set() {
    let terminal = Terminal::new(SHOP, 80, 24);
    terminal.start("", "");
    terminal.press(&["g"]);
    terminal.line("5");
    terminal.press(&["b", "c"]);
    terminal.shows(&["main.lua:5  breakpoint"]);
    terminal.press(&[":"]);
    terminal.line("item.name .. '!'");
    terminal.shows(&["> item.name .. '!'", "\"apple!\""]);
    terminal.press(&["w"]);
    terminal.line("#basket * 10");
    terminal.shows(&["#basket * 10 = 10"]);
    // Statements count, too, and the watch sees them.
    terminal.press(&["e"]);
    terminal.line("basket.extra = 1; basket[2] = 'x'; print('said')");
    terminal.shows(&["said", "(no value)", "#basket * 10 = 20"]);
    // The same from the history.
    terminal.press(&[":", "Up", "Up", "Up", "Enter"]);
    terminal.shows(&["> item.name .. '!'\n\"apple!\"\n"]);
    // Open the table `item`: the second local.
    terminal.press(&["Tab", "Tab", "Down", "Down", "Right"]);
    terminal.shows(&["▾item", "name = \"apple\"", "price = 5"]);
    terminal.press(&["Down", "Down", "="]);
    terminal.shows(&["price = 5"]);
    terminal.press(&["BSpace"]);
    terminal.line("5 + 37");
    terminal.shows(&["price = 42"]);
    // The caller's frame.
    terminal.press(&["BTab", "Down", "Enter"]);
    terminal.shows(&["▷  9", "main.lua:9  breakpoint", "name = \"apple\""]);
    terminal.press(&["Tab", "Tab", "Delete"]);
    terminal.wait_for("no watch", |screen| !screen.contains("#basket * 10 ="));
    terminal.quit();
}

#[test]
fn an_error_stops_where_it_is_thrown_and_ends_with_its_traceback() {
    let script = "local function fail(order)\n  error('no ' .. order)\nend\nfail('tea')\n";
    let terminal = Terminal::new(script, 80, 24);
    terminal.start("", "");
    terminal.press(&["c"]);
    terminal.shows(&["ERROR", "uncaught error: no tea", "▶  2   error", "order = \"tea\""]);
    terminal.press(&["c"]);
    terminal.shows(&["ENDED", "exit code 1", "in function 'fail'"]);
    terminal.press(&["q"]);
    let screen = terminal.has_ended(1);
    assert!(screen.contains("Error: ") && screen.contains("main.lua:2: no tea"), "{screen}");
}

#[test]
fn caught_errors_stop_only_if_all_are_wanted() {
    let script = "print(pcall(error, 'caught'))\nprint(pcall(error, 'again'))\nprint('end')\n";
    let terminal = Terminal::new(script, 80, 24);
    terminal.start("", "");
    terminal.press(&["x"]);
    terminal.shows(&["errors: all"]);
    terminal.press(&["c"]);
    terminal.shows(&["ERROR", "caught error: caught"]);
    terminal.press(&["x"]);
    terminal.shows(&["errors: none"]);
    terminal.press(&["c"]);
    terminal.shows(&["exit code 0", "again"]);
    terminal.press(&["q"]);
    terminal.has_ended(0);
}

#[test]
fn breakpoints_show_their_state_and_have_conditions() {
    let terminal = Terminal::new(SHOP, 80, 24);
    terminal.lab.write("later.lua", "return 1\n\n\nreturn 2");
    terminal.start("", "");
    terminal.press(&["g"]);
    terminal.line("10");
    terminal.press(&["B"]);
    terminal.shows(&["stop if"]);
    terminal.line("count == 2");
    terminal.shows(&["on hits"]);
    terminal.line("");
    terminal.shows(&["instead of stopping"]);
    terminal.line("");
    terminal.shows(&["◆  10"]);
    terminal.press(&["c"]);
    terminal.shows(&["◆▶ 10", "count = 2"]);
    // Disabled: kept, but it does not stop.
    terminal.press(&["d"]);
    terminal.shows(&["×▶ 10"]);
    terminal.press(&["f"]);
    terminal.shows(&["open ("]);
    terminal.line("later.lua");
    terminal.shows(&["later.lua", "  1 return 1"]);
    terminal.press(&["b"]);
    terminal.shows(&["○   1 return 1", "pending"]);
    terminal.press(&["."]);
    terminal.shows(&["×▶ 10"]);
    terminal.press(&["d"]);
    terminal.shows(&["◆▶ 10"]);
    terminal.press(&["d"]);
    terminal.shows(&["×▶ 10"]);
    terminal.press(&["c"]);
    terminal.shows(&["exit code 0"]);
    terminal.press(&["q"]);
    terminal.has_ended(0);
}

#[test]
fn a_log_point_speaks_and_goes_on() {
    let terminal = Terminal::new(SHOP, 80, 24);
    terminal.start("", "");
    terminal.press(&["g"]);
    terminal.line("10");
    terminal.press(&["B"]);
    terminal.shows(&["stop if"]);
    terminal.line("");
    terminal.shows(&["on hits"]);
    terminal.line("% 2");
    terminal.shows(&["instead of stopping"]);
    terminal.line("now {count * 100}");
    terminal.shows(&["◆  10"]);
    terminal.press(&["c"]);
    terminal.shows(&["exit code 0"]);
    terminal.press(&["BTab", "Up", "Up"]);
    let screen = terminal.shows(&["lines back", "now 200"]);
    assert!(!screen.contains("now 100") && !screen.contains("now 300"), "{screen}");
    terminal.press(&["q"]);
    terminal.has_ended(0);
}

#[test]
fn the_screen_follows_the_size_of_the_terminal() {
    let terminal = Terminal::new(SHOP, 80, 24);
    terminal.start("", "");
    let resize = |columns: &str, rows: &str| {
        terminal.tmux(&["resize-window", "-x", columns, "-y", rows]);
    };
    let has_size = |screen: &str, columns: usize, rows: usize| {
        let widest = screen.lines().map(|line| line.chars().count()).max();
        screen.lines().count() == rows && widest == Some(columns)
    };
    resize("120", "40");
    terminal.wait_for("a larger picture", |screen| {
        has_size(screen, 120, 40)
            && screen.contains("Watches")
            && screen.contains("errors: uncaught")
    });
    resize("50", "14");
    let screen = terminal
        .wait_for("a narrow one", |screen| has_size(screen, 50, 14) && screen.contains("STOPPED"));
    assert!(screen.contains("Output") && !screen.contains("Watches"), "{screen}");
    terminal.press(&["Tab", "Tab"]);
    terminal.shows(&["[Variables]", "Locals"]);
    resize("30", "8");
    terminal.shows(&["too small", "need 40x10"]);
    resize("40", "10");
    terminal.shows(&["STOPPED", "▶  1 local Basket"]);
    resize("80", "24");
    terminal.shows(&["[Variables]", "Stack", "Watches", "Output", "errors: uncaught"]);
    terminal.quit();
}

#[test]
fn a_running_script_can_be_paused_and_interrupted() {
    let terminal = Terminal::new("local n = 0\nwhile true do\n  n = n + 1\nend\n", 80, 24);
    terminal.start("", "");
    terminal.press(&["c"]);
    terminal.shows(&["RUNNING"]);
    terminal.press(&["p"]);
    terminal.shows(&["STOPPED", "pause", "n = "]);
    terminal.press(&["c"]);
    terminal.shows(&["RUNNING"]);
    // Breakpoints reach it while it runs.
    terminal.press(&["g"]);
    terminal.line("3");
    terminal.press(&["b"]);
    terminal.shows(&["STOPPED", "●▶  3", "breakpoint"]);
    terminal.press(&["b", "c"]);
    terminal.shows(&["RUNNING"]);
    terminal.press(&["C-c"]);
    terminal.shows(&["STOPPED", "pause", "Ctrl-C again quits"]);
    terminal.press(&["C-c"]);
    terminal.has_ended(130);
}

#[test]
fn an_endless_evaluation_can_be_ended() {
    let terminal = Terminal::new(SHOP, 80, 24);
    terminal.start("", "");
    terminal.press(&[":"]);
    terminal.line("while true do end");
    terminal.shows(&["evaluating; Esc ends it"]);
    // The screen lives on.
    terminal.press(&["?"]);
    terminal.shows(&["Help", "step over"]);
    terminal.press(&["q"]);
    terminal.shows(&["evaluating; Esc ends it"]);
    terminal.press(&["Escape"]);
    terminal.wait_for("its end", |screen| {
        screen.contains("cancelled") && !screen.contains("evaluating")
    });
    terminal.press(&["n"]);
    terminal.shows(&["main.lua:6  step"]);
    terminal.quit();
}

#[test]
fn output_stays_in_its_pane_and_is_harmless() {
    let script = "\
print('plain', '\\27[31mred\\27[2J')
print(io.read('l'), #io.read('a'))
os.execute('echo from a child')
io.stderr:write('\u{65e5}\u{672c} \\xff\\n')
for i = 1, 20000 do print('line ' .. i) end
print('last')
";
    let terminal = Terminal::new(script, 80, 24);
    terminal.start("", "");
    terminal.press(&["n"]);
    terminal.shows(&["plain   ^[[31mred^[[2J", "main.lua:2"]);
    terminal.press(&["n"]);
    terminal.shows(&["nil     0", "main.lua:3"]);
    terminal.press(&["n"]);
    terminal.shows(&["from a child", "main.lua:4"]);
    terminal.press(&["n"]);
    terminal.shows(&["日本 \\xFF", "main.lua:5"]);
    terminal.press(&["c"]);
    terminal.shows(
        &["line 20000", "last", "exit code 0", "▸Globals"]
            .map(|it| if it == "▸Globals" { "Variables" } else { it }),
    );
    // It can be scrolled.
    terminal.press(&["BTab", "PgUp", "PgUp"]);
    let screen = terminal.shows(&["lines back", "line 19994"]);
    assert!(!screen.contains("\nlast"), "{screen}");
    terminal.press(&["End"]);
    terminal.shows(&["\nlast"]);
    terminal.press(&["q"]);
    terminal.has_ended(0);
}

#[test]
fn a_script_can_be_run_again() {
    let terminal = Terminal::new(SHOP, 80, 24);
    terminal.start("", "");
    terminal.press(&["g"]);
    terminal.line("9");
    terminal.press(&["b", "c"]);
    terminal.shows(&["main.lua:9  breakpoint"]);
    // In the middle of it.
    terminal.press(&["r"]);
    terminal.shows(&["started again", "main.lua:1  entry"]);
    terminal.press(&["c"]);
    terminal.shows(&["main.lua:9  breakpoint"]);
    // Keys that come faster than the steps end are not lost.
    terminal.press(&["n", "n", "n"]);
    terminal.shows(&["main.lua:9  breakpoint"]);
    terminal.press(&["b", "F11"]);
    terminal.shows(&["▶  3   basket", "main.lua:3  step"]);
    terminal.press(&["c"]);
    terminal.shows(&["exit code 0"]);
    // After its end, edited.
    terminal.lab.write("main.lua", "new = true\nprint('edited', old)\nold = true\n");
    terminal.press(&["r"]);
    terminal.shows(&["STOPPED", "main.lua:1  entry", "▶  1 new = true"]);
    terminal.press(&["c"]);
    terminal.shows(&["edited  nil", "exit code 0"]);
    terminal.press(&["r"]);
    terminal.shows(&["STOPPED", "main.lua:1  entry"]);
    terminal.press(&["c"]);
    terminal.shows(&["edited  nil", "exit code 0"]);
    terminal.press(&["q"]);
    terminal.has_ended(0);
}

#[test]
fn os_exit_ends_the_script_but_not_the_debugger() {
    let terminal = Terminal::new("print('before')\nos.exit(3)\n", 80, 24);
    terminal.start("", "");
    terminal.press(&["c"]);
    terminal.shows(&["ENDED", "os.exit(3)", "before"]);
    terminal.press(&["r"]);
    terminal.shows(&["STOPPED", "main.lua:1  entry"]);
    terminal.press(&["c"]);
    terminal.shows(&["ENDED", "os.exit(3)"]);
    terminal.press(&["q"]);
    terminal.has_ended(3);
}

#[test]
fn the_terminal_is_given_back_whatever_happens() {
    for (signal, code) in
        [("TERM", 143), ("INT", 130), ("HUP", 129), ("ABRT", 134), ("SEGV", 139), ("QUIT", 131)]
    {
        let terminal = Terminal::new("while true do end\n", 80, 24);
        terminal.start("", "");
        terminal.press(&["c"]);
        terminal.shows(&["RUNNING"]);
        terminal.signal(signal);
        terminal.has_ended(code);
    }
}

#[test]
fn native_code_that_does_not_return_is_left() {
    let terminal = Terminal::new("os.execute('exec sleep 600')\n", 80, 24);
    terminal.start("", "");
    terminal.press(&["c"]);
    terminal.shows(&["RUNNING"]);
    // A question that cannot begin is given up.
    terminal.press(&[":"]);
    terminal.line("1 + 1");
    terminal.shows(&["evaluating; Esc ends it"]);
    terminal.press(&["Escape"]);
    terminal.shows(&["cancelled"]);
    terminal.quit();
}

#[test]
fn a_suspended_debugger_comes_back() {
    let terminal = Terminal::new(SHOP, 80, 24);
    terminal.start("", "");
    terminal.press(&["C-z"]);
    terminal.shows(&["Stopped", "ready>"]);
    let alternate = terminal.tmux(&["display-message", "-p", "#{alternate_on}"]);
    assert_eq!(String::from_utf8_lossy(&alternate.stdout).trim(), "0");
    terminal.line("stty size; stty -a | grep -c ' icanon'");
    terminal.shows(&["24 80\n1\n"]);
    terminal.line("fg");
    terminal.shows(&["STOPPED", "main.lua:1  entry", "Watches"]);
    terminal.press(&["n"]);
    terminal.shows(&["main.lua:6  step"]);
    // `fg` says how it has ended.
    terminal.press(&["q", "y"]);
    terminal.wait_for("the shell", |screen| screen.trim_end().ends_with("ready>"));
    terminal.line("echo code=$?");
    terminal.has_ended(143);
}

/// Whether a painted screen has a color.
fn is_colored(painted: &str) -> bool {
    let sequences = painted.split("\x1b[").skip(1);
    let parameters = sequences.filter_map(|it| it.split_once('m').map(|(numbers, _)| numbers));
    parameters.flat_map(|it| it.split(';')).any(|number| {
        number.parse::<u32>().is_ok_and(|it| (30..=49).contains(&it) && it != 39 && it != 49)
    })
}

#[test]
fn color_is_used_only_where_it_is_wanted() {
    for (environment, options, colored) in [
        ("", "", true),
        ("NO_COLOR=1", "", false),
        ("", "--color never", false),
        ("NO_COLOR=1", "--color always", true),
    ] {
        let terminal = Terminal::new(SHOP, 80, 24);
        terminal.start(environment, options);
        terminal.press(&["b"]);
        terminal.shows(&["●▶  1"]);
        let painted = terminal.painted();
        assert_eq!(is_colored(&painted), colored, "{environment} {options}\n{painted:?}");
        terminal.quit();
    }
}

#[test]
fn a_terminal_without_unicode_gets_ascii() {
    let terminal = Terminal::new("local s = 'é'\nprint(s)\n", 80, 24);
    terminal.start("LC_ALL=C", "");
    terminal.press(&["b"]);
    let screen = terminal.shows(&["*>  1 local s = '?'", "-[", "Stack"]);
    assert!(screen.is_ascii(), "{screen}");
    terminal.quit();
}

#[test]
fn the_help_is_there() {
    let terminal = Terminal::new(SHOP, 80, 24);
    terminal.start("", "");
    terminal.press(&["?"]);
    terminal.shows(&["Help", "F5 c", "continue", "step over"]);
    terminal.press(&["PgDn"]);
    terminal.shows(&["no standard input", "Gutter"]);
    terminal.press(&["Escape"]);
    terminal.shows(&["STOPPED"]);
    terminal.press(&["/"]);
    terminal.line("Done");
    terminal.shows(&["'Done' is not in this source"]);
    terminal.quit();
}

#[test]
fn without_a_terminal_there_is_a_clear_error() {
    let lab = Lab::new();
    let path = lab.write("main.lua", "print(1)");
    let ended = finish(llmspell().arg("debug").arg(path), b"");
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stdout, b"");
    assert!(
        ended.stderr.starts_with("Error: standard input is not a terminal"),
        "{}",
        ended.stderr
    );
    for otherwise in ["llmspell dap", "run --dap"] {
        assert!(ended.stderr.contains(otherwise), "{}", ended.stderr);
    }
}

#[test]
fn a_script_that_does_not_compile_or_exist_is_named() {
    let terminal = Terminal::new("local = 1\n", 80, 24);
    let binary = env!("CARGO_BIN_EXE_llmspell");
    terminal.line("stty -a > before");
    terminal.line(&format!("clear; '{binary}' debug missing.lua; echo code=$?"));
    terminal.shows(&["Error: cannot open missing.lua"]);
    terminal.has_ended(1);
    terminal.line(&format!("clear; '{binary}' debug main.lua; echo code=$?"));
    terminal.shows(&["ENDED", "main.lua:1: <name> expected", "1 local = 1"]);
    terminal.press(&["q"]);
    terminal.has_ended(1);
}
