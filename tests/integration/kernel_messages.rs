//! The kernel as its protocols use it: messages in, messages out, in order.

use std::time::Duration;

use llmspell::kernel::{
    Client, Kernel, KernelOptions, LiveOptions,
    clients::Protocol,
    events::EventQuery,
    message::{
        Execute, Executed, Message, PublicationBody, ReplyBody, RequestBody, Status, Stopped,
        StreamName, Subscription,
    },
};
use tokio::time::timeout;

/// As long as anything here may take.
const LIMIT: Duration = Duration::from_secs(20);

fn kernel() -> Kernel {
    let live = LiveOptions { max_clients: 10, ..Default::default() };
    Kernel::new(KernelOptions { id: "k".into(), live, ..Default::default() }).unwrap()
}

fn cell(code: &str) -> RequestBody {
    RequestBody::ExecuteRequest(Execute { code: code.into(), name: None, in_frame: false })
}

fn in_frame(code: &str) -> RequestBody {
    RequestBody::ExecuteRequest(Execute { code: code.into(), name: None, in_frame: true })
}

fn command(line: &str) -> RequestBody {
    RequestBody::CommandRequest { line: line.into() }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    llmspell::session::runtime().unwrap().block_on(async { timeout(LIMIT, test).await.unwrap() })
}

/// Sends a request; its answer, and what came before it that it has caused.
async fn ask(client: &Client, body: RequestBody) -> (ReplyBody, Vec<PublicationBody>) {
    let id = client.send(body);
    let mut told = Vec::new();
    loop {
        match client.next().await.expect("the kernel is there") {
            Message::Reply(reply) if reply.parent_id == id => return (reply.body, told),
            Message::Reply(other) => panic!("an answer to something else: {other:?}"),
            Message::Publication(it) if it.parent_id.as_ref() == Some(&id) => told.push(it.body),
            Message::Publication(_) => {}
        }
    }
}

async fn execute(client: &Client, code: &str) -> (Executed, Vec<PublicationBody>) {
    match ask(client, cell(code)).await {
        (ReplyBody::ExecuteReply(executed), told) => (executed, told),
        (other, _) => panic!("{other:?}"),
    }
}

/// Waits for a stop.
async fn stopped(client: &Client) -> Stopped {
    loop {
        match client.next().await.expect("the kernel is there") {
            Message::Publication(it) => {
                if let PublicationBody::Stopped(stopped) = it.body {
                    return stopped;
                }
            }
            Message::Reply(reply) => panic!("it did not stop: {reply:?}"),
        }
    }
}

#[test]
fn output_values_and_errors_come_in_order() {
    run(async {
        let kernel = kernel();
        let client = kernel.connect(Protocol::Local, "test").unwrap();
        let (executed, told) =
            execute(&client, "print('a') io.stderr:write('b') return 1, {2}").await;
        assert_eq!(executed.status, Status::Ok);
        assert_eq!(executed.values, ["1", "{ 2 }"]);
        let streams: Vec<_> = told
            .iter()
            .filter_map(|it| match it {
                PublicationBody::Stream { name, text } => Some((*name, text.as_str())),
                _ => None,
            })
            .collect();
        assert_eq!(streams, [(StreamName::Stdout, "a\n"), (StreamName::Stderr, "b")]);
        let (executed, _) = execute(&client, "error('no')").await;
        assert_eq!(executed.error.as_deref(), Some("cell 2:1: no"));
        assert!(executed.traceback.unwrap().contains("cell 2"));
        let (executed, _) = execute(&client, "x ==").await;
        assert_eq!(executed.status, Status::Error);
        assert_eq!(executed.execution_count, 3);
    });
}

#[test]
fn names_and_values_live_on_in_the_session_and_not_in_others() {
    run(async {
        let kernel = kernel();
        let (one, two) =
            (kernel.connect(Protocol::Local, "1"), kernel.connect(Protocol::Local, "2"));
        let (one, two) = (one.unwrap(), two.unwrap());
        execute(&one, "x = 7").await;
        assert_eq!(execute(&two, "=x").await.0.values, ["7"]);
        let (reply, _) = ask(&two, command(".session new own")).await;
        assert!(matches!(reply, ReplyBody::CommandReply { .. }), "{reply:?}");
        assert_eq!(execute(&two, "x").await.0.values, ["nil"]);
        assert_eq!(kernel.sessions().len(), 2);
        drop(two);
        assert_eq!(kernel.sessions().len(), 1, "it ended with its client");
        let (reply, _) = ask(&one, command(".reset")).await;
        assert!(matches!(reply, ReplyBody::CommandReply { .. }), "{reply:?}");
        assert_eq!(execute(&one, "x").await.0.values, ["nil"]);
    });
}

#[test]
fn an_interrupt_ends_the_cell_and_not_the_session() {
    run(async {
        let kernel = kernel();
        let client = kernel.connect(Protocol::Local, "1").unwrap();
        let other = kernel.connect(Protocol::Local, "2").unwrap();
        let id = client.send(cell("x = 1 print('on') while true do end"));
        loop {
            if let Some(Message::Publication(it)) = client.next().await
                && matches!(it.body, PublicationBody::Stream { .. })
            {
                break;
            }
        }
        let (reply, _) = ask(&other, RequestBody::InterruptRequest {}).await;
        assert_eq!(reply, ReplyBody::OkReply {});
        let executed = loop {
            if let Some(Message::Reply(reply)) = client.next().await
                && let ReplyBody::ExecuteReply(executed) = reply.body
            {
                assert_eq!(reply.parent_id, id);
                break executed;
            }
        };
        assert_eq!(executed.status, Status::Aborted);
        assert_eq!(executed.error.as_deref(), Some("interrupted"));
        // Nothing is left of it.
        ask(&other, RequestBody::InterruptRequest {}).await;
        assert_eq!(execute(&client, "x").await.0.values, ["1"]);
    });
}

#[test]
fn the_end_of_a_client_ends_what_it_runs() {
    run(async {
        let kernel = kernel();
        let client = kernel.connect(Protocol::Local, "1").unwrap();
        let other = kernel.connect(Protocol::Local, "2").unwrap();
        client.send(cell("while true do end"));
        client.send(cell("y = 2"));
        while let Some(message) = client.next().await {
            if let Message::Publication(it) = message
                && matches!(it.body, PublicationBody::ExecuteInput { .. })
            {
                break;
            }
        }
        drop(client);
        assert_eq!(execute(&other, "y").await.0.values, ["nil"], "its second cell never began");
    });
}

#[test]
fn os_exit_ends_the_cell_and_nothing_else() {
    run(async {
        let kernel = kernel();
        let client = kernel.connect(Protocol::Local, "1").unwrap();
        let (executed, _) = execute(&client, "z = 1 pcall(os.exit, 3) z = 2").await;
        assert_eq!((executed.status, executed.exit_code), (Status::Aborted, Some(3)));
        assert_eq!(execute(&client, "z").await.0.values, ["1"]);
    });
}

#[test]
fn a_breakpoint_stops_for_who_asked_and_cells_look_into_the_frame() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f.lua");
        std::fs::write(
            &file,
            "local function f(n)\n  local m = n + 1\n  return m\nend\nreturn f(4)\n",
        )
        .unwrap();
        let kernel = kernel();
        let client = kernel.connect(Protocol::Local, "1").unwrap();
        let (reply, _) =
            ask(&client, command(&format!(".break {}:3 if m == 5", file.display()))).await;
        let ReplyBody::CommandReply { text } = reply else { panic!("{reply:?}") };
        assert!(text.contains("breakpoint 1 f.lua:3 (pending"), "{text}");
        let id = client.send(command(&format!(".load {}", file.display())));
        let stop = stopped(&client).await;
        assert_eq!(
            (stop.reason.as_str(), stop.line, stop.text.as_str()),
            ("breakpoint", 3, "  return m")
        );
        assert_eq!(stop.source, file.canonicalize().unwrap().to_string_lossy());
        let (reply, _) = ask(&client, in_frame("m * 10")).await;
        let ReplyBody::ExecuteReply(executed) = reply else { panic!("{reply:?}") };
        assert_eq!(executed.values, ["50"]);
        ask(&client, in_frame("m = 8")).await;
        let (reply, _) = ask(&client, command(".locals")).await;
        assert_eq!(reply, ReplyBody::CommandReply { text: "  n = 4\n  m = 8\n".into() });
        let (reply, _) = ask(&client, command(".where")).await;
        let ReplyBody::CommandReply { text } = reply else { panic!("{reply:?}") };
        assert!(text.starts_with("> #0  f at f.lua:3\n"), "{text}");
        client.send(command(".continue"));
        let executed = loop {
            if let Some(Message::Reply(reply)) = client.next().await
                && let ReplyBody::ExecuteReply(executed) = reply.body
            {
                assert_eq!(reply.parent_id, id);
                break executed;
            }
        };
        assert_eq!(executed.values, ["8"]);
        let (reply, _) = ask(&client, command(".next")).await;
        assert!(matches!(reply, ReplyBody::ErrorReply { .. }), "{reply:?}");
    });
}

#[test]
fn nobody_is_stopped_by_breakpoints_of_those_who_left() {
    run(async {
        let kernel = kernel();
        let client = kernel.connect(Protocol::Local, "1").unwrap();
        ask(&client, command(".break f")).await;
        ask(&client, cell("function f() return 1 end")).await;
        let other = kernel.connect(Protocol::Local, "2").unwrap();
        other.send(cell("return f()"));
        assert_eq!(stopped(&client).await.reason, "function breakpoint");
        drop(client);
        loop {
            if let Some(Message::Reply(reply)) = other.next().await {
                let ReplyBody::ExecuteReply(executed) = reply.body else { panic!("{reply:?}") };
                assert_eq!(executed.values, ["1"]);
                break;
            }
        }
        assert_eq!(execute(&other, "return f()").await.0.values, ["1"]);
    });
}

#[test]
fn subscribers_see_what_others_do_and_events_say_where_from() {
    run(async {
        let kernel = kernel();
        let worker = kernel.connect(Protocol::Local, "1").unwrap();
        let watcher = kernel.connect(Protocol::Local, "2").unwrap();
        let topics = vec!["stream".to_owned()];
        let (reply, _) = ask(
            &watcher,
            RequestBody::SubscribeRequest(Subscription { topics: topics.clone(), sessions: None }),
        )
        .await;
        assert_eq!(reply, ReplyBody::OkReply {});
        let id = worker.send(cell("print('seen')"));
        let Some(Message::Publication(seen)) = watcher.next().await else { panic!("nothing") };
        assert_eq!(seen.parent_id.as_deref(), Some(id.as_str()));
        assert!(matches!(seen.body, PublicationBody::Stream { .. }));
        while !matches!(worker.next().await, Some(Message::Reply(_))) {}
        let events =
            kernel.events(&EventQuery { correlation_id: Some(id.clone()), ..Default::default() });
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, ["execution.started", "execution.finished"]);
        let tree = kernel.traces().tree(&id).unwrap();
        let parts: Vec<_> = tree["root"]["children"].as_array().unwrap().iter().collect();
        assert_eq!(
            parts.iter().map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(),
            ["queue", "run"]
        );
        assert!(parts[1]["duration_ms"].as_f64().is_some());
        let wrong = Subscription { topics: vec!["streams".into()], sessions: None };
        let (reply, _) = ask(&watcher, RequestBody::SubscribeRequest(wrong)).await;
        assert!(matches!(reply, ReplyBody::ErrorReply { .. }));
    });
}

#[test]
fn completions_come_from_values_also_while_it_runs() {
    run(async {
        let kernel = kernel();
        let client = kernel.connect(Protocol::Local, "1").unwrap();
        execute(&client, "config = { model = 1, mood = 2 }").await;
        let busy = kernel.connect(Protocol::Local, "2").unwrap();
        busy.send(cell("while true do end"));
        while !matches!(busy.next().await, Some(Message::Publication(_))) {}
        let position = llmspell::kernel::message::Position {
            code: "print(config.mo".into(),
            cursor_pos: None,
        };
        let (reply, _) = ask(&client, RequestBody::CompleteRequest(position)).await;
        let ReplyBody::CompleteReply { matches, cursor_start, cursor_end } = reply else {
            panic!("{reply:?}")
        };
        let names: Vec<_> = matches.iter().map(|it| it.text.as_str()).collect();
        assert_eq!((names, cursor_start, cursor_end), (vec!["model", "mood"], 13, 15));
    });
}

#[test]
fn draining_lets_cells_finish_and_takes_no_more() {
    run(async {
        let kernel = kernel();
        let client = kernel.connect(Protocol::Local, "1").unwrap();
        let first = client.send(cell("Async.sleep(0.05) return 'done'"));
        let second = client.send(cell("return 'never'"));
        while !matches!(client.next().await, Some(Message::Publication(_))) {}
        assert!(kernel.drain(LIMIT).await);
        let mut ends = Vec::new();
        let mut last = None;
        while let Some(message) = client.next().await {
            match message {
                Message::Reply(reply) => {
                    let ReplyBody::ExecuteReply(executed) = reply.body else { panic!() };
                    ends.push((reply.parent_id, executed.status));
                }
                Message::Publication(publication) => last = Some(publication.body),
            }
        }
        assert_eq!(ends, [(first, Status::Ok), (second, Status::Aborted)]);
        assert_eq!(last, Some(PublicationBody::Shutdown {}));
        assert!(kernel.connect(Protocol::Local, "2").is_err());
    });
}
