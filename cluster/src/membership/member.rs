//! The words for a member: which process it is, what it says of itself.

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::ownership::KeysDigest;
use crate::placement::Version as Placement;
use crate::quorum::PartitionPolicy;

/// Longest node name, bytes. Gossip's digest carries every name in one message of 64 KiB, so long names cost members.
pub const MAX_NAME_BYTES: usize = 128;

/// A process: a node name, and what tells apart the processes that have had it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// The node's name, unique in the fleet.
    pub(crate) name: Arc<str>,
    /// Grows with every start under this name: milliseconds since the epoch at the start, or one more than what the peers
    /// remember if the clock went back.
    pub(crate) generation: u64,
    /// Where peers reach it.
    pub(crate) addr: SocketAddr,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.name, self.addr, self.generation)
    }
}

/// What a member does for the fleet. The names are Alloy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It watches and owns nothing: it is starting, or was refused.
    Viewer,
    /// It owns its share.
    Participant,
    /// It hands over what it owns and will go.
    Terminating,
}

impl State {
    /// All states, in the order in which a process goes through them.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Participant, Self::Terminating];

    /// The name in metrics, the API and gossip.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Participant => "participant",
            Self::Terminating => "terminating",
        }
    }

    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a starting process is with finding its fleet; see `join`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Some join addresses are not accounted for.
    Joining,
    /// All are; no running fleet was found.
    Settled,
    /// Part of a fleet that may work.
    Formed,
}

impl Phase {
    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Joining, Self::Settled, Self::Formed].into_iter().find(|phase| phase.number() == number)
    }
}

/// All that a process says of itself. It alone writes it; `counter` orders its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) identity: Identity,
    pub(crate) state: State,
    pub(crate) phase: Phase,
    /// It has seen the fleet at its wanted size, or belongs to one that has.
    pub(crate) ready: bool,
    /// It said goodbye.
    pub(crate) left: bool,
    /// Grows with each change.
    pub(crate) counter: u64,
    pub(crate) version: String,
    pub(crate) config_hash: String,
    /// The table of placement that it goes by.
    pub(crate) placement: Placement,
    /// What it holds weighs so much: work in a minute, in the units of its components.
    pub(crate) load: u64,
    /// Where it is, empty if it has not been told.
    pub(crate) zone: String,
    /// The keys that it has discovered; versions that did not tell have none.
    pub(crate) targets: Option<KeysDigest>,
    pub(crate) policy: PartitionPolicy,
}

impl Record {
    /// Whether this is later news of the same name than `other`.
    pub(crate) fn supersedes(&self, other: &Self) -> bool {
        (self.identity.generation, self.counter) > (other.identity.generation, other.counter)
    }
}
