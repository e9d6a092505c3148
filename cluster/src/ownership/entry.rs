//! What a machine notes about one key: where it stands here, who knows it, where its token went. Only data and the small
//! rules about it; the protocol is in `claim`, `handover` and `knowledge`.

use bytes::Bytes;

use super::action::{Move, Phase, StartReason};
use super::peers::{PeerId, Peers};
use super::view::Name;
use crate::placement::Seat;
use crate::slots::SlotClock;

/// How long it is remembered to whom a key was given or promised, and notes about undiscovered keys are kept: a multiple of
/// the time in which views come to agree.
pub(super) const TRAIL_MS: u64 = 60_000;
/// How long a key that its holder has lost sight of is kept for one that still knows it, in milliseconds. Who knows it asks as soon as it
/// hears of that; a lost question is repeated after a second, and then the news may have to come around a broken stream.
pub(super) const LEFT_MS: u64 = 5_000;
/// Most entries of a trail. One is the rule; several come from views that disagree.
const MAX_TRAIL: usize = 4;

/// One key. Keys that this node has not discovered have an entry only while there is something to remember.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The key's slots, while it is discovered.
    pub(super) clock: Option<SlotClock>,
    pub(super) seat: Seat,
    pub(super) hold: Hold,
    /// The peer that should hold it and has said that it knows it.
    pub(super) confirmed: Option<PeerId>,
    /// Peers that have said that they do not know it.
    pub(super) unknown_at: Vec<PeerId>,
    /// The last query: whom, and when to repeat it (monotonic ms).
    pub(super) queried: Option<(PeerId, u64)>,
    /// Statuses of earlier queries say nothing about a duplicate: the key was not held here.
    pub(super) query_floor: u64,
    trail: Vec<Trail>,
    /// Instant (ms since the epoch) of the last slot that may have been scraped here.
    pub(super) last_ms: Option<u64>,
    /// The last want that was granted: repeated grants for it or an earlier one are old news.
    pub(super) took: u64,
    /// The last want whose grant was declined: the sender goes by that, however often it comes.
    pub(super) declined: u64,
    /// Whether peers were told that this node knows the key, and are to be told when it no longer does.
    pub(super) vouched: bool,
    /// Monotonic ms until which the entry is kept if the key is not discovered.
    pub(super) note_until: u64,
    /// The peer that should have held it and has gone.
    pub(super) left: Option<Name>,
    pub(super) moved: Option<Move>,
}

/// Where a key stands on this node.
#[derive(Debug, Default)]
pub(super) enum Hold {
    #[default]
    Idle,
    Wanting(Box<Want>),
    Held(Box<Held>),
    Left(Box<Left>),
    Releasing(Box<Release>),
    Granted(Box<Granted>),
}

/// A key being claimed.
#[derive(Debug)]
pub(super) struct Want {
    /// Peers whose consent is missing.
    pub(super) pending: Vec<Ask>,
    /// Peers with numbers from here on have not been asked.
    pub(super) horizon: PeerId,
    /// Monotonic ms of the beginning.
    pub(super) began_ms: u64,
    /// When peers that refused are asked again (monotonic ms), and how often that was.
    pub(super) due_ms: u64,
    pub(super) tries: u32,
    /// Latest instant of a slot that somebody says to have scraped.
    pub(super) last_ms: Option<u64>,
    pub(super) left: Option<Name>,
}

/// A peer's missing consent.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) peer: PeerId,
    /// Answers to wants with lower numbers do not count.
    pub(super) min_claim: u64,
    pub(super) state: AskState,
    /// Since when the peer is silent (monotonic ms).
    pub(super) silent_since: u64,
    /// Since when it says that the key is free but for a node that is believed dead here (monotonic ms).
    pub(super) disputed_since: Option<u64>,
}

/// How an ask stands; times are monotonic ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskState {
    Sent {
        at: u64,
    },
    Refused,
    /// The peer has said that a grant follows.
    Granting {
        at: u64,
    },
}

/// A key scraped here.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) first_slot: u64,
    pub(super) since_ms: u64,
    pub(super) reason: StartReason,
}

/// A key that was held here and is not discovered any more. It is not scraped, but its token is still here: a node whose discovery is
/// later than this one's takes it with its series; if none does, these end.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) first_slot: u64,
    /// The slots as they were.
    pub(super) clock: SlotClock,
    /// Monotonic ms.
    pub(super) until_ms: u64,
}

/// A key being stopped for a peer.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) to: PeerId,
    pub(super) claim: u64,
    pub(super) first_slot: u64,
    /// The slots that the driver's answer refers to.
    pub(super) clock: SlotClock,
}

/// A token on its way to a peer.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) to: PeerId,
    pub(super) claim: u64,
    pub(super) last_ms: u64,
    /// The slots that it had here.
    pub(super) clock: SlotClock,
    pub(super) state: Option<Bytes>,
    /// When to send it again (monotonic ms), and how often that was.
    pub(super) due_ms: u64,
    pub(super) tries: u32,
}

/// A peer that may hold the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trail {
    pub(super) peer: PeerId,
    /// It took the key from here; else it was only told that the key is free.
    pub(super) taken: bool,
    until_ms: u64,
}

impl Entry {
    /// An entry for a key that this node has not discovered.
    pub(super) fn note(seat: Seat, mono_ms: u64) -> Self {
        Self { seat, note_until: mono_ms.saturating_add(TRAIL_MS), ..Self::default() }
    }

    /// Whether this node has discovered the key.
    pub(super) fn discovered(&self) -> bool {
        self.clock.is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        match self.hold {
            Hold::Idle => Phase::Idle,
            Hold::Wanting(_) => Phase::Wanting,
            Hold::Held(_) => Phase::Held,
            Hold::Left(_) => Phase::Left,
            Hold::Releasing(_) => Phase::Releasing,
            Hold::Granted(_) => Phase::Granted,
        }
    }

    /// Drops what was noted about peers that are gone. A token on its way to one of them is nobody's from now on.
    pub(super) fn forget_gone(&mut self, peers: &Peers) {
        if let Some(peer) = self.confirmed.filter(|peer| !peers.is_alive(*peer)) {
            self.confirmed = None;
            self.left = peers.epitaph(peer);
        }
        self.unknown_at.retain(|peer| peers.is_alive(*peer));
        self.trail.retain(|trail| peers.is_alive(trail.peer));
        if let Hold::Granted(granted) = &self.hold
            && !peers.is_alive(granted.to)
        {
            self.last_ms = Some(granted.last_ms);
            self.hold = Hold::Idle;
        }
    }

    /// Notes that a peer may hold the key.
    pub(super) fn point_at(&mut self, peer: PeerId, taken: bool, mono_ms: u64) {
        let taken = taken || self.trail.iter().any(|trail| trail.peer == peer && trail.taken);
        self.trail.retain(|trail| trail.peer != peer && trail.until_ms > mono_ms);
        if self.trail.len() == MAX_TRAIL {
            self.trail.remove(0);
        }
        let until_ms = mono_ms.saturating_add(TRAIL_MS);
        self.trail.push(Trail { peer, taken, until_ms });
        self.note_until = self.note_until.max(until_ms);
    }

    /// The peers that may hold the key.
    pub(super) fn trail(&self, mono_ms: u64) -> impl Iterator<Item = Trail> {
        self.trail.iter().copied().filter(move |trail| trail.until_ms > mono_ms)
    }

    /// The token is here: nobody else can have it.
    pub(super) fn clear_trail(&mut self) {
        self.trail.clear();
    }

    /// Whether there is nothing left to remember.
    pub(super) fn is_spent(&self, mono_ms: u64) -> bool {
        !self.discovered() && matches!(self.hold, Hold::Idle) && self.note_until <= mono_ms
    }
}

impl Want {
    /// The consent that is missing from a peer, if an answer with this number counts for it.
    pub(super) fn pending_from(&self, peer: PeerId, claim: u64) -> Option<usize> {
        self.pending.iter().position(|ask| ask.peer == peer && claim >= ask.min_claim)
    }
}
