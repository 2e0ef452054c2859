//! Claims, stale files, and those who look while a kernel starts.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;

fn a_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pid");
    (directory, path)
}

#[test]
fn a_file_that_is_held_names_its_holder() {
    let (_directory, path) = a_path();
    assert_eq!(holder(&path).unwrap(), None);
    let file = PidFile::claim(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    assert_eq!(holder(&path).unwrap(), Some(std::process::id()));
    let again = PidFile::claim(&path).unwrap_err();
    let expected = format!("the process {} holds {}", std::process::id(), path.display());
    assert_eq!(again.to_string(), expected);
    assert!(!remove_if_stale(&path).unwrap() && path.exists());
    drop(file);
    assert!(!path.exists());
}

#[test]
fn a_stale_file_blocks_nobody() {
    let (_directory, path) = a_path();
    // The number of a process that lives, and much longer than ours.
    fs::write(&path, format!("1\n{}", "x".repeat(1000))).unwrap();
    assert_eq!(holder(&path).unwrap(), None);
    let file = PidFile::claim(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    drop(file);
    fs::write(&path, "1").unwrap();
    assert!(remove_if_stale(&path).unwrap() && !path.exists());
    assert!(!remove_if_stale(&path).unwrap());
}

#[test]
fn a_file_that_another_has_put_there_is_left_alone() {
    let (directory, path) = a_path();
    let file = PidFile::claim(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "other").unwrap();
    drop(file);
    assert_eq!(fs::read_to_string(&path).unwrap(), "other");
    let missing = PidFile::claim(&directory.path().join("no/such.pid")).unwrap_err();
    assert!(matches!(missing, Claim::Failed { .. }) && missing.to_string().contains("such.pid"));
}

/// Ends the threads that wait for it, also when a test fails.
pub(in crate::kernel) struct SetOnDrop<'a>(pub(in crate::kernel) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// This test's own program, as a process that claims a file and waits.
fn holding_process(path: &Path) -> std::process::Child {
    let name = "kernel::pid_file::tests::be_a_holding_process";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("PID_FILE_OF_TEST", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("claimed")));
    child
}

#[test]
fn be_a_holding_process() {
    // Without the variable this is a test run like any other.
    let Some(path) = std::env::var_os("PID_FILE_OF_TEST") else { return };
    let _file = PidFile::claim(Path::new(&path)).unwrap();
    io::stdout().write_all(b"claimed\n").unwrap();
    let _ = io::stdin().read(&mut [0]);
}

#[test]
fn a_killed_holder_lets_go() {
    let (_directory, path) = a_path();
    let mut child = holding_process(&path);
    assert_eq!(holder(&path).unwrap(), Some(child.id()));
    let held = PidFile::claim(&path).unwrap_err();
    assert!(matches!(held, Claim::Held { pid, .. } if pid == Some(child.id())), "{held}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(path.exists());
    assert_eq!(holder(&path).unwrap(), None);
    PidFile::claim(&path).unwrap();
}

#[test]
fn those_who_look_and_clean_up_disturb_nobody() {
    let (_directory, path) = a_path();
    let done = AtomicBool::new(false);
    let own = std::process::id();
    thread::scope(|scope| {
        let _at_the_end = SetOnDrop(&done);
        for cleans in [false, false, true, true] {
            let (path, done) = (&path, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    assert!(holder(path).unwrap().is_none_or(|pid| pid == own));
                    if cleans {
                        remove_if_stale(path).unwrap();
                    }
                }
            });
        }
        for round in 0..300 {
            let file = PidFile::claim(&path).unwrap_or_else(|error| panic!("{round}: {error}"));
            assert!(is_at(&file.file, &path), "{round}: removed under its holder");
            assert!(matches!(PidFile::claim(&path), Err(Claim::Held { .. })));
            if round % 2 == 0 {
                // As a process that was killed would: the file stays.
                file.file.unlock().unwrap();
                std::mem::forget(file);
            }
        }
    });
}

#[test]
fn of_many_who_claim_one_has_it() {
    let (_directory, path) = a_path();
    for _ in 0..50 {
        let claims: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| PidFile::claim(&path))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1, "{claims:?}");
        let is_held = |claim: &&Result<PidFile, Claim>| matches!(claim, Err(Claim::Held { .. }));
        assert_eq!(claims.iter().filter(is_held).count(), 7, "{claims:?}");
    }
}
