//! A session: one Lua VM on a thread of its own, and what is run on it.
//!
//! The thread is the only one that touches the VM. It takes programs one after
//! another; while one runs, debuggers reach it through [`Control`].

mod bridge;

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

pub use bridge::{block_on, runtime};

use crate::{
    api,
    debug::{
        After, Completion, Control, EvaluateContext, Event, Failure, Inspector, Program, RunState,
        StopRequest, Variable, Vm, VmOptions, Work,
    },
};

/// Stack of a session's thread, in bytes: Lua nests two hundred native calls at
/// most, and pattern matching as many again.
const STACK_SIZE: usize = 16 << 20;

/// Exit code of a script that failed.
pub const EXIT_ERROR: i64 = 1;
/// Exit code of a script that ran out of time.
pub const EXIT_TIMEOUT: i64 = 124;
/// Exit code of a script that was interrupted.
pub const EXIT_INTERRUPTED: i64 = 130;

/// Exit code of a script that was terminated (128 + SIGTERM).
pub const EXIT_TERMINATED: i64 = 143;

/// Opens a DAP endpoint for a session; returns its port. What `Debug.enableDAP`
/// calls: sessions know no protocol.
pub type EnableDap = Arc<dyn Fn(&Control, u16) -> Result<u16, String> + Send + Sync>;

/// How a session is made.
#[derive(Clone, Default)]
pub struct SessionOptions {
    /// The VM's.
    pub vm: VmOptions,
    /// Send output only to the debugger, not to this process's own streams.
    pub output_to_debugger: bool,
    /// The script that is going to run, for debuggers that come before it does.
    pub main_script: Option<PathBuf>,
    /// Opens DAP for `Debug.enableDAP`; without it that is an error.
    pub enable_dap: Option<EnableDap>,
}

/// See the module.
pub struct Session {
    control: Control,
    thread: Option<JoinHandle<()>>,
    options: SessionOptions,
}

/// How a program ended.
pub type Outcome = Result<Vec<String>, Failure>;

impl Session {
    /// Starts the thread and waits until its VM is ready.
    ///
    /// # Errors
    /// If the thread or the VM cannot be made.
    pub fn start(options: SessionOptions) -> Result<Self, String> {
        let control = Control::new(!options.output_to_debugger);
        if let Some(path) = &options.main_script {
            control.set_main_script(path);
        }
        let (ready, is_ready) = mpsc::channel();
        let (inner, given) = (control.clone(), options.clone());
        let thread = thread::Builder::new()
            .name("llmspell-lua".to_owned())
            .stack_size(STACK_SIZE)
            .spawn(move || {
                serve(&inner, &given, &ready);
                inner.finish();
            })
            .map_err(|error| format!("cannot start a thread for Lua: {error}"))?;
        is_ready.recv().map_err(|_| "the thread for Lua ended at once".to_owned())??;
        Ok(Self { control, thread: Some(thread), options })
    }

    /// The handle for debuggers.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Opens DAP on a port (0: any free one); returns the port.
    ///
    /// # Errors
    /// If the port is taken, or this session was made without DAP.
    pub fn enable_dap(&self, port: u16) -> Result<u16, String> {
        let enable = self.options.enable_dap.as_ref().ok_or("this session has no DAP")?;
        enable(&self.control, port)
    }

    /// Runs a program after those already given; its outcome comes through the
    /// channel.
    pub fn execute(&self, program: Program) -> mpsc::Receiver<Outcome> {
        let (done, outcome) = mpsc::channel();
        self.submit(
            program,
            || true,
            move |outcome| {
                // The receiver may have given up.
                let _ = done.send(outcome);
            },
        );
        outcome
    }

    /// Runs a program after those already given. On the Lua thread `begin` is
    /// called first, which says whether to run it at all, and `end` with the
    /// outcome; `false` if the session has ended (neither is called then).
    pub fn submit(
        &self,
        program: Program,
        begin: impl FnOnce() -> bool + Send + 'static,
        end: impl FnOnce(Outcome) + Send + 'static,
    ) -> bool {
        self.control.work(Box::new(move |vm| {
            if begin() { run(program, Box::new(end))(vm) } else { After::Next }
        }))
    }

    /// Goes on with a new VM, when all that was given has run; debuggers stay.
    pub fn reset(&self, done: impl FnOnce() + Send + 'static) -> bool {
        self.control.work(Box::new(|_| {
            After::Again(Box::new(|_| {
                done();
                After::Next
            }))
        }))
    }

    /// As [`Session::execute`], on a new VM: nothing is left of earlier programs.
    pub fn execute_anew(&self, program: Program) -> mpsc::Receiver<Outcome> {
        let (done, outcome) = mpsc::channel();
        let end = move |outcome| {
            // The receiver may have given up.
            let _ = done.send(outcome);
        };
        self.control.work(Box::new(move |_| After::Again(run(program, Box::new(end)))));
        outcome
    }

    /// What could be written at a byte offset of a text.
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn complete(&self, text: String, offset: usize) -> Result<Vec<Completion>, String> {
        self.control.visit(move |inspector| inspector.completions(&text, offset, None)).await
    }

    /// The value that a name or a path such as `a.b[1]` has among the globals;
    /// calls nothing.
    ///
    /// # Errors
    /// If it has none, or the session has ended.
    pub async fn inspect(&self, path: String) -> Result<Variable, String> {
        let look = move |inspector: &Inspector<'_>| {
            inspector.evaluate(&path, None, EvaluateContext::Hover, false)
        };
        self.control.visit(look).await?
    }

    /// Ends the program that runs, as Ctrl-C does; the session lives on.
    pub fn interrupt(&self) {
        self.control.stop(StopRequest::Interrupt);
    }

    /// Tells the debugger how the session ended, and ends its thread.
    pub fn end(mut self, exit_code: i64) {
        self.control.announce(Event::Exited(exit_code));
        self.control.announce(Event::Terminated);
        self.shut_down();
    }

    fn shut_down(&mut self) {
        if self.control.state() != RunState::Idle {
            self.control.stop(StopRequest::Terminate);
        }
        self.control.work(Box::new(|_| After::Leave));
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.shut_down();
        }
    }
}

/// A program as a piece of work; a restart is the same on a new VM.
fn run(program: Program, end: Box<dyn FnOnce(Outcome) + Send>) -> Work {
    Box::new(move |vm| {
        let outcome = vm.run(&program);
        if outcome == Err(Failure::Stopped(StopRequest::Restart)) {
            let program = Program { wait_for_debugger: false, ..program };
            return After::Again(run(program, end));
        }
        end(outcome);
        After::Next
    })
}

/// The session's thread: a VM, and another one after each restart.
fn serve(control: &Control, options: &SessionOptions, ready: &mpsc::Sender<Result<(), String>>) {
    let mut again = None;
    loop {
        let vm = match open(control, options) {
            Ok(vm) => vm,
            Err(message) => {
                tracing::error!("{message}");
                let _ = ready.send(Err(message));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        loop {
            let work = again.take().unwrap_or_else(|| vm.next_work());
            match work(&vm) {
                After::Next => {}
                After::Again(work) => {
                    again = Some(work);
                    break;
                }
                After::Leave => return,
            }
        }
    }
}

fn open(control: &Control, options: &SessionOptions) -> Result<Vm, String> {
    let vm = Vm::new(control, &options.vm)?;
    let host = bridge::SessionHost::new(control.clone(), options.enable_dap.clone());
    api::install(vm.lua(), Arc::new(host)).map_err(|error| error.to_string())?;
    Ok(vm)
}
