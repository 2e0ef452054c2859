//! The kernel's sessions, and what is run on them.
//!
//! The hard thing is to know for whom a session works. Its current execution is
//! noted on the Lua thread when it begins and forgotten there when it has ended,
//! with all output passed on before; so everything in between belongs to it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    debug::{
        Code, Control, Event, Failure, Observation, OutputCategory, Program, RunState, Show,
        StopReason, StopRequest, TextStream, VmOptions,
    },
    kernel::{
        Inner,
        clients::ClientState,
        events::Origin,
        message::{
            Execute, Executed, ExecutionState, Publication, PublicationBody, ReplyBody,
            SessionInfo, Status, Stopped, StreamName,
        },
        traces::SpanHandle,
    },
    session::{Outcome, Session, SessionOptions},
};

/// Limits of a session's programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most memory of its VM, in bytes; 0 for no limit.
    pub memory: usize,
    /// Longest run of one cell.
    pub timeout: Option<Duration>,
}

/// A session of the kernel.
pub(super) struct KernelSession {
    pub(super) name: String,
    /// Client that it ends with.
    pub(super) owner: Option<String>,
    pub(super) control: Control,
    /// The frame that commands and evaluations look at; counts from the top.
    pub(super) frame: AtomicUsize,
    /// Evaluations in a frame that are under way.
    pub(super) evaluating: AtomicUsize,
    limits: Limits,
    /// Taken out to end it: its thread must not be the one that waits for itself.
    session: Mutex<Option<Session>>,
    kernel: Weak<Inner>,
    running: Mutex<Option<Running>>,
    execution_count: AtomicU64,
    queued: AtomicUsize,
    streams: Mutex<[TextStream; 3]>,
    observation: Mutex<Option<Observation>>,
}

/// What a session works on.
struct Running {
    job: Arc<Job>,
    run: SpanHandle,
    stop: Option<SpanHandle>,
    started: Instant,
}

/// A request that is carried out on a session.
pub(super) struct Job {
    pub(super) msg_id: String,
    pub(super) origin: Origin,
    pub(super) client: Arc<ClientState>,
    pub(super) span: SpanHandle,
    /// Its client wants to know how long it took.
    pub(super) timed: bool,
}

impl KernelSession {
    /// Starts a session.
    pub(super) fn start(
        kernel: &Arc<Inner>,
        name: &str,
        owner: Option<String>,
        limits: Limits,
    ) -> Result<Arc<Self>, String> {
        let session = Session::start(SessionOptions {
            vm: VmOptions { memory_limit: limits.memory, args: vec![name.to_owned()] },
            output_to_debugger: true,
            main_script: None,
            enable_dap: kernel.options.enable_dap.clone(),
        })?;
        session.control().contain_exit();
        let this = Arc::new(Self {
            name: name.to_owned(),
            owner,
            control: session.control().clone(),
            frame: AtomicUsize::new(0),
            evaluating: AtomicUsize::new(0),
            limits,
            session: Mutex::new(Some(session)),
            kernel: Arc::downgrade(kernel),
            running: Mutex::default(),
            execution_count: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            streams: Mutex::default(),
            observation: Mutex::default(),
        });
        let weak = Arc::downgrade(&this);
        let observation = this.control.observe(Box::new(move |event| {
            if let Some(session) = weak.upgrade() {
                session.observe(event);
            }
        }));
        *lock(&this.observation) = Some(observation);
        Ok(this)
    }

    /// Runs a cell when those before it are over.
    pub(super) fn execute(self: &Arc<Self>, job: Job, execute: Execute, wait_for_debugger: bool) {
        let name = execute.name.clone();
        let number = self.execution_count.fetch_add(1, Ordering::SeqCst) + 1;
        let program = Program {
            code: Code::Expression {
                name: name.unwrap_or_else(|| format!("cell {number}")),
                text: execute.code.clone(),
            },
            args: Vec::new(),
            wait_for_debugger,
            time_limit: self.limits.timeout,
            show: Show::Pretty,
        };
        let job = Arc::new(job);
        let queue_span = self.with_kernel(|kernel| kernel.traces.child(&job.span, "queue", vec![]));
        self.queued.fetch_add(1, Ordering::SeqCst);
        let begin = {
            let (this, job) = (Arc::clone(self), Arc::clone(&job));
            move || this.begin(&job, execute.code, number, queue_span)
        };
        let end = {
            let (this, job) = (Arc::clone(self), Arc::clone(&job));
            move |outcome| this.end(&job, number, outcome)
        };
        let submitted =
            lock(&self.session).as_ref().is_some_and(|it| it.submit(program, begin, end));
        if !submitted {
            self.queued.fetch_sub(1, Ordering::SeqCst);
            self.refuse(&job, number, "the session has ended");
        }
    }

    /// On the Lua thread: a job's turn has come. `false` if it is not to run.
    fn begin(
        &self,
        job: &Arc<Job>,
        code: String,
        number: u64,
        queue_span: Option<SpanHandle>,
    ) -> bool {
        self.queued.fetch_sub(1, Ordering::SeqCst);
        let Some(kernel) = self.kernel.upgrade() else { return false };
        if let Some(span) = queue_span {
            kernel.traces.end(&span, None);
        }
        if kernel.is_draining() {
            self.refuse(job, number, "the kernel is shutting down");
            return false;
        }
        if !job.client.is_connected() {
            self.refuse(job, number, "its client has gone");
            return false;
        }
        {
            let mut running = lock(&self.running);
            // An interrupt that came between two cells is for neither.
            self.control.forget_stop_request();
            let run = kernel.traces.child(&job.span, "run", vec![]);
            let (job, started) = (Arc::clone(job), Instant::now());
            *running = Some(Running { job, run, stop: None, started });
        }
        self.frame.store(0, Ordering::SeqCst);
        kernel.events.record(
            "execution.started",
            &job.origin,
            json!({ "msg_id": job.msg_id, "execution_count": number, "code": code }),
        );
        self.publish(PublicationBody::Status { execution_state: ExecutionState::Busy });
        self.publish(PublicationBody::ExecuteInput { code, execution_count: number });
        true
    }

    /// On the Lua thread: a job is over, and all its output has been passed on.
    fn end(&self, job: &Arc<Job>, number: u64, outcome: Outcome) {
        self.finish_streams();
        if job.timed {
            let elapsed = lock(&self.running).as_ref().map(|it| it.started.elapsed());
            let millis = elapsed.unwrap_or_default().as_secs_f64() * 1000.0;
            self.stream(OutputCategory::Console, format!("{millis:.3} ms\n"));
        }
        let running = lock(&self.running).take();
        let elapsed = running.as_ref().map_or(Duration::ZERO, |it| it.started.elapsed());
        let executed = executed(&self.control, number, outcome, elapsed);
        let ok = executed.status == Status::Ok;
        if let Some(kernel) = self.kernel.upgrade() {
            let error = executed.error.clone();
            if let Some(running) = running {
                if let Some(stop) = running.stop {
                    kernel.traces.end(&stop, None);
                }
                kernel.traces.end(&running.run, error.clone());
            }
            kernel.traces.end(&job.span, error.clone());
            kernel.metrics.record("execute", elapsed, ok);
            kernel.events.record(
                "execution.finished",
                &job.origin,
                json!({
                    "msg_id": job.msg_id,
                    "execution_count": number,
                    "status": executed.status,
                    "error": error,
                    "duration_ms": executed.duration_ms,
                }),
            );
            kernel.reply(job, ReplyBody::ExecuteReply(executed));
            let body = PublicationBody::Status { execution_state: ExecutionState::Idle };
            kernel.clients.publish(&self.publication(Some(job), body), Some(&job.client));
            kernel.touch();
        }
    }

    /// Answers a job that never began.
    fn refuse(&self, job: &Arc<Job>, number: u64, why: &str) {
        self.with_kernel(|kernel| {
            kernel.traces.end(&job.span, Some(why.to_owned()));
            let executed = Executed {
                status: Status::Aborted,
                execution_count: number,
                values: Vec::new(),
                error: Some(why.to_owned()),
                traceback: None,
                exit_code: None,
                duration_ms: 0.0,
            };
            kernel.reply(job, ReplyBody::ExecuteReply(executed));
            kernel.touch();
        });
    }

    /// Ends what runs, as Ctrl-C does; `false` if nothing does.
    pub(super) fn interrupt(&self) -> bool {
        if self.evaluating.load(Ordering::SeqCst) > 0 {
            self.control.cancel_evaluation();
            return true;
        }
        // Under the lock, so that it cannot hit the next cell.
        let running = lock(&self.running);
        if running.is_some() {
            self.control.stop(StopRequest::Interrupt);
        }
        running.is_some()
    }

    /// Whether something runs that does not stand still. What has only begun
    /// (it is being compiled) can be paused, too: at its first line.
    pub(super) fn can_pause(&self) -> bool {
        let begun = lock(&self.running).is_some();
        match self.control.state() {
            RunState::Running => true,
            RunState::Idle => begun,
            RunState::Waiting | RunState::Stopped | RunState::Finished => false,
        }
    }

    /// As [`KernelSession::interrupt`], if it works for this client.
    pub(super) fn interrupt_for(&self, client: &ClientState) {
        let is_its = lock(&self.running).as_ref().is_some_and(|it| it.job.client.id == client.id);
        if is_its {
            self.interrupt();
        }
    }

    /// Whether nothing runs and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        lock(&self.running).is_none() && self.queued.load(Ordering::SeqCst) == 0
    }

    /// Goes on with a new VM; calls `done` then. `false` if the session has ended.
    pub(super) fn reset(&self, done: impl FnOnce() + Send + 'static) -> bool {
        self.interrupt();
        lock(&self.session).as_ref().is_some_and(|it| it.reset(done))
    }

    /// Ends it: tells debuggers, ends what runs, and waits for its thread.
    /// Blocks, possibly for ever if native code does not return.
    pub(super) fn close(&self) {
        let Some(session) = lock(&self.session).take() else { return };
        session.end(0);
        *lock(&self.observation) = None;
    }

    pub(super) fn info(&self, clients: usize) -> SessionInfo {
        let state = match self.control.state() {
            RunState::Idle => "idle",
            RunState::Waiting => "waiting",
            RunState::Running => "running",
            RunState::Stopped => "stopped",
            RunState::Finished => "finished",
        };
        SessionInfo {
            name: self.name.clone(),
            state: state.to_owned(),
            execution_count: self.execution_count.load(Ordering::SeqCst),
            queued: self.queued.load(Ordering::SeqCst),
            clients,
            owner: self.owner.clone(),
            running: lock(&self.running).as_ref().map(|it| it.job.msg_id.clone()),
            debugger: self.control.attached(),
        }
    }

    /// From the debug core, on whatever thread it happens.
    fn observe(self: &Arc<Self>, event: Event) {
        match event {
            Event::Output(output) => {
                let text = lock(&self.streams)[stream_index(output.category)].push(&output.bytes);
                self.stream(output.category, text);
            }
            Event::Stopped(reason) => self.stopped(&reason),
            Event::Resumed => {
                self.frame.store(0, Ordering::SeqCst);
                self.end_stop_span();
                self.publish(PublicationBody::Resumed {});
            }
            _ => {}
        }
    }

    fn stopped(self: &Arc<Self>, reason: &StopReason) {
        self.frame.store(0, Ordering::SeqCst);
        let words = words_of(reason);
        self.with_kernel(|kernel| {
            let mut running = lock(&self.running);
            let Some(running) = &mut *running else { return };
            let attributes = vec![("reason", json!(words.0))];
            running.stop = Some(kernel.traces.child(&running.run, "stopped", attributes));
        });
        // Where it stands is asked like by any other front end: this is the Lua
        // thread, which answers as soon as it stands still.
        let this = Arc::clone(self);
        let Ok(runtime) = crate::session::runtime() else { return };
        runtime.spawn(async move {
            let place = super::console::place(&this.control, 0).await;
            // Somebody was faster and has let it go on.
            let Some(place) = place else { return };
            let stopped = Stopped { reason: words.0.to_owned(), message: words.1, ..place };
            this.with_kernel(|kernel| {
                let origin = this.origin();
                let data = json!({
                    "reason": stopped.reason, "source": stopped.source, "line": stopped.line,
                });
                kernel.events.record("debug.stopped", &origin, data);
            });
            this.publish(PublicationBody::Stopped(stopped));
        });
    }

    fn end_stop_span(&self) {
        let stop = lock(&self.running).as_mut().and_then(|running| running.stop.take());
        self.with_kernel(|kernel| {
            if let Some(stop) = stop {
                kernel.traces.end(&stop, None);
            }
            kernel.events.record("debug.resumed", &self.origin(), json!({}));
        });
    }

    fn origin(&self) -> Origin {
        let session = Some(self.name.clone());
        lock(&self.running)
            .as_ref()
            .map_or(Origin { session, ..Origin::default() }, |it| it.job.origin.clone())
    }

    fn stream(&self, category: OutputCategory, text: String) {
        if text.is_empty() {
            return;
        }
        let name = match category {
            OutputCategory::Stdout => StreamName::Stdout,
            OutputCategory::Stderr => StreamName::Stderr,
            OutputCategory::Console => StreamName::Console,
        };
        self.publish(PublicationBody::Stream { name, text });
    }

    /// Passes on halves of characters that will not be completed.
    fn finish_streams(&self) {
        for category in [OutputCategory::Stdout, OutputCategory::Stderr, OutputCategory::Console] {
            let rest = lock(&self.streams)[stream_index(category)].finish();
            self.stream(category, rest);
        }
    }

    /// Tells whom it concerns.
    fn publish(&self, body: PublicationBody) {
        let job = lock(&self.running).as_ref().map(|running| Arc::clone(&running.job));
        let publication = self.publication(job.as_ref(), body);
        self.with_kernel(|kernel| {
            kernel.clients.publish(&publication, job.as_ref().map(|job| &job.client));
        });
    }

    fn publication(&self, job: Option<&Arc<Job>>, body: PublicationBody) -> Publication {
        Publication {
            parent_id: job.map(|job| job.msg_id.clone()),
            session: Some(self.name.clone()),
            body,
        }
    }

    fn with_kernel<T>(&self, work: impl FnOnce(&Arc<Inner>) -> T) -> Option<T> {
        self.kernel.upgrade().map(|kernel| work(&kernel))
    }
}

/// All sessions, by name.
#[derive(Default)]
pub(super) struct Sessions {
    by_name: Mutex<BTreeMap<String, Arc<KernelSession>>>,
}

impl Sessions {
    pub(super) fn get(&self, name: &str) -> Option<Arc<KernelSession>> {
        lock(&self.by_name).get(name).cloned()
    }

    /// Adds one that `make` makes.
    pub(super) fn add(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Arc<KernelSession>, String>,
    ) -> Result<Arc<KernelSession>, String> {
        let mut sessions = lock(&self.by_name);
        if sessions.contains_key(name) {
            return Err(format!("there is a session '{name}' already"));
        }
        let session = make()?;
        sessions.insert(name.to_owned(), Arc::clone(&session));
        Ok(session)
    }

    pub(super) fn remove(&self, name: &str) -> Option<Arc<KernelSession>> {
        lock(&self.by_name).remove(name)
    }

    pub(super) fn all(&self) -> Vec<Arc<KernelSession>> {
        lock(&self.by_name).values().cloned().collect()
    }
}

/// An outcome as the client is told.
fn executed(control: &Control, number: u64, outcome: Outcome, elapsed: Duration) -> Executed {
    let mut executed = Executed {
        status: Status::Ok,
        execution_count: number,
        values: Vec::new(),
        error: None,
        traceback: None,
        exit_code: None,
        duration_ms: elapsed.as_secs_f64() * 1000.0,
    };
    match outcome {
        Ok(values) => executed.values = values,
        Err(Failure::Error { message, traceback }) => {
            executed.status = Status::Error;
            executed.error = Some(message);
            executed.traceback = (!traceback.is_empty()).then_some(traceback);
        }
        Err(Failure::Stopped(request)) => {
            executed.status = Status::Aborted;
            executed.error = Some(match request {
                StopRequest::Interrupt => "interrupted".to_owned(),
                StopRequest::Timeout => "ran out of time".to_owned(),
                StopRequest::Terminate | StopRequest::Restart => "terminated".to_owned(),
                StopRequest::Exit => {
                    executed.exit_code = Some(control.exit_code());
                    format!("os.exit({}) ends the cell, not the kernel", control.exit_code())
                }
            });
        }
    }
    executed
}

/// DAP's word for a reason, and the message of an error.
fn words_of(reason: &StopReason) -> (&'static str, Option<String>) {
    match reason {
        StopReason::Entry => ("entry", None),
        StopReason::Breakpoint(_) => ("breakpoint", None),
        StopReason::FunctionBreakpoint(_) => ("function breakpoint", None),
        StopReason::Step => ("step", None),
        StopReason::Pause => ("pause", None),
        StopReason::Exception(exception) => ("exception", Some(exception.message.clone())),
    }
}

fn stream_index(category: OutputCategory) -> usize {
    match category {
        OutputCategory::Stdout => 0,
        OutputCategory::Stderr => 1,
        OutputCategory::Console => 2,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
