//! One request: checked, routed, and answered whatever happens.
//!
//! Everything that goes wrong on the way, in axum or by a panic in a handler,
//! leaves as a problem document; and each request is counted.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    extract::Request,
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;

use super::{
    Connection, guard,
    problem::{PROBLEM_JSON, Problem},
    routes::{self, Operation},
};

/// Header fields of every answer.
pub(super) const ALWAYS: [(HeaderName, &str); 2] =
    [(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// Requests that no route takes are counted under this name.
const OTHER: Operation = Operation("http other");

/// Answers a request.
pub(super) async fn answer(connection: Arc<Connection>, request: Request) -> Response {
    let started = Instant::now();
    let kernel = connection.kernel.clone();
    let method = request.method().clone();
    let handling = AssertUnwindSafe(handle(connection, request)).catch_unwind();
    let response = handling.await.unwrap_or_else(|panic| failed(&*panic));
    let mut response = tidy(&method, response);
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let Operation(operation) = response.extensions().get().copied().unwrap_or(OTHER);
    let ok = !response.status().is_server_error();
    kernel.metrics().record(operation, started.elapsed(), ok);
    response
}

async fn handle(connection: Arc<Connection>, mut request: Request) -> Response {
    if let Err(problem) = guard::check(&connection, &request) {
        return problem.into_response();
    }
    if request.method() == Method::OPTIONS && request.uri().path() == "*" {
        let all = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
        return (StatusCode::NO_CONTENT, [(ALLOW, all)]).into_response();
    }
    request.extensions_mut().insert(connection);
    routes::route(request).await
}

/// Makes a problem document of an error that is none yet.
fn tidy(method: &Method, response: Response) -> Response {
    let status = response.status();
    let allow = response.headers().get(ALLOW).and_then(|it| it.to_str().ok()).map(allowed);
    match (status, allow) {
        (StatusCode::METHOD_NOT_ALLOWED, Some(allow)) => {
            let Ok(field) = HeaderValue::from_str(&allow) else { return response };
            let mut tidied = if method == Method::OPTIONS {
                (StatusCode::NO_CONTENT, [(ALLOW, field)]).into_response()
            } else {
                let detail = format!("{method} is not possible here; these are: {allow}");
                Problem::new(status).with(detail).header(ALLOW, field).into_response()
            };
            *tidied.extensions_mut() = response.extensions().clone();
            tidied
        }
        _ if !(status.is_client_error() || status.is_server_error()) => response,
        _ if response.headers().get(CONTENT_TYPE) == Some(&PROBLEM_JSON) => response,
        _ if response.headers().contains_key(CONTENT_TYPE) && is_health(&response) => response,
        _ => {
            let mut tidied = Problem::new(status).into_response();
            *tidied.extensions_mut() = response.extensions().clone();
            tidied
        }
    }
}

/// The state of a kernel that drains is no problem document: it has the same
/// shape as that of one that is well.
fn is_health(response: &Response) -> bool {
    response.extensions().get() == Some(&routes::HEALTH)
}

/// What axum lists, as people write it; `OPTIONS` is ours.
fn allowed(listed: &str) -> String {
    let methods = listed.split(',').map(str::trim).filter(|it| !it.is_empty());
    methods.chain(["OPTIONS"]).collect::<Vec<_>>().join(", ")
}

/// A handler has panicked: that is our fault, and nobody else's loss.
fn failed(panic: &(dyn Any + Send)) -> Response {
    let message = panic.downcast_ref::<&str>().copied();
    let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(message, "a request failed");
    let detail = "the kernel failed to answer this, which is its fault; its log says more";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR).with(detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_problem() {
        let panic = std::panic::catch_unwind(|| panic!("on purpose")).unwrap_err();
        let response = failed(&*panic);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
    }

    #[test]
    fn errors_of_others_become_problems() {
        let plain = StatusCode::IM_A_TEAPOT.into_response();
        let tidied = tidy(&Method::GET, plain);
        assert_eq!(tidied.headers()[CONTENT_TYPE], PROBLEM_JSON);
        let refused = (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET,HEAD")]).into_response();
        assert_eq!(tidy(&Method::PUT, refused).headers()[ALLOW], "GET, HEAD, OPTIONS");
    }
}
