//! Children that get ready, fail, die and hang, and what is said about each.

use std::os::unix::net::UnixDatagram;

use super::*;

/// Starts a shell script as if it were a kernel.
fn start(script: &str, log: Option<&Path>, patience: Duration) -> anyhow::Result<Started> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    start_command(command, log, patience)
}

const LONG: Duration = Duration::from_mins(1);

#[test]
fn the_arguments_are_the_same_but_for_the_flag() {
    let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
    let given = words("kernel start --daemon --id a --log-file daemon.log");
    let expected = words("kernel start --id a --log-file daemon.log --daemon-child");
    assert_eq!(child_arguments(&given), expected);
    assert_eq!(child_arguments(&words("kernel start")), words("kernel start --daemon-child"));
}

#[test]
fn a_kernel_that_answers_is_ready_and_lives_on() {
    let directory = tempfile::tempdir().unwrap();
    let pid_path = directory.path().join("pid");
    let script = format!(
        "echo 'dap: listening'; echo $$ > {}; echo 'kernel: ready a'; exec >/dev/null 2>&1; \
         exec sleep 1000",
        pid_path.display()
    );
    assert_eq!(start(&script, None, LONG).unwrap(), Started::Ready);
    let pid: u32 = fs::read_to_string(&pid_path).unwrap().trim().parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap();
    assert_eq!(session, pid.to_string(), "in a session of its own");
    let target = fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    assert_eq!(target, Path::new("/dev/null"));
    assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
}

#[test]
fn be_a_process_with_another_file() {
    if env::var_os("NINE_OF_TEST").is_some() {
        assert!(Path::new("/proc/self/fd/9").exists());
        let script = "if [ -e /proc/self/fd/9 ]; then exit 9; fi; echo 'kernel: ready a'";
        assert_eq!(start(script, None, LONG).unwrap(), Started::Ready);
    }
}

#[test]
fn descriptors_are_not_inherited() {
    let inner = rerun("be_a_process_with_another_file", "NINE_OF_TEST", "".as_ref());
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 9</dev/null", "sh"]).arg(inner.get_program());
    command.args(inner.get_args()).env("NINE_OF_TEST", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_kernel_that_fails_has_its_exit_code_passed_on() {
    let started = start("echo 'some line'; exit 2", None, LONG);
    assert_eq!(started.unwrap(), Started::Ended(2));
    let silent = start("exit 0", None, LONG).unwrap_err();
    assert_eq!(silent.to_string(), "the kernel ended before it was ready");
}

#[test]
fn a_kernel_that_dies_is_told_with_the_end_of_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    fs::write(&log, "of an earlier kernel\n").unwrap();
    let script =
        format!("for i in $(seq 30); do echo line $i >> {}; done; kill -9 $$", log.display());
    let error = start(&script, Some(&log), LONG).unwrap_err().to_string();
    let start = "the kernel was ended by signal 9 while it started; its log ";
    assert!(error.starts_with(start), "{error}");
    assert!(error.ends_with("\n  line 29\n  line 30") && error.contains("line 11\n"), "{error}");
    assert!(!error.contains("line 10\n") && !error.contains("earlier"), "{error}");
}

#[test]
fn a_kernel_that_hangs_is_ended() {
    let script = "trap '' TERM; echo 'not ready yet'; while :; do sleep 0.1; done";
    let error = start(script, None, Duration::from_millis(200)).unwrap_err().to_string();
    assert!(error.contains("did not get ready within 0.2 s and was ended"), "{error}");
    let pid: String = error.chars().filter(char::is_ascii_digit).collect();
    let pid = pid.trim_end_matches("02");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let error = start_command(Command::new("/no/such/program"), None, LONG).unwrap_err();
    assert!(format!("{error:#}").starts_with("cannot start the kernel in the background"));
}

/// This test's own program, in a process of its own, with a variable.
fn rerun(name: &str, variable: &str, value: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", &format!("kernel::daemon::tests::{name}"), "--nocapture"]);
    command.env(variable, value);
    command
}

#[test]
fn be_a_detaching_process() {
    let Some(log) = env::var_os("LOG_OF_TEST") else { return };
    io::stdout().write_all(b"\nkernel: ready a\n").unwrap();
    detach(Some(Path::new(&log))).unwrap();
    io::stdout().write_all(b"to nobody\n").unwrap();
    io::stderr().write_all(b"to the log\n").unwrap();
}

#[test]
fn who_has_detached_writes_to_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let command = rerun("be_a_detaching_process", "LOG_OF_TEST", log.as_os_str());
    let output = { command }.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.ends_with("kernel: ready a\n"), "{text}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "to the log\n");
}

#[test]
fn be_a_notifying_process() {
    if env::var_os("NOTIFY_SOCKET_OF_TEST").is_some() {
        for state in [State::Ready, State::Reloading, State::Stopping] {
            notify_systemd(state);
        }
    }
}

#[test]
fn systemd_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = rerun("be_a_notifying_process", "NOTIFY_SOCKET_OF_TEST", path.as_os_str());
    assert!(command.env("NOTIFY_SOCKET", &path).output().unwrap().status.success());
    socket.set_nonblocking(true).unwrap();
    let told = std::iter::from_fn(|| {
        let mut text = [0; 200];
        let length = socket.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).into_owned())
    });
    let told: Vec<String> = told.collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "READY=1\n");
    assert!(told[1].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told:?}");
    assert_eq!(told[2], "STOPPING=1\n");
}
