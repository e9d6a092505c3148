//! The bounded queue of one endpoint, as a state machine without clock, tasks or files: who sends (`shards`) and who writes to disk
//! (`spool`) drive it under one lock.
//!
//! ```text
//! enqueue ──▶ front: a lane per shard, in memory ──▶ sent, acknowledged
//!        └──▶ back: in memory ──▶ disk ──▶ front         (when the front is full and there is a disk)
//! ```
//! What is held back (`held`, `holding`) stays out of its lane until it is let go, and counts as front.
//!
//! A source's batches are always in this order: front, disk, back. What is in the front long enough unacknowledged is written to disk as
//! well, but stays in memory until it is acknowledged; what is in the back lives on disk alone after it was written.

mod disk_side;
mod ending;
mod held;
mod holding;
mod lane;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use model::{Batch, Refused};
use tokio::time::Instant;

pub(crate) use disk_side::Write;
use held::Held;
pub(crate) use held::MAX_HOLD;
use lane::Lane;

use crate::encode::Tally;

/// Counted for every batch beside its columns: the entries in queues and the headers of its allocations.
const BATCH_OVERHEAD: usize = 256;

/// Weight of the newest request in [`Queue::note_kept`].
const KEPT_WEIGHT: f64 = 0.1;
/// A lane never waits for more rows than if this part were kept.
const MIN_KEPT: f64 = 1.0 / 16.0;

/// Sizes of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most bytes of batches in the front, as far as there is a disk to put others.
    pub front: usize,
    /// The same while the receiver takes nothing: whatever waits in memory then would be on disk as well.
    pub front_while_failing: usize,
    /// Most bytes of batches in memory.
    pub total: usize,
    /// How long a batch waits for others before it is sent.
    pub deadline: Duration,
    /// How long a batch may be unacknowledged before it is written to disk.
    pub spill_after: Duration,
    /// Whether there is a disk.
    pub disk: bool,
}

/// A batch in the queue.
struct Item {
    /// Place in the order in which batches came to the front.
    order: u64,
    batch: Batch,
    /// When to write it to disk.
    spill_at: Instant,
    /// When to send it, even if the request does not fill.
    due: Instant,
    /// Rows that were acknowledged already: a large batch takes several requests.
    sent_rows: usize,
    /// What it counts against the limits.
    bytes: usize,
    /// What it holds.
    tally: Tally,
    /// Its record on disk, if it was written.
    record: Option<u64>,
    /// Whether a node that has left gave it: it is older than what this node has of the source since it has it.
    adopted: bool,
}

/// How many batches of a source are on disk alone.
#[derive(Clone, Copy, Default)]
struct Unread {
    own: u32,
    adopted: u32,
}

/// What a shard is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send what is there.
    Send,
    /// Wait to be woken, at most until then.
    Wait(Option<Instant>),
}

/// Whom to wake after a change. Waking somebody for nothing does no harm.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wake {
    /// This shard.
    pub lane: Option<usize>,
    /// Every shard.
    pub all_lanes: bool,
    /// The one that writes to disk.
    pub spool: bool,
    /// Whoever waits for the queue to be at rest.
    pub idle: bool,
}

/// What is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// What it counts against the limits.
    pub bytes: usize,
    /// What the receiver has not acknowledged.
    pub pending: Tally,
    /// Rows that are held back.
    pub held_rows: usize,
}

impl Usage {
    /// Rows that the receiver has not acknowledged.
    pub fn rows(self) -> usize {
        self.pending.samples + self.pending.histograms
    }
}

/// See the module.
pub(crate) struct Queue {
    limits: Limits,
    lanes: Vec<Lane>,
    back: VecDeque<Item>,
    /// What is held back, see [`Queue::hold`].
    held: Held,
    /// Batches on disk alone that were written by this process, by source.
    unread: HashMap<u64, Unread>,
    /// Records of those that were adopted.
    unread_adopted: HashSet<u64>,
    /// Whether what an earlier process left on disk is not read yet.
    inherits: bool,
    front_bytes: usize,
    back_bytes: usize,
    pending: Tally,
    next_order: u64,
    /// Items of the front below this order are due.
    flush_below: u64,
    /// Samples that fill a request.
    max_samples: usize,
    /// The part of rows that write relabelling keeps, as an average over requests.
    kept: f64,
    /// Rows that make a lane worth sending.
    ready_rows: usize,
    closed: bool,
    /// No more requests are begun.
    halted: bool,
    /// The receiver takes nothing, or not soon.
    failing: bool,
    /// The number of lanes to change to when no request is under way.
    moving: Option<usize>,
    /// Whether records are on disk that are to be read into the front before anything else may go there.
    behind: bool,
    /// Whether the one that writes to disk sleeps without a time to wake up.
    spool_sleeps: bool,
    /// Whether batches of the back are being written to disk, so that the back must stay as it is.
    writing: bool,
    /// Records that were acknowledged since they were last taken.
    acknowledged: Vec<u64>,
}

impl Queue {
    /// An empty queue with `lanes` lanes. With a disk it starts behind: what an earlier process left is read first.
    pub fn new(limits: Limits, lanes: usize, max_samples: usize) -> Self {
        Self {
            limits,
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            back: VecDeque::new(),
            held: Held::default(),
            unread: HashMap::new(),
            unread_adopted: HashSet::new(),
            inherits: limits.disk,
            front_bytes: 0,
            back_bytes: 0,
            pending: Tally::default(),
            next_order: 0,
            flush_below: 0,
            max_samples,
            kept: 1.0,
            ready_rows: max_samples,
            closed: false,
            halted: false,
            failing: false,
            moving: None,
            behind: limits.disk,
            spool_sleeps: false,
            writing: false,
            acknowledged: Vec::new(),
        }
    }

    /// Takes a batch.
    ///
    /// # Errors
    /// [`Refused::Full`] if memory is full and nothing can go to disk, [`Refused::Closed`] after [`Queue::close`].
    pub fn enqueue(&mut self, batch: Batch, now: Instant) -> Result<Wake, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        let bytes = cost(&batch);
        let used = self.usage().bytes;
        if used > 0 && used + bytes > self.limits.total {
            return Err(Refused::Full);
        }
        let item = self.item(batch, bytes, now);
        Ok(self.route(item))
    }

    /// A batch that has come; it counts from now on.
    fn item(&mut self, batch: Batch, bytes: usize, now: Instant) -> Item {
        let tally = Tally::of(&batch);
        self.pending += tally;
        let (spill_at, due) = (now + self.limits.spill_after, now + self.limits.deadline);
        Item { order: 0, batch, spill_at, due, sent_rows: 0, bytes, tally, record: None, adopted: false }
    }

    /// Puts an item to the front, or to the back if anything older than it is, or must be, outside the front.
    fn route(&mut self, item: Item) -> Wake {
        let in_front = self.front_bytes + self.held.bytes();
        let overflows = in_front > 0 && in_front + item.bytes > self.front_limit();
        if self.limits.disk && (self.behind || !self.back.is_empty() || overflows) {
            self.back_bytes += item.bytes;
            self.held.goes_round(&item);
            self.back.push_back(item);
            return self.wake_spool();
        }
        let mut wake = Wake { lane: self.place(item), ..Wake::default() };
        if self.limits.disk && self.spool_sleeps {
            wake.spool = self.wake_spool().spool;
        }
        wake
    }

    /// Most bytes of the front now. A lane that is empty may be sent by a shard for which the receiver works: what is for it must not
    /// wait behind what others can't get rid of.
    pub(super) fn front_limit(&self) -> usize {
        let fails = self.failing && self.limits.disk && self.lanes.iter().all(|lane| !lane.items.is_empty());
        if fails { self.limits.front_while_failing } else { self.limits.front }
    }

    /// Notes that the receiver takes nothing, or not soon; until something is done with.
    pub fn note_failing(&mut self) {
        self.failing = true;
    }

    /// Puts an item into its lane, unless its source is held back; the lane if its shard has a reason to look.
    fn place(&mut self, mut item: Item) -> Option<usize> {
        item.order = self.next_order;
        self.next_order += 1;
        let source = item.batch.source;
        let mut looks = None;
        if let Some(item) = self.held.keep(item) {
            self.front_bytes += item.bytes;
            let lane = self.lane_of(source);
            looks = self.lanes[lane].push(item, self.ready_rows).then_some(lane);
        }
        // What had to come first has come with this item.
        let follow = self.held.ready(source);
        self.let_go(follow).or(looks)
    }

    fn lane_of(&self, source: u64) -> usize {
        // Sources are hashes already, but the lowest bits of some count up: spread them (Fibonacci hashing).
        let spread = source.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (spread as usize) % self.lanes.len()
    }

    fn wake_spool(&mut self) -> Wake {
        self.spool_sleeps = false;
        Wake { spool: true, ..Wake::default() }
    }

    /// What the shard of `lane` is to do.
    pub fn step(&self, lane: usize, now: Instant) -> Step {
        let Some(lane) = self.lanes.get(lane) else { return Step::Wait(None) };
        let Some(first) = lane.items.front() else { return Step::Wait(None) };
        if self.moving.is_some() || self.halted {
            return Step::Wait(None);
        }
        let due = first.due <= now || first.order < self.flush_below || self.closed || self.behind;
        if due || lane.rows >= self.ready_rows { Step::Send } else { Step::Wait(Some(first.due)) }
    }

    /// The `nth` batch of a lane and its first row that is to be sent. It counts as under way until [`Queue::complete`].
    pub fn peek(&mut self, lane: usize, nth: usize) -> Option<(Batch, usize)> {
        let lane = self.lanes.get_mut(lane)?;
        let item = lane.items.get(nth)?;
        lane.under_way = lane.under_way.max(nth + 1);
        Some((item.batch.clone(), item.sent_rows))
    }

    /// Ends what was under way in a lane: its first `whole` batches are done with (acknowledged, or given up), and the one behind them up
    /// to row `part`. With zeros nothing is done with and all of it will be sent again.
    pub fn complete(&mut self, lane: usize, whole: usize, part: usize, now: Instant) -> Wake {
        let Some(lane) = self.lanes.get_mut(lane) else { return Wake::default() };
        lane.under_way = 0;
        self.failing &= whole == 0 && part == 0;
        for _ in 0..whole {
            let Some(item) = lane.pop() else { break };
            self.front_bytes -= item.bytes;
            self.pending -= item.tally;
            self.acknowledged.extend(item.record);
        }
        if let Some(item) = lane.items.front_mut() {
            lane.rows -= part.saturating_sub(item.sent_rows);
            item.sent_rows = item.sent_rows.max(part);
        }
        let all_lanes = self.pull_up(now) | self.move_lanes();
        let feed = self.room() > 0;
        let spool = (feed || self.spool_sleeps && !self.acknowledged.is_empty()) && self.wake_spool().spool;
        Wake { lane: None, all_lanes, spool, idle: self.is_at_rest() }
    }

    /// Notes that `samples` of `rows` rows were kept by write relabelling, so that lanes wait for as many rows as fill a request.
    pub fn note_kept(&mut self, samples: usize, rows: usize) {
        if rows > 0 {
            self.kept += KEPT_WEIGHT * (samples as f64 / rows as f64 - self.kept);
            self.ready_rows = (self.max_samples as f64 / self.kept.max(MIN_KEPT)) as usize;
        }
    }

    /// Everything that is in the queue now is due.
    pub fn flush(&mut self) -> Wake {
        self.flush_below = self.next_order; // what is in the back is due as soon as it comes to the front
        Wake { all_lanes: true, ..Wake::default() }
    }

    /// Changes the number of lanes as soon as no request is under way, so that no batch overtakes another of its source.
    pub fn set_lanes(&mut self, lanes: usize) -> Wake {
        self.moving = (lanes != self.lanes.len()).then_some(lanes.max(1));
        Wake { all_lanes: self.move_lanes(), ..Wake::default() }
    }

    /// Gives up a change of lanes that could not begin; true if there was one.
    pub fn cancel_move(&mut self) -> bool {
        self.moving.take().is_some()
    }

    fn move_lanes(&mut self) -> bool {
        let Some(lanes) = self.moving.filter(|_| self.lanes.iter().all(|lane| lane.under_way == 0)) else { return false };
        let mut items: Vec<Item> = self.lanes.iter_mut().flat_map(|lane| lane.items.drain(..)).collect();
        items.sort_unstable_by_key(|item| item.order);
        self.lanes = (0..lanes).map(|_| Lane::default()).collect();
        self.moving = None;
        for item in items {
            let lane = self.lane_of(item.batch.source);
            self.lanes[lane].push(item, self.ready_rows);
        }
        true
    }

    /// What is in it.
    pub fn usage(&self) -> Usage {
        let bytes = self.front_bytes + self.back_bytes + self.held.bytes();
        Usage { bytes, pending: self.pending, held_rows: self.held.rows() }
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }
}

/// What a batch counts against the limits: its columns, its details, and its series if nobody else holds them (pushed data; the layouts of scraped
/// targets, and chunks of them that come back from disk, are the scraper's memory).
fn cost(batch: &Batch) -> usize {
    let columns = size_of::<f64>() * batch.len() * if batch.timestamps.is_some() { 2 } else { 1 };
    let chunks = batch.layout.chunks().iter().filter(|chunk| Arc::strong_count(chunk) == 1);
    let series: usize = if Arc::strong_count(&batch.layout) == 1 { chunks.map(|chunk| chunk.heap_bytes()).sum() } else { 0 };
    let details = batch.details.as_ref().map_or(0, |details| details.heap_bytes());
    BATCH_OVERHEAD + columns + details + series
}
