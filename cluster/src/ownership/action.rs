//! What an ownership machine asks of its driver, and what it tells about itself: actions, the snapshot of keys, counters.
//! Carrying actions out (sending, starting loops) is the driver's part.

use bytes::Bytes;

use super::message::Envelope;
use super::view::Name;
use crate::placement::Basis;

/// Something that the driver is to do, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send an envelope. Streams to one peer keep their order; what is lost is repeated by the machine. A peer whose address
    /// is not known (yet) is no error: drop it.
    Send {
        /// Receiver's name.
        to: Name,
        /// What to send.
        envelope: Envelope,
    },
    /// Scrape a key from a slot on.
    Start(Start),
    /// Stop scraping a key. With [`StopReason::Handover`] the driver begins no further slot and calls
    /// [`super::Ownership::stopped`] as soon as it knows the last slot begun; other reasons need no answer.
    Stop {
        /// Domain of the key.
        domain: Name,
        /// The key.
        key: u64,
        /// Why.
        reason: StopReason,
    },
    /// This node was late, or is isolated: stop scraping every key of every domain at once, without answers. The next
    /// [`super::View`] with `synced` must rest on an exchange with peers that began after this action.
    Fence {
        /// Milliseconds between the last input and this one; 0 if the node was not late but is out of touch with the majority.
        late_ms: u64,
    },
    /// This node is terminating and nobody needs it any more. Comes once.
    Drained,
}

/// The order to scrape a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Domain of the key.
    pub domain: Name,
    /// The key.
    pub key: u64,
    /// First slot to scrape. If its instant has passed, it is the current one: scrape at once.
    pub first_slot: u64,
    /// How the key came here.
    pub reason: StartReason,
    /// What the previous holder handed over through [`super::Stopped::state`].
    pub state: Option<Bytes>,
    /// Slots between the last one that somebody is known to have begun and the first one here; `None` if nobody knows.
    pub gap: Option<u64>,
}

/// How a key came to its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartReason {
    /// Nobody held it and the ring (or the lack of another node that knows it) proposes this node.
    Free {
        /// The node that was to hold it before and has left, if that is known.
        left: Option<Name>,
    },
    /// The previous holder handed it over.
    Handover {
        /// The previous holder.
        from: Name,
    },
    /// The key was being handed over to a peer that declined it. If this node does not know it any more either, it only keeps it, to end
    /// or to hand over its series.
    Returned {
        /// The peer that declined.
        by: Name,
    },
    /// The key's interval changed while it was held here; the schedule is to be replaced.
    Rescheduled,
}

/// Why a key is to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// A peer takes it: answer with [`super::Ownership::stopped`].
    Handover {
        /// The peer that takes it.
        to: Name,
    },
    /// It is no longer among the keys of its domain, and no peer that knows it has taken it; or the domain is gone.
    Undiscovered,
    /// After a healed partition two nodes held it, and the other one keeps it.
    Duplicate {
        /// The node that keeps it.
        holder: Name,
    },
}

/// The driver's answer to a [`StopReason::Handover`].
#[derive(Debug, Clone, PartialEq)]
pub struct Stopped {
    /// The key.
    pub key: u64,
    /// Last slot whose scrape was begun, if any was since the start.
    pub last_slot: Option<u64>,
    /// What the next holder needs to continue (layouts, acknowledged position), at most [`super::MAX_STATE_BYTES`]; more is
    /// dropped and counted.
    pub state: Option<Bytes>,
}

/// Where a key stands on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Left to others.
    Idle,
    /// Being claimed.
    Wanting,
    /// Scraped here.
    Held,
    /// Scraped here until it was no longer discovered, and left for a node that still knows it.
    Left,
    /// Being stopped for a peer.
    Releasing,
    /// Handed over, not yet acknowledged.
    Granted,
}

/// One key in the snapshot of [`super::Ownership::holders`].
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    /// Domain of the key.
    pub domain: Name,
    /// The key.
    pub key: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Who should hold it by this node's view: the ring's proposal, or the next node that knows the key. `None` without any.
    pub proposed: Option<Name>,
    /// What that rests on.
    pub basis: Basis,
    /// Milliseconds since the epoch since when this node holds it.
    pub since_ms: Option<u64>,
    /// How it came to this node, while held.
    pub reason: Option<StartReason>,
    /// The last time that it came or went.
    pub last_move: Option<Move>,
}

/// Most members that are told to be in line for a key.
pub const MAX_CANDIDATES: usize = 5;

/// A member in line for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    /// Its name.
    pub name: Name,
    /// Why it is in this place of the line.
    pub basis: Basis,
    /// Whether it is not known to lack the key: the first that knows it should hold it.
    pub knows: bool,
}

/// A key's coming or going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// Whether it came here (else it left).
    pub arrived: bool,
    /// The other node, if there was one.
    pub peer: Option<Name>,
}

/// Upper bounds in milliseconds of the buckets of [`Counters::handover_latency`]; the last bucket has none.
pub const LATENCY_BOUNDS_MS: [u64; 7] = [10, 50, 100, 500, 1_000, 5_000, 10_000];

/// Upper bounds in slots of the buckets of [`Counters::handover_gap`]; the last bucket has none.
pub const GAP_BOUNDS: [u64; 6] = [0, 1, 2, 5, 10, 60];

/// Totals since the start of the machine. Each only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Keys taken over from a peer.
    pub moves_in: u64,
    /// Keys that a peer took and acknowledged.
    pub moves_out: u64,
    /// Keys claimed while nobody held them.
    pub claims: u64,
    /// Claims that went on without an answer of some live peer.
    pub claims_forced: u64,
    /// Keys asked for, repetitions and each asked peer included.
    pub wants_sent: u64,
    /// Refusals received because the peer's view differed.
    pub busy_received: u64,
    /// Grants sent again for want of an acknowledgement.
    pub grants_resent: u64,
    /// Grants that a peer declined.
    pub grants_declined: u64,
    /// States that were too large to hand over.
    pub states_dropped: u64,
    /// Keys stopped because another node held them too.
    pub duplicates_stopped: u64,
    /// Times that this node was late and fenced itself.
    pub fences: u64,
    /// Messages for another incarnation of this node or from an older one of a peer.
    pub stale_messages: u64,
    /// Handovers by time from the first want to the start, in the buckets of [`LATENCY_BOUNDS_MS`].
    pub handover_latency: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// Sum of the same times in milliseconds.
    pub handover_latency_sum_ms: u64,
    /// Handovers by the slots that nobody has: those between the last one that the old holder began and the first one that
    /// this node is to begin, in the buckets of [`GAP_BOUNDS`].
    pub handover_gap: [u64; GAP_BOUNDS.len() + 1],
    /// Sum of the same slots.
    pub handover_gap_sum: u64,
}
