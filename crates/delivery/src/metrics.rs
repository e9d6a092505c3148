//! What an endpoint counts, under Prometheus' names where it has one (`storage/remote/queue_manager.go`), else as `collector_remote_write_*`.
//! Families are registered once per registry; an endpoint's values live as long as it does.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

const LABELS: [&str; 2] = ["remote_name", "url"];
/// Why samples are dropped before they are sent (label `reason` of `samples_dropped_total`).
const REASONS: [&str; 4] = ["dropped_series", "too_old", "disk_full", "corrupt"];

/// Prometheus' default buckets and four more for slow receivers, in seconds.
const BUCKETS: [f64; 15] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0];

/// The metric families, registered.
#[derive(Clone)]
pub struct Metrics {
    samples: IntCounterVec,
    failed: IntCounterVec,
    retried: IntCounterVec,
    dropped: IntCounterVec,
    enqueue_retries: IntCounterVec,
    bytes: IntCounterVec,
    duration: HistogramVec,
    highest_sent: GaugeVec,
    highest: Gauge,
    samples_in: IntCounter,
    gauges: [IntGaugeVec; GAUGES.len()],
    counters: [IntCounterVec; COUNTERS.len()],
}

/// Gauges with whole numbers; the order is that of the fields of [`EndpointMetrics`].
const GAUGES: [(&str, &str); 12] = [
    ("prometheus_remote_storage_samples_pending", "Samples in memory that the receiver has not acknowledged."),
    ("prometheus_remote_storage_shard_capacity", "Samples that the queue holds per shard at least."),
    ("prometheus_remote_storage_shards", "Shards that send in parallel."),
    ("prometheus_remote_storage_shards_max", "Most shards."),
    ("prometheus_remote_storage_shards_min", "Fewest shards."),
    ("prometheus_remote_storage_shards_desired", "Shards that the rates of samples coming and going ask for."),
    ("prometheus_remote_storage_max_samples_per_send", "Most samples in a request."),
    ("collector_remote_write_queue_bytes", "Bytes of memory that queued batches take."),
    ("collector_remote_write_disk_bytes", "Bytes that the queue takes on disk."),
    ("collector_remote_write_disk_samples", "Samples that are on disk and not in memory."),
    ("collector_remote_write_template_bytes", "Bytes of templates, the pre-compressed series that values are filled into."),
    ("collector_remote_write_held_samples", "Samples held back until a series' earlier samples are acknowledged elsewhere."),
];

/// Counters of our own; the order is that of the fields of [`EndpointMetrics`].
const COUNTERS: [(&str, &str); 7] = [
    ("collector_remote_write_refused_samples_total", "Samples that were not taken because the queue was full."),
    ("collector_remote_write_templates_built_total", "Templates made."),
    ("collector_remote_write_templates_widened_total", "Templates that got places for values which had been constant."),
    ("collector_remote_write_spilled_samples_total", "Samples written to disk."),
    ("collector_remote_write_replayed_samples_total", "Samples read back from disk."),
    ("collector_remote_write_corrupt_records_total", "Records on disk that could not be read and were skipped."),
    ("collector_remote_write_disk_errors_total", "Failed attempts to write to disk; batches stay in memory meanwhile."),
];

/// The values of one endpoint. Dropping the last clone does not unregister them; [`EndpointMetrics::remove`] does.
#[derive(Clone)]
#[allow(missing_docs)] // the families say it
pub(crate) struct EndpointMetrics {
    families: Metrics,
    labels: [Box<str>; 2],
    pub samples: IntCounter,
    pub failed: IntCounter,
    pub retried: IntCounter,
    pub enqueue_retries: IntCounter,
    pub bytes: IntCounter,
    pub duration: Histogram,
    pub highest_sent: Gauge,
    pub highest: Gauge,
    pub samples_in: IntCounter,
    pub dropped_series: IntCounter,
    pub too_old: IntCounter,
    pub disk_full: IntCounter,
    pub corrupt: IntCounter,
    pub pending: IntGauge,
    pub shard_capacity: IntGauge,
    pub shards: IntGauge,
    pub shards_max: IntGauge,
    pub shards_min: IntGauge,
    pub shards_desired: IntGauge,
    pub max_samples_per_send: IntGauge,
    pub queue_bytes: IntGauge,
    pub disk_bytes: IntGauge,
    pub disk_samples: IntGauge,
    pub template_bytes: IntGauge,
    pub held: IntGauge,
    pub refused: IntCounter,
    pub templates_built: IntCounter,
    pub templates_widened: IntCounter,
    pub spilled: IntCounter,
    pub replayed: IntCounter,
    pub corrupt_records: IntCounter,
    pub disk_errors: IntCounter,
}

impl Metrics {
    /// Registers the families; once per registry.
    ///
    /// # Errors
    /// If `registry` has metrics of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let duration =
            HistogramOpts::new("prometheus_remote_storage_sent_batch_duration_seconds", "Duration of requests.").buckets(BUCKETS.to_vec());
        let metrics = Self {
            samples: counter("prometheus_remote_storage_samples_total", "Samples sent, each time that they were sent.")?,
            failed: counter("prometheus_remote_storage_samples_failed_total", "Samples that the receiver will never take.")?,
            retried: counter("prometheus_remote_storage_samples_retried_total", "Samples that were to be sent again.")?,
            dropped: IntCounterVec::new(
                Opts::new("prometheus_remote_storage_samples_dropped_total", "Samples dropped before they were sent, by reason."),
                &[LABELS[0], LABELS[1], "reason"],
            )?,
            enqueue_retries: counter(
                "prometheus_remote_storage_enqueue_retries_total",
                "Batches that were not taken because the queue was full.",
            )?,
            bytes: counter("prometheus_remote_storage_bytes_total", "Bytes sent after compression.")?,
            duration: HistogramVec::new(duration, &LABELS)?,
            highest_sent: GaugeVec::new(
                Opts::new(
                    "prometheus_remote_storage_queue_highest_sent_timestamp_seconds",
                    "Latest timestamp that the receiver acknowledged.",
                ),
                &LABELS,
            )?,
            highest: Gauge::new("prometheus_remote_storage_highest_timestamp_in_seconds", "Latest timestamp that came in.")?,
            samples_in: IntCounter::new("prometheus_remote_storage_samples_in_total", "Samples that came in, once per endpoint.")?,
            gauges: families(GAUGES, |name, help| IntGaugeVec::new(Opts::new(name, help), &LABELS))?,
            counters: families(COUNTERS, counter)?,
        };
        metrics.collectors().into_iter().try_for_each(|collector| registry.register(collector))?;
        Ok(metrics)
    }

    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let counters = [&self.samples, &self.failed, &self.retried, &self.dropped, &self.enqueue_retries, &self.bytes];
        let mut all: Vec<Box<dyn Collector>> = vec![
            Box::new(self.duration.clone()),
            Box::new(self.highest_sent.clone()),
            Box::new(self.highest.clone()),
            Box::new(self.samples_in.clone()),
        ];
        all.extend(counters.into_iter().chain(&self.counters).map(|family| Box::new(family.clone()) as Box<dyn Collector>));
        all.extend(self.gauges.iter().map(|family| Box::new(family.clone()) as Box<dyn Collector>));
        all
    }

    /// The values of an endpoint, all at zero at first so that they are seen before anything happens.
    pub(crate) fn endpoint(&self, name: &str, url: &str) -> EndpointMetrics {
        let with = [name, url];
        let [dropped_series, too_old, disk_full, corrupt] = REASONS.map(|reason| self.dropped.with_label_values(&[name, url, reason]));
        let [pending, shard_capacity, shards, shards_max, shards_min, shards_desired, max_samples_per_send, gauges @ ..] =
            children(&self.gauges, with);
        let [queue_bytes, disk_bytes, disk_samples, template_bytes, held] = gauges;
        let [refused, templates_built, templates_widened, spilled, replayed, corrupt_records, disk_errors] =
            self.counters.each_ref().map(|f| f.with_label_values(&with));
        EndpointMetrics {
            families: self.clone(),
            labels: with.map(Into::into),
            samples: self.samples.with_label_values(&with),
            failed: self.failed.with_label_values(&with),
            retried: self.retried.with_label_values(&with),
            enqueue_retries: self.enqueue_retries.with_label_values(&with),
            bytes: self.bytes.with_label_values(&with),
            duration: self.duration.with_label_values(&with),
            highest_sent: self.highest_sent.with_label_values(&with),
            highest: self.highest.clone(),
            samples_in: self.samples_in.clone(),
            dropped_series,
            too_old,
            disk_full,
            corrupt,
            pending,
            shard_capacity,
            shards,
            shards_max,
            shards_min,
            shards_desired,
            max_samples_per_send,
            queue_bytes,
            disk_bytes,
            disk_samples,
            template_bytes,
            held,
            refused,
            templates_built,
            templates_widened,
            spilled,
            replayed,
            corrupt_records,
            disk_errors,
        }
    }
}

impl EndpointMetrics {
    /// Takes the endpoint's values out of the families, so that nothing of an endpoint that is gone is shown.
    pub fn remove(&self) {
        let with = [&*self.labels[0], &*self.labels[1]];
        let families = &self.families;
        let counters = [&families.samples, &families.failed, &families.retried, &families.enqueue_retries, &families.bytes];
        // An error says that there was no such child, which is what is wanted.
        counters.into_iter().chain(&families.counters).for_each(|family| drop(family.remove_label_values(&with)));
        families.gauges.iter().for_each(|family| drop(family.remove_label_values(&with)));
        drop(families.duration.remove_label_values(&with));
        drop(families.highest_sent.remove_label_values(&with));
        REASONS.iter().for_each(|reason| drop(families.dropped.remove_label_values(&[with[0], with[1], reason])));
    }

    /// Raises `gauge` to a time in milliseconds.
    pub fn raise(gauge: &Gauge, milliseconds: i64) {
        let seconds = (milliseconds / 1000) as f64;
        if milliseconds > 0 && seconds > gauge.get() {
            gauge.set(seconds); // two writers may race by one value; the next sample mends it
        }
    }
}

fn counter(name: &str, help: &str) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), &LABELS)
}

fn families<F, const N: usize>(
    all: [(&'static str, &'static str); N],
    make: impl Fn(&'static str, &'static str) -> prometheus::Result<F>,
) -> prometheus::Result<[F; N]> {
    let made: Vec<F> = all.into_iter().map(|(name, help)| make(name, help)).collect::<Result<_, _>>()?;
    made.try_into().map_err(|_| prometheus::Error::Msg("as many families as names".to_owned()))
}

fn children<const N: usize>(families: &[IntGaugeVec; N], with: [&str; 2]) -> [IntGauge; N] {
    families.each_ref().map(|family| family.with_label_values(&with))
}
