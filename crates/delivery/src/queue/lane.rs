//! A lane: the batches of one shard, in order. Sources keep to their lane.

use std::collections::VecDeque;

use super::Item;

/// See the module.
#[derive(Default)]
pub(super) struct Lane {
    pub items: VecDeque<Item>,
    /// Rows that are not acknowledged.
    pub rows: usize,
    /// How many of the first items belong to the request that is under way.
    pub under_way: usize,
    /// At least so many of the first items have records.
    written: usize,
}

impl Lane {
    /// Appends an item. Says whether the shard has a new reason to look: the lane was empty, or has become worth sending.
    pub fn push(&mut self, item: Item, ready_rows: usize) -> bool {
        let (was_empty, before) = (self.items.is_empty(), self.rows);
        self.rows += item.batch.len() - item.sent_rows;
        self.items.push_back(item);
        was_empty || before < ready_rows && self.rows >= ready_rows
    }

    /// Takes out the first item.
    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.rows -= item.batch.len() - item.sent_rows;
        self.written = self.written.saturating_sub(1);
        Some(item)
    }

    /// Items without a record, in order.
    pub fn unwritten(&self) -> impl Iterator<Item = &Item> {
        self.items.range(self.written.min(self.items.len())..).filter(|item| item.record.is_none())
    }

    /// Notes the record of the item with this order; false if it is gone.
    pub fn set_record(&mut self, order: u64, record: u64) -> bool {
        let Ok(at) = self.items.binary_search_by_key(&order, |item| item.order) else { return false };
        self.items[at].record = Some(record);
        while self.items.get(self.written).is_some_and(|item| item.record.is_some()) {
            self.written += 1;
        }
        true
    }
}
