//! What an endpoint leaves behind when its node goes for good: given to those nodes of a fleet that take over, so that it arrives though
//! nobody starts here again. How nodes find and reach each other is the caller's ([`Successors`]); here is what goes in which order, and
//! that it goes once: what a successor has taken counts as acknowledged in the log.

mod labels;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hashbrown::HashMap;
use model::Batch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use crate::delivery::{Delivery, Drained};
use crate::shared::Shared;
use crate::spool::frame::{FrameWriter, Head, MAX_PLAIN};
use crate::spool::{Log, Losses, lend};
use labels::Labeller;
use order::Passes;

/// Bytes of columns that are read at once, and shipped before the next: large enough that a source's batches of some minutes go together,
/// as each frame repeats their series.
const WINDOW_BYTES: usize = 16 << 20;
/// A frame takes no more batches when it has so many bytes: large enough that the answers cost nothing, small enough that the successor
/// needs little memory for it.
const FRAME_BYTES: usize = 4 << 20;
/// The same for what it takes unpacked.
const FRAME_PLAIN: usize = MAX_PLAIN / 4;
/// Longest frame, bytes. A batch that takes more alone is not shipped; its series come to half a million at least.
pub const MAX_FRAME_BYTES: usize = 24 << 20;
/// Batches that are looked at: 32 bytes each. More than can be shipped in the time that a node has.
const MAX_BATCHES: usize = 1 << 20;
/// Pause before a frame that was not taken is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// A successor that has not taken a frame for so long gets nothing more.
const FRAME_PATIENCE: Duration = Duration::from_secs(5);

/// The nodes that take over.
pub trait Successors: Sync {
    /// The node that gets what came from `source`, always the same as long as it is not one of the `failed`. `None`: nobody is left.
    fn of(&self, source: u64, failed: &BTreeSet<Arc<str>>) -> Option<Arc<str>>;

    /// Gives a frame, at most [`MAX_FRAME_BYTES`] long, to the [`crate::Adopter`] of the same endpoint on `node`; returns when that has
    /// all of it.
    fn ship(&self, node: &str, frame: Bytes) -> impl Future<Output = Result<(), NotTaken>> + Send;
}

/// Why a node did not take a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It may take it later, or has taken it and could not say so.
    #[error("{0}")]
    Later(String),
    /// It takes nothing from this node.
    #[error("{0}")]
    Refused(String),
}

/// What became of a backlog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Samples that other nodes have now.
    pub samples: u64,
    /// Samples that stay on disk and are sent after the next start with the same folder.
    pub left: u64,
}

/// What an endpoint had not delivered when it ended. Dropping it leaves it on disk.
pub struct Backlog {
    /// Has ended; its metrics are seen as long as it is there.
    delivery: Delivery,
    log: Option<Log>,
    drained: Drained,
    labeller: Labeller,
    /// The next frame to each node.
    heads: HashMap<Arc<str>, Head>,
}

impl Backlog {
    pub(crate) fn new(delivery: Delivery, log: Option<Log>, drained: Drained) -> Self {
        let labeller = Labeller::new(delivery.external_labels().clone());
        Self { delivery, log, drained, labeller, heads: HashMap::new() }
    }

    /// How the endpoint ended.
    #[must_use]
    pub fn drained(&self) -> Drained {
        self.drained
    }

    /// Ships what is left to `successors`, at most `until`. A node that fails is left out from then on: what was for it goes to others if
    /// there are any, and else stays on disk.
    pub async fn ship(mut self, successors: &impl Successors, until: Instant) -> Shipped {
        if self.drained == Drained::default() {
            return Shipped::default();
        }
        let mut failed = BTreeSet::new();
        let mut samples = 0;
        loop {
            let before = failed.len();
            samples += self.ship_to_all(successors, &mut failed, until).await;
            if failed.len() == before || Instant::now() >= until {
                break;
            }
        }
        let shipped = Shipped { samples, left: self.drained.on_disk.saturating_sub(samples) };
        let Shared { name, url, .. } = self.delivery.shared();
        info!(
            remote_name = &**name,
            url = &**url,
            samples,
            on_disk = shipped.left,
            lost = self.drained.lost,
            "gave what the receiver had not acknowledged to other nodes"
        );
        shipped
    }

    /// Goes through the whole log; returns how many samples were taken.
    async fn ship_to_all(&mut self, successors: &impl Successors, failed: &mut BTreeSet<Arc<str>>, until: Instant) -> u64 {
        let left = match self.lend(|log| log.left(MAX_BATCHES)).await {
            Some(Ok(left)) => left,
            Some(Err(error)) => {
                let Shared { name, url, .. } = self.delivery.shared();
                warn!(remote_name = &**name, url = &**url, %error, "what is left on disk can't be read and is not given to other nodes");
                return 0;
            }
            None => return 0,
        };
        let passes = Arc::new(Passes::of(left));
        let mut samples = 0;
        for pass in 0..passes.count() {
            self.lend(Log::rewind).await;
            while Instant::now() < until {
                let passes = passes.clone();
                let wanted = move |record| passes.has(pass, record);
                let read = self.lend(move |log| log.read_left(WINDOW_BYTES, &mut Losses::default(), wanted)).await;
                let Some(batches) = read.filter(|batches| !batches.is_empty()) else { break };
                samples += self.ship_window(batches, successors, failed, until).await;
            }
        }
        samples
    }

    async fn ship_window(
        &mut self,
        batches: Vec<(u64, Batch)>,
        successors: &impl Successors,
        failed: &mut BTreeSet<Arc<str>>,
        until: Instant,
    ) -> u64 {
        let mut gifts: BTreeMap<Arc<str>, Vec<(u64, Batch)>> = BTreeMap::new();
        for (record, batch) in batches {
            if let Some(node) = successors.of(batch.source, failed) {
                gifts.entry(node).or_default().push((record, self.labeller.label(batch)));
            }
        }
        self.labeller.forget();
        let gifts = gifts.into_iter().map(|(node, mut batches)| {
            batches.sort_by_key(|(_, batch)| batch.source);
            let head = *self.heads.entry(node.clone()).or_insert_with(|| Head { shipment: rand::random(), number: 0 });
            Gift { node, head, batches }
        });
        let sent = join_all(gifts.map(|gift| gift.send(successors, until))).await;
        let mut samples = 0;
        for Sent { node, head, records, samples: taken, failure } in sent {
            samples += taken;
            self.delivery.shared().metrics.backlog_shipped.inc_by(taken);
            self.heads.insert(node.clone(), head);
            self.note(records).await;
            if let Some(error) = failure {
                let Shared { name, url, .. } = self.delivery.shared();
                warn!(remote_name = &**name, url = &**url, %node, error, "a node does not take over what is left to send");
                failed.insert(node);
            }
        }
        samples
    }

    /// Writes down that these records are done with.
    async fn note(&mut self, records: Vec<u64>) {
        let saved = self.lend(move |log| {
            log.acknowledge(&records);
            log.save()
        });
        if let Some(Err(error)) = saved.await {
            let Shared { name, url, .. } = self.delivery.shared();
            warn!(remote_name = &**name, url = &**url, %error, "can't write down what other nodes have taken: a start with this folder sends it again");
        }
    }

    async fn lend<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Log) -> T + Send + 'static) -> Option<T> {
        lend(&mut self.log, work).await?.ok()
    }
}

/// Batches for a node, with their records.
struct Gift {
    node: Arc<str>,
    head: Head,
    batches: Vec<(u64, Batch)>,
}

/// What became of a gift.
struct Sent {
    node: Arc<str>,
    /// The next frame.
    head: Head,
    /// What was taken.
    records: Vec<u64>,
    samples: u64,
    failure: Option<String>,
}

impl Gift {
    async fn send(self, successors: &impl Successors, until: Instant) -> Sent {
        let mut sent = Sent { node: self.node, head: self.head, records: Vec::new(), samples: 0, failure: None };
        let mut batches = self.batches.into_iter().peekable();
        while batches.peek().is_some() {
            let mut writer = FrameWriter::new(sent.head);
            let (mut records, mut samples) = (Vec::new(), 0);
            let has_room = |writer: &FrameWriter| writer.len() < FRAME_BYTES && writer.plain() < FRAME_PLAIN;
            while let Some((record, batch)) = batches.next_if(|_| has_room(&writer)) {
                writer.add(&batch);
                records.push(record);
                samples += batch.len() as u64;
            }
            let frame = writer.finish();
            if frame.len() > MAX_FRAME_BYTES {
                warn!(
                    samples,
                    bytes = frame.len(),
                    limit = MAX_FRAME_BYTES,
                    "a batch is too large to be given to another node and stays on disk"
                );
                continue;
            }
            match ship(successors, &sent.node, frame, until).await {
                Ok(()) => {
                    sent.head.number += 1;
                    sent.records.append(&mut records);
                    sent.samples += samples;
                }
                Err(reason) => {
                    sent.failure = Some(reason);
                    break;
                }
            }
        }
        sent
    }
}

/// Gives a frame to a node, as often as it takes, within bounds.
async fn ship(successors: &impl Successors, node: &str, frame: Bytes, until: Instant) -> Result<(), String> {
    let patience = until.min(Instant::now() + FRAME_PATIENCE);
    loop {
        let reason = match timeout_at(patience, successors.ship(node, frame.clone())).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(NotTaken::Refused(reason))) => return Err(reason),
            Ok(Err(NotTaken::Later(reason))) => reason,
            Err(_) => "it has not answered".to_owned(),
        };
        if Instant::now() + PAUSE >= patience {
            return Err(reason);
        }
        sleep(PAUSE).await;
    }
}
