//! Lines of Lua over TCP: the protocol itself over a pipe in memory, and the
//! kernel's port with the clients that people have.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use llmspell::{
    config::Secret,
    kernel::{Kernel, KernelOptions, LiveOptions, clients::Protocol},
    protocols::repl::{self, ServeOptions},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split},
    time::timeout,
};

use crate::{
    kernel_process::{KernelProcess, exchange},
    lab::{Lab, PATIENCE, finish, llmspell},
};

fn kernel(token: Option<&str>) -> Kernel {
    let token = token.map(|token| Secret::new(token.to_owned()));
    let live = LiveOptions { max_clients: 10, ..Default::default() };
    Kernel::new(KernelOptions { id: "k".into(), live, token, ..Default::default() }).unwrap()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    llmspell::session::runtime().unwrap().block_on(async { timeout(PATIENCE, test).await.unwrap() })
}

/// A connection as the kernel's door would make it, opened long ago.
fn connect(kernel: &Kernel) -> DuplexStream {
    connect_with(kernel, 1 << 20)
}

fn connect_with(kernel: &Kernel, max_message: usize) -> DuplexStream {
    let (near, far) = duplex(1 << 16);
    let client = kernel.connect(Protocol::Repl, "test").unwrap();
    let opened = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let (input, output) = split(far);
    tokio::spawn(repl::serve(input, output, client, ServeOptions { max_message, opened }));
    near
}

/// Sends bytes and then nothing more; everything that is answered.
async fn say(kernel: &Kernel, bytes: impl AsRef<[u8]>) -> String {
    end(connect(kernel), bytes).await
}

async fn end(mut stream: DuplexStream, bytes: impl AsRef<[u8]>) -> String {
    stream.write_all(bytes.as_ref()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads until all of this has come.
async fn until(stream: &mut DuplexStream, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "'{wanted}' does not come: {text}");
        text += std::str::from_utf8(&bytes[..count]).unwrap();
    }
    text
}

#[test]
fn output_values_and_errors_come_as_lines() {
    run(async {
        let kernel = kernel(None);
        assert_eq!(say(&kernel, "print('test')\n").await, "test\n");
        assert_eq!(say(&kernel, "print('test')").await, "test\n");
        assert_eq!(say(&kernel, "").await, "");
        assert_eq!(say(&kernel, "\n\n=1\n-- nothing\n'a', {1, 2}").await, "1\n\"a\"\n{ 1, 2 }\n");
        assert_eq!(say(&kernel, "for i = 1, 2 do\n\nprint(i)\nend\n3").await, "1\n2\n3\n");
        let answer = say(&kernel, "local a = 1 print(a)\na\n").await;
        assert_eq!(answer, "1\nnil\n", "each chunk has its own locals");
        let answer = say(&kernel, "io.stderr:write('part')  return 2\n").await;
        assert_eq!(answer, "part\n2\n");
        let answer = say(&kernel, "error('no')\nprint('on')\n").await;
        assert!(answer.starts_with("Error: cell "), "{answer}");
        assert!(answer.contains(": no\nstack traceback:\n"), "{answer}");
        assert!(answer.ends_with("\non\n"), "{answer}");
        assert_eq!(
            say(&kernel, "os.exit(3)\n").await,
            "os.exit(3) ends the cell, not the kernel\n"
        );
    });
}

#[test]
fn what_is_unfinished_is_named_or_dropped() {
    run(async {
        let kernel = kernel(None);
        let answer = say(&kernel, "function f()\n  return 1\n").await;
        assert!(answer.starts_with("Error: cell 1:2: 'end' expected"), "{answer}");
        let answer = say(&kernel, "x = {\n.cancel\n1").await;
        assert_eq!(answer, "1\n");
        let answer = say(&kernel, "x = = 1\n2\n").await;
        assert!(answer.starts_with("Error: cell ") && answer.ends_with("\n2\n"), "{answer}");
    });
}

#[test]
fn commands_work_and_the_help_knows_them() {
    run(async {
        let kernel = kernel(None);
        let help = say(&kernel, ".help\n").await;
        for line in [".load FILE", ".break FILE:LINE", ".cancel  ", ".stay  ", ".quit  "] {
            assert!(help.contains(line), "{line}: {help}");
        }
        assert_eq!(say(&kernel, ".quit\nprint(1)\n").await, "");
        let answer = say(&kernel, ".nothing\n.5 + 1\n").await;
        assert_eq!(answer, "Error: there is no command '.nothing'; .help lists them\n1.5\n");
        let answer = say(&kernel, ".session new a\nx = 1\n.session main\nx\n").await;
        assert_eq!(answer, "using 'a', which ends with you\nusing 'main'\nnil\n");
    });
}

#[test]
fn a_breakpoint_makes_lines_look_into_the_frame() {
    run(async {
        let lab = Lab::new();
        let file =
            lab.write("f.lua", "local function f(n)\n  return n\nend\nlocal r = f(4)\nreturn r\n");
        let kernel = kernel(None);
        let path = file.display();
        let script =
            format!(".break {path}:2\n.load {path}\nn\nn = n + 1\n.where\n.continue\n'after'\n");
        let expected = format!(
            "breakpoint 1 f.lua:2 (pending: this source has not been loaded)\n\
             stopped: breakpoint at {path}:2\n    2    return n\n4\n\
             > #0  f at f.lua:2\n  #1  main chunk at f.lua:4\n"
        );
        let answer = say(&kernel, &script).await;
        assert!(answer.starts_with(&expected), "{answer}");
        assert!(answer.ends_with("\n5\n\"after\"\n"), "{answer}");
        // It does not keep who has left, nor the others.
        let answer = say(&kernel, format!(".debug on\n.load {path}\n")).await;
        assert_eq!(answer, format!("stopped: breakpoint at {path}:2\n    2    return n\n4\n"));
        let answer = say(&kernel, format!(".debug on\n.load {path}\n.load {path}\n.quit\n")).await;
        assert!(answer.contains("Error: the program is stopped"), "{answer}");
    });
}

#[test]
fn interrupt_and_pause_overtake() {
    run(async {
        let kernel = kernel(None);
        let answer = say(&kernel, "while true do end\n.interrupt\n'on'\n").await;
        assert_eq!(answer, "Error: interrupted\n\"on\"\n");
        // Telnet's Ctrl-C is one, too.
        let mut stream = connect(&kernel);
        stream.write_all(b"print('on') while true do end\n'waits'\n").await.unwrap();
        until(&mut stream, "on\n").await;
        assert_eq!(end(stream, b"\xff\xf4").await, "Error: interrupted\n\"waits\"\n");
        let mut stream = connect(&kernel);
        stream.write_all(b"go = true\nwhile go do end return 'out'\n.pause\ngo\n").await.unwrap();
        let answer = until(&mut stream, "stopped: pause at ").await;
        let answer = answer + &end(stream, b"go = false\n.continue\n").await;
        assert!(answer.ends_with("\ntrue\n\"out\"\n"), "{answer}");
    });
}

#[test]
fn bytes_that_are_no_lines_of_text_are_answered() {
    run(async {
        let kernel = kernel(None);
        let no_text = "Error: the line is not UTF-8; in strings, write other bytes as \\xNN\n";
        let answer = say(&kernel, b"print('\xe9')\r\nprint('\xc3\xa9')\r\n").await;
        assert_eq!(answer, format!("{no_text}é\n"));
        let answer = say(&kernel, b"x\0y\n1\n").await;
        assert!(answer.starts_with("Error: cell ") && answer.ends_with("\n1\n"), "{answer}");
        assert_eq!(end(connect(&kernel), b"\x1bLua\n").await.lines().count(), 1);
        let mut stream = connect(&kernel);
        stream.write_all(b"\xff\xfd\x06").await.unwrap();
        let mut declined = [0; 3];
        stream.read_exact(&mut declined).await.unwrap();
        assert_eq!(declined, *b"\xff\xfc\x06");
    });
}

#[test]
fn what_is_too_long_is_refused() {
    run(async {
        let kernel = kernel(None);
        let answer =
            end(connect_with(&kernel, 100), format!("print(1)\n--{}\nprint(2)\n", "x".repeat(200)))
                .await;
        assert_eq!(
            answer,
            "1\nError: the line is longer than 100 bytes; load a file with .load instead\n"
        );
        let lines = "x = {\n".to_owned() + &"1,\n".repeat(40) + "}\n";
        let answer = end(connect_with(&kernel, 100), lines).await;
        assert_eq!(
            answer,
            "Error: the chunk is longer than 100 bytes; load a file with .load instead\n"
        );
        assert_eq!(kernel.clients().len(), 0);
    });
}

#[test]
fn a_kernel_with_a_token_lets_nobody_in_without() {
    run(async {
        let kernel = kernel(Some("secret"));
        let refused = "Error: the kernel wants its token: the first line must be .token TOKEN\n";
        for lines in ["print(1)\n", "\n", ".token\n", ".interrupt\n", "x", "\u{e9}\n"] {
            assert_eq!(say(&kernel, lines).await, refused, "{lines}");
        }
        assert_eq!(say(&kernel, b"\xe9\n").await, refused);
        let wrong = "Error: this is not the kernel's token\n";
        assert_eq!(say(&kernel, ".token secre\nprint(1)\n").await, wrong);
        assert_eq!(say(&kernel, ".token secret\nprint(1)\n").await, "1\n");
        // Who is not let in is told nothing.
        let mut stream = connect(&kernel);
        assert_eq!(kernel.broadcast("hello").len(), 1);
        stream.write_all(b".token secret\nprint(2)\n").await.unwrap();
        assert_eq!(until(&mut stream, "\n").await, "2\n");
        kernel.broadcast("again");
        assert_eq!(until(&mut stream, "\n").await, "notice: again\n");
    });
}

#[test]
fn who_vanishes_takes_the_work_along() {
    run(async {
        let kernel = kernel(None);
        let mut stream = connect(&kernel);
        stream.write_all(b"while true do print('x') end\n").await.unwrap();
        until(&mut stream, "x\n").await;
        drop(stream);
        assert_eq!(say(&kernel, "'free'\n").await, "\"free\"\n");
    });
}

#[test]
fn the_end_of_the_kernel_is_said() {
    run(async {
        let kernel = kernel(None);
        let mut stream = connect(&kernel);
        stream.write_all(b"Async.sleep(0.05) print('done')\n'never'\n").await.unwrap();
        while kernel.sessions()[0].running.is_none() {
            tokio::task::yield_now().await;
        }
        kernel.drain(PATIENCE).await;
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.starts_with("done\n"), "{rest}");
        assert!(rest.contains("the kernel is shutting down\n"), "{rest}");
    });
}

/// The clients of the contract's command, as each distribution has them; the
/// first two never say that they are at their end.
#[test]
fn every_netcat_prints_and_ends() {
    let kernel = KernelProcess::start(llmspell(), &["--repl"]);
    let (host, port) = kernel.endpoints["repl"].rsplit_once(':').unwrap();
    let socat = format!("TCP:{host}:{port}");
    let clients: [&[&str]; 6] = [
        &["nc.openbsd", host, port],
        &["nc.traditional", host, port],
        &["nc.openbsd", "-N", host, port],
        &["ncat", host, port],
        &["socat", "-", &socat],
        &["busybox", "nc", host, port],
    ];
    for client in clients {
        let command = || {
            let mut command = Command::new(client[0]);
            command.args(&client[1..]);
            command
        };
        let version = command().stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut found = version.unwrap_or_else(|_| panic!("this test needs {}", client[0]));
        let _ = found.kill();
        let _ = found.wait();
        for (text, expected) in
            [("print(\"test\")\n", "test\n"), ("print('a')\nprint('b')", "a\nb\n")]
        {
            let ended = finish(&mut command(), text.as_bytes());
            assert_eq!(ended.stdout(), expected, "{client:?}");
            assert_eq!(ended.code, Some(0), "{client:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_piped_client_may_ask_to_stay() {
    let kernel = KernelProcess::start(llmspell(), &["--repl"]);
    let ask = |text: &str| {
        let mut stream = kernel.connect("repl");
        stream.write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert_eq!(line, "one\n");
        stream
    };
    let stays = ask(".stay\nprint('one')\n");
    let mut leaves = ask("print('one')\n");
    // The one that was quiet for longer is still there when the other is ended.
    assert_eq!(leaves.read(&mut [0]).unwrap(), 0);
    assert_eq!(exchange(stays, b"print('two')\n"), "two\n");
}
