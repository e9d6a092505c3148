//! What the parts of an endpoint share: the queue under its lock, who is to be woken after a change, metrics and status.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use model::{Batch, ConsumeMetrics, Refused};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::dialect::Dialect;
use crate::encode::{Content, Tally};
use crate::metadata::Families;
use crate::metrics::EndpointMetrics;
use crate::queue::{Queue, Wake};
use crate::shards::sizing::Observed;
use crate::status::{Failure, Occasionally, Status};

/// Failures that last are logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Rejected requests are logged this often.
const LOG_REJECTED_EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Shared {
    pub name: Box<str>,
    pub url: Box<str>,
    pub metrics: EndpointMetrics,
    content: Content,
    /// What is known about the families of series that came.
    pub families: Families,
    wants_metadata: bool,
    queue: Mutex<Queue>,
    /// One per possible shard.
    lanes: Box<[Notify]>,
    pub spool: Notify,
    idle: Notify,
    progress: Progress,
    condition: Mutex<Condition>,
}

/// Counted since the last look at the number of shards.
#[derive(Default)]
struct Progress {
    came: AtomicU64,
    went: AtomicU64,
    busy_micros: AtomicU64,
    failed: AtomicBool,
}

#[derive(Default)]
struct Condition {
    status: Status,
    retry_log: Occasionally,
    reject_log: Occasionally,
    disk_log: Occasionally,
    metadata_log: Occasionally,
}

impl Shared {
    pub fn new(config: &Config, url: Box<str>, metrics: EndpointMetrics, queue: Queue) -> Self {
        Self {
            name: config.name.clone(),
            url,
            metrics,
            content: config.content,
            families: Families::default(),
            wants_metadata: config.metadata.is_some(),
            queue: Mutex::new(queue),
            lanes: (0..config.queue.max_shards).map(|_| Notify::new()).collect(),
            spool: Notify::new(),
            idle: Notify::new(),
            progress: Progress::default(),
            condition: Mutex::default(),
        }
    }

    /// Looks at or changes the queue where nobody has to be woken.
    pub fn with<T>(&self, look: impl FnOnce(&mut Queue) -> T) -> T {
        look(&mut self.queue.lock())
    }

    /// Changes the queue and wakes whom it concerns.
    pub fn change(&self, change: impl FnOnce(&mut Queue) -> Wake) {
        let mut queue = self.queue.lock();
        let wake = change(&mut queue);
        let usage = queue.usage();
        // Under the lock, so that the last change is the one that is seen.
        self.metrics.pending(self.sent_of(usage.pending));
        self.metrics.queue_bytes.set(usage.bytes as i64);
        self.metrics.held.set(usage.held_rows as i64);
        drop(queue);
        self.wake(&wake);
    }

    /// What of `tally` the endpoint sends.
    fn sent_of(&self, tally: Tally) -> Tally {
        let if_sent = |sent: bool, count| if sent { count } else { 0 };
        Tally {
            histograms: if_sent(self.content.native_histograms, tally.histograms),
            exemplars: if_sent(self.content.exemplars, tally.exemplars),
            ..tally
        }
    }

    fn wake(&self, wake: &Wake) {
        match wake.lane {
            _ if wake.all_lanes => self.lanes.iter().for_each(Notify::notify_one),
            Some(lane) => self.lanes[lane].notify_one(),
            None => {}
        }
        if wake.spool {
            self.spool.notify_one();
        }
        if wake.idle {
            self.idle.notify_waiters();
        }
    }

    /// Waits until the shard of `lane` is woken.
    pub async fn woken(&self, lane: usize) {
        self.lanes[lane].notified().await;
    }

    /// Waits until nothing is in the queue, or nothing is under way in one that is halted.
    pub async fn idle(&self) {
        loop {
            let mut notified = std::pin::pin!(self.idle.notified());
            notified.as_mut().enable();
            if self.with(|queue| queue.is_at_rest()) {
                return;
            }
            notified.await;
        }
    }

    /// Notes that `rows` are done with, sent or dropped, after `busy`.
    pub fn went(&self, rows: usize, busy: Duration) {
        self.progress.went.fetch_add(rows as u64, Relaxed);
        self.progress.busy_micros.fetch_add(busy.as_micros() as u64, Relaxed);
    }

    /// Notes that the receiver took a request whose latest sample is at `latest`.
    pub fn delivered(&self, latest: i64) {
        EndpointMetrics::raise(&self.metrics.highest_sent, latest);
        let mut condition = self.condition.lock();
        condition.status.delivered_at = Some(SystemTime::now());
        if condition.status.retrying.take().is_some() && condition.retry_log.reset() {
            info!(remote_name = &*self.name, url = &*self.url, "sending works again");
        }
    }

    /// Notes that a request of `sent` failed and is sent again.
    pub fn retrying(&self, sent: Tally, attempt: u32, message: &str) {
        self.progress.failed.store(true, Relaxed);
        self.metrics.count(sent, |kind| &kind.retried);
        let mut condition = self.condition.lock();
        let at = condition.status.retrying.as_ref().map_or_else(SystemTime::now, |failure| failure.at);
        condition.status.retrying = Some(Failure { at, message: message.into() });
        if let Some(suppressed) = condition.retry_log.check(Instant::now(), LOG_EVERY) {
            warn!(remote_name = &*self.name, url = &*self.url, error = message, attempt, suppressed, "sending failed, will send again");
        }
    }

    /// Notes that the receiver did not understand a request of `sent`, which is sent again in another way. `news`: what it was sent in, if
    /// that was not known.
    pub fn fell_back(&self, sent: Tally, news: Option<Dialect>, message: &str) {
        self.metrics.fallbacks.inc();
        self.metrics.count(sent, |kind| &kind.retried);
        if let Some(dialect) = news {
            warn!(
                remote_name = &*self.name,
                url = &*self.url,
                answer = message,
                "the receiver does not understand {dialect}, going on with less; it is tried again from time to time"
            );
        }
    }

    /// Notes that metadata could not be sent, and is or is not sent again.
    pub fn metadata_failed(&self, message: &str, again: bool) {
        let mut condition = self.condition.lock();
        if let Some(suppressed) = condition.metadata_log.check(Instant::now(), LOG_EVERY) {
            warn!(remote_name = &*self.name, url = &*self.url, error = message, again, suppressed, "sending metadata failed");
        }
    }

    /// Notes that the receiver understands what it did not before.
    pub fn understood(&self, dialect: Dialect) {
        info!(remote_name = &*self.name, url = &*self.url, "the receiver understands {dialect} now");
    }

    /// Notes that the receiver will never take `lost`.
    pub fn rejected(&self, lost: Tally, message: &str) {
        self.metrics.count(lost, |kind| &kind.failed);
        let mut condition = self.condition.lock();
        condition.status.rejected = Some(Failure::now(message));
        if let Some(suppressed) = condition.reject_log.check(Instant::now(), LOG_REJECTED_EVERY) {
            error!(
                remote_name = &*self.name,
                url = &*self.url,
                error = message,
                samples = lost.samples,
                histograms = lost.histograms,
                exemplars = lost.exemplars,
                suppressed,
                "the receiver rejected a request, its samples are lost"
            );
        }
    }

    /// Notes that the disk can't be written.
    pub fn disk_failed(&self, message: &str) {
        self.metrics.disk_errors.inc();
        let mut condition = self.condition.lock();
        let at = condition.status.disk.as_ref().map_or_else(SystemTime::now, |failure| failure.at);
        condition.status.disk = Some(Failure { at, message: message.into() });
        if let Some(suppressed) = condition.disk_log.check(Instant::now(), LOG_EVERY) {
            error!(
                remote_name = &*self.name,
                url = &*self.url,
                error = message,
                suppressed,
                "the disk queue can't be used, batches stay in memory"
            );
        }
    }

    /// Notes that the disk was written.
    pub fn disk_works(&self) {
        let mut condition = self.condition.lock();
        if condition.status.disk.take().is_some() && condition.disk_log.reset() {
            info!(remote_name = &*self.name, url = &*self.url, "the disk queue works again");
        }
    }

    /// Takes what a node that leaves has not delivered, all or nothing.
    ///
    /// # Errors
    /// As [`ConsumeMetrics::consume`].
    pub fn adopt(&self, batches: Vec<Batch>) -> Result<(), Refused> {
        let rows: usize = batches.iter().map(Batch::len).sum();
        if self.wants_metadata {
            batches.iter().for_each(|batch| self.families.note(&batch.layout));
        }
        let mut outcome = Ok(());
        self.change(|queue| {
            queue.adopt(batches, Instant::now()).unwrap_or_else(|refused| {
                outcome = Err(refused);
                Wake::default()
            })
        });
        if outcome.is_ok() {
            self.progress.came.fetch_add(rows as u64, Relaxed);
            self.metrics.backlog_taken.inc_by(rows as u64);
        }
        outcome
    }

    /// What happened since the last call, for sizing.
    pub fn observe(&self, max_samples: usize) -> Observed {
        let (usage, lanes) = self.with(|queue| (queue.usage(), queue.lanes()));
        let waiting = usage.rows() as f64 + self.metrics.disk_samples.get() as f64;
        Observed {
            came: self.progress.came.swap(0, Relaxed) as f64,
            went: self.progress.went.swap(0, Relaxed) as f64,
            busy: Duration::from_micros(self.progress.busy_micros.swap(0, Relaxed)),
            // A request under way and one that fills are no backlog.
            backlog: (waiting - (2 * lanes * max_samples) as f64).max(0.0),
            failed: self.progress.failed.swap(false, Relaxed),
        }
    }

    /// How the endpoint is doing.
    pub fn status(&self) -> Status {
        let (shards, usage) = self.with(|queue| (queue.lanes(), queue.usage()));
        let (queue_bytes, pending_samples) = (usage.bytes, usage.rows());
        let disk_samples = self.metrics.disk_samples.get().unsigned_abs();
        let disk_bytes = self.metrics.disk_bytes.get().unsigned_abs();
        Status { shards, pending_samples, queue_bytes, disk_samples, disk_bytes, ..self.condition.lock().status.clone() }
    }
}

impl ConsumeMetrics for Shared {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        let rows = batch.layout.len();
        if let Err(what) = check(&batch) {
            error!(
                remote_name = &*self.name,
                series = rows,
                values = batch.values.len(),
                "a batch whose {what} don't fit its series is dropped"
            );
            return Ok(());
        }
        if batch.is_empty() {
            return Ok(());
        }
        let latest = batch.timestamps.as_ref().map_or(batch.timestamp, |all| all.iter().copied().max().unwrap_or(batch.timestamp));
        let came = self.sent_of(Tally::of(&batch));
        if self.wants_metadata {
            self.families.note(&batch.layout);
        }
        let mut outcome = Ok(());
        self.change(|queue| {
            queue.enqueue(batch, Instant::now()).unwrap_or_else(|refused| {
                outcome = Err(refused);
                Wake::default()
            })
        });
        match outcome {
            Ok(()) => {
                self.progress.came.fetch_add(rows as u64, Relaxed);
                self.metrics.count(came, |kind| &kind.came);
                EndpointMetrics::raise(&self.metrics.highest, latest);
                EndpointMetrics::raise(&self.metrics.highest_in, latest);
            }
            Err(_) => {
                self.metrics.enqueue_retries.inc();
                self.metrics.refused.inc_by(rows as u64);
            }
        }
        outcome
    }

    fn hold(&self, source: u64) {
        self.with(|queue| queue.hold(source));
    }

    fn release(&self, source: u64) {
        self.change(|queue| queue.release(source));
    }

    fn is_acknowledged(&self, source: u64) -> bool {
        self.with(|queue| queue.is_acknowledged(source))
    }

    fn flush(&self) {
        self.change(Queue::flush);
    }
}

/// Whether columns and details belong to the layout; says which do not.
pub(crate) fn check(batch: &Batch) -> Result<(), &'static str> {
    let rows = batch.layout.len();
    if batch.values.len() != rows || batch.timestamps.as_ref().is_some_and(|timestamps| timestamps.len() != rows) {
        return Err("columns");
    }
    let Some(details) = &batch.details else { return Ok(()) };
    let fit = fits(&details.histograms, rows, true) && fits(&details.exemplars, rows, false) && fits(&details.created, rows, true);
    if fit { Ok(()) } else { Err("details") }
}

/// Whether `list` is in row order, once per row if `once`, and within `rows`.
fn fits<T>(list: &[(u32, T)], rows: usize, once: bool) -> bool {
    let ordered = list.is_sorted_by(|a, b| a.0 < b.0 || !once && a.0 == b.0);
    ordered && list.last().is_none_or(|(row, _)| (*row as usize) < rows)
}
