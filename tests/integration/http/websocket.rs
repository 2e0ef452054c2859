//! The WebSocket: conversations, what clients do wrong, and how each ends.

use std::{net::TcpListener, thread, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use llmspell::{
    client::Connection,
    kernel::{
        Kernel, KernelOptions, LiveOptions,
        clients::Protocol,
        message::{
            Execute, Executed, Message, PublicationBody, Reply, ReplyBody, Request, RequestBody,
            Status,
        },
    },
    protocols::http::{ServeOptions, serve},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message as Frame, protocol::frame::coding::CloseCode},
};

use super::{connect, execute, get, kernel, run};
use crate::{kernel_process::KernelProcess, lab::Lab};

/// Waits for the answer to a request.
pub(super) async fn reply_to(connection: &Connection, msg_id: &str) -> Reply {
    loop {
        match connection.next().await.unwrap_or_else(|| panic!("{}", connection.ending())) {
            Message::Reply(reply) if reply.parent_id == msg_id => return reply,
            _ => {}
        }
    }
}

/// Waits for a publication.
async fn publication(connection: &Connection, fits: impl Fn(&PublicationBody) -> bool) {
    loop {
        match connection.next().await.unwrap_or_else(|| panic!("{}", connection.ending())) {
            Message::Publication(it) if fits(&it.body) => return,
            _ => {}
        }
    }
}

/// Waits for output.
pub(super) async fn output(connection: &Connection, wanted: &str) {
    publication(
        connection,
        |it| matches!(it, PublicationBody::Stream { text, .. } if text == wanted),
    )
    .await;
}

/// Waits for a notice.
pub(super) async fn notice(connection: &Connection, wanted: &str) {
    publication(connection, |it| matches!(it, PublicationBody::Notice { text } if text == wanted))
        .await;
}

fn cell(code: &str) -> RequestBody {
    RequestBody::ExecuteRequest(Execute { code: code.to_owned(), ..Execute::default() })
}

type Socket = WebSocketStream<TcpStream>;

/// A client that sends what it likes.
async fn raw(kernel: &KernelProcess) -> Socket {
    let address = &kernel.endpoints["websocket"];
    let tcp = TcpStream::connect(address).await.unwrap();
    client_async(format!("ws://{address}/ws"), tcp).await.unwrap().0
}

/// The next frame that says something.
async fn next(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.expect("a frame").expect("a good one") {
            Frame::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
            Frame::Ping(_) | Frame::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// How the other side ends the connection.
async fn ending(socket: &mut Socket) -> (CloseCode, String) {
    loop {
        match socket.next().await.expect("a farewell").expect("a good one") {
            Frame::Close(Some(close)) => return (close.code, close.reason.as_str().to_owned()),
            Frame::Close(None) => panic!("it says no reason"),
            _ => {}
        }
    }
}

#[test]
fn messages_are_what_serde_writes() {
    let kernel = kernel(&[]);
    run(async {
        let mut socket = raw(&kernel).await;
        let request = json!({
            "msg_id": "m1",
            "type": "execute_request",
            "content": { "code": "print('é') return {1}" },
        });
        socket.send(Frame::text(request.to_string())).await.unwrap();
        let mut said = Vec::new();
        loop {
            let message = next(&mut socket).await;
            assert_eq!(message["parent_id"], "m1");
            let kind = message["type"].as_str().unwrap().to_owned();
            if kind == "stream" {
                assert_eq!(message["content"], json!({ "name": "stdout", "text": "é\n" }));
            }
            if kind == "execute_reply" {
                assert_eq!(message["content"]["status"], "ok");
                assert_eq!(message["content"]["execution_count"], 1);
            }
            let last = kind == "status" && message["content"]["execution_state"] == "idle";
            said.push(kind);
            if last {
                break;
            }
        }
        assert_eq!(said, ["status", "execute_input", "stream", "execute_reply", "status"]);
        socket.close(None).await.unwrap();
        // The farewell is answered.
        while let Some(frame) = socket.next().await {
            assert!(matches!(frame, Ok(Frame::Close(_))), "{frame:?}");
        }
    });
}

#[test]
fn what_is_no_request_is_answered_and_forgiven() {
    let kernel = kernel(&[]);
    run(async {
        let mut socket = raw(&kernel).await;
        for (sent, parent, words) in [
            ("not JSON", "", "expected ident"),
            ("[1]", "", "expected a map"),
            (r#"{"msg_id":"a"}"#, "a", "missing field `type`"),
            (
                r#"{"msg_id":"b","type":"dance_request","content":{}}"#,
                "b",
                "unknown variant `dance_request`",
            ),
            (
                r#"{"msg_id":"c","type":"status_request","content":{},"extra":1}"#,
                "c",
                "unknown field `extra`",
            ),
            (
                r#"{"msg_id":"d","type":"execute_request","content":{"cod":"x"}}"#,
                "d",
                "unknown field `cod`",
            ),
            (
                r#"{"msg_id":"e","type":"use_session_request","content":{"name":"x"}}"#,
                "e",
                "there is no session 'x'",
            ),
        ] {
            socket.send(Frame::text(sent)).await.unwrap();
            let answer = next(&mut socket).await;
            assert_eq!(
                (&answer["type"], &answer["parent_id"]),
                (&json!("error_reply"), &json!(parent))
            );
            let message = answer["content"]["message"].as_str().unwrap();
            assert!(message.contains(words), "{sent}: {message}");
        }
        socket.send(Frame::text(r#"{"type":"kernel_info_request","msg_id":"z"}"#)).await.unwrap();
        assert_eq!(next(&mut socket).await["content"]["id"], kernel.id);
    });
}

#[test]
fn what_cannot_be_forgiven_ends_the_connection_with_a_reason() {
    let lab = Lab::new();
    let config = lab.write("small.toml", "[kernel.limits]\nmax_message_size_mb = 1\n");
    let kernel = kernel(&["-c", config.to_str().unwrap()]);
    run(async {
        let mut socket = raw(&kernel).await;
        socket.send(Frame::binary(vec![1, 2, 3])).await.unwrap();
        assert_eq!(
            ending(&mut socket).await,
            (CloseCode::Unsupported, "messages are text frames".to_owned())
        );
        let mut socket = raw(&kernel).await;
        // Most of it stays unread, and the reason must arrive all the same.
        let sending = socket.send(Frame::text("x".repeat(3 << 20)));
        sending.await.unwrap();
        let reason = "the message is longer than kernel.limits.max_message_size_mb".to_owned();
        assert_eq!(ending(&mut socket).await, (CloseCode::Size, reason));
        let mut socket = raw(&kernel).await;
        socket.get_mut().write_all(b"\x81\x05unmasked").await.unwrap();
        assert_eq!(ending(&mut socket).await.0, CloseCode::Protocol);
        let mut socket = raw(&kernel).await;
        socket.get_mut().write_all(b"\x81\x82\0\0\0\0\xc3\x28").await.unwrap();
        assert_eq!(ending(&mut socket).await.0, CloseCode::Invalid);
        let connection = connect(&kernel).await;
        execute(&connection, "well", "return 1").await;
    });
}

#[test]
fn the_opening_handshake_is_checked() {
    let kernel = kernel(&["--max-clients", "1"]);
    let upgrade = "\nUpgrade: WebSocket\nConnection: keep-alive, Upgrade";
    let key = "\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let status = |fields: &str| get(&kernel, "/ws", fields).status;
    assert_eq!(status(upgrade), 426);
    assert_eq!(status(&format!("{upgrade}{key}\nSec-WebSocket-Version: 8")), 426);
    assert_eq!(status(&format!("{upgrade}\nSec-WebSocket-Version: 13")), 400);
    let good = format!("{upgrade}{key}\nSec-WebSocket-Version: 13");
    assert_eq!(status(&format!("{good}\nOrigin: http://evil.example")), 403);
    run(async {
        let connection = connect(&kernel).await;
        let answer = get(&kernel, "/ws", &good);
        assert_eq!(answer.status, 503);
        assert!(answer.json()["detail"].as_str().unwrap().contains("--max-clients"));
        connection.close().await;
    });
}

#[test]
fn a_running_cell_can_be_interrupted_and_ends_with_its_client() {
    let kernel = kernel(&[]);
    run(async {
        let connection = connect(&kernel).await;
        let spin = connection.send(cell("print('on') while true do end")).unwrap();
        output(&connection, "on\n").await;
        // Answered while the session spins.
        let ReplyBody::SessionsReply { sessions } =
            connection.ask(RequestBody::SessionsRequest {}).await.unwrap()
        else {
            panic!("no sessions")
        };
        assert_eq!(sessions[0].running.as_ref(), Some(&spin));
        connection.send(RequestBody::InterruptRequest {}).unwrap();
        let ReplyBody::ExecuteReply(Executed { status, .. }) =
            reply_to(&connection, &spin).await.body
        else {
            panic!("no answer")
        };
        assert_eq!(status, Status::Aborted);
        let refused = connection.ask(RequestBody::EndSessionRequest { name: "main".into() }).await;
        assert!(refused.unwrap_err().contains("main session"));
        // What an ask has put aside is still there, in order.
        let first = connection.send(cell("print('kept')")).unwrap();
        connection.ask(cell("return 2")).await.unwrap();
        output(&connection, "kept\n").await;
        reply_to(&connection, &first).await;

        connection.send(cell("print('on') while true do end")).unwrap();
        output(&connection, "on\n").await;
        drop(connection);
        let other = connect(&kernel).await;
        execute(&other, "free", "return 1").await;
    });
}

#[test]
fn a_client_that_does_not_read_costs_the_others_nothing() {
    let kernel = kernel(&[]);
    run(async {
        let mut idle = raw(&kernel).await;
        let flood = json!({
            "msg_id": "flood",
            "type": "execute_request",
            "content": { "code": "local s = ('x'):rep(99999) for i = 1, 400 do print(s) end" },
        });
        idle.send(Frame::text(flood.to_string())).await.unwrap();
        let other = connect(&kernel).await;
        execute(&other, "behind", "return 1").await;
        let queues = kernel.json("/router/status");
        let waiting = queues["queue_bytes"].as_u64().unwrap();
        assert!((1..=9 << 20).contains(&waiting), "{queues}");
        assert!(queues["dropped"].as_u64().unwrap() > 100, "{queues}");
        // It is told where something is missing, and gets its answer.
        let mut dropped = 0;
        loop {
            let message = next(&mut idle).await;
            if message["type"] == "dropped" {
                dropped += message["content"]["count"].as_u64().unwrap();
            }
            if message["type"] == "execute_reply" {
                assert_eq!(message["content"]["status"], "ok");
                break;
            }
        }
        assert!(dropped > 100, "{dropped}");
    });
}

#[test]
fn who_is_not_there_is_told_what_to_do() {
    run(async {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let connect = |port| Connection::connect("127.0.0.1", port, None);
        let refused = connect(port).await.unwrap_err();
        let expected = format!(
            "no kernel answers at 127.0.0.1:{port}; start one with 'llmspell kernel start'"
        );
        assert_eq!(refused, expected);
        for (answer, words) in [
            (
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                "it answers HTTP 404 Not Found",
            ),
            ("SSH-2.0-OpenSSH\r\n", "is not a kernel"),
            ("", "is not a kernel"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let other = thread::spawn(move || {
                use std::io::{Read as _, Write as _};
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            });
            let refused = connect(port).await.unwrap_err();
            assert!(refused.contains(words), "{refused}");
            other.join().unwrap();
        }
        assert!(Connection::connect("no such host", 1, None).await.is_err());
        let token = Connection::connect("localhost", port, Some("a\nb")).await;
        assert_eq!(token.unwrap_err(), "the token has characters that cannot be sent");
    });
}

/// A kernel in this process, and a connection that it serves.
fn served(options: ServeOptions) -> (Kernel, DuplexStream, tokio::task::JoinHandle<()>) {
    let live = LiveOptions { max_clients: 10, ..LiveOptions::default() };
    let kernel = KernelOptions { id: "k".into(), live, ..KernelOptions::default() };
    let kernel = Kernel::new(kernel).unwrap();
    let (ours, theirs) = tokio::io::duplex(4096);
    let client = kernel.connect(Protocol::Http, "test").unwrap();
    let serving = tokio::spawn(serve(theirs, client, options));
    (kernel, ours, serving)
}

#[test]
fn who_has_vanished_is_let_go() {
    run(async {
        let ping = Duration::from_millis(5);
        let (kernel, mut wire, serving) = served(ServeOptions { ping, ..ServeOptions::default() });
        let opening = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
            Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        wire.write_all(opening.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(wire.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        // It answers no ping: some come, then the end.
        let mut rest = Vec::new();
        wire.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [0x89, 0].repeat(4));
        serving.await.unwrap();
        assert!(kernel.clients().is_empty());
    });
}

#[test]
fn who_answers_pings_stays() {
    run(async {
        let ping = Duration::from_millis(5);
        let (kernel, wire, serving) = served(ServeOptions { ping, ..ServeOptions::default() });
        let (mut socket, _) = client_async("ws://localhost/ws", wire).await.unwrap();
        for _ in 0..20 {
            assert!(matches!(socket.next().await, Some(Ok(Frame::Ping(_)))));
        }
        let alone: Vec<_> = kernel.clients().iter().map(|it| it.protocol).collect();
        assert_eq!(alone, [Protocol::WebSocket], "it is one client, not two");
        let request = Request::from(RequestBody::StatusRequest {});
        socket.send(Frame::text(serde_json::to_string(&request).unwrap())).await.unwrap();
        kernel.drain(Duration::ZERO).await;
        let mut last = None;
        while let Some(Ok(frame)) = socket.next().await {
            last = Some(frame);
        }
        let Some(Frame::Close(Some(close))) = last else { panic!("{last:?}") };
        assert_eq!(
            (close.code, close.reason.as_str()),
            (CloseCode::Away, "the kernel is shutting down")
        );
        drop(socket);
        serving.await.unwrap();
    });
}
