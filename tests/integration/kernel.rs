//! A kernel from its start to its end: its files, its signals, its flags.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::{
    kernel_process::KernelProcess,
    lab::{Lab, llmspell},
};

#[test]
fn its_files_are_there_while_it_runs_and_closed_to_others() {
    let lab = Lab::new();
    let mut kernel = KernelProcess::start_in(llmspell(), lab.path(), &["--id", "one", "--repl"]);
    assert_eq!(kernel.id, "one");
    let file = lab.path().join("kernels/one.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let connection: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(connection["pid"], kernel.child.id());
    assert_eq!(connection["port"], kernel.port());
    let mut second = llmspell();
    second.args(["kernel", "start", "--id", "one", "--port", "0"]).env("LLMSPELL_HOME", lab.path());
    let output = second.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("Error: a kernel 'one' runs already (process "), "{error}");
    kernel.signal("TERM");
    let (status, rest) = kernel.wait();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
    assert!(!file.exists());
    assert!(!lab.path().join("run/one.pid").exists());
}

#[test]
fn a_killed_kernel_blocks_nobody() {
    let lab = Lab::new();
    let mut kernel = KernelProcess::start_in(llmspell(), lab.path(), &["--id", "one"]);
    kernel.signal("KILL");
    kernel.wait();
    let again = KernelProcess::start_in(llmspell(), lab.path(), &["--id", "one"]);
    assert_eq!(again.json("/health")["id"], "one");
}

#[test]
fn a_changed_configuration_is_taken_over_as_far_as_it_can_be() {
    let lab = Lab::new();
    let file = lab.write("llmspell.toml", "[repl]\nenabled = false\n[kernel]\nmax_clients = 7\n");
    let kernel = KernelProcess::start_in(llmspell(), lab.path(), &["--watch-config"]);
    assert!(kernel.endpoints.contains_key("dap"), "the default");
    let text = "[repl]\nenabled = true\n[kernel]\nmax_clients = 8\nport = 9999\n";
    std::fs::write(file, text).unwrap();
    let end = std::time::Instant::now() + crate::kernel_process::DEADLINE;
    let reloaded = loop {
        let events = kernel.json("/events");
        let found = events.as_array().unwrap().iter().find(|it| {
            it["kind"] == "config.reloaded" && it["data"].to_string().contains("max_clients")
        });
        if let Some(event) = found {
            break event["data"].clone();
        }
        assert!(std::time::Instant::now() < end, "{events}");
    };
    assert!(reloaded["changed"].to_string().contains("kernel.max_clients"), "{reloaded}");
}

#[test]
fn nobody_for_long_enough_ends_it() {
    let mut kernel = KernelProcess::start(llmspell(), &["--idle-timeout", "1"]);
    assert_eq!(kernel.wait().0.code(), Some(0));
}

#[test]
fn two_interrupts_end_it_and_the_first_ends_what_runs() {
    let mut kernel = KernelProcess::start(llmspell(), &["--repl"]);
    kernel.signal("USR1");
    kernel.signal("USR2");
    kernel.signal("INT");
    assert_eq!(kernel.lines("print('still here')\n"), "still here\n");
    kernel.signal("INT");
    assert_eq!(kernel.wait().0.code(), Some(0));
}

#[test]
fn another_address_needs_a_token() {
    let mut command = llmspell();
    command.args(["kernel", "start", "--host", "0.0.0.0", "--port", "0"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--token"));
}
