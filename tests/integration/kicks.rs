//! Whoever asks a program is answered, whenever that comes. Each test puts a
//! question into a moment in which the Lua thread is about to look elsewhere;
//! the program then runs until the question has changed it.

use std::{
    future::Future as _,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Waker},
    thread,
};

use llmspell::debug::{
    Attachment, BreakpointSpec, Code, Control, EvaluateContext, Failure, Program, RunState, Show,
    SourceRequest, Vm, VmOptions,
};

use crate::lab::{Lab, PATIENCE};

/// How often each moment is tried to be hit: the question and what lets the
/// thread go come from another thread.
const ROUNDS: usize = 20;

/// A script that runs on a thread of its own.
struct Running {
    control: Control,
    _attachment: Attachment,
    /// Told when the script is in `hold` or `block`.
    held: mpsc::Receiver<()>,
    /// Lets it go on: `hold` serves the debugger meanwhile, `block` does not.
    go_on: Arc<AtomicBool>,
    over: mpsc::Receiver<Result<Vec<String>, Failure>>,
}

/// Starts a script; with a condition, there is a breakpoint in line 2.
fn start(lab: &Lab, script: &str, condition: Option<&str>, waits: bool) -> Running {
    let path = lab.write("main.lua", script);
    let control = Control::new(false);
    let attachment = control.attach("a test", Box::new(|_| ())).unwrap();
    if let Some(condition) = condition {
        let source = SourceRequest::Path(path.display().to_string());
        let condition = Some(condition.to_owned());
        let spec = BreakpointSpec { line: 2, condition, ..BreakpointSpec::default() };
        control.set_breakpoints(&source, vec![spec]);
    }
    let program = Program {
        code: Code::File(path),
        args: Vec::new(),
        wait_for_debugger: waits,
        time_limit: None,
        show: Show::Text,
    };
    let go_on = Arc::new(AtomicBool::new(false));
    let (is_held, held) = mpsc::channel();
    let (is_over, over) = mpsc::channel();
    let (inner, released) = (control.clone(), Arc::clone(&go_on));
    thread::spawn(move || {
        let vm = Vm::new(&inner, &VmOptions::default()).unwrap();
        add_natives(&vm, is_held, released);
        is_over.send(vm.run(&program)).unwrap();
    });
    Running { control, _attachment: attachment, held, go_on, over }
}

fn add_natives(vm: &Vm, is_held: mpsc::Sender<()>, released: Arc<AtomicBool>) {
    let (lua, is_held) = (vm.lua(), Arc::new(Mutex::new(is_held)));
    let (told, let_go) = (Arc::clone(&is_held), Arc::clone(&released));
    let hold = lua.create_function(move |_, ()| {
        told.lock().unwrap().send(()).unwrap();
        Vm::wait("hold", &let_go);
        Ok(())
    });
    let block = lua.create_function(move |_, ()| {
        is_held.lock().unwrap().send(()).unwrap();
        while !released.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        Ok(())
    });
    lua.globals().set("hold", hold.unwrap()).unwrap();
    lua.globals().set("block", block.unwrap()).unwrap();
}

impl Running {
    /// Asks for something and does not wait for it.
    fn ask(&self, expression: &'static str) {
        let visit = self.control.visit(move |inspector| {
            inspector.evaluate(expression, None, EvaluateContext::Repl, false).unwrap();
        });
        // The question is on its way when it has been polled once.
        let _ = pin!(visit).poll(&mut Context::from_waker(Waker::noop()));
    }

    /// The script has come to its end.
    fn ends(self) {
        let outcome = self.over.recv_timeout(PATIENCE);
        self.control.terminate();
        assert_eq!(outcome.expect("the question is answered"), Ok(Vec::new()));
    }
}

#[test]
fn a_question_on_the_heels_of_the_start_is_answered() {
    for _ in 0..ROUNDS {
        let lab = Lab::new();
        let script = start(&lab, "while not over do end", None, true);
        while script.control.state() != RunState::Waiting {
            thread::yield_now();
        }
        script.control.configuration_done();
        script.ask("over = true");
        script.ends();
    }
}

#[test]
fn a_question_at_the_end_of_a_native_wait_is_answered() {
    for _ in 0..ROUNDS {
        let lab = Lab::new();
        let script = start(&lab, "hold()\nwhile not over do end", None, false);
        script.held.recv().unwrap();
        script.go_on.store(true, Ordering::SeqCst);
        script.ask("over = true");
        script.ends();
    }
}

#[test]
fn a_question_during_a_condition_is_answered() {
    for condition in ["block()", "hold()"] {
        let lab = Lab::new();
        let script = "over = false\nlocal x = 1\nwhile not over do end";
        let script = start(&lab, script, Some(condition), false);
        script.held.recv().unwrap();
        script.ask("over = true");
        if condition == "hold()" {
            // Until its time is over: it sees the question, and must not keep it.
            return script.ends();
        }
        script.go_on.store(true, Ordering::SeqCst);
        script.control.wake();
        script.ends();
    }
}

#[test]
fn a_question_while_a_coroutine_is_closed_is_answered() {
    let ends = [
        "local co = coroutine.create(body)\ncoroutine.resume(co)\nassert(coroutine.close(co))",
        "local f = coroutine.wrap(function() body(error) end)\nassert(not pcall(f))",
    ];
    for end in ends {
        let lab = Lab::new();
        let script = "local function body(leave)
  local c <close> = setmetatable({}, { __close = function() hold() while not over do end end })
  return (leave or coroutine.yield)()
end\n";
        let script = start(&lab, &format!("{script}{end}"), None, false);
        script.held.recv().unwrap();
        script.go_on.store(true, Ordering::SeqCst);
        script.control.wake();
        // Also if it is no wait that is interrupted.
        thread::yield_now();
        script.ask("over = true");
        script.ends();
    }
}
