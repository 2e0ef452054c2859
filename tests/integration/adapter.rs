//! `llmspell dap`: the adapter that editors start, over its standard streams.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    dap_client::DapClient,
    lab::{Lab, PATIENCE, connect, connect_with, llmspell},
};

fn adapter() -> DapClient {
    adapter_of(&mut llmspell())
}

fn adapter_of(command: &mut Command) -> DapClient {
    let mut client = DapClient::spawn(command.arg("dap").stderr(Stdio::inherit()));
    client.deadline = PATIENCE;
    client
}

/// A script that has been launched, and the number of its process.
fn launched(lab: &Lab, script: &str) -> (DapClient, PathBuf, u32) {
    let path = lab.write("main.lua", script);
    let mut client = adapter();
    client.launch(json!({ "program": path }), |_| ());
    let process = client.expect_event("process")["systemProcessId"].as_u64().unwrap();
    (client, path, u32::try_from(process).unwrap())
}

fn lives(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

fn kill(process: u32) {
    Command::new("kill").args(["-9", &process.to_string()]).status().unwrap();
}

/// The program is over with this code; everything is said once.
fn ends(client: &mut DapClient, code: i64) {
    assert_eq!(client.expect_event("exited")["exitCode"], code);
    client.expect_event("terminated");
    client.request("disconnect", Value::Null);
    assert_eq!(client.expect_exit(), Some(0));
    for event in ["exited", "terminated", "initialized"] {
        assert!(client.take_events(event).is_empty(), "{event} came twice");
    }
}

#[test]
fn a_program_gets_arguments_directory_and_environment() {
    let lab = Lab::new();
    lab.write("elsewhere/here.txt", "found");
    let path = lab.write(
        "main.lua",
        "print(#arg, ...)
print(os.getenv('ADDED'), os.getenv('REMOVED'), os.getenv('KEPT'), os.getenv('EMPTY'))
print(io.open('here.txt'):read('a'))
print(io.read('a'))
os.exit(3)",
    );
    let mut command = llmspell();
    command.env("REMOVED", "still there").env("KEPT", "kept");
    let mut client = adapter_of(&mut command);
    let arguments = json!({
        "program": path, "args": ["a b", "--dap", ""], "cwd": lab.path().join("elsewhere"),
        "env": { "ADDED": "added", "REMOVED": null, "EMPTY": "" },
    });
    client.launch(arguments, |_| ());
    client.expect_event("exited");
    client.expect_event("terminated");
    assert_eq!(client.output_of("stdout"), "3\ta b\t--dap\t\nadded\tnil\tkept\t\nfound\n\n");
    client.request("disconnect", Value::Null);
    assert_eq!(client.expect_exit(), Some(0));
}

#[test]
fn a_relative_program_is_found_in_its_directory() {
    let lab = Lab::new();
    lab.write("sub/main.lua", "print('found')");
    let mut client = adapter();
    client.launch(json!({ "program": "main.lua", "cwd": lab.path().join("sub") }), |_| ());
    client.expect_output("found\n");
    ends(&mut client, 0);
}

#[test]
fn output_of_other_programs_arrives_too() {
    let lab = Lab::new();
    let (mut client, ..) = launched(
        &lab,
        "os.execute('echo from the shell; echo and its stderr >&2') print('from Lua')",
    );
    ends(&mut client, 0);
    let stdout = client.output_of("stdout");
    assert!(stdout.contains("from the shell\n") && stdout.contains("from Lua\n"), "{stdout}");
    assert!(client.output_of("stderr").contains("and its stderr\n"));
}

#[test]
fn a_program_that_is_killed_ends_with_that() {
    let lab = Lab::new();
    let (mut client, _, process) = launched(&lab, "print('ready') while true do end");
    client.expect_output("ready");
    kill(process);
    let said = client.expect_event_where("output", |body| body["category"] == "console");
    assert_eq!(said["output"], "the program was killed by signal 9\n");
    ends(&mut client, 137);
}

#[test]
fn a_program_killed_while_it_is_stopped_ends_too() {
    let lab = Lab::new();
    let path = lab.write("main.lua", "print('here')");
    let mut client = adapter();
    client.launch(json!({ "program": path, "stopOnEntry": true }), |_| ());
    let process = client.expect_event("process")["systemProcessId"].as_u64().unwrap();
    client.expect_stop("entry");
    let pending = client.send("evaluate", json!({ "expression": "while true do end" }));
    kill(u32::try_from(process).unwrap());
    client.answer(pending).unwrap_err();
    ends(&mut client, 137);
}

#[test]
fn a_program_stuck_in_native_code_is_terminated() {
    let lab = Lab::new();
    let (mut client, _, process) =
        launched(&lab, "print('ready') os.execute('exec sleep 30') print('never')");
    client.expect_output("ready");
    client.request("terminate", json!({}));
    let code = client.expect_event("exited")["exitCode"].as_i64().unwrap();
    assert!([143, 137].contains(&code), "{code}");
    client.expect_event("terminated");
    client.request("disconnect", Value::Null);
    assert_eq!(client.expect_exit(), Some(0));
    assert!(!lives(process));
}

#[test]
fn a_disconnect_takes_a_stuck_program_along() {
    let lab = Lab::new();
    let (mut client, _, process) = launched(&lab, "print('ready') os.execute('exec sleep 30')");
    client.expect_output("ready");
    client.request("disconnect", Value::Null);
    assert_eq!(client.expect_exit(), Some(0));
    assert!(!lives(process));
}

#[test]
fn an_editor_that_vanishes_takes_all_with_it() {
    for script in ["while true do end", "Async.sleep(1e6)", "while true do pcall(error) end"] {
        let lab = Lab::new();
        let (mut client, _, process) = launched(&lab, &format!("print('ready') {script}"));
        client.expect_output("ready");
        client.hang_up();
        assert_eq!(client.expect_exit(), Some(0));
        assert!(!lives(process), "{script}");
    }
}

#[test]
fn a_program_may_be_left_alone() {
    let lab = Lab::new();
    let flag = lab.path().join("flag");
    let (mut client, _, process) = launched(
        &lab,
        &format!("print('ready') while not io.open('{}') do Async.sleep(0.01) end", flag.display()),
    );
    client.expect_output("ready");
    client.request("disconnect", json!({ "terminateDebuggee": false }));
    assert_eq!(client.expect_exit(), Some(0));
    assert!(lives(process));
    kill(process);
}

#[test]
fn a_restart_keeps_process_breakpoints_and_arguments() {
    let lab = Lab::new();
    let path =
        lab.write("main.lua", "count = (count or 0) + 1\nprint(count, ...)\nAsync.sleep(1e6)");
    let mut client = adapter();
    client.launch(json!({ "program": path, "args": ["x"] }), |client| {
        client.set_breakpoints(&path, &[2]);
    });
    for _ in 0..3 {
        client.stop_at("breakpoint", 2);
        assert_eq!(client.evaluate("count"), "1");
        client.request("restart", json!({}));
    }
    client.stop_at("breakpoint", 2);
    client.go("continue");
    client.expect_output("1\tx\n");
    client.request("restart", json!({}));
    client.stop_at("breakpoint", 2);
    client.request("terminate", json!({}));
    ends(&mut client, 143);
}

#[test]
fn bad_requests_leave_the_adapter_alive() {
    let lab = Lab::new();
    let mut client = adapter();
    let early = client.try_request("launch", json!({})).unwrap_err();
    assert!(early.contains("before 'initialize'"), "{early}");
    client.initialize();
    let nothing = client.send("launch", json!({}));
    let response = client.response(nothing);
    assert_eq!(response["body"]["error"]["showUser"], true, "{response}");
    let missing = lab.path().join("missing.lua");
    let error = client.try_request("launch", json!({ "program": missing })).unwrap_err();
    assert!(error.contains("missing.lua"), "{error}");
    let error = client.try_request("attach", json!({ "port": 1 })).unwrap_err();
    assert!(error.starts_with("cannot connect to 127.0.0.1:1: "), "{error}");
    assert!(error.ends_with("start the script with: llmspell run --dap 1 script.lua"), "{error}");
    for arguments in [
        json!({ "program": 1 }),
        json!({ "program": "x.lua", "args": "a b" }),
        json!({ "program": "x.lua", "env": ["A=b"] }),
        json!({ "program": "x.lua", "cwd": "/no/such/directory" }),
    ] {
        client.try_request("launch", arguments).unwrap_err();
    }
    client.send_raw(b"Content-Length: 2\r\n\r\nxx");
    assert!(client.answer(0).unwrap_err().contains("not JSON"));
    // And now properly.
    let path = lab.write("main.lua", "print('at last')");
    let launch = client.send("launch", json!({ "program": path }));
    client.expect_event("initialized");
    client.request("configurationDone", Value::Null);
    client.answer(launch).unwrap();
    client.expect_output("at last\n");
    ends(&mut client, 0);
}

#[test]
fn a_syntax_error_is_told_and_ends_the_program() {
    let lab = Lab::new();
    let path = lab.write("main.lua", "local = 1");
    let mut client = adapter();
    client.launch(json!({ "program": path }), |_| ());
    assert_eq!(client.expect_event("exited")["exitCode"], 1);
    client.expect_event("terminated");
    let stderr = client.output_of("stderr");
    assert!(stderr.contains("main.lua:1:"), "{stderr}");
    client.request("disconnect", Value::Null);
    assert_eq!(client.expect_exit(), Some(0));
}

#[test]
fn a_syntax_error_is_told_to_an_adapter_that_takes_its_time() {
    let mut program = connect_with("local = 1", &["--wait", "--output-to-debugger"]);
    for _ in 0..5 {
        // Runs to its end; so would the program, if it did not wait.
        Lab::new().run("for i = 1, 1e6 do end", &[]);
    }
    program.initialize();
    let launch = program.send("launch", json!({}));
    program.expect_event("initialized");
    program.request("configurationDone", Value::Null);
    program.answer(launch).unwrap();
    program.ends_with(1);
    let stderr = program.output_of("stderr");
    assert!(stderr.contains("main.lua:1:"), "{stderr}");
}

#[test]
fn a_connection_that_is_lost_ends_the_session() {
    let mut program = connect("print('ready') while true do end");
    let port: u16 = program.address.rsplit(':').next().unwrap().parse().unwrap();
    let mut client = adapter();
    client.attach(json!({ "port": port }), |_| ());
    client.expect_output("ready");
    program.initialize();
    let refusal = program.try_request("attach", json!({})).unwrap_err();
    assert!(refusal.contains("another debugger"), "{refusal}");
    let seq = client.send("evaluate", json!({ "expression": "while true do end" }));
    client.request("cancel", json!({ "requestId": seq }));
    assert_eq!(client.answer(seq).unwrap_err(), "cancelled");
    program.process.as_mut().unwrap().kill().unwrap();
    let said = client.expect_event_where("output", |body| body["category"] == "console");
    assert_eq!(said["output"], "the connection to the program is lost\n");
    client.expect_event("terminated");
    client.try_request("threads", Value::Null).unwrap_err();
    client.request("disconnect", Value::Null);
    assert_eq!(client.expect_exit(), Some(0));
}

#[test]
fn an_attached_program_outlives_the_adapter() {
    let mut program = connect("n = 0 while n >= 0 do n = n + 1 end");
    let port: u16 = program.address.rsplit(':').next().unwrap().parse().unwrap();
    for farewell in [true, false] {
        let mut client = adapter();
        client.initialize();
        while client.try_request("attach", json!({ "port": port })).is_err() {}
        client.request("configurationDone", Value::Null);
        if farewell {
            client.request("disconnect", Value::Null);
        } else {
            client.hang_up();
        }
        assert_eq!(client.expect_exit(), Some(0));
        assert!(program.process.as_mut().unwrap().try_wait().unwrap().is_none());
    }
}
