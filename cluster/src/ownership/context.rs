//! What a domain's rules need beside the domain itself: clocks, peers, the proposal, own standing, and where results go.

use std::sync::Arc;

use super::action::Counters;
use super::entry::Entry;
use super::mutant::Mutant;
use super::outbox::Outbox;
use super::peers::{PeerId, Peers};
use super::view::{MemberState, Name, Now, Settings};
use crate::placement::{Proposal, Rank, Seat};

/// An instant further ahead of one's own clock than this is a clock gone wrong, and is not waited for.
const MAX_AHEAD_MS: u64 = 5_000;

/// Who should hold a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Candidate {
    Me,
    Peer(PeerId),
    /// No participant knows it.
    Nobody,
}

/// What ring and table propose, and how the members' indices map to peers.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) proposal: Arc<Proposal>,
    /// For each of the ring's members its number; `None` is this node.
    pub(super) ids: Vec<Option<PeerId>>,
}

impl Placement {
    /// Index of the first member in a key's order of preference that is not known to lack it.
    pub(super) fn first(&self, key: u64, entry: &Entry) -> Option<usize> {
        self.proposal.first_accepted(key, &entry.seat, |index| match self.ids[index] {
            None => entry.discovered(),
            Some(peer) => !entry.unknown_at.contains(&peer),
        })
    }
}

/// This node's own part in the fleet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    pub(super) state: Option<MemberState>,
    /// Whether the view is complete.
    pub(super) synced: bool,
    /// Whether the fleet has ever been large enough.
    pub(super) ready: bool,
    /// Since when this node is terminating (monotonic ms).
    pub(super) leaving_since: Option<u64>,
    /// Whether `Drained` was reported.
    pub(super) drained: bool,
    /// Whether silent peers are waited for without end.
    pub(super) answers_required: bool,
    /// Wants with lower numbers were made before the last fence and are void.
    pub(super) floor: u64,
}

/// The surroundings of one input.
pub(super) struct Context<'a> {
    pub(super) now: Now,
    pub(super) settings: &'a Settings,
    pub(super) standing: Standing,
    pub(super) peers: &'a Peers,
    pub(super) placement: &'a Placement,
    pub(super) out: &'a mut Outbox,
    pub(super) counters: &'a mut Counters,
    /// Number of this input: it numbers the wants and queries that it sends.
    pub(super) sequence: u64,
    pub(super) mutant: Option<Mutant>,
    /// How many more keys that this node has not discovered may be noted.
    pub(super) room_for_notes: usize,
}

impl Context<'_> {
    /// Whether a deliberate fault is switched on.
    pub(super) fn mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether this node may take part: claim keys and vouch for them.
    pub(super) fn may_own(&self) -> bool {
        self.standing.state == Some(MemberState::Participant) && self.standing.synced && self.standing.ready
    }

    /// Whether this node is on its way out.
    pub(super) fn terminating(&self) -> bool {
        self.standing.state == Some(MemberState::Terminating)
    }

    /// Whether this node has been on its way out for so long.
    pub(super) fn is_leaving_for(&self, ms: u64) -> bool {
        self.standing.leaving_since.is_some_and(|since| self.now.mono_ms.saturating_sub(since) >= ms)
    }

    /// Where a key is to be, for [`Entry::seat`].
    pub(super) fn seat(&self, domain: &str, key: u64) -> Seat {
        let domain = if self.mutant(Mutant::CopiesTogether) { Rank::of(domain).base() } else { domain };
        self.placement.proposal.seat(domain, key)
    }

    /// Who should hold a key: the first in its order of preference that is not known to lack it.
    pub(super) fn candidate(&self, key: u64, entry: &Entry) -> Candidate {
        match self.placement.first(key, entry).map(|index| self.placement.ids[index]) {
            Some(None) => Candidate::Me,
            Some(Some(peer)) => Candidate::Peer(peer),
            None => Candidate::Nobody,
        }
    }

    /// A peer's name; empty if it has just gone.
    pub(super) fn name(&self, peer: PeerId) -> Name {
        self.peers.get(peer).map(|peer| peer.name.clone()).or_else(|| self.peers.epitaph(peer)).unwrap_or_else(|| Name::from(""))
    }

    /// A peer's instant, bounded by what clocks may differ.
    pub(super) fn plausible(&self, last_ms: u64) -> u64 {
        last_ms.min(self.now.wall_ms.saturating_add(MAX_AHEAD_MS))
    }
}
