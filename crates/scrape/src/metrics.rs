//! The metrics of a scrape job, under the names that Prometheus registers (`scrape/metrics.go`) and Alloy adds. Which component they
//! belong to is said by the registry that they are given to. Counted per scrape, never per sample.

mod summary;

use prometheus::core::Collector;
use prometheus::{CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, Opts, Registry};

use crate::series::{Counts, Dropped};
pub use summary::Summaries;

/// Buckets of Prometheus' classic histograms of lengths.
const LENGTHS: [f64; 4] = [0.01, 0.1, 1.0, 10.0];
/// Buckets for whole scrapes; Prometheus has a native histogram only.
const DURATIONS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The metrics of one job.
#[derive(Clone)]
pub struct Metrics {
    pub(crate) interval_length: Summaries,
    pub(crate) interval_length_histogram: HistogramVec,
    pub(crate) pools: IntCounter,
    pub(crate) reloads: IntCounter,
    pub(crate) reloads_failed: IntCounter,
    pub(crate) reload_length: Summaries,
    pub(crate) syncs: CounterVec,
    pub(crate) sync_length: Summaries,
    pub(crate) sync_length_histogram: HistogramVec,
    pub(crate) sync_failed: CounterVec,
    pub(crate) targets: GaugeVec,
    pub(crate) target_limit: GaugeVec,
    pub(crate) exceeded_target_limit: IntCounter,
    pub(crate) exceeded_label_limits: IntCounter,
    pub(crate) exceeded_sample_limit: IntCounter,
    pub(crate) exceeded_body_size_limit: IntCounter,
    pub(crate) exceeded_bucket_limit: IntCounter,
    pub(crate) duplicates: IntCounter,
    pub(crate) out_of_order: IntCounter,
    pub(crate) out_of_bounds: IntCounter,
    pub(crate) duration: Histogram,
    pub(crate) owned: IntGauge,
    pub(crate) moved: IntCounter,
    pub(crate) skipped: IntCounter,
    pub(crate) held_back: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) refused_samples: IntCounter,
    pub(crate) exemplars_out_of_order: IntCounter,
    pub(crate) failures_lost: IntCounter,
    pub(crate) not_converted: IntCounter,
    pub(crate) exemplars_refused: IntCounter,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// The registry has one of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let add = Register(registry);
        Ok(Self {
            interval_length: add.summaries("prometheus_target_interval_length_seconds", "Actual intervals between scrapes.", "interval")?,
            interval_length_histogram: add.histograms(
                "prometheus_target_interval_length_histogram_seconds",
                "Actual intervals between scrapes.",
                "interval",
            )?,
            pools: add.counter("prometheus_target_scrape_pools_total", "Scrape jobs that were started.")?,
            reloads: add.counter("prometheus_target_scrape_pool_reloads_total", "Changes of a job's arguments.")?,
            reloads_failed: add
                .counter("prometheus_target_scrape_pool_reloads_failed_total", "Changes of a job's arguments that failed.")?,
            reload_length: add.summaries("prometheus_target_reload_length_seconds", "Time that changes of arguments took.", "interval")?,
            syncs: add.counters("prometheus_target_scrape_pool_sync_total", "Times that the target set was taken over.")?,
            sync_length: add.summaries("prometheus_target_sync_length_seconds", "Time that taking over target sets took.", "scrape_job")?,
            sync_length_histogram: add.histograms(
                "prometheus_target_sync_length_histogram_seconds",
                "Time that taking over target sets took.",
                "scrape_job",
            )?,
            sync_failed: add.counters("prometheus_target_sync_failed_total", "Discovered label sets that are no targets.")?,
            targets: add.gauges("prometheus_target_scrape_pool_targets", "Targets of the job.")?,
            target_limit: add.gauges("prometheus_target_scrape_pool_target_limit", "Most targets that the job may have.")?,
            exceeded_target_limit: add
                .counter("prometheus_target_scrape_pool_exceeded_target_limit_total", "Times that there were more targets than allowed.")?,
            exceeded_label_limits: add
                .counter("prometheus_target_scrape_pool_exceeded_label_limits_total", "Scrapes that breached a label limit.")?,
            exceeded_sample_limit: add
                .counter("prometheus_target_scrapes_exceeded_sample_limit_total", "Scrapes that breached the sample limit.")?,
            exceeded_body_size_limit: add
                .counter("prometheus_target_scrapes_exceeded_body_size_limit_total", "Scrapes that breached a body size limit.")?,
            exceeded_bucket_limit: add.counter(
                "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total",
                "Scrapes that breached the bucket limit of native histograms.",
            )?,
            duplicates: add.counter(
                "prometheus_target_scrapes_sample_duplicate_timestamp_total",
                "Samples rejected as their series had another value at that time.",
            )?,
            out_of_order: add
                .counter("prometheus_target_scrapes_sample_out_of_order_total", "Samples rejected as their series had a later one.")?,
            out_of_bounds: add.counter(
                "prometheus_target_scrapes_sample_out_of_bounds_total",
                "Samples rejected as their timestamp is too far in the future.",
            )?,
            duration: add.durations("prometheus_target_scrape_duration_seconds", "Time from a scrape's beginning to its end.")?,
            owned: add.gauge("prometheus_scrape_targets_gauge", "Targets that this node scrapes.")?,
            moved: add.counter("prometheus_scrape_targets_moved_total", "Targets that moved from this node to another one.")?,
            skipped: add.counter("collector_scrape_slots_skipped_total", "Slots without a scrape, as the one before took too long.")?,
            held_back: add.counter("collector_scrape_slots_held_back_total", "Slots without a scrape, as another node may have it.")?,
            refused: add.counter("collector_scrape_batches_refused_total", "Batches that the receivers refused.")?,
            refused_samples: add.counter("collector_scrape_samples_refused_total", "Samples in batches that the receivers refused.")?,
            exemplars_out_of_order: add
                .counter("prometheus_target_scrapes_exemplar_out_of_order_total", "Exemplars rejected as their series had a later one.")?,
            exemplars_refused: add.counter(
                "collector_scrape_exemplars_refused_total",
                "Exemplars dropped as their labels are longer than 128 characters, or occur twice.",
            )?,
            not_converted: add.counter(
                "collector_scrape_histograms_not_converted_total",
                "Classic histograms that make no native one with custom buckets, and were dropped where only those are kept.",
            )?,
            failures_lost: add.counter(
                "collector_scrape_failure_log_lines_lost_total",
                "Failed scrapes that could not be written to scrape_failure_log_file.",
            )?,
        })
    }

    /// Adds what a scrape counted.
    pub(crate) fn count(&self, counts: &Counts) {
        add([
            (&self.duplicates, counts.duplicates),
            (&self.out_of_order, counts.out_of_order),
            (&self.out_of_bounds, counts.out_of_bounds),
        ]);
    }

    /// Adds what a good scrape did not hand on.
    pub(crate) fn count_dropped(&self, dropped: &Dropped) {
        add([
            (&self.not_converted, dropped.not_converted),
            (&self.exemplars_refused, dropped.exemplars_refused),
            (&self.exemplars_out_of_order, dropped.exemplars_out_of_order),
        ]);
    }
}

fn add(counts: [(&IntCounter, usize); 3]) {
    for (counter, count) in counts {
        if count > 0 {
            counter.inc_by(count as u64);
        }
    }
}

/// Makes metrics and registers them.
struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn add<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str) -> Result<CounterVec, prometheus::Error> {
        self.add(CounterVec::new(Opts::new(name, help), &["scrape_job"])?)
    }

    fn gauges(&self, name: &str, help: &str) -> Result<GaugeVec, prometheus::Error> {
        self.add(GaugeVec::new(Opts::new(name, help), &["scrape_job"])?)
    }

    fn histograms(&self, name: &str, help: &str, label: &str) -> Result<HistogramVec, prometheus::Error> {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(LENGTHS.to_vec()), &[label])?)
    }

    fn durations(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(DURATIONS.to_vec()))?)
    }

    fn summaries(&self, name: &str, help: &str, label: &str) -> Result<Summaries, prometheus::Error> {
        self.add(Summaries::new(name, help, label)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_are_prometheus_or_ours_and_register_once() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.interval_length.observe("15s", 15.0);
        metrics.syncs.with_label_values(&["j"]).inc();
        let names: Vec<String> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        assert!(names.contains(&"prometheus_target_interval_length_seconds".to_owned()), "{names:?}");
        let ours = |name: &String| ["prometheus_target_", "prometheus_scrape_", "collector_scrape_"].iter().any(|p| name.starts_with(p));
        assert!(names.iter().all(ours), "{names:?}");
        assert!(Metrics::register(&registry).is_err());
    }

    #[test]
    fn counts_are_added() {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let counts = Counts { duplicates: 1, out_of_order: 2, out_of_bounds: 3, ..Counts::default() };
        let dropped = Dropped { not_converted: 4, exemplars_refused: 5, exemplars_out_of_order: 6 };
        for _ in 0..2 {
            metrics.count(&counts);
            metrics.count_dropped(&dropped);
        }
        let samples = [&metrics.duplicates, &metrics.out_of_order, &metrics.out_of_bounds];
        let others = [&metrics.not_converted, &metrics.exemplars_refused, &metrics.exemplars_out_of_order];
        assert_eq!(samples.map(|counter| counter.get()), [2, 4, 6]);
        assert_eq!(others.map(|counter| counter.get()), [8, 10, 12]);
    }
}
