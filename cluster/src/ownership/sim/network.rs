//! Streams between nodes: in order, with delay; cut or broken, what is on them is lost.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::StdRng;

/// All streams, by (sender, receiver).
#[derive(Debug, Default)]
pub(super) struct Network {
    streams: BTreeMap<(usize, usize), Stream>,
    /// Bit per node of one side, while the fleet is cut.
    pub(super) cut: Option<u32>,
    /// Ways that are cut in one direction.
    pub(super) severed: BTreeSet<(usize, usize)>,
    /// Probability that a message is lost without a trace.
    loss: f64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Stream {
    /// Counts breaks: a message of an earlier epoch is lost.
    epoch: u64,
    /// No message arrives before the one sent before it.
    last_arrival: u64,
    down_until: u64,
}

impl Network {
    pub(super) fn new(loss: f64) -> Self {
        Self { loss, ..Self::default() }
    }

    /// When a message sent now arrives, and the stream's epoch. `None` if it is lost at once.
    pub(super) fn send(&mut self, rng: &mut StdRng, now: u64, from: usize, to: usize) -> Option<(u64, u64)> {
        if !self.connected(from, to) || rng.random_bool(self.loss) {
            return None;
        }
        self.queue(rng, now, from, to)
    }

    /// The same, whether the two are connected or not: what is sent meanwhile waits.
    pub(super) fn queue(&mut self, rng: &mut StdRng, now: u64, from: usize, to: usize) -> Option<(u64, u64)> {
        let delay = if rng.random_bool(0.05) { rng.random_range(50..400) } else { rng.random_range(1..40) };
        let stream = self.streams.entry((from, to)).or_default();
        if stream.down_until > now {
            return None;
        }
        stream.last_arrival = stream.last_arrival.max(now + delay);
        Some((stream.last_arrival, stream.epoch))
    }

    /// Whether a message on its way still arrives.
    pub(super) fn arrives(&self, from: usize, to: usize, epoch: u64) -> bool {
        self.connected(from, to) && self.is_of(from, to, epoch)
    }

    /// Whether the stream that a message was sent over is still that one.
    pub(super) fn is_of(&self, from: usize, to: usize, epoch: u64) -> bool {
        self.streams.get(&(from, to)).is_some_and(|stream| stream.epoch == epoch)
    }

    /// Breaks a stream until a time.
    pub(super) fn break_stream(&mut self, from: usize, to: usize, until: u64) {
        let stream = self.streams.entry((from, to)).or_default();
        stream.epoch += 1;
        stream.down_until = until;
    }

    /// Whether two nodes are on the same side, and the way from one to the other is open.
    pub(super) fn connected(&self, from: usize, to: usize) -> bool {
        let same_side = self.cut.is_none_or(|sides| (sides >> from) & 1 == (sides >> to) & 1);
        same_side && !self.severed.contains(&(from, to))
    }
}
