//! What the component counts beside its server and its fan-out.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::intake::Intake;

/// Counters of requests and what was in them.
pub(super) struct Metrics {
    /// Samples whose series' labels can't be; Prometheus' own name.
    pub invalid_samples: IntCounter,
    /// Requests that were not taken, by reason.
    pub rejected: IntCounterVec,
    /// Requests that had been taken before.
    pub repeated: IntCounter,
    pub dropped_exemplars: IntCounter,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            invalid_samples: IntCounter::new(
                "prometheus_api_remote_write_invalid_labels_samples_total",
                "The total number of received remote write samples and histogram samples which were rejected due to invalid labels.",
            )?,
            rejected: IntCounterVec::new(
                Opts::new("collector_receive_http_rejected_requests_total", "Requests that were not taken, by reason."),
                &["reason"],
            )?,
            repeated: IntCounter::new(
                "collector_receive_http_repeated_requests_total",
                "Requests that were sent again although they had been taken, and were not handed on a second time.",
            )?,
            dropped_exemplars: IntCounter::new(
                "collector_receive_http_dropped_exemplars_total",
                "Exemplars that were too long, too far in the future, or without a sample in their request.",
            )?,
        };
        registry.register(Box::new(metrics.invalid_samples.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.repeated.clone()))?;
        registry.register(Box::new(metrics.dropped_exemplars.clone()))?;
        Ok(metrics)
    }
}

/// The intake's own counters, read when somebody looks.
pub(super) struct IntakeMetrics {
    intake: Arc<ArcSwap<Intake>>,
    series: IntCounterVec,
    bytes: IntGauge,
    /// What was read last: other options bring another intake that counts from zero, while counters never go back.
    last: Mutex<[u64; 2]>,
}

impl IntakeMetrics {
    pub fn new(intake: Arc<ArcSwap<Intake>>) -> Result<Self, prometheus::Error> {
        let series = Opts::new("collector_receive_http_series_total", "Series of requests, by whether they were known from earlier ones.");
        let bytes = IntGauge::new("collector_receive_http_known_series_bytes", "Memory that known series take.")?;
        Ok(Self { intake, series: IntCounterVec::new(series, &["known"])?, bytes, last: Mutex::default() })
    }
}

impl Collector for IntakeMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.series.desc().into_iter().chain(self.bytes.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.intake.load().stats();
        let now = [stats.known, stats.new];
        let mut last = self.last.lock();
        for ((known, now), last) in ["true", "false"].iter().zip(now).zip(*last) {
            self.series.with_label_values(&[known]).inc_by(if now < last { now } else { now - last });
        }
        *last = now;
        drop(last);
        self.bytes.set(stats.bytes as i64);
        self.series.collect().into_iter().chain(self.bytes.collect()).collect()
    }
}
