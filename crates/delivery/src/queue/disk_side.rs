//! The queue as seen by whoever writes batches to disk and reads them back (`spool`).

use model::Batch;
use tokio::time::Instant;

use super::{Item, Queue, Wake, cost};
use crate::encode::Tally;

/// A batch to be written to disk.
pub(crate) struct Write {
    pub batch: Batch,
    /// Its order, if it is in the front and stays there; none for those of the back.
    pub front: Option<u64>,
}

impl Queue {
    /// Batches to be written now, in the order in which to write them, up to `max_bytes`: those of the front whose time has come (or all,
    /// if `all` or if later ones wait in the back), then the back. [`Queue::settle`] must follow.
    pub fn begin_write(&mut self, now: Instant, all: bool, max_bytes: usize) -> Vec<Write> {
        let all = all || !self.back.is_empty();
        let (mut found, mut bytes) = (Vec::new(), 0);
        let due = |item: &&Item| all || item.spill_at <= now;
        let lanes = self.lanes.iter().flat_map(|lane| lane.unwritten().take_while(due));
        let front = lanes.chain(self.held.unwritten().filter(due));
        let front = front.map(|item| (item, Some(item.order)));
        for (item, front) in front.chain(self.back.iter().map(|item| (item, None))) {
            if bytes > 0 && bytes + item.bytes > max_bytes {
                break;
            }
            bytes += item.bytes;
            found.push(Write { batch: item.batch.clone(), front });
        }
        self.writing = !found.is_empty();
        found
    }

    /// Notes that these batches, the first ones that [`Queue::begin_write`] gave, have records now.
    pub fn written(&mut self, written: impl IntoIterator<Item = (Write, u64)>) {
        for (one, record) in written {
            let Some(order) = one.front else {
                if let Some(item) = self.back.pop_front() {
                    self.back_bytes -= item.bytes;
                    self.pending -= item.tally;
                    self.behind = true;
                    self.note_unread(&item, record);
                }
                continue;
            };
            let (source, order) = (one.batch.source, self.held.current(order));
            let lane = self.lane_of(source);
            if !self.lanes[lane].set_record(order, record) && !self.held.set_record(source, order, record) {
                self.acknowledged.push(record); // acknowledged while it was being written
            }
        }
    }

    /// Bytes of batches that are to be read from disk now: none while the front is more than half full, so that they are many at a time.
    pub fn room(&self) -> usize {
        let limit = self.front_limit();
        // What is held back does not keep the rest from being read, unless it takes too much memory.
        let wanted = self.behind && self.front_bytes <= limit / 2 && self.held.bytes() <= self.limits.total / 2;
        if wanted { (limit - self.front_bytes).max(1) } else { 0 }
    }

    /// Takes batches that were read from disk, with their records.
    pub fn feed(&mut self, read: Vec<(u64, Batch)>, now: Instant) -> Wake {
        let all_lanes = !read.is_empty();
        for (record, batch) in read {
            let (bytes, tally) = (cost(&batch), Tally::of(&batch));
            self.pending += tally;
            let adopted = self.note_read(batch.source, record);
            self.place(Item { order: 0, batch, spill_at: now, due: now, sent_rows: 0, bytes, tally, record: Some(record), adopted });
        }
        Wake { all_lanes, ..Wake::default() }
    }

    /// Ends what [`Queue::begin_write`] began, whether or not it succeeded. `behind`: unread records are on disk. If not, the back moves up.
    pub fn settle(&mut self, behind: bool, now: Instant) -> Wake {
        self.behind = behind;
        self.writing = false;
        self.held.forget_numbers();
        if !behind {
            // What could not be read, or was dropped for want of room, is not waited for.
            self.nothing_unread();
            self.inherits = false;
        }
        Wake { all_lanes: self.pull_up(now), idle: self.is_empty(), ..Wake::default() }
    }

    /// Moves the back to the front as far as there is room and nothing on disk is older; true if anything moved.
    pub(super) fn pull_up(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while !self.behind && !self.writing {
            let fits = |item: &Item| self.front_bytes == 0 || self.front_bytes + item.bytes <= self.front_limit();
            if !self.back.front().is_some_and(fits) {
                break;
            }
            let Some(item) = self.back.pop_front() else { break };
            self.back_bytes -= item.bytes;
            self.place(Item { due: now, ..item });
            moved = true;
        }
        moved
    }

    /// Records that were acknowledged since the last call.
    pub fn take_acknowledged(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.acknowledged)
    }

    fn note_unread(&mut self, item: &Item, record: u64) {
        let unread = self.unread.entry(item.batch.source).or_default();
        if item.adopted {
            unread.adopted += 1;
            self.unread_adopted.insert(record);
        } else {
            unread.own += 1;
        }
    }

    /// Notes that a batch is not on disk alone any more; whether it was adopted.
    fn note_read(&mut self, source: u64, record: u64) -> bool {
        let adopted = self.unread_adopted.remove(&record);
        if let Some(unread) = self.unread.get_mut(&source) {
            let count = if adopted { &mut unread.adopted } else { &mut unread.own };
            *count = count.saturating_sub(1);
            if unread.own + unread.adopted == 0 {
                self.unread.remove(&source);
            }
        }
        adopted
    }

    /// When there is next something to write; if never, the caller is woken when that changes.
    pub fn next_write(&mut self, now: Instant) -> Option<Instant> {
        let lanes = self.lanes.iter().filter_map(|lane| lane.unwritten().next());
        let front = lanes.chain(self.held.unwritten()).map(|item| item.spill_at).min();
        let next = if self.back.is_empty() { front } else { Some(now) };
        self.spool_sleeps = next.is_none();
        next
    }

    /// Rows in memory that are not on disk.
    pub fn unwritten_rows(&self) -> usize {
        let front = self.lanes.iter().flat_map(|lane| lane.unwritten());
        front.chain(&self.back).chain(self.held.unwritten()).map(|item| item.batch.len()).sum()
    }

    /// The disk can't be used at all: go on in memory.
    pub fn without_disk(&mut self, now: Instant) -> Wake {
        self.limits = super::Limits { front: self.limits.total, disk: false, ..self.limits };
        self.settle(false, now)
    }
}
