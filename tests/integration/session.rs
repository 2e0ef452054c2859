//! A session as other parts of the program use it: cells one after another,
//! questions in between, and an interrupt that it survives.

use llmspell::{
    debug::{Code, CompletionKind, Failure, Program, RunState, Show, StopRequest, VmOptions},
    session::{Outcome, Session, SessionOptions, runtime},
};

fn session(memory_limit: usize) -> Session {
    let vm = VmOptions { memory_limit, args: Vec::new() };
    Session::start(SessionOptions { vm, output_to_debugger: true, ..SessionOptions::default() })
        .unwrap()
}

fn cell(text: &str) -> Program {
    let code = Code::Expression { name: "cell".to_owned(), text: text.to_owned() };
    Program { code, args: Vec::new(), wait_for_debugger: false, time_limit: None, show: Show::Text }
}

fn execute(session: &Session, text: &str) -> Outcome {
    session.execute(cell(text)).recv().unwrap()
}

#[test]
fn cells_share_their_globals() {
    let session = session(0);
    assert_eq!(execute(&session, "shop = { price = 3, prize = {} }"), Ok(Vec::new()));
    assert_eq!(execute(&session, "shop.price * 2, 'x'"), Ok(vec!["6".into(), "x".into()]));
    let failed = execute(&session, "shop.price()");
    assert!(matches!(failed, Err(Failure::Error { message, .. })
        if message == "cell:1: attempt to call a number value (field 'price')"));
    assert_eq!(execute(&session, "shop.price"), Ok(vec!["3".into()]));
}

#[test]
fn questions_are_answered_between_and_during_cells() {
    let session = session(0);
    let runtime = runtime().unwrap();
    execute(&session, "shop = { price = 3, open = function() end }").unwrap();
    let complete = |text: &str| {
        let found = runtime.block_on(session.complete(text.to_owned(), text.len())).unwrap();
        found.into_iter().map(|it| (it.label, it.kind)).collect::<Vec<_>>()
    };
    assert_eq!(complete("print(shop.p"), [("price".to_owned(), CompletionKind::Field)]);
    assert_eq!(complete("shop:"), [("open".to_owned(), CompletionKind::Function)]);
    let inspect = |path: &str| runtime.block_on(session.inspect(path.to_owned()));
    assert_eq!(inspect("shop.price").unwrap().value, "3");
    assert!(inspect("shop.missing.deep").is_err());

    let spinning = session.execute(cell("spins = true while spins do end return 'over'"));
    while session.control().state() != RunState::Running {
        std::thread::yield_now();
    }
    assert_eq!(inspect("shop.price").unwrap().value, "3");
    session.interrupt();
    assert_eq!(spinning.recv().unwrap(), Err(Failure::Stopped(StopRequest::Interrupt)));
    assert_eq!(execute(&session, "spins"), Ok(vec!["true".into()]));
}

#[test]
fn a_session_survives_the_end_of_its_memory() {
    let session = session(8 << 20);
    let failed = execute(&session, "local t = {} for i = 1, 1e9 do t[i] = { i } end");
    assert!(matches!(failed, Err(Failure::Error { message, .. })
        if message == "Memory limit exceeded"));
    assert_eq!(execute(&session, "1 + 1"), Ok(vec!["2".into()]));
}
