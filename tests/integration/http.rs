//! HTTP: every address and every error, who is let in, and what tools that
//! nobody here wrote make of the answers.

mod exports;
mod websocket;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::Path,
    process::Command,
};

use expect_test::{Expect, expect};
use llmspell::{
    client::Connection,
    kernel::message::{Execute, Request, RequestBody},
};
use serde_json::{Value, json};

use crate::{
    kernel_process::{KernelProcess, exchange},
    lab::{finish, llmspell},
};

fn kernel(options: &[&str]) -> KernelProcess {
    KernelProcess::start(llmspell(), options)
}

/// An answer, taken apart.
struct Answer {
    status: u16,
    /// In lower case, as they come.
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let header = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header field");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self {
            status: status.unwrap_or_else(|| panic!("no status: {text}")),
            headers: lines.map(header).collect(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends lines of a head, and a body, and takes the answer to its end.
fn ask(kernel: &KernelProcess, head: &str, body: &str) -> Answer {
    let head = head.replace('\n', "\r\n");
    let request = format!("{head}\r\nConnection: close\r\n\r\n{body}");
    Answer::parse(&exchange(kernel.connect("http"), request.as_bytes()))
}

fn get(kernel: &KernelProcess, path: &str, more: &str) -> Answer {
    ask(kernel, &format!("GET {path} HTTP/1.1\nHost: localhost{more}"), "")
}

/// Checks status and document of an error, and that it is a problem document.
fn problem(answer: &Answer, expected: Expect) {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let mut problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    assert_eq!(problem["type"], "about:blank");
    assert!(problem["title"].is_string());
    let detail = problem["detail"].take();
    expected.assert_eq(&format!("{} {}", answer.status, detail.as_str().unwrap_or("(no detail)")));
}

/// Runs something asynchronous.
fn run<T>(future: impl Future<Output = T>) -> T {
    llmspell::session::runtime().unwrap().block_on(async {
        tokio::time::timeout(crate::kernel_process::DEADLINE, future).await.expect("it ends")
    })
}

async fn connect(kernel: &KernelProcess) -> Connection {
    Connection::connect("127.0.0.1", kernel.port(), None).await.expect("the kernel answers")
}

/// Runs a cell with a given message id to its end.
async fn execute(connection: &Connection, msg_id: &str, code: &str) {
    let execute = Execute { code: code.to_owned(), ..Execute::default() };
    let request = Request {
        msg_id: Some(msg_id.to_owned()),
        ..Request::from(RequestBody::ExecuteRequest(execute))
    };
    connection.send(request).unwrap();
    websocket::reply_to(connection, msg_id).await;
}

#[test]
fn the_kernel_is_seen_from_outside() {
    let kernel = kernel(&["--dap", "--repl"]);
    run(async {
        let connection = connect(&kernel).await;
        execute(&connection, "first", "print('a') return 1").await;
        execute(&connection, "second", "error('b')").await;
        let subscribe = json!({ "type": "subscribe_request", "content": { "topics": ["stream"] } });
        connection.send(serde_json::from_value::<Request>(subscribe).unwrap()).unwrap();
        connection.ask(RequestBody::StatusRequest {}).await.unwrap();

        let health = kernel.json("/health");
        assert_eq!((&health["status"], &health["id"]), (&json!("ok"), &json!(kernel.id)));
        assert_eq!(health["pid"], kernel.child.id());

        let metrics = kernel.json("/metrics");
        let execute = &metrics["performance"]["execute"];
        assert_eq!((&execute["count"], &execute["errors"]), (&json!(2), &json!(1)));
        let times = ["p50_ms", "p95_ms", "p99_ms"].map(|name| execute[name].as_f64().unwrap());
        assert!(times[0] > 0.0 && times.is_sorted(), "{execute}");
        assert_eq!(metrics["performance"]["http GET /health"]["count"], 1);
        assert!(metrics["memory"]["resident_bytes"].as_u64().unwrap() > 1 << 20);
        assert_eq!(metrics["clients"]["by_protocol"]["websocket"], 1);
        assert!(metrics["runtime"]["open_files"].as_u64().unwrap() > 5);
        assert!(metrics.get("agents").is_none(), "there are none yet");

        let clients = kernel.json("/clients");
        let socket = clients.as_array().unwrap().iter().find(|it| it["protocol"] == "websocket");
        let id = socket.unwrap()["id"].as_str().unwrap();
        let state = kernel.json(&format!("/client/{id}/state"));
        assert_eq!((&state["session"], &state["execution_count"]), (&json!("main"), &json!(2)));
        assert_eq!(
            (&state["in_flight"], &state["subscriptions"]),
            (&json!([]), &json!(["stream"]))
        );

        let router = kernel.json("/router/status");
        let queue = router["clients"].as_array().unwrap().iter().find(|it| it["id"] == id).unwrap();
        assert!(queue["sent"].as_u64().unwrap() >= 5, "{router}");
        assert_eq!((&queue["dropped"], &router["dropped"]), (&json!(0), &json!(0)));
        assert_eq!(router["sessions"], json!([{ "name": "main", "queued": 0, "running": null }]));

        let rows = kernel.json("/protocols");
        let row = |name: &str| {
            rows.as_array().unwrap().iter().find(|it| it["protocol"] == name).unwrap().clone()
        };
        assert_eq!(row("websocket")["open"], 1);
        assert!(row("websocket")["bytes_out"].as_u64().unwrap() > 100);
        assert_eq!(row("dap")["address"], kernel.endpoints["dap"]);
        let transports = kernel.json("/transports");
        assert_eq!(transports[0]["protocols"], json!(["http", "dap", "repl"]));
        let address = format!("ws://{}/ws", kernel.endpoints["websocket"]);
        assert_eq!(transports[1]["addresses"], json!([address]));

        let runtime = kernel.json("/runtime/status");
        assert_eq!(runtime.as_object().unwrap().len(), 3);
        assert_eq!(runtime["global_runtime"], true);
        assert!(runtime["worker_threads"].as_u64() > Some(0));
        assert!(runtime["active_tasks"].as_u64() > Some(0));
        connection.close().await;
    });
}

#[test]
fn events_and_traces_are_found() {
    let kernel = kernel(&[]);
    run(async {
        let connection = connect(&kernel).await;
        execute(&connection, "first", "return 1").await;
        execute(&connection, "second", "error('b')").await;
        connection.close().await;
    });
    let kinds = |query: &str| -> String {
        let events = kernel.json(&format!("/events{query}"));
        let events = events.as_array().unwrap();
        for event in events {
            let names: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
            let all = ["causation_id", "correlation_id", "data", "id", "kind", "session", "time"];
            assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), all.into());
        }
        events.iter().map(|it| format!("{} ", it["kind"].as_str().unwrap())).collect()
    };
    let both = "execution.started execution.finished ";
    assert_eq!(kinds("?correlation_id=first"), both);
    assert_eq!(kinds("?causation_id=second"), both);
    assert_eq!(kinds("?causation_id=second&limit=1"), "execution.finished ");
    assert_eq!(kinds("?correlation_id=nobody"), "");
    assert_eq!(kinds("?limit=0"), "");
    let all = kernel.json("/events");
    assert_eq!(all[0]["kind"], "session.started", "{all}");
    let (id, time) = (all[2]["id"].as_u64().unwrap(), all[2]["time"].as_str().unwrap());
    let after = kernel.json(&format!("/events?since={id}"));
    assert_eq!(after[0]["id"], id + 1);
    let from = kernel.json(&format!("/events?since={time}"));
    assert!(from[0]["time"].as_str().unwrap() >= time, "{from}");
    assert_eq!(kinds("?since=2999-01-01T00:00:00%2B01:00"), "");
    assert_eq!(kernel.json("/events?since=1971-01-01T00:00:00-05:30"), all);

    let trace = kernel.json("/trace/second");
    let root = &trace["root"];
    assert_eq!(
        (&root["name"], &root["attributes"]["llmspell.session"]),
        (&json!("execute"), &json!("main"))
    );
    assert!(root["error"].as_str().unwrap().contains('b'), "{trace}");
    let parts: Vec<_> = root["children"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(parts, ["queue", "run"]);
}

#[test]
fn what_cannot_be_answered_is_a_problem() {
    let kernel = kernel(&[]);
    let check = |path: &str, expected: Expect| problem(&get(&kernel, path, ""), expected);
    check(
        "/nowhere",
        expect![
            "404 there is nothing at /nowhere; there are: /health, /metrics, /protocols, /transports, /router/status, /test/broadcast, /clients, /client/ID/state, /events, /trace/MSG_ID, /traces/export, /runtime/status, /ws"
        ],
    );
    check(
        "/client/c999/state",
        expect!["404 there is no client 'c999'; /clients lists those that there are"],
    );
    check("/client/%ff/state", expect!["400 (no detail)"]);
    check(
        "/trace/m",
        expect![
            "404 there is no trace of 'm': only executions have one, and only the latest are kept"
        ],
    );
    check("/events?limit=many", expect!["400 'many' is no number of events"]);
    check("/events?limit=-1", expect!["400 '-1' is no number of events"]);
    check(
        "/events?since=yesterday",
        expect!["400 'yesterday' is neither an event's id nor a time such as 2025-01-31T12:00:00Z"],
    );
    check(
        "/events?sinze=1",
        expect![
            "400 'sinze' is no parameter of this address; there are: correlation_id, causation_id, since, limit"
        ],
    );
    check("/events?limit=1&limit=2", expect!["400 'limit' is given twice"]);
    check(
        "/health?verbose=1",
        expect!["400 'verbose' is no parameter of this address; there are none here"],
    );
    check(
        "/traces/export?format=zipkin",
        expect!["400 'zipkin' is no format; there are: otlp, chrome"],
    );
    check("/ws", expect!["426 this is a WebSocket: connect to it as ws://HOST:PORT/ws"]);
    let answer = get(&kernel, "/events?limit=x", "");
    assert_eq!(answer.json()["parameter"], "limit");

    let host = "HTTP/1.1\nHost: localhost";
    let check = |head: &str, body: &str, expected: Expect| {
        let answer = ask(&kernel, head, body);
        problem(&answer, expected);
        answer
    };
    let answer = check(
        &format!("PUT /health {host}"),
        "",
        expect!["405 PUT is not possible here; these are: GET, HEAD, OPTIONS"],
    );
    assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    let answer = check(
        &format!("GET /test/broadcast {host}"),
        "",
        expect!["405 GET is not possible here; these are: POST, OPTIONS"],
    );
    assert_eq!(answer.header("allow"), "POST, OPTIONS");
    let post = format!("POST /test/broadcast {host}\nContent-Length: ");
    check(
        &format!("{post}3"),
        "hi!",
        expect![[r#"400 the body is not {"text": "..."}: expected value at line 1 column 1"#]],
    );
    check(
        &format!("{post}10"),
        r#"{"txt": 1}"#,
        expect![[
            r#"400 the body is not {"text": "..."}: unknown field `txt`, expected `text` at line 1 column 6"#
        ]],
    );
    let endless = "POST /test/broadcast HTTP/1.1\nHost: localhost\nContent-Length: 99999999999";
    check(
        endless,
        "x",
        expect!["413 the body is longer than 16777216 bytes (kernel.limits.max_message_size_mb)"],
    );
    check("GET /health HTTP/1.1", "", expect!["400 the Host header field is missing"]);
    let long = format!("GET /health {host}\nX: {}", "x".repeat(40 << 10));
    check(&long, "", expect!["431 the request's header fields are too many or too long"]);
    let many = format!("GET /health {host}{}", "\nX: x".repeat(200));
    check(&many, "", expect!["431 the request's header fields are too many or too long"]);
    check(&format!("GET /health {host}\nbroken"), "", expect!["400 this is no HTTP/1.1 request"]);
}

#[test]
fn methods_that_every_resource_has() {
    let kernel = kernel(&[]);
    let whole = get(&kernel, "/runtime/status", "");
    let head = ask(&kernel, "HEAD /runtime/status HTTP/1.1\nHost: localhost", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
    let missing = ask(&kernel, "HEAD /nowhere HTTP/1.1\nHost: localhost", "");
    assert_eq!((missing.status, missing.body.as_str()), (404, ""));
    let options = ask(&kernel, "OPTIONS /test/broadcast HTTP/1.1\nHost: localhost", "");
    assert_eq!((options.status, options.header("allow")), (204, "POST, OPTIONS"));
    let all = ask(&kernel, "OPTIONS * HTTP/1.1\nHost: localhost", "");
    assert_eq!((all.status, all.header("allow")), (204, "GET, HEAD, POST, OPTIONS"));
    for answer in [whole, options] {
        let cors = answer.headers.iter().any(|(name, _)| name.starts_with("access-control"));
        assert!(!cors, "{:?}", answer.headers);
    }
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let kernel = kernel(&[]);
    let one = "GET /runtime/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // All at once, and nothing more: the answers come in order, then the end.
    let answers = exchange(kernel.connect("http"), format!("{one}{one}{last}").as_bytes());
    let statuses: Vec<_> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "404"]);
    // An old client that says no host and gets one answer.
    let old = exchange(kernel.connect("http"), b"GET /health HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n"), "{old}");
    // A body in pieces.
    let chunked = "POST /test/broadcast HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked";
    let answer = ask(&kernel, chunked, "8\r\n{\"text\":\r\n4\r\n\"x\"}\r\n0\r\n\r\n");
    assert_eq!(answer.json()["text"], "x");
}

#[test]
fn pages_of_other_sites_are_kept_out() {
    let kernel = kernel(&[]);
    let port = kernel.port();
    let host = |host: &str| ask(&kernel, &format!("GET /health HTTP/1.1\nHost: {host}"), "");
    for name in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"] {
        assert_eq!(host(name).status, 200, "{name}");
        assert_eq!(host(&format!("{name}:{port}")).status, 200, "{name}");
    }
    for name in [
        "evil.example",
        "localhost.evil.example",
        "192.168.1.1",
        "[2001:db8::1]",
        "127.0.0.1.nip.example",
    ] {
        assert_eq!(host(&format!("{name}:{port}")).status, 403, "{name}");
    }
    problem(
        &host("evil.example"),
        expect!["403 'evil.example' is no name of this kernel: use localhost, 127.0.0.1 or [::1]"],
    );
    problem(&host("a b"), expect!["400 the Host header field is no host"]);
    problem(&host("x@localhost"), expect!["400 the Host header field is no host"]);
    problem(
        &host("localhost\nHost: localhost"),
        expect!["400 there is more than one Host header field"],
    );
    let elsewhere = "GET http://evil.example/health HTTP/1.1\nHost: localhost";
    problem(
        &ask(&kernel, elsewhere, ""),
        expect!["400 the Host header field names another host than the address"],
    );

    let from = |method: &str, path: &str, origin: &str| {
        let head = format!("{method} {path} HTTP/1.1\nHost: 127.0.0.1:{port}\nOrigin: {origin}");
        ask(&kernel, &head, "")
    };
    let ours = format!("http://localhost:{port}");
    assert_eq!(from("GET", "/health", &ours).status, 200);
    assert_eq!(from("POST", "/test/broadcast", &ours).status, 200);
    for origin in ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1"] {
        for (method, path) in [
            ("GET", "/health"),
            ("POST", "/test/broadcast"),
            ("OPTIONS", "/clients"),
            ("GET", "/ws"),
        ] {
            let answer = from(method, path, origin);
            problem(
                &answer,
                expect![
                    "403 pages of other sites may not use this kernel (see the Origin header field)"
                ],
            );
        }
    }
}

#[test]
fn a_token_is_asked_for() {
    let kernel = kernel(&["--token", "open-sesame"]);
    assert_eq!(get(&kernel, "/health", "").status, 200);
    let answer = get(&kernel, "/clients", "");
    problem(
        &answer,
        expect![
            "401 this kernel wants its token: 'Authorization: Bearer TOKEN', or for a WebSocket '?token=TOKEN'"
        ],
    );
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"llmspell\"");
    let with = |field: &str| get(&kernel, "/clients", &format!("\nAuthorization: {field}")).status;
    assert_eq!(with("Bearer open-sesame"), 200);
    assert_eq!(with("bearer open-sesame"), 200);
    for wrong in
        ["Bearer open-sesam", "Bearer open-sesame!", "Bearer", "Basic open-sesame", "open-sesame"]
    {
        assert_eq!(with(wrong), 401, "{wrong}");
    }
    // In the address it could end up in logs and histories.
    assert_eq!(get(&kernel, "/clients?token=open-sesame", "").status, 401);
    assert_eq!(get(&kernel, "/ws?token=open-sesame", "").status, 426);
    assert_eq!(get(&kernel, "/ws?token=wrong", "").status, 401);
    assert_eq!(get(&kernel, "/nowhere", "").status, 401, "what there is, is nobody's business");
    run(async {
        let connect = |token| Connection::connect("localhost", kernel.port(), token);
        let refused = connect(None).await.unwrap_err();
        assert!(refused.contains("--token") && refused.contains("--connection-file"), "{refused}");
        assert!(connect(Some("wrong")).await.is_err());
        let connection = connect(Some("open-sesame")).await.unwrap();
        connection.ask(RequestBody::StatusRequest {}).await.unwrap();
    });
}

#[test]
fn figures_come_as_the_client_likes_them() {
    let kernel = kernel(&[]);
    run(async {
        let connection = connect(&kernel).await;
        execute(&connection, "m", "return 1").await;
        let form = |accept: &str| {
            let answer = get(&kernel, "/metrics", &format!("\nAccept: {accept}"));
            assert_eq!((answer.status, answer.header("vary")), (200, "Accept"));
            (answer.header("content-type").to_owned(), answer.body)
        };
        assert_eq!(form("*/*").0, "application/json");
        assert_eq!(form("text/plain;q=0.4, application/json").0, "application/json");
        let (media_type, text) = form("text/plain");
        assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
        let checked = finish(Command::new("promtool").args(["check", "metrics"]), text.as_bytes());
        assert_eq!(
            (checked.code, checked.report()),
            (Some(0), "exit code: 0\nstdout:\nstderr:\n".to_owned())
        );
        let has = |line: &str| assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        has("llmspell_operation_duration_seconds_count{operation=\"execute\"} 1");
        has("llmspell_operation_errors_total{operation=\"execute\"} 0");
        has("llmspell_clients{protocol=\"websocket\"} 1");
        has("llmspell_sessions{state=\"idle\"} 1");
        let (media_type, open) =
            form("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3");
        assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        exports::check_open_metrics(&open);
    });
}

#[test]
fn a_kernel_that_drains_says_so() {
    let kernel = kernel(&[]);
    let shape = |text: &str| -> BTreeSet<String> {
        serde_json::from_str::<serde_json::Map<_, _>>(text)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    let well = kernel.get("/health");
    run(async {
        let connection = connect(&kernel).await;
        let code = "print('on') while true do end".to_owned();
        let spin = RequestBody::ExecuteRequest(Execute { code, ..Execute::default() });
        connection.send(spin).unwrap();
        websocket::output(&connection, "on\n").await;
        kernel.signal("TERM");
        let draining = loop {
            let answer = kernel.get("/health");
            if answer.0 != 200 {
                break answer;
            }
        };
        assert_eq!((draining.0, shape(&draining.1)), (503, shape(&well.1)));
        assert!(draining.1.contains(r#""status":"draining""#), "{}", draining.1);
        // Nobody else is let in.
        let refused = Connection::connect("localhost", kernel.port(), None).await.unwrap_err();
        assert!(refused.ends_with("refuses: the kernel is shutting down"), "{refused}");
        connection.send(RequestBody::InterruptRequest {}).unwrap();
        while connection.next().await.is_some() {}
        assert_eq!(
            connection.ending(),
            "the kernel has ended the connection: the kernel is shutting down"
        );
    });
}

/// The examples of docs/http.md have the shape of what is answered.
#[test]
fn the_documentation_shows_what_is_answered() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/http.md")).unwrap();
    let kernel = kernel(&["--dap", "--repl"]);
    run(async {
        let connection = connect(&kernel).await;
        execute(&connection, "m1", "return 1").await;
        let mut examples = 0;
        let mut place = None;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(request) = line.strip_prefix("$ curl -s ") {
                place = Some(request.trim_matches('\'').to_owned());
            } else if line == "```json" {
                let block: String = lines.by_ref().take_while(|line| *line != "```").collect();
                let request = place.take().expect("a request comes before its answer");
                let path = request
                    .rsplit("localhost:9555")
                    .next()
                    .unwrap()
                    .replace("c1", &socket(&kernel));
                let answer = if request.starts_with("-X POST") {
                    ask(&kernel, &format!("POST {path} HTTP/1.1\nHost: localhost"), "")
                } else {
                    get(&kernel, &path, "")
                };
                let shown: Value =
                    serde_json::from_str(&block).unwrap_or_else(|error| panic!("{path}: {error}"));
                alike(&path, &shown, &answer.json());
                examples += 1;
            }
        }
        assert!(examples >= 9, "{examples}");
    });
    let first = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: Vec<_> = first.filter_map(|it| it.split(' ').nth(1)).collect();
    let known = get(&kernel, "/nowhere", "").json()["detail"].as_str().unwrap().to_owned();
    for path in known.split_once("are: ").unwrap().1.split(", ") {
        assert!(
            listed.iter().any(|it| it.split('?').next() == Some(path)),
            "{path} is not in {listed:?}"
        );
    }
}

fn socket(kernel: &KernelProcess) -> String {
    let clients = kernel.json("/clients");
    let socket = clients.as_array().unwrap().iter().find(|it| it["protocol"] == "websocket");
    socket.unwrap()["id"].as_str().unwrap().to_owned()
}

/// The same members everywhere; `null` and empty lists stand for anything, and
/// what is named by its operation may be any.
fn alike(place: &str, shown: &Value, answered: &Value) {
    match (shown, answered) {
        (Value::Object(shown), Value::Object(answered)) if place.ends_with("performance") => {
            let (one, other) = (shown.values().next(), answered.values().next());
            alike(&format!("{place}.*"), one.unwrap(), other.unwrap());
        }
        (Value::Object(shown), Value::Object(answered)) => {
            let names =
                |it: &serde_json::Map<String, Value>| it.keys().cloned().collect::<BTreeSet<_>>();
            if !place.ends_with("data") {
                assert_eq!(names(shown), names(answered), "{place}");
            }
            for (name, value) in shown {
                if let Some(other) = answered.get(name) {
                    alike(&format!("{place}.{name}"), value, other);
                }
            }
        }
        (Value::Array(shown), Value::Array(answered)) => {
            if let (Some(one), Some(other)) = (shown.first(), answered.first()) {
                alike(&format!("{place}[0]"), one, other);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        _ => {
            let kind = |it: &Value| (it.is_string(), it.is_number(), it.is_boolean());
            assert_eq!(kind(shown), kind(answered), "{place}: {shown} {answered}");
        }
    }
}

#[test]
fn a_broadcast_reaches_everybody() {
    let kernel = kernel(&["--dap", "--repl"]);
    let mut editor = crate::dap_client::DapClient::connect(&kernel.endpoints["dap"]);
    editor.initialize();
    editor.send("attach", json!({}));
    editor.expect_event("initialized");
    editor.request("configurationDone", Value::Null);
    let mut line = kernel.connect("repl");
    line.write_all(b"print('here')\n").unwrap();
    expect_text(&mut line, "here\n");
    run(async {
        let connection = connect(&kernel).await;
        connection.ask(RequestBody::StatusRequest {}).await.unwrap();
        let body = r#"{"text":"to all"}"#;
        let head = format!(
            "POST /test/broadcast HTTP/1.1\nHost: localhost\nContent-Length: {}",
            body.len()
        );
        let answer = ask(&kernel, &head, body).json();
        assert_eq!(
            answer,
            json!({ "text": "to all", "told": { "repl": 1, "dap": 1, "websocket": 1 }, "total": 3 })
        );
        websocket::notice(&connection, "to all").await;
    });
    expect_text(&mut line, "notice: to all\n");
    editor.expect_event_where("output", |it| {
        it["category"] == "console" && it["output"] == "to all\n"
    });
    line.shutdown(Shutdown::Both).unwrap();
}

fn expect_text(stream: &mut TcpStream, text: &str) {
    let mut read = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&read).ends_with(text) {
        stream
            .read_exact(&mut byte)
            .unwrap_or_else(|error| panic!("{error}; so far {}", String::from_utf8_lossy(&read)));
        read.push(byte[0]);
    }
}
