//! What is held back: the batches of sources whose earlier samples another node still has to send. Kept out of the lanes, in order, until
//! it is let go.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;

use super::Item;

/// How long a source is held back at most, not counting the time in which the receiver takes nothing. The other node sends what it has
/// within seconds if it can, and says so; two that wait for each other must not wait for ever.
pub(crate) const MAX_HOLD: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Source {
    /// In the order of their times: those that other nodes give come in any order, and are older than this node's.
    items: VecDeque<Item>,
    age: Duration,
    /// So many items that come next are older than the hold: this node had the source before, and the other waits for them.
    older: usize,
    /// So many adopted items are on their way over the disk.
    adopted: usize,
    /// Nobody else has anything to send any more: what is left waits only for what is on disk.
    released: bool,
    /// Items below this order were there at the last [`Held::begin`].
    begun_at: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Held {
    sources: HashMap<u64, Source>,
    rows: usize,
    bytes: usize,
    /// Old and new order of items that were let go while they were being written.
    numbers: HashMap<u64, u64>,
}

impl Held {
    /// From now on `source` is held back, but for the next `older` items and those `adopted` ones that are on their way over the disk.
    /// Items that come will have orders from `order` on.
    pub fn begin(&mut self, source: u64, older: usize, adopted: usize, order: u64) {
        let source = self.sources.entry(source).or_insert_with(|| Source { older, adopted, ..Source::default() });
        (source.age, source.released, source.begun_at) = (Duration::ZERO, false, order);
    }

    /// An item goes over the disk.
    pub fn goes_round(&mut self, item: &Item) {
        if item.adopted
            && let Some(source) = self.sources.get_mut(&item.batch.source)
        {
            source.adopted += 1;
        }
    }

    /// No more than so many items are on their way over the disk.
    pub fn at_most(&mut self, source: u64, older: usize, adopted: usize) {
        if let Some(source) = self.sources.get_mut(&source) {
            (source.older, source.adopted) = (source.older.min(older), source.adopted.min(adopted));
        }
    }

    /// Keeps an item if its source is held back; else it comes back.
    pub fn keep(&mut self, item: Item) -> Option<Item> {
        let Some(source) = self.sources.get_mut(&item.batch.source) else { return Some(item) };
        if item.adopted {
            // One that does not come from disk comes when none is there.
            source.adopted = source.adopted.saturating_sub(1);
            if source.released {
                return Some(item);
            }
        } else if source.older > 0 {
            source.older -= 1;
            return Some(item);
        }
        self.rows += item.batch.len();
        self.bytes += item.bytes;
        let earlier = source.items.iter().rposition(|other| other.batch.timestamp <= item.batch.timestamp);
        source.items.insert(earlier.map_or(0, |at| at + 1), item);
        None
    }

    /// What was kept of `source`, which is held back no longer.
    pub fn take(&mut self, source: u64) -> VecDeque<Item> {
        let items = self.sources.remove(&source).unwrap_or_default().items;
        self.forget(&items);
        items
    }

    /// Nobody else has anything of `source` to send: what may go now, see [`Held::ready`].
    pub fn release(&mut self, source: u64) -> VecDeque<Item> {
        if let Some(held) = self.sources.get_mut(&source) {
            held.released = true;
        }
        self.ready(source)
    }

    /// What of `source` is not waited for any longer, if it was released: all, or adopted items alone while others of them are on disk.
    pub fn ready(&mut self, source: u64) -> VecDeque<Item> {
        let Some(held) = self.sources.get_mut(&source).filter(|held| held.released && held.older == 0) else { return VecDeque::new() };
        if held.adopted == 0 {
            return self.take(source);
        }
        let (adopted, own) = std::mem::take(&mut held.items).into_iter().partition(|item| item.adopted);
        held.items = own;
        self.forget(&adopted);
        adopted
    }

    fn forget(&mut self, items: &VecDeque<Item>) {
        for item in items {
            self.rows -= item.batch.len();
            self.bytes -= item.bytes;
        }
    }

    /// Sources that have been held for longer than [`MAX_HOLD`] after so much more time.
    pub fn age(&mut self, elapsed: Duration) -> Vec<u64> {
        self.sources.values_mut().for_each(|source| source.age += elapsed);
        self.sources.iter().filter(|(_, source)| source.age > MAX_HOLD).map(|(source, _)| *source).collect()
    }

    /// All that are held back.
    pub fn sources(&self) -> Vec<u64> {
        self.sources.keys().copied().collect()
    }

    /// Whether anything is kept of `source` that was there at the last [`Held::begin`].
    pub fn has_earlier(&self, source: u64) -> bool {
        let earlier = |source: &Source| source.items.iter().any(|item| item.order < source.begun_at);
        self.sources.get(&source).is_some_and(earlier)
    }

    /// Rows that are kept.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What they count against the limits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Items without a record.
    pub fn unwritten(&self) -> impl Iterator<Item = &Item> {
        self.sources.values().flat_map(|source| &source.items).filter(|item| item.record.is_none())
    }

    /// Notes the record of the item with this order; false if it is not here.
    pub fn set_record(&mut self, source: u64, order: u64, record: u64) -> bool {
        let items = self.sources.get_mut(&source).map(|source| &mut source.items);
        let Some(item) = items.into_iter().flatten().find(|item| item.order == order) else { return false };
        item.record = Some(record);
        true
    }

    /// Notes that an item that was being written was let go and has another order now.
    pub fn renumbered(&mut self, before: u64, now: u64) {
        self.numbers.insert(before, now);
    }

    /// The present order of an item that had this one when it began to be written.
    pub fn current(&self, order: u64) -> u64 {
        self.numbers.get(&order).copied().unwrap_or(order)
    }

    /// Nothing is being written any more.
    pub fn forget_numbers(&mut self) {
        self.numbers.clear();
    }
}
