//! How the kernel is, as documents for people and tools.

use std::{
    io,
    sync::{PoisonError, atomic::Ordering},
};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    kernel::{
        Inner, Phase,
        clients::Protocol,
        events::EventQuery,
        message::KernelInfo,
        metrics::OperationFigures,
        time::{rfc3339, spoken},
    },
    session,
};

/// Version of the messages in [`crate::kernel::message`].
const PROTOCOL_VERSION: &str = "1.0";

/// Where a protocol can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// The protocol's name.
    pub protocol: &'static str,
    /// Whether it is on.
    pub enabled: bool,
    /// `HOST:PORT` that the documentation names for it.
    pub address: String,
}

/// What of the process's runtime can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RuntimeFigures {
    /// Whether whoever asks runs on it: there is one for everything.
    pub global_runtime: bool,
    /// Its threads.
    pub worker_threads: usize,
    /// Tasks that have not ended.
    pub active_tasks: usize,
}

impl RuntimeFigures {
    pub(super) fn now() -> io::Result<Self> {
        let runtime = session::runtime()?;
        let here = tokio::runtime::Handle::try_current();
        let metrics = runtime.metrics();
        Ok(Self {
            global_runtime: here.is_ok_and(|here| here.id() == runtime.handle().id()),
            worker_threads: metrics.num_workers(),
            active_tasks: metrics.num_alive_tasks(),
        })
    }
}

impl Inner {
    pub(super) fn info(&self, client: &str) -> KernelInfo {
        KernelInfo {
            id: self.options.id.clone(),
            pid: std::process::id(),
            protocol_version: PROTOCOL_VERSION.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lua_version: crate::lua::VERSION.to_owned(),
            client_id: client.to_owned(),
        }
    }

    /// `ok` or `draining`, and the most important figures.
    pub(super) fn health(&self) -> Value {
        let status = if *self.phase.borrow() == Phase::Draining { "draining" } else { "ok" };
        let sessions = self.sessions.all().len();
        json!({
            "status": status,
            "id": self.options.id,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.0.elapsed().as_secs_f64(),
            "sessions": sessions,
            "clients": self.clients.all().len(),
        })
    }

    /// Everything that `kernel status` shows.
    pub(super) fn status(&self) -> Value {
        let clients: Vec<_> = self.clients.all().iter().map(|client| client.info()).collect();
        let sessions = self.session_infos();
        let depth: usize = clients.iter().map(|client| client.queue.depth).sum();
        let queued: usize = sessions.iter().map(|session| session.queued).sum();
        let (kept, total) = self.events.counts();
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let settings: Vec<_> = settings
            .iter()
            .map(|(key, value, origin)| json!({ "key": key, "value": value, "origin": origin }))
            .collect();
        let mut status = self.health();
        let more = json!({
            "started_at": rfc3339(self.started.1),
            "uptime": spoken(self.started.0.elapsed()),
            "endpoints": self.endpoints(),
            "protocols": self.protocols(),
            "sessions": sessions,
            "clients": clients,
            "max_clients": self.live().max_clients,
            "queue_depth": depth,
            "queued_executions": queued,
            "events": { "kept": kept, "total": total },
            "settings": settings,
        });
        merge(&mut status, more);
        status
    }

    /// What is on, and what has passed through it.
    pub(super) fn protocols(&self) -> Value {
        let endpoints = self.endpoints();
        let of = |protocol: Protocol| {
            let endpoint = endpoints.iter().find(|it| it.protocol == protocol.name());
            let traffic = self.metrics.traffic(protocol);
            json!({
                "protocol": protocol.name(),
                "enabled": endpoint.is_some_and(|it| it.enabled),
                "address": endpoint.map(|it| &it.address),
                "open": traffic.open.load(Ordering::Relaxed),
                "connections": traffic.connections.load(Ordering::Relaxed),
                "bytes_in": traffic.bytes_in.load(Ordering::Relaxed),
                "bytes_out": traffic.bytes_out.load(Ordering::Relaxed),
                "errors": traffic.errors.load(Ordering::Relaxed),
            })
        };
        Protocol::ALL.into_iter().filter(|it| *it != Protocol::Local).map(of).collect()
    }

    /// The whole state: status, figures, events and traces.
    pub(super) fn state(&self) -> Value {
        let operations: Vec<_> =
            self.metrics.operations().iter().map(OperationFigures::to_json).collect();
        let traces = self.traces.all();
        let trees: Vec<_> = traces.iter().filter_map(|it| self.traces.tree(&it.msg_id)).collect();
        let mut state = self.status();
        let more = json!({
            "exported_at": rfc3339(std::time::SystemTime::now()),
            "operations": operations,
            "recorded_events": self.events.query(&EventQuery::default()),
            "traces": trees,
        });
        merge(&mut state, more);
        state
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn merge(document: &mut Value, more: Value) {
    if let (Value::Object(members), Value::Object(more)) = (document, more) {
        members.extend(more);
    }
}
