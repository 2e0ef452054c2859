//! How often and how fast: operations with their latencies, and what passes
//! through each protocol.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::kernel::clients::Protocol;

/// Latencies are kept with two significant digits.
const DIGITS: u8 = 2;
/// The longest latency told apart, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Metrics {
    operations: Mutex<BTreeMap<&'static str, Operation>>,
    traffic: BTreeMap<Protocol, Traffic>,
}

#[derive(Debug)]
struct Operation {
    errors: u64,
    sum: Duration,
    latencies: Option<Histogram<u64>>,
    count: u64,
}

/// Figures of one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationFigures {
    /// What is done: `execute`, `complete`, …
    pub name: &'static str,
    /// How often it was.
    pub count: u64,
    /// How often it failed.
    pub errors: u64,
    /// All together.
    pub sum: Duration,
    /// Median.
    pub p50: Duration,
    /// 95th percentile.
    pub p95: Duration,
    /// 99th percentile.
    pub p99: Duration,
}

/// What passes through a protocol.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Connections that are open.
    pub open: AtomicU64,
    /// Connections so far.
    pub connections: AtomicU64,
    /// Bytes from clients.
    pub bytes_in: AtomicU64,
    /// Bytes to clients.
    pub bytes_out: AtomicU64,
    /// Openings refused, and connections that ended by an error.
    pub errors: AtomicU64,
}

impl OperationFigures {
    /// As a document; times in milliseconds.
    pub fn to_json(&self) -> Value {
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        json!({
            "operation": self.name,
            "count": self.count,
            "errors": self.errors,
            "p50_ms": millis(self.p50),
            "p95_ms": millis(self.p95),
            "p99_ms": millis(self.p99),
        })
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        let traffic = Protocol::ALL.into_iter().map(|it| (it, Traffic::default())).collect();
        Self { operations: Mutex::default(), traffic }
    }

    /// Notes that an operation has been done.
    pub fn record(&self, name: &'static str, latency: Duration, ok: bool) {
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let operation = operations.entry(name).or_insert_with(|| Operation {
            errors: 0,
            sum: Duration::ZERO,
            latencies: Histogram::new_with_bounds(1, LONGEST, DIGITS).ok(),
            count: 0,
        });
        operation.count += 1;
        operation.errors += u64::from(!ok);
        operation.sum += latency;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(latencies) = &mut operation.latencies {
            latencies.saturating_record(micros.max(1));
        }
    }

    /// All operations that have been done, by name.
    pub fn operations(&self) -> Vec<OperationFigures> {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = |(name, operation): (&&'static str, &Operation)| {
            let quantile = |quantile| {
                let micros =
                    operation.latencies.as_ref().map_or(0, |it| it.value_at_quantile(quantile));
                Duration::from_micros(micros)
            };
            OperationFigures {
                name,
                count: operation.count,
                errors: operation.errors,
                sum: operation.sum,
                p50: quantile(0.5),
                p95: quantile(0.95),
                p99: quantile(0.99),
            }
        };
        operations.iter().map(figures).collect()
    }

    /// The traffic of a protocol.
    pub fn traffic(&self, protocol: Protocol) -> &Traffic {
        static NONE: Traffic = Traffic {
            open: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        };
        self.traffic.get(&protocol).unwrap_or(&NONE)
    }
}

impl Traffic {
    /// Counts a connection, until what is returned is dropped.
    pub fn opened(&self) -> Open<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct Open<'a>(&'a Traffic);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let metrics = Metrics::new();
        for millis in 1..=100 {
            metrics.record("execute", Duration::from_millis(millis), millis != 7);
        }
        let figures = &metrics.operations()[0];
        assert_eq!((figures.name, figures.count, figures.errors), ("execute", 100, 1));
        let close = |is: Duration, millis: u64| {
            let wanted = Duration::from_millis(millis);
            assert!(is >= wanted && is <= wanted.mul_f64(1.02), "{is:?} {wanted:?}");
        };
        close(figures.p50, 50);
        close(figures.p95, 95);
        close(figures.p99, 99);
        assert_eq!(figures.sum, Duration::from_millis(5050));
    }

    #[test]
    fn odd_latencies_are_counted_too() {
        let metrics = Metrics::new();
        metrics.record("x", Duration::ZERO, true);
        metrics.record("x", Duration::from_secs(1_000_000), true);
        assert_eq!(metrics.operations()[0].count, 2);
    }
}
