//! All that is counted, read at one moment, and as one document.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use crate::kernel::{
    Kernel, Phase, RuntimeFigures,
    clients::{ClientInfo, Protocol},
    message::SessionInfo,
    metrics::OperationFigures,
    process::Usage,
};

/// See the module.
pub(super) struct Figures {
    pub(super) operations: Vec<OperationFigures>,
    pub(super) usage: Option<Usage>,
    pub(super) runtime: Option<RuntimeFigures>,
    pub(super) clients: Vec<ClientInfo>,
    pub(super) max_clients: usize,
    pub(super) dropped: u64,
    pub(super) sessions: Vec<SessionInfo>,
    /// As [`Kernel::protocols`] has them.
    pub(super) protocols: Value,
    /// Kept, and recorded so far.
    pub(super) events: (usize, u64),
    pub(super) uptime: Duration,
    pub(super) draining: bool,
}

impl Figures {
    pub(super) fn now(kernel: &Kernel) -> Self {
        let usage = Usage::now().inspect_err(|error| {
            tracing::warn!(%error, "what this process uses cannot be read");
        });
        Self {
            operations: kernel.metrics().operations(),
            usage: usage.ok(),
            runtime: kernel.runtime().ok(),
            clients: kernel.clients(),
            max_clients: kernel.max_clients(),
            dropped: kernel.dropped(),
            sessions: kernel.sessions(),
            protocols: kernel.protocols(),
            events: kernel.event_counts(),
            uptime: kernel.started().1,
            draining: *kernel.phase().borrow() == Phase::Draining,
        }
    }

    /// How many clients each protocol has.
    pub(super) fn by_protocol(&self) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<_, _> =
            Protocol::ALL.into_iter().map(|it| (it.name(), 0)).collect();
        for client in &self.clients {
            *counts.entry(client.protocol.name()).or_default() += 1;
        }
        counts
    }

    /// How many messages wait for clients, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let depth = self.clients.iter().map(|it| it.queue.depth).sum();
        (depth, self.clients.iter().map(|it| it.queue.bytes).sum())
    }

    /// How many executions wait for their turn.
    pub(super) fn queued(&self) -> usize {
        self.sessions.iter().map(|it| it.queued).sum()
    }

    /// The document; what cannot be read is absent.
    pub(super) fn to_json(&self) -> Value {
        let operation = |it: &OperationFigures| {
            let mut members = it.to_json();
            let name = members.as_object_mut().and_then(|members| members.remove("operation"));
            (name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(), members)
        };
        let performance: Map<_, _> = self.operations.iter().map(operation).collect();
        let mut runtime = json!({
            "uptime_seconds": self.uptime.as_secs_f64(),
            "draining": self.draining,
            "sessions": self.sessions.len(),
            "queued_executions": self.queued(),
            "events": { "kept": self.events.0, "total": self.events.1 },
        });
        if let Some(figures) = self.runtime {
            runtime["worker_threads"] = json!(figures.worker_threads);
            runtime["active_tasks"] = json!(figures.active_tasks);
        }
        let mut memory = json!({});
        if let Some(usage) = self.usage {
            runtime["threads"] = json!(usage.threads);
            runtime["open_files"] = json!(usage.open_files);
            runtime["cpu_seconds"] = json!(usage.cpu.as_secs_f64());
            memory["resident_bytes"] = json!(usage.resident_bytes);
        }
        let (depth, bytes) = self.waiting();
        memory["queue_bytes"] = json!(bytes);
        json!({
            "performance": performance,
            "runtime": runtime,
            "memory": memory,
            "clients": {
                "total": self.clients.len(),
                "max": self.max_clients,
                "by_protocol": self.by_protocol(),
                "queue_depth": depth,
                "dropped": self.dropped,
            },
            "protocols": self.protocols,
        })
    }
}
