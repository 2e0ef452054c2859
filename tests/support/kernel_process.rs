//! A kernel as a process of its own, in a home of its own.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// How long an answer may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running `llmspell kernel start`, killed at the end of the test.
pub(crate) struct KernelProcess {
    pub(crate) child: Child,
    /// `HOST:PORT` by protocol, as it has printed them.
    pub(crate) endpoints: BTreeMap<String, String>,
    pub(crate) id: String,
    pub(crate) home: PathBuf,
    stdout: BufReader<ChildStdout>,
    /// Gone with the test; nobody reads it.
    #[allow(dead_code)]
    directory: Option<TempDir>,
}

impl KernelProcess {
    /// Starts one on free ports with these options.
    pub(crate) fn start(command: Command, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let home = directory.path().canonicalize().expect("it has a path");
        let mut kernel = Self::start_in(command, &home, options);
        kernel.directory = Some(directory);
        kernel
    }

    /// As [`KernelProcess::start`], with a given home.
    pub(crate) fn start_in(mut command: Command, home: &Path, options: &[&str]) -> Self {
        command.args(["kernel", "start"]).args(options);
        if !options.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        command.env("LLMSPELL_HOME", home).env("XDG_RUNTIME_DIR", home).current_dir(home);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the kernel starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (mut endpoints, mut id) = (BTreeMap::new(), String::new());
        while id.is_empty() {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).expect("the kernel prints text");
            assert!(read > 0, "the kernel ended before it was ready; it has printed {endpoints:?}");
            if let Some(ready) = line.strip_prefix("kernel: ready ") {
                ready.trim().clone_into(&mut id);
            } else if let Some((protocol, address)) = line.trim().split_once(": listening on ") {
                endpoints.insert(protocol.to_owned(), address.to_owned());
            }
        }
        Self { child, endpoints, id, home: home.to_owned(), stdout, directory: None }
    }

    /// A connection to the port of a protocol.
    pub(crate) fn connect(&self, protocol: &str) -> TcpStream {
        let address = &self.endpoints[protocol];
        let stream = TcpStream::connect(address).expect("the kernel listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("it is a socket");
        stream
    }

    /// The first of its five ports.
    pub(crate) fn port(&self) -> u16 {
        let http = &self.endpoints["http"];
        http.rsplit_once(':').expect("an address").1.parse().expect("a port")
    }

    /// What the line REPL answers to these lines.
    pub(crate) fn lines(&self, text: &str) -> String {
        exchange(self.connect("repl"), text.as_bytes())
    }

    /// Status and body of `GET path`.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = exchange(self.connect("http"), request.as_bytes());
        let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.unwrap_or_else(|| panic!("no HTTP: {answer}")), body.to_owned())
    }

    /// The document at a path, which must be there.
    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid).status();
        assert!(status.expect("there is a kill command").success());
    }

    /// Waits for its end; what else it has printed.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("the kernel prints text");
        (self.child.wait().expect("it can be waited for"), rest)
    }

    /// Open descriptors of the process.
    pub(crate) fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(path).expect("the kernel lives").count()
    }

    /// Memory of the process, in KiB.
    pub(crate) fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the kernel lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
        line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("a number")
    }
}

impl Drop for KernelProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends bytes and no more after them; what comes until the other side closes.
pub(crate) fn exchange(mut stream: TcpStream, bytes: &[u8]) -> String {
    // The other side may be faster with its refusal.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no end: {error}; so far {}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}
