//! Metrics of discoveries under Prometheus' names.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType, Summary};
use prometheus::{Histogram, HistogramOpts, IntCounter, Opts, Registry};

/// What Prometheus counts of every discovery that refreshes.
pub(crate) struct RefreshMetrics {
    failures: IntCounter,
    duration: Durations,
    histogram: Histogram,
}

impl RefreshMetrics {
    /// Registers them for one mechanism: `http`, `dns`.
    pub(crate) fn new(registry: &Registry, mechanism: &str) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("mechanism", mechanism);
        let failures = IntCounter::with_opts(
            opts("prometheus_sd_refresh_failures_total", "Number of refresh failures for the given SD mechanism.")
                .const_label("config", ""),
        )?;
        let duration = Durations::new(
            opts("prometheus_sd_refresh_duration_seconds", "The duration of a refresh in seconds for the given SD mechanism.")
                .const_label("config", ""),
        )?;
        let histogram = Histogram::with_opts(HistogramOpts {
            common_opts: opts("prometheus_sd_refresh_duration_histogram_seconds", "The duration of a refresh for the given SD mechanism."),
            buckets: vec![0.01, 0.1, 1.0, 10.0],
        })?;
        registry.register(Box::new(failures.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(histogram.clone()))?;
        Ok(Self { failures, duration, histogram })
    }

    pub(crate) fn observe(&self, duration: Duration, failed: bool) {
        self.duration.observe(duration);
        self.histogram.observe(duration.as_secs_f64());
        self.failures.inc_by(u64::from(failed));
    }
}

/// A counter in `registry`.
pub(crate) fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// A summary of durations without quantiles: count and sum, as far as such summaries can be added up over instances.
#[derive(Clone)]
pub(crate) struct Durations {
    desc: Desc,
    total: std::sync::Arc<Mutex<(u64, f64)>>,
}

impl Durations {
    pub(crate) fn new(opts: Opts) -> Result<Self, prometheus::Error> {
        let desc = Desc::new(opts.fq_name(), opts.help, Vec::new(), opts.const_labels)?;
        Ok(Self { desc, total: std::sync::Arc::default() })
    }

    pub(crate) fn observe(&self, duration: Duration) {
        let mut total = self.total.lock();
        *total = (total.0 + 1, total.1 + duration.as_secs_f64());
    }
}

impl Collector for Durations {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (count, sum) = *self.total.lock();
        let mut summary = Summary::default();
        summary.set_sample_count(count);
        summary.set_sample_sum(sum);
        let labels: Vec<LabelPair> = self.desc.const_label_pairs.clone();
        let mut metric = Metric::from_label(labels);
        metric.set_summary(summary);
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refreshes_are_counted_under_the_known_names() {
        let registry = Registry::new();
        let metrics = RefreshMetrics::new(&registry, "http").unwrap();
        metrics.observe(Duration::from_millis(500), true);
        metrics.observe(Duration::from_millis(250), false);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "prometheus_sd_refresh_failures_total{config=\"\",mechanism=\"http\"} 1",
            "prometheus_sd_refresh_duration_seconds_sum{config=\"\",mechanism=\"http\"} 0.75",
            "prometheus_sd_refresh_duration_seconds_count{config=\"\",mechanism=\"http\"} 2",
            "prometheus_sd_refresh_duration_histogram_seconds_bucket{mechanism=\"http\",le=\"1\"} 2",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
