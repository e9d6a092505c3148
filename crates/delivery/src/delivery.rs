//! An endpoint put together: queue, shards, disk, and their start and end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{ConsumeMetrics, Labels};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tracing::{info, warn};

use crate::adopter::Adopter;
use crate::backlog::Backlog;
use crate::config::{Config, ConfigError, DEFAULT_DISK_BYTES, DiskConfig, MIN_DISK_BYTES, VOLUME_PERCENT};
use crate::dialect::Negotiation;
use crate::encode::{Encoder, Message, TemplateUsage};
use crate::metadata;
use crate::metrics::Metrics;
use crate::queue::{Limits, MAX_HOLD, Queue, Wake};
use crate::send::Post;
use crate::shards::sizing::{self, Sizing};
use crate::shards::{Encoders, Sender, Shard};
use crate::shared::Shared;
use crate::spool::{Log, Spool};
use crate::status::Status;

/// A change of the number of shards waits this long for requests under way; otherwise one slow request would stop all shards.
const MOVE_PATIENCE: Duration = Duration::from_secs(5);
/// As an endpoint ends for good, a receiver that works may take so long for its last answers. One that takes longer is taken for one that
/// fails elsewhere as well.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a batch may be unacknowledged before it is written to disk: what a crash may cost.
const SPILL_AFTER: Duration = Duration::from_millis(500);
/// With a disk, this part of memory is for batches on their way to the receiver; the rest is for a disk that is slow or fails.
const FRONT_PART: usize = 8;
/// Of it, what is kept there while the receiver takes nothing: a few requests for each shard that is likely to run.
const FRONT_WHILE_FAILING: usize = 2 << 20;

/// Sends batches to one endpoint: durably if it has a disk, in order per source, and again until the receiver has judged them.
/// Dropping it without [`Delivery::shutdown`] loses what is only in memory.
pub struct Delivery {
    shared: Arc<Shared>,
    external_labels: Labels,
    adopter: Adopter,
    tasks: JoinSet<()>,
    /// Writes to disk, if there is one; told to finish by the sender, it gives the log.
    spool: Option<(oneshot::Sender<()>, JoinHandle<Option<Log>>)>,
}

/// Why an endpoint did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A value can't work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory of the disk queue can't be used.
    #[error("can't use {} for the disk queue: {source}; it must be writable and belong to this endpoint alone", directory.display())]
    Disk {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Samples that were only in memory and are lost.
    pub lost: u64,
    /// Samples that stay on disk and are sent after the next start.
    pub on_disk: u64,
}

impl Delivery {
    /// Starts an endpoint whose tasks run on `handle`. There may be one endpoint of a name, URL and directory at a time: shut the old one
    /// down before its successor starts.
    ///
    /// # Errors
    /// [`StartError`] if the configuration can't work or the disk queue's directory can't be used.
    pub fn start<P: Post>(config: Config, post: P, metrics: &Metrics, handle: &Handle) -> Result<Self, StartError> {
        config.validate()?;
        let log = config.buffer.disk.as_ref().map(open_log).transpose()?;
        let url: Box<str> = without_credentials(&config.url).into();
        let metrics = metrics.endpoint(&config.name, &url);
        metrics.shard_capacity.set(config.queue.capacity as i64);
        metrics.max_samples_per_send.set(config.queue.max_samples_per_send as i64);
        metrics.shards_min.set(config.queue.min_shards as i64);
        metrics.shards_max.set(config.queue.max_shards as i64);
        metrics.shards_desired.set(config.queue.min_shards as i64);
        metrics.shards.set(config.queue.min_shards as i64);
        metrics.message_version.set(if config.dialect.message == Message::V2 { 2 } else { 1 });
        let queue = Queue::new(limits(&config), config.queue.min_shards, config.queue.max_samples_per_send);
        let shared = Arc::new(Shared::new(&config, url, metrics, queue));
        let encoder = |message| {
            let (external, relabel) = (config.external_labels.clone(), config.relabel.clone());
            Encoder::new(external, relabel, config.content, message, config.queue.max_samples_per_send)
        };
        let encoders = Encoders { v1: encoder(Message::V1), v2: encoder(Message::V2) };
        let negotiation = Negotiation::new(config.dialect);
        let external_labels = config.external_labels.clone();
        let sender = Arc::new(Sender { config, encoders, negotiation, shared: shared.clone(), post });
        let mut tasks = JoinSet::new();
        for lane in 0..sender.config.queue.max_shards {
            tasks.spawn_on(Shard::new(lane, sender.clone()).run(), handle);
        }
        if let Some(config) = sender.config.metadata.clone() {
            tasks.spawn_on(metadata::run(sender.clone(), config), handle);
        }
        tasks.spawn_on(look_after(sender), handle);
        let spool = log.map(|log| {
            let (finish, finished) = oneshot::channel();
            (finish, handle.spawn(Spool::new(log, shared.clone()).run(finished)))
        });
        let adopter = Adopter::new(shared.clone());
        Ok(Self { shared, external_labels, adopter, tasks, spool })
    }

    /// Where batches go in. After the shutdown it refuses with [`model::Refused::Closed`].
    #[must_use]
    pub fn consumer(&self) -> Arc<dyn ConsumeMetrics> {
        self.shared.clone()
    }

    /// Sends on what was taken so far without waiting for requests to fill. Returns at once.
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// How the endpoint is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Where the same endpoint of a node that leaves gives what it has not delivered.
    #[must_use]
    pub fn adopter(&self) -> Adopter {
        self.adopter.clone()
    }

    /// Takes nothing more, sends everything without waiting for requests to fill, and ends: when all is sent, or at the `deadline`.
    pub async fn shutdown(mut self, deadline: Duration) -> Drained {
        let (drained, _log) = self.end(deadline, Queue::close, Duration::ZERO).await;
        if drained != Drained::default() {
            info!(
                remote_name = &*self.shared.name,
                url = &*self.shared.url,
                lost = drained.lost,
                on_disk = drained.on_disk,
                "stopped before everything was sent"
            );
        }
        drained
    }

    /// The same for an endpoint whose backlog other nodes can take. What is held back is not sent: it goes with the backlog. What is under
    /// way at the deadline is not cut off at once, as it would arrive twice.
    pub async fn shutdown_for_others(mut self, deadline: Duration) -> Backlog {
        let (drained, log) = self.end(deadline, Queue::close_holding, ANSWER_PATIENCE).await;
        Backlog::new(self, log, drained)
    }

    /// Closes the queue, sends until the `deadline`, and waits so long again for answers of a receiver that works.
    async fn end(&mut self, deadline: Duration, close: fn(&mut Queue) -> Wake, answers: Duration) -> (Drained, Option<Log>) {
        self.shared.change(close);
        let in_time = timeout(deadline, self.shared.idle()).await.is_ok();
        if !in_time && !answers.is_zero() && self.shared.status().retrying.is_none() {
            self.shared.with(Queue::halt);
            // What is not sent by then is counted below.
            let _answered = timeout(answers, self.shared.idle()).await;
        }
        self.tasks.shutdown().await;
        let log = match self.spool.take() {
            Some((finish, spool)) => {
                let _ = finish.send(()); // if it ended before, it has nothing to finish
                spool.await.ok().flatten()
            }
            None => None,
        };
        let unread = log.as_ref().map_or(0, Log::unread_samples);
        let (rows, unwritten) = self.shared.with(|queue| (queue.usage().rows(), queue.unwritten_rows()));
        (Drained { lost: unwritten as u64, on_disk: unread + (rows - unwritten) as u64 }, log)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn external_labels(&self) -> &Labels {
        &self.external_labels
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some((_, spool)) = &self.spool {
            spool.abort();
        }
        self.shared.change(Queue::close);
        self.shared.metrics.remove();
    }
}

/// Looks at the number of shards and at templates from time to time.
async fn look_after<P: Post>(sender: Arc<Sender<P>>) {
    let Sender { config, shared, .. } = &*sender;
    let mut sizing = Sizing::new(config.queue.min_shards, config.queue.max_shards);
    let mut ticks = interval_at(Instant::now() + sizing::INTERVAL, sizing::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = [TemplateUsage::default(); 2];
    loop {
        ticks.tick().await;
        let mut expired = 0;
        shared.change(|queue| {
            let (count, wake) = queue.age_holds(sizing::INTERVAL);
            expired = count;
            wake
        });
        if expired > 0 {
            shared.metrics.holds_expired.inc_by(expired as u64);
            warn!(remote_name = &*shared.name, url = &*shared.url, sources = expired, within = ?MAX_HOLD, "another node has not sent in time \
                what it had of these sources; their samples may be refused as out of order");
        }
        before = look_after_templates(&sender, before);
        let lanes = shared.with(|queue| queue.lanes());
        let advice = sizing.look(lanes, shared.observe(config.queue.max_samples_per_send));
        shared.metrics.shards_desired.set(advice.desired as i64);
        if let Some(wanted) = advice.change {
            shared.change(|queue| queue.set_lanes(wanted));
            sleep(MOVE_PATIENCE).await;
            let given_up = shared.with(Queue::cancel_move);
            let now = shared.with(|queue| queue.lanes());
            shared.metrics.shards.set(now as i64);
            shared.change(|_| Wake { all_lanes: given_up, ..Default::default() });
            info!(remote_name = &*shared.name, url = &*shared.url, from = lanes, to = now, wanted, "changed the number of shards");
        }
    }
}

/// Lets go templates that are not needed and shows what the others come to.
fn look_after_templates<P: Post>(sender: &Sender<P>, before: [TemplateUsage; 2]) -> [TemplateUsage; 2] {
    let Sender { encoders, negotiation, shared, .. } = sender;
    let (dialect, _) = negotiation.current(Instant::now());
    match dialect.message {
        Message::V1 => encoders.v2.clear(),
        Message::V2 => encoders.v1.clear(),
    }
    encoders.of(dialect.message).sweep();
    let metrics = &shared.metrics;
    metrics.message_version.set(if dialect.message == Message::V2 { 2 } else { 1 });
    let now = [encoders.v1.template_usage(), encoders.v2.template_usage()];
    metrics.template_bytes.set(now.iter().map(|usage| usage.bytes as i64).sum());
    for (now, before) in now.iter().zip(before) {
        metrics.templates_built.inc_by(now.built - before.built);
        metrics.templates_widened.inc_by(now.widened - before.widened);
    }
    now
}

fn open_log(disk: &DiskConfig) -> Result<Log, StartError> {
    let open = || {
        std::fs::create_dir_all(&disk.directory)?;
        let max_bytes = disk.max_bytes.map_or_else(|| share_of_volume(&disk.directory), Ok)?;
        Log::open(&disk.directory, max_bytes, disk.fsync)
    };
    open().map_err(|source| StartError::Disk { directory: disk.directory.clone(), source })
}

/// What an endpoint may use of the volume that the directory is on.
fn share_of_volume(directory: &Path) -> std::io::Result<u64> {
    let volume = rustix::fs::statvfs(directory)?;
    let share = volume.f_frsize.saturating_mul(volume.f_blocks) / 100 * VOLUME_PERCENT;
    Ok(share.clamp(MIN_DISK_BYTES, DEFAULT_DISK_BYTES))
}

fn limits(config: &Config) -> Limits {
    let disk = config.buffer.disk.is_some();
    let least = config.queue.capacity.saturating_mul(config.queue.max_shards).saturating_mul(size_of::<f64>());
    let total = config.buffer.memory_bytes.max(least);
    let front = if disk { (config.buffer.memory_bytes / FRONT_PART).max(least) } else { total };
    let front_while_failing = front.min(FRONT_WHILE_FAILING);
    Limits { front, front_while_failing, total, deadline: config.queue.batch_send_deadline, spill_after: SPILL_AFTER, disk }
}

/// The URL as it may be shown: without user and password. What is no URL with a host is not shown, as it may hold them anywhere.
fn without_credentials(url: &str) -> String {
    let Some(mut parsed) = url::Url::parse(url).ok().filter(url::Url::has_host) else { return "invalid URL".to_owned() };
    // Both fail only for URLs that can't have credentials.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_credentials() {
        assert_eq!(without_credentials("http://user:secret@host:9/api/v1/push?a=b"), "http://host:9/api/v1/push?a=b");
        assert_eq!(without_credentials("http://host/api"), "http://host/api");
        assert_eq!(without_credentials("user:secret@host"), "invalid URL");
    }

    #[test]
    fn no_volume_gives_more_than_its_share_or_the_default() {
        let share = share_of_volume(Path::new("/")).unwrap();
        assert!((MIN_DISK_BYTES..=DEFAULT_DISK_BYTES).contains(&share), "{share}");
        assert!(share_of_volume(Path::new("/nowhere")).is_err());
    }
}
