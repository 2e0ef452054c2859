//! A debug session from end to end, in the terminal.
//!
//! Runs `examples/travel.lua` with the real `llmspell` and talks to it over the
//! Debug Adapter Protocol, as an editor does: a breakpoint with a condition, the
//! stack, variables, an evaluation, a changed variable, steps, the output.

#[path = "../tests/support/dap_client.rs"]
#[allow(clippy::needless_pass_by_value, reason = "written for tests")]
mod dap_client;

use std::{
    env, fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use dap_client::{DapClient, StackFrame};
use serde_json::{Value, json};

/// Where the session stops, found by its text.
const STOP_LINE: &str = "local total = fare * request.people";
const CONDITION: &str = "request.city == \"Oslo\"";

fn main() -> ExitCode {
    match show(&mut Screen::new()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody to tell if that fails.
            let _ = writeln!(io::stderr(), "Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show(screen: &mut Screen) -> anyhow::Result<()> {
    let llmspell = llmspell()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/travel.lua");
    let text =
        fs::read_to_string(&script).with_context(|| format!("cannot read {}", script.display()))?;
    let source = Source { lines: text.lines().map(str::to_owned).collect() };
    let stop_line = source.find(STOP_LINE)?;

    screen.title("The script on its own")?;
    screen.typed("llmspell run examples/travel.lua")?;
    let output = Command::new(&llmspell).arg("run").arg(&script).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    screen.output(&String::from_utf8_lossy(&output.stdout))?;

    screen.title("The same script, with a debugger")?;
    screen.typed("llmspell run --dap 0 --wait examples/travel.lua")?;
    let mut command = Command::new(&llmspell);
    // What it prints comes as events.
    command.args(["run", "--dap", "0", "--wait"]).arg(&script).stdout(Stdio::null());
    let mut client = DapClient::spawn_tcp(&mut command);
    screen.said(&format!("dap: listening on {}", client.address))?;
    let mut set = Vec::new();
    client.attach(json!({}), |client| {
        let wanted = json!([{ "line": stop_line, "condition": CONDITION }]);
        set = client.set_breakpoints_with(&script, wanted);
    });
    screen.note(&format!("attached; breakpoint in line {stop_line}, if {CONDITION}"))?;

    let frame = client.stop_at("breakpoint", stop_line);
    ensure!(set.len() == 1, "one breakpoint was asked for, {} were set", set.len());
    screen.title("Stopped at the breakpoint")?;
    screen.source(&source, frame.line)?;
    screen.heading("Stack")?;
    let stack = client.stack_trace();
    for frame in &stack {
        screen.frame(frame)?;
    }
    let scopes = client.scopes(frame.id);
    for name in ["Locals", "Upvalues"] {
        let (_, reference) =
            scopes.iter().find(|(scope, _)| scope == name).context("a scope is missing")?;
        screen.heading(name)?;
        for (name, value) in client.variables(*reference) {
            screen.variable(&name, &value)?;
        }
    }

    screen.title("Look closer, and change something")?;
    let expression = "fare * request.people";
    screen.evaluation(expression, &client.evaluate(expression))?;
    let caller = stack.get(1).context("nobody has called the tool")?;
    let expression = "goal.budget // goal.people";
    let place = json!({ "expression": expression, "frameId": caller.id, "context": "repl" });
    let answer = client.request("evaluate", place);
    screen.evaluation_in(&caller.name, expression, text_of(&answer["result"])?)?;
    let locals = reference_of(&scopes, "Locals")?;
    let change = json!({ "variablesReference": locals, "name": "fare", "value": "fare - 70" });
    let changed = client.request("setVariable", change);
    screen.evaluation("fare = fare - 70", text_of(&changed["value"])?)?;

    screen.title("Step over, then out")?;
    client.go("next");
    client.expect_stop("step");
    let frame = top(&mut client)?;
    screen.source_line(&source, &frame)?;
    screen.evaluation("total", &client.evaluate("total"))?;
    client.go("stepOut");
    client.expect_stop("step");
    let frame = top(&mut client)?;
    screen.source_line(&source, &frame)?;

    screen.title("Continue to the end")?;
    client.go("continue");
    let exited = client.expect_event("exited");
    client.expect_event("terminated");
    screen.output(&client.output_of("stdout"))?;
    client.request("disconnect", Value::Null);
    let code = client.expect_exit();
    ensure!(code == Some(0) && exited["exitCode"] == 0, "the script failed: {code:?}");
    screen.note("The script has ended with exit code 0. With the fare changed, it booked.")?;
    Ok(())
}

/// The binary that cargo has built beside this example.
fn llmspell() -> anyhow::Result<PathBuf> {
    let example = env::current_exe().context("cannot tell where this example is")?;
    let profile = example.parent().and_then(Path::parent).context("the example has moved")?;
    let llmspell = profile.join(format!("llmspell{}", env::consts::EXE_SUFFIX));
    if !llmspell.is_file() {
        let release = profile.file_name().is_some_and(|name| name == "release");
        let flag = if release { " --release" } else { "" };
        bail!("{} is missing; build it with: cargo build{flag}", llmspell.display());
    }
    Ok(llmspell)
}

fn top(client: &mut DapClient) -> anyhow::Result<StackFrame> {
    client.stack_trace().into_iter().next().context("a stopped program has a frame")
}

fn reference_of(scopes: &[(String, i64)], name: &str) -> anyhow::Result<i64> {
    let scope = scopes.iter().find(|(scope, _)| scope == name);
    Ok(scope.with_context(|| format!("there is no scope {name}"))?.1)
}

fn text_of(value: &Value) -> anyhow::Result<&str> {
    value.as_str().with_context(|| format!("not a text: {value}"))
}

/// The script's text.
struct Source {
    lines: Vec<String>,
}

impl Source {
    /// The number of the line that reads `text`.
    fn find(&self, text: &str) -> anyhow::Result<i64> {
        let index = self.lines.iter().position(|line| line.trim() == text);
        let index = index.with_context(|| format!("the script has no line '{text}'"))?;
        Ok(i64::try_from(index)? + 1)
    }

    fn line(&self, number: i64) -> Option<&str> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.lines.get(index).map(String::as_str)
    }
}

/// The terminal, or whatever standard output is.
struct Screen {
    out: io::Stdout,
    color: bool,
    n_titles: u32,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const YELLOW: &str = "1;33";
const CYAN: &str = "36";

impl Screen {
    fn new() -> Self {
        let out = io::stdout();
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let color = wanted && out.is_terminal();
        Self { out, color, n_titles: 0 }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", text.trim_end())
    }

    fn title(&mut self, text: &str) -> io::Result<()> {
        if self.n_titles > 0 {
            self.line("")?;
        }
        self.n_titles += 1;
        let title = format!("{}. {text}", self.n_titles);
        self.line(&self.paint(BOLD, &title))
    }

    /// A command line.
    fn typed(&mut self, text: &str) -> io::Result<()> {
        self.line(&format!("   {} {text}", self.paint(GREEN, "$")))
    }

    /// What a command says about itself.
    fn said(&mut self, text: &str) -> io::Result<()> {
        self.line(&format!("   {}", self.paint(DIM, text)))
    }

    fn note(&mut self, text: &str) -> io::Result<()> {
        self.line(&format!("   {text}"))
    }

    /// What the script printed.
    fn output(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            self.line(&format!("   {} {line}", self.paint(DIM, "|")))?;
        }
        Ok(())
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        self.line(&format!("   {}", self.paint(BOLD, text)))
    }

    /// The lines around the one where the script stands.
    fn source(&mut self, source: &Source, current: i64) -> io::Result<()> {
        for number in current - 2..=current + 2 {
            let Some(text) = source.line(number) else { continue };
            let mark = if number == current { "->" } else { "  " };
            let line = format!("   {mark} {number:>3}  {text}");
            let style = if number == current { YELLOW } else { DIM };
            self.line(&self.paint(style, line.trim_end()))?;
        }
        Ok(())
    }

    /// The one line where the script stands.
    fn source_line(&mut self, source: &Source, frame: &StackFrame) -> io::Result<()> {
        let text = source.line(frame.line).unwrap_or_default();
        let line = format!("   -> {:>3}  {text}", frame.line);
        self.line(&self.paint(YELLOW, &line))
    }

    fn frame(&mut self, frame: &StackFrame) -> io::Result<()> {
        let file = Path::new(&frame.source).file_name().unwrap_or_default().to_string_lossy();
        let place = if file.is_empty() { String::new() } else { format!("{file}:{}", frame.line) };
        self.line(&format!("     {:<12} {}", frame.name, self.paint(DIM, &place)))
    }

    fn variable(&mut self, name: &str, value: &str) -> io::Result<()> {
        self.line(&format!("     {} = {value}", self.paint(CYAN, name)))
    }

    /// An evaluation in another frame than the topmost.
    fn evaluation_in(&mut self, frame: &str, expression: &str, value: &str) -> io::Result<()> {
        let place = self.paint(DIM, &format!("(in {frame})"));
        self.evaluation(&format!("{expression}  {place}"), value)
    }

    fn evaluation(&mut self, expression: &str, value: &str) -> io::Result<()> {
        self.line(&format!("   {} {expression}", self.paint(GREEN, ">")))?;
        self.line(&format!("     {value}"))
    }
}
