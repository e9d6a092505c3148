//! What an ownership machine is told about the fleet and about its own keys: the membership view, the keys of a domain,
//! the two clocks. How a view comes about (gossip, failure detection) is membership's business, not this module's.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ring::TOKENS;

/// A node's or a domain's name, shared because it occurs in every message and action.
pub type Name = Arc<str>;

/// One reading of both clocks, taken by the caller at the moment of the input that it accompanies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never steps; it drives timeouts and the fence. Its origin does not matter.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch by [`crate::slots::SteadyClock`]; it drives slots.
    pub wall_ms: u64,
}

/// How far a member takes part. The order of a life is `Viewer`, `Participant`, `Terminating`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// Watches and owns nothing: it has not loaded its configuration or discovered its targets.
    Viewer,
    /// Is in the ring.
    Participant,
    /// Is out of the ring, keeps what it holds until somebody takes it, and grants whatever it is asked for.
    Terminating,
}

/// A live member of the fleet, oneself included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Unique within the fleet.
    pub name: Name,
    /// Grows with each start of the node. A peer with a new incarnation is another peer: it holds nothing of what the old one held.
    pub incarnation: u64,
    /// How far it takes part.
    pub state: MemberState,
}

/// The fleet as this node's membership sees it. Members that are dead or gone are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Live members; oneself is among them under the name of [`super::Settings::me`]. Order and duplicates do not matter
    /// (of two entries with one name the higher incarnation counts).
    pub members: Vec<Member>,
    /// Where members are (availability zones, racks), by name: copies of a key go to different ones. Members without a zone are
    /// apart from all others.
    pub zones: BTreeMap<Name, Name>,
    /// Whether the view is complete: at least one full exchange with a peer (or the knowledge that there is none) since the
    /// start, and since the last [`super::Action::Fence`]. Nothing is claimed before.
    pub synced: bool,
    /// Whether a new fleet has reached its minimum size. It only delays the first claim: once it was true it is not looked
    /// at again, so a fleet that shrinks never stops scraping for it.
    pub ready: bool,
}

/// A key that this node has discovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// Hash of what is scraped, the same on every node.
    pub key: u64,
    /// Milliseconds from slot to slot; 0 is taken as 1.
    pub interval_ms: u64,
}

/// Who a machine is and how patient. The defaults are those of [`Settings::new`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Cluster name: part of every key's phase.
    pub cluster: String,
    /// Own name, as peers see it in their views.
    pub me: Name,
    /// Own incarnation, as peers see it in their views.
    pub incarnation: u64,
    /// A gap between two inputs of at least this many milliseconds means that this node was late: it stops scraping and claims
    /// anew. Must be below the time in which peers declare a silent node dead, and well above the caller's tick.
    pub fence_after_ms: u64,
    /// First pause in milliseconds before a refused want is repeated; it doubles up to eight times as much.
    pub retry_ms: u64,
    /// How long in milliseconds a live peer may leave a want unanswered before the claim goes on without it. Without this
    /// bound one unreachable peer would keep free keys unscraped; with it, a holder behind a cut link may be doubled.
    pub answer_timeout_ms: u64,
    /// Milliseconds between two rounds that ask owners again whether they still know the keys that are left to them.
    pub audit_ms: u64,
    /// Tokens per member of the ring; fewer only to build rings faster in simulations.
    pub(crate) ring_tokens: u32,
}

impl Settings {
    /// Defaults: fence after 3 s, first retry after 200 ms, answers within 10 s, audit each 60 s.
    pub fn new(cluster: impl Into<String>, me: impl Into<Name>, incarnation: u64) -> Self {
        Self {
            cluster: cluster.into(),
            me: me.into(),
            incarnation,
            fence_after_ms: 3_000,
            retry_ms: 200,
            answer_timeout_ms: 10_000,
            audit_ms: 60_000,
            ring_tokens: TOKENS,
        }
    }
}
