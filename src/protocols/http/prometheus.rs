//! The figures as text for Prometheus, in its own format and in OpenMetrics.
//!
//! The two differ in little: OpenMetrics names a counter's family without
//! `_total`, wants units said, and wants an end.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use serde_json::Value;

use super::figures::Figures;

/// Prometheus' text format, version 0.0.4.
pub(super) fn text(figures: &Figures) -> String {
    let mut page = Page { text: String::new(), open_metrics: false };
    page.all(figures);
    page.text
}

/// OpenMetrics' text format, version 1.0.0.
pub(super) fn open_metrics(figures: &Figures) -> String {
    let mut page = Page { text: String::new(), open_metrics: true };
    page.all(figures);
    page.text += "# EOF\n";
    page.text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Summary,
}

struct Page {
    text: String,
    open_metrics: bool,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    fn all(&mut self, figures: &Figures) {
        self.kernel(figures);
        self.operations(figures);
        self.clients(figures);
        self.protocols(&figures.protocols);
        self.process(figures);
    }

    fn kernel(&mut self, figures: &Figures) {
        let version = [("version", env!("CARGO_PKG_VERSION")), ("lua", crate::kernel::LUA_VERSION)];
        self.family("llmspell_build_info", Kind::Gauge, "Versions, as labels.");
        self.sample("llmspell_build_info", &version, 1);
        self.gauge("llmspell_uptime_seconds", "Time since the start.", seconds(figures.uptime));
        let draining = u8::from(figures.draining);
        self.gauge("llmspell_draining", "Whether the kernel is about to end.", draining);
        self.family("llmspell_sessions", Kind::Gauge, "Sessions, by what they do.");
        for state in ["idle", "waiting", "running", "stopped", "finished"] {
            let count = figures.sessions.iter().filter(|it| it.state == state).count();
            self.sample("llmspell_sessions", &[("state", state)], count);
        }
        let help = "Executions that wait for their turn.";
        self.gauge("llmspell_queued_executions", help, figures.queued());
        self.gauge("llmspell_events_kept", "Events that can be asked for.", figures.events.0);
        self.counter("llmspell_events_total", "Events recorded.", figures.events.1);
    }

    fn operations(&mut self, figures: &Figures) {
        let name = "llmspell_operation_duration_seconds";
        self.family(name, Kind::Summary, "How long operations took.");
        for it in &figures.operations {
            for (quantile, time) in [("0.5", it.p50), ("0.95", it.p95), ("0.99", it.p99)] {
                let labels = [("operation", it.name), ("quantile", quantile)];
                self.sample(name, &labels, seconds(time));
            }
            let labels = [("operation", it.name)];
            self.sample(&format!("{name}_sum"), &labels, seconds(it.sum));
            self.sample(&format!("{name}_count"), &labels, it.count);
        }
        let name = "llmspell_operation_errors_total";
        self.family(name, Kind::Counter, "Operations that failed.");
        for it in &figures.operations {
            self.sample(name, &[("operation", it.name)], it.errors);
        }
    }

    fn clients(&mut self, figures: &Figures) {
        self.family("llmspell_clients", Kind::Gauge, "Clients that are connected.");
        for (protocol, count) in figures.by_protocol() {
            self.sample("llmspell_clients", &[("protocol", protocol)], count);
        }
        let help = "Most clients at a time, those of HTTP and the others apart.";
        self.gauge("llmspell_clients_limit", help, figures.max_clients);
        let (depth, bytes) = figures.waiting();
        self.gauge("llmspell_queue_messages", "Messages that wait for clients.", depth);
        self.gauge("llmspell_queue_bytes", "Their size.", bytes);
        let help = "Messages that clients missed because they did not read.";
        self.counter("llmspell_dropped_messages_total", help, figures.dropped);
    }

    fn protocols(&mut self, protocols: &Value) {
        let families = [
            ("llmspell_connections_open", "open", Kind::Gauge, "Connections that are open."),
            ("llmspell_connections_total", "connections", Kind::Counter, "Connections so far."),
            ("llmspell_received_bytes_total", "bytes_in", Kind::Counter, "Bytes from clients."),
            ("llmspell_sent_bytes_total", "bytes_out", Kind::Counter, "Bytes to clients."),
            (
                "llmspell_connection_errors_total",
                "errors",
                Kind::Counter,
                "Connections that were refused, or ended by an error.",
            ),
        ];
        for (name, figure, kind, help) in families {
            self.family(name, kind, help);
            for row in protocols.as_array().into_iter().flatten() {
                let protocol = row["protocol"].as_str().unwrap_or_default();
                let count = row[figure].as_u64().unwrap_or_default();
                self.sample(name, &[("protocol", protocol)], count);
            }
        }
    }

    fn process(&mut self, figures: &Figures) {
        if let Some(runtime) = figures.runtime {
            let help = "Threads of the runtime that does all input and output.";
            self.gauge("llmspell_worker_threads", help, runtime.worker_threads);
            self.gauge("llmspell_active_tasks", "Its tasks.", runtime.active_tasks);
        }
        let Some(usage) = figures.usage else { return };
        let help = "Memory of the process that is in RAM.";
        self.gauge("llmspell_resident_memory_bytes", help, usage.resident_bytes);
        self.gauge("llmspell_threads", "Threads of the process.", usage.threads);
        self.gauge("llmspell_open_files", "Open file descriptors.", usage.open_files);
        let help = "CPU time of the process.";
        self.counter("llmspell_cpu_seconds_total", help, seconds(usage.cpu));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.family(name, Kind::Counter, help);
        self.sample(name, &[], value);
    }

    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let family = match kind {
            Kind::Counter if self.open_metrics => name.trim_end_matches("_total"),
            _ => name,
        };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
        };
        // A string takes everything.
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}");
        let unit = family.rsplit('_').next().filter(|unit| ["seconds", "bytes"].contains(unit));
        if let Some(unit) = unit.filter(|_| self.open_metrics) {
            let _ = writeln!(self.text, "# UNIT {family} {unit}");
        }
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl fmt::Display) {
        let pairs: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let pairs =
            if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        // A string takes everything.
        let _ = writeln!(self.text, "{name}{pairs} {value}");
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
