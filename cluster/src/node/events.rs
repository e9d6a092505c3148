//! How joining goes, told as it happens, for whoever starts the node to show.

use std::net::SocketAddr;

use crate::transport::Step;

/// A step of joining. Failures are told once until they change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinEvent {
    /// A join address stands for these.
    Resolved {
        /// The join address as it was given.
        address: String,
        /// What it stands for.
        addrs: Vec<SocketAddr>,
    },
    /// A peer let this node in.
    Reached {
        /// Where.
        addr: SocketAddr,
        /// The peer's name.
        name: String,
    },
    /// A peer or a join address failed.
    Failed {
        /// The join address, or the peer's socket address.
        peer: String,
        /// The step at which it failed.
        step: Step,
        /// What was seen.
        cause: String,
        /// What to do about it.
        remedy: String,
    },
    /// This node stays a viewer for now; it tries again at most 2 s apart. Told when the list changes.
    Waiting {
        /// Join addresses where somebody may be who was not reached.
        unaccounted: Vec<String>,
    },
    /// This node is part of a fleet. Told once its own configuration is known too.
    Ring {
        /// Live members, this node included.
        nodes: usize,
        /// Those of them that have loaded the same configuration as this node.
        same_config: usize,
        /// Whether this node starts a new fleet, alone or with others that were starting too.
        new_fleet: bool,
    },
    /// The fleet is smaller than a new fleet should be to begin work.
    BelowSize {
        /// Participants, this node included.
        participants: usize,
        /// Those wanted.
        wanted: usize,
    },
    /// This node now takes its share of the keys.
    Admitting,
    /// This node lost its place in the fleet to another process of its name, and searches again.
    Superseded {
        /// How it was learnt.
        cause: String,
    },
}
