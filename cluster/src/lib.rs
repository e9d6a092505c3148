//! Who is in the fleet and who owns a key. [`Cluster`] is a node: it finds its peers, keeps streams to them over the
//! collector's own listener, and tells components which of their keys to scrape; [`Claims`] is what a component holds. Nothing
//! here knows what a key stands for or what a scrape is.
//!
//! Layers, each of which uses only those before it: `slots` and `ring` (arithmetic), `ownership` (the handover, a machine
//! without IO), `auth`, `resolve`, `transport` (streams), `membership` (the table of members, gossip), `node` (the actor that
//! drives them all).

mod auth;
mod membership;
mod metrics;
mod node;
pub mod ownership;
pub mod resolve;
pub mod ring;
pub mod slots;
mod transport;

pub use auth::{Key, KeyError, MAX_KEY_BYTES, MIN_KEY_BYTES};
pub use membership::{Identity, MAX_NAME_BYTES, State};
pub use node::{
    ClaimEvent, Claims, Clock, Cluster, Config, ConfigError, DEFAULT_GOSSIP_INTERVAL, DEFAULT_MAX_JOIN_PEERS,
    DEFAULT_REJOIN_INTERVAL, HANDOVER_TIMEOUT, Handover, Hold, JoinEvent, KeySetter, LeaveReport, MAX_BODY_BYTES, Peer,
    REQUEST_TIMEOUT, RequestError, StartError, StartEvent, StopEvent, Stopping,
};
pub use transport::{ConnectError, Connector, Pipe, Step, StreamBody, STREAM_PATH, memory};
