//! How the queue ends: what is sent first, and when that is over.

use super::{Queue, Wake};

impl Queue {
    /// Takes nothing more; everything is due, and nothing is held back.
    pub fn close(&mut self) -> Wake {
        let held = self.held.sources();
        held.into_iter().for_each(|source| self.release_at_once(source));
        self.close_holding()
    }

    /// The same, but what is held back stays so: it is given to another node. It does not keep the queue from being empty.
    pub fn close_holding(&mut self) -> Wake {
        self.closed = true;
        Wake { all_lanes: true, spool: self.wake_spool().spool, lane: None, idle: self.is_at_rest() }
    }

    /// Begins no more requests.
    pub fn halt(&mut self) {
        self.halted = true;
    }

    /// Whether nothing is to be waited for: nothing is left, or the queue is halted and no request is under way.
    pub fn is_at_rest(&self) -> bool {
        self.is_empty() || self.halted && self.lanes.iter().all(|lane| lane.under_way == 0)
    }

    /// Whether nothing waits, in memory or on disk; in a closed queue, beside what is held back.
    pub fn is_empty(&self) -> bool {
        let usage = self.usage();
        let rows = usage.rows() - if self.closed { usage.held_rows } else { 0 };
        rows == 0 && !self.behind && self.lanes.iter().all(|lane| lane.items.is_empty()) && self.back.is_empty()
    }
}
