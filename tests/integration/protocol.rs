//! The order of messages, refusals, and what a client may demand of the wire.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{
    dap_client::DapClient,
    lab::{Debugged, PATIENCE, connect, connect_with, debug, debug_with},
};

fn evaluate(expression: &str) -> Value {
    json!({ "expression": expression, "context": "repl" })
}

fn thread() -> Value {
    json!({ "threadId": 1 })
}

fn second(first: &Debugged) -> DapClient {
    let mut client = DapClient::connect(&first.address);
    client.deadline = PATIENCE;
    client
}

/// A program stopped in line 3, with a function that never ends.
fn stopped() -> Debugged {
    let mut debugged = debug(
        "local x = 16
local function loop() while true do end end
print(x) --@
x = x + 1
Async.sleep(1e6)",
    );
    debugged.expect_stop("breakpoint");
    debugged
}

fn refused(client: &mut DapClient, command: &str, arguments: Value, expected: &str) {
    assert_eq!(client.try_request(command, arguments).unwrap_err(), expected, "{command}");
}

#[test]
fn requests_have_an_order() {
    let mut client = connect("print('over')");
    refused(&mut client, "threads", Value::Null, "'threads' before 'initialize'");
    let capabilities = client.request("initialize", json!({ "adapterID": "x" }));
    assert_eq!(capabilities["supportsConfigurationDoneRequest"], true);
    assert_eq!(capabilities["exceptionBreakpointFilters"][1]["default"], true);
    client.expect_event("initialized");
    refused(&mut client, "initialize", json!({}), "already initialized");
    refused(&mut client, "x-unknown", Value::Null, "unsupported request 'x-unknown'");
    let early = "not attached: send 'attach' or 'launch' first";
    for command in ["evaluate", "terminate", "pause", "stackTrace", "continue", "restart"] {
        let arguments = json!({ "expression": "1", "threadId": 1 });
        refused(&mut client, command, arguments, early);
    }
    client.request("attach", json!({}));
    assert_eq!(client.expect_event("process")["startMethod"], "attach");
    assert_eq!(client.expect_event("thread"), json!({ "reason": "started", "threadId": 1 }));
    refused(&mut client, "launch", json!({}), "the client is attached already");
    refused(&mut client, "x-unknown", json!({ "a": 1 }), "unsupported request 'x-unknown'");
    let missing = "invalid arguments of 'next': missing field `threadId`";
    refused(&mut client, "next", Value::Null, missing);
    let wrong = "there is no thread 7; the program has one, 1";
    refused(&mut client, "next", json!({ "threadId": 7 }), wrong);
    client.request("configurationDone", Value::Null);
    client.expect_event("terminated");
    client.request("disconnect", Value::Null);
    client.expect_closed();
}

#[test]
fn a_second_debugger_is_refused() {
    let mut first = stopped();
    let mut second = second(&first);
    second.request("initialize", json!({}));
    let refusal = second.try_request("attach", json!({})).unwrap_err();
    assert!(refusal.contains("another debugger is attached"), "{refusal}");
    assert!(refusal.contains("Test client"), "{refusal}");
    let source = json!({ "source": { "path": "/x.lua" }, "breakpoints": [] });
    second.try_request("setBreakpoints", source).unwrap_err();
    second.try_request("configurationDone", Value::Null).unwrap_err();
    second.try_request("terminate", json!({})).unwrap_err();
    first.request("disconnect", json!({ "suspendDebuggee": true }));
    first.expect_closed();
    second.request("attach", json!({}));
    second.request("configurationDone", Value::Null);
    assert_eq!(second.expect_event("stopped")["reason"], "breakpoint");
    second.request("terminate", json!({}));
    second.expect_event("terminated");
}

#[test]
fn malformed_messages_are_answered() {
    let mut client = stopped();
    let mut check = |body: &str, wanted: &str| {
        let message = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        client.send_raw(message.as_bytes());
        let error = client.answer(0).unwrap_err();
        assert!(error.starts_with(wanted), "{body}: {error}");
    };
    check("{x}", "message is not JSON");
    check("", "message is not JSON");
    check("[]", "message without a type");
    check("null", "message without a type");
    check("{\"type\":\"nonsense\"}", "unknown message type 'nonsense'");
    check("{\"type\":\"request\"}", "malformed request");
    check("{\"type\":\"request\",\"seq\":\"1\",\"command\":\"x\"}", "malformed request");
    check(&"[".repeat(100_000), "message is not JSON");
    let huge = 80_000_000;
    client.send_raw(format!("Content-Length: {huge}\r\n\r\n").as_bytes());
    let error = client.answer(0).unwrap_err();
    assert!(error.starts_with("message of 80000000 bytes is over the limit of"), "{error}");
    let piece = vec![b'x'; 1_000_000];
    for _ in 0..80 {
        client.send_raw(&piece);
    }
    client.request("threads", Value::Null);
    // Responses and events of a client are nobody's business.
    for body in ["{\"type\":\"event\",\"seq\":1}", "{\"type\":\"response\",\"seq\":1}"] {
        client.send_raw(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }
    client.request("threads", Value::Null);
    client.send_raw(b"GET / HTTP/1.1\r\n");
    assert!(client.answer(0).unwrap_err().starts_with("bad message header"));
    client.expect_closed();
}

#[test]
fn a_step_answers_before_it_stops_and_behind_what_was_asked_before() {
    let mut client = debug("for i = 1, 1000 do\n  local x = i --@\nend");
    client.expect_stop("breakpoint");
    let path = client.path.clone();
    client.set_breakpoints(&path, &[]);
    let address = client.address.clone();
    drop(address);
    for _ in 0..100 {
        let evaluation = client.send("evaluate", evaluate("string.rep('x', 100)"));
        let scopes = client.send("threads", Value::Null);
        let next = client.send("next", thread());
        client.answer(next).unwrap();
        client.answer(evaluation).unwrap();
        client.answer(scopes).unwrap();
        let stop = client.expect_stop("step");
        assert_eq!(stop["allThreadsStopped"], true);
    }
    client.request("terminate", json!({}));
    client.ends_with(143);
}

/// Reads raw messages until one fits; all of them, shortened.
fn transcript(stream: &mut TcpStream, until: &str) -> Vec<String> {
    let mut seen = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        let mut header = Vec::new();
        let mut byte = [0];
        while !header.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            header.push(byte[0]);
        }
        let header = String::from_utf8(header).unwrap();
        let length: usize =
            header.trim().strip_prefix("Content-Length: ").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let message: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(message["seq"], seen.len() + 1, "numbers are consecutive");
        let text = match message["type"].as_str().unwrap() {
            "event" => format!("event {}", message["event"].as_str().unwrap()),
            _ => format!("response {}", message["command"].as_str().unwrap()),
        };
        let over = text == until;
        seen.push(text);
        if over {
            return seen;
        }
    }
}

fn write(stream: &mut TcpStream, seq: i64, command: &str, arguments: &Value) {
    let body = json!({ "seq": seq, "type": "request", "command": command, "arguments": arguments });
    let body = body.to_string();
    write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

#[test]
fn the_whole_conversation_has_an_order() {
    let server = connect("local x = 1\nprint(x)");
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write(&mut stream, 1, "initialize", &json!({}));
    write(&mut stream, 2, "attach", &json!({ "stopOnEntry": true }));
    write(&mut stream, 3, "configurationDone", &json!({}));
    let mut check = |until: &str, expected: &Expect| {
        let mut seen = transcript(&mut stream, until);
        // The two ends may overlap with what was loaded meanwhile.
        seen.retain(|text| text != "event loadedSource" && text != "event module");
        expected.assert_eq(&seen.join("\n"));
        seen.clear();
    };
    check(
        "event stopped",
        &expect![[r"
        response initialize
        event initialized
        response attach
        event process
        event thread
        response configurationDone
        event stopped"]],
    );
}

#[test]
fn slow_evaluations_block_nothing_that_needs_no_lua() {
    let mut client = stopped();
    let slow = client.send("evaluate", evaluate("while true do end"));
    let waiting = client.send("evaluate", evaluate("1"));
    client.request("threads", Value::Null);
    let lines = json!({ "source": { "path": "/x.lua" }, "lines": [3] });
    client.request("setBreakpoints", lines);
    client.request("loadedSources", json!({}));
    client.request("cancel", json!({ "requestId": slow }));
    assert_eq!(client.answer(slow).unwrap_err(), "cancelled");
    assert_eq!(client.answer(waiting).unwrap()["result"], "1");
}

#[test]
fn waiting_requests_can_be_cancelled() {
    let mut client = stopped();
    let slow = client.send("evaluate", evaluate("while true do end"));
    let waiting = client.send("evaluate", evaluate("while true do end"));
    client.request("cancel", json!({ "requestId": waiting }));
    client.request("cancel", json!({ "requestId": slow }));
    assert_eq!(client.answer(slow).unwrap_err(), "cancelled");
    assert_eq!(client.answer(waiting).unwrap_err(), "cancelled");
    // Of what is over or never was, nothing is said.
    client.request("cancel", json!({ "requestId": slow }));
    client.request("cancel", json!({ "requestId": 123_456 }));
    assert_eq!(client.evaluate("x"), "16");
}

#[test]
fn a_runaway_evaluation_does_not_hold_the_program() {
    let mut client = stopped();
    let slow = client.send("evaluate", evaluate("while true do end"));
    let go_on = client.send("continue", thread());
    assert_eq!(client.answer(slow).unwrap_err(), "cancelled");
    assert_eq!(client.answer(go_on).unwrap()["allThreadsContinued"], true);
    refused(&mut client, "stackTrace", thread(), "the program is not stopped");
    refused(&mut client, "next", thread(), "the program is not stopped");
}

#[test]
fn leaving_answers_what_is_open() {
    let mut client = stopped();
    let slow = client.send("evaluate", evaluate("while true do end"));
    let waiting = client.send("evaluate", evaluate("1"));
    let leave = client.send("disconnect", json!({ "suspendDebuggee": true }));
    assert_eq!(client.answer(slow).unwrap_err(), "cancelled");
    assert_eq!(client.answer(waiting).unwrap_err(), "cancelled");
    client.answer(leave).unwrap();
    client.expect_closed();
    // And the program still stands where it stood.
    let mut next = second(&client);
    next.attach(json!({}), |_| ());
    next.expect_event("stopped");
    assert_eq!(next.evaluate("x"), "16");
    next.request("disconnect", json!({ "terminateDebuggee": true }));
    assert_eq!(client.expect_exit(), Some(143));
}

#[test]
fn lines_columns_and_paths_are_the_clients() {
    let mut client = connect("local x = 1\nprint(x)\n");
    let root = client.lab.path().to_owned();
    client.request(
        "initialize",
        json!({ "linesStartAt1": false, "columnsStartAt1": false, "pathFormat": "uri" }),
    );
    let mappings = json!([{ "localRoot": "/home/me/my project", "remoteRoot": root }]);
    let attach = client.send("attach", json!({ "pathMappings": mappings }));
    let source = json!({ "path": "file:///home/me/my%20project/main.lua" });
    let arguments = json!({ "source": source, "breakpoints": [{ "line": 1 }] });
    let body = client.request("setBreakpoints", arguments);
    assert_eq!(body["breakpoints"][0]["line"], 1);
    client.request("configurationDone", Value::Null);
    client.answer(attach).unwrap();
    let stop = client.expect_event("stopped");
    assert_eq!(stop["hitBreakpointIds"][0], body["breakpoints"][0]["id"]);
    let stack = client.request("stackTrace", json!({ "threadId": 1, "levels": 1 }));
    let frame = &stack["stackFrames"][0];
    assert_eq!((&frame["line"], &frame["column"]), (&json!(1), &json!(0)));
    assert_eq!(frame["source"]["path"], source["path"]);
    let text = json!({ "text": "'ü🐌' .. prin", "column": 12, "frameId": frame["id"] });
    let targets = client.request("completions", text)["targets"].clone();
    let print = targets.as_array().unwrap().iter().find(|target| target["label"] == "print");
    let print = print.unwrap_or_else(|| panic!("{targets}"));
    // UTF-16: the snail counts twice.
    assert_eq!((&print["start"], &print["length"]), (&json!(9), &json!(3)));
    client.request("continue", thread());
    client.expect_event("terminated");
}

#[test]
fn values_and_places() {
    let mut client = stopped();
    let frame = client.stack_trace()[0].id;
    let locals = client.scopes(frame)[0].1;
    let hex = json!({ "variablesReference": locals, "format": { "hex": true } });
    let body = client.request("variables", hex);
    assert_eq!(
        (&body["variables"][0]["name"], &body["variables"][0]["value"]),
        (&json!("x"), &json!("0x10"))
    );
    let value = client.request("evaluate", json!({ "expression": "loop", "frameId": frame }));
    let place = json!({ "locationReference": value["valueLocationReference"] });
    let place = client.request("locations", place);
    assert_eq!((&place["line"], &place["source"]["name"]), (&json!(2), &json!("main.lua")));
    let change = json!({ "variablesReference": locals, "name": "x", "value": "2" });
    assert_eq!(client.request("setVariable", change)["value"], "2");
    assert_eq!(client.expect_event("invalidated")["areas"], json!(["variables", "stacks"]));
    refused(&mut client, "source", json!({ "sourceReference": 8888 }), "no source has number 8888");
    let nowhere = json!({ "locationReference": 8888 });
    refused(&mut client, "locations", nowhere, "no location has number 8888");
}

#[test]
fn exception_filters_answer_one_by_one() {
    let mut client = stopped();
    let filters = json!({
        "filters": ["nonsense"],
        "filterOptions": [{ "filterId": "uncaught", "condition": "nil" }],
    });
    let body = client.request("setExceptionBreakpoints", filters);
    assert_eq!(body["breakpoints"][0]["verified"], false);
    assert_eq!(body["breakpoints"][0]["message"], "unknown filter 'nonsense'");
    assert_eq!(body["breakpoints"][1]["verified"], true);
}

#[test]
fn without_debugging_nothing_stops() {
    let mut client = connect("local x = 1\nprint(x)\nerror('uncaught')");
    client.initialize();
    let attach = client.send("attach", json!({ "noDebug": true, "stopOnEntry": true }));
    client.expect_event("initialized");
    let path = client.path.clone();
    assert_eq!(client.set_breakpoints(&path, &[2])[0]["verified"], false);
    client.filter(&["all"]);
    client.try_request("pause", thread()).unwrap_err();
    client.request("configurationDone", Value::Null);
    client.answer(attach).unwrap();
    client.ends_with(1);
}

#[test]
fn output_keeps_its_bytes_and_the_end_comes_last() {
    let mut client = debug(
        "local euro = '€'
io.write(euro:sub(1, 1)) io.stdout:flush()
io.write(euro:sub(2)) io.stdout:flush()
io.stderr:write('\\xff')
io.write('\\xff\\xe2')
os.exit = nil",
    );
    client.expect_event("exited");
    client.expect_event("terminated");
    assert_eq!(client.stdout(), "€\\xFF\\xE2");
    assert_eq!(client.output_of("stderr"), "\\xFF");
}

#[test]
fn progress_is_told_to_those_who_want_it() {
    for wanted in [true, false] {
        let mut client = connect("print(pcall(Async.sleep, 1e6))\nprint('over')");
        client.request("initialize", json!({ "supportsProgressReporting": wanted }));
        client.request("attach", json!({}));
        client.request("configurationDone", Value::Null);
        if wanted {
            let start = client.expect_event("progressStart");
            assert_eq!(
                (&start["title"], &start["cancellable"]),
                (&json!("Async.sleep(1000000)"), &json!(true))
            );
            let unknown = client.try_request("cancel", json!({ "progressId": "x" }));
            assert_eq!(unknown.unwrap_err(), "unknown progress 'x'");
            client.request("cancel", json!({ "progressId": start["progressId"] }));
            assert_eq!(client.expect_event("progressEnd")["progressId"], start["progressId"]);
            client.ends_with(0);
            assert!(client.stdout().starts_with("false\t"), "{}", client.stdout());
            assert!(client.stdout().ends_with("cancelled\nover\n"), "{}", client.stdout());
        } else {
            client.request("terminate", json!({}));
            client.ends_with(143);
            assert!(client.take_events("progressStart").is_empty());
        }
    }
}

#[test]
fn a_taken_port_is_refused_by_name() {
    let first = connect_with("Async.sleep(1e6)", &[]);
    let port = first.address.rsplit(':').next().unwrap();
    let ended = crate::lab::Lab::new().run("print('never')", &["--dap", port]);
    assert_eq!((ended.code, ended.stdout().as_str()), (Some(1), ""));
    let wanted = "Error: Failed to start kernel service: Address already in use";
    assert!(ended.stderr.starts_with(wanted), "{}", ended.stderr);
    assert!(ended.stderr.contains(port), "{}", ended.stderr);
}

#[test]
fn capabilities_are_all_honored() {
    let mut client = stopped();
    let capabilities = client.capabilities.clone();
    let promised: BTreeSet<&str> = capabilities
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| **value == true)
        .map(|(name, _)| name.as_str())
        .collect();
    for (capability, request) in [
        ("supportsStepBack", "stepBack"),
        ("supportsGotoTargetsRequest", "gotoTargets"),
        ("supportsStepInTargetsRequest", "stepInTargets"),
        ("supportsReadMemoryRequest", "readMemory"),
        ("supportsDisassembleRequest", "disassemble"),
        ("supportsRestartFrame", "restartFrame"),
        ("supportsDataBreakpoints", "dataBreakpointInfo"),
        ("supportsTerminateThreadsRequest", "terminateThreads"),
        ("supportsExceptionInfoRequest", "exceptionInfo"),
        ("supportsLoadedSourcesRequest", "loadedSources"),
        ("supportsModulesRequest", "modules"),
        ("supportsCompletionsRequest", "completions"),
        ("supportsSetExpression", "setExpression"),
        ("supportsCancelRequest", "cancel"),
        ("supportsBreakpointLocationsRequest", "breakpointLocations"),
    ] {
        let answer = client.try_request(request, json!({ "threadId": 1 }));
        let unknown = answer.is_err_and(|error| error.starts_with("unsupported request"));
        assert_eq!(unknown, !promised.contains(capability), "{capability}");
    }
}

#[test]
fn many_requests_at_once_are_answered_in_order() {
    let mut client = debug_with("print('here') --@\n", |_| ());
    client.expect_stop("breakpoint");
    let sent: Vec<i64> =
        (0..500).map(|i| client.send("evaluate", evaluate(&i.to_string()))).collect();
    for (i, seq) in sent.into_iter().enumerate() {
        assert_eq!(client.answer(seq).unwrap()["result"], i.to_string());
    }
    client.go_to_end();
}
