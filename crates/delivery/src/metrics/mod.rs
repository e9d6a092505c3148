//! What an endpoint counts, under Prometheus' names where it has one (`storage/remote/queue_manager.go`), else as `collector_remote_write_*`.
//! Families are registered once per registry; an endpoint's values live as long as it does.

mod kind;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::encode::{Counted, Tally};
use kind::{KindFamilies, KindMetrics};

const LABELS: [&str; 2] = ["remote_name", "url"];

/// Prometheus' default buckets and four more for slow receivers, in seconds.
const BUCKETS: [f64; 15] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0];

/// The metric families, registered.
#[derive(Clone)]
pub struct Metrics {
    samples: KindFamilies,
    histograms: KindFamilies,
    exemplars: KindFamilies,
    duration: HistogramVec,
    times: [GaugeVec; TIMES.len()],
    highest: Gauge,
    gauges: [IntGaugeVec; GAUGES.len()],
    counters: [IntCounterVec; COUNTERS.len()],
}

/// Times in seconds; the order is that of the fields of [`EndpointMetrics`].
const TIMES: [(&str, &str); 2] = [
    ("prometheus_remote_storage_queue_highest_sent_timestamp_seconds", "Latest timestamp that the receiver acknowledged."),
    ("prometheus_remote_storage_queue_highest_timestamp_seconds", "Latest timestamp that came in for this endpoint."),
];

/// Gauges with whole numbers; the order is that of the fields of [`EndpointMetrics`].
const GAUGES: [(&str, &str); 13] = [
    ("prometheus_remote_storage_shard_capacity", "Samples that the queue holds per shard at least."),
    ("prometheus_remote_storage_shards", "Shards that send in parallel."),
    ("prometheus_remote_storage_shards_max", "Most shards."),
    ("prometheus_remote_storage_shards_min", "Fewest shards."),
    ("prometheus_remote_storage_shards_desired", "Shards that the rates of samples coming and going ask for."),
    ("prometheus_remote_storage_max_samples_per_send", "Most samples in a request."),
    ("collector_remote_write_queue_bytes", "Bytes of memory that queued batches take."),
    ("collector_remote_write_disk_bytes", "Bytes that the queue takes on disk."),
    ("collector_remote_write_disk_max_bytes", "Bytes that the queue may take on disk; beyond them the oldest samples are dropped."),
    ("collector_remote_write_disk_samples", "Samples that are on disk and not in memory."),
    ("collector_remote_write_template_bytes", "Bytes of templates, the pre-compressed series that values are filled into."),
    ("collector_remote_write_message_version", "Version of the message that is sent: 1 or 2."),
    ("collector_remote_write_held_samples", "Samples held back until a series' earlier samples are acknowledged elsewhere."),
];

/// Counters; the order is that of the fields of [`EndpointMetrics`].
const COUNTERS: [(&str, &str); 19] = [
    ("prometheus_remote_storage_bytes_total", "Bytes sent after compression, without those of metadata."),
    ("prometheus_remote_storage_enqueue_retries_total", "Batches that were not taken because the queue was full."),
    ("prometheus_remote_storage_metadata_total", "Families whose metadata was sent, each time that it was."),
    ("prometheus_remote_storage_metadata_failed_total", "Families whose metadata the receiver would not take."),
    ("prometheus_remote_storage_metadata_retried_total", "Families whose metadata was to be sent again."),
    ("prometheus_remote_storage_metadata_bytes_total", "Bytes of metadata sent after compression."),
    ("collector_remote_write_metadata_dropped_total", "Families whose metadata was not sent because there were too many."),
    ("collector_remote_write_refused_samples_total", "Samples that were not taken because the queue was full."),
    ("collector_remote_write_fallbacks_total", "Requests whose message or compression the receiver did not understand."),
    ("collector_remote_write_templates_built_total", "Templates made."),
    ("collector_remote_write_templates_widened_total", "Templates that got places for values which had been constant."),
    ("collector_remote_write_spilled_samples_total", "Samples written to disk."),
    ("collector_remote_write_replayed_samples_total", "Samples read back from disk."),
    ("collector_remote_write_corrupt_records_total", "Records on disk that could not be read and were skipped."),
    ("collector_remote_write_disk_errors_total", "Failed attempts to write to disk; batches stay in memory meanwhile."),
    ("collector_remote_write_holds_expired_total", "Sources let go because another node had not sent in time what it had of them."),
    ("collector_remote_write_backlog_shipped_samples_total", "Samples that were given to other nodes as this one left."),
    ("collector_remote_write_backlog_taken_samples_total", "Samples taken over from nodes that left."),
    ("collector_remote_write_backlog_malformed_total", "Messages of nodes that left which could not be read."),
];

/// The values of one endpoint. Dropping the last clone does not unregister them; [`EndpointMetrics::remove`] does.
#[derive(Clone)]
#[allow(missing_docs)] // the families say it
pub(crate) struct EndpointMetrics {
    families: Metrics,
    labels: [Box<str>; 2],
    pub samples: KindMetrics,
    pub histograms: KindMetrics,
    pub exemplars: KindMetrics,
    pub unsupported: IntCounter,
    pub disk_full: IntCounter,
    pub corrupt: IntCounter,
    pub duration: Histogram,
    pub highest_sent: Gauge,
    pub highest_in: Gauge,
    pub highest: Gauge,
    pub shard_capacity: IntGauge,
    pub shards: IntGauge,
    pub shards_max: IntGauge,
    pub shards_min: IntGauge,
    pub shards_desired: IntGauge,
    pub max_samples_per_send: IntGauge,
    pub queue_bytes: IntGauge,
    pub disk_bytes: IntGauge,
    pub disk_max_bytes: IntGauge,
    pub disk_samples: IntGauge,
    pub template_bytes: IntGauge,
    pub message_version: IntGauge,
    pub held: IntGauge,
    pub bytes: IntCounter,
    pub enqueue_retries: IntCounter,
    pub metadata: IntCounter,
    pub metadata_failed: IntCounter,
    pub metadata_retried: IntCounter,
    pub metadata_bytes: IntCounter,
    pub metadata_dropped: IntCounter,
    pub refused: IntCounter,
    pub fallbacks: IntCounter,
    pub templates_built: IntCounter,
    pub templates_widened: IntCounter,
    pub spilled: IntCounter,
    pub replayed: IntCounter,
    pub corrupt_records: IntCounter,
    pub disk_errors: IntCounter,
    pub holds_expired: IntCounter,
    pub backlog_shipped: IntCounter,
    pub backlog_taken: IntCounter,
    pub backlog_malformed: IntCounter,
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
            samples: KindFamilies::new("samples")?,
            histograms: KindFamilies::new("histograms")?,
            exemplars: KindFamilies::new("exemplars")?,
            duration: HistogramVec::new(duration, &LABELS)?,
            times: families(TIMES, |name, help| GaugeVec::new(Opts::new(name, help), &LABELS))?,
            highest: Gauge::new("prometheus_remote_storage_highest_timestamp_in_seconds", "Latest timestamp that came in.")?,
            gauges: families(GAUGES, |name, help| IntGaugeVec::new(Opts::new(name, help), &LABELS))?,
            counters: families(COUNTERS, |name, help| IntCounterVec::new(Opts::new(name, help), &LABELS))?,
        };
        metrics.collectors().into_iter().try_for_each(|collector| registry.register(collector))?;
        Ok(metrics)
    }

    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let mut all: Vec<Box<dyn Collector>> = vec![Box::new(self.duration.clone()), Box::new(self.highest.clone())];
        all.extend(self.kinds().into_iter().flat_map(KindFamilies::collectors));
        all.extend(self.times.iter().map(|family| Box::new(family.clone()) as Box<dyn Collector>));
        all.extend(self.gauges.iter().map(|family| Box::new(family.clone()) as Box<dyn Collector>));
        all.extend(self.counters.iter().map(|family| Box::new(family.clone()) as Box<dyn Collector>));
        all
    }

    fn kinds(&self) -> [&KindFamilies; 3] {
        [&self.samples, &self.histograms, &self.exemplars]
    }

    /// The values of an endpoint, all at zero at first so that they are seen before anything happens.
    pub(crate) fn endpoint(&self, name: &str, url: &str) -> EndpointMetrics {
        let with = [name, url];
        let [shard_capacity, shards, shards_max, shards_min, shards_desired, max_samples_per_send, gauges @ ..] =
            self.gauges.each_ref().map(|family| family.with_label_values(&with));
        let [queue_bytes, disk_bytes, disk_max_bytes, disk_samples, template_bytes, message_version, held] = gauges;
        let [bytes, enqueue_retries, metadata, metadata_failed, metadata_retried, metadata_bytes, metadata_dropped, counters @ ..] =
            self.counters.each_ref().map(|family| family.with_label_values(&with));
        let [refused, fallbacks, templates_built, templates_widened, counters @ ..] = counters;
        let [spilled, replayed, corrupt_records, disk_errors, holds_expired, counters @ ..] = counters;
        let [backlog_shipped, backlog_taken, backlog_malformed] = counters;
        let [highest_sent, highest_in] = self.times.each_ref().map(|family| family.with_label_values(&with));
        EndpointMetrics {
            families: self.clone(),
            labels: with.map(Into::into),
            samples: self.samples.endpoint(with),
            histograms: self.histograms.endpoint(with),
            exemplars: self.exemplars.endpoint(with),
            unsupported: self.histograms.dropped(with, kind::UNSUPPORTED),
            disk_full: self.samples.dropped(with, kind::DISK_FULL),
            corrupt: self.samples.dropped(with, kind::CORRUPT),
            duration: self.duration.with_label_values(&with),
            highest_sent,
            highest_in,
            highest: self.highest.clone(),
            shard_capacity,
            shards,
            shards_max,
            shards_min,
            shards_desired,
            max_samples_per_send,
            queue_bytes,
            disk_bytes,
            disk_max_bytes,
            disk_samples,
            template_bytes,
            message_version,
            held,
            bytes,
            enqueue_retries,
            metadata,
            metadata_failed,
            metadata_retried,
            metadata_bytes,
            metadata_dropped,
            refused,
            fallbacks,
            templates_built,
            templates_widened,
            spilled,
            replayed,
            corrupt_records,
            disk_errors,
            holds_expired,
            backlog_shipped,
            backlog_taken,
            backlog_malformed,
        }
    }
}

impl EndpointMetrics {
    /// Takes the endpoint's values out of the families, so that nothing of an endpoint that is gone is shown.
    pub fn remove(&self) {
        let with = [&*self.labels[0], &*self.labels[1]];
        let families = &self.families;
        // An error says that there was no such child, which is what is wanted.
        families.counters.iter().for_each(|family| drop(family.remove_label_values(&with)));
        families.gauges.iter().for_each(|family| drop(family.remove_label_values(&with)));
        families.times.iter().for_each(|family| drop(family.remove_label_values(&with)));
        families.kinds().into_iter().for_each(|kind| kind.remove(with));
        drop(families.duration.remove_label_values(&with));
    }

    /// Raises `gauge` to a time in milliseconds.
    pub fn raise(gauge: &Gauge, milliseconds: i64) {
        let seconds = (milliseconds / 1000) as f64;
        if milliseconds > 0 && seconds > gauge.get() {
            gauge.set(seconds); // two writers may race by one value; the next sample mends it
        }
    }

    /// Adds a tally to one counter of each kind.
    pub fn count(&self, tally: Tally, counter: impl Fn(&KindMetrics) -> &IntCounter) {
        counter(&self.samples).inc_by(tally.samples as u64);
        counter(&self.histograms).inc_by(tally.histograms as u64);
        counter(&self.exemplars).inc_by(tally.exemplars as u64);
    }

    /// Shows what waits.
    pub fn pending(&self, tally: Tally) {
        self.samples.pending.set(tally.samples as i64);
        self.histograms.pending.set(tally.histograms as i64);
        self.exemplars.pending.set(tally.exemplars as i64);
    }

    /// Counts what was left out of a request that is done with.
    pub fn left_out(&self, counted: &Counted) {
        self.count(counted.dropped, |kind| &kind.dropped_series);
        self.count(counted.too_old, |kind| &kind.too_old);
        self.unsupported.inc_by(counted.unsupported as u64);
    }
}

fn families<F, const N: usize>(
    all: [(&'static str, &'static str); N],
    make: impl Fn(&'static str, &'static str) -> prometheus::Result<F>,
) -> prometheus::Result<[F; N]> {
    let made: Vec<F> = all.into_iter().map(|(name, help)| make(name, help)).collect::<Result<_, _>>()?;
    made.try_into().map_err(|_| prometheus::Error::Msg("as many families as names".to_owned()))
}
