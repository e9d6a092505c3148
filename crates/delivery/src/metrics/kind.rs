//! The metrics that samples, histograms and exemplars each have, under names that differ in the kind alone.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::LABELS;

/// Why something is dropped before it is sent (label `reason` of `…_dropped_total`). The first three are Prometheus'.
const REASONS: [&str; 5] = ["dropped_series", "too_old", UNSUPPORTED, DISK_FULL, CORRUPT];
/// A histogram with custom buckets, which 1.0 can't carry.
pub(super) const UNSUPPORTED: &str = "nhcb_in_rw1_not_supported";
/// It was the oldest on a disk that was full.
pub(super) const DISK_FULL: &str = "disk_full";
/// It could not be read back from the disk.
pub(super) const CORRUPT: &str = "corrupt";

/// The families of one kind.
#[derive(Clone)]
pub(super) struct KindFamilies {
    came: IntCounter,
    total: IntCounterVec,
    failed: IntCounterVec,
    retried: IntCounterVec,
    dropped: IntCounterVec,
    pending: IntGaugeVec,
}

/// An endpoint's values of one kind.
#[derive(Clone)]
pub(crate) struct KindMetrics {
    /// What came in; all endpoints together.
    pub came: IntCounter,
    /// What was sent, each time that it was.
    pub total: IntCounter,
    /// What the receiver will never take.
    pub failed: IntCounter,
    /// What was to be sent again.
    pub retried: IntCounter,
    pub dropped_series: IntCounter,
    pub too_old: IntCounter,
    pub pending: IntGauge,
}

impl KindFamilies {
    /// Families for `kind` (the plural that names have).
    pub fn new(kind: &str) -> prometheus::Result<Self> {
        let opts = |what: &str, help: &str| Opts::new(format!("prometheus_remote_storage_{kind}_{what}"), help.replace("{}", kind));
        let counter = |what, help| IntCounterVec::new(opts(what, help), &LABELS);
        Ok(Self {
            came: IntCounter::with_opts(opts("in_total", "The {} that came in, once per endpoint."))?,
            total: counter("total", "The {} sent, each time that they were sent.")?,
            failed: counter("failed_total", "The {} that the receiver will never take.")?,
            retried: counter("retried_total", "The {} that were to be sent again.")?,
            dropped: IntCounterVec::new(
                opts("dropped_total", "The {} dropped before they were sent, by reason."),
                &[LABELS[0], LABELS[1], "reason"],
            )?,
            pending: IntGaugeVec::new(opts("pending", "The {} in memory that the receiver has not acknowledged."), &LABELS)?,
        })
    }

    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let counters =
            [&self.total, &self.failed, &self.retried, &self.dropped].map(|family| Box::new(family.clone()) as Box<dyn Collector>);
        counters.into_iter().chain([Box::new(self.came.clone()) as Box<dyn Collector>, Box::new(self.pending.clone())]).collect()
    }

    /// The values of an endpoint.
    pub fn endpoint(&self, with: [&str; 2]) -> KindMetrics {
        KindMetrics {
            came: self.came.clone(),
            total: self.total.with_label_values(&with),
            failed: self.failed.with_label_values(&with),
            retried: self.retried.with_label_values(&with),
            dropped_series: self.dropped(with, REASONS[0]),
            too_old: self.dropped(with, REASONS[1]),
            pending: self.pending.with_label_values(&with),
        }
    }

    /// What an endpoint drops for one reason.
    pub fn dropped(&self, [name, url]: [&str; 2], reason: &str) -> IntCounter {
        self.dropped.with_label_values(&[name, url, reason])
    }

    /// Takes an endpoint's values out.
    pub fn remove(&self, [name, url]: [&str; 2]) {
        // An error says that there was no such child, which is what is wanted.
        [&self.total, &self.failed, &self.retried].into_iter().for_each(|family| drop(family.remove_label_values(&[name, url])));
        drop(self.pending.remove_label_values(&[name, url]));
        REASONS.iter().for_each(|reason| drop(self.dropped.remove_label_values(&[name, url, reason])));
    }
}
