//! One scrape from its beginning to its last batch, in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use model::{Batch, Refused};
use tokio::time::Instant;

use crate::duration;
use crate::engine::Shared;
use crate::engine::entry::Active;
use crate::fetch::{self, Outcome, ScrapeError};
use crate::metrics::Metrics;
use crate::series::{Counts, Report, SeriesError};
use crate::target::Health;

/// What a scrape is to do.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) active: Box<Active>,
    /// The time of its samples, in milliseconds since the epoch.
    pub(super) timestamp: i64,
    /// The scrape fails with this error, and nobody is asked.
    pub(super) forced: Option<ScrapeError>,
}

impl Work {
    /// Scrapes, and gives the target's state back. If the engine ends meanwhile, it is as if the scrape had not been.
    pub(super) async fn run(mut self) -> Box<Active> {
        let began = Instant::now();
        let shared = self.shared.clone();
        let outcome = tokio::select! {
            biased;
            () = shared.cancel.cancelled() => return self.active,
            outcome = self.scrape() => outcome,
        };
        self.note_interval(began);
        self.active.last_timestamp = self.timestamp;
        self.hand_on(outcome, began.elapsed());
        self.active
    }

    async fn scrape(&mut self) -> Outcome {
        if let Some(error) = self.forced.take() {
            return Outcome::failed(error, Counts::default());
        }
        let Active { target, job, series, request, .. } = &mut *self.active;
        fetch::scrape(&*job.transport, request, job.terms(target), (series, self.timestamp), &self.shared.pool).await
    }

    fn note_interval(&mut self, began: Instant) {
        let Active { target, last_start, interval_length, .. } = &mut *self.active;
        if let Some(last) = last_start.replace(began) {
            let metrics = &self.shared.parts.metrics;
            let (interval, histogram) = interval_length.get_or_insert_with(|| {
                let interval = duration::format(target.interval);
                let histogram = metrics.interval_length_histogram.with_label_values(&[&interval]);
                (interval.into(), histogram)
            });
            let elapsed = (began - last).as_secs_f64();
            metrics.interval_length.observe(interval, elapsed);
            histogram.observe(elapsed);
        }
    }

    fn hand_on(&mut self, outcome: Outcome, took: Duration) {
        let Outcome { result, counts, body_size } = outcome;
        let shared = self.shared.clone();
        let metrics = &shared.parts.metrics;
        metrics.count(&counts);
        let (mut batches, error) = match result {
            Ok(scraped) => {
                metrics.count_dropped(&scraped.dropped);
                (scraped.batches, None)
            }
            Err(error) => (self.active.series.end(self.timestamp), Some(error)),
        };
        if let Some(error) = &error {
            count_error(metrics, error);
            if let Some(failures) = &self.active.job.failures {
                failures.write(&self.active.target.url, error);
            }
            tracing::debug!(instance = self.active.target.labels.get("instance"), %error, "scrape failed");
        }
        batches.push(self.report(&counts, body_size, error.as_ref(), took));
        if self.active.job.config.extra_metrics {
            metrics.duration.observe(took.as_secs_f64());
        }
        let refused = consume(&shared, batches);
        self.note_status(&counts, body_size, error, took, refused);
    }

    fn report(&mut self, counts: &Counts, body_size: i64, error: Option<&ScrapeError>, took: Duration) -> Batch {
        let refused = matches!(error, Some(ScrapeError::Series(error)) if error.is_of_sample());
        let Active { report, target, job, .. } = &mut *self.active;
        let told = Report {
            up: error.is_none(),
            duration: took.as_secs_f64(),
            scraped: counts.scraped,
            post_relabeling: counts.scraped - usize::from(refused && counts.scraped > 0),
            added: counts.added,
            timeout: target.timeout.as_secs_f64(),
            sample_limit: job.config.rules.sample_limit,
            body_size,
        };
        report.batch(self.timestamp, &told)
    }

    fn note_status(&self, counts: &Counts, body_size: i64, error: Option<ScrapeError>, took: Duration, refused: Option<Refused>) {
        let mut status = self.active.target.status.lock();
        status.health = if error.is_none() { Health::Up } else { Health::Down };
        status.last_error = error.map_or(Box::default(), |error| error.to_string().into());
        status.last_scrape = self.timestamp;
        status.last_duration = took;
        status.samples = counts.scraped;
        status.body_size = body_size;
        status.refused = refused;
    }
}

/// Hands batches on in their order. What is refused is counted and lost; why the last of them was.
pub(super) fn consume(shared: &Shared, batches: Vec<Batch>) -> Option<Refused> {
    let mut refused = None;
    for batch in batches {
        let samples = batch.len() as u64;
        if let Err(why) = shared.parts.sink.consume(batch) {
            shared.parts.metrics.refused.inc();
            shared.parts.metrics.refused_samples.inc_by(samples);
            refused = Some(why);
        }
    }
    refused
}

fn count_error(metrics: &Metrics, error: &ScrapeError) {
    match error {
        ScrapeError::BodySize { .. } => metrics.exceeded_body_size_limit.inc(),
        ScrapeError::Series(SeriesError::SampleLimit { .. }) => metrics.exceeded_sample_limit.inc(),
        ScrapeError::Series(SeriesError::BucketLimit { .. }) => metrics.exceeded_bucket_limit.inc(),
        ScrapeError::Series(error) if error.is_label_limit() => metrics.exceeded_label_limits.inc(),
        _ => {}
    }
}
