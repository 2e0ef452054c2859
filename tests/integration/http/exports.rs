//! What is exported, held against the documents that define its form:
//! OpenTelemetry's JSON mapping, Chrome's trace event format, OpenMetrics 1.0.

use std::collections::{BTreeMap, BTreeSet};

use llmspell::kernel::message::{Execute, RequestBody};
use serde_json::{Value, json};

use super::{connect, execute, get, kernel, run, websocket};

/// A value with no members but these; the first so many must be there.
fn object<'a>(
    value: &'a Value,
    required: usize,
    names: &[&str],
) -> &'a serde_json::Map<String, Value> {
    let members = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    for name in &names[..required] {
        assert!(members.contains_key(*name), "{name} is missing: {value}");
    }
    for name in members.keys() {
        assert!(names.contains(&name.as_str()), "{name} is unknown: {value}");
    }
    members
}

fn hex(value: &Value, length: usize) -> &str {
    let text = value.as_str().expect("an id is text");
    assert!(
        text.len() == length && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')),
        "{text}"
    );
    assert!(text.bytes().any(|it| it != b'0'), "an id is not 0");
    text
}

/// 64 bits, as text.
fn number(value: &Value) -> u64 {
    let text = value.as_str().expect("64 bits are text");
    let number = text.parse().expect("a number");
    assert_eq!(u64::to_string(&number), text);
    number
}

fn any_value(value: &Value) {
    let members = value.as_object().expect("a value is an object");
    assert!(members.len() == 1, "one of a kind: {value}");
    let (kind, value) = members.iter().next().unwrap();
    let right = match kind.as_str() {
        "stringValue" => value.is_string(),
        "boolValue" => value.is_boolean(),
        "doubleValue" => value.is_number(),
        "intValue" => value.as_str().is_some_and(|it| it.parse::<i64>().is_ok()),
        "arrayValue" => {
            object(value, 1, &["values"])["values"].as_array().unwrap().iter().for_each(any_value);
            true
        }
        "kvlistValue" => {
            key_values(&object(value, 1, &["values"])["values"]);
            true
        }
        _ => false,
    };
    assert!(right, "{kind}: {value}");
}

fn key_values(list: &Value) -> BTreeMap<String, Value> {
    let pairs = list.as_array().expect("a list of attributes").iter().map(|pair| {
        let pair = object(pair, 2, &["key", "value"]);
        any_value(&pair["value"]);
        (pair["key"].as_str().expect("a key is text").to_owned(), pair["value"].clone())
    });
    let pairs: Vec<_> = pairs.collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "keys are unique: {list}");
    map
}

/// Holds a document against `ExportTraceServiceRequest`; its spans by name.
fn check_otlp(document: &Value) -> Vec<Value> {
    let resources = &object(document, 1, &["resourceSpans"])["resourceSpans"];
    let mut spans = Vec::new();
    for resource in resources.as_array().unwrap() {
        let resource = object(resource, 2, &["resource", "scopeSpans", "schemaUrl"]);
        let about = object(&resource["resource"], 1, &["attributes", "droppedAttributesCount"]);
        assert_eq!(
            key_values(&about["attributes"])["service.name"],
            json!({ "stringValue": "llmspell" })
        );
        for scope in resource["scopeSpans"].as_array().unwrap() {
            let scope = object(scope, 2, &["scope", "spans", "schemaUrl"]);
            object(&scope["scope"], 2, &["name", "version", "attributes"]);
            spans.extend(scope["spans"].as_array().unwrap().clone());
        }
    }
    let mut ids = BTreeSet::new();
    for span in &spans {
        let names = [
            "traceId",
            "spanId",
            "name",
            "kind",
            "startTimeUnixNano",
            "endTimeUnixNano",
            "attributes",
            "status",
            "parentSpanId",
            "traceState",
            "flags",
            "events",
            "links",
            "droppedAttributesCount",
            "droppedEventsCount",
            "droppedLinksCount",
        ];
        let members = object(span, 8, &names);
        let id = (hex(&span["traceId"], 32).to_owned(), hex(&span["spanId"], 16).to_owned());
        assert!(ids.insert(id), "ids are unique");
        assert!(span["name"].as_str().is_some_and(|name| !name.is_empty()));
        assert!((1..=5).contains(&span["kind"].as_u64().expect("kinds are numbers")));
        assert!(number(&span["startTimeUnixNano"]) <= number(&span["endTimeUnixNano"]));
        key_values(&span["attributes"]);
        let status = object(&span["status"], 0, &["code", "message"]);
        assert!(status.get("code").is_none_or(|code| code.as_u64().is_some_and(|it| it <= 2)));
        if members.contains_key("parentSpanId") {
            let parent =
                (hex(&span["traceId"], 32).to_owned(), hex(&span["parentSpanId"], 16).to_owned());
            assert!(ids.contains(&parent), "a parent comes first");
        }
    }
    spans
}

/// Holds a document against the trace event format; events other than metadata.
fn check_chrome(document: &Value) -> Vec<Value> {
    let names = [
        "traceEvents",
        "displayTimeUnit",
        "otherData",
        "systemTraceEvents",
        "stackFrames",
        "samples",
    ];
    let document = object(document, 1, &names);
    assert!(["ms", "ns"].contains(&document["displayTimeUnit"].as_str().unwrap()));
    let (mut tracks, mut events) = (BTreeMap::new(), Vec::new());
    let mut last = 0.0;
    for event in document["traceEvents"].as_array().unwrap() {
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let phase = event["ph"].as_str().unwrap();
        match phase {
            "M" => {
                object(event, 5, &["name", "ph", "pid", "tid", "args"]);
                let name = object(&event["args"], 1, &["name"])["name"].as_str().unwrap();
                if event["name"] == "thread_name" {
                    assert!(tracks.insert(track, name.to_owned()).is_none(), "named once");
                } else {
                    assert_eq!(event["name"], "process_name");
                }
            }
            "X" | "B" => {
                let required = if phase == "X" { 8 } else { 7 };
                object(event, required, &["name", "ph", "pid", "tid", "ts", "cat", "args", "dur"]);
                assert_eq!(phase == "B", event.get("dur").is_none());
                assert!(tracks.contains_key(&track), "the track has a name: {event}");
                let start = event["ts"].as_f64().unwrap();
                assert!(start >= last, "in order");
                last = start;
                assert!(event.get("dur").is_none_or(|it| it.as_f64().unwrap() >= 0.0));
                events.push(event.clone());
            }
            other => panic!("a phase that we do not write: {other}"),
        }
    }
    // On each track, events lie one within the other or one behind the other.
    let mut open: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for event in &events {
        let start = event["ts"].as_f64().unwrap();
        let end = event.get("dur").map_or(f64::INFINITY, |it| start + it.as_f64().unwrap());
        let stack = open.entry(event["tid"].as_u64().unwrap()).or_default();
        while stack.last().is_some_and(|outer| *outer <= start) {
            stack.pop();
        }
        assert!(stack.last().is_none_or(|outer| end <= *outer), "{event} sticks out");
        stack.push(end);
    }
    events
}

/// Holds a text against OpenMetrics: families one by one, each with its type,
/// samples with the suffixes of that type, and the end.
pub(super) fn check_open_metrics(text: &str) {
    let body = text.strip_suffix("# EOF\n").expect("it has an end");
    let (mut family, mut kind, mut seen) = (String::new(), String::new(), BTreeSet::new());
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name, rest) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match what {
                "HELP" => {
                    name.clone_into(&mut family);
                    assert!(seen.insert(family.clone()), "{family} comes twice");
                    assert!(!family.ends_with("_total"), "{family}");
                }
                "TYPE" => rest.clone_into(&mut kind),
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                other => panic!("unknown: {other}"),
            }
            assert_eq!(name, family);
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = sample.split('{').next().unwrap();
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "summary" => &["", "_sum", "_count"],
                other => panic!("unknown: {other}"),
            };
            assert!(suffixes.contains(&name.strip_prefix(&family).unwrap()), "{line}");
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
}

#[test]
fn traces_are_exported_in_the_forms_that_others_read() {
    let kernel = kernel(&[]);
    run(async {
        let connection = connect(&kernel).await;
        execute(&connection, "good", "return 1").await;
        execute(&connection, "bad", "error('b')").await;
        // One runs, and others wait, so that they overlap.
        for code in ["print('on') while true do end", "return 2", "return 3"] {
            let cell = Execute { code: code.to_owned(), ..Execute::default() };
            connection.send(RequestBody::ExecuteRequest(cell)).unwrap();
        }
        websocket::output(&connection, "on\n").await;

        let spans = check_otlp(&kernel.json("/traces/export?format=otlp"));
        check_otlp(&kernel.json("/traces/export"));
        let named =
            |name: &str| -> Vec<&Value> { spans.iter().filter(|it| it["name"] == name).collect() };
        let roots = named("execute");
        assert_eq!((roots.len(), named("queue").len(), named("run").len()), (5, 5, 3));
        assert_eq!(roots[0]["status"], json!({}));
        assert_eq!(roots[1]["status"]["code"], 2);
        let attributes = |span: &Value| key_values(&span["attributes"]);
        let session = attributes(roots[1]);
        assert_eq!(session["llmspell.session"], json!({ "stringValue": "main" }));
        assert_eq!(session["llmspell.msg_id"], json!({ "stringValue": "bad" }));
        assert!(!session.contains_key("llmspell.open"));
        assert_eq!(attributes(roots[4])["llmspell.open"], json!({ "boolValue": true }));
        assert!(roots[0].get("parentSpanId").is_none());
        assert_eq!(named("run")[0]["parentSpanId"], roots[0]["spanId"]);
        let trace = kernel.json("/trace/bad");
        assert_eq!(trace["trace_id"], roots[1]["traceId"]);

        let answer = get(&kernel, "/traces/export?format=chrome", "");
        assert_eq!(
            answer.header("content-disposition"),
            "inline; filename=\"llmspell.trace.json\""
        );
        let events = check_chrome(&answer.json());
        let count = |phase: &str| events.iter().filter(|it| it["ph"] == phase).count();
        // Under way: three executions, one run, two waits.
        assert_eq!((count("X"), count("B")), (7, 6));
        let failed = events.iter().find(|it| it["args"]["msg_id"] == "bad").unwrap();
        assert!(failed["args"]["error"].as_str().unwrap().contains('b'), "{failed}");
    });
}
