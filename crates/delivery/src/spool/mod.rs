//! Keeps the queue's part on disk: writes what is not acknowledged in time or does not fit into memory, reads it back when there is room,
//! and writes down what was acknowledged. Runs beside the data path; the file operations run on tokio's blocking threads. At the end it
//! gives the log away: what is left may go to other nodes, in frames (`frame`).

mod acknowledged;
mod codec;
pub(crate) mod frame;
mod log;
#[cfg(test)]
mod log_tests;
mod record;
mod segment;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::Batch;
use tokio::sync::oneshot;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

pub(crate) use log::{Left, Log, Losses};

use crate::queue::{Queue, Wake, Write};
use crate::shared::Shared;

/// Written at once at most, beside one batch: bounds the memory that encoding takes.
const WRITE_BYTES: usize = 4 << 20;
/// What was acknowledged is written down, and what was written is synchronised, at most this often. After a crash so much may be sent
/// twice; after a loss of power so much may be lost.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// After a failure the disk is tried again so much later.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Spool {
    /// None while it is lent to a blocking thread, or if one of those died.
    log: Option<Log>,
    shared: Arc<Shared>,
    saved_at: Instant,
    /// The disk failed and is not written before this.
    retry_at: Option<Instant>,
}

/// A round of file operations.
struct Work {
    write: Vec<Write>,
    acknowledged: Vec<u64>,
    /// Bytes to read.
    read: usize,
    save: bool,
}

/// What came of it.
struct Done {
    write: Vec<Write>,
    /// The first record that was written.
    written: io::Result<u64>,
    saved: io::Result<()>,
    read: Vec<(u64, Batch)>,
    losses: Losses,
    behind: bool,
}

impl Spool {
    pub fn new(log: Log, shared: Arc<Shared>) -> Self {
        Self { log: Some(log), shared, saved_at: Instant::now(), retry_at: None }
    }

    /// Runs until told to finish; then writes everything that is in memory. Returns the log if it still works.
    pub async fn run(mut self, mut finish: oneshot::Receiver<()>) -> Option<Log> {
        self.recover().await;
        while self.log.is_some() {
            if self.round(false).await {
                continue;
            }
            let until = self.rest();
            tokio::select! {
                biased;
                _ = &mut finish => break,
                () = self.shared.spool.notified() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
        while self.log.is_some() && self.round(true).await {}
        self.log
    }

    async fn recover(&mut self) {
        let recover = |log: &mut Log| {
            let mut losses = Losses::default();
            log.recover(&mut losses).map(|()| losses)
        };
        match self.lend(recover).await {
            Some(Ok(losses)) => {
                self.shared.metrics.corrupt_records.inc_by(losses.corrupt_records);
                let Some(log) = &self.log else { return };
                let (behind, samples) = (log.is_behind(), log.unread_samples());
                if behind {
                    info!(remote_name = &*self.shared.name, url = &*self.shared.url, samples, "sending what was left on disk");
                }
                self.show();
                self.shared.change(|queue| queue.settle(behind, Instant::now()));
            }
            Some(Err(error)) => {
                self.shared.disk_failed(&format!("what an earlier run left can't be read: {error}"));
                self.log = None;
                self.shared.change(|queue| queue.without_disk(Instant::now()));
            }
            None => {}
        }
    }

    /// Does what there is to do; false if nothing was written or read. With `last` everything is written and nothing read.
    async fn round(&mut self, last: bool) -> bool {
        let now = Instant::now();
        let may_write = last || self.retry_at.is_none_or(|at| at <= now);
        let save = last || now >= self.saved_at + SAVE_EVERY;
        let work = self.shared.with(|queue| Work {
            write: if may_write { queue.begin_write(now, last, WRITE_BYTES) } else { Vec::new() },
            acknowledged: queue.take_acknowledged(),
            read: if last { 0 } else { queue.room() },
            save,
        });
        let unsaved = save && self.log.as_ref().is_some_and(Log::is_unsaved);
        if work.write.is_empty() && work.acknowledged.is_empty() && work.read == 0 && !unsaved {
            return false;
        }
        match self.lend(move |log| work.run(log)).await {
            Some(done) => self.apply(done, save),
            None => false,
        }
    }

    /// Runs file operations on a blocking thread.
    async fn lend<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Log) -> T + Send + 'static) -> Option<T> {
        match lend(&mut self.log, work).await? {
            Ok(done) => Some(done),
            Err(error) => {
                error!(remote_name = &*self.shared.name, %error, "the disk queue has stopped; going on in memory");
                self.shared.change(|queue| queue.without_disk(Instant::now()));
                None
            }
        }
    }

    /// Hands over to the queue what was done; true if anything was written or read.
    fn apply(&mut self, done: Done, saved: bool) -> bool {
        let Done { write, written, saved: save_result, read, losses, behind } = done;
        let now = Instant::now();
        let metrics = &self.shared.metrics;
        let samples = |batches: &mut dyn Iterator<Item = &Batch>| batches.map(|batch| batch.len() as u64).sum::<u64>();
        metrics.replayed.inc_by(samples(&mut read.iter().map(|(_, batch)| batch)));
        metrics.corrupt_records.inc_by(losses.corrupt_records);
        metrics.corrupt.inc_by(losses.corrupt_samples);
        metrics.disk_full.inc_by(losses.dropped);
        let failure = written.as_ref().err().or(save_result.as_ref().err()).map(io::Error::to_string);
        let wrote = written.is_ok() && !write.is_empty();
        let progress = wrote || !read.is_empty();
        if wrote {
            metrics.spilled.inc_by(samples(&mut write.iter().map(|one| &one.batch)));
        }
        self.shared.change(|queue| hand_over(queue, write, written, read, behind, now));
        self.show();
        if saved {
            self.saved_at = now;
        }
        match failure {
            Some(message) => {
                self.retry_at = Some(now + RETRY_AFTER);
                self.shared.disk_failed(&message);
            }
            None if wrote => {
                self.retry_at = None;
                self.shared.disk_works();
            }
            None => {}
        }
        progress
    }

    fn show(&self) {
        if let Some(log) = &self.log {
            self.shared.metrics.disk_bytes.set(log.bytes() as i64);
            self.shared.metrics.disk_max_bytes.set(i64::try_from(log.max_bytes()).unwrap_or(i64::MAX));
            self.shared.metrics.disk_samples.set(log.unread_samples() as i64);
        }
    }

    /// When to look again without being woken.
    fn rest(&self) -> Option<Instant> {
        let write = self.shared.with(|queue| queue.next_write(Instant::now()));
        let write = write.map(|at| self.retry_at.map_or(at, |retry| at.max(retry)));
        let unsaved = self.log.as_ref().is_some_and(Log::is_unsaved);
        let save = unsaved.then(|| self.saved_at + SAVE_EVERY);
        write.into_iter().chain(save).min()
    }
}

/// Runs file operations on a blocking thread; none if the log is lost. If the thread dies, the log is lost with it.
pub(crate) async fn lend<T: Send + 'static>(
    slot: &mut Option<Log>,
    work: impl FnOnce(&mut Log) -> T + Send + 'static,
) -> Option<Result<T, JoinError>> {
    let mut log = slot.take()?;
    let lent = spawn_blocking(move || {
        let done = work(&mut log);
        (log, done)
    });
    let (log, done) = match lent.await {
        Ok(lent) => lent,
        Err(error) => return Some(Err(error)),
    };
    *slot = Some(log);
    Some(Ok(done))
}

fn hand_over(queue: &mut Queue, write: Vec<Write>, written: io::Result<u64>, read: Vec<(u64, Batch)>, behind: bool, now: Instant) -> Wake {
    if let Ok(first) = written {
        queue.written(write.into_iter().zip(first..));
    }
    let fed = queue.feed(read, now);
    let settled = queue.settle(behind, now);
    Wake { all_lanes: fed.all_lanes || settled.all_lanes, ..settled }
}

impl Work {
    fn run(self, log: &mut Log) -> Done {
        let mut losses = Losses::default();
        log.acknowledge(&self.acknowledged);
        let batches: Vec<(&Batch, bool)> = self.write.iter().map(|one| (&one.batch, one.front.is_some())).collect();
        let written = if batches.is_empty() { Ok(0) } else { log.append(&batches, &mut losses) };
        let read = log.read(self.read, &mut losses);
        let saved = if self.save { log.save().and_then(|()| log.sync()) } else { Ok(()) };
        Done { written, saved, read, losses, behind: log.is_behind(), write: self.write }
    }
}
