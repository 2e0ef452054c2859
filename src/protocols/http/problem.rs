//! What goes wrong, as RFC 9457 has it: `application/problem+json`.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// The media type.
pub(super) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A problem document, and the header fields that go with it.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    more: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode) -> Self {
        Self { status, detail: String::new(), more: Map::new(), headers: Vec::new() }
    }

    /// Says why, and what to do.
    pub(super) fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds a member.
    pub(super) fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header field.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST).with(detail)
    }

    /// A parameter that cannot be used.
    pub(super) fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self::bad_request(detail).member("parameter", name)
    }

    fn document(&self) -> String {
        let mut document = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
        });
        if !self.detail.is_empty() {
            document["detail"] = json!(self.detail);
        }
        if let Value::Object(members) = &mut document {
            members.extend(self.more.clone());
        }
        document.to_string()
    }

    /// A whole answer, after which the connection ends.
    pub(super) fn to_http(&self) -> Vec<u8> {
        let document = self.document();
        let mut answer = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
             connection: close\r\n",
            self.status,
            document.len()
        );
        for (name, value) in &super::answer::ALWAYS {
            answer.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        answer.extend(["\r\n", &document]);
        answer.into_bytes()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.document()));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON);
        response
    }
}
