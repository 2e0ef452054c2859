//! What has happened lately: a ring of events, bounded in number and in bytes.
//!
//! Events are for people and tools that look at the kernel from outside; nothing
//! in the kernel waits for one. Each names the request it comes from
//! (correlation) and what caused it directly (causation).

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::Serialize;
use serde_json::Value;

use crate::kernel::time::rfc3339;

/// Events kept.
pub const CAPACITY: usize = 10_000;
/// Bytes of data kept.
const MOST_BYTES: usize = 8 << 20;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Rises by one with each event of this kernel.
    pub id: u64,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// What: `execution.started`, `client.connected`, …
    pub kind: &'static str,
    /// The endeavor it belongs to.
    pub correlation_id: Option<String>,
    /// The message that caused it.
    pub causation_id: Option<String>,
    /// The session it happened in.
    pub session: Option<String>,
    /// Details, by kind.
    pub data: Value,
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only those of this endeavor.
    pub correlation_id: Option<String>,
    /// Only those caused by this message.
    pub causation_id: Option<String>,
    /// Only those after this event.
    pub since: Option<u64>,
    /// Only those at this time or later, to the millisecond.
    pub not_before: Option<SystemTime>,
    /// At most so many, the latest.
    pub limit: Option<usize>,
}

/// Where an event comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// See [`Event::correlation_id`].
    pub correlation_id: Option<String>,
    /// See [`Event::causation_id`].
    pub causation_id: Option<String>,
    /// See [`Event::session`].
    pub session: Option<String>,
}

/// The ring.
#[derive(Debug, Default)]
pub(super) struct Events {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<(usize, Event)>,
    bytes: usize,
    last_id: u64,
}

impl Events {
    /// Notes that something has happened; the event's id.
    pub(super) fn record(&self, kind: &'static str, origin: &Origin, data: Value) -> u64 {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last_id += 1;
        let event = Event {
            id: ring.last_id,
            time: rfc3339(SystemTime::now()),
            kind,
            correlation_id: origin.correlation_id.clone(),
            causation_id: origin.causation_id.clone(),
            session: origin.session.clone(),
            data,
        };
        let size = weight(&event.data);
        ring.bytes += size;
        ring.events.push_back((size, event));
        while ring.events.len() > CAPACITY || ring.bytes > MOST_BYTES {
            let Some((size, _)) = ring.events.pop_front() else { break };
            ring.bytes -= size;
        }
        ring.last_id
    }

    /// The events that fit, oldest first.
    pub(super) fn query(&self, query: &EventQuery) -> Vec<Event> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        // In one form, so that they compare as texts.
        let not_before = query.not_before.map(rfc3339);
        let fits = |event: &&Event| {
            is(&query.correlation_id, &event.correlation_id)
                && is(&query.causation_id, &event.causation_id)
                && query.since.is_none_or(|since| event.id > since)
                && not_before.as_ref().is_none_or(|time| event.time >= *time)
        };
        let latest = ring.events.iter().rev().map(|(_, event)| event).filter(fits);
        let mut found: Vec<_> = latest.take(query.limit.unwrap_or(CAPACITY)).cloned().collect();
        found.reverse();
        found
    }

    /// How many are kept, and how many there have been.
    pub(super) fn counts(&self) -> (usize, u64) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        (ring.events.len(), ring.last_id)
    }
}

/// Bytes that a value takes, roughly.
fn weight(value: &Value) -> usize {
    64 + match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(name, it)| name.len() + weight(it)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn origin(correlation: &str, causation: &str) -> Origin {
        Origin {
            correlation_id: Some(correlation.to_owned()),
            causation_id: Some(causation.to_owned()),
            session: None,
        }
    }

    #[test]
    fn events_are_found_by_where_they_come_from() {
        let events = Events::default();
        events.record("a", &origin("1", "x"), Value::Null);
        events.record("b", &origin("1", "y"), Value::Null);
        events.record("c", &origin("2", "y"), Value::Null);
        let kinds = |query: EventQuery| {
            events.query(&query).into_iter().map(|event| event.kind).collect::<String>()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(kinds(EventQuery::default()), "abc");
        assert_eq!(kinds(EventQuery { correlation_id: some("1"), ..Default::default() }), "ab");
        assert_eq!(kinds(EventQuery { causation_id: some("y"), ..Default::default() }), "bc");
        assert_eq!(kinds(EventQuery { since: Some(1), ..Default::default() }), "bc");
        assert_eq!(kinds(EventQuery { limit: Some(1), ..Default::default() }), "c");
        assert_eq!(kinds(EventQuery { since: Some(9), ..Default::default() }), "");
        let not_before = |time| EventQuery { not_before: Some(time), ..Default::default() };
        assert_eq!(kinds(not_before(SystemTime::UNIX_EPOCH)), "abc");
        let tomorrow = SystemTime::now() + std::time::Duration::from_hours(24);
        assert_eq!(kinds(not_before(tomorrow)), "");
    }

    #[test]
    fn the_ring_is_bounded_in_number_and_size() {
        let events = Events::default();
        for _ in 0..CAPACITY + 5 {
            events.record("a", &Origin::default(), Value::Null);
        }
        assert_eq!(events.counts(), (CAPACITY, CAPACITY as u64 + 5));
        for _ in 0..20 {
            events.record("big", &Origin::default(), json!({ "text": "x".repeat(1 << 20) }));
        }
        let bytes: usize = events.ring.lock().unwrap().bytes;
        assert!(bytes <= MOST_BYTES, "{bytes}");
    }
}
