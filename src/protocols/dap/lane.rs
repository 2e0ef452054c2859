//! The ordered lane: requests that need the Lua thread, and those that let the
//! program go on.
//!
//! The connection's task reads on while the lane waits for Lua. The lane does
//! one job after the other, so answers come in the order of the requests, and a
//! `next` behind an `evaluate` neither overtakes its answer nor pulls the frame
//! away from under it. So that a runaway evaluation cannot hold the program, a
//! job that lets it go on is kept waiting for [`PATIENCE`] at most; then what
//! runs before it is cancelled.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    debug::{Control, Inspector, Resume},
    protocols::dap::{
        events::Events,
        message::{Answer, Message, RequestError},
        outgoing::Outgoing,
    },
};

/// How long `continue` and steps wait for evaluations sent before them.
const PATIENCE: Duration = Duration::from_millis(500);

/// A cancelled evaluation is told again this often until it has ended, for the
/// case that the first call came just before it began.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// How many jobs may wait.
const MAX_JOBS: usize = 10_000;

/// What runs on the Lua thread.
pub(super) type Visit = Box<dyn FnOnce(&Inspector<'_>) -> Answer<Value> + Send>;

/// A request in the lane.
pub(super) struct Job {
    /// The client's number of it.
    pub(super) seq: i64,
    /// For the response.
    pub(super) command: String,
    /// What to do.
    pub(super) work: Work,
}

/// What a [`Job`] is about.
pub(super) enum Work {
    /// Look or evaluate.
    Look(Visit),
    /// Look, but only at a stopped program: do not wait for a running one.
    LookStopped(Visit),
    /// Change a value; what is shown of others may be wrong afterwards.
    Change(Visit),
    /// Let the program go on and answer with this body.
    GoOn(Resume, Value),
    /// Nothing: the request is faulty, but is answered in its turn.
    Refuse(RequestError),
}

/// The lane of one connection.
#[derive(Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Job, Arc<Ticket>)>,
    /// The job that is being done.
    running: Option<Running>,
    /// When the first waiting [`Work::GoOn`] runs out of patience.
    deadline: Option<Instant>,
}

struct Running {
    seq: i64,
    /// It lets the program go on.
    goes_on: bool,
    command: String,
    ticket: Arc<Ticket>,
}

/// Whether a job has begun on the Lua thread, or never will.
#[derive(Debug, Default)]
struct Ticket {
    stage: AtomicU8,
    cancelled: Notify,
}

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const CANCELLED: u8 = 2;
const CANCELLED_AFTER_BEGIN: u8 = 3;

impl Ticket {
    /// Whether the job may begin. Afterwards only the core can end it.
    fn begin(&self) -> bool {
        let stage = &self.stage;
        stage.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn cancel(&self) {
        let cancelled = |stage| match stage {
            WAITING => Some(CANCELLED),
            BEGUN => Some(CANCELLED_AFTER_BEGIN),
            _ => None,
        };
        let stage = &self.stage;
        if stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, cancelled).is_ok() {
            self.cancelled.notify_one();
        }
    }

    fn stage(&self) -> u8 {
        self.stage.load(Ordering::Acquire)
    }
}

impl Lane {
    /// Appends a job.
    pub(super) fn push(&self, job: Job) -> Answer<()> {
        let mut state = self.lock();
        if state.queue.len() >= MAX_JOBS {
            return Err(RequestError::new("too many requests are waiting"));
        }
        if matches!(job.work, Work::GoOn(..)) && state.deadline.is_none() {
            state.deadline = Some(Instant::now() + PATIENCE);
        }
        state.queue.push_back((job, Arc::default()));
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Cancels request `seq`; it is still answered when its turn comes.
    pub(super) fn cancel(&self, seq: i64) {
        let state = self.lock();
        let running = state.running.iter().map(|running| (running.seq, &running.ticket));
        let waiting = state.queue.iter().map(|(job, ticket)| (job.seq, ticket));
        for (_, ticket) in running.chain(waiting).filter(|(theirs, _)| *theirs == seq) {
            ticket.cancel();
        }
    }

    /// Whether the program is about to go on, by a request that has come already.
    pub(super) fn goes_on(&self) -> bool {
        let state = self.lock();
        state.running.as_ref().is_some_and(|running| running.goes_on)
            || state.queue.iter().any(|(job, _)| matches!(job.work, Work::GoOn(..)))
    }

    /// Ends everything; the requests that will not be answered any more.
    pub(super) fn clear(&self, control: &Control) -> Vec<(i64, String)> {
        let mut state = self.lock();
        let mut unanswered = Vec::new();
        if let Some(running) = state.running.take() {
            running.ticket.cancel();
            control.cancel_evaluation();
            unanswered.push((running.seq, running.command));
        }
        for (job, ticket) in state.queue.drain(..) {
            ticket.cancel();
            unanswered.push((job.seq, job.command));
        }
        unanswered
    }

    /// Does one job after the other, for ever.
    pub(super) async fn run(&self, control: &Control, outgoing: &Outgoing, events: &EventsCell) {
        loop {
            let (job, ticket) = self.next().await;
            let Job { seq, command, work } = job;
            let respond = |answer| outgoing.respond(Message::response(seq, &command, answer));
            match work {
                Work::GoOn(how, body) => {
                    // The stop may come before `resume` has returned.
                    let _hold = outgoing.hold();
                    respond(match ticket.stage() {
                        WAITING => control.resume(how).map(|()| body).map_err(Into::into),
                        _ => Err(RequestError::cancelled()),
                    });
                }
                Work::Refuse(error) => respond(Err(error)),
                Work::Look(visit) => respond(self.visit(control, &ticket, visit).await),
                Work::LookStopped(visit) => {
                    let only_if_stopped: Visit = Box::new(|inspector| {
                        if inspector.stopped() { visit(inspector) } else { Err(not_stopped()) }
                    });
                    respond(if control.state() == crate::debug::RunState::Stopped {
                        self.visit(control, &ticket, only_if_stopped).await
                    } else {
                        Err(not_stopped())
                    });
                }
                Work::Change(visit) => {
                    let answer = self.visit(control, &ticket, visit).await;
                    let changed = answer.is_ok();
                    respond(answer);
                    if let (true, Some(events)) = (changed, events.get()) {
                        events.invalidated();
                    }
                }
            }
            self.lock().running = None;
        }
    }

    /// Runs `visit` on the Lua thread, to its end or until it is cancelled.
    async fn visit(&self, control: &Control, ticket: &Arc<Ticket>, visit: Visit) -> Answer<Value> {
        let theirs = Arc::clone(ticket);
        let mut answer = pin!(control.visit(move |inspector| {
            if !theirs.begin() {
                return Err(RequestError::cancelled());
            }
            guarded(|| visit(inspector))
        }));
        loop {
            match ticket.stage() {
                CANCELLED => return Err(RequestError::cancelled()),
                CANCELLED_AFTER_BEGIN => control.cancel_evaluation(),
                _ => {}
            }
            let told = ticket.stage() == CANCELLED_AFTER_BEGIN;
            tokio::select! {
                biased;
                answer = &mut answer => {
                    let answer = answer.map_err(RequestError::from).flatten();
                    let cancelled = answer.is_err() && ticket.stage() >= CANCELLED;
                    return if cancelled { Err(RequestError::cancelled()) } else { answer };
                }
                () = ticket.cancelled.notified() => {}
                () = sleep(CANCEL_AGAIN), if told => {}
                () = self.overdue(), if !told => ticket.cancel(),
            }
        }
    }

    /// Waits for a job, and marks it as running.
    async fn next(&self) -> (Job, Arc<Ticket>) {
        loop {
            if let Some(job) = self.take() {
                return job;
            }
            self.changed.notified().await;
        }
    }

    fn take(&self) -> Option<(Job, Arc<Ticket>)> {
        let mut state = self.lock();
        let (job, ticket) = state.queue.pop_front()?;
        state.running = Some(Running {
            seq: job.seq,
            goes_on: matches!(job.work, Work::GoOn(..)),
            command: job.command.clone(),
            ticket: Arc::clone(&ticket),
        });
        if matches!(job.work, Work::GoOn(..)) {
            let another = state.queue.iter().any(|(job, _)| matches!(job.work, Work::GoOn(..)));
            state.deadline = another.then(|| Instant::now() + PATIENCE);
        }
        Some((job, ticket))
    }

    /// Waits until somebody who wants the program to go on has waited enough.
    async fn overdue(&self) {
        loop {
            let deadline = self.lock().deadline;
            match deadline {
                Some(deadline) => return sleep_until(deadline).await,
                None => self.changed.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Filled by the attaching request; read by whoever has something to tell.
pub(super) type EventsCell = std::sync::OnceLock<Arc<Events>>;

/// Runs a handler; a panic in it becomes its error.
pub(super) fn guarded<T>(handler: impl FnOnce() -> Answer<T>) -> Answer<T> {
    panic::catch_unwind(AssertUnwindSafe(handler)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("no reason given");
        tracing::error!(text, "a request handler panicked");
        Err(RequestError::new(format!("internal error: {text}")))
    })
}

fn not_stopped() -> RequestError {
    RequestError::new("the program is not stopped")
}
