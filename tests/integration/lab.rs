//! What all subjects need: scripts in a directory of their own, the binary run
//! to its end, and the binary with a debugger attached.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Read, Write as _},
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::dap_client::DapClient;

/// How long anything may take, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The binary, with an environment that does not depend on who runs the tests.
pub(crate) fn llmspell() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmspell"));
    for name in ["RUST_LOG", "NO_COLOR", "LUA_PATH", "LUA_PATH_5_4", "LUA_INIT"] {
        command.env_remove(name);
    }
    let is_setting = |name: &OsString| name.to_string_lossy().starts_with("LLMSPELL_");
    for (name, _) in env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    // Where no configuration is.
    command.env("XDG_CONFIG_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/no-configuration"));
    command
}

/// A directory with scripts, gone at the end of the test.
pub(crate) struct Lab {
    directory: tempfile::TempDir,
    root: PathBuf,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().canonicalize().expect("it has a path");
        Self { directory, root }
    }

    pub(crate) fn path(&self) -> &Path {
        assert!(self.directory.path().exists());
        &self.root
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().expect("it is in the directory")).expect("a directory");
        fs::write(&path, content).expect("the script can be written");
        path
    }

    /// Runs a script, called `main.lua`, to its end.
    pub(crate) fn run(&self, script: impl AsRef<[u8]>, options: &[&str]) -> Ended {
        let path = self.write("main.lua", script);
        finish(llmspell().arg("run").args(options).arg(path), b"").in_place_of(&self.root)
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if a signal has killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("standard output is text")
    }

    /// Everything, for a snapshot.
    pub(crate) fn report(&self) -> String {
        let code = self.code.map_or("a signal".to_owned(), |code| code.to_string());
        format!("exit code: {code}\nstdout:\n{}stderr:\n{}", self.stdout(), self.stderr)
    }

    /// Writes `[DIR]` for the directory of the test.
    pub(crate) fn in_place_of(mut self, root: &Path) -> Self {
        self.stderr = self.stderr.replace(&*root.to_string_lossy(), "[DIR]");
        if let Ok(text) = String::from_utf8(self.stdout.clone()) {
            self.stdout = text.replace(&*root.to_string_lossy(), "[DIR]").into_bytes();
        }
        self
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command, stdin: &[u8]) -> Ended {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut input = child.stdin.take().expect("stdin is a pipe");
    // A child that does not read is not an error here.
    let _ = input.write_all(stdin);
    drop(input);
    collect(child)
}

/// Waits for the end of a process whose streams are pipes.
pub(crate) fn collect(mut child: Child) -> Ended {
    let stdout = child.stdout.take().map(gather);
    let stderr = child.stderr.take().map(gather);
    let mut receive = |stream: Option<mpsc::Receiver<Vec<u8>>>| {
        stream.map_or_else(Vec::new, |stream| {
            stream.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                // Fails if it has ended.
                let _ = child.kill();
                panic!("the process does not end");
            })
        })
    };
    let (stdout, stderr) = (receive(stdout), receive(stderr));
    let code = child.wait().expect("the process can be waited for").code();
    Ended { code, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
}

/// Reads a stream to its end on a thread of its own.
fn gather(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What has come before an error counts, too.
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// Sends a signal to a process.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(status.expect("there is a kill command").success());
}

/// A script with a debugger.
pub(crate) struct Debugged {
    client: DapClient,
    pub(crate) path: PathBuf,
    text: String,
    pub(crate) lab: Lab,
}

impl Deref for Debugged {
    type Target = DapClient;

    fn deref(&self) -> &DapClient {
        &self.client
    }
}

impl DerefMut for Debugged {
    fn deref_mut(&mut self) -> &mut DapClient {
        &mut self.client
    }
}

/// A script that waits for a debugger, and one that is connected to it but has
/// said nothing yet.
pub(crate) fn connect(text: &str) -> Debugged {
    connect_with(text, &["--wait"])
}

/// As [`connect`], with these options of `run`.
pub(crate) fn connect_with(text: &str, options: &[&str]) -> Debugged {
    let lab = Lab::new();
    let path = lab.write("main.lua", text);
    let mut command = llmspell();
    command.args(["run", "--dap", "0"]).args(options).arg(&path);
    let mut client = DapClient::spawn_tcp(command.stdout(Stdio::null()).stdin(Stdio::null()));
    client.deadline = PATIENCE;
    Debugged { client, path, text: text.to_owned(), lab }
}

/// Debugs a script with breakpoints on all lines with the comment `--@`.
pub(crate) fn debug(text: &str) -> Debugged {
    debug_with(text, |_| ())
}

/// As [`debug`]; `configure` may ask for more.
pub(crate) fn debug_with(text: &str, configure: impl FnOnce(&mut Debugged)) -> Debugged {
    let mut debugged = connect(text);
    debugged.initialize();
    let attach = debugged.send("attach", json!({}));
    debugged.expect_event("initialized");
    let lines = debugged.lines("--@");
    let path = debugged.path.clone();
    if !lines.is_empty() {
        debugged.set_breakpoints(&path, &lines);
    }
    configure(&mut debugged);
    debugged.request("configurationDone", Value::Null);
    debugged.answer(attach).expect("attaching succeeds");
    debugged
}

impl Debugged {
    /// The lines with this mark, a comment without spaces.
    pub(crate) fn lines(&self, mark: &str) -> Vec<u32> {
        let is_marked = |line: &str| line.split_whitespace().any(|word| word == mark);
        let marked = (1..).zip(self.text.lines()).filter(|(_, line)| is_marked(line));
        marked.map(|(number, _)| number).collect()
    }

    /// The one line with the comment `--NAME`.
    pub(crate) fn line(&self, name: &str) -> i64 {
        let lines = self.lines(&format!("--{name}"));
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        lines[0].into()
    }

    /// The topmost frame; the others may be many.
    pub(crate) fn top(&mut self) -> crate::dap_client::StackFrame {
        let page = json!({ "threadId": 1, "levels": 1 });
        let frame = self.request("stackTrace", page)["stackFrames"][0].clone();
        crate::dap_client::StackFrame {
            id: frame["id"].as_i64().expect("an id"),
            name: frame["name"].as_str().expect("a name").to_owned(),
            line: frame["line"].as_i64().expect("a line"),
            source: frame["source"]["path"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Waits for a stop in the line with the comment `--NAME`.
    pub(crate) fn stop_in(&mut self, reason: &str, name: &str) -> crate::dap_client::StackFrame {
        let line = self.line(name);
        self.expect_stop(reason);
        let frame = self.top();
        assert_eq!(frame.line, line, "{frame:?}\n{}", self.recent());
        frame
    }

    /// Switches error filters on.
    pub(crate) fn filter(&mut self, filters: &[&str]) {
        self.request("setExceptionBreakpoints", json!({ "filters": filters }));
    }

    /// Waits for the end of the script, which must be this, and leaves.
    pub(crate) fn ends_with(&mut self, code: i64) {
        let event = self.client.expect_event("exited");
        assert_eq!(event["exitCode"], code, "{}", self.client.recent());
        self.client.expect_event("terminated");
        // The program does not wait long for a farewell.
        self.client.hang_up();
        assert_eq!(self.client.expect_exit().map(i64::from), Some(code));
        let late = self.client.take_events("stopped");
        assert!(late.is_empty(), "nobody has looked at this stop: {late:?}");
    }

    /// Lets a stopped script go on to its end, which must be a good one.
    pub(crate) fn go_to_end(&mut self) {
        self.go("continue");
        self.ends_with(0);
    }

    /// What the script has printed, to the end of it.
    pub(crate) fn stdout(&self) -> String {
        self.client.output_of("stdout")
    }

    /// The lines of the debugger's own words.
    pub(crate) fn console(&self) -> Vec<String> {
        self.client.output_of("console").lines().map(str::to_owned).collect()
    }
}
