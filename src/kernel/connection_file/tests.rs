//! Files as others see them: whole, private, and gone with their kernel.

use std::{
    net::Ipv4Addr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::*;
use crate::kernel::pid_file::{PidFile, tests::SetOnDrop};

fn places() -> (tempfile::TempDir, Places) {
    let home = tempfile::tempdir().unwrap();
    let places = Places::in_home(home.path());
    (home, places)
}

fn connection(places: &Places, id: &str, port: u16) -> Connection {
    Connection {
        id: id.to_owned(),
        pid: std::process::id(),
        started_at: now(),
        host: Ipv4Addr::LOCALHOST.into(),
        port,
        protocols: [("repl".to_owned(), port), ("dap".to_owned(), port + 1)].into(),
        token: Some("secret".to_owned()),
        version: "1.2.3".to_owned(),
        executable: "/usr/bin/llmspell".into(),
        config_file: None,
        pid_file: places.pid_file(id).unwrap(),
    }
}

#[test]
fn a_file_is_private_whole_and_removed_at_the_end() {
    let (_home, places) = places();
    let path = places.connection_file("a").unwrap();
    let said = connection(&places, "a", 9555);
    let file = said.clone().publish(&path).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(Connection::read(&path).unwrap(), said);
    let directory = path.parent().unwrap();
    assert_eq!(fs::read_dir(directory).unwrap().count(), 1, "nothing is left over");
    // Replaced, not written over: whoever reads the old one reads on.
    let again = connection(&places, "a", 9565).publish(&path).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), metadata.ino());
    drop(file);
    assert_eq!(Connection::read(&path).unwrap().port, 9565, "no longer that of the first");
    drop(again);
    assert!(!path.exists());
}

#[test]
fn a_file_that_was_left_half_written_is_no_obstacle_and_no_trap() {
    let (home, places) = places();
    let path = places.connection_file("a").unwrap();
    let precious = home.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    std::os::unix::fs::symlink(&precious, path.with_file_name(".a.json.new")).unwrap();
    let _file = connection(&places, "a", 1).publish(&path).unwrap();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(Connection::read(&path).unwrap().port, 1);
}

#[test]
fn unknown_fields_are_fine_and_broken_files_are_told() {
    let (_home, places) = places();
    let pid_file = PidFile::claim(&places.pid_file("a").unwrap()).unwrap();
    let path = places.connection_file("a").unwrap();
    let mut json = serde_json::to_value(connection(&places, "a", 9555)).unwrap();
    json["later"] = 1.into();
    fs::write(&path, json.to_string()).unwrap();
    fs::write(path.with_file_name("b.json"), "{\"id\": ").unwrap();
    json["id"] = "../a".into();
    fs::write(path.with_file_name("c.json"), json.to_string()).unwrap();
    fs::write(path.with_file_name("notes.txt"), "not one").unwrap();
    let found = discover(&places);
    assert_eq!(found.live.len(), 1, "{found:?}");
    assert_eq!(found.live[0].1.id, "a");
    let mut broken: Vec<_> = found.broken.iter().map(|(_, reason)| reason.as_str()).collect();
    broken.sort_unstable();
    assert_eq!(broken.len(), 2, "{found:?}");
    assert!(broken[0].contains("b.json is no connection file: EOF while"), "{broken:?}");
    assert!(broken[1].contains("c.json is no connection file: '../a' cannot"), "{broken:?}");
    drop(pid_file);
}

#[test]
fn what_dead_kernels_left_is_removed() {
    let (_home, places) = places();
    let live = PidFile::claim(&places.pid_file("live").unwrap()).unwrap();
    for (id, port) in [("live", 9565), ("dead", 9555), ("long-dead", 9575)] {
        let path = places.connection_file(id).unwrap();
        std::mem::forget(connection(&places, id, port).publish(&path).unwrap());
    }
    let pid_of_dead = places.pid_file("dead").unwrap();
    fs::write(&pid_of_dead, std::process::id().to_string()).unwrap();
    // After a restart of the system even the directory may be gone.
    let path = places.connection_file("elsewhere").unwrap();
    let mut elsewhere = connection(&places, "elsewhere", 9585);
    elsewhere.pid_file = "/no/such/directory/elsewhere.pid".into();
    std::mem::forget(elsewhere.publish(&path).unwrap());
    let found = discover(&places);
    assert_eq!(found.live.len(), 1, "{found:?}");
    let mut stale: Vec<_> = found.stale.iter().map(|(_, it)| it.id.as_str()).collect();
    stale.sort_unstable();
    assert_eq!(stale, ["dead", "elsewhere", "long-dead"], "{found:?}");
    assert!(!pid_of_dead.exists());
    let again = discover(&places);
    assert!(again.live.len() == 1 && again.stale.is_empty() && again.broken.is_empty());
    drop(live);
    assert_eq!(discover(&places).stale.len(), 1);
}

#[test]
fn a_kernel_that_starts_again_is_never_taken_for_the_dead_one() {
    let (_home, places) = places();
    let (path, pid_path) = (places.connection_file("a").unwrap(), places.pid_file("a").unwrap());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _at_the_end = SetOnDrop(&done);
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let found = discover(&places);
                    assert!(found.broken.is_empty(), "{found:?}");
                }
            });
        }
        for round in 0..150 {
            let pid_file = PidFile::claim(&pid_path).unwrap();
            let mut said = connection(&places, "a", 9555);
            said.started_at = round.to_string();
            let file = said.publish(&path).unwrap();
            let found = Connection::read(&path).unwrap_or_else(|error| panic!("{error:#}"));
            assert_eq!(found.started_at, round.to_string());
            let found = discover(&places);
            assert_eq!(found.live.len(), 1, "{round}: {found:?}");
            if round % 2 == 0 {
                // As if it had been killed: both files stay.
                std::mem::forget(file);
                fs::hard_link(&pid_path, pid_path.with_extension("kept")).unwrap();
                drop(pid_file);
                fs::rename(pid_path.with_extension("kept"), &pid_path).unwrap();
            }
        }
    });
}

/// Long enough for whoever does not wait for the lock to be done without it.
const A_WHILE: Duration = Duration::from_millis(200);

#[test]
fn nothing_is_removed_while_somebody_writes() {
    let (_home, places) = places();
    let path = places.connection_file("a").unwrap();
    // Of a kernel that is dead.
    std::mem::forget(connection(&places, "a", 9555).publish(&path).unwrap());
    let writing = lock(path.parent().unwrap()).unwrap();
    let (sender, discovered) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(discover(&places)).unwrap());
        discovered.recv_timeout(A_WHILE).unwrap_err();
        // It has seen the stale file. Now a kernel starts under the same id.
        let _pid_file = PidFile::claim(&places.pid_file("a").unwrap()).unwrap();
        drop(writing);
        let found = discovered.recv().unwrap();
        assert!(found.live.len() == 1 && found.stale.is_empty(), "{found:?}");
        assert!(path.exists());
    });
}

#[test]
fn nothing_is_written_while_somebody_removes() {
    let (_home, places) = places();
    let path = places.connection_file("a").unwrap();
    let removing = lock(path.parent().unwrap()).unwrap();
    let (sender, published) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(connection(&places, "a", 9555).publish(&path)).unwrap());
        published.recv_timeout(A_WHILE).unwrap_err();
        assert!(!path.exists());
        drop(removing);
        let file = published.recv().unwrap().unwrap();
        assert!(path.exists());
        drop(file);
    });
}

#[test]
fn the_time_is_rfc_3339() {
    let now = now();
    let shape: String = now.chars().map(|it| if it.is_ascii_digit() { '0' } else { it }).collect();
    assert!(shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z'), "{now}");
}

#[test]
fn tokens_are_not_shown() {
    let (_home, places) = places();
    assert!(!format!("{:?}", connection(&places, "a", 1)).contains("secret"));
}
