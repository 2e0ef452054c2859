//! A kernel in the background, and systemd's readiness protocol.
//!
//! A process with threads must not fork and go on (tokio's workers would be
//! missing in the child), so the program is executed again, in a session of its
//! own. The one who typed the command is told by the child's own output: the
//! lines that a kernel prints until it is ready, or its errors and exit code.
//! Only then does the child let go of these pipes, so that nothing it prints
//! later meets a closed one.

#![allow(unsafe_code)]

use std::{
    collections::VecDeque,
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::OpenOptionsExt as _,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use sd_notify::NotifyState;

/// The flag that asks for a kernel in the background.
pub const FLAG: &str = "--daemon";
/// The hidden flag of the process that is to be that kernel.
pub const CHILD_FLAG: &str = "--daemon-child";
/// What a kernel's last line before it answers begins with; its id follows.
pub const READY: &str = "kernel: ready ";

/// How long a kernel has to get ready.
const START_TIME: Duration = Duration::from_secs(10);
/// How long one that did not has to end, before it is killed.
const GRACE: Duration = Duration::from_secs(1);
/// How much of a log is shown.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 << 10;

/// How a kernel in the background began.
#[derive(Debug, PartialEq, Eq)]
pub enum Started {
    /// It answers.
    Ready,
    /// It has ended, with this exit code, after saying why.
    Ended(u8),
}

/// Executes this program again, with the same arguments, as a kernel in the
/// background; returns when that answers, or has failed. What it prints
/// meanwhile is passed on.
///
/// Its working directory stays the same: paths in its arguments, in its
/// configuration and in scripts mean what they meant to whoever typed them. The
/// price is that the file system of that directory stays in use.
///
/// # Errors
/// If it cannot be started, is killed, or does neither get ready nor end in
/// time; with the end of its log, if it has one.
pub fn start(log: Option<&Path>) -> anyhow::Result<Started> {
    let program = env::current_exe().context("cannot tell which program this is")?;
    let mut command = Command::new(program);
    let arguments: Vec<OsString> = env::args_os().collect();
    command.args(child_arguments(arguments.get(1..).unwrap_or_default()));
    start_command(command, log, START_TIME)
}

/// In the child, when it answers and has said so: lets go of the pipes to the
/// one who started it. From now on what is written to standard output is gone,
/// and what is written to standard error is in the log, if there is one.
pub fn detach(log: Option<&Path>) -> io::Result<()> {
    let nothing = OpenOptions::new().write(true).open("/dev/null")?;
    let errors = match log {
        Some(path) => OpenOptions::new().append(true).create(true).mode(0o600).open(path)?,
        None => nothing.try_clone()?,
    };
    // Fails only if nobody listens any more.
    let _ = io::stdout().flush();
    replace(&nothing, libc::STDOUT_FILENO)?;
    replace(&errors, libc::STDERR_FILENO)
}

/// What a service tells systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Ready,
    /// It reads its configuration anew; `Ready` follows.
    Reloading,
    /// It is about to end.
    Stopping,
}

/// Tells systemd, if it has asked to be told.
pub fn notify_systemd(state: State) {
    let told = match state {
        State::Ready => sd_notify::notify(&[NotifyState::Ready]),
        // With the time, as services of the type `notify-reload` have to.
        State::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        State::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    if let Err(error) = told {
        tracing::warn!(%error, ?state, "systemd could not be told");
    }
}

/// The same arguments, for the child. `--daemon` may also have come from the
/// configuration, so the child is told in any case.
fn child_arguments(arguments: &[OsString]) -> Vec<OsString> {
    let mut given: Vec<OsString> =
        arguments.iter().filter(|argument| *argument != FLAG).cloned().collect();
    given.push(CHILD_FLAG.into());
    given
}

/// What comes out of a child.
enum News {
    Line(Vec<u8>),
    /// Nothing comes any more, neither lines nor errors.
    OutputEnded,
    ErrorsEnded,
}

fn start_command(
    mut command: Command,
    log: Option<&Path>,
    patience: Duration,
) -> anyhow::Result<Started> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: between fork and exec only system calls are made, and nothing is
    // allocated.
    unsafe { command.pre_exec(leave_everything) };
    let seen_in_log = log.and_then(|path| fs::metadata(path).ok()).map_or(0, |it| it.len());
    let mut child = command.spawn().context("cannot start the kernel in the background")?;
    let news = listen(&mut child)?;
    let deadline = Instant::now() + patience;
    let is_ready = pass_on(&news, &mut io::stdout(), deadline);
    // Its errors have to be out before this process says more, or ends.
    let last_words = Instant::now() + GRACE;
    let tail = || log.map(|path| tail(path, seen_in_log)).unwrap_or_default();
    match is_ready {
        Some(true) => {
            wait_for_errors(&news, last_words);
            Ok(Started::Ready)
        }
        Some(false) => {
            wait_for_errors(&news, last_words);
            let status = child.wait().context("cannot tell how the kernel has ended")?;
            ended(status, &tail())
        }
        None => {
            let pid = child.id();
            end(&mut child);
            wait_for_errors(&news, Instant::now() + GRACE);
            let seconds = patience.as_secs_f32();
            let tail = tail();
            Err(anyhow!(
                "the kernel (process {pid}) did not get ready within {seconds} s and was ended{tail}"
            ))
        }
    }
}

/// In the child, before it becomes the program: a session without a terminal,
/// and no files but the three that it was given. (A pipe of the shell that was
/// kept open would never end for whoever reads it.)
fn leave_everything() -> io::Result<()> {
    // SAFETY: system calls with numbers. Descriptors are marked, not closed: one
    // of them tells the parent whether the program could be executed.
    unsafe {
        if libc::setsid() == -1 {
            return Err(io::Error::last_os_error());
        }
        let first = libc::STDERR_FILENO.unsigned_abs() + 1;
        let flags = libc::CLOSE_RANGE_CLOEXEC;
        if libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) == -1 {
            // Before Linux 5.11.
            for number in libc::STDERR_FILENO + 1..4096 {
                libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
    Ok(())
}

/// Reads what a child says; what it says on standard error is passed on at once.
fn listen(child: &mut Child) -> anyhow::Result<mpsc::Receiver<News>> {
    let (sender, news) = mpsc::channel();
    let output = child.stdout.take().context("the kernel has no output")?;
    let mut errors = child.stderr.take().context("the kernel has no error output")?;
    let lines = sender.clone();
    thread::Builder::new().name("llmspell-child-out".to_owned()).spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            // Fails if nobody waits any more.
            let _ = lines.send(News::Line(std::mem::take(&mut line)));
        }
        let _ = lines.send(News::OutputEnded);
    })?;
    thread::Builder::new().name("llmspell-child-err".to_owned()).spawn(move || {
        if io::copy(&mut errors, &mut io::stderr()).is_err() {
            // Nobody reads ours, which must not become the kernel's problem.
            let _ = io::copy(&mut errors, &mut io::sink());
        }
        let _ = sender.send(News::ErrorsEnded);
    })?;
    Ok(news)
}

/// Passes lines on, up to the one that says that the kernel is ready. `None`:
/// time is up; `false`: there are no more lines.
fn pass_on(news: &mpsc::Receiver<News>, output: &mut dyn Write, deadline: Instant) -> Option<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match news.recv_timeout(left).ok()? {
            News::Line(line) => {
                // A closed output is no reason to give up the kernel.
                let _ = output.write_all(&line).and_then(|()| output.flush());
                if line.starts_with(READY.as_bytes()) {
                    return Some(true);
                }
            }
            News::OutputEnded => return Some(false),
            News::ErrorsEnded => {}
        }
    }
}

fn wait_for_errors(news: &mpsc::Receiver<News>, deadline: Instant) {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match news.recv_timeout(left) {
            // The end, or somebody else has the pipe and keeps it.
            Ok(News::ErrorsEnded) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// What it means that a child ended before it was ready.
fn ended(status: ExitStatus, tail: &str) -> anyhow::Result<Started> {
    if let Some(signal) = status.signal() {
        return Err(anyhow!("the kernel was ended by signal {signal} while it started{tail}"));
    }
    match status.code() {
        // Without an error, but also without a kernel.
        Some(0) => Err(anyhow!("the kernel ended before it was ready{tail}")),
        code => Ok(Started::Ended(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))),
    }
}

/// Ends a child that does nothing: asks it to, and does not ask twice.
fn end(child: &mut Child) {
    let pid = libc::pid_t::try_from(child.id()).unwrap_or(0);
    if pid > 0 {
        // SAFETY: the number is that of a child which has not been waited for.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    // Fails only if it has ended after all.
    let _ = child.kill();
    let _ = child.wait();
}

/// The last lines that were added to a log, introduced; nothing if there are
/// none.
fn tail(path: &Path, from: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        // A shorter one is another file.
        let from = if length < from { 0 } else { from };
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL_BYTES))))?;
        let mut text = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().unwrap_or_default();
    let mut last = VecDeque::new();
    for line in String::from_utf8_lossy(&text).lines() {
        if last.len() == TAIL_LINES {
            last.pop_front();
        }
        last.push_back(format!("\n  {line}"));
    }
    if last.is_empty() {
        return String::new();
    }
    format!("; its log {} ends:{}", path.display(), String::from_iter(last))
}

fn replace(file: &File, descriptor: libc::c_int) -> io::Result<()> {
    // SAFETY: both are open descriptors; the old one is closed by the system.
    if unsafe { libc::dup2(file.as_raw_fd(), descriptor) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
