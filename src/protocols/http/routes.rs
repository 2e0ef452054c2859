//! What can be asked for. Each handler translates one answer of the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, Query, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};
use futures_util::StreamExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Connection,
    accept::{self, Format},
    figures::Figures,
    problem::Problem,
    prometheus, websocket,
};
use crate::kernel::{
    clients::Protocol,
    events::EventQuery,
    time::parse_rfc3339,
    traces::export::{self, Source},
};

/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(10);

/// The name under which a request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation(pub(super) &'static str);

/// The one that asks whether the kernel is well.
pub(super) const HEALTH: Operation = Operation("http GET /health");

/// What can be asked for, for those who ask for something else.
const PATHS: &str = "/health, /metrics, /protocols, /transports, /router/status, /test/broadcast, \
                     /clients, /client/ID/state, /events, /trace/MSG_ID, /traces/export, \
                     /runtime/status, /ws";

/// Parameters of the address, all of them known.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

type Shared = Extension<Arc<Connection>>;
type Answer = Result<Response, Problem>;

/// Finds who answers a request, and has them do it.
pub(super) async fn route(request: Request) -> Response {
    static ROUTER: LazyLock<TowerToHyperService<Router>> =
        LazyLock::new(|| TowerToHyperService::new(router()));
    match ROUTER.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn router() -> Router {
    Router::new()
        .route("/health", counted(HEALTH.0, &[], get(health)))
        .route("/metrics", counted("http GET /metrics", &[], get(metrics)))
        .route("/protocols", counted("http GET /protocols", &[], get(protocols)))
        .route("/transports", counted("http GET /transports", &[], get(transports)))
        .route("/router/status", counted("http GET /router/status", &[], get(router_status)))
        .route("/test/broadcast", counted("http POST /test/broadcast", &[], post(broadcast)))
        .route("/clients", counted("http GET /clients", &[], get(clients)))
        .route("/client/{id}/state", counted("http GET /client/{id}/state", &[], get(client)))
        .route(
            "/events",
            counted(
                "http GET /events",
                &["correlation_id", "causation_id", "since", "limit"],
                get(events),
            ),
        )
        .route("/trace/{msg_id}", counted("http GET /trace/{msg_id}", &[], get(trace)))
        .route(
            "/traces/export",
            counted("http GET /traces/export", &["format"], get(export_traces)),
        )
        .route("/runtime/status", counted("http GET /runtime/status", &[], get(runtime)))
        .route(websocket::PATH, counted("http GET /ws", &["token"], get(websocket::upgrade)))
        .fallback(not_found)
}

/// A route whose requests are counted under a name, and which takes these
/// parameters and no others.
fn counted(
    operation: &'static str,
    known: &'static [&'static str],
    route: MethodRouter,
) -> MethodRouter {
    route.layer(from_fn(move |mut request: Request, next: Next| async move {
        let mut response = match parameters(request.uri(), known) {
            Ok(parameters) => {
                request.extensions_mut().insert(parameters);
                next.run(request).await
            }
            Err(problem) => problem.into_response(),
        };
        response.extensions_mut().insert(Operation(operation));
        response
    }))
}

fn parameters(uri: &Uri, known: &[&str]) -> Result<Parameters, Problem> {
    let mut parameters = BTreeMap::new();
    for (name, value) in pairs(uri)? {
        if !known.contains(&name.as_str()) {
            let there_are = match known {
                [] => "there are none here".to_owned(),
                known => format!("there are: {}", known.join(", ")),
            };
            let detail = format!("'{name}' is no parameter of this address; {there_are}");
            return Err(Problem::parameter(&name, detail));
        }
        if parameters.insert(name.clone(), value).is_some() {
            return Err(Problem::parameter(&name, format!("'{name}' is given twice")));
        }
    }
    Ok(Parameters(parameters))
}

/// The parameters of an address as they are written.
pub(super) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let Query(pairs) = Query::try_from_uri(uri)
        .map_err(|error| Problem::bad_request(format!("the parameters cannot be read: {error}")))?;
    Ok(pairs)
}

fn json(value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR).with(error.to_string())
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND)
        .with(format!("there is nothing at {}; there are: {PATHS}", uri.path()))
}

async fn health(Extension(connection): Shared) -> Answer {
    let health = connection.kernel.health();
    let mut response = json(&health)?;
    if health["status"] != "ok" {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

async fn metrics(Extension(connection): Shared, headers: HeaderMap) -> Answer {
    let figures = Figures::now(&connection.kernel);
    let (media_type, text) = match accept::format(&headers) {
        Format::Json => ("application/json", figures.to_json().to_string()),
        Format::Prometheus => {
            ("text/plain; version=0.0.4; charset=utf-8", prometheus::text(&figures))
        }
        Format::OpenMetrics => (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            prometheus::open_metrics(&figures),
        ),
    };
    let fields = [(header::CONTENT_TYPE, media_type), (header::VARY, "Accept")];
    Ok((fields, text).into_response())
}

async fn protocols(Extension(connection): Shared) -> Answer {
    json(&connection.kernel.protocols())
}

/// What carries the protocols: TCP, and WebSockets above it.
async fn transports(Extension(connection): Shared) -> Answer {
    let kernel = &connection.kernel;
    let web_socket = Protocol::WebSocket.name();
    let (mut addresses, mut tcp, mut ws_addresses) = (BTreeSet::new(), Vec::new(), Vec::new());
    for endpoint in kernel.endpoints().into_iter().filter(|endpoint| endpoint.enabled) {
        if endpoint.protocol == web_socket {
            ws_addresses.push(format!("ws://{}{}", endpoint.address, websocket::PATH));
        } else {
            tcp.push(endpoint.protocol);
            addresses.insert(endpoint.address);
        }
    }
    let rows = kernel.protocols();
    let rows: Vec<&Value> = rows.as_array().into_iter().flatten().collect();
    let sum = |wanted: &dyn Fn(&str) -> bool, figure: &str| -> u64 {
        let of = |row: &&&Value| wanted(row["protocol"].as_str().unwrap_or_default());
        rows.iter().filter(of).filter_map(|row| row[figure].as_u64()).sum()
    };
    let transport = |name: &str, addresses: Value, carries: Value, of: &dyn Fn(&str) -> bool| {
        json!({
            "transport": name,
            "enabled": addresses.as_array().is_some_and(|it| !it.is_empty()),
            "addresses": addresses,
            "protocols": carries,
            "open": sum(of, "open"),
            "connections": sum(of, "connections"),
            "bytes_in": sum(of, "bytes_in"),
            "bytes_out": sum(of, "bytes_out"),
            "errors": sum(of, "errors"),
        })
    };
    json(&[
        transport("tcp", json!(addresses), json!(tcp), &|name| name != web_socket),
        transport(web_socket, json!(ws_addresses), json!(["kernel"]), &|name| name == web_socket),
    ])
}

async fn router_status(Extension(connection): Shared) -> Answer {
    let kernel = &connection.kernel;
    let clients = kernel.clients();
    let queues: Vec<_> = clients
        .iter()
        .map(|client| {
            json!({
                "id": client.id,
                "protocol": client.protocol,
                "in_flight": client.in_flight.len(),
                "depth": client.queue.depth,
                "bytes": client.queue.bytes,
                "dropped": client.queue.dropped,
                "sent": client.queue.sent,
            })
        })
        .collect();
    let sessions: Vec<_> = kernel
        .sessions()
        .into_iter()
        .map(|it| json!({ "name": it.name, "queued": it.queued, "running": it.running }))
        .collect();
    json(&json!({
        "clients": queues,
        "sessions": sessions,
        "queue_depth": clients.iter().map(|it| it.queue.depth).sum::<usize>(),
        "queue_bytes": clients.iter().map(|it| it.queue.bytes).sum::<usize>(),
        "dropped": kernel.dropped(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Broadcast {
    text: String,
}

async fn broadcast(Extension(connection): Shared, request: Request) -> Answer {
    let body = body(request.into_body(), connection.options.max_message).await?;
    let text = if body.trim_ascii().is_empty() {
        format!("this is a test, from {}", connection.peer)
    } else {
        let given: Broadcast = serde_json::from_slice(&body).map_err(|error| {
            Problem::bad_request(format!("the body is not {{\"text\": \"...\"}}: {error}"))
        })?;
        given.text
    };
    let mut told: BTreeMap<Protocol, usize> =
        [Protocol::Repl, Protocol::Dap, Protocol::WebSocket].map(|it| (it, 0)).into();
    told.extend(connection.kernel.broadcast(&text));
    let total: usize = told.values().sum();
    json(&json!({ "text": text, "told": told, "total": total }))
}

/// Reads a body that is not longer than this.
async fn body(body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE).with(format!(
            "the body is longer than {most} bytes (kernel.limits.max_message_size_mb)"
        ))
    };
    let announced = axum::body::HttpBody::size_hint(&body).lower();
    if usize::try_from(announced).is_ok_and(|announced| announced > most) {
        return Err(too_large());
    }
    let reading = async {
        let (mut bytes, mut pieces) = (Vec::new(), body.into_data_stream());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| {
                Problem::bad_request(format!("the body cannot be read: {error}"))
            })?;
            if bytes.len() + piece.len() > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    timeout(BODY, reading).await.map_err(|_| {
        Problem::new(StatusCode::REQUEST_TIMEOUT).with("the body did not come in time")
    })?
}

async fn clients(Extension(connection): Shared) -> Answer {
    json(&connection.kernel.clients())
}

async fn client(Extension(connection): Shared, Path(id): Path<String>) -> Answer {
    let clients = connection.kernel.clients();
    let client = clients.iter().find(|client| client.id == id).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND)
            .with(format!("there is no client '{id}'; /clients lists those that there are"))
    })?;
    json(client)
}

async fn events(
    Extension(connection): Shared,
    Extension(Parameters(mut given)): Extension<Parameters>,
) -> Answer {
    let mut query = EventQuery {
        correlation_id: given.remove("correlation_id"),
        causation_id: given.remove("causation_id"),
        ..EventQuery::default()
    };
    if let Some(since) = given.remove("since") {
        if let Ok(id) = since.parse() {
            query.since = Some(id);
        } else {
            let time = parse_rfc3339(&since).ok_or_else(|| {
                let detail = format!(
                    "'{since}' is neither an event's id nor a time such as 2025-01-31T12:00:00Z"
                );
                Problem::parameter("since", detail)
            })?;
            query.not_before = Some(time);
        }
    }
    if let Some(limit) = given.remove("limit") {
        let number = limit.parse().map_err(|_| {
            Problem::parameter("limit", format!("'{limit}' is no number of events"))
        })?;
        query.limit = Some(number);
    }
    json(&connection.kernel.events(&query))
}

async fn trace(Extension(connection): Shared, Path(msg_id): Path<String>) -> Answer {
    let tree = connection.kernel.traces().tree(&msg_id).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND).with(format!(
            "there is no trace of '{msg_id}': only executions have one, and only the latest are kept"
        ))
    })?;
    json(&tree)
}

async fn export_traces(
    Extension(connection): Shared,
    Extension(Parameters(given)): Extension<Parameters>,
) -> Answer {
    let kernel = &connection.kernel;
    let traces = kernel.traces().all();
    let source = Source { kernel: kernel.id(), pid: std::process::id(), now: SystemTime::now() };
    let (document, name) = match given.get("format").map(String::as_str) {
        None | Some("otlp") => (export::otlp(&source, &traces), "otlp"),
        Some("chrome") => (export::chrome(&source, &traces), "trace"),
        Some(other) => {
            let detail = format!("'{other}' is no format; there are: otlp, chrome");
            return Err(Problem::parameter("format", detail));
        }
    };
    let mut response = json(&document)?;
    // A browser that saves it gives it a name that tells what it is.
    let file = format!("inline; filename=\"llmspell.{name}.json\"");
    let field: HeaderName = header::CONTENT_DISPOSITION;
    if let Ok(file) = HeaderValue::from_str(&file) {
        response.headers_mut().insert(field, file);
    }
    Ok(response)
}

async fn runtime(Extension(connection): Shared) -> Answer {
    let figures = connection.kernel.runtime().map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE).with(format!("there is no runtime: {error}"))
    })?;
    json(&figures)
}
