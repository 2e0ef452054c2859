//! A real terminal: tmux, with a server and a shell for each test. What is on its
//! screen is asked for until it is what is expected, or the test's patience ends.

use std::{
    fs,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::lab::{Lab, PATIENCE};

/// How often the screen is asked for.
const AGAIN: Duration = Duration::from_millis(20);

/// A shell in a terminal of its own.
pub(crate) struct Terminal {
    pub(crate) lab: Lab,
    socket: String,
}

impl Terminal {
    /// A terminal of this size; the script will be `main.lua`.
    pub(crate) fn new(script: &str, columns: u32, rows: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let lab = Lab::new();
        lab.write("main.lua", script);
        let socket = format!("llmspell-{}-{number}", std::process::id());
        let terminal = Self { lab, socket };
        let version = Command::new("tmux").arg("-V").output();
        assert!(version.is_ok(), "these tests need tmux: install the Debian package 'tmux'");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let size = ["-x", columns.as_str(), "-y", rows.as_str()];
        let shell = "exec bash --norc --noprofile";
        terminal.tmux(&[&["new-session", "-d"], size.as_slice(), &[shell]].concat());
        terminal.tmux(&["set-option", "-g", "window-size", "manual"]);
        terminal.line("PS1='ready> '; clear");
        terminal.wait_for("the prompt", |screen| screen.trim() == "ready>");
        terminal
    }

    pub(crate) fn tmux(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        for name in ["TMUX", "NO_COLOR", "RUST_LOG", "LUA_PATH", "LUA_PATH_5_4", "LUA_INIT"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8").current_dir(self.lab.path());
        command.args(["-u", "-L", &self.socket, "-f", "/dev/null"]).args(arguments);
        let output = command.output().expect("tmux starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {arguments:?}: {said}");
        output
    }

    /// Presses keys, by tmux's names of them.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types text.
    pub(crate) fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Types a line.
    pub(crate) fn line(&self, text: &str) {
        self.text(text);
        self.press(&["Enter"]);
    }

    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// The screen with its escape sequences.
    pub(crate) fn painted(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-e"]).stdout).into_owned()
    }

    pub(crate) fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{what} does not come:\n{screen}");
            thread::sleep(AGAIN);
        }
    }

    /// Waits until all of these are on the screen.
    pub(crate) fn shows(&self, texts: &[&str]) -> String {
        self.wait_for(&format!("{texts:?}"), |screen| texts.iter().all(|it| screen.contains(it)))
    }

    /// Starts llmspell with these words before its name and behind it. Afterwards
    /// the shell says how it has ended.
    pub(crate) fn launch(&self, environment: &str, arguments: &str) {
        self.line("stty -a > before");
        let binary = env!("CARGO_BIN_EXE_llmspell");
        self.line(&format!("clear; {environment} '{binary}' {arguments}; echo code=$?"));
    }

    /// The process id of what runs.
    pub(crate) fn process(&self) -> String {
        let output = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.split_whitespace().next().expect("it runs").to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.process()]).status();
        assert!(status.unwrap().success());
    }

    /// What ran has ended so, and the terminal is as it was before.
    pub(crate) fn has_ended(&self, code: i64) -> String {
        let screen = self.shows(&[&format!("code={code}\n")]);
        let alternate = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(String::from_utf8_lossy(&alternate.stdout).trim(), "0 1", "{screen}");
        self.line("stty -a > after; clear; echo com''pared");
        self.shows(&["compared\n"]);
        let read = |name: &str| fs::read_to_string(self.lab.path().join(name)).unwrap();
        assert_eq!(read("before"), read("after"));
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        // It may never have started.
        let _ = command.args(["-L", &self.socket, "kill-server"]).output();
    }
}
