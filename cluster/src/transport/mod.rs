//! Streams between peers: one long-lived stream from every sender to every peer, carrying gossip, ownership messages, news of
//! members and requests. Here is how a stream is opened, framed, authenticated and queued for; who is dialled and when, and
//! what the messages mean, is the node's business.

pub(crate) mod alloy;
pub(crate) mod failure;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod http2;
pub(crate) mod inbound;
pub(crate) mod link;
pub mod memory;
pub(crate) mod outbox;
pub(crate) mod places;
pub mod protocol;
pub(crate) mod refusals;
pub(crate) mod skew;
pub(crate) mod squeeze;
pub(crate) mod standing;
pub(crate) mod tls;
pub(crate) mod wire;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

pub use failure::Step;
pub(crate) use failure::{DialError, Reason};
pub(crate) use frame::Pipe;
pub use http2::{Channel, PATH as STREAM_PATH, StreamBody, takes};
pub use tls::PeerTls;

use crate::{
    auth::Key,
    membership::{Identity, Record},
    metrics::Metrics,
    ownership::Envelope,
};

/// Longest wait for a TCP connection. A host that drops packets must not hold up a join; a healthy one answers within
/// milliseconds even across regions.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest handshake, including the checks of a newcomer's address (2 s) on the other side.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often each side of a stream asks whether the other is there.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(2);

/// Silence after which a stream is given up. Longer than the 5 s for which a stalled peer must not count as dead.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Chunks that may wait between a frame writer and the connection.
pub(crate) const PIPE_CHUNKS: usize = 4;

/// Opens byte streams to peers.
#[async_trait]
pub(crate) trait Connector: Send + Sync + 'static {
    /// Connects to the cluster endpoint at `addr`.
    ///
    /// # Errors
    /// What stands in the way, as far as it can be told.
    async fn connect(&self, addr: SocketAddr) -> Result<Pipe, ConnectError>;
}

/// Why no byte stream to an address came about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The host is there and nothing listens.
    #[error("connection refused")]
    Refused,
    /// The network says that the host can't be reached.
    #[error("{0}")]
    Unreachable(String),
    /// No answer.
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
    /// Something listens, and it does not speak HTTP/2 on this path.
    #[error("{0}")]
    NotOurs(String),
    /// Something speaks, and it is Alloy.
    #[error("that is a Grafana Alloy node")]
    Alloy,
    /// Only one side speaks TLS, or one side does not accept the other's certificate.
    #[error("{cause}")]
    Tls {
        /// What was seen.
        cause: String,
        /// What to do about it.
        remedy: &'static str,
    },
}

/// What everything that opens or accepts a stream needs to know of this node. The record changes and the key may be renewed; the rest stays.
#[derive(Clone)]
pub(crate) struct Local {
    pub(crate) protocols: protocol::Protocols,
    pub(crate) cluster: Arc<str>,
    pub(crate) key: Arc<ArcSwapOption<Key>>,
    pub(crate) record: Arc<Mutex<Record>>,
    pub(crate) pulses: Pulses,
    pub(crate) company: Company,
    pub(crate) skews: skew::Skews,
    pub(crate) metrics: Arc<Metrics>,
}

impl Local {
    pub(crate) fn identity(&self) -> Identity {
        self.record.lock().identity.clone()
    }

    pub(crate) fn record(&self) -> Record {
        self.record.lock().clone()
    }
}

/// A hash of the processes that this node holds for alive, itself included; equal on two nodes that have nobody to tell each other of. Zero
/// until it is known.
#[derive(Clone, Default)]
pub(crate) struct Company {
    hash: Arc<AtomicU64>,
}

impl Company {
    pub(crate) fn set(&self, hash: u64) {
        self.hash.store(hash, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }
}

/// When each peer was last heard on any stream of its own.
#[derive(Clone, Default)]
pub(crate) struct Pulses {
    last: Arc<Mutex<HashMap<Identity, Instant>>>,
}

impl Pulses {
    pub(crate) fn beat(&self, peer: &Identity) {
        let now = Instant::now();
        let mut last = self.last.lock();
        match last.get_mut(peer) {
            Some(instant) => *instant = now,
            None => {
                last.insert(peer.clone(), now);
            }
        }
    }

    /// Takes what was noted since the last call.
    pub(crate) fn take(&self) -> HashMap<Identity, Instant> {
        std::mem::take(&mut *self.last.lock())
    }
}

/// What streams tell the node.
pub(crate) enum Event {
    /// A peer wants in; the handshake waits for the verdict.
    Admit { hello: handshake::PeerHello, verdict: oneshot::Sender<Result<wire::Members, wire::Reject>> },
    /// The stream to a peer is open.
    LinkUp { addr: SocketAddr, session: u64, peer: Record, members: wire::Members },
    /// It could not be opened, or is lost.
    LinkDown { addr: SocketAddr, session: u64, error: DialError },
    /// A peer's stream to this node is open.
    InboundUp { peer: Record },
    /// It is gone.
    InboundDown { peer: Identity },
    /// A peer tells what it knows.
    Members { from: Identity, members: wire::Members },
    /// A message for the ownership machine, perhaps with the receiver's number that shows its age.
    Ownership { from: Identity, dated: Option<u64>, envelope: Envelope },
    /// A peer tells whom it hears.
    Standing { from: Identity, standing: crate::quorum::Standing },
}

/// Where streams deliver events. Bounded: a node that falls behind slows its peers' streams down.
pub(crate) type Events = mpsc::Sender<Event>;

/// A message of gossip with the advertised address of its sender.
pub(crate) type GossipInbox = mpsc::Sender<(SocketAddr, Bytes)>;
