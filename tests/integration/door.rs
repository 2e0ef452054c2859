//! The front door under everything that clients can do to it: many of them,
//! garbage, slowness, sudden death.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
};

use serde_json::json;

use crate::{
    dap_client::DapClient,
    dice::Dice,
    kernel_process::{DEADLINE, KernelProcess, exchange},
    lab::{Lab, llmspell},
};

fn kernel(options: &[&str]) -> KernelProcess {
    KernelProcess::start(llmspell(), options)
}

/// The kernel still does all that it is there for.
fn is_well(kernel: &KernelProcess) {
    assert_eq!(kernel.lines("print('well')\n"), "well\n");
    assert_eq!(kernel.json("/health")["status"], "ok");
    let mut client = DapClient::connect(&kernel.endpoints["dap"]);
    client.initialize();
    client.request("disconnect", json!({}));
}

#[test]
fn every_port_takes_every_protocol() {
    let kernel = kernel(&["--dap", "--repl"]);
    for port in kernel.port()..kernel.port() + 5 {
        let connect = || {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream
        };
        assert_eq!(exchange(connect(), b"print(1 + 1)\n"), "2\n");
        let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        assert!(exchange(connect(), request).starts_with("HTTP/1.1 200 OK\r\n"));
        let mut client = DapClient::connect(("127.0.0.1", port));
        client.initialize();
        client.request("disconnect", json!({}));
    }
}

#[test]
fn what_is_not_spoken_is_refused_in_one_line() {
    let kernel = kernel(&["--dap"]);
    let refused = |bytes: &[u8]| exchange(kernel.connect("http"), bytes);
    let repl = "llmspell: repl is off in this kernel; start it with --repl\n";
    assert_eq!(refused(b"print(1)\n"), repl);
    assert_eq!(refused(b"\x16\x03\x01\x02\x00\x01"), "llmspell: this kernel does not speak TLS\n");
    let zmtp = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL";
    assert_eq!(refused(zmtp), "llmspell: this kernel does not speak Jupyter's ZMTP\n");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    let lsp = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(refused(lsp.as_bytes()), "llmspell: this kernel does not speak LSP\n");
}

#[test]
fn a_taken_port_is_named_with_who_has_it() {
    let first = kernel(&["--repl"]);
    let port = first.port().to_string();
    let home = Lab::new();
    let mut second = llmspell();
    second.args(["kernel", "start", "--port", &port]).env("LLMSPELL_HOME", home.path());
    let output = second.env("XDG_RUNTIME_DIR", home.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let start = "Error: Failed to start kernel service: Address already in use";
    assert!(error.starts_with(start), "{error}");
    assert!(error.contains(&port) && error.contains(&first.child.id().to_string()), "{error}");
    is_well_without_dap(&first);
}

fn is_well_without_dap(kernel: &KernelProcess) {
    assert_eq!(kernel.lines("print('well')\n"), "well\n");
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let kernel = kernel(&["--dap", "--repl"]);
    is_well(&kernel);
    let (files, memory) = (kernel.open_files(), kernel.resident());
    let openings: [&[u8]; 6] = [
        b"",
        b"p",
        b"print('x')\n",
        b"GET /health HTTP/1.1\r\n",
        b"Content-Length: 100\r\n\r\n{\"seq\"",
        b"\xff\0\0",
    ];
    for number in 0..1_000 {
        let mut stream = kernel.connect("http");
        let opening = openings[number % openings.len()];
        stream.write_all(opening).unwrap();
        if number % 3 == 0 {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
    is_well(&kernel);
    settles(|| kernel.open_files() <= files + 2);
    settles(|| kernel.json("/clients").as_array().unwrap().len() <= 1);
    let grown = kernel.resident().saturating_sub(memory);
    assert!(grown < 32 * 1024, "{grown} KiB more");
}

/// Waits until something is so that nobody tells of.
fn settles(is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + DEADLINE;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "it does not become so");
        thread::yield_now();
    }
}

#[test]
fn two_hundred_at_once_and_no_more_than_the_limit() {
    let kernel = kernel(&["--repl", "--max-clients", "200"]);
    let held: Vec<_> = (0..200)
        .map(|number| {
            let mut stream = kernel.connect("repl");
            stream.write_all(format!(".stay\nprint({number})\n").as_bytes()).unwrap();
            stream
        })
        .collect();
    for (number, mut stream) in held.iter().enumerate() {
        let expected = format!("{number}\n");
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
    }
    let refusal = kernel.lines("print(1)\n");
    assert!(refusal.starts_with("llmspell: the kernel has 200 clients already"), "{refusal}");
    assert_eq!(kernel.json("/health")["status"], "ok", "it can still be looked at");
    drop(held);
    settles(|| kernel.lines("print('again')\n") == "again\n");
}

#[test]
fn silent_and_slow_clients_delay_nobody() {
    let kernel = kernel(&["--dap", "--repl"]);
    let mut slow: Vec<_> = (0..100).map(|_| kernel.connect("http")).collect();
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n";
    for byte in request {
        for stream in &mut slow[..50] {
            stream.write_all(&[*byte]).unwrap();
        }
        if *byte == b'/' {
            is_well(&kernel);
        }
    }
    is_well(&kernel);
    // One of them comes to its end after all.
    slow[0].write_all(b"Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    slow[0].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn ten_thousand_malformed_openings_of_each_protocol() {
    let kernel = kernel(&["--dap", "--repl"]);
    is_well(&kernel);
    let memory = kernel.resident();
    let body = r#"{"seq":1,"type":"request","command":"initialize","arguments":{}}"#;
    let dap = format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    let http = b"POST /test/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n\
        {\"text\":\"x\"}"
        .to_vec();
    let socket = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: \
        Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
        \x81\x85\0\0\0\0hello"
        .to_vec();
    let repl = b"local x = {1, 2, 3}\nprint(#x)\n.where\nfor i = 1, 2 do\n".to_vec();
    thread::scope(|scope| {
        for (seed, whole) in (1..).zip([dap, http, socket, repl]) {
            let kernel = &kernel;
            scope.spawn(move || {
                let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
                for _ in 0..10_000 {
                    let mut stream = kernel.connect("http");
                    // The other side may close at any byte.
                    let _ = stream.write_all(&dice.mutate(&whole));
                    if dice.roll(4) == 0 {
                        let _ = stream.shutdown(Shutdown::Write);
                        let _ = stream.read(&mut [0; 256]);
                    }
                }
            });
        }
    });
    is_well(&kernel);
    settles(|| kernel.json("/clients").as_array().unwrap().len() <= 1);
    let grown = kernel.resident().saturating_sub(memory);
    assert!(grown < 64 * 1024, "{grown} KiB more");
}
