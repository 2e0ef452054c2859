//! The DAP envelope: requests as they come, responses and events as they go.
//!
//! An outgoing [`Message`] has no `seq` yet. The one writer adds it, so that the
//! numbers on the wire are consecutive however many threads had a word to say.

use dapts::{IEvent, IRequest};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::THREAD;

/// What a handler answers.
pub(super) type Answer<T> = Result<T, RequestError>;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestError {
    /// One sentence, lower case, no full stop.
    pub(super) message: String,
    /// Whether the client should put it before the user unasked.
    pub(super) show_user: bool,
}

impl RequestError {
    /// An error for whoever sent the request.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), show_user: false }
    }

    /// An error that the user has to see: nothing will happen until it is dealt
    /// with.
    pub(super) fn for_user(message: impl Into<String>) -> Self {
        Self { message: message.into(), show_user: true }
    }

    /// The answer that the protocol prescribes for a cancelled request.
    pub(super) fn cancelled() -> Self {
        Self::new("cancelled")
    }
}

impl From<String> for RequestError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// A request from the client.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Request {
    /// The client's number of it.
    pub(super) seq: i64,
    /// What is wanted.
    pub(super) command: String,
    /// Left out, null or an object.
    #[serde(default)]
    pub(super) arguments: Value,
}

/// Reads a message as a request.
///
/// `Ok(None)`: a response or an event; this server asks nothing of its client,
/// so it has no use for them. `Err`: the response that says what is wrong.
pub(super) fn parse_request(message: &Value) -> Result<Option<Request>, Message> {
    let problem = match message["type"].as_str() {
        Some("response" | "event") => return Ok(None),
        Some("request") => match Request::deserialize(message) {
            Ok(request) => return Ok(Some(request)),
            Err(error) => format!("malformed request: {error}"),
        },
        Some(kind) => format!("unknown message type '{kind}'"),
        None => "message without a type".to_owned(),
    };
    let seq = message["seq"].as_i64().unwrap_or(0);
    let command = message["command"].as_str().unwrap_or_default();
    Err(Message::response(seq, command, Err(RequestError::new(problem))))
}

/// Reads the arguments of a request of type `R`.
///
/// Clients leave out `arguments`, or send null or `{}`, where there is nothing
/// to say; a type without content therefore takes anything.
pub(super) fn parse_arguments<R: IRequest>(arguments: Value) -> Answer<R::Arguments> {
    if let Some(thread) = arguments.get("threadId").and_then(Value::as_u64)
        && thread != THREAD
    {
        return Err(RequestError::new(format!(
            "there is no thread {thread}; the program has one, {THREAD}"
        )));
    }
    let parsed = if size_of::<R::Arguments>() == 0 {
        parse(Value::Null)
    } else if arguments.is_null() {
        parse(json!({}))
    } else {
        parse(arguments)
    };
    parsed.map_err(|error| {
        RequestError::new(format!("invalid arguments of '{}': {error}", R::COMMAND))
    })
}

fn parse<T: DeserializeOwned>(value: Value) -> serde_json::Result<T> {
    serde_json::from_value(value)
}

/// An outgoing message as JSON text, but for its `seq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message(
    /// A JSON object with at least one member.
    String,
);

impl Message {
    /// The response to request number `request_seq`.
    pub(super) fn response(request_seq: i64, command: &str, answer: Answer<Value>) -> Self {
        let mut message = json!({
            "type": "response",
            "request_seq": request_seq,
            "command": command,
            "success": answer.is_ok(),
        });
        match answer {
            Ok(Value::Null) => {}
            Ok(body) => message["body"] = body,
            Err(error) => {
                let details =
                    json!({ "id": 1, "format": error.message, "showUser": error.show_user });
                message["body"] = json!({ "error": details });
                message["message"] = error.message.into();
            }
        }
        Self(message.to_string())
    }

    /// An event with the body that its type prescribes.
    pub(super) fn event<E: IEvent>(body: &E::Body) -> Self {
        Self::raw_event(E::EVENT, encode(body))
    }

    /// An event that `dapts` has no faithful type for.
    pub(super) fn raw_event(event: &str, body: Value) -> Self {
        let mut message = json!({ "type": "event", "event": event });
        if !body.is_null() {
            message["body"] = body;
        }
        Self(message.to_string())
    }

    /// A message of somebody else, to be passed on under a number of ours.
    pub(super) fn forwarded(mut message: Value) -> Self {
        if let Some(members) = message.as_object_mut() {
            members.remove("seq");
        }
        Self(message.to_string())
    }

    /// Its size in the outgoing queue.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The message as it goes on the wire.
    pub(super) fn numbered(&self, seq: u64) -> String {
        let members = self.0.strip_prefix('{').unwrap_or(&self.0);
        format!("{{\"seq\":{seq},{members}")
    }
}

/// Turns a protocol type into JSON.
///
/// It cannot fail: none of the types has keys that are no strings.
pub(super) fn encode(body: &impl serde::Serialize) -> Value {
    serde_json::to_value(body).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot encode a message body");
        Value::Null
    })
}

#[cfg(test)]
mod tests {
    use dapts::request::{ConfigurationDone, Next, Restart, Terminate, Threads};

    use super::*;

    #[test]
    fn arguments_may_be_left_out_null_or_empty() {
        for nothing in [Value::Null, json!({}), json!({ "unknown": 1 })] {
            assert!(parse_arguments::<Threads>(nothing.clone()).is_ok());
            assert!(parse_arguments::<ConfigurationDone>(nothing.clone()).is_ok());
            assert!(parse_arguments::<Terminate>(nothing.clone()).is_ok());
            assert!(parse_arguments::<Restart>(nothing).is_ok());
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let error = parse_arguments::<Next>(Value::Null).unwrap_err();
        assert_eq!(error.message, "invalid arguments of 'next': missing field `threadId`");
        let error = parse_arguments::<Next>(json!({ "threadId": "x" })).unwrap_err();
        assert!(error.message.contains("invalid type: string"), "{}", error.message);
    }

    fn refusal(message: &Value) -> Value {
        let text = parse_request(message).unwrap_err().numbered(7);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn malformed_envelopes_are_answered_as_well_as_can_be() {
        let answer = refusal(&json!({ "type": "request", "seq": 3 }));
        assert_eq!(answer["seq"], 7);
        assert_eq!(answer["request_seq"], 3);
        assert_eq!(answer["success"], false);
        assert_eq!(answer["message"], "malformed request: missing field `command`");
        assert_eq!(refusal(&json!([]))["message"], "message without a type");
        assert_eq!(refusal(&json!({ "type": "x" }))["message"], "unknown message type 'x'");
        let answer = refusal(&json!({ "type": "request", "command": "next" }));
        assert_eq!((&answer["request_seq"], &answer["command"]), (&json!(0), &json!("next")));
    }

    #[test]
    fn responses_of_the_client_are_ignored() {
        assert_eq!(parse_request(&json!({ "type": "response", "seq": 1 })), Ok(None));
    }

    #[test]
    fn messages_are_numbered_when_they_leave() {
        let message = Message::response(4, "threads", Ok(json!({ "threads": [] })));
        let wire: Value = serde_json::from_str(&message.numbered(12)).unwrap();
        assert_eq!(
            wire,
            json!({
                "seq": 12, "type": "response", "request_seq": 4, "success": true,
                "command": "threads", "body": { "threads": [] },
            })
        );
        let event = Message::event::<dapts::event::Initialized>(&None);
        let wire: Value = serde_json::from_str(&event.numbered(1)).unwrap();
        assert_eq!(wire, json!({ "seq": 1, "type": "event", "event": "initialized" }));
    }
}
