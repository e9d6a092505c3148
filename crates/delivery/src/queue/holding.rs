//! Keeping samples of a series in order when its target has moved: what this node scrapes is held back until the former holder's samples
//! are delivered, and what a former holder gives away as it leaves goes before that.

use std::collections::VecDeque;
use std::time::Duration;

use model::{Batch, Refused};
use tokio::time::Instant;

use super::{Item, Queue, Wake, cost};

impl Queue {
    /// Holds back what comes from `source` until [`Queue::release`]: while another node still sends earlier samples of its series. Given
    /// again, it says that what has come so far is what others wait for.
    pub fn hold(&mut self, source: u64) {
        if self.closed {
            return;
        }
        let on_disk = self.unread.get(&source).copied().unwrap_or_default();
        let (own, adopted) = self.in_back(source);
        self.held.begin(source, own + on_disk.own as usize, adopted + on_disk.adopted as usize, self.next_order);
    }

    /// Lets go what was held back of `source`, as soon as what goes before it is not on disk alone.
    pub fn release(&mut self, source: u64) -> Wake {
        let items = self.held.release(source);
        let all_lanes = self.let_go(items).is_some();
        Wake { all_lanes, spool: all_lanes && self.limits.disk, ..Wake::default() }
    }

    /// The same whatever is on disk.
    pub(super) fn release_at_once(&mut self, source: u64) {
        let items = self.held.take(source);
        self.let_go(items);
    }

    /// Puts items that were held back into their lane; the lane if its shard has a reason to look.
    pub(super) fn let_go(&mut self, items: VecDeque<Item>) -> Option<usize> {
        let mut looks = None;
        for item in items {
            let before = item.order;
            looks = self.place(item).or(looks);
            if self.writing {
                self.held.renumbered(before, self.next_order - 1);
            }
        }
        looks
    }

    /// Lets so much time pass for what is held back. While the receiver takes nothing, it is held for as long as that lasts: the other
    /// node can't send either. Returns how many sources were let go because they have been held for too long.
    pub fn age_holds(&mut self, elapsed: Duration) -> (usize, Wake) {
        if self.failing {
            return (0, Wake::default());
        }
        let expired = self.held.age(elapsed);
        expired.iter().for_each(|source| self.release_at_once(*source));
        let any = !expired.is_empty();
        (expired.len(), Wake { all_lanes: any, spool: any && self.limits.disk, ..Wake::default() })
    }

    /// Whether the receiver has everything of `source`, beside what has come since it is held back. While records of an earlier process
    /// are unread on disk the answer is no.
    pub fn is_acknowledged(&self, source: u64) -> bool {
        let waits = |items: &VecDeque<Item>| items.iter().any(|item| item.batch.source == source);
        let in_memory = waits(&self.lanes[self.lane_of(source)].items) || waits(&self.back) || self.held.has_earlier(source);
        !in_memory && !self.inherits && !self.unread.contains_key(&source)
    }

    /// Takes what a node that leaves has not delivered: all batches or none. They go before what is held back of their sources.
    ///
    /// # Errors
    /// As [`Queue::enqueue`].
    pub fn adopt(&mut self, batches: Vec<Batch>, now: Instant) -> Result<Wake, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        let (used, bytes) = (self.usage().bytes, batches.iter().map(cost).sum::<usize>());
        if used > 0 && used + bytes > self.limits.total {
            return Err(Refused::Full);
        }
        let mut spool = false;
        for batch in batches {
            let bytes = cost(&batch);
            let item = Item { adopted: true, ..self.item(batch, bytes, now) };
            spool |= self.route(item).spool;
        }
        Ok(Wake { all_lanes: true, spool, ..Wake::default() })
    }

    /// What is on disk alone is none or lost: it is not waited for.
    pub(super) fn nothing_unread(&mut self) {
        self.unread.clear();
        self.unread_adopted.clear();
        for source in self.held.sources() {
            let (own, adopted) = self.in_back(source);
            self.held.at_most(source, own, adopted);
            let items = self.held.ready(source);
            self.let_go(items);
        }
    }

    /// How many batches of `source` are in the back: its own and adopted ones.
    fn in_back(&self, source: u64) -> (usize, usize) {
        let of_source = self.back.iter().filter(|item| item.batch.source == source);
        of_source.fold((0, 0), |(own, adopted), item| if item.adopted { (own, adopted + 1) } else { (own + 1, adopted) })
    }
}
