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

impl JoinEvent {
    /// What keeps the node from its fleet, if this event says so.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Self::Failed { peer, step, cause, remedy } => Some(format!("{peer} failed at step {}: {cause}; {remedy}", step.as_str())),
            Self::BelowSize { participants, wanted } => Some(format!("the fleet has {participants} of {wanted} nodes that it waits for")),
            Self::Superseded { cause } => Some(format!("it lost its place in the fleet: {cause}")),
            _ => None,
        }
    }

    /// Whether earlier trouble is over with this event.
    pub(crate) fn is_progress(&self) -> bool {
        matches!(self, Self::Reached { .. } | Self::Ring { .. } | Self::Admitting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_trouble_until_there_is_progress() {
        let failed = JoinEvent::Failed { peer: "a:1".into(), step: Step::Name, cause: "another name".into(), remedy: "rename".into() };
        assert_eq!(failed.trouble().as_deref(), Some("a:1 failed at step name: another name; rename"));
        assert!(!failed.is_progress());
        let resolved = JoinEvent::Resolved { address: "a:1".into(), addrs: Vec::new() };
        assert!(resolved.trouble().is_none() && !resolved.is_progress(), "the trouble stays");
        assert!(JoinEvent::Admitting.is_progress());
    }
}
