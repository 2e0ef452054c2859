//! What each execution did and how long: spans, kept for the latest executions.
//!
//! A trace is found by the message id of its request. Traces are bounded in
//! number, and each in spans: what is too much is counted, not kept.

pub mod export;

use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    hash::{BuildHasher as _, Hasher as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::kernel::time::{rfc3339, unix_nanos};

/// Traces kept.
pub const CAPACITY: usize = 1_000;
/// Spans kept of one trace.
const MOST_SPANS: usize = 1_000;

/// A piece of work.
#[derive(Clone, Debug)]
pub struct Span {
    /// Unique in its trace.
    pub span_id: u64,
    /// The span that it is part of.
    pub parent: Option<u64>,
    /// What was done.
    pub name: String,
    /// When it began.
    pub start: SystemTime,
    /// When it ended, if it has.
    pub end: Option<SystemTime>,
    /// Details, named by OpenTelemetry's conventions where there are any.
    pub attributes: Vec<(&'static str, Value)>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Everything that one request led to.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Message id of the request.
    pub msg_id: String,
    /// Unique in the world.
    pub trace_id: u128,
    /// In the order in which they began; the first is the root.
    pub spans: Vec<Span>,
    /// Spans that were not kept.
    pub dropped: u64,
}

/// Names a span that is under way.
#[derive(Clone, Debug)]
pub struct SpanHandle {
    trace: u64,
    span_id: u64,
}

/// The traces.
#[derive(Debug, Default)]
pub struct Traces {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    traces: VecDeque<Trace>,
    /// Number of the first in `traces`.
    first: u64,
    by_message: HashMap<String, u64>,
}

impl Traces {
    /// Begins a trace.
    pub fn begin(
        &self,
        msg_id: &str,
        name: &str,
        attributes: Vec<(&'static str, Value)>,
    ) -> SpanHandle {
        let mut kept = self.lock();
        if kept.traces.len() == CAPACITY
            && let Some(oldest) = kept.traces.pop_front()
        {
            let number = kept.first;
            kept.first += 1;
            if kept.by_message.get(&oldest.msg_id) == Some(&number) {
                kept.by_message.remove(&oldest.msg_id);
            }
        }
        let number = kept.first + kept.traces.len() as u64;
        let root = span(None, name, attributes);
        let handle = SpanHandle { trace: number, span_id: root.span_id };
        let trace_id = u128::from(random()) << 64 | u128::from(random());
        kept.traces.push_back(Trace {
            msg_id: msg_id.to_owned(),
            trace_id,
            spans: vec![root],
            dropped: 0,
        });
        kept.by_message.insert(msg_id.to_owned(), number);
        handle
    }

    /// Begins a part of a span.
    pub fn child(
        &self,
        parent: &SpanHandle,
        name: &str,
        attributes: Vec<(&'static str, Value)>,
    ) -> SpanHandle {
        let child = span(Some(parent.span_id), name, attributes);
        let handle = SpanHandle { trace: parent.trace, span_id: child.span_id };
        if let Some(trace) = self.lock().trace(parent.trace) {
            if trace.spans.len() < MOST_SPANS {
                trace.spans.push(child);
            } else {
                trace.dropped += 1;
            }
        }
        handle
    }

    /// Ends a span.
    pub fn end(&self, handle: &SpanHandle, error: Option<String>) {
        let now = SystemTime::now();
        self.change(handle, |span| {
            span.end = Some(now.max(span.start));
            span.error = error;
        });
    }

    /// Adds a detail to a span.
    pub fn note(&self, handle: &SpanHandle, name: &'static str, value: Value) {
        self.change(handle, |span| span.attributes.push((name, value)));
    }

    /// The spans of a request as a tree.
    pub fn tree(&self, msg_id: &str) -> Option<Value> {
        let mut kept = self.lock();
        let number = *kept.by_message.get(msg_id)?;
        let trace = kept.trace(number)?.clone();
        drop(kept);
        let root = trace.spans.first()?;
        Some(json!({
            "msg_id": trace.msg_id,
            "trace_id": format!("{:032x}", trace.trace_id),
            "dropped_spans": trace.dropped,
            "root": branch(&trace, root),
        }))
    }

    /// All traces kept, oldest first.
    pub fn all(&self) -> Vec<Trace> {
        self.lock().traces.iter().cloned().collect()
    }

    fn change(&self, handle: &SpanHandle, change: impl FnOnce(&mut Span)) {
        let mut kept = self.lock();
        let trace = kept.trace(handle.trace);
        let span = trace
            .and_then(|trace| trace.spans.iter_mut().rev().find(|it| it.span_id == handle.span_id));
        if let Some(span) = span {
            change(span);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn trace(&mut self, number: u64) -> Option<&mut Trace> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.traces.get_mut(index)
    }
}

fn span(parent: Option<u64>, name: &str, attributes: Vec<(&'static str, Value)>) -> Span {
    Span {
        span_id: random(),
        parent,
        name: name.to_owned(),
        start: SystemTime::now(),
        end: None,
        attributes,
        error: None,
    }
}

fn branch(trace: &Trace, span: &Span) -> Value {
    let parts = trace.spans.iter().filter(|it| it.parent == Some(span.span_id));
    let duration = span
        .end
        .map(|end| end.duration_since(span.start).unwrap_or(Duration::ZERO).as_secs_f64() * 1000.0);
    let attributes: serde_json::Map<_, _> =
        span.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    json!({
        "span_id": format!("{:016x}", span.span_id),
        "name": span.name,
        "start": rfc3339(span.start),
        "start_unix_nano": unix_nanos(span.start),
        "duration_ms": duration,
        "error": span.error,
        "attributes": attributes,
        "children": parts.map(|part| branch(trace, part)).collect::<Vec<_>>(),
    })
}

/// A number that is nowhere else: the standard library's random hash keys, and a
/// count. Never 0.
pub(crate) fn random() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(COUNT.fetch_add(1, Ordering::Relaxed));
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_a_tree() {
        let traces = Traces::default();
        let root = traces.begin("m1", "execute", vec![("session", json!("main"))]);
        let run = traces.child(&root, "run", vec![]);
        let stop = traces.child(&run, "stopped", vec![]);
        traces.end(&stop, None);
        traces.end(&run, Some("boom".to_owned()));
        let tree = traces.tree("m1").unwrap();
        assert_eq!(tree["root"]["name"], "execute");
        assert_eq!(tree["root"]["duration_ms"], Value::Null);
        assert_eq!(tree["root"]["attributes"]["session"], "main");
        assert_eq!(tree["root"]["children"][0]["error"], "boom");
        assert_eq!(tree["root"]["children"][0]["children"][0]["name"], "stopped");
        assert_eq!(traces.tree("m2"), None);
    }

    #[test]
    fn old_traces_make_room() {
        let traces = Traces::default();
        let first = traces.begin("m0", "execute", vec![]);
        for number in 1..=CAPACITY {
            traces.begin(&format!("m{number}"), "execute", vec![]);
        }
        assert_eq!(traces.tree("m0"), None);
        // What is gone is left alone.
        traces.end(&first, None);
        assert!(traces.tree("m1").unwrap()["root"]["duration_ms"].is_null());
        assert_eq!(traces.all().len(), CAPACITY);
    }

    #[test]
    fn a_trace_is_bounded() {
        let traces = Traces::default();
        let root = traces.begin("m", "execute", vec![]);
        for _ in 0..MOST_SPANS + 9 {
            traces.child(&root, "part", vec![]);
        }
        assert_eq!(traces.tree("m").unwrap()["dropped_spans"], 10);
    }
}
