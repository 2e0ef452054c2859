//! Questions to the Lua thread, one after another, while the screen lives on.
//!
//! The hard thing is ending one. A question that has begun ends when the core is
//! told to cancel its evaluation, again and again until it has: the first call
//! may come just before the evaluation begins. One that has not begun (native
//! code does not return) is given up; its letter does nothing when it is read.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::sync::{Notify, mpsc as queue};

use super::{Message, look::Look};
use crate::{
    debug::{Control, Inspector, Variable},
    session,
};

/// See the module.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// What a question was answered.
pub(super) enum Answer {
    /// What there is to see; nothing if the program has moved on.
    Looked(Option<Look>),
    /// An evaluation.
    Evaluated(Result<Variable, String>),
    /// The change of a variable.
    Set(Result<Variable, String>),
}

type Ask = Box<dyn FnOnce(&Inspector<'_>) -> Answer + Send>;

struct Question {
    number: u64,
    /// Its answer if it is cancelled, or the session is over.
    otherwise: Answer,
    ask: Ask,
}

/// See the module.
pub(super) struct Questions {
    queue: queue::UnboundedSender<Question>,
    asked: u64,
    answered: u64,
    /// All questions up to this number are to end.
    cancelled: Arc<Cancelled>,
}

#[derive(Default)]
struct Cancelled {
    through: AtomicU64,
    changed: Notify,
}

impl Cancelled {
    fn includes(&self, number: u64) -> bool {
        number <= self.through.load(Ordering::SeqCst)
    }
}

impl Questions {
    /// Answers will come as [`Message::Answered`].
    pub(super) fn start(control: Control, messages: mpsc::Sender<Message>) -> Result<Self, String> {
        let runtime = session::runtime().map_err(|error| error.to_string())?;
        let (queue, questions) = queue::unbounded_channel();
        let cancelled = Arc::new(Cancelled::default());
        runtime.spawn(serve(control, questions, Arc::clone(&cancelled), messages));
        Ok(Self { queue, asked: 0, answered: 0, cancelled })
    }

    /// `otherwise` is the answer if it is cancelled before it has begun.
    pub(super) fn ask(
        &mut self,
        otherwise: Answer,
        ask: impl FnOnce(&Inspector<'_>) -> Answer + Send + 'static,
    ) {
        self.asked += 1;
        // The task lives as long as the runtime.
        let _ = self.queue.send(Question { number: self.asked, otherwise, ask: Box::new(ask) });
    }

    /// To be told of each answer.
    pub(super) fn note_answer(&mut self) {
        self.answered += 1;
    }

    /// Whether answers are still to come.
    pub(super) fn waits(&self) -> bool {
        self.answered < self.asked
    }

    /// Ends all questions that were asked.
    pub(super) fn cancel(&self) {
        self.cancelled.through.store(self.asked, Ordering::SeqCst);
        self.cancelled.changed.notify_one();
    }
}

async fn serve(
    control: Control,
    mut questions: queue::UnboundedReceiver<Question>,
    cancelled: Arc<Cancelled>,
    messages: mpsc::Sender<Message>,
) {
    while let Some(question) = questions.recv().await {
        let answer = answer(&control, question, &cancelled).await;
        if messages.send(Message::Answered(answer)).is_err() {
            return;
        }
    }
}

async fn answer(control: &Control, question: Question, cancelled: &Arc<Cancelled>) -> Answer {
    let Question { number, otherwise, ask } = question;
    let begun = Arc::new(AtomicBool::new(false));
    let (begins, given_up) = (Arc::clone(&begun), Arc::clone(cancelled));
    let mut answer = pin!(control.visit(move |inspector| {
        begins.store(true, Ordering::SeqCst);
        (!given_up.includes(number)).then(|| ask(inspector))
    }));
    loop {
        let ends = cancelled.includes(number);
        if ends {
            if !begun.load(Ordering::SeqCst) {
                return otherwise;
            }
            control.cancel_evaluation();
        }
        tokio::select! {
            biased;
            answer = &mut answer => return answer.ok().flatten().unwrap_or(otherwise),
            () = cancelled.changed.notified() => {}
            () = tokio::time::sleep(CANCEL_AGAIN), if ends => {}
        }
    }
}
