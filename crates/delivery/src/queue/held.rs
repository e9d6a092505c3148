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
    items: VecDeque<Item>,
    age: Duration,
    /// So many items that come next are older than the hold: this node had the source before, and the other waits for them.
    exempt: usize,
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
    /// From now on `source` is held back, but for the next `exempt` items.
    pub fn begin(&mut self, source: u64, exempt: usize) {
        let source = self.sources.entry(source).or_default();
        source.age = Duration::ZERO;
        source.exempt = exempt;
    }

    /// Keeps an item if its source is held back; else it comes back.
    pub fn keep(&mut self, item: Item) -> Option<Item> {
        let Some(source) = self.sources.get_mut(&item.batch.source) else { return Some(item) };
        if source.exempt > 0 {
            source.exempt -= 1;
            return Some(item);
        }
        self.rows += item.batch.len();
        self.bytes += item.bytes;
        source.items.push_back(item);
        None
    }

    /// What was kept of `source`, which is held back no longer.
    pub fn take(&mut self, source: u64) -> VecDeque<Item> {
        let items = self.sources.remove(&source).unwrap_or_default().items;
        for item in &items {
            self.rows -= item.batch.len();
            self.bytes -= item.bytes;
        }
        items
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

    /// Whether `source` is held back.
    pub fn contains(&self, source: u64) -> bool {
        self.sources.contains_key(&source)
    }

    /// Whether anything is kept of `source`.
    pub fn has_any(&self, source: u64) -> bool {
        self.sources.get(&source).is_some_and(|source| !source.items.is_empty())
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
