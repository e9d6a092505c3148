//! Members and the way out as the product sees them.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::membership::{Record, State};
use crate::placement::Version;

/// A member as the API and the UI show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// Whether it is this node.
    pub is_self: bool,
    /// What it does.
    pub state: State,
    /// Its program's version.
    pub version: String,
    /// The hash of its configuration, empty if it has not said.
    pub config_hash: String,
    /// Whether its fleet has reached its wanted size, as it sees it.
    pub ready: bool,
    /// When its process started, by its own clock.
    pub started: SystemTime,
    /// The table of placement that it goes by.
    pub placement: Version,
    /// What it holds weighs so much: work in a minute, in the units of its components. A few seconds old.
    pub load: u64,
    /// Where it is, empty if it has not been told.
    pub zone: String,
    /// How many keys it has discovered in all domains, held or not; `None` if its version does not tell.
    pub keys: Option<u64>,
    /// Whether these have been others than this node's for longer than discoveries lag, though its configuration is the same.
    pub keys_differ: bool,
    /// Milliseconds by which its clock is ahead of this node's, once that was measured; `None` for this node.
    pub clock_ahead_ms: Option<i64>,
}

/// What this node sees of another, beside what that one says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sight {
    pub(super) keys_differ: bool,
    pub(super) clock_ahead_ms: Option<i64>,
}

impl Peer {
    pub(super) fn of(record: &Record, is_self: bool, sight: Sight) -> Self {
        Self {
            name: record.identity.name.to_string(),
            addr: record.identity.addr,
            is_self,
            state: record.state,
            version: record.version.clone(),
            config_hash: record.config_hash.clone(),
            ready: record.ready,
            started: UNIX_EPOCH + Duration::from_millis(record.identity.generation),
            placement: record.placement,
            load: record.load,
            zone: record.zone.clone(),
            keys: record.targets.map(|targets| targets.count),
            keys_differ: sight.keys_differ,
            clock_ahead_ms: sight.clock_ahead_ms,
        }
    }
}

/// How leaving went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaveReport {
    /// Whether nothing was left that another member should have taken.
    pub drained: bool,
    /// Keys that were still held at the end: all of them if nobody else is there.
    pub keys_left: usize,
}
