//! Garbage on the wire, a lot of it, while a script runs: the script does not
//! notice and a debugger can still come.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
};

use serde_json::{Value, json};

use crate::{
    dap_client::DapClient,
    dice::Dice,
    lab::{PATIENCE, connect_with},
};

const COMMANDS: [&str; 30] = [
    "initialize",
    "attach",
    "launch",
    "configurationDone",
    "setBreakpoints",
    "evaluate",
    "setFunctionBreakpoints",
    "setExceptionBreakpoints",
    "threads",
    "stackTrace",
    "scopes",
    "variables",
    "continue",
    "next",
    "stepIn",
    "stepOut",
    "setVariable",
    "setExpression",
    "completions",
    "source",
    "loadedSources",
    "modules",
    "locations",
    "cancel",
    "breakpointLocations",
    "exceptionInfo",
    "x-unknown",
    "",
    "stepInTargets",
    "dataBreakpointInfo",
];

const KEYS: [&str; 20] = [
    "source",
    "path",
    "breakpoints",
    "line",
    "condition",
    "hitCondition",
    "logMessage",
    "expression",
    "frameId",
    "threadId",
    "variablesReference",
    "name",
    "value",
    "filters",
    "filterOptions",
    "startFrame",
    "levels",
    "count",
    "text",
    "column",
];

/// A value that may be anything.
fn any_value(dice: &mut Dice, depth: usize) -> Value {
    match dice.roll(if depth > 3 { 9 } else { 12 }) {
        0 => Value::Null,
        1 => json!(dice.roll(2) == 0),
        2 => json!(dice.roll(10)),
        3 => json!(-1),
        4 => json!(u64::MAX),
        5 => json!(i64::MIN),
        6 => json!(1.5e300),
        7 => json!(String::from_utf8_lossy(&dice.bytes(20))),
        8 => json!(dice.pick(&["", "\0", "1 +", "while", "{{{", "../../x", "file://", "main.lua"])),
        9 => (0..dice.roll(4)).map(|_| any_value(dice, depth + 1)).collect(),
        _ => any_object(dice, depth + 1),
    }
}

fn any_object(dice: &mut Dice, depth: usize) -> Value {
    let members = dice.roll(6);
    (0..members).map(|_| (dice.pick(&KEYS).to_owned(), any_value(dice, depth))).collect()
}

fn frame(body: &[u8]) -> Vec<u8> {
    [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// A frame that is well formed around a request that need not be.
fn any_request(dice: &mut Dice, seq: usize) -> Vec<u8> {
    let command = dice.pick(&COMMANDS);
    // The expressions of `evaluate` are harmless: the script must not notice.
    let arguments = any_value(dice, 0);
    let mut message =
        json!({ "seq": seq, "type": "request", "command": command, "arguments": arguments });
    match dice.roll(8) {
        0 => message["seq"] = any_value(dice, 3),
        1 => message["type"] = any_value(dice, 3),
        2 => message["command"] = any_value(dice, 3),
        _ => {}
    }
    let mut body = message.to_string().into_bytes();
    match dice.roll(12) {
        0 => body.truncate(dice.roll(body.len())),
        1 => {
            let at = dice.roll(body.len());
            body[at] = u8::try_from(dice.roll(256)).expect("a byte");
        }
        2 => body = dice.bytes(60),
        _ => {}
    }
    frame(&body)
}

/// The first words of somebody who is no debugger, or a broken one.
fn any_opening(dice: &mut Dice) -> Vec<u8> {
    let header = dice.pick(&[
        "Content-Length: 10\r\n\r\n{",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 99999999999999999999999\r\n\r\n",
        "Content-Length: 4294967296\r\n\r\n",
        "Content-Length: 18446744073709551615\r\n\r\nx",
        "Content-Length: 1e3\r\n\r\n",
        "Content-Length:\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "Content-Length: 2\r\n",
        "content-length:2\n\n{}",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\r\n\r\n\r\n",
        ":\r\n\r\n",
        "\u{0}",
        "",
        "Content-Type: x\r\n\r\n",
    ]);
    match dice.roll(4) {
        0 => dice.bytes(300),
        1 => [header.as_bytes(), &dice.bytes(50)].concat(),
        2 => {
            let mut request = any_request(dice, 1);
            request.truncate(dice.roll(request.len()));
            request
        }
        _ => header.as_bytes().to_vec(),
    }
}

/// Everything has gone through: a debugger comes, finds the script at work and
/// ends it by its own means.
fn the_script_lives(address: &str) -> Value {
    let mut client = DapClient::connect(address);
    client.deadline = PATIENCE;
    client.initialize();
    // Who was attached last may still be leaving.
    while let Err(error) = client.try_request("attach", json!({})) {
        assert!(error.contains("another debugger"), "{error}");
    }
    client.request("configurationDone", Value::Null);
    let over = json!({ "expression": "turn(true)", "context": "repl" });
    client.request("evaluate", over);
    let exited = client.expect_event("exited");
    client.expect_event("terminated");
    client.request("disconnect", Value::Null);
    exited
}

const SCRIPT: &str = "local n, over = 0, false
function turn(value) over = value end
while not over do n = n + 1 end
os.exit(n > 0 and 7 or 8)";

#[test]
fn ten_thousand_malformed_openings_do_no_harm() {
    let mut server = connect_with(SCRIPT, &[]);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..10_000 {
        let mut stream = TcpStream::connect(&server.address).expect("the door stays open");
        // The server may have hung up in the middle: that is its right.
        let _ = stream.write_all(&any_opening(&mut dice));
        match dice.roll(3) {
            0 => drop(stream),
            1 => {
                let _ = stream.shutdown(Shutdown::Both);
            }
            _ => {
                // Waits until the server has had its say.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }
    assert!(server.process.as_mut().unwrap().try_wait().unwrap().is_none(), "it still runs");
    let mut client = DapClient::connect(&server.address);
    client.deadline = PATIENCE;
    client.attach(json!({}), |_| ());
    client.request("disconnect", Value::Null);
    let address = server.address.clone();
    // `os.exit` leaves without a word.
    let mut last = DapClient::connect(&address);
    last.deadline = PATIENCE;
    last.attach(json!({}), |_| ());
    last.send("evaluate", json!({ "expression": "turn(true)", "context": "repl" }));
    assert_eq!(server.expect_exit(), Some(7));
}

#[test]
fn ten_thousand_malformed_requests_do_no_harm() {
    let script = SCRIPT.replace("os.exit(n > 0 and 7 or 8)", "error('seven', 0)");
    let mut server = connect_with(&script, &[]);
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for round in 0..20 {
        let mut stream = TcpStream::connect(&server.address).expect("the door stays open");
        let mut reader = stream.try_clone().unwrap();
        // Answers have to be read, or the server rightly stops listening.
        let reading = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = reader.read_to_end(&mut bytes);
            bytes.len()
        });
        let request = |seq: usize, command: &str, arguments: Value| {
            let message = json!({
                "seq": seq, "type": "request", "command": command, "arguments": arguments,
            });
            frame(message.to_string().as_bytes())
        };
        if round % 4 > 0 {
            stream.write_all(&request(1, "initialize", json!({}))).unwrap();
        }
        if round % 4 > 1 {
            stream.write_all(&request(2, "attach", json!({}))).unwrap();
        }
        if round % 4 > 2 {
            stream.write_all(&request(3, "pause", json!({ "threadId": 1 }))).unwrap();
        }
        for seq in 10..510 {
            stream.write_all(&any_request(&mut dice, seq)).expect("the server reads on");
        }
        // Somebody who has been paused must be let go.
        stream
            .write_all(&request(600, "disconnect", json!({ "terminateDebuggee": false })))
            .unwrap();
        assert!(reading.join().unwrap() > 0);
    }
    assert!(server.process.as_mut().unwrap().try_wait().unwrap().is_none(), "it still runs");
    assert_eq!(the_script_lives(&server.address.clone())["exitCode"], 1);
    assert_eq!(server.expect_exit(), Some(1));
}
