//! The machine's inputs: each takes a reading of the clocks, first checks whether this node was late, then does its part and
//! returns what is to be done.

use super::action::{Action, Counters, Holder, Stopped};
use super::message::Envelope;
use super::view::{KeySpec, Now, Settings, View};

/// The ownership machine of one node, for any number of domains.
#[derive(Debug)]
pub struct Ownership {
    settings: Settings,
    counters: Counters,
    last: Now,
}

impl Ownership {
    /// A machine that knows nobody and holds nothing.
    #[must_use]
    pub fn new(settings: Settings, now: Now) -> Self {
        Self {
            settings,
            counters: Counters::default(),
            last: now,
        }
    }

    /// Takes the membership's current view.
    #[must_use]
    pub fn set_view(&mut self, now: Now, _view: View) -> Vec<Action> {
        self.last = now;
        Vec::new()
    }

    /// Takes the keys that this node has discovered in a domain, whole. The first call makes the domain ready.
    #[must_use]
    pub fn set_keys(&mut self, now: Now, _domain: &str, _keys: &[KeySpec]) -> Vec<Action> {
        self.last = now;
        Vec::new()
    }

    /// Takes a domain away: its component is gone or no longer clustered. Keys held in it are stopped.
    #[must_use]
    pub fn remove_domain(&mut self, now: Now, _domain: &str) -> Vec<Action> {
        self.last = now;
        Vec::new()
    }

    /// Takes a message of a peer.
    #[must_use]
    pub fn receive(&mut self, now: Now, _from: &str, _envelope: Envelope) -> Vec<Action> {
        self.last = now;
        Vec::new()
    }

    /// A peer is known to be dead before the view shows it. Lasts until it is heard of again or the view has lost it.
    #[must_use]
    pub fn peer_gone(&mut self, now: Now, _name: &str) -> Vec<Action> {
        self.last = now;
        Vec::new()
    }

    /// The stream to a peer was opened anew: what was sent before may be lost and is repeated.
    #[must_use]
    pub fn peer_connected(&mut self, now: Now, _name: &str) -> Vec<Action> {
        self.last = now;
        Vec::new()
    }

    /// The driver's answer to [`super::StopReason::Handover`], for any number of keys.
    #[must_use]
    pub fn stopped(&mut self, now: Now, _domain: &str, _stopped: Vec<Stopped>) -> Vec<Action> {
        self.last = now;
        Vec::new()
    }

    /// Lets time pass: call it about every 100 ms, also when nothing happens.
    #[must_use]
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        self.last = now;
        Vec::new()
    }

    /// The monotonic millisecond until which scrapes may be begun. A scrape loop must look at it before each scrape: a loop
    /// that wakes up from a stall may run before the machine has seen that the node was late.
    #[must_use]
    pub fn scrape_until_ms(&self) -> u64 {
        self.last.mono_ms.saturating_add(self.settings.fence_after_ms)
    }

    /// Where each known key stands on this node.
    #[must_use]
    pub fn holders(&self) -> Vec<Holder> {
        Vec::new()
    }

    /// Totals since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
