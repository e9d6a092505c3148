//! The metrics of a server, under the names and labels of dskit's server, which Alloy uses: `<namespace>_request_duration_seconds` and so
//! on. What the collector adds begins with `collector_`.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::{
    Error, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector, exponential_buckets,
};

/// dskit's buckets for the duration of requests, in seconds.
const DURATIONS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];
/// The only protocol of these servers, as dskit spells it.
const HTTP: &str = "http";

/// Why a connection was broken off or not served.
#[derive(Clone, Copy, Debug)]
pub(super) enum Broken {
    /// There were too many.
    Limit,
    /// The TLS handshake failed.
    Tls,
    /// The client was silent for too long.
    Timeout,
}

impl Broken {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
        }
    }
}

/// The metrics of one component's server; registered once, however often the server is started anew. Cloning shares them.
#[derive(Clone)]
pub struct ServerMetrics {
    connections: IntGauge,
    limit: IntGauge,
    durations: HistogramVec,
    requests: HistogramVec,
    responses: HistogramVec,
    running: IntGaugeVec,
    broken: IntCounterVec,
}

impl ServerMetrics {
    /// Registers the metrics; `namespace` is like `prometheus_receive_http`.
    ///
    /// # Errors
    /// The registry has them already.
    pub fn register(namespace: &str, registry: &Registry) -> Result<Self, Error> {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            kept(registry, IntGaugeVec::new(Opts::new(format!("{namespace}_{name}"), help), labels)?)
        };
        let histograms = |name: &str, help: &str, buckets: Vec<f64>, labels: &[&str]| {
            kept(registry, HistogramVec::new(HistogramOpts::new(format!("{namespace}_{name}"), help).buckets(buckets), labels)?)
        };
        let sizes = exponential_buckets(4.0, 4.0, 15)?;
        let broken = Opts::new("collector_server_broken_connections_total", "Connections that were not served to their end, by reason.");
        Ok(Self {
            connections: gauges("tcp_connections", "Current number of accepted TCP connections.", &["protocol"])?
                .with_label_values(&[HTTP]),
            limit: gauges(
                "tcp_connections_limit",
                "The max number of TCP connections that can be accepted (0 means no limit).",
                &["protocol"],
            )?
            .with_label_values(&[HTTP]),
            durations: histograms(
                "request_duration_seconds",
                "Time (in seconds) spent serving HTTP requests.",
                DURATIONS.to_vec(),
                &["method", "route", "status_code", "ws"],
            )?,
            requests: histograms(
                "request_message_bytes",
                "Size (in bytes) of messages received in the request.",
                sizes.clone(),
                &["method", "route"],
            )?,
            responses: histograms("response_message_bytes", "Size (in bytes) of messages sent in response.", sizes, &["method", "route"])?,
            running: gauges("inflight_requests", "Current number of inflight requests.", &["method", "route"])?,
            broken: kept(registry, IntCounterVec::new(broken, &["reason"])?)?,
        })
    }

    pub(super) fn limit(&self, limit: usize) {
        self.limit.set(limit as i64);
    }

    /// Counts a connection until the result is dropped.
    pub(super) fn connected(&self) -> Held {
        Held::new(self.connections.clone())
    }

    /// Counts a request as running until the result is dropped.
    pub(super) fn running(&self, method: &str, route: &str) -> Held {
        Held::new(self.running.with_label_values(&[method, route]))
    }

    /// Notes how a request went.
    pub(super) fn answered(&self, method: &str, route: &str, status: StatusCode, took: Duration, sizes: (u64, u64)) {
        // None of these servers speaks WebSocket.
        self.durations.with_label_values(&[method, route, status.as_str(), "false"]).observe(took.as_secs_f64());
        self.requests.with_label_values(&[method, route]).observe(sizes.0 as f64);
        self.responses.with_label_values(&[method, route]).observe(sizes.1 as f64);
    }

    pub(super) fn broken(&self, why: Broken) {
        self.broken.with_label_values(&[why.as_str()]).inc();
    }
}

/// The method as a label: whatever a client invents is one value.
pub(super) fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    KNOWN.iter().find(|known| **known == method.as_str()).copied().unwrap_or("other")
}

fn kept<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// One more in a gauge for as long as it lives.
pub(super) struct Held(IntGauge);

impl Held {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
