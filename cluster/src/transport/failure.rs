//! Why a peer could not be reached or would not have this node: at which step, what was seen, and what to do about it.

use super::{ConnectError, frame::FrameError, wire};

/// The step of joining at which something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The name did not resolve.
    Dns,
    /// `--cluster.discover-peers` found no peers.
    Discovery,
    /// No connection to the address.
    Tcp,
    /// Only one side speaks TLS, or one side does not accept the other's certificate.
    Tls,
    /// Something answers that is not this protocol.
    Http,
    /// The peer speaks another version of the protocol.
    Version,
    /// The peer belongs to a fleet of another name.
    Name,
    /// The keys differ, or only one side has one.
    Key,
    /// A live process has this node's name.
    Conflict,
    /// The peer can't reach the address that this node advertises.
    Advertise,
    /// The peer broke off, refused for want of room, or made no sense.
    Stream,
}

impl Step {
    pub(crate) const ALL: [Self; 11] = [
        Self::Dns,
        Self::Discovery,
        Self::Tcp,
        Self::Tls,
        Self::Http,
        Self::Version,
        Self::Name,
        Self::Key,
        Self::Conflict,
        Self::Advertise,
        Self::Stream,
    ];

    /// The name in messages and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Discovery => "discovery",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Version => "version",
            Self::Name => "name",
            Self::Key => "key",
            Self::Conflict => "conflict",
            Self::Advertise => "advertise",
            Self::Stream => "stream",
        }
    }
}

/// Why a peer refuses a stream; the numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// Another protocol version.
    Version = 1,
    /// Another cluster name.
    Name = 2,
    /// No key, another key, or a key where none is used.
    Key = 3,
    /// The node name belongs to another live process.
    Conflict = 4,
    /// A process of this name with a higher generation is remembered; start again above it.
    Generation = 5,
    /// The advertised address does not lead to the peer.
    Advertise = 6,
    /// Gossip's digest has no room for another name.
    Full = 7,
    /// The opener broke the protocol.
    Protocol = 8,
    /// The accepting node has not started or is shutting down.
    Unavailable = 9,
    /// A stream without TLS or without a certificate where both are required, or TLS where none is spoken.
    Tls = 10,
    /// A Grafana Alloy node.
    Alloy = 11,
}

impl Reason {
    pub(crate) const ALL: [Self; 11] = [
        Self::Version,
        Self::Name,
        Self::Key,
        Self::Conflict,
        Self::Generation,
        Self::Advertise,
        Self::Full,
        Self::Protocol,
        Self::Unavailable,
        Self::Tls,
        Self::Alloy,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Name => "name",
            Self::Key => "key",
            Self::Conflict => "conflict",
            Self::Generation => "generation",
            Self::Advertise => "advertise",
            Self::Full => "full",
            Self::Protocol => "protocol",
            Self::Unavailable => "unavailable",
            Self::Tls => "tls",
            Self::Alloy => "alloy",
        }
    }

    pub(crate) fn from_wire(number: u32) -> Self {
        Self::ALL.into_iter().find(|reason| *reason as u32 == number).unwrap_or(Self::Protocol)
    }

    /// A refusal for this reason.
    pub(crate) fn reject(self, detail: impl Into<String>) -> wire::Reject {
        wire::Reject { reason: self as u32, detail: detail.into(), generation: 0 }
    }

    fn step(self) -> Step {
        match self {
            Self::Version => Step::Version,
            Self::Name => Step::Name,
            Self::Key => Step::Key,
            Self::Conflict | Self::Generation => Step::Conflict,
            Self::Advertise => Step::Advertise,
            Self::Tls => Step::Tls,
            Self::Alloy => Step::Http,
            Self::Full | Self::Protocol | Self::Unavailable => Step::Stream,
        }
    }

    /// What an operator can do, told from the side of the node that was refused.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Version => "run the same release on all nodes; while upgrading, nodes of both releases form fleets of their own",
            Self::Name => "give all nodes the same --cluster.name",
            Self::Key => "give all nodes the same --cluster.key-file",
            Self::Conflict => "give this node another --cluster.node-name, or stop the other process",
            Self::Generation => "none needed: the node starts again with a higher generation",
            Self::Advertise => {
                "set --cluster.advertise-address to an address at which the peers reach this node's --server.http.listen-addr"
            }
            Self::Full => "use shorter --cluster.node-name values or fewer nodes",
            Self::Protocol => "run the same release on all nodes and check for proxies between them",
            Self::Unavailable => "none needed: it is tried again",
            Self::Tls => super::tls::SAME_EVERYWHERE,
            Self::Alloy => APART_FROM_ALLOY,
        }
    }
}

/// Their protocols have nothing in common, and neither do their rules of who scrapes what.
const APART_FROM_ALLOY: &str = "collectors and Alloy nodes form no fleet together: give each fleet its own addresses to join, and never let \
                                both scrape the same targets";

/// Why a stream to a peer did not open, or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the handshake was not done within {} s", super::HANDSHAKE_TIMEOUT.as_secs())]
    Handshake,
    #[error("{detail}")]
    Rejected { reason: Reason, detail: String, generation: u64 },
    #[error(transparent)]
    Stream(#[from] FrameError),
    #[error("nothing was heard for {} s", super::IDLE_TIMEOUT.as_secs())]
    Silent,
    #[error("its queue was full")]
    Overflow,
}

impl DialError {
    /// Whether this shows that the process which was there is gone: nothing listens at its address. A timeout shows nothing.
    pub(crate) fn nobody_there(&self) -> bool {
        matches!(self, Self::Connect(ConnectError::Refused))
    }

    /// Whether the peer was given too little time, or is not there: which of both, this does not tell.
    pub(crate) fn timed_out(&self) -> bool {
        matches!(self, Self::Connect(ConnectError::TimedOut) | Self::Handshake)
    }

    /// Whether the network says so, which may also be this node's own network.
    pub(crate) fn unreachable(&self) -> bool {
        matches!(self, Self::Connect(ConnectError::Unreachable(_)))
    }

    pub(crate) fn step(&self) -> Step {
        match self {
            Self::Connect(ConnectError::NotOurs(_) | ConnectError::Alloy) => Step::Http,
            Self::Connect(ConnectError::Tls { .. }) => Step::Tls,
            Self::Connect(_) => Step::Tcp,
            Self::Rejected { reason, .. } => reason.step(),
            Self::Handshake | Self::Stream(_) | Self::Silent | Self::Overflow => Step::Stream,
        }
    }

    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Connect(ConnectError::Refused) => "check that the peer runs and listens on this address and port",
            Self::Connect(ConnectError::NotOurs(_)) => {
                "check that the port is the peer's --server.http.listen-addr and that it runs with clustering enabled"
            }
            Self::Connect(ConnectError::Tls { remedy, .. }) => remedy,
            Self::Connect(ConnectError::Alloy) => APART_FROM_ALLOY,
            Self::Connect(_) => "check routes, firewalls and network policies between the nodes",
            Self::Rejected { reason, .. } => reason.remedy(),
            Self::Handshake | Self::Silent => "check that the peer is not stalled or starved of CPU",
            Self::Stream(_) | Self::Overflow => "none needed: it is tried again",
        }
    }
}

impl From<wire::Reject> for DialError {
    fn from(reject: wire::Reject) -> Self {
        Self::Rejected {
            reason: Reason::from_wire(reject.reason),
            detail: wire::clean_detail(&reject.detail),
            generation: reject.generation,
        }
    }
}
