//! The dispatcher, driven through `serve` as a client drives it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::debug::{Event, Output, OutputCategory, Progress, ProgressPhase, StopReason};

/// A client that writes what it is told and reads one message after the other.
struct Client {
    control: Control,
    reader: MessageReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
    seq: i64,
    serving: JoinHandle<()>,
}

impl Client {
    fn connect(control: &Control) -> Self {
        Self::connect_with(control, &ServeOptions::default())
    }

    fn connect_with(control: &Control, options: &ServeOptions) -> Self {
        let (ours, theirs) = duplex(1 << 20);
        let (input, output) = split(theirs);
        let options =
            ServeOptions { max_message: 10_000, peer: "test".to_owned(), ..options.clone() };
        let serving = tokio::spawn(serve(input, output, control.clone(), options));
        let (reader, writer) = split(ours);
        let reader = MessageReader::new(reader, usize::MAX);
        Self { control: control.clone(), reader, writer, seq: 0, serving }
    }

    /// A client that has attached and configured nothing.
    async fn attached(initialize: Value, attach: Value) -> Self {
        let mut client = Self::connect(&Control::fake());
        client.request("initialize", initialize).await;
        client.event("initialized").await;
        client.request("attach", attach).await;
        for event in ["process", "thread", "module", "module"] {
            client.event(event).await;
        }
        client
    }

    /// As [`Client::attached`], with the program stopped.
    async fn stopped() -> Self {
        let mut client = Self::attached(json!({}), json!({})).await;
        client.control.stop(StopReason::Step);
        client.event("stopped").await;
        client
    }

    async fn send_raw(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
    }

    async fn send(&mut self, command: &str, arguments: Value) -> i64 {
        self.seq += 1;
        let mut message = json!({ "seq": self.seq, "type": "request", "command": command });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        let body = message.to_string();
        let frame = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.send_raw(frame.as_bytes()).await;
        self.seq
    }

    async fn read(&mut self) -> Option<Value> {
        let message = timeout(Duration::from_secs(10), self.reader.next()).await;
        message.expect("a message in time").unwrap().map(Result::unwrap)
    }

    async fn event(&mut self, name: &str) -> Value {
        let message = self.read().await.expect("an event");
        assert_eq!(message["event"], name, "{message}");
        message["body"].clone()
    }

    /// The next message, which has to be the answer to request `seq`.
    async fn answer(&mut self, seq: i64) -> Result<Value, String> {
        let message = self.read().await.expect("an answer");
        assert_eq!(message["request_seq"], seq, "{message}");
        if message["success"] == true {
            return Ok(message["body"].clone());
        }
        Err(message["message"].as_str().unwrap().to_owned())
    }

    async fn try_request(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        let seq = self.send(command, arguments).await;
        self.answer(seq).await
    }

    async fn request(&mut self, command: &str, arguments: Value) -> Value {
        self.try_request(command, arguments).await.unwrap()
    }
}

fn thread() -> Value {
    json!({ "threadId": 1 })
}

fn evaluate(expression: &str) -> Value {
    json!({ "expression": expression })
}

#[tokio::test]
async fn requests_have_an_order() {
    let mut client = Client::connect(&Control::fake());
    let early = client.try_request("threads", Value::Null).await.unwrap_err();
    assert_eq!(early, "'threads' before 'initialize'");
    let capabilities = client.request("initialize", json!({ "adapterID": "x" })).await;
    assert_eq!(capabilities["supportsConfigurationDoneRequest"], true);
    assert_eq!(capabilities["exceptionBreakpointFilters"][1]["default"], true);
    client.event("initialized").await;
    let twice = client.try_request("initialize", json!({})).await.unwrap_err();
    assert_eq!(twice, "already initialized");
    let unknown = client.try_request("x-unknown", Value::Null).await.unwrap_err();
    assert_eq!(unknown, "unsupported request 'x-unknown'");
    let early = client.try_request("evaluate", evaluate("1")).await.unwrap_err();
    assert_eq!(early, "not attached: send 'attach' or 'launch' first");
    let early = client.try_request("terminate", Value::Null).await.unwrap_err();
    assert_eq!(early, "not attached: send 'attach' or 'launch' first");
    client.request("attach", json!({})).await;
    assert_eq!(client.event("process").await["startMethod"], "attach");
    assert_eq!(client.event("thread").await, json!({ "reason": "started", "threadId": 1 }));
    client.event("module").await;
    client.event("module").await;
    let twice = client.try_request("launch", json!({})).await.unwrap_err();
    assert_eq!(twice, "the client is attached already");
    let unknown = client.try_request("x-unknown", json!({ "a": 1 })).await.unwrap_err();
    assert_eq!(unknown, "unsupported request 'x-unknown'");
    assert_eq!(
        client.try_request("next", Value::Null).await.unwrap_err(),
        "invalid arguments of 'next': missing field `threadId`"
    );
    client.request("configurationDone", Value::Null).await;
    client.request("disconnect", Value::Null).await;
    assert_eq!(client.read().await, None, "the connection is closed");
    client.serving.await.unwrap();
}

#[tokio::test]
async fn a_second_debugger_is_refused() {
    let mut first = Client::attached(json!({ "clientName": "One" }), json!({})).await;
    let mut second = Client::connect(&first.control);
    second.request("initialize", json!({})).await;
    second.event("initialized").await;
    let refused = second.try_request("attach", json!({})).await.unwrap_err();
    assert_eq!(refused, "already debugged by One (test)");
    assert!(second.try_request("setBreakpoints", json!({})).await.is_err());
    first.request("disconnect", Value::Null).await;
    assert_eq!(first.read().await, None);
    second.request("attach", json!({})).await;
}

#[tokio::test]
async fn malformed_messages_are_answered() {
    let mut client = Client::attached(json!({}), json!({})).await;
    client.send_raw(b"Content-Length: 3\r\n\r\n{x}").await;
    assert!(client.answer(0).await.unwrap_err().starts_with("message is not JSON"));
    client.send_raw(b"Content-Length: 20000\r\n\r\n").await;
    assert_eq!(
        client.answer(0).await.unwrap_err(),
        "message of 20000 bytes is over the limit of 10000"
    );
    client.send_raw("x".repeat(20_000).as_bytes()).await;
    client.request("threads", Value::Null).await;
    client.send_raw(b"GET / HTTP/1.1\r\n").await;
    assert!(client.answer(0).await.unwrap_err().starts_with("bad message header"));
    assert_eq!(client.read().await, None);
}

#[tokio::test]
async fn a_step_answers_before_it_stops_and_behind_what_was_asked_before() {
    let mut client = Client::stopped().await;
    for _ in 0..100 {
        let evaluation = client.send("evaluate", evaluate("sleep 1")).await;
        let variables = client.send("variables", json!({ "variablesReference": 1 })).await;
        let next = client.send("next", thread()).await;
        client.answer(evaluation).await.unwrap();
        client.answer(variables).await.unwrap();
        client.answer(next).await.unwrap();
        let stop = client.event("stopped").await;
        assert_eq!((&stop["reason"], &stop["allThreadsStopped"]), (&json!("step"), &json!(true)));
    }
}

#[tokio::test]
async fn slow_evaluations_block_nothing_that_needs_no_lua() {
    let mut client = Client::stopped().await;
    let slow = client.send("evaluate", evaluate("loop")).await;
    let waiting = client.send("evaluate", evaluate("1")).await;
    client.request("threads", Value::Null).await;
    let lines = json!({ "source": { "path": "/x.lua" }, "lines": [3] });
    client.request("setBreakpoints", lines).await;
    client.request("cancel", json!({ "requestId": slow })).await;
    assert_eq!(client.answer(slow).await.unwrap_err(), "cancelled");
    assert_eq!(client.answer(waiting).await.unwrap()["result"], "1");
}

#[tokio::test]
async fn waiting_requests_can_be_cancelled() {
    let mut client = Client::stopped().await;
    let slow = client.send("evaluate", evaluate("sleep 200")).await;
    let waiting = client.send("evaluate", evaluate("loop")).await;
    client.request("cancel", json!({ "requestId": waiting })).await;
    client.answer(slow).await.unwrap();
    assert_eq!(client.answer(waiting).await.unwrap_err(), "cancelled");
}

#[tokio::test]
async fn a_runaway_evaluation_does_not_hold_the_program() {
    let mut client = Client::stopped().await;
    let slow = client.send("evaluate", evaluate("loop")).await;
    let go_on = client.send("continue", thread()).await;
    assert_eq!(client.answer(slow).await.unwrap_err(), "cancelled");
    assert_eq!(client.answer(go_on).await.unwrap()["allThreadsContinued"], true);
    let running = client.try_request("stackTrace", thread()).await.unwrap_err();
    assert_eq!(running, "the program is not stopped");
    assert_eq!(client.try_request("next", thread()).await.unwrap_err(), "not stopped");
}

#[tokio::test]
async fn leaving_answers_what_is_open() {
    let mut client = Client::stopped().await;
    let slow = client.send("evaluate", evaluate("loop")).await;
    let waiting = client.send("evaluate", evaluate("1")).await;
    let leave = client.send("disconnect", json!({ "suspendDebuggee": true })).await;
    assert_eq!(client.answer(slow).await.unwrap_err(), "cancelled");
    assert_eq!(client.answer(waiting).await.unwrap_err(), "cancelled");
    client.answer(leave).await.unwrap();
    assert_eq!(client.read().await, None);
    assert!(client.control.0.log.lock().unwrap().contains(&"detach true".to_owned()));
}

#[tokio::test]
async fn a_client_that_vanishes_is_detached() {
    let client = Client::stopped().await;
    let Client { control, reader, writer, serving, .. } = client;
    drop((reader, writer));
    serving.await.unwrap();
    assert!(control.0.sink.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_program_may_be_bound_to_its_debugger() {
    for (bound, says_goodbye) in [(true, false), (true, true), (false, false)] {
        let options = ServeOptions { end_with_client: bound, ..ServeOptions::default() };
        let mut client = Client::connect_with(&Control::fake(), &options);
        client.request("initialize", json!({})).await;
        client.event("initialized").await;
        client.request("attach", json!({})).await;
        if says_goodbye {
            client.send("disconnect", Value::Null).await;
        }
        let Client { control, reader, writer, serving, .. } = client;
        drop((reader, writer));
        serving.await.unwrap();
        let terminated = control.0.log.lock().unwrap().contains(&"terminate".to_owned());
        assert_eq!(terminated, bound && !says_goodbye);
    }
}

#[tokio::test]
async fn a_panic_is_an_error_response() {
    let mut client = Client::stopped().await;
    let error = client.try_request("evaluate", evaluate("panic")).await.unwrap_err();
    assert_eq!(error, "internal error: as asked");
    client.request("evaluate", evaluate("1")).await;
}

#[tokio::test]
async fn lines_columns_and_paths_are_the_clients() {
    let initialize =
        json!({ "linesStartAt1": false, "columnsStartAt1": false, "pathFormat": "uri" });
    let mappings =
        json!({ "pathMappings": [{ "localRoot": "/home/me", "remoteRoot": "/srv/app" }] });
    let mut client = Client::attached(initialize, mappings).await;
    let source = json!({ "path": "file:///home/me/my%20main.lua" });
    let arguments = json!({ "source": source, "breakpoints": [{ "line": 0 }] });
    let body = client.request("setBreakpoints", arguments).await;
    let log = client.control.0.log.lock().unwrap().clone();
    assert!(log.contains(&"breakpoints /srv/app/my main.lua [1]".to_owned()), "{log:?}");
    assert_eq!(body["breakpoints"][0]["line"], 0);
    assert_eq!(body["breakpoints"][0]["source"]["path"], "file:///home/me/main.lua");
    client.control.stop(StopReason::Breakpoint(vec![1]));
    assert_eq!(client.event("stopped").await["hitBreakpointIds"], json!([1]));
    let stack = client.request("stackTrace", json!({ "threadId": 1, "levels": 1 })).await;
    assert_eq!(stack["totalFrames"], 3);
    let frame = &stack["stackFrames"][0];
    assert_eq!((&frame["line"], &frame["column"]), (&json!(10), &json!(0)));
    let text = json!({ "text": "ü🐌b", "column": 3 });
    let target = &client.request("completions", text).await["targets"][0];
    assert_eq!(target["label"], "ü🐌|");
}

#[tokio::test]
async fn values_and_places() {
    let mut client = Client::attached(json!({ "supportsInvalidatedEvent": true }), json!({})).await;
    client.control.stop(StopReason::Pause);
    client.event("stopped").await;
    let hex = json!({ "variablesReference": 1, "format": { "hex": true } });
    let variable = &client.request("variables", hex).await["variables"][0];
    assert_eq!((&variable["name"], &variable["value"]), (&json!("x"), &json!("0x10")));
    let value = client.request("evaluate", evaluate("f")).await;
    let place = json!({ "locationReference": value["valueLocationReference"] });
    let place = client.request("locations", place).await;
    assert_eq!((&place["line"], &place["source"]["name"]), (&json!(3), &json!("main.lua")));
    let change = json!({ "variablesReference": 1, "name": "x", "value": "2" });
    assert_eq!(client.request("setVariable", change).await["value"], "2");
    assert_eq!(client.event("invalidated").await["areas"], json!(["variables", "stacks"]));
    let text = client.request("source", json!({ "sourceReference": 7 })).await;
    assert_eq!(text["content"], "return 1");
    let unknown = client.try_request("source", json!({ "sourceReference": 8 })).await;
    assert_eq!(unknown.unwrap_err(), "no source has number 8");
}

#[tokio::test]
async fn exception_filters_answer_one_by_one() {
    let mut client = Client::attached(json!({}), json!({})).await;
    let filters = json!({
        "filters": ["nonsense"],
        "filterOptions": [{ "filterId": "uncaught", "condition": "nil" }],
    });
    let body = client.request("setExceptionBreakpoints", filters).await;
    assert_eq!(body["breakpoints"][0]["verified"], false);
    assert_eq!(body["breakpoints"][0]["message"], "unknown filter 'nonsense'");
    assert_eq!(body["breakpoints"][1]["verified"], true);
}

#[tokio::test]
async fn without_debugging_nothing_is_set() {
    let mut client = Client::attached(json!({}), json!({ "noDebug": true })).await;
    let lines = json!({ "source": { "path": "/x.lua" }, "breakpoints": [{ "line": 3 }] });
    let body = client.request("setBreakpoints", lines).await;
    assert_eq!(body["breakpoints"][0]["verified"], false);
    assert!(!client.control.0.log.lock().unwrap().iter().any(|line| line.contains("x.lua")));
}

#[tokio::test]
async fn output_keeps_its_bytes_and_the_end_comes_last() {
    let mut client = Client::attached(json!({}), json!({})).await;
    let euro = "€".as_bytes();
    for bytes in [&euro[..1], &euro[1..], b"\xff\xe2"] {
        let bytes = bytes.to_vec();
        let output = Output { category: OutputCategory::Stdout, bytes, location: None };
        client.control.emit(Event::Output(output));
    }
    assert_eq!(client.event("output").await["output"], "€");
    let body = client.event("output").await;
    assert_eq!((&body["output"], &body["category"]), (&json!("\\xFF"), &json!("stdout")));
    client.request("terminate", Value::Null).await;
    assert_eq!(client.event("output").await["output"], "\\xE2");
    assert_eq!(client.event("thread").await["reason"], "exited");
    assert_eq!(client.event("exited").await["exitCode"], 143);
    client.event("terminated").await;
}

#[tokio::test]
async fn a_program_left_stopped_is_told_to_the_next_debugger() {
    let control = Control::fake();
    control.stop(StopReason::Step);
    let mut client = Client::connect(&control);
    client.request("initialize", json!({})).await;
    client.event("initialized").await;
    client.request("attach", json!({})).await;
    for event in ["process", "thread", "module", "module"] {
        client.event(event).await;
    }
    client.request("configurationDone", Value::Null).await;
    assert_eq!(client.event("stopped").await["reason"], "pause");
}

#[tokio::test]
async fn progress_is_told_to_those_who_want_it() {
    for wanted in [true, false] {
        let initialize = json!({ "supportsProgressReporting": wanted });
        let mut client = Client::attached(initialize, json!({})).await;
        for phase in [ProgressPhase::Start, ProgressPhase::End] {
            let progress = Progress { id: 4, title: "sleeping".to_owned(), phase };
            client.control.emit(Event::Progress(progress));
        }
        if wanted {
            let start = client.event("progressStart").await;
            assert_eq!((&start["progressId"], &start["cancellable"]), (&json!("4"), &json!(true)));
            client.event("progressEnd").await;
        }
        client.request("cancel", json!({ "progressId": "4" })).await;
        let unknown = client.try_request("cancel", json!({ "progressId": "x" })).await;
        assert_eq!(unknown.unwrap_err(), "unknown progress 'x'");
        assert!(client.control.0.log.lock().unwrap().contains(&"cancel progress 4".to_owned()));
    }
}

#[tokio::test]
async fn a_server_listens_refuses_a_taken_port_and_finishes() {
    let control = Control::fake();
    let server = listen(0, control.clone(), ServeOptions::default()).await.unwrap();
    let port = server.address.port();
    let taken = listen(port, control, ServeOptions::default()).await.unwrap_err().to_string();
    assert!(taken.starts_with("Failed to start kernel service: Address already in use"), "{taken}");
    assert!(taken.contains(&port.to_string()), "{taken}");
    let silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let leaving = tokio::net::TcpStream::connect(server.address).await.unwrap();
    drop(leaving);
    server.finish(Duration::from_millis(50)).await;
    drop(silent);
}
