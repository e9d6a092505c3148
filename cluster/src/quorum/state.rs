//! What members tell each other: their standing, and in it what they know of the electorate. The bytes are `transport::wire`.

use std::{collections::BTreeMap, sync::Arc};

/// A node's name.
pub(crate) type Name = Arc<str>;

/// Electors, each with the generation under which it was taken in: a later process of the name has lost its memory.
pub(crate) type Members = BTreeMap<Name, u64>;

/// A founding. Of two the smaller counts: it is older.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lineage {
    /// Milliseconds since the epoch by the founder's clock.
    pub(crate) founded_ms: u64,
    pub(crate) by: Name,
}

/// A try to decide on the next electorate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ballot {
    pub(crate) round: u64,
    pub(crate) by: Name,
}

/// An electorate as a member knows it, and what that member has promised and accepted about the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) lineage: Lineage,
    pub(crate) epoch: u64,
    pub(crate) members: Members,
    /// The electorate before, while losses still need its majority too; empty later.
    pub(crate) previous: Members,
    /// Whether the member can't know what its former life promised. It does not count then.
    pub(crate) amnesic: bool,
    /// The highest ballot that it takes part in.
    pub(crate) promised: Option<Ballot>,
    /// The next electorate that it has accepted, and in which ballot.
    pub(crate) accepted: Option<(Ballot, Members)>,
}

/// What one member tells another, twice a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Generation of the receiver: to another life it says nothing.
    pub(crate) to: u64,
    /// Grows with each standing of the sender.
    pub(crate) number: u64,
    /// The receiver's last number that the sender has heard; 0 if none.
    pub(crate) heard: u64,
    /// Grows with each change of `state`.
    pub(crate) version: u64,
    /// What the sender knows of the electorate; absent if it knows nothing, or if the receiver has this version.
    pub(crate) state: Option<State>,
    /// The version of the receiver's state that the sender has; 0 if none.
    pub(crate) known: u64,
    /// Processes that the sender holds for lost.
    pub(crate) lost: Vec<(Name, u64)>,
}
