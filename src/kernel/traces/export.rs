//! Traces in the formats that other tools read.
//!
//! The hard thing is what is still under way. OpenTelemetry has only spans that
//! have ended, so there an open one ends now and says that it is open; Chrome's
//! viewers draw a begin without an end as open.

use std::{collections::HashMap, time::SystemTime};

use serde_json::{Map, Value, json};

use crate::kernel::{
    time::unix_nanos,
    traces::{Span, Trace},
};

/// The attribute that names a trace's session.
const SESSION: &str = "llmspell.session";

/// What all spans of an export come from.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The kernel's id.
    pub kernel: &'a str,
    /// Its process.
    pub pid: u32,
    /// When the export is made.
    pub now: SystemTime,
}

/// OTLP, in JSON as OpenTelemetry's protocol maps it: an
/// `ExportTraceServiceRequest`.
pub fn otlp(source: &Source<'_>, traces: &[Trace]) -> Value {
    let spans: Vec<_> = traces
        .iter()
        .flat_map(|trace| trace.spans.iter().map(|span| otlp_span(source, trace, span)))
        .collect();
    let resource = [
        ("service.name", json!("llmspell")),
        ("service.version", json!(env!("CARGO_PKG_VERSION"))),
        ("service.instance.id", json!(source.kernel)),
        ("process.pid", json!(source.pid)),
    ];
    json!({
        "resourceSpans": [{
            "resource": { "attributes": key_values(resource) },
            "scopeSpans": [{
                "scope": { "name": "llmspell", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }],
    })
}

fn otlp_span(source: &Source<'_>, trace: &Trace, span: &Span) -> Value {
    /// Answers a request from outside.
    const SERVER: u8 = 2;
    const INTERNAL: u8 = 1;
    const ERROR: u8 = 2;
    let is_root = span.parent.is_none();
    let mut attributes: Vec<_> = span.attributes.clone();
    if is_root {
        attributes.push(("llmspell.msg_id", json!(trace.msg_id)));
    }
    if is_root && trace.dropped > 0 {
        attributes.push(("llmspell.dropped_spans", json!(trace.dropped)));
    }
    if span.end.is_none() {
        attributes.push(("llmspell.open", json!(true)));
    }
    let end = span.end.unwrap_or(source.now).max(span.start);
    let mut document = json!({
        "traceId": format!("{:032x}", trace.trace_id),
        "spanId": format!("{:016x}", span.span_id),
        "name": span.name,
        "kind": if is_root { SERVER } else { INTERNAL },
        // 64 bits are more than a JSON number holds for most readers.
        "startTimeUnixNano": unix_nanos(span.start).to_string(),
        "endTimeUnixNano": unix_nanos(end).to_string(),
        "attributes": key_values(attributes),
        // Success is left unset: nobody has judged it.
        "status": span.error.as_ref().map_or_else(
            || json!({}),
            |message| json!({ "code": ERROR, "message": message }),
        ),
    });
    if let Some(parent) = span.parent {
        document["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    document
}

fn key_values<'a>(attributes: impl IntoIterator<Item = (&'a str, Value)>) -> Vec<Value> {
    let set = attributes.into_iter().filter(|(_, value)| !value.is_null());
    set.map(|(key, value)| json!({ "key": key, "value": any_value(&value) })).collect()
}

fn any_value(value: &Value) -> Value {
    match value {
        // The empty message: no value.
        Value::Null => json!({}),
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => json!({ "intValue": integer.to_string() }),
            None => json!({ "doubleValue": number.as_f64() }),
        },
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(any_value).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Value::Object(members) => {
            let values: Vec<_> = members
                .iter()
                .map(|(key, value)| json!({ "key": key, "value": any_value(value) }))
                .collect();
            json!({ "kvlistValue": { "values": values } })
        }
    }
}

/// Chrome's trace events, which Perfetto opens.
///
/// Events on one track must lie one within the other, and cells wait while others
/// run: so each session has as many tracks as it has had requests at a time.
pub fn chrome(source: &Source<'_>, traces: &[Trace]) -> Value {
    let mut lanes = Tracks::default();
    let mut events = Vec::new();
    for trace in traces {
        let Some(root) = trace.spans.first() else { continue };
        let session = root.attributes.iter().find(|(name, _)| *name == SESSION);
        let session = session.and_then(|(_, value)| value.as_str()).unwrap_or("kernel");
        let track = lanes.take(session, trace);
        events.extend(trace.spans.iter().map(|span| chrome_event(source, trace, span, track)));
    }
    // Those that begin together: the longer one first, as it holds the other.
    events.sort_by_key(|(start, end, _)| (*start, std::cmp::Reverse(*end)));
    let name = format!("llmspell {}", source.kernel);
    let mut all = vec![metadata(source, 0, "process_name", &name)];
    for (number, track) in (1..).zip(&lanes.tracks) {
        all.push(metadata(source, number, "thread_name", &track.name));
    }
    all.extend(events.into_iter().map(|(_, _, event)| event));
    json!({ "traceEvents": all, "displayTimeUnit": "ms" })
}

fn chrome_event(source: &Source<'_>, trace: &Trace, span: &Span, tid: usize) -> (u64, u64, Value) {
    let mut args: Map<_, _> =
        span.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    args.insert("msg_id".to_owned(), json!(trace.msg_id));
    if let Some(error) = &span.error {
        args.insert("error".to_owned(), json!(error));
    }
    let start = unix_nanos(span.start);
    let mut event = json!({
        "name": span.name,
        "cat": "llmspell",
        "ph": "B",
        "ts": micros(start),
        "pid": source.pid,
        "tid": tid,
        "args": args,
    });
    let end = span.end.map_or(u64::MAX, |end| unix_nanos(end).max(start));
    if span.end.is_some() {
        event["ph"] = json!("X");
        // From what is written, so that no part ends behind its whole.
        event["dur"] = json!(micros(end) - micros(start));
    }
    (start, end, event)
}

fn metadata(source: &Source<'_>, track: usize, name: &str, value: &str) -> Value {
    json!({ "name": name, "ph": "M", "pid": source.pid, "tid": track, "args": { "name": value } })
}

/// Microseconds; what a double holds of today's time is a quarter of one.
#[allow(clippy::cast_precision_loss)]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// Which tracks there are, and until when each is taken.
#[derive(Default)]
struct Tracks {
    tracks: Vec<Track>,
    of_session: HashMap<String, usize>,
}

struct Track {
    session: String,
    name: String,
    taken_until: Option<SystemTime>,
}

impl Tracks {
    /// A track of the session that is free when the trace begins; its number,
    /// from 1. Traces come in the order in which they began.
    fn take(&mut self, session: &str, trace: &Trace) -> usize {
        let start = trace.spans.first().map(|root| root.start);
        let is_free = |track: &Track| {
            track.session == session && track.taken_until <= start && start.is_some()
        };
        let index = self.tracks.iter().position(is_free).unwrap_or_else(|| {
            let number = self.of_session.entry(session.to_owned()).or_default();
            *number += 1;
            let name =
                if *number == 1 { session.to_owned() } else { format!("{session} ({number})") };
            self.tracks.push(Track { session: session.to_owned(), name, taken_until: None });
            self.tracks.len() - 1
        });
        // What is open takes its track for good.
        let for_ever = SystemTime::now() + std::time::Duration::from_secs(1 << 32);
        let end = trace.spans.iter().map(|span| span.end.unwrap_or(for_ever)).max();
        self.tracks[index].taken_until = end;
        index + 1
    }
}
