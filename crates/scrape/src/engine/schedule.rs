//! Which target is due next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A heap of instants. Instants are not taken out when they become void: the entry's generation tells.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Reverse<(i64, u64, u64)>>,
}

impl Schedule {
    /// Adds an instant (milliseconds since the epoch) of a key's generation.
    pub(super) fn add(&mut self, due: i64, key: u64, generation: u64) {
        self.heap.push(Reverse((due, key, generation)));
    }

    /// The earliest instant.
    pub(super) fn next(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((due, ..))| *due)
    }

    /// Takes the earliest key and generation that is due.
    pub(super) fn take(&mut self, now: i64) -> Option<(u64, u64)> {
        self.next().filter(|due| *due <= now)?;
        self.heap.pop().map(|Reverse((_, key, generation))| (key, generation))
    }

    /// Drops void instants if they are many.
    pub(super) fn tidy(&mut self, entries: usize, is_valid: impl Fn(u64, u64) -> bool) {
        if self.heap.len() > 2 * entries + 1024 {
            self.heap.retain(|Reverse((_, key, generation))| is_valid(*key, *generation));
        }
    }

    pub(super) fn clear(&mut self) {
        self.heap.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_and_nothing_early() {
        let mut schedule = Schedule::default();
        schedule.add(30, 3, 0);
        schedule.add(10, 1, 0);
        schedule.add(20, 2, 7);
        assert_eq!(schedule.next(), Some(10));
        assert_eq!(schedule.take(9), None);
        assert_eq!([schedule.take(20), schedule.take(20), schedule.take(20)], [Some((1, 0)), Some((2, 7)), None]);
    }

    #[test]
    fn void_instants_don_t_pile_up() {
        let mut schedule = Schedule::default();
        for generation in 0..10_000 {
            schedule.add(5, 1, generation);
            schedule.tidy(1, |_, valid| valid == generation);
        }
        assert!(schedule.heap.len() < 1100);
    }
}
